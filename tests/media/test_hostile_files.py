"""Files that make ffmpeg read others, decode monsters or talk without end; addresses; odd names and kinds."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import VideoReader, VideoWriter, ffmpeg, open_video, read_photo, write_photo
from tests.media.conftest import H264, LOSSLESS, grey_ramp, tone
from tests.media.conftest import ffmpeg as call_ffmpeg

MakeClip = Callable[..., Path]

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "dash": '<?xml version="1.0"?>\n<MPD><Period><AdaptationSet><Representation><BaseURL>{secret}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>\n",
    "sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("disguised", [False, True])
@pytest.mark.parametrize(
    ("kind", "suffix"), [("hls", ".m3u8"), ("concat", ".ffconcat"), ("dash", ".mpd"), ("sdp", ".sdp")]
)
def test_a_playlist_opens_no_other_file(make_clip: MakeClip, kind: str, suffix: str, disguised: bool) -> None:
    secret = make_clip(grey_ramp(2), "secret.mp4", codec=H264)
    path = secret.with_name("driver.mp4" if disguised else f"driver{suffix}")
    path.write_text(PLAYLISTS[kind].format(secret=secret))
    for read in (VideoReader, lambda name: VideoWriter(path.with_name("o.mp4"), 25, (8, 8), audio_from=name)):
        with pytest.raises(UnreadableInputError, match=r"playlist|is a text"):
            read(path)


def test_a_numbered_name_is_one_file(make_clip: MakeClip) -> None:
    make_clip(grey_ramp(1), "1.mkv")
    path = make_clip(grey_ramp(3))
    path = path.rename(path.with_name("%d.mkv"))
    assert len(list(VideoReader(path))) == 3


@pytest.mark.parametrize("codec", [("-c:v", "ffv1"), ("-c:v", "png")])
def test_a_monstrous_frame_is_refused_before_it_is_decoded(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, codec: tuple[str, str]
) -> None:
    path = make_clip(grey_ramp(1, 64, 64), codec=codec)
    assert VideoReader(path).width == 64
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 63 * 64)
    with pytest.raises(UnreadableInputError, match="64x64 are too large"):
        VideoReader(path)


def test_of_endless_complaints_the_beginning_and_the_end_are_kept() -> None:
    talk = (
        "import sys\nfor n in range(20_000): print(f'line {n:06}', 'x' * 40, file=sys.stderr)\nprint('done')"
    )
    process = subprocess.Popen([sys.executable, "-c", talk], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stderr = ffmpeg.Stderr(process)
    out, _ = process.communicate()
    text = stderr.text()
    assert out == b"done\n"
    assert text.startswith("line 000000 ")
    assert "line 019999 " in text
    assert len(text) < 100_000
    ffmpeg.stop(process)


@pytest.mark.parametrize("read", [read_photo, open_video])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://example.com/a.mp4", "https://example.com/a.mp4: it is an address on the net; download it"),
        ("s3://bucket/a.jpg", "s3://bucket/a.jpg: it is an address"),
        ("-", "standard input is not read; save it to a file"),
        ("no-such.mp4", "no such file"),
        ("n" * 300, "File name too long"),
    ],
)
def test_what_is_no_file_gets_a_sentence(read: Callable[[Path], object], given: str, words: str) -> None:
    with pytest.raises(UnreadableInputError) as caught:
        read(Path(given))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="has no /dev")
def test_a_file_as_standard_input_is_a_file(make_clip: MakeClip) -> None:
    read = "import sys; from faceanim_cli.media import open_video; print(len(list(open_video('/dev/stdin'))))"
    with make_clip(grey_ramp(3)).open("rb") as file:
        done = subprocess.run([sys.executable, "-c", read], stdin=file, capture_output=True, check=True)
    assert done.stdout == b"3\n"


NAMES = [
    "per%cent%03d",
    "two\nlines",
    "quo'te\"s",
    "emoji 😀 東京",
    "-dash",
    "a:b,c;d=[e]",
    "back\\slash",
    "file:x",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read(make_clip: MakeClip, name: str) -> None:
    path = make_clip(grey_ramp(3), "clip.mkv", codec=LOSSLESS)
    with open_video(path.rename(path.with_name(f"{name}.mkv"))) as video:
        assert len(list(video)) == 3
    photo = path.with_name(f"{name}.png")
    write_photo(photo, grey_ramp(1)[0])
    np.testing.assert_array_equal(read_photo(photo), grey_ramp(1)[0])


KINDS = {
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "zip": b"PK\x03\x04" + bytes(60),
    "html": b"<!DOCTYPE html><html>not found</html>",
    "safetensors": b"\x40" + bytes(7) + b'{"__metadata__":{"faceanim":"1"}}' + bytes(60),
    "json": json.dumps({"error": 404}).encode(),
}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pdf", "a PDF document"),
        ("eps", "a PostScript document"),
        ("svg", "an SVG drawing"),
        ("zip", "a ZIP archive"),
        ("html", "a web page"),
        ("safetensors", "a safetensors file"),
        ("json", "a text"),
    ],
)
@pytest.mark.parametrize("read", [read_photo, open_video])
def test_other_files_are_named_by_what_they_are(
    tmp_path: Path, read: Callable[[Path], object], kind: str, words: str
) -> None:
    for name in ("a.jpg", "a.mp4"):
        path = tmp_path / name
        path.write_bytes(KINDS[kind])
        with pytest.raises(UnreadableInputError, match=f"it is {words}"):
            read(path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_a_photo_is_no_video(tmp_path: Path, form: str) -> None:
    path = tmp_path / "photo.mp4"
    Image.fromarray(grey_ramp(1, 64, 64)[0]).save(path, form)
    with pytest.raises(UnreadableInputError, match="it is a photo; are photo and driving video swapped"):
        open_video(path)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_an_animated_picture_is_a_video(tmp_path: Path, form: str) -> None:
    path = tmp_path / "moving.bin"
    images = [Image.fromarray(frame) for frame in grey_ramp(4, 64, 64)]
    images[0].save(path, form, save_all=True, append_images=images[1:], duration=100)
    with open_video(path) as video:
        levels = [round(float(frame.mean())) for frame in video]
    np.testing.assert_allclose(levels, [5, 14, 23, 32], atol=2)


def unreadable(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":  # before what players need first, which MP4 has at its end
        call_ffmpeg("-f", "lavfi", "-i", "testsrc2=d=0.2:s=64x64", *H264, str(path))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "text":
        path.write_text("this is no video\n" * 50)
    elif kind == "notes":
        path = path.with_suffix(".txt")
        path.write_text("ffmpeg would play this as ANSI art\n" * 50)
    elif kind == "sound":
        call_ffmpeg(*tone(0.3), "-c:a", "aac", str(path))
    elif kind == "photo":
        call_ffmpeg("-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", "1", "-f", "mjpeg", str(path))
    elif kind == "folder.mp4":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("cut", "is cut off or damaged"),
        ("text", "is a text"),
        ("notes", "is a text"),
        ("sound", "no picture"),
        ("photo", "swapped"),
        ("folder.mp4", "is a folder"),
    ],
)
def test_unreadable_videos_are_named_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    path = unreadable(tmp_path, kind)
    with pytest.raises(UnreadableInputError, match=words) as caught:
        VideoReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_huge_frames_are_refused(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceanim_cli.media.probe.MAX_SIDE", 20)
    with pytest.raises(UnreadableInputError, match="24x16"):
        VideoReader(make_clip(grey_ramp(1)))


def test_names_that_look_like_options_and_protocols(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(grey_ramp(2)).read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("-i %03d.mkv", "concat:a|b.mkv", "ünï 'quoted' [0:v].mkv"):
        Path(name).write_bytes(clip)
        assert len(list(VideoReader(name))) == 2


def test_a_playlist_fetches_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/secret.ts"
        path = tmp_path / "driver.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(UnreadableInputError):
            VideoReader(path)
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()


def test_ffmpegs_last_words_name_the_cause_and_not_what_follows() -> None:
    said = (
        '[aac @ 0x7f01] Unsupported channel layout "9.1.6"\n'
        "[aost#0:0/aac @ 0x7f02] Could not open encoder before EOF\n"
        "[af#0:0 @ 0x7f03] Task finished with error code: -22 (Invalid argument)\n"
        "[af#0:0 @ 0x7f03] Terminating thread with return code -22 (Invalid argument)\n"
        "[out#0/ipod @ 0x7f04] Nothing was written into output file, because no packets were received.\n"
    )
    assert ffmpeg.last_words(said) == 'Unsupported channel layout "9.1.6"'
