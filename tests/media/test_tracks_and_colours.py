"""Which track of a file is taken, and how its colours look: HDR, many bits, full range, interlaced."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import VideoReader, open_video, video_reader
from faceanim_cli.media import ffmpeg as ffmpeg_module
from faceanim_cli.media.probe import probe
from tests.media.conftest import H264, ffmpeg, grey_ramp, tone

MakeClip = Callable[..., Path]

RED, BLUE, GREEN = "color=red:s=32x32:d=0.2", "color=blue:s=64x64:d=0.2", "color=green:s=48x48:d=0.2"


def three_pictures(path: Path, *dispositions: str) -> Path:
    inputs = [word for colour in (RED, BLUE, GREEN) for word in ("-f", "lavfi", "-i", colour)]
    flags = [word for n, flag in enumerate(dispositions) for word in (f"-disposition:v:{n}", flag)]
    maps = ["-map", "0", "-map", "1", "-map", "2"]
    ffmpeg(*inputs, *maps, "-c:v", "libx264", "-pix_fmt", "yuv420p", *flags, str(path))
    return path


@pytest.mark.parametrize(
    ("name", "dispositions", "side"),
    [
        ("a.mp4", ("0", "0", "default"), 48),
        ("a.mkv", ("0", "0", "default"), 48),
        ("a.mkv", ("0", "0", "0"), 64),  # ffmpeg's MP4 has always a default
        ("a.mp4", ("default", "default", "default"), 64),
    ],
)
def test_the_default_picture_is_taken_else_the_largest(
    tmp_path: Path, name: str, dispositions: tuple[str, ...], side: int
) -> None:
    reader = VideoReader(three_pictures(tmp_path / name, *dispositions))
    assert (reader.width, reader.height) == (side, side)
    frame = next(iter(reader))
    assert int(np.argmax(frame[16, 16])) == {64: 2, 48: 1}[side]


def test_a_cover_is_never_the_picture(tmp_path: Path) -> None:
    path, cover = tmp_path / "a.mp4", tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", BLUE, "-frames:v", "1", str(cover))
    inputs = ("-i", str(cover), "-f", "lavfi", "-i", RED)
    covered = (
        "-map",
        "0",
        "-map",
        "1",
        "-c:v:0",
        "png",
        "-c:v:1",
        "libx264",
        "-disposition:v:0",
        "attached_pic",
    )
    ffmpeg(*inputs, *covered, str(path))
    assert VideoReader(path).width == 32


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", "1", str(tmp_path / "cover.png"))
    song = tmp_path / "song.mp3"
    cover = [
        "-i",
        str(tmp_path / "cover.png"),
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-disposition:v",
        "attached_pic",
    ]
    ffmpeg(*tone(0.3), *cover, "-c:a", "libmp3lame", str(song))
    assert probe(song).audio is not None
    with pytest.raises(UnreadableInputError, match="no picture"):
        VideoReader(song)


BARS = np.repeat(np.array([[200, 40, 40], [60, 160, 60], [40, 60, 190], [150, 150, 150]], np.uint8), 16, 0)


@pytest.mark.parametrize(
    "codec",
    [
        ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error"),
        ("-c:v", "libx265", "-pix_fmt", "yuv444p12le", "-x265-params", "log-level=error"),
        ("-c:v", "libx264", "-pix_fmt", "yuvj420p", "-color_range", "pc"),
        ("-c:v", "libx264", "-pix_fmt", "yuv422p10le"),
        ("-c:v", "libvpx-vp9", "-pix_fmt", "gbrp"),
    ],
    ids=lambda codec: codec[3],
)
def test_sdr_keeps_its_colours(make_clip: MakeClip, codec: tuple[str, ...]) -> None:
    frames = np.broadcast_to(BARS[None, None], (2, 32, 64, 3)).copy()
    frame = next(iter(VideoReader(make_clip(frames, "a.mkv", codec=(*codec, "-crf", "2")))))
    np.testing.assert_allclose(frame[16, 8::16], BARS[8::16], atol=3)


@pytest.mark.parametrize(
    ("size", "matrix", "codec"),
    [
        ((1280, 720), "bt709", H264),
        ((720, 1280), "bt709", H264),
        ((1280, 534), "bt709", H264),
        ((640, 360), "smpte170m", H264),
        ((480, 854), "smpte170m", H264),
        ((1280, 720), "smpte170m", ("-c:v", "libvpx", "-deadline", "realtime")),  # VP8 has no other matrix
        ((1280, 720), "smpte170m", ("-c:v", "mjpeg", "-strict", "unofficial", "-q:v", "2")),  # nor has JPEG
        ((1280, 720), "bt709", ("-c:v", "ffv1", "-pix_fmt", "bgr0")),  # which is RGB
    ],
)
def test_colours_that_no_file_tells_are_those_that_players_assume(
    make_clip: MakeClip, size: tuple[int, int], matrix: str, codec: tuple[str, ...]
) -> None:
    skin = (200, 110, 80)
    frame = np.full((1, size[1], size[0], 3), skin, np.uint8)
    yuv = f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"
    untagged = "setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown"
    filters = () if "ffv1" in codec else ("-vf", f"{yuv},{untagged}")
    (seen,) = VideoReader(make_clip(frame, codec=(*filters, *codec)))
    red_and_green = seen[:: size[1] // 4, :: size[0] // 4, :2].astype(int)
    assert np.abs(red_and_green - skin[:2]).max() <= 3  # by the other matrix they are 8 off


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@pytest.mark.parametrize("crop", [None, (8, 3, 50, 21)])
def test_hdr_is_shown_as_sdr(make_clip: MakeClip, transfer: str, crop: tuple[int, ...] | None) -> None:
    # SDR put into HDR as broadcasters do: reference white at 203 cd/m2 (ITU-R BT.2408)
    to_hdr = (
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p12le,"
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        f"zscale=p=2020:t={transfer}:m=2020_ncl:r=tv:npl=203,format=yuv444p10le,format=yuv420p10le"
    )
    codec = ("-vf", to_hdr, "-c:v", "ffv1")  # of an odd height, which zscale refuses with halved chroma
    tags = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
    frames = np.broadcast_to(BARS[None, None], (2, 33, 64, 3)).copy()
    path = make_clip(frames, "hdr.mkv", codec=codec, extra=tags)
    with open_video(path) as video:
        shown = next(video.frames(crop))  # type: ignore[arg-type]
        grey = next(video.scan(64))
    expected = frames[0] if crop is None else frames[0, 3:24, 8:58]
    inside = slice(8, None, 16) if crop is None else slice(0, None, 16)
    np.testing.assert_allclose(shown[10, inside], expected[10, inside], atol=6)
    np.testing.assert_allclose(grey[16, 8::16], BARS[8::16] @ (0.299, 0.587, 0.114), atol=6)


@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix"),
    [
        ("unknown", "smpte2084", "bt2020nc"),
        ("unknown", "arib-std-b67", "unknown"),
        ("film", "smpte2084", "ycgco"),
        ("bt2020", "arib-std-b67", "ictcp"),
        ("bt2020", "unknown", "unknown"),
        ("smpte432", "smpte428", "bt709"),
        ("unknown", "unknown", "bt2020c"),
        ("unknown", "unknown", "ycgco"),
        ("unknown", "unknown", "ictcp"),
    ],
)
def test_frames_tagged_by_halves_or_oddly_are_shown(
    make_clip: MakeClip, primaries: str, transfer: str, matrix: str
) -> None:
    tags = f"setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}"
    path = make_clip(grey_ramp(2), codec=("-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1"))
    first, second = (float(frame.mean()) for frame in VideoReader(path))
    assert 0 <= first < second < 60  # levels 5 and 14, in an SDR that is as dark or darker


def test_an_ffmpeg_that_cannot_tone_map_says_so(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pq = (
        "-vf",
        "setparams=color_trc=smpte2084:color_primaries=bt2020",
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "yuv420p10le",
    )
    path = make_clip(grey_ramp(2), codec=pq)
    assert ffmpeg_module.has_filter("zscale")
    monkeypatch.setattr(video_reader, "has_filter", lambda name: False)
    assert len(list(VideoReader(path))) == 2
    assert f"{path}: its colours are HDR" in caplog.text


def test_highlights_of_hdr_are_compressed_not_clipped(make_clip: MakeClip) -> None:
    # grey steps of 203, 400, 600 and 900 cd/m2 as PQ code values (SMPTE ST 2084), full range in 12 bits
    def pq(luminance: float) -> float:
        power = (luminance / 10000) ** 0.1593017578125
        return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)

    codes = [round(pq(value) * 65535) for value in (203, 400, 600, 900)]
    plane = np.repeat(np.array(codes, "<u2"), 16)[None].repeat(32, 0)
    path = make_clip(grey_ramp(1)).with_name("pq.mkv")
    raw = ("-f", "rawvideo", "-pix_fmt", "gbrp16le", "-video_size", "64x32", "-i", "-")
    tags = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=gbr:range=pc")
    ffmpeg(*raw, "-c:v", "ffv1", "-pix_fmt", "gbrp12le", *tags, str(path), stdin=plane.tobytes() * 3)
    assert probe(path).video is not None
    levels = next(iter(VideoReader(path)))[16, 8::16, 0].astype(int)
    assert levels[0] > 225
    assert (np.diff(levels) > 0).all()
    assert levels[-1] <= 255


def test_wide_gamut_sdr_is_brought_to_bt709(make_clip: MakeClip) -> None:
    wide = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p12le," \
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv," \
        "zscale=p=2020:m=2020_ncl:t=709,format=yuv444p10le"  # fmt: skip
    codec = ("-vf", wide, "-c:v", "libx265", "-crf", "2", "-x265-params", "log-level=error")
    tags = ("-color_primaries", "bt2020", "-color_trc", "bt709", "-colorspace", "bt2020nc")
    frames = np.broadcast_to(BARS[None, None], (2, 32, 64, 3)).copy()
    frame = next(iter(VideoReader(make_clip(frames, "wide.mov", codec=codec, extra=tags))))
    np.testing.assert_allclose(frame[16, 8::16], BARS[8::16], atol=4)


def test_interlaced_frames_lose_their_combs(make_clip: MakeClip) -> None:
    # A square that has moved between the two fields of each frame leaves a comb at its edges.
    frames = np.full((6, 64, 96, 3), 40, np.uint8)
    for n in range(6):
        for field in (0, 1):
            left = 10 + 16 * n // 2 + 8 * field
            frames[n, 16 + field : 48 : 2, left : left + 24] = 220
    interlaced = ("-flags", "+ildct+ilme", "-vf", "setfield=tff,format=yuv420p")
    clip = make_clip(frames, "a.mpg", codec=("-c:v", "mpeg2video", "-q:v", "1", *interlaced))
    found = probe(clip).video
    assert found is not None
    assert found.colours.interlaced
    assert len(list(VideoReader(clip))) == 6
    for frame in list(VideoReader(clip))[1:-1]:
        rows = frame[20:44].astype(int).mean(-1)
        combs = np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).max(1)  # a line unlike both its neighbours
        assert np.median(combs) < 60  # as it was stored: 360
