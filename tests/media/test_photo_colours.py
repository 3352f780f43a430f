"""Photos of every mode and colour profile look as the sRGB photo that they were made from."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from faceanim_cli.media import is_grey, read_photo
from tests.media import icc

PHOTO = astronaut()[0:128, 160:288]


def linear(levels: np.ndarray) -> np.ndarray:
    """uint8 sRGB to light in [0, 1] (IEC 61966-2-1)."""
    encoded = levels / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def stored(primaries: Any, gamma: float, top: int = 255) -> np.ndarray:
    """PHOTO's colours as a space with other primaries and a gamma stores them, [0, top]."""
    light = linear(PHOTO) @ np.array(icc.SRGB)  # XYZ
    values = light @ np.linalg.inv(np.array(primaries))
    return np.round(values.clip(0, 1) ** (1 / gamma) * top).astype(np.uint16 if top > 255 else np.uint8)


def error(path: Path, expected: np.ndarray = PHOTO) -> float:
    return float(np.abs(read_photo(path).astype(int) - expected).mean())


SPACES = {
    "p3": (icc.P3, 2.2),
    "adobe": (icc.ADOBE, 563 / 256),
    "prophoto": (icc.PROPHOTO, 1.8),
    "linear srgb": (icc.SRGB, 1.0),
    "linear prophoto": (icc.PROPHOTO, 1.0),
    "gamma 1.8": (icc.SRGB, 1.8),
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["an sRGB profile", "any"])
def test_rgb_profiles_are_judged_by_what_they_say(tmp_path: Path, space: str, name: str) -> None:
    primaries, gamma = SPACES[space]
    profile = icc.rgb_profile(primaries, gamma, name)
    Image.fromarray(stored(primaries, gamma)).save(tmp_path / "a.png", icc_profile=profile)
    assert error(tmp_path / "a.png") < 2.5
    Image.fromarray(stored(primaries, gamma)).save(tmp_path / "a.webp", icc_profile=profile, lossless=True)
    assert error(tmp_path / "a.webp") < 2.5


@pytest.mark.parametrize("space", ["linear srgb", "linear prophoto", "adobe"])
def test_sixteen_bits_of_linear_light_keep_their_shadows(tmp_path: Path, space: str) -> None:
    primaries, gamma = SPACES[space]
    cv2.imwrite(str(tmp_path / "deep.png"), stored(primaries, gamma, 65535)[..., ::-1])
    add_chunk(tmp_path / "deep.png", b"iCCP", b"any\0\0" + zlib.compress(icc.rgb_profile(primaries, gamma)))
    dark = PHOTO.max(-1) < 60
    worst = np.abs(read_photo(tmp_path / "deep.png").astype(int) - PHOTO)[dark].max()
    assert worst <= (2 if gamma == 1 else 6)


def test_a_profile_that_is_srgb_changes_nothing(tmp_path: Path) -> None:
    curves = [
        (f"{channel}TRC", b"para\0\0\0\0\0\3\0\0" + b"".join(map(icc.fixed, PARAMETERS))) for channel in "rgb"
    ]
    columns = [(f"{c}XYZ", icc.xyz(column)) for c, column in zip("rgb", icc.SRGB, strict=True)]
    profile = icc.profile("RGB ", "XYZ ", columns + curves, "a nameless scanner")
    Image.fromarray(PHOTO).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), PHOTO)


PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "I;16"])
def test_grey_profiles_in_every_mode(tmp_path: Path, gamma: float, mode: str) -> None:
    light = (GREY / 255) ** gamma
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "grey.png", icc_profile=icc.grey_profile(gamma))
    shown = read_photo(tmp_path / "grey.png")
    np.testing.assert_allclose(shown, np.repeat(expected[..., None], 3, -1), atol=1.5)
    assert is_grey(shown)


def test_palettes_and_transparency_are_converted_too(tmp_path: Path) -> None:
    linear_light = icc.rgb_profile(icc.SRGB, 1.0)
    image = Image.new("P", (2, 1))
    image.putpalette([55, 55, 55, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=1, icc_profile=linear_light)
    half = Image.fromarray(np.array([[[55, 55, 55, 255], [55, 55, 55, 0], [55, 55, 55, 128]]], np.uint8))
    half.save(tmp_path / "rgba.png", icc_profile=linear_light)
    # 55/255 = 0.2157 of light is level 128 in sRGB; half of it over white is 191
    np.testing.assert_allclose(read_photo(tmp_path / "p.png")[0, :, 0], [128, 255], atol=1)
    np.testing.assert_allclose(read_photo(tmp_path / "rgba.png")[0, :, 1], [128, 255, 191], atol=1)


# Lab (D50) of sRGB's corners, from the standard's matrix: red, green, blue, white, black.
LAB = {
    "r": (54.3, 80.8, 69.9),
    "g": (87.8, -79.3, 81.0),
    "b": (29.6, 68.3, -112.0),
    "w": (100, 0, 0),
    "k": (0, 0, 0),
}
RGB = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "w": (255, 255, 255), "k": (0, 0, 0)}


