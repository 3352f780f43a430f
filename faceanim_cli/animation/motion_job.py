"""Motion files: made of a driver, and used in place of one."""

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver_crop import Crop
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.provenance import provenance
from faceanim_cli.animation.rendering import Rendering
from faceanim_cli.animation.result import AnimationResult
from faceanim_cli.animation.scene import Scene
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import Box, FaceDetector, square_crop, track_face
from faceanim_cli.files import file_sha256
from faceanim_cli.media import (
    check_not_input,
    check_writable,
    open_output,
    open_video,
    playable_rate,
    read_photo,
    remove_leftovers,
)
from faceanim_cli.motion.library import LIBRARY, library_motion
from faceanim_cli.motion.motion_file import MOTION_SUFFIX, Motion, read_motion, write_motion
from faceanim_cli.pictures import Progress
from faceanim_models import Keypoints

logger = logging.getLogger(__name__)

DETECTIONS_PER_SECOND = 3.0  # a head moves little in a third of a second, and Viola-Jones is not free


def is_motion(driver: Path) -> bool:
    """Whether a driver is a motion file or, if there is no file of that name, a motion of the library."""
    return (driver.suffix.lower() == MOTION_SUFFIX and not driver.is_dir()) or _of_library(driver)


def _of_library(driver: Path) -> bool:
    return str(driver) in LIBRARY and not driver.exists()


def save_motion(
    animator: Animator,
    driver: Path,
    output: Path,
    driver_crop: Crop = "auto",
    fps: Fraction | None = None,
    progress: Progress | None = None,
) -> Motion:
    """Write the keypoint motion of a driver; arguments as ``animate_file``.

    Raises:
        UsageError: the output cannot be written or is the driver. UnreadableInputError: the driver.
        NoFaceError: no face in it.
    """
    if output.suffix.lower() != MOTION_SUFFIX:
        raise UsageError(f"cannot write {output}: give a name that ends in {MOTION_SUFFIX}")
    check_not_input(output, driver)
    check_writable(output)
    with open_video(driver, fps) as video:
        crop: Box | None = None
        boxes = None
        if driver_crop == "auto":
            track = track_face(video.sample(DETECTIONS_PER_SECOND), FaceDetector(), name=str(driver))
            crop = track.clip_crop((video.width, video.height))
            boxes = track.boxes_of_frames()
        elif driver_crop is not None:
            crop = square_crop(Box(*driver_crop), (video.width, video.height))
        found: list[Keypoints] = []
        done = 0
        for batch in animator.detect(video, crop, boxes):
            turns = None if batch.jacobians is None else batch.jacobians.float().cpu()
            found.append(Keypoints(batch.points.float().cpu(), turns))
            done += len(batch.points)
            if progress is not None:
                progress(done, video.frame_count_estimate)
        if not found:
            raise UnreadableInputError(f"{driver}: no frames to take motion from")
        jacobians = [batch.jacobians for batch in found if batch.jacobians is not None]
        motion = Motion(
            torch.cat([batch.points for batch in found]).numpy(),
            video.fps,
            animator.anchors,
            torch.cat(jacobians).numpy() if jacobians else None,
            file_sha256(animator.weights),
        )
    write_motion(output, motion)
    return motion


def animate_motion(
    animator: Animator,
    photo: Path,
    driver: Path,
    output: Path,
    photo_crop: Crop,
    rendering: Rendering,
    start_frame: int | None = None,
    progress: Progress | None = None,
) -> AnimationResult:
    """Animate a photo with a motion file or a motion of the library; arguments as ``animate_file``.

    Raises:
        UsageError: the motion is of other weights, or shows nothing that was asked to be shown.
        UnreadableInputError: the photo or the motion.
    """
    if rendering.side_by_side:
        raise UsageError(f"{driver} has no frames to show: leave out --side-by-side")
    of_library = _of_library(driver)
    motion = library_motion(str(driver), animator.anchors) if of_library else read_motion(driver)
    motion.check_fit(animator.anchors, file_sha256(animator.weights), str(driver))
    motion = motion.resampled(playable_rate(output, rendering.fps or motion.fps))
    scene = Scene(animator, read_photo(photo), photo_crop, rendering, name=str(photo))
    if animator.relative:
        start_frame = _count_from(scene, motion, start_frame, str(driver))
    batches = [
        _part(motion, i, i + animator.batch, animator.device)
        for i in range(0, len(motion.points), animator.batch)
    ]
    nothing = np.zeros((1, 1, 3), np.uint8)  # there is no driving frame beside the result
    done = 0
    remove_leftovers(output)
    with (
        Pipeline() as pipeline,
        open_output(
            output,
            motion.fps,
            scene.size,
            audio_from=rendering.sound,
            encoding=rendering.encoding,
            metadata=provenance(animator),
        ) as writer,
    ):
        for results in pipeline.stage("infer", scene.follow(batches)):
            writer.write(scene.compose(results, nothing))
            done += 1
            if progress is not None:
                progress(done, len(motion.points))
    return AnimationResult(output, done, float(motion.fps), 0, start_frame)


def _count_from(scene: Scene, motion: Motion, wanted: int | None, name: str) -> int:
    if wanted is None:
        wanted = motion.reference
    if wanted is not None and wanted >= len(motion.points):
        raise UsageError(f"{name}: has no frame {wanted}; give --start-frame a smaller number")
    first, last = (0, len(motion.points)) if wanted is None else (wanted, wanted + 1)
    found = scene.count_from([_part(motion, first, last, torch.device("cpu"))])
    logger.info("%s: motion counts from frame %d", name, first + (found or 0))
    return first + (found or 0)


def _part(motion: Motion, first: int, last: int, device: torch.device) -> Keypoints:
    turns = motion.jacobians
    return Keypoints(
        torch.from_numpy(motion.points[first:last]).to(device),
        None if turns is None else torch.from_numpy(turns[first:last]).to(device),
    )
