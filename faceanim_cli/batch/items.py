"""Batch items and the reports on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

Status: TypeAlias = Literal["done", "failed", "skipped"]
InputStamps: TypeAlias = dict[str, list[int] | None]
"""Numbers that change when a file does, by what it is: photo, driver."""


@dataclass(frozen=True)
class BatchItem:
    """One animation of a batch."""

    photo: Path
    driver: Path
    output: Path


@dataclass(frozen=True)
class ItemReport:
    """What became of one item."""

    photo: str
    driver: str
    output: str
    status: Status
    """done; failed; or skipped, because it was there and nothing is known about how it was made."""
    frames: int | None = None
    fps: float | None = None
    seconds: float | None = None
    """From the start of its work to the whole file."""
    error: str | None = None
    """One line; None unless it failed."""
    settings: dict[str, Any] | None = None
    """What results depend on, as JSON values; see ``BatchJob.result_settings``."""
    inputs: InputStamps | None = None
    """By which changes of photo and driver are noticed."""

    @classmethod
    def of(cls, item: BatchItem, status: Status, **facts: Any) -> "ItemReport":
        """A report on ``item``; ``facts`` are the other fields."""
        return cls(str(item.photo), str(item.driver), str(item.output), status, **facts)


class BatchListener(Protocol):
    """Told what happens in a batch, as it happens."""

    def frames(self, item: BatchItem, done: int, expected: int | None) -> None:
        """So many frames of an item are done; ``expected`` is None if their number is not known."""

    def item(self, report: ItemReport) -> None:
        """An item is done, or has failed."""

    def already_done(self, count: int) -> None:
        """So many items were found done."""
