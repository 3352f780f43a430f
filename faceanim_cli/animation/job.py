"""One animation from files to a file, frames streaming through; and a driver's motion into a file."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from faceanim_cli.animation.animated_photo import AnimatedPhoto, prepared_photo, warn_of_face_size
from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver import (
    FEW_CANDIDATES,
    MOST_CANDIDATES,
    Candidates,
    Driver,
    DrivingMotion,
)
from faceanim_cli.animation.driver_search import (
    Crop,
    DriverSearch,
    Excerpt,
    FaceSearch,
    crop_of_driver,
    open_driver,
    open_excerpt,
)
from faceanim_cli.animation.motion_driver import MotionDriver, is_motion
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.result import AnimationResult, RenderSettings, provenance_tags
from faceanim_cli.animation.video_driver import VideoDriver
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import FaceDetector, crop_image
from faceanim_cli.media import (
    check_not_input,
    check_photo_output,
    check_writable,
    open_output,
    playable_rate,
    remove_leftovers,
    write_photo,
)
from faceanim_cli.motion.motion_batch import MotionBatch, as_arrays, frame_count, join_motion, part_of
from faceanim_cli.motion.motion_file import MOTION_SUFFIX, Motion, write_motion
from faceanim_cli.pictures import Image, Progress
from faceanim_cli.provenance.signing import ContentSigner, ResultSigner

References: TypeAlias = list[list[MotionBatch | None]]

logger = logging.getLogger(__name__)

WORTH_TELLING = 60.0  # seconds of work on a CPU


def animate_file(
    animator: Animator,
    photo: Path,
    driver: Path,
    output: Path,
    *,
    photo_crop: Crop = "auto",
    driver_crop: Crop = "auto",
    driver_face: int | None = None,
    excerpt: Excerpt | None = None,
    render: RenderSettings | None = None,
    start_frame: int | None = None,
    show_crop: Path | None = None,
    signer: ContentSigner | None = None,
    progress: Progress | None = None,
    looking: Callable[[], None] = lambda: None,
    searched: FaceSearch | None = None,
) -> AnimationResult:
    """Animate ``photo`` as ``driver`` moves and write ``output``, whole or not at all.

    Frame count, exact frame rate and sound are the driver's unless ``render`` says otherwise. The driver
    is read twice: small, to find its cuts and the face between them, then as it is. Decoding, inference and
    encoding run side by side. Where the driver shows no face, the last motion is held.

    Args:
        animator: used for as many jobs as you like; weights are loaded once.
        photo, driver, output: paths; the driver is a video, a folder of frames, a motion file, or the
            name of a motion of the library; the output's name says what is written.
        photo_crop, driver_crop: "auto", a ``Framing``, (x, y, w, h) in pixels, or None for files that are
            framed alike.
        driver_face: which face of the driver to follow, counted from 1, left to right; None is the main one.
        excerpt: the part of the driver to take; None is all of it.
        render: what the result shows and how it is written; None for the defaults.
        start_frame: the frame, from 0, that relative motion counts from; None searches a few frames a second
            for the one closest to the photo in pose and expression.
        show_crop: a PNG or JPEG to write first, with what the networks see of photo and driver.
        signer: signs the result with content credentials, if its format can hold them.
        progress: called with the number of frames done and the number expected, if known.
        looking: called for each frame in which the face is looked for before that. What either raises ends
            the job.
        searched: what was begun before with the same photo, driver and settings: it is not done again.

    Raises:
        UsageError: the output cannot be written, not so, or is an input; or a motion is of other weights.
        UnreadableInputError: photo or driver. NoFaceError: no face in photo or driver.
    """
    render, excerpt, searched = render or RenderSettings(), excerpt or Excerpt(), searched or FaceSearch()
    render.check(output, photo, driver)
    if show_crop is not None:
        check_photo_output(show_crop, photo, driver)
    if is_motion(driver):
        unseen = {
            "--side-by-side": render.side_by_side,
            "--show-crop": show_crop,
            "--driver-face": driver_face,
            "--driver-crop": driver_crop != "auto",
        }
        if given := [option for option, value in unseen.items() if value]:
            raise UsageError(f"{driver} has no frames to show: leave out {' and '.join(given)}")
    with Pipeline() as pipeline, ExitStack() as opened:
        source: Driver
        if is_motion(driver):
            rate = partial(_motion_rate, output, render.fps)
            source = MotionDriver(driver, animator, rate, excerpt)
            animated = prepared_photo(animator, photo, photo_crop, render, searched.photo)
        else:
            search = searched.driver
            if search is None:
                crop = crop_of_driver(photo_crop, driver_crop)
                opener = partial(open_driver, driver, output, render.fps, excerpt)
                search = DriverSearch(opener, crop, driver_face, looking)
            opened.callback(search.close)
            video = VideoDriver(search, animator.detections, animator.model_size, animator.framer)
            animated = prepared_photo(animator, photo, photo_crop, render, searched.photo)
            video.find_face(pipeline)
            if isinstance(search.crop, tuple) and video.crops[0] is not None:
                warn_of_face_size(
                    video.first_frame(), video.crops[0], str(driver), "--driver-crop", FaceDetector()
                )
            if show_crop is not None:
                shown = crop_image(video.first_frame(), video.crops[0], animator.model_size)
                write_photo(show_crop, animated.seen_by_networks(shown))
            source = video
        result_signer = None if signer is None else signer.for_result(output, photo, animator.weights_sha256)
        result = _write(
            animator, animated, source, output, render, start_frame, pipeline, result_signer, progress
        )
        _warn_of_missing_faces(source)
        return result


def save_motion(
    animator: Animator,
    driver: Path,
    output: Path,
    driver_crop: Crop = "auto",
    fps: Fraction | None = None,
    progress: Progress | None = None,
    *,
    driver_face: int | None = None,
    excerpt: Excerpt | None = None,
) -> Motion:
    """Write the motion of a driver; arguments as ``animate_file``.

    Raises:
        UsageError: the output cannot be written or is the driver. UnreadableInputError: the driver.
        NoFaceError: no face in it.
    """
    if output.suffix.lower() != MOTION_SUFFIX:
        raise UsageError(f"cannot write {output}: give a name that ends in {MOTION_SUFFIX}")
    check_not_input(output, driver)
    check_writable(output)
    found: list[MotionBatch] = []
    shots: list[int] = []
    with Pipeline() as pipeline, ExitStack() as opened:
        opener = partial(open_excerpt, driver, fps, excerpt or Excerpt())
        search = DriverSearch(opener, driver_crop, driver_face)
        opened.callback(search.close)
        source = VideoDriver(search, animator.detections, animator.model_size, animator.framer)
        source.find_face(pipeline)
        source.candidates(None, FEW_CANDIDATES)
        for shot, seen in source.motion(pipeline, lambda *_: None):
            found.append(seen)
            shots += [shot] * frame_count(seen)
            if progress is not None:
                progress(len(shots), source.frame_count_estimate)
        _warn_of_missing_faces(source)
    if not found:
        raise UnreadableInputError(f"{driver}: no frames to take motion from")
    motion = Motion(
        as_arrays(join_motion(found)),
        source.fps,
        animator.anchors,
        animator.weights_sha256,
        network=animator.network,
        starts=tuple(shots.index(shot) for shot in sorted(set(shots))),
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
    result_signer: ResultSigner | None,
    progress: Progress | None,
) -> AnimationResult:
    """Animate and write all frames of a driver."""
    _log_estimated_time(animator, animated, driver)
    relative = animator.motion.relative
    candidates = driver.candidates(start_frame, MOST_CANDIDATES if relative else FEW_CANDIDATES)
    references: References = [[None for _ in animated.faces] for _ in candidates]
    if relative:
        start_frame, references = _choose_references(animated, driver, candidates)
    remove_leftovers(output)
    motion = driver.motion(pipeline, animated.driver_panel, animated.shows_whole_driver)
    # Beside what paints, so that no core waits for the last one at either; batches of motion are small.
    detected = pipeline.stage("detect", motion, depth=1)
    frames = _animate_shots(animated, driver, detected, references)
    done = 0
    with open_output(
        output,
        driver.fps,
        animated.size(driver.size),
        audio_from=driver.sound if render.audio == "driver" else render.sound,
        audio_start=driver.sound_start if render.audio == "driver" else 0.0,
        encoding=render.encoding,
        metadata=provenance_tags(animator.weights, animator.weights_sha256),
    ) as writer:
        writer.sign = result_signer
        for results in pipeline.stage("infer", frames):
            frame = animated.compose(results, driver.next_panel())
            writer.write(frame if animator.watermark is None else animator.watermark.embed(frame))
            done += 1
            if progress is not None:
                progress(done, driver.frame_count_estimate)
    signed = result_signer is not None and result_signer.signed
    return AnimationResult(output, done, float(driver.fps), driver.missed, start_frame, signed)


def _animate_shots(
    animated: AnimatedPhoto, driver: Driver, motion: Iterator[DrivingMotion], references: References
) -> Iterator[tuple[Image, ...]]:
    """The animated crops of all frames; each shot has its own references."""
    for shot, batches in groupby(motion, key=lambda batch: batch.shot):
        moves = (batch.motion for batch in batches)
        yield from animated.animate(moves, references[shot], driver.starts[shot])


def _choose_references(
    animated: AnimatedPhoto, driver: Driver, candidates: list[Candidates | None]
) -> tuple[int, References]:
    """For each shot and face the motion that relative motion counts from: the closest candidate's.

    Returns:
        The number of the first shot's frame, for the first face; and the motion, None for a shot's first
        frame.
    """
    references: References = []
    numbers: list[int] = []
    for start, shot in zip(driver.starts, candidates, strict=True):
        closest = [] if shot is None else animated.closest_frames(shot.motion)
        numbers.append(start if shot is None else shot.numbers[closest[0]])
        references.append(
            [None for _ in animated.faces]
            if shot is None
            else [part_of(shot.motion, [place]) for place in closest]
        )
    logger.info("%s: motion counts from frames %s", driver.path, numbers)
    return numbers[0], references


def _log_estimated_time(animator: Animator, animated: AnimatedPhoto, driver: Driver) -> None:
    """Say how long it will take, where that is long: LivePortrait's networks on a CPU."""
    frames = driver.frame_count_estimate
    if animator.network != "liveportrait" or animator.device.type != "cpu" or frames is None:
        return
    seconds = frames * sum(face.seconds_per_frame() for face in animated.faces)
    logger.info("%s: about %.0f seconds for %d frames", driver.path, seconds, frames)
    if seconds >= WORTH_TELLING:
        logger.warning(
            "%s: about %.0f minutes for %d frames on this CPU; --duration takes less of it, and a GPU is far "
            "faster",
            driver.path,
            seconds / 60,
            frames,
        )


def _warn_of_missing_faces(driver: Driver) -> None:
    if frames := str(driver.faceless):
        logger.warning("%s: no face in driver frames %s; the last motion is held there", driver.path, frames)


def _motion_rate(output: Path, wanted: Fraction | None, own: Fraction) -> Fraction:
    return playable_rate(output, wanted or own)
