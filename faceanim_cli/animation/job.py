"""One animation from files to a file: photo and driver in, video out, frames streaming through."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver_crop import Crop
from faceanim_cli.animation.motion_job import DETECTIONS_PER_SECOND, animate_motion, is_motion
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.provenance import provenance
from faceanim_cli.animation.rendering import Rendering
from faceanim_cli.animation.result import AnimationResult
from faceanim_cli.animation.scene import Scene, warn_of_share
from faceanim_cli.animation.start_frame import choose_start_frame
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import Box, FaceDetector, square_crop, track_face
from faceanim_cli.media import (
    FrameSource,
    check_photo_output,
    open_output,
    open_video,
    playable_rate,
    read_photo,
    remove_leftovers,
    write_photo,
)
from faceanim_cli.pictures import Image, Progress

logger = logging.getLogger(__name__)


def animate_file(
    animator: Animator,
    photo: Path,
    driver: Path,
    output: Path,
    *,
    photo_crop: Crop = "auto",
    driver_crop: Crop = "auto",
    rendering: Rendering | None = None,
    start_frame: int | None = None,
    show_crop: Path | None = None,
    progress: Progress | None = None,
) -> AnimationResult:
    """Animate ``photo`` as ``driver`` moves and write ``output``, whole or not at all.

    Frame count, exact frame rate and sound are the driver's unless ``rendering`` says otherwise. The driver
    is read twice: a few frames a second to find the face, then all of them. Decoding, inference and encoding
    run side by side.

    Args:
        animator: used for as many jobs as you like; weights are loaded once.
        photo, driver, output: paths; the driver is a video, a folder of frames, a motion file, or the
            name of a motion of the library; the output's name says what is written.
        photo_crop, driver_crop: "auto", (x, y, w, h) in pixels, or None for files that are framed alike.
        rendering: what the result shows and how it is written; None for the defaults.
        start_frame: the driver's frame, from 0, that relative motion counts from; None searches a few frames
            a second for the one closest to the photo in pose and expression.
        show_crop: a PNG or JPEG to write first, with what the networks see of photo and driver.
        progress: called with the number of frames done and the number expected, if known.

    Raises:
        UsageError: the output cannot be written, not so, or is an input.
        UnreadableInputError: photo or driver. NoFaceError: no face in photo or driver.
    """
    rendering = rendering or Rendering()
    rendering.check(output, photo, driver)
    if show_crop is not None:
        check_photo_output(show_crop, photo, driver)
    if is_motion(driver):
        if show_crop is not None:
            raise UsageError(f"{driver} has no frames to show: leave out --show-crop")
        return animate_motion(animator, photo, driver, output, photo_crop, rendering, start_frame, progress)
    picture = read_photo(photo)
    with Pipeline() as pipeline, _open_driver(driver, output, rendering) as video:
        scene = Scene(animator, picture, photo_crop, rendering, name=str(photo))
        size = (video.width, video.height)
        crop: Box | None = None
        track = None
        if driver_crop == "auto" and photo_crop is not None:
            samples = pipeline.stage("sample", video.sample(DETECTIONS_PER_SECOND))
            track = track_face(samples, FaceDetector(), name=str(driver))
            crop = track.clip_crop(size)
        elif driver_crop is not None and driver_crop != "auto":
            crop = square_crop(Box(*driver_crop), size)
            warn_of_share(_first_frame(video, driver), crop, str(driver), "--driver-crop", FaceDetector())
        scene.frame_driver(size, crop)
        if show_crop is not None:
            write_photo(show_crop, scene.seen_by_networks(_first_frame(video, driver)))

        if animator.relative:
            start_frame = choose_start_frame(scene, video, track, start_frame)
        remove_leftovers(output)
        expected = video.frame_count_estimate
        logger.info("%s: %d x %d, %s fps, about %s frames, crop %s", driver, *size, video.fps, expected, crop)
        boxes = None if track is None else track.boxes_of_frames()
        done = 0
        frames = _Kept(pipeline.stage("decode", video))
        sound = driver if video.has_audio and rendering.audio == "driver" else rendering.sound
        with open_output(
            output,
            video.fps,
            scene.size,
            audio_from=sound,
            encoding=rendering.encoding,
            metadata=provenance(animator),
        ) as writer:
            for results in pipeline.stage("infer", scene.animate(frames, boxes)):
                writer.write(scene.compose(results, frames.oldest()))
                done += 1
                if progress is not None:
                    progress(done, expected)
        return AnimationResult(
            output, done, float(video.fps), 0 if track is None else track.misses, start_frame
        )


def _first_frame(video: FrameSource, driver: Path) -> Image:
    frame = next(iter(video), None)
    if frame is None:
        raise UnreadableInputError(f"cannot read the video {driver}: there is no whole frame in it")
    return frame


class _Kept(Iterator[Image]):
    """Driving frames on their way to the networks, kept until the result of each is there."""

    def __init__(self, frames: Iterable[Image]) -> None:
        self._frames = iter(frames)
        self._kept: deque[Image] = deque()

    def __next__(self) -> Image:
        frame = next(self._frames)
        self._kept.append(frame)
        return frame

    def oldest(self) -> Image:
        """The frame that has waited longest, which waits no more; another thread may be adding some."""
        return self._kept.popleft()


def _open_driver(driver: Path, output: Path, rendering: Rendering) -> FrameSource:
    """The driver at the rate of the result."""
    video = open_video(driver, rendering.fps)
    rate = playable_rate(output, video.fps)
    if rate == video.fps:
        return video
    logger.warning(
        "%s: such a file cannot play %g frames per second; it gets %g", output, video.fps, float(rate)
    )
    return open_video(driver, rate)
