"""What a result shows and how it is written: settings of a job beside those of the networks."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

from faceanim_cli.errors import UsageError
from faceanim_cli.media import Encoding, check_output

Audio: TypeAlias = Literal["driver", "none"] | Path


@dataclass(frozen=True)
class Rendering:
    """The defaults give the crop alone, at the driver's rate, with the driver's sound."""

    encoding: Encoding = field(default_factory=Encoding)
    fps: Fraction | None = None
    """Frames per second that the driver is resampled to; None is its own rate."""
    audio: Audio = "driver"
    """Whose sound the result has; a path is a sound or video file."""

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
        for file in (*inputs, *([] if self.sound is None else [self.sound])):
            if output.exists() and file.exists() and output.samefile(file):
                raise UsageError(f"cannot write {output}: it is an input and would be lost; name another")
        check_output(output, self.encoding, self.fps, self.sound)
