"""The watermark: hardly there for eyes, and found again by its detector and by nobody's chance."""

import io
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image as PillowImage

from faceanim_cli.provenance.watermark import Watermark
from faceanim_cli.provenance.watermark_code import codebook, decode, encode
from faceanim_cli.provenance.watermark_detector import Detection, detect

MARK = 40_321


def grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def found(frame: np.ndarray) -> Detection:
    return detect([grey(frame)])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


@pytest.fixture(scope="module")
def marked(astronaut: np.ndarray) -> np.ndarray:
    return Watermark(MARK).embed(astronaut)


class TestCode:
    def test_words_differ_in_23_bits_or_more(self) -> None:
        words = codebook() > 0
        assert words.shape == (65536, 63)
        # linear: the least weight is the least distance; 23 is that of the BCH code (63, 16)
        assert np.sort(words.sum(1))[:2].tolist() == [0, 23]
        rng = np.random.default_rng(0)
        a, b = rng.integers(0, 65536, (2, 50))
        assert np.array_equal(words[a] ^ words[b], words[a ^ b])

    @pytest.mark.parametrize("mark", [0, 1, 4711, 65535])
    def test_eleven_errors_are_mended(self, mark: int) -> None:
        received = encode(mark).copy()
        received[np.random.default_rng(mark).choice(63, 11, replace=False)] *= -1
        number, fit, error_rate = decode(received)
        assert number == mark
        assert fit == pytest.approx((63 - 22) / 63**0.5)
        assert error_rate == pytest.approx(11 / 63)

    @pytest.mark.parametrize("mark", [-1, 65536])
    def test_other_numbers_are_refused(self, mark: int) -> None:
        with pytest.raises(ValueError, match="0 to 65535"):
            Watermark(mark)


class TestPicture:
    def test_it_is_far_below_what_is_seen(self, astronaut: np.ndarray, marked: np.ndarray) -> None:
        assert psnr(astronaut, marked) > 43
        assert marked.dtype == np.uint8
        difference = marked.astype(int) - astronaut
        inside = (astronaut > 10) & (astronaut < 245)  # where nothing is cut off
        assert abs(difference[inside].mean()) < 0.05  # no brighter, no darker
        assert np.abs(difference).max() <= 10
        luma = np.ptp(difference, axis=2)[inside.all(2)]
        assert luma.max() == 0  # no change of colour

    def test_flat_walls_stay_flat(self) -> None:
        wall = np.full((512, 512, 3), 170, np.uint8)
        change = np.abs(Watermark(MARK).embed(wall).astype(int) - wall)
        assert change.max() <= 2
        assert (change == 2).mean() < 0.02

    def test_black_and_white_do_not_turn_round(self) -> None:
        for level in (0, 255):
            frame = np.full((64, 64, 3), level, np.uint8)
            assert np.abs(Watermark().embed(frame).astype(int) - level).max() <= 4

    def test_the_frame_that_was_given_is_left_alone(self, astronaut: np.ndarray) -> None:
        frame = astronaut.copy()
        Watermark().embed(frame)
        assert np.array_equal(frame, astronaut)

    @pytest.mark.parametrize("size", [(1, 1), (3, 16), (17, 2)])
    def test_even_the_smallest_frames_pass(self, size: tuple[int, int]) -> None:
        assert Watermark().embed(np.zeros((*size, 3), np.uint8)).shape == (*size, 3)


class TestDetection:
    @pytest.mark.parametrize("size", [(512, 512), (256, 256), (360, 640), (1280, 720), (1920, 1920)])
    def test_at_any_size(self, astronaut: np.ndarray, size: tuple[int, int]) -> None:
        frame = cv2.resize(astronaut, size[::-1], interpolation=cv2.INTER_AREA)
        marked = grey(Watermark(MARK).embed(frame))
        scale = min(1.0, 1280 / max(size))
        seen = detect([cv2.resize(marked, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)])
        assert seen.found
        assert seen.mark == MARK

    def test_a_small_video_has_it_in_its_frames_together(self, astronaut: np.ndarray) -> None:
        """128 pixels: one frame is too little, a moving picture is not."""
        watermark = Watermark(MARK)
        frames = [cv2.resize(astronaut[i : i + 256, i : i + 256], (128, 128)) for i in range(0, 120, 5)]
        assert not detect(map(grey, frames)).found
        seen = detect([grey(watermark.embed(frame)) for frame in frames])
        assert seen.found
        assert seen.mark == MARK

    def jpeg(self, frame: np.ndarray, quality: int) -> np.ndarray:
        encoded = io.BytesIO()
        PillowImage.fromarray(frame).save(encoded, "JPEG", quality=quality)
        return np.asarray(PillowImage.open(encoded))

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda frame: frame[30:491, 17:478], id="cropped"),
            pytest.param(lambda frame: frame[:, ::-1], id="mirrored"),
            pytest.param(
                lambda frame: cv2.resize(frame, (300, 300), interpolation=cv2.INTER_AREA), id="smaller"
            ),
            pytest.param(lambda frame: cv2.resize(frame, (900, 900)), id="larger"),
            pytest.param(lambda frame: np.pad(frame, ((0, 0), (200, 200), (0, 0))), id="between bars"),
            pytest.param(
                lambda frame: np.pad(frame, ((300, 60), (500, 268), (0, 0)), constant_values=236),
                id="on a screen",
            ),
            pytest.param(lambda frame: np.clip(frame * 0.7 + 20, 0, 255).astype(np.uint8), id="dimmed"),
        ],
    )
    def test_after_what_happens_to_pictures(
        self, marked: np.ndarray, change: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        seen = found(self.jpeg(np.ascontiguousarray(change(marked)), 85))
        assert seen.found
        assert seen.mark == MARK
        assert seen.error_rate < 0.25

    def test_what_is_not_marked_is_not_found(
        self, astronaut: np.ndarray, noise: Callable[..., np.ndarray]
    ) -> None:
        tiles = np.indices((512, 512)).sum(0)
        for picture in (
            grey(astronaut),
            skimage.data.grass(),  # textures
            skimage.data.text(),
            (tiles // 32 % 2 * 255).astype(np.uint8),  # as regular as the tiles of the watermark
            (127 + 100 * np.sin(tiles * 2 * np.pi / 16)).astype(np.uint8),
            grey(noise(1, 400, 512)[0]),
            np.zeros((240, 320), np.uint8),
        ):
            assert not detect([picture]).found

    def test_another_number_is_another_pattern(self, astronaut: np.ndarray, marked: np.ndarray) -> None:
        assert found(Watermark(MARK ^ 1).embed(astronaut)).mark == MARK ^ 1
        assert not np.array_equal(Watermark(MARK ^ 1).embed(astronaut), marked)

    def test_a_number_too_faint_is_not_told(self) -> None:
        told = Detection(z=7.0, fit=6.0, mark=MARK, error_rate=0.1, aligned=False)
        assert (told.found, told.number) == (True, MARK)
        assert (replace(told, z=8.0, fit=5.0).found, replace(told, z=8.0, fit=5.0).number) == (True, None)
        assert (replace(told, z=5.0).found, replace(told, z=5.0).number) == (False, None)

    def test_no_frame_is_no_picture(self) -> None:
        with pytest.raises(ValueError, match="no frame"):
            detect([])
