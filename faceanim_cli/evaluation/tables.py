"""Scores as tables of text, for a terminal, for Markdown and for HTML."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from faceanim_cli.evaluation.metrics import Column
from faceanim_cli.evaluation.published import PublishedTable
from faceanim_cli.evaluation.runner import Evaluation
from faceanim_cli.evaluation.statistics import Summary


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def plain(self) -> str:
        """Aligned columns."""
        lines = (self.header, *self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """A table of GitHub's kind."""
        rule = ("---", *("---:" for _ in self.header[1:]))
        lines = (self.header, rule, *(tuple(cell.replace("|", "\\|") for cell in row) for row in self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def html(self) -> str:
        """A table element."""

        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        return f"<table><thead>{line(self.header, 'th')}</thead><tbody>{body}</tbody></table>"


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
