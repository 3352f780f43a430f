import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage.data import astronaut

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media import read_photo, write_photo

# 2 x 3 pixels, all different: a swapped axis, a flip or a swapped channel cannot hide.
MARKED = np.array(
    [[[250, 10, 20], [30, 240, 40], [50, 60, 230]], [[0, 0, 0], [255, 255, 255], [120, 130, 140]]], np.uint8
)
# The stored image that shows MARKED after the viewer has applied each orientation, per TIFF 6.0 tag 274:
# "row 0 is the ... side, column 0 is the ... side" of what is seen.
STORED = {
    1: MARKED,
    2: MARKED[:, ::-1],  # top, right
    3: MARKED[::-1, ::-1],  # bottom, right
    4: MARKED[::-1],  # bottom, left
    5: MARKED.transpose(1, 0, 2),  # left, top
    6: MARKED[:, ::-1].transpose(1, 0, 2),  # right, top
    7: MARKED[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: MARKED[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif)
    np.testing.assert_array_equal(read_photo(path), MARKED)


def test_the_usual_phone_jpeg_is_turned_clockwise(tmp_path: Path) -> None:
    upright = astronaut()[:200, 100:220]
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.fromarray(np.rot90(upright, 1)).save(path, exif=exif, quality=95)
    photo = read_photo(path)
    assert photo.shape == (200, 120, 3)
    assert np.abs(photo.astype(int) - upright).mean() < 3


def test_jpeg_channels_and_axes(tmp_path: Path) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24] = (200, 40, 10)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    photo = read_photo(path)
    assert photo.shape == (32, 48, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert photo.flags.c_contiguous
    np.testing.assert_allclose(photo[16, 8], (200, 40, 10), atol=4)


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0] = [(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 51)]  # opaque, clear, one fifth
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    expected = [
        [(200, 100, 0), (255, 255, 255), (244, 224, 204)]
    ]  # 51/255 = 0.2: 0.2 * 200 + 0.8 * 255 = 244
    np.testing.assert_allclose(read_photo(tmp_path / "cut.png"), expected, atol=1)


def test_grey_with_alpha(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[80, 255], [80, 0]]], np.uint8), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "la.png")[0, :, 0], [80, 255])


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(read_photo(tmp_path / "palette.png"), [[(255, 0, 0), (255, 255, 255)]])


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 77, 255]], np.uint8)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "grey.png"), [[(0, 0, 0), (77, 77, 77), (255,) * 3]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 257, 128 * 257, 200 * 257 + 128, 200 * 257 + 129, 65535]], np.uint16)
    path = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(path), levels)
    np.testing.assert_array_equal(read_photo(path)[0, :, 0], [0, 1, 128, 200, 201, 255])


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    bgr = np.array([[[0, 128 * 257, 65535], [257 * 7 + 200, 1000, 60000]]], np.uint16)
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), bgr)
    # by hand: 1999 / 257 = 7.78, 1000 / 257 = 3.89, 60000 / 257 = 233.46; the high bytes alone are 7, 3, 234
    np.testing.assert_array_equal(read_photo(path), [[(255, 128, 0), (233, 4, 8)]])


def test_sixteen_bit_colour_with_alpha_and_orientation(tmp_path: Path) -> None:
    bgra = np.array([[[0, 0, 65535, 65535], [0, 0, 0, 0]]], np.uint16)  # red, clear
    data = cv2.imencode(".png", bgra)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x02\0\0\0\0\0\0\0"[6:]  # orientation 2
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    path = tmp_path / "deep.png"
    path.write_bytes(data[:33] + chunk + data[33:])  # 8 signature + 25 IHDR
    np.testing.assert_array_equal(read_photo(path), [[(255, 255, 255), (255, 0, 0)]])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    blocks = np.zeros((16, 48, 4), np.uint8)  # CMYK, 255 is full ink
    blocks[:, :16, 0] = 255  # cyan
    blocks[:, 32:, 3] = 255  # black; the middle is bare paper
    Image.fromarray(blocks, "CMYK").save(tmp_path / "press.jpg", quality=95)
    photo = read_photo(tmp_path / "press.jpg")
    np.testing.assert_allclose(photo[8, [8, 24, 40]], [(0, 255, 255), (255, 255, 255), (0, 0, 0)], atol=12)


def test_colour_profile_is_applied(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert "sRGB" in ImageCms.getProfileDescription(lab)
    pixels = np.full((4, 4, 3), (200, 90, 60), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "srgb.png", icc_profile=lab.tobytes())
    np.testing.assert_array_equal(read_photo(tmp_path / "srgb.png"), pixels)  # sRGB: untouched
    Image.fromarray(pixels).save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    np.testing.assert_array_equal(read_photo(tmp_path / "broken.png"), pixels)
    swapped = bytearray(lab.tobytes())  # the same profile with the red and blue primaries exchanged
    swapped[:] = swapped.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    swapped[:] = swapped.replace(b"s\0R\0G\0B", b"x\0R\0G\0B").replace(b"sRGB", b"xRGB")
    Image.fromarray(pixels).save(tmp_path / "swapped.png", icc_profile=bytes(swapped))
    np.testing.assert_allclose(read_photo(tmp_path / "swapped.png")[0, 0], (60, 90, 200), atol=3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_photo(tmp_path / "two.gif")[0, 0], (255, 0, 0))


def damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.jpg"
    buffer = io.BytesIO()
    Image.fromarray(astronaut()[:64, :64]).save(buffer, "JPEG")
    contents = {
        "empty": b"",
        "text": b"this is no photo, whatever its name says",
        "noise": np.random.default_rng(0).bytes(2000),
        "truncated": buffer.getvalue()[: len(buffer.getvalue()) // 2],
        "movie": b"\0\0\0\x20ftypisom" + bytes(40),
        "heic": b"\0\0\0\x20ftypheic" + bytes(40),
    }
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "is a text"),
        ("noise", "no photo"),
        ("truncated", "truncated"),
        ("movie", "swapped"),
        ("heic", "HEIC"),
    ],
)
def test_unreadable_photos_are_named_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    path = damaged(tmp_path, kind)
    with pytest.raises(UnreadableInputError, match=words) as caught:
        read_photo(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [13_350, 60_000])  # above our limit; above Pillow's error
def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableInputError, match="megapixels"):
            read_photo(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 4000), value=st.binary(min_size=1, max_size=20), cut=st.integers(1, 5000))
def test_any_damage_is_one_named_error_or_a_photo(
    tmp_path: Path, position: int, value: bytes, cut: int
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(astronaut()[:40, 200:248]).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[position : position + len(value)] = value
    path = tmp_path / "any.png"
    path.write_bytes(bytes(data[:cut]))
    try:
        assert read_photo(path).shape[2] == 3
    except UnreadableInputError as error:
        assert "\n" not in str(error)


def test_written_png_is_exact_and_jpeg_is_close(tmp_path: Path) -> None:
    photo = astronaut()[:65, :43]
    write_photo(tmp_path / "out.png", photo)
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png"), photo)
    write_photo(tmp_path / "out.JPG", photo)
    assert np.abs(read_photo(tmp_path / "out.JPG").astype(int) - photo).mean() < 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.JPG", "out.png"]


def test_write_photo_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="png"):
        write_photo(tmp_path / "out.xyz", MARKED)
    with pytest.raises(ValueError, match="uint8"):
        write_photo(tmp_path / "out.png", MARKED.astype(np.float32))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
