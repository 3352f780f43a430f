"""Photos and drivers as they come in real life, damaged or merely odd, made from the free portrait."""

import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import imageio_ffmpeg
import numpy as np
from PIL import Image

SIDE = 160  # pixels: small, but the face is found


def portrait(astronaut: np.ndarray) -> np.ndarray:
    """The astronaut's head, uint8 (SIDE, SIDE, 3)."""
    return np.asarray(cv2.resize(astronaut[:256, 96:352], (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def save_photo(path: Path, pixels: np.ndarray, mode: str = "RGB", orientation: int | None = None) -> None:
    """A photo in the mode and the EXIF orientation that are given; shown upright it is ``pixels``."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
        pixels = stored(pixels, orientation)
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores what is to be seen as ``pixels`` (TIFF 6.0, tag 274)."""
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: np.rot90(pixels, 2),
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }
    return np.ascontiguousarray(turned[orientation])


def save_animation(path: Path, pixels: np.ndarray) -> None:
    """A moving GIF or WebP whose frames shift to the right."""
    frames = [Image.fromarray(np.roll(pixels, 2 * i, axis=1)) for i in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)


def header_bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A PNG of a hundred bytes that says it is 1.2 GB of pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 100)),
        (b"IEND", b""),
    ]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    fps: str = "25",
    extra: Sequence[str] = (),
    before: Sequence[str] = (),
) -> None:
    """A video, by ffmpeg itself: H.264 unless ``extra`` says otherwise."""
    height, width, _ = frames[0].shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", fps]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv444p"]
    ffmpeg(*raw, *before, "-i", "-", *codec, *extra, str(path), stdin=np.stack(frames).tobytes())


def ffmpeg(*arguments: str, stdin: bytes = b"") -> None:
    """Run the ffmpeg that imageio brings."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, input=stdin, check=True)


def truncated(eighth: int) -> Callable[[Path], None]:
    """Cuts a file after so many eighths of it."""

    def cut(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * eighth // 8])

    return cut


class Files(NamedTuple):
    """A folder with what every case starts from."""

    photo: Path
    driver: Path
    face: np.ndarray  # uint8 (160, 160, 3)


def photo_bytes(data: bytes) -> Callable[[Files], None]:
    return lambda files: void(files.photo.write_bytes(data))


def driver_bytes(data: bytes) -> Callable[[Files], None]:
    return lambda files: void(files.driver.write_bytes(data))


def void(_: object) -> None:
    """Some calls return what nobody wants here."""


def shifted(face: np.ndarray, count: int = 3) -> list[np.ndarray]:
    """A head that moves to the right, 2 pixels a frame."""
    return [np.ascontiguousarray(np.roll(face, 2 * i, axis=1)) for i in range(count)]


def as_jpeg(then: Callable[[Path], None]) -> Callable[[Files], None]:
    def arrange(files: Files) -> None:
        save_photo(files.photo.with_name("photo.jpg"), files.face)
        then(files.photo.with_name("photo.jpg"))

    return arrange


def photo_of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Files], None]:
    return lambda files: save_photo(files.photo, change(files.face))


def driver_of(change: Callable[[np.ndarray], np.ndarray], **how: str) -> Callable[[Files], None]:
    return lambda files: encode(files.driver, [change(f) for f in shifted(files.face)], **how)


def two_faces(face: np.ndarray) -> np.ndarray:
    return np.hstack((face, face[:, ::-1]))


def at_the_border(face: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(face[20:125, 45:150])  # hair, chin and ear are cut


def sixteen_bit(files: Files) -> None:
    assert cv2.imwrite(str(files.photo), files.face[..., ::-1].astype(np.uint16) * 257)


def with_alpha(files: Files) -> None:
    Image.fromarray(np.dstack((files.face, np.full(files.face.shape[:2], 200, np.uint8)))).save(files.photo)


def sound_only(files: Files) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", "-c:a", "aac", str(files.driver))


def sound_as_photo(files: Files) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", str(files.photo.with_name("photo.wav")))
    files.photo.with_name("photo.wav").replace(files.photo)


def turned_by_metadata(files: Files) -> None:
    lying = files.driver.with_name("lying.mp4")
    encode(lying, [np.ascontiguousarray(np.rot90(f)) for f in shifted(files.face)])
    ffmpeg("-display_rotation", "-90", "-i", str(lying), "-c", "copy", str(files.driver))
    lying.unlink()


def uneven_times(files: Files) -> None:
    """Frames at 0, 40 and 160 ms: the second is held for three."""
    times = ["-vf", "setpts='if(eq(N,2),4,N)/25/TB'", "-fps_mode", "vfr", "-enc_time_base", "1/25"]
    encode(files.driver, shifted(files.face), extra=times)


def renamed(photo: str, driver: str = "driver.mp4") -> Callable[[Files], None]:
    def arrange(files: Files) -> None:
        files.photo.rename(files.photo.with_name(photo))
        files.driver.rename(files.driver.with_name(driver))

    return arrange


def linked(link: Callable[[Path, Path], None]) -> Callable[[Files], None]:
    """The output's name is another name of the driver."""
    return lambda files: link(files.driver.with_name("link.mp4"), files.driver)


def a_diary_in(folder: str) -> Callable[[Files], None]:
    def arrange(files: Files) -> None:
        files.photo.with_name(folder).mkdir()
        files.photo.with_name(folder).joinpath("diary.txt").write_text("dear diary")

    return arrange