def test_a_table_of_colours_for_rgb(tmp_path: Path) -> None:
    corners = np.zeros((2, 2, 2, 3))
    corners[1, 0, 0], corners[0, 1, 0], corners[0, 0, 1] = LAB["b"], LAB["r"], LAB["g"]  # in another order
    corners[1, 1, 1] = LAB["w"]
    pixels = np.array([[RGB["r"], RGB["g"], RGB["b"], RGB["w"], RGB["k"]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=icc.lut_profile("RGB ", corners))
    shown = read_photo(tmp_path / "a.png")[0]
    np.testing.assert_allclose(shown, [RGB["b"], RGB["r"], RGB["g"], RGB["w"], RGB["k"]], atol=12)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_a_press_with_and_without_profile(tmp_path: Path, suffix: str) -> None:
    corners = np.zeros((2, 2, 2, 2, 3))  # inks of an odd press: "cyan" prints red, "magenta" green
    corners[0, 0, 0, 0], corners[1, 0, 0, 0], corners[0, 1, 0, 0] = LAB["w"], LAB["r"], LAB["g"]
    blocks = np.zeros((16, 48, 4), np.uint8)
    blocks[:, :16, 0] = 255
    blocks[:, 32:, 1] = 255
    image = Image.fromarray(blocks, "CMYK")
    image.save(tmp_path / f"plain.{suffix}", quality=95)
    image.save(tmp_path / f"press.{suffix}", quality=95, icc_profile=icc.lut_profile("CMYK", corners))
    plain, press = (read_photo(tmp_path / f"{name}.{suffix}")[8, [6, 24, 42]] for name in ("plain", "press"))
    np.testing.assert_allclose(plain, [(0, 255, 255), (255, 255, 255), (255, 0, 255)], atol=12)
    np.testing.assert_allclose(press, [RGB["r"], RGB["w"], RGB["g"]], atol=16)


def test_lab_tiff(tmp_path: Path) -> None:
    pixels = np.array([[LAB["r"], LAB["w"], LAB["k"]]])
    levels = np.round(pixels * (2.55, 1, 1)).astype(np.int16).astype(np.uint8)  # a and b as two's complement
    Image.fromarray(levels, "LAB").save(tmp_path / "lab.tif")
    np.testing.assert_allclose(read_photo(tmp_path / "lab.tif")[0], [RGB["r"], RGB["w"], RGB["k"]], atol=8)


@pytest.mark.parametrize(
    "profile",
    [icc.grey_profile(1.0), icc.lut_profile("CMYK", np.zeros((2, 2, 2, 2, 3))), b"nothing", b"\0" * 200],
    ids=["grey", "press", "text", "zeros"],
)
def test_a_profile_of_another_kind_of_picture_is_left_out(tmp_path: Path, profile: bytes) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.tif", icc_profile=profile)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif"), PHOTO)
    with_rgb = tmp_path / "grey.tif"
    Image.fromarray(GREY).save(with_rgb, icc_profile=icc.rgb_profile(icc.SRGB, 1.0))
    np.testing.assert_array_equal(read_photo(with_rgb)[..., 0], GREY)


def add_chunk(path: Path, name: bytes, data: bytes) -> None:
    """Put a chunk behind a PNG's header."""
    old = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(old[:33] + chunk + old[33:])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "deep"])
def test_a_png_that_tells_only_its_gamma(tmp_path: Path, mode: str) -> None:
    light = np.round(linear(GREY) * (65535 if mode == "deep" else 255))
    if mode == "deep":
        cv2.imwrite(str(tmp_path / "a.png"), np.repeat(light.astype(np.uint16)[..., None], 3, -1))
    else:
        Image.fromarray(light.astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    add_chunk(tmp_path / "a.png", b"gAMA", struct.pack(">I", 100_000))  # 1.0: linear light
    shown = read_photo(tmp_path / "a.png")[..., 1].astype(int)
    np.testing.assert_allclose(shown, GREY, atol=1 if mode == "deep" else 7)
    Image.fromarray(GREY).save(tmp_path / "b.png")
    add_chunk(tmp_path / "b.png", b"gAMA", struct.pack(">I", 45_455))
    np.testing.assert_array_equal(read_photo(tmp_path / "b.png")[..., 1], GREY)


def test_black_and_white_photos_are_known(tmp_path: Path) -> None:
    grey = np.repeat(np.asarray(Image.fromarray(PHOTO).convert("L"))[..., None], 3, -1)
    assert is_grey(grey)
    assert not is_grey(PHOTO)
    noise = np.random.default_rng(0).normal(0, 2, PHOTO.shape)
    assert is_grey((grey + noise).clip(0, 255).astype(np.uint8))
    for quality in (40, 75, 95):
        Image.fromarray(grey).save(tmp_path / "grey.jpg", quality=quality)
        assert is_grey(read_photo(tmp_path / "grey.jpg"))


def test_a_little_colour_is_colour() -> None:
    grey = np.repeat(np.asarray(Image.fromarray(PHOTO).convert("L"))[..., None], 3, -1)
    sepia = (grey * (1.0, 0.95, 0.85)).astype(np.uint8)
    assert not is_grey(sepia)
    faded = (0.8 * grey + 0.2 * PHOTO).astype(np.uint8)
    assert not is_grey(faded)
    rose = grey.copy()
    rose[60:80, 60:80, 0] = 220  # a coloured flower in a grey picture
    assert not is_grey(rose)
