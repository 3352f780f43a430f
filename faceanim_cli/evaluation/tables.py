"""Scores as tables of text."""

import math
from collections.abc import Sequence

from faceanim_cli.evaluation.metrics import Column
from faceanim_cli.evaluation.published import PublishedTable
from faceanim_cli.evaluation.runner import Evaluation
from faceanim_cli.evaluation.statistics import Summary
from faceanim_cli.tables import Table


def score_table(evaluation: Evaluation, columns: Sequence[Column]) -> Table:
    """A row for each subject: mean over clips, and its interval."""
    rows = tuple(
        (
            name,
            *(interval_text(evaluation.summaries[name].get(column.name), column) for column in columns),
            str(scored_clips(evaluation, name)),
        )
        for name in evaluation.subjects
    )
    return Table(("", *map(heading, columns), "clips"), rows)


def difference_table(evaluation: Evaluation, columns: Sequence[Column]) -> Table | None:
    """A row for each subject but the first: paired differences to it. None where there is but one."""
    if not evaluation.differences:
        return None
    first = evaluation.subjects[0]
    shown = [c for c in columns if all(c.name in values for values in evaluation.differences.values())]
    rows = tuple(
        (f"{name} - {first}", *(interval_text(values[column.name], column, signed=True) for column in shown))
        for name, values in evaluation.differences.items()
    )
    return Table(("", *map(heading, shown)), rows)


def clip_table(evaluation: Evaluation, columns: Sequence[Column]) -> Table:
    """A row for each clip and subject."""
    rows = tuple(
        (
            row.clip,
            row.subject,
            str(row.frames),
            *(number(row.values.get(column.name, math.nan), column.decimals) for column in columns),
            row.problem,
        )
        for row in evaluation.rows
    )
    return Table(("clip", "of", "frames", *map(heading, columns), "problem"), rows)


def published_table(table: PublishedTable) -> Table:
    """A paper's numbers."""
    decimals = {"psnr": 2, "ssim": 4, "l1": 4, "akd": 2}
    rows = tuple(
        tuple(
            cell if isinstance(cell, str) else number(math.nan if cell is None else cell, decimals[name])
            for name, cell in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    )
    return Table(table.columns, rows)


def interval_text(summary: Summary | None, column: Column, signed: bool = False) -> str:
    """``22.90 [22.10, 23.71]``; signed ``+0.31 [-0.02, +0.64]``."""
    if summary is None or math.isnan(summary.mean):
        return "-"
    middle, low, high = (
        number(value, column.decimals, signed) for value in (summary.mean, summary.low, summary.high)
    )
    return middle if not math.isfinite(summary.low) else f"{middle} [{low}, {high}]"


def heading(column: Column) -> str:
    """Name, unit and an arrow to where it is better."""
    unit = f" {column.unit}" if column.unit else ""
    return f"{column.name}{unit} {'↑' if column.better == 'higher' else '↓'}"


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number, or a dash for NaN. What rounds to zero has no sign: it is neither better nor worse."""
    if math.isnan(value):
        return "-"
    if round(value, decimals) == 0:
        return f"{0:.{decimals}f}"
    return f"{value:{'+' if signed else ''}.{decimals}f}"


def scored_clips(evaluation: Evaluation, subject: str) -> int:
    """Clips of which a subject has scored frames."""
    return sum(row.subject == subject and row.frames > 0 for row in evaluation.rows)
