"""What counts as a photo: cameras' RAW files, previews inside TIFFs, HEIC, AVIF, several pictures in one."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from skimage.data import astronaut

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import check_photo, open_video, read_photo
from tests.media.conftest import ffmpeg

PHOTO = astronaut()[0:96, 160:288]

Entry = tuple[int, int, int, int]  # tag, type, count, value


class Tiff:
    """A TIFF built directory by directory, as cameras lay out their RAW files."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))

    def put(self, data: bytes) -> int:
        at = len(self.data)
        self.data += data + b"\0" * (len(data) % 2)
        return at

    def picture(self, pixels: np.ndarray, photometric: int = 2, extra: list[Entry] | None = None) -> int:
        height, width = pixels.shape[:2]
        strip = self.put(pixels.tobytes())
        depth = self.put(struct.pack(f"{self.order}3H", 8, 8, 8))
        entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, depth), (259, 3, 1, 1)]
        entries += [(262, 3, 1, photometric), (273, 4, 1, strip), (277, 3, 1, 3), (278, 4, 1, height)]
        entries += [(279, 4, 1, pixels.size), (284, 3, 1, 1), *(extra or [])]
        packed = b""
        for tag, kind, count, value in sorted(entries):
            short = kind == 3 and count == 1
            number = struct.pack(
                f"{self.order}{'HH' if short else 'I'}", *((value, 0) if short else (value,))
            )
            packed += struct.pack(f"{self.order}HHI", tag, kind, count) + number
        return self.put(struct.pack(f"{self.order}H", len(entries)) + packed + bytes(4))

    def save(self, path: Path, first: int) -> Path:
        self.data[4:8] = struct.pack(f"{self.order}I", first)
        path.write_bytes(self.data)
        return path


def raw(path: Path, make: bytes, order: str = "<", *, dng: bool = False) -> Path:
    """A preview of a quarter of the size first, the photo in a sub-directory."""
    tiff = Tiff(order)
    inside = tiff.picture(PHOTO, extra=[(254, 4, 1, 0)])
    maker = tiff.put(make + b"\0")
    extra = [(254, 4, 1, 1), (271, 2, len(make) + 1, maker), (330, 4, 1, inside)]
    extra += [(50706, 1, 4, struct.unpack(f"{order}I", b"\1\4\0\0")[0])] if dng else []
    return tiff.save(path, tiff.picture(PHOTO[::4, ::4], extra=extra))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.NEF", b"NIKON CORPORATION", "Nikon NEF"),
        ("a.ARW", b"SONY", "Sony ARW"),
        ("a.pef", b"PENTAX Corporation", "Pentax PEF"),
        ("renamed.jpg", b"FIELD CAMERA", "FIELD CAMERA"),
    ],
)
def test_a_raw_file_is_refused_by_what_it_is(
    tmp_path: Path, name: str, make: bytes, said: str, order: str
) -> None:
    path = raw(tmp_path / name, make, order)
    for read in (read_photo, check_photo):
        with pytest.raises(UnreadableInputError, match=rf"RAW file \({said}\); export it as JPEG"):
            read(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_dng_is_refused_even_if_its_picture_comes_first(tmp_path: Path, order: str) -> None:
    with pytest.raises(UnreadableInputError, match=r"RAW file \(DNG\)"):
        read_photo(raw(tmp_path / "a.dng", b"Google", order, dng=True))
    tiff = Tiff(order)
    path = tiff.save(tmp_path / "b.tif", tiff.picture(PHOTO, photometric=34892))
    with pytest.raises(UnreadableInputError, match=r"RAW file"):
        read_photo(path)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0", "Canon CR2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "Canon CR3"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAF"),
        (b"IIRO\x08\0\0\0", "Olympus ORF"),
        (b"IIU\0\x18\0\0\0", "Panasonic RW2"),
        (b"FOVb\1\0\2\0", "Sigma X3F"),
        (b"\0MRM\0\1", "Minolta MRW"),
    ],
)
def test_raw_files_with_a_signature_of_their_own(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(head + bytes(500))
    with pytest.raises(UnreadableInputError, match=rf"RAW file \({said}\); export it as JPEG"):
        read_photo(path)


def test_a_preview_of_a_later_page_is_passed_over(tmp_path: Path) -> None:
    preview, page = Image.fromarray(PHOTO[::4, ::4]), Image.fromarray(PHOTO)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1
    preview.save(tmp_path / "a.tif", save_all=True, append_images=[page], tiffinfo=info)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif"), PHOTO)


def test_a_scan_of_several_pages_shows_the_first(tmp_path: Path) -> None:
    first, second = Image.fromarray(PHOTO), Image.fromarray(PHOTO[:, ::-1])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif"), PHOTO)


def test_an_editors_tiff_with_a_preview_behind_is_a_photo(tmp_path: Path) -> None:
    tiff = Tiff()
    inside = tiff.picture(PHOTO[::4, ::4], extra=[(254, 4, 1, 1)])
    path = tiff.save(tmp_path / "a.tif", tiff.picture(PHOTO, extra=[(254, 4, 1, 0), (330, 4, 1, inside)]))
    np.testing.assert_array_equal(read_photo(path), PHOTO)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "AVIF", "MPO", "TIFF"])
