"""Animate every photo of a folder with every driving video of another, from Python.

    python examples/animate_folder.py PHOTOS DRIVERS OUTPUT

Writes OUTPUT/PHOTO_DRIVER.mp4. The weights are loaded once for all, unlike with calls of
``faceanim animate`` for each pair. Outputs that exist are skipped, a failure does not stop the others.
Exit code: 0 all done, 1 some failed, 2 wrong usage, 4 weights missing.
"""
# ruff: noqa: T201  (a script says what it does)

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceanim_cli import Animator
from faceanim_cli.animation.job import animate_file
from faceanim_cli.errors import FaceanimError

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
DRIVERS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"}


def files(folder: Path, suffixes: set[str]) -> list[Path]:
    """The folder's files of these kinds, sorted."""
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith("."))


def pairs(photos: Sequence[Path], drivers: Sequence[Path], output: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Each photo with each driver, and the file to write."""
    for photo in photos:
        for driver in drivers:
            yield photo, driver, output / f"{photo.stem}_{driver.stem}.mp4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the batch and return the exit code."""
    parser = argparse.ArgumentParser(
        description="Animate every photo of a folder with every video of another."
    )
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("drivers", type=Path, help="folder of driving videos")
    parser.add_argument("output", type=Path, help="folder to write PHOTO_DRIVER.mp4 into")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    parser.add_argument("--no-sr", action="store_true", help="leave out super-resolution: smaller, faster")
    options = parser.parse_args(arguments)
    for folder in (options.photos, options.drivers):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    photos, drivers = files(options.photos, PHOTOS), files(options.drivers, DRIVERS)
    if not photos or not drivers:
        parser.error(f"{options.drivers if photos else options.photos}: nothing in it to work with")
    options.output.mkdir(parents=True, exist_ok=True)

    try:
        animator = Animator(device=options.device, sr=not options.no_sr)
    except FaceanimError as error:
        print(error, file=sys.stderr)
        return error.exit_code

    done = skipped = failed = 0
    planned: set[Path] = set()
    for photo, driver, output in pairs(photos, drivers, options.output):
        try:
            if output in planned:
                raise FaceanimError(f"another pair is written to {output}; rename one")
            planned.add(output)
            if output.exists():
                skipped += 1
                continue
            result = animate_file(animator, photo, driver, output)
            print(f"{output}: {result.frames} frames")
            done += 1
        except FaceanimError as error:
            print(f"{photo}, {driver}: {error}", file=sys.stderr)
            failed += 1
    print(f"{done} done, {skipped} skipped, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
