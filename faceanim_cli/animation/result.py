"""What comes of animating files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AnimationResult:
    """What came of a job."""

    output: Path
    frames: int
    fps: float
    missed: int  # sampled driver frames in which no face was found
    start_frame: int | None = None  # the driver's frame, from 0, that relative motion counts from
