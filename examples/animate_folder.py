"""Animate every photo of a folder with every driving video of another, from Python.

    python examples/animate_folder.py PHOTOS DRIVERS OUTPUT

Writes OUTPUT/PHOTO_DRIVER.mp4: what ``faceanim batch`` does, in a loop of your own to build on. The weights
are loaded once for all. Outputs that exist are skipped, a failure does not stop the others.
Exit code: 0 all done, 1 some failed, 2 wrong usage, 4 weights missing, 5 nothing to work with.
"""
# ruff: noqa: T201  (a script says what it does)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from faceanim_cli import Animator
from faceanim_cli.animation.job import animate_file
from faceanim_cli.batch.plan import plan_batch
from faceanim_cli.errors import FaceanimError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the batch and return the exit code."""
    parser = argparse.ArgumentParser(
        description="Animate every photo of a folder with every video of another."
    )
    parser.add_argument("photos", help="folder of photos")
    parser.add_argument("drivers", help="folder of driving videos")
    parser.add_argument("output", type=Path, help="folder to write PHOTO_DRIVER.mp4 into")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    parser.add_argument("--no-sr", action="store_true", help="leave out super-resolution: smaller, faster")
    options = parser.parse_args(arguments)
    try:
        plan = plan_batch(options.photos, options.drivers, options.output, name="{photo}_{driver}.mp4")
        animator = Animator(device=options.device, sr=not options.no_sr)
    except FaceanimError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    options.output.mkdir(parents=True, exist_ok=True)

    done = skipped = failed = 0
    for item in plan.items:
        if item.output.exists():  # it is whole: outputs appear under their names only then
            skipped += 1
            continue
        try:
            result = animate_file(animator, item.photo, item.driver, item.output)
            print(f"{item.output}: {result.frames} frames")
            done += 1
        except FaceanimError as error:
            print(f"{item.photo}, {item.driver}: {error}", file=sys.stderr)
            failed += 1
    print(f"{done} done, {skipped} skipped, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
