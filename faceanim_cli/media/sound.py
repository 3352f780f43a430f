"""Muxes sound into a finished video, cut or padded to its length."""

import re
from fractions import Fraction
from pathlib import Path

from faceanim_cli.media.ffmpeg import file_url, input_arguments, run
from faceanim_cli.media.frame_pipe import why_ended
from faceanim_cli.media.probe import AudioStream

# Samples in the longest packet of each codec that is copied; others are re-encoded.
COPIED_IN_MP4 = {"aac": 1024, "mp3": 1152}  # MP4 takes more, but Opus or FLAC in it is silent in many players
COPIED_IN_WEBM = {"opus": 2880}
COPIED_IN_MKV = COPIED_IN_MP4 | COPIED_IN_WEBM | {"ac3": 1536, "eac3": 1536}
# Re-encoded sound: options, and seconds a packet, about 20 ms, less than a frame.
AAC = (["aac", "-b:a", "192k", "-ar", "48000"], Fraction(1024, 48000))
OPUS = (["libopus", "-b:a", "160k", "-ar", "48000"], Fraction(960, 48000))


def add_sound(
    video: Path,
    source: Path,
    audio: AudioStream,
    output: Path,
    *,
    frame: Fraction,
    frame_count: int,
    container: list[str],
    start: float = 0.0,
) -> str | None:
    """Write ``output``: the picture of ``video``, copied, and the sound track ``audio`` of ``source``.

    The track is copied where the container's players understand it and re-encoded (to AAC, in WebM to
    Opus) where not, where its packets are too long to cut, or where copying fails. Channels that the encoder
    does not take are mixed down to stereo.

    Args:
        video: a file without sound.
        source: whatever holds the sound.
        audio: what ``probe`` says about the track.
        output: written or overwritten; half a file if the answer is not None.
        frame: seconds of one frame.
        frame_count: frames in ``video``.
        container: ffmpeg options for the output's format, tags and flags.
        start: seconds of ``source`` that are skipped; what comes then starts together with the picture.

    Returns:
        None if all went well, else why not, in ffmpeg's words.
    """
    encoder, encoded_packet = OPUS if output.suffix.lower() == ".webm" else AAC
    ways = [(encoder, encoded_packet), ([*encoder, "-af", _mix_down(audio.layout)], encoded_packet)]
    packet = _copied_packet(audio, output)
    # Longer packets cannot be cut to within a frame; those from before the start would hold up the picture.
    if packet is not None and packet <= 2 * frame and not start:
        ways.insert(0, (["copy"], packet))
    reason = ""
    for codec, longest in ways:
        code, _, err = run(
            [
                *("-loglevel", "error", "-y"),
                *("-i", file_url(video)),
                *(("-ss", f"{start:.6f}") if start else ()),
                *("-t", f"{float(_length(frame, frame_count, longest)):.6f}"),
                *input_arguments(source),
                *("-map", "0:v:0"),
                *("-map", f"1:{audio.index}"),
                *("-c:v", "copy"),
                *("-c:a", *codec),
                *("-map_metadata", "-1"),  # the driver's title and place are not ours to pass on
                *("-map_chapters", "-1"),
                *container,
                file_url(output),
            ],
            timeout_s=None,
        )
        if code == 0:
            return None
        reason = why_ended(code, err)
    return reason


def _copied_packet(audio: AudioStream, output: Path) -> Fraction | None:
    """Seconds of the track's longest packet; None if this container's players do not take the codec."""
    by_suffix = {".mkv": COPIED_IN_MKV, ".webm": COPIED_IN_WEBM}
    copied = by_suffix.get(output.suffix.lower(), COPIED_IN_MP4)
    if audio.codec not in copied or audio.rate == 0:
        return None
    return Fraction(copied[audio.codec] * (2 if audio.high_efficiency else 1), audio.rate)


def _mix_down(layout: str) -> str:
    """ffmpeg's filter from a layout to stereo.

    More than eight channels are rarely the loudspeakers that ffmpeg takes them for by their number, but
    recordings side by side: odd ones go left, even ones right, and none is lost.
    """
    counted = re.match(r"(\d+) channels|(\d+(?:\.\d+)+)", layout)
    count = sum(map(int, (counted[1] or counted[2]).split("."))) if counted else 0
    if count <= 8:
        return "aformat=channel_layouts=stereo"
    left, right = ("+".join(f"c{n}" for n in range(side, count, 2)) for side in (0, 1))
    return f"pan=stereo|FL<{left}|FR<{right}"


def _length(frame: Fraction, frame_count: int, packet: Fraction) -> Fraction:
    """Seconds of sound to take, so that its last packet ends within a frame of the picture.

    ffmpeg takes every packet that starts before this time, and the last one is taken whole.
    """
    picture = frame * frame_count
    return max(frame, min(picture, picture + frame - packet))