def test_of_several_pictures_the_first(tmp_path: Path, form: str) -> None:
    if form == "AVIF":
        pytest.importorskip("PIL._avif")
    images = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue", "lime")]
    images[0].save(tmp_path / "photo.bin", form, save_all=True, append_images=images[1:])
    photo = read_photo(tmp_path / "photo.bin")
    assert photo.shape == (48, 64, 3)
    np.testing.assert_allclose(photo[20, 20], (255, 0, 0), atol=4)


def test_avif_is_a_photo_with_its_orientation(tmp_path: Path) -> None:
    pytest.importorskip("PIL._avif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(PHOTO)).save(tmp_path / "a.avif", exif=exif, quality=95)
    photo = read_photo(tmp_path / "a.avif")
    assert photo.shape == PHOTO.shape
    assert np.abs(photo.astype(int) - PHOTO).mean() < 4


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(400)


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)  # as if it were not installed
    (tmp_path / "a.heic").write_bytes(HEIC)
    for read in (read_photo, check_photo):
        with pytest.raises(UnreadableInputError, match=r"HEIC.*pip install 'faceanim-cli\[heic\]'"):
            read(tmp_path / "a.heic")


def box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + name + data


def heic(path: Path, pixels: np.ndarray) -> Path:
    """One HEVC picture in the boxes of ISO/IEC 23008-12."""
    height, width = pixels.shape[:2]
    movie = path.with_suffix(".mp4")
    raw_video = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-i", "-")
    codec = ("-c:v", "libx265", "-x265-params", "log-level=error:info=0", "-crf", "4", "-pix_fmt", "yuv420p")
    bt601 = (
        "-vf",
        "scale=out_color_matrix=bt601:out_range=pc",
        "-colorspace",
        "smpte170m",
        "-color_range",
        "pc",
    )
    ffmpeg(*raw_video, *codec, *bt601, str(movie), stdin=pixels.tobytes())
    data = movie.read_bytes()
    start = data.index(b"hvcC") - 4
    settings = data[start : start + struct.unpack(">I", data[start : start + 4])[0]]
    start = data.index(b"mdat") - 4
    coded = data[start + 8 : start + struct.unpack(">I", data[start : start + 4])[0]]
    full = bytes(4)  # version and flags
    head = box(b"ftyp", b"heic", full, b"mif1heic")
    place = 0
    for _ in range(2):  # the second time the place of the data is known
        meta = box(
            b"meta",
            full,
            box(b"hdlr", full, bytes(4), b"pict", bytes(13)),
            box(b"pitm", full, b"\0\1"),
            box(
                b"iloc",
                full,
                b"\x44\0",
                b"\0\1",
                b"\0\1",
                b"\0\0",
                b"\0\1",
                struct.pack(">2I", place, len(coded)),
            ),
            box(b"iinf", full, b"\0\1", box(b"infe", b"\2\0\0\0", b"\0\1\0\0", b"hvc1", b"\0")),
            box(
                b"iprp",
                box(b"ipco", settings, box(b"ispe", full, struct.pack(">2I", width, height))),
                box(b"ipma", full, b"\0\0\0\1", b"\0\1", b"\2", b"\x81\2"),
            ),
        )
        place = len(head) + len(meta) + 8
    path.write_bytes(head + meta + box(b"mdat", coded))
    return path


def test_heic_is_read_where_its_package_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    photo = read_photo(heic(tmp_path / "a.heic", PHOTO))
    assert photo.shape == PHOTO.shape
    assert np.abs(photo.astype(int) - PHOTO).mean() < 4


def test_heic_is_a_photo_and_no_driver(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="it is a photo; are photo and driving video swapped"):
        open_video(heic(tmp_path / "a.heic", PHOTO))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_truncated_files_are_told(tmp_path: Path, suffix: str, kept: float) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        tmp_path / f"a.{suffix}"
    )
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UnreadableInputError) as caught:
        read_photo(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
