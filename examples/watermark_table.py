"""Measure what the watermark survives, and how often it is seen where there is none.

    faceanim batch photos drivers -o marked --mark 4711
    python examples/watermark_table.py marked --mark 4711 --unmarked photos drivers

Writes the README's tables: each video of MARKED is changed in each of several ways, and searched; each
picture and video of the folders after --unmarked is searched as it is, encoded anew and smaller, as a small
JPEG and enlarged, and so are patterns and noise. Intervals are Wilson's, 95 %.
"""
# ruff: noqa: T201  (a script says what it finds)

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media import open_video, read_photo
from faceanim_cli.media.ffmpeg import file_url, run
from faceanim_cli.media.find_files import walk
from faceanim_cli.pictures import Image
from faceanim_cli.provenance.verify import verify
from faceanim_cli.provenance.watermark_detector import THRESHOLD, detect

CROP = "crop=iw*0.9:ih*0.9:iw*0.03:ih*0.07"
EVEN = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
HALF = "scale=trunc(iw/4)*2:trunc(ih/4)*2"
PALETTE = "[0]split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer:bayer_scale=3"
CRF_28 = ["-crf", "28", "-map_metadata", "-1"]
WAYS: dict[str, tuple[str, list[str]]] = {
    "H.264, CRF 28": ("mp4", CRF_28),
    "H.264, CRF 35": ("mp4", ["-crf", "35"]),
    "half size, CRF 28": ("mp4", ["-vf", HALF, *CRF_28]),
    "10 % cropped, CRF 28": ("mp4", ["-vf", f"{CROP},{EVEN}", *CRF_28]),
    "10 % cropped, half size, CRF 28": ("mp4", ["-vf", f"{CROP},{HALF}", *CRF_28]),
    "480p between black bars, CRF 28": ("mp4", ["-vf", "scale=-2:480,pad=854:480:(ow-iw)/2", *CRF_28]),
    "mirrored, CRF 28": ("mp4", ["-vf", "hflip", *CRF_28]),
    "GIF of 256 colours": ("gif", ["-filter_complex", PALETTE]),
    "half cropped away, CRF 28": ("mp4", ["-vf", f"crop=iw*0.7:ih*0.7,{EVEN}", *CRF_28]),
    "stretched to 16:9, CRF 28": ("mp4", ["-vf", "scale=854:480", *CRF_28]),
    "turned by 3 degrees, CRF 28": ("mp4", ["-vf", "rotate=3*PI/180", *CRF_28]),
}
PATTERNS = 150  # stripes, and as many pictures of noise
SCREENSHOT = "CRF 28, a screenshot of one frame, as JPEG"


def changed(video: Path, way: str, folder: Path) -> Path:
    """What becomes of a video in one of ``WAYS``."""
    suffix, arguments = WAYS[way]
    output = folder / f"changed.{suffix}"
    code, _, words = run(["-loglevel", "error", "-y", "-i", file_url(video), *arguments, file_url(output)])
    if code:
        raise FaceanimError(f"{video}: {words}")
    return output


def screenshot(video: Path, folder: Path) -> Path:
    """The middle frame of a video at CRF 28 on a screen of 1920 x 1080, as JPEG of quality 85."""
    frames = list(open_video(changed(video, "H.264, CRF 28", folder)))
    frame = frames[len(frames) // 2]
    screen = np.full((1080, 1920, 3), 235, np.uint8)
    height, width = min(900, frame.shape[0]), min(1500, frame.shape[1])
    screen[120 : 120 + height, 300 : 300 + width] = frame[:height, :width]
    PillowImage.fromarray(screen).save(folder / "screen.jpg", quality=85)
    return folder / "screen.jpg"


def survival(videos: Sequence[Path], mark: int) -> Iterator[str]:
    """The table of what the watermark survives, line by line."""
    yield "| what was done | found | 95 % | number right | wrong | lowest score |"
    yield "|---|---:|---:|---:|---:|---:|"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for way in ("as written", *WAYS, SCREENSHOT):
            seen = []
            for video in videos:
                file = video if way == "as written" else None
                file = file or (
                    screenshot(video, folder) if way == SCREENSHOT else changed(video, way, folder)
                )
                seen.append(verify(file).watermark)
            found = sum(one.found for one in seen)
            right = sum(one.number == mark for one in seen)
            wrong = sum(one.number not in (mark, None) for one in seen)
            low, high = wilson(found, len(seen))
            lowest = min(one.score for one in seen)
            yield (
                f"| {way} | {found} of {len(seen)} | {low:.0%} to {high:.0%} | {right} of {found} | {wrong} "
                f"| {lowest:.1f} |"
            )


def unmarked(folders: Sequence[Path]) -> Iterator[list[Image]]:
    """Grey frames without a watermark: of each file in four versions, and of patterns and noise."""
    for folder in folders:
        for listing in walk(folder):
            for video in listing.videos:
                with open_video(video) as opened:
                    frames = list(islice(opened.frames(step=4), 16))
                yield from _versions(frames)
            for photo in listing.photos:
                yield from _versions([read_photo(photo)])
    rng = np.random.default_rng(0)
    rows, columns = np.indices((512, 512)).astype(np.float32)
    for _ in range(PATTERNS):
        turn, wave = rng.uniform(0, np.pi), rng.uniform(4, 64)
        stripes = np.sin((rows * np.cos(turn) + columns * np.sin(turn)) * 2 * np.pi / wave)
        yield [(127 + 100 * stripes).astype(np.uint8)]
        noise = rng.normal(size=(512, 512)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 8))
        yield [np.clip(127 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)]


def _versions(frames: list[Image]) -> Iterator[list[Image]]:
    def grey(frame: Image, side: int, how: int) -> Image:
        scale = side / max(frame.shape[:2])
        return cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=how
        )

    def jpeg(frame: Image, quality: int) -> Image:
        encoded = io.BytesIO()
        PillowImage.fromarray(frame).save(encoded, "JPEG", quality=quality)
        return np.asarray(PillowImage.open(encoded))

    yield [grey(frame, min(1280, max(frame.shape[:2])), cv2.INTER_AREA) for frame in frames]
    yield [jpeg(grey(frame, 360, cv2.INTER_AREA), 40) for frame in frames]
    yield [jpeg(grey(frames[0], 256, cv2.INTER_AREA), 60)]
    yield [grey(frames[-1], 1080, cv2.INTER_CUBIC)]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle = (hits + z * z / 2) / (count + z * z)
    reach = z / (count + z * z) * (hits * (count - hits) / count + z * z / 4) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and return the exit code."""
    parser = argparse.ArgumentParser(description="What the watermark survives, and how often it is seen.")
    parser.add_argument("marked", type=Path, nargs="?", help="folder of results, as `faceanim batch` writes")
    parser.add_argument("--mark", type=int, default=0, help="the number that they were marked with")
    parser.add_argument("--unmarked", type=Path, nargs="+", help="folders of other pictures and videos")
    options = parser.parse_args(arguments)
    if options.marked:
        videos = [video for listing in walk(options.marked) for video in listing.videos]
        for line in survival(videos, options.mark):
            print(line, flush=True)
    if options.unmarked:
        scores = np.array([detect(frames).score for frames in unmarked(options.unmarked)])
        alarms = int((scores >= THRESHOLD).sum())
        low, high = wilson(alarms, len(scores))
        print(
            f"{alarms} of {len(scores)} without a watermark reach {THRESHOLD:g}: {low:.2%} to {high:.2%}; "
            f"median {np.median(scores):.2f}, 99.9 % below {np.quantile(scores, 0.999):.2f}, "
            f"highest {scores.max():.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
