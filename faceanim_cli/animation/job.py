"""One animation from files to a file, frames streaming through; and a driver's motion into a file."""

import logging
from fractions import Fraction
from pathlib import Path

import torch

from faceanim_cli.animation.animated_photo import AnimatedPhoto, warn_of_share
from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver import Crop, Driver, VideoDriver
from faceanim_cli.animation.motion_driver import MotionDriver, is_motion
from faceanim_cli.animation.networks import part_of
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.result import AnimationResult, RenderSettings, provenance_tags
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import FaceDetector, crop_image
from faceanim_cli.media import (
    FrameSource,
    check_not_input,
    check_photo_output,
    check_writable,
    open_output,
    open_video,
    playable_rate,
    read_photo,
    remove_leftovers,
    write_photo,
)
from faceanim_cli.motion.motion_file import MOTION_SUFFIX, Motion, write_motion
from faceanim_cli.pictures import Progress
from faceanim_models import Keypoints

logger = logging.getLogger(__name__)


def animate_file(
    animator: Animator,
    photo: Path,
    driver: Path,
    output: Path,
    *,
    photo_crop: Crop = "auto",
    driver_crop: Crop = "auto",
    render: RenderSettings | None = None,
    start_frame: int | None = None,
    show_crop: Path | None = None,
    progress: Progress | None = None,
) -> AnimationResult:
    """Animate ``photo`` as ``driver`` moves and write ``output``, whole or not at all.

    Frame count, exact frame rate and sound are the driver's unless ``render`` says otherwise. The driver
    is read twice: a few frames a second to find the face, then all of them. Decoding, inference and encoding
    run side by side.

    Args:
        animator: used for as many jobs as you like; weights are loaded once.
        photo, driver, output: paths; the driver is a video, a folder of frames, a motion file, or the
            name of a motion of the library; the output's name says what is written.
        photo_crop, driver_crop: "auto", (x, y, w, h) in pixels, or None for files that are framed alike.
        render: what the result shows and how it is written; None for the defaults.
        start_frame: the driver's frame, from 0, that relative motion counts from; None searches a few frames
            a second for the one closest to the photo in pose and expression.
        show_crop: a PNG or JPEG to write first, with what the networks see of photo and driver.
        progress: called with the number of frames done and the number expected, if known.

    Raises:
        UsageError: the output cannot be written, not so, or is an input; or a motion is of other weights.
        UnreadableInputError: photo or driver. NoFaceError: no face in photo or driver.
    """
    render = render or RenderSettings()
    render.check(output, photo, driver)
    if show_crop is not None:
        check_photo_output(show_crop, photo, driver)
    if is_motion(driver) and (show_crop is not None or render.side_by_side):
        option = "--side-by-side" if render.side_by_side else "--show-crop"
        raise UsageError(f"{driver} has no frames to show: leave out {option}")
    with Pipeline() as pipeline:
        if is_motion(driver):
            motion = MotionDriver(driver, animator, lambda own: playable_rate(output, render.fps or own))
            animated = AnimatedPhoto(animator, read_photo(photo), photo_crop, render, str(photo))
            return _write(animator, animated, motion, output, render, start_frame, pipeline, progress)
        picture = read_photo(photo)
        with _open_at_playable_rate(driver, output, render) as video:
            animated = AnimatedPhoto(animator, picture, photo_crop, render, str(photo))
            crop = None if photo_crop is None and driver_crop == "auto" else driver_crop
            source = _video_driver(animator, video, crop, pipeline)
            if isinstance(crop, tuple) and source.crop is not None:
                detector = FaceDetector()
                warn_of_share(source.first_frame(), source.crop, str(driver), "--driver-crop", detector)
            if show_crop is not None:
                shown = crop_image(source.first_frame(), source.crop, animator.model_size)
                write_photo(show_crop, animated.seen_by_networks(shown))
            return _write(animator, animated, source, output, render, start_frame, pipeline, progress)


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
    found: list[Keypoints] = []
    with Pipeline() as pipeline, open_video(driver, fps) as video:
        source = _video_driver(animator, video, driver_crop, pipeline)
        done = 0
        for batch in source.motion(pipeline, lambda *_: None):
            turns = None if batch.jacobians is None else batch.jacobians.float().cpu()
            found.append(Keypoints(batch.points.float().cpu(), turns))
            done += len(batch.points)
            if progress is not None:
                progress(done, source.frame_count_estimate)
    if not found:
        raise UnreadableInputError(f"{driver}: no frames to take motion from")
    jacobians = [batch.jacobians for batch in found if batch.jacobians is not None]
    motion = Motion(
        torch.cat([batch.points for batch in found]).numpy(),
        source.fps,
        animator.anchors,
        torch.cat(jacobians).numpy() if jacobians else None,
        animator.weights_sha256,
    )
    write_motion(output, motion)
    return motion


def _write(
    animator: Animator,
    animated: AnimatedPhoto,
    driver: Driver,
    output: Path,
    render: RenderSettings,
    start_frame: int | None,
    pipeline: Pipeline,
    progress: Progress | None,
) -> AnimationResult:
    """Animate and write all frames of a driver."""
    references: list[Keypoints | None] = [None for _ in animated.faces]
    if animator.motion.relative:
        start_frame, references = _choose_references(animated, driver, start_frame)
    remove_leftovers(output)
    frames = animated.animate(driver.motion(pipeline, animated.driver_panel), references)
    done = 0
    with open_output(
        output,
        driver.fps,
        animated.size(driver.size),
        audio_from=driver.sound if render.audio == "driver" else render.sound,
        encoding=render.encoding,
        metadata=provenance_tags(animator.weights, animator.weights_sha256),
    ) as writer:
        for results in pipeline.stage("infer", frames):
            writer.write(animated.compose(results, driver.next_panel()))
            done += 1
            if progress is not None:
                progress(done, driver.frame_count_estimate)
    return AnimationResult(output, done, float(driver.fps), driver.missed, start_frame)


def _choose_references(
    animated: AnimatedPhoto, driver: Driver, wanted: int | None
) -> tuple[int, list[Keypoints | None]]:
    """The frame that relative motion counts from: its number, from 0, and its keypoints for each face.

    It is the one that is wanted, or the one closest to each face; the number is the first face's.
    """
    numbers, candidates = driver.candidates(wanted)
    if candidates is None:
        return 0, [None for _ in animated.faces]
    closest = animated.closest_frames(candidates)
    logger.info("%s: motion counts from frames %s", driver.path, [i and numbers[i] for i in closest])
    references = [None if i is None else part_of(candidates, slice(i, i + 1)) for i in closest]
    return 0 if closest[0] is None else numbers[closest[0]], references


def _video_driver(animator: Animator, video: FrameSource, crop: Crop, pipeline: Pipeline) -> VideoDriver:
    return VideoDriver(video, crop, animator.detect, animator.model_size, pipeline)


def _open_at_playable_rate(driver: Path, output: Path, render: RenderSettings) -> FrameSource:
    """The driver at the rate of the result."""
    video = open_video(driver, render.fps)
    rate = playable_rate(output, video.fps)
    if rate == video.fps:
        return video
    logger.warning(
        "%s: such a file cannot play %g frames per second; it gets %g", output, video.fps, float(rate)
    )
    return open_video(driver, rate)
