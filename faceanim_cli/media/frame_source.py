"""What every driving video offers, be it a file or a folder of frames, and the choice between the two."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

from faceanim_cli.media.frame_folder import DEFAULT_FPS, FrameFolder
from faceanim_cli.media.video_reader import VideoReader
from faceanim_cli.pictures import Image


class FrameSource(Protocol):
    """What every driving video offers; see ``VideoReader`` for the meaning of each."""

    path: Path
    width: int
    height: int
    fps: Fraction
    duration: float | None
    has_audio: bool

    @property
    def frame_count_estimate(self) -> int | None: ...
    def __iter__(self) -> Iterator[Image]: ...
    def sample(self, per_second: float) -> Iterator[tuple[int, Image]]: ...
    def close(self) -> None: ...
    def __enter__(self) -> "FrameSource": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_video(path: str | os.PathLike[str], fps: Fraction | None = None) -> FrameSource:
    """A video file, resampled to ``fps`` unless that is None; or a folder of frames played at ``fps``.

    Raises:
        UnreadableInputError: as ``VideoReader`` and ``FrameFolder``.
        UsageError: no ffmpeg.
    """
    return FrameFolder(path, fps or DEFAULT_FPS) if Path(path).is_dir() else VideoReader(path, fps)
