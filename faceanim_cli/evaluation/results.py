"""The folder of scores: per_clip.csv and scores.json, from which an interrupted run resumes."""

import csv
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from faceanim_cli.errors import UsageError
from faceanim_cli.files import parse_json
from faceanim_cli.media import whole_file

NAMES = ("frame", "subject")  # columns of a table of frames that are no numbers
WRITTEN = ("scores.json", "per_clip.csv", "report.html", "scores.md")
# As file names come, which may be any bytes.
TEXT: Mapping[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
FIXED = ("clip", "subject", "frames", "motion", "turn", "problem")
LONGEST_NAME = 120  # characters of a file name made from a clip's name


@dataclass(frozen=True)
class ClipScore:
    """One subject on one clip: a row of per_clip.csv.

    Attributes:
        values: means over the clip's frames, by column.
        frames: how many were compared.
        motion: mean absolute change of the driving frames since the reference frame, in 8-bit levels.
        turn: mean angle in degrees between the driver's head and its reference pose; NaN where nobody knows.
        problem: what went wrong, "" for nothing. A row with a problem may still have values.
    """

    clip: str
    subject: str
    frames: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    motion: float = math.nan
    turn: float = math.nan
    problem: str = ""


class ScoreFolder:
    """A report's folder while it fills.

    Args:
        folder: made if missing.
        run: what decides the numbers (protocol, lists and weights by hash, ...). Rows of another run are not
            mixed in.
        columns: the metrics' columns.
        overwrite: start anew whatever lies there.

    Raises:
        UsageError: the folder holds another run, or cannot be written.
    """

    def __init__(
        self, folder: Path, run: Mapping[str, Any], columns: Sequence[str], overwrite: bool = False
    ) -> None:
        self.folder, self.run, self.columns = folder, run, tuple(columns)
        earlier = self._summary_before()
        before = earlier["run"] if isinstance(earlier.get("run"), dict) else None
        foreign = [name for name in WRITTEN if (folder / name).exists()]
        if foreign and before is None and not overwrite:
            raise UsageError(
                f"{folder} holds a {foreign[0]} of something else; choose another -o, or --overwrite it"
            )
        try:
            (folder / "frames").mkdir(parents=True, exist_ok=True)
            (folder / "strips").mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write {folder}: {error.strerror}; choose another -o") from error
        self._rows: list[ClipScore] = []
        self.precision: dict[str, str] = {}
        """What the networks computed those rows in that were here before; empty if their run did not end."""
        if before is not None and not overwrite:
            # Through JSON, so that tuples and lists compare as they are read back.
            if before != json.loads(json.dumps(run)):
                changed = [
                    key
                    for key in {**before, **run}
                    if before.get(key) != json.loads(json.dumps(run)).get(key)
                ]
                raise UsageError(
                    f"{folder} holds the scores of another run (other: {', '.join(sorted(changed))}); "
                    "choose another -o, or --overwrite it"
                )
            self._rows = [row for row in self._read() if not row.problem]
            self.precision = earlier.get("precision", {})
        self.save_summary({"complete": False, "precision": self.precision})
        self._write()

    @property
    def rows(self) -> list[ClipScore]:
        """All rows, in the order they were scored."""
        return list(self._rows)

    def done(self, clip: str, subjects: Sequence[str]) -> bool:
        """Whether a clip has a row without a problem for every subject."""
        return {row.subject for row in self._rows if row.clip == clip} >= set(subjects)

    def add(self, rows: Sequence[ClipScore], frames: Sequence[Mapping[str, Any]]) -> None:
        """Keep a clip's rows, and the values of its frames: rows of ``frames/<clip>.csv``."""
        if frames:
            values = [list(map(number_text, frame.values())) for frame in frames]
            self._write_table(self.frames_path(rows[0].clip), [list(frames[0]), *values])
        clips = {row.clip for row in rows}
        self._rows = [row for row in self._rows if row.clip not in clips] + list(rows)
        self._write()

    def frames(self, clip: str) -> list[Mapping[str, Any]]:
        """The values of a clip's frames, as they were given to ``add``.

        Raises:
            UsageError: there is no such table any more.
        """
        return [
            {key: text if key in NAMES else _number(text) for key, text in row.items()}
            for row in self._read_table(self.frames_path(clip), NAMES)
        ]

    def frames_path(self, clip: str) -> Path:
        """Where the values of a clip's frames are."""
        return self.folder / "frames" / f"{file_name(clip)}.csv"

    def strip_path(self, clip: str) -> Path:
        """Where a clip's picture is."""
        return self.folder / "strips" / f"{file_name(clip)}.jpg"

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Write scores.json: ``run`` and ``summary``. Infinite numbers become "inf", NaN null."""
        text = json.dumps(json_ready({**summary, "run": self.run}), indent=2, allow_nan=False)
        with whole_file(self.folder / "scores.json") as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def _summary_before(self) -> dict[str, Any]:
        try:
            summary = parse_json((self.folder / "scores.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def _write(self) -> None:
        lines: list[list[Any]] = [[*FIXED[:3], *self.columns, *FIXED[3:]]]
        for row in self._rows:
            values = [number_text(row.values.get(column, math.nan)) for column in self.columns]
            motion, turn = number_text(row.motion), number_text(row.turn)
            lines.append([row.clip, row.subject, row.frames, *values, motion, turn, row.problem])
        self._write_table(self.folder / "per_clip.csv", lines)

    def _read(self) -> list[ClipScore]:
        path = self.folder / "per_clip.csv"
        if not path.is_file():
            return []
        try:
            return [
                ClipScore(
                    row["clip"],
                    row["subject"],
                    int(row["frames"]),
                    {column: _number(row[column]) for column in self.columns if row[column]},
                    _number(row["motion"]),
                    _number(row["turn"]),
                    row["problem"],
                )
                for row in self._read_table(path, (*FIXED, *self.columns))
            ]
        except ValueError as error:
            raise self._damaged(path.name) from error

    def _write_table(self, path: Path, lines: Sequence[Sequence[Any]]) -> None:
        with whole_file(path) as partial, partial.open("w", newline="", **TEXT) as file:
            csv.writer(file).writerows(lines)

    def _read_table(self, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
        try:
            with path.open(newline="", **TEXT) as file:
                table = csv.DictReader(file, restval="")
                if not set(columns) <= set(table.fieldnames or ()):
                    raise ValueError("other columns")
                return list(table)
        except (OSError, ValueError, csv.Error) as error:
            raise self._damaged(path.name) from error

    def _damaged(self, name: str) -> UsageError:
        return UsageError(f"{self.folder}: {name} is lost or damaged; --overwrite starts the report anew")


def number_text(value: Any) -> Any:
    """A number for a CSV cell: nothing for NaN, else all digits, so that it is read back the very same."""
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else repr(float(value))


def json_ready(value: Any) -> Any:
    """JSON has neither NaN nor infinity: null and "inf" instead."""
    if isinstance(value, Mapping):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def file_name(clip: str) -> str:
    """A file name for a clip's name, which may hold slashes; one too long ends in its hash."""
    name = quote(clip, safe=" +#()", errors="surrogateescape")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(os.fsencode(clip)).hexdigest()[:8]}"


def _number(text: str) -> float:
    return float(text) if text else math.nan
