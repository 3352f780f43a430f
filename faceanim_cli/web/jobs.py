"""A job of the web page: its files, settings and progress."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.worker import BatchJob
from faceanim_cli.console import FrameRate
from faceanim_cli.media import open_output, open_video, playable_rate
from faceanim_cli.web.sentences import for_page

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.live.live_photo import LivePhoto

State: TypeAlias = Literal["uploading", "waiting", "working", "done", "failed", "cancelled"]


class PageOptions(BatchJob, Protocol):
    """How to animate; the command line's options are that."""

    def check_inputs(self, photo: Path, driver: Path) -> None:
        """Refuse a photo or driver that cannot be read, by their headers."""

    def live_photo(self, photo: Path) -> "LivePhoto":
        """Load the networks, and set up a photo to be animated frame by frame."""


MakeOptions: TypeAlias = Callable[[Mapping[str, Any]], PageOptions]
"""Makes of what the page sends the options of an animation; raises UsageError for what cannot be."""


class CancelledError(BaseException):
    """Somebody cancelled the job; no fault, so nothing that handles faults may stop it."""


@dataclass
class Job:
    """A job of the queue.

    Attributes:
        folder: of its own, with its inputs until it has ended, and then with its result.
        session: whose it is.
        options: how to animate.
        driver: where the driver is, or the name of a motion of the library.
        tags: what the result says of its origin.
        version: grows with each change that the page should hear of.
    """

    folder: Path
    session: str
    options: PageOptions
    settings: Mapping[str, Any]
    photo_name: str
    driver_name: str
    driver: Path
    state: State = "uploading"
    done: int = 0
    total: int | None = None
    rate: float | None = None
    message: str | None = None
    notes: list[str] = field(default_factory=list)
    frames: int | None = None
    fps: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    version: int = 0
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    _frame_rate: FrameRate = field(default_factory=FrameRate)

    @property
    def photo(self) -> Path:
        """Where the photo is."""
        return self.folder / "photo"

    @property
    def result(self) -> Path:
        """Where the result is, once the job is done."""
        return self.folder / "result.mp4"

    @property
    def item(self) -> BatchItem:
        """What the worker takes."""
        return BatchItem(self.photo, self.driver, self.result)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    def change(self, **values: Any) -> None:
        """Set attributes, and let the page know."""
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1

    def check(self) -> None:
        """Raises CancelledError if the job was cancelled meanwhile."""
        if self.state == "cancelled":
            raise CancelledError

    def progress(self, done: int, total: int | None) -> None:
        """Called by the animation for each frame.

        Raises:
            CancelledError: the job was cancelled meanwhile.
        """
        self.check()
        total = None if total is None else max(done, total)
        self.change(done=done, total=total, rate=self._frame_rate.after(done))

    def sentence(self, text: str) -> str:
        """A sentence of the command line, for the page."""
        begin = f"{self.photo} + {self.driver}: "  # a batch begins lines so
        names = {str(self.photo): self.photo_name, str(self.driver): self.driver_name, str(self.result): "it"}
        return for_page(text.removeprefix(begin), names)

    def delete_inputs(self) -> None:
        """Photo and driver, which nothing needs after the job."""
        self.photo.unlink(missing_ok=True)
        if self.driver.parent == self.folder:
            self.driver.unlink(missing_ok=True)

    def delete(self) -> None:
        """Everything of it that is on the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def shown(self, place: int | None) -> dict[str, Any]:
        """What the page is told; ``place`` in the queue is 1 for the next one."""
        left = None if not self.rate or self.total is None else (self.total - self.done) / self.rate
        return {
            "id": self.id,
            "state": self.state,
            "place": place,
            "photo": self.photo_name,
            "driver": self.driver_name,
            "settings": dict(self.settings),
            "done": self.done,
            "total": self.total,
            "rate": self.rate,
            "left": left,
            "message": self.message,
            "notes": self.notes,
            "frames": self.frames,
            "fps": self.fps,
            "created": self.created,
        }


KINDS = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}

_one_at_a_time = threading.Lock()


def result_as(job: Job, kind: str) -> Path:
    """The result of a job as mp4, gif or webp, made when it is first asked for.

    Its frames stay, as far as the kind plays that many a second, and so does what it says of its origin.
    """
    path = job.result.with_suffix(f".{kind}")
    with _one_at_a_time:
        if path.exists():
            return path
        with open_video(job.result) as own:
            rate = playable_rate(path, own.fps)
        with (
            open_video(job.result, rate) as video,
            open_output(path, rate, (video.width, video.height), metadata=job.tags) as writer,
        ):
            for frame in video:
                writer.write(frame)
    return path
