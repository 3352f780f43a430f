"""A figure like the paper's Figs. 4 and 5: photos down, driver frames across, results between."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.clip_files import ClipFile
from faceanim_cli.evaluation.frames import FramedClip, Framing
from faceanim_cli.evaluation.strips import in_a_column, in_a_row, tile
from faceanim_cli.media import read_photo, write_photo
from faceanim_cli.pictures import Image

PHOTOS, FRAMES = 4, 6  # when nobody says how many
GRID_TILE = 160  # pixels


def choose_cast(clips: Sequence[ClipFile], seed: int) -> tuple[list[ClipFile], ClipFile]:
    """Clips whose first frames are the photos, one a person, and a driver: somebody else if possible."""
    order = np.random.default_rng(seed).permutation(len(clips))
    driver = clips[order[0]]
    photos: dict[str, ClipFile] = {}
    for i in order[1:]:
        if clips[i].identity != driver.identity:
            photos.setdefault(clips[i].identity, clips[i])
    return list(photos.values())[:PHOTOS] or [driver], driver


def write_grid(
    path: Path,
    animator: Animator,
    photos: Sequence[ClipFile | Path],
    driver: ClipFile,
    size: int,
    crop: Framing,
    frames: int = FRAMES,
) -> None:
    """Write the figure as PNG or JPEG.

    Args:
        animator: in relative mode, without super-resolution, giving frames of ``size``.
        photos: photo files, or clips of which the first frame is taken.
        frames: how many columns, evenly spaced over the driver.

    Raises:
        NoFaceError: in a photo or the driver. UnreadableInputError: one of them.
        UsageError: the place cannot be written, or its name is neither .png nor .jpg.
    """
    framed = FramedClip(driver, size, crop)
    every = max(1, (framed.frame_count_estimate or 1) // (4 * frames))  # finely enough to space them evenly
    driving = [frame.image for frame in framed.frames(every)]
    columns = np.unique(np.linspace(0, len(driving) - 1, frames).round().astype(int)).tolist()
    blank = np.full((GRID_TILE, GRID_TILE, 3), 255, np.uint8)
    rows = [in_a_row([blank, *(tile(driving[i], GRID_TILE) for i in columns)])]
    chosen = [driving[i] for i in columns]  # the first frame first: relative motion counts from it
    for photo in photos:
        if isinstance(photo, ClipFile):
            picture: Image = next(FramedClip(photo, size, crop).frames()).image
            animator.set_photo(picture, crop=None)
        else:
            picture = read_photo(photo)
            animator.set_photo(picture, crop="auto", name=str(photo))
            if animator.photo_crop is not None:
                box = animator.photo_crop
                picture = np.ascontiguousarray(
                    picture[max(int(box.y), 0) : int(box.y + box.h), max(int(box.x), 0) : int(box.x + box.w)]
                )
        results = animator.animate(chosen, crop=None)
        rows.append(in_a_row([tile(picture, GRID_TILE), *(tile(result, GRID_TILE) for result in results)]))
    write_photo(path, in_a_column(rows))
