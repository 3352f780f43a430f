"""Settings of a rendering, the result of a job, and its provenance tags."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

from faceanim_cli import __version__
from faceanim_cli.media import Encoding, check_not_input, check_output

Audio: TypeAlias = Literal["driver", "none"] | Path


@dataclass(frozen=True)
class RenderSettings:
    """The defaults give the crop alone, at the driver's rate, with the driver's sound."""

    encoding: Encoding = field(default_factory=Encoding)
    fps: Fraction | None = None
    """Frames per second that the driver is resampled to; None is its own rate."""
    audio: Audio = "driver"
    """Whose sound the result has; a path is a sound or video file."""
    paste_back: bool = False
    """Show the whole photo with the animated face in it, instead of the crop."""
    face: int | None = None
    """Which face, counted from 1, left to right; None is the largest."""
    all_faces: bool = False
    """Animate every face, in the whole photo."""
    longest_side: int | None = None
    """Pixels of a whole photo's longer side; None is its own, within reason."""
    side_by_side: bool = False
    """Show photo and driver left of the result."""

    @property
    def whole_photo(self) -> bool:
        """Whether the result is the photo rather than a crop of it."""
        return self.paste_back or self.all_faces

    @property
    def sound(self) -> Path | None:
        """The sound that was asked for by name, and so must be there."""
        return self.audio if isinstance(self.audio, Path) else None

    def check(self, output: Path, *inputs: Path) -> None:
        """Refuse, before anything is read or loaded, an output that cannot be written so.

        Raises:
            UsageError: the output would replace an input, cannot be written, or not in this way.
            UnreadableInputError: there is no sound in the file that it was to come from.
        """
        check_not_input(output, *inputs, *([] if self.sound is None else [self.sound]))
        check_output(output, self.encoding, self.fps, self.sound)


@dataclass(frozen=True)
class AnimationResult:
    """What came of a job."""

    output: Path
    frames: int
    fps: float
    missed: int  # sampled driver frames in which no face was found
    start_frame: int | None = None  # the driver's frame, from 0, that relative motion counts from
    signed: bool = False  # with content credentials


def provenance_tags(weights: Path, sha256: str) -> dict[str, str]:
    """Tags for the file: that the video is AI-generated, by what, and with which weights."""
    return {
        "title": "AI-generated animation of a photo",
        "comment": (
            f"AI-generated: a photo animated by faceanim {__version__}, "
            f"weights {weights.name} sha256 {sha256[:16]}"
        ),
    }
