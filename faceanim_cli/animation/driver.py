"""The ``Driver`` protocol of driving videos and motion files, and the crop of driving frames."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from faceanim_cli.animation.driver_search import Crop
from faceanim_cli.animation.framer import Framer
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.faces import Box, FaceDetector, Framing, square_crop, track_face
from faceanim_cli.motion.limits import FrameRuns
from faceanim_cli.motion.motion_batch import MotionBatch
from faceanim_cli.pictures import Image

Panel: TypeAlias = Callable[[Image, Box | None], Image | None]
"""Makes of a frame and its crop what is shown of it beside the result."""

# Frames that relative motion may count from: faces change slowly enough for a good one to be among them, and
# a search over half a minute is as good as one over an hour. A few tell how sure keypoints are of a face.
CANDIDATES_PER_SECOND, MOST_CANDIDATES, FEW_CANDIDATES = 3.0, 90, 8

LOOK_AHEAD = 25  # frames that are waited for to frame a driver whose crop is not told
LOOK_EVERY = 6  # of these, every 6th is searched for a face
ANY_SIZE = (2**31, 2**31)  # of frames, where none has been seen: a crop by hand may lie anywhere


class DrivingMotion(NamedTuple):
    """The motion in some frames in a row."""

    shot: int  # its number, from 0
    motion: MotionBatch


class Candidates(NamedTuple):
    """Frames of one shot that relative motion may count from."""

    numbers: list[int]
    motion: MotionBatch


class Driver(Protocol):
    """What ``animate_file`` needs of a video, and of a motion file.

    Attributes:
        path: for messages.
        fps: frames per second, exact.
        frame_count_estimate: frames to expect; None if unknown.
        size: (width, height) of its frames.
        sound: a file with its sound, None for none; and the seconds of it that come before the first frame.
        missed: sampled frames in which no face was found.
        starts: number of the first frame of each shot.
        faceless: the frames without a face, as far as ``motion`` has come.
    """

    path: Path
    fps: Fraction
    frame_count_estimate: int | None
    sound: Path | None
    sound_start: float
    missed: int
    starts: list[int]
    faceless: FrameRuns

    @property
    def size(self) -> tuple[int, int]: ...

    def candidates(self, wanted: int | None, most: int = MOST_CANDIDATES) -> list[Candidates | None]:
        """For each shot, frames that relative motion may count from; None where there is none.

        Args:
            wanted: this one alone, in its shot.
            most: look at no more frames, or hardly.

        Raises:
            UsageError: there is no such frame.
        """

    def motion(self, pipeline: Pipeline, panel: Panel, whole: bool = False) -> Iterator[DrivingMotion]:
        """The motion in all frames, in batches that are of one shot each.

        Args:
            pipeline: for what runs beside other work.
            panel: is asked for each frame, if there are frames.
            whole: ``panel`` must see all of a frame.
        """

    def next_panel(self) -> Image | None:
        """What ``panel`` made of the next frame."""

    def close(self) -> None:
        """Let go of the file."""


def crop_driver(
    frames: Iterator[Image], crop: Crop | Box, detector: FaceDetector, framer: Framer
) -> tuple[Box | None, Iterator[Image]]:
    """The crop of a driver, and all of its frames: some of them may have been looked at.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size.
        crop: "auto" finds the face in the first second, a ``Framing`` frames it otherwise; (x, y, w, h) in
            pixels is made a square, a ``Box`` is taken as it is; None is the whole frame.
        detector: searches.
        framer: frames what is found.

    Returns:
        The crop in pixels, None for whole frames; and the frames.

    Raises:
        NoFaceError: "auto", and no face in the first second.
    """
    if crop is None or isinstance(crop, Box):
        return crop, frames
    if isinstance(crop, tuple):
        return square_crop(Box(*crop), ANY_SIZE), frames
    ahead = list(islice(frames, LOOK_AHEAD))
    if not ahead:
        return None, frames
    samples = ((index, ahead[index]) for index in range(0, len(ahead), LOOK_EVERY))
    size = (ahead[0].shape[1], ahead[0].shape[0])
    track = track_face(samples, detector)
    (found,) = framer.frame_clips(((0, i, ahead[i]) for i in track.indices), [track], size)
    framing = crop if isinstance(crop, Framing) else Framing()
    return framing.around(found, size), chain(ahead, frames)
