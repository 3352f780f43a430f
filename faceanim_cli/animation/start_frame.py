"""Which driver frame relative motion counts from: the one that is wanted, or the one closest to the photo."""

import logging
from collections.abc import Iterator
from itertools import islice, tee

from faceanim_cli.animation.scene import Scene
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import FaceTrack
from faceanim_cli.media import FrameSource
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

SAMPLES_PER_SECOND = 3.0  # faces change slowly enough for a good one to be among them
MOST_SAMPLES = 90  # a search over half a minute is as good as one over an hour
NEAR = 0.5  # seconds to a frame in which the face was found


def choose_start_frame(scene: Scene, video: FrameSource, track: FaceTrack | None, wanted: int | None) -> int:
    """Let the scene's motion count from frame ``wanted``, or search; the frame's number, from 0.

    Frames far from any in which the face was found are passed over; if all are, it is the first.

    Raises:
        UsageError: the driver has no such frame.
    """
    if wanted is not None:
        frame = next(islice(video, wanted, None), None)
        if frame is None:
            raise UsageError(f"{video.path}: has no frame {wanted}; give --start-frame a smaller number")
        scene.count_from(scene.detect([frame], None if track is None else [track.box_at(wanted)]))
        return wanted
    numbers: list[int] = []
    ours, for_boxes = tee(_candidates(video, track, numbers))
    boxes = None if track is None else (track.box_at(number) for number, _ in for_boxes)
    if boxes is None:
        del for_boxes  # or it would keep the frames
    found = scene.count_from(scene.detect((frame for _, frame in ours), boxes))
    chosen = 0 if found is None else numbers[found]
    logger.info("%s: frame %d is closest to the photo; motion counts from it", video.path, chosen)
    return chosen


def _candidates(
    video: FrameSource, track: FaceTrack | None, numbers: list[int]
) -> Iterator[tuple[int, Image]]:
    """Some frames of the driver in which its face can be seen; their numbers are appended to ``numbers``."""
    rate = min(SAMPLES_PER_SECOND, MOST_SAMPLES / max(video.duration or 0.0, 1.0))
    reach = NEAR * float(video.fps)
    for number, frame in video.sample(rate):
        if track is None or min(abs(number - index) for index in track.indices) <= reach:
            numbers.append(number)
            yield number, frame
