"""Settings of motion transfer."""

from dataclasses import dataclass

from faceanim_cli.errors import UsageError

MULTIPLIERS = ("pose", "expression", "mouth", "eyes", "gaze")
MOST = 2.0  # of a multiplier


@dataclass(frozen=True)
class MotionSettings:
    """Multipliers of the driver's motion, counted from the photo's own pose and expression.

    1 is the driver's motion, 0 none of it, 2 twice as much. Multipliers other than 1 need keypoints that are
    anchored to facial landmarks, as those of the shipped weights are.

    Raises:
        UsageError: a value out of its range.
    """

    pose: float = 1.0  # the head as a whole: turns, tilts, shifts, comes nearer; 0 to 2
    expression: float = 1.0  # all that moves in the face: mouth, lids, brows; 0 to 2
    mouth: float = 1.0  # lips and chin, on top of ``expression``; 0 to 2
    eyes: float = 1.0  # lids, on top of ``expression``; 0 to 2
    gaze: float = 1.0  # pupils, on top of ``expression``; 0 to 2
    smooth: float = 0.0  # of the One Euro filter that steadies a driver: 0 (off) to 1
    clamp: bool = True  # hold back poses and openings that the weights were not trained for
    relative: bool = True  # count motion from a reference frame: keeps the photo's face shape
    adapt_scale: bool = True  # measure relative motion in face sizes, not in frame sizes
    stitching: bool = True  # LivePortrait's: neck and shoulders stay where the photo has them
    close_lips: bool = False  # LivePortrait's: the photo's open lips are closed before they move

    def __post_init__(self) -> None:
        if not 0 <= self.smooth <= 1:
            raise UsageError(f"--smooth {self.smooth:g}: give 0 (off) to 1")
        for name in MULTIPLIERS:
            value = getattr(self, name)
            if not 0 <= value <= MOST:
                raise UsageError(f"--{name} {value:g}: give 0 (none) to {MOST:g} (twice the driver's motion)")

    @property
    def steered(self) -> tuple[str, ...]:
        """The multipliers that are not 1, by name."""
        return tuple(name for name in MULTIPLIERS if getattr(self, name) != 1)


FAITHFUL = MotionSettings(clamp=False)  # the driver's motion as it is, frame by frame: what is scored
