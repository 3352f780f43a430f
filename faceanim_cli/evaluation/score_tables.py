"""Scores as tables of text, and published scores to show beside them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from faceanim_cli.evaluation.landmark_metrics import MEASURES
from faceanim_cli.evaluation.metrics import Column
from faceanim_cli.evaluation.runner import Evaluation
from faceanim_cli.evaluation.statistics import Summary
from faceanim_cli.tables import Table


class PublishedTable(NamedTuple):
    """Numbers of a paper: where they are from, and what they were measured on."""

    title: str
    protocol: str
    table: Table


PAPER_TABLE_1 = PublishedTable(
    "The paper's Table 1 (Karim and Saleh 2022)",
    "VoxCeleb1; clips, frames and size are not stated. PSNR near 30 beside SSIM near 0.7 is not the PSNR of "
    "RGB frames that gives 22 to 24 below: the table gathers numbers of several papers.",
    Table(
        ("method", "psnr", "ssim"),
        (
            ("X2Face", "22.54", "0.72"),
            ("MoCoGAN", "17.36", "0.54"),
            ("Monkey-Net", "30.87", "0.74"),
            ("Few-shot", "-", "0.72"),
            ("PuppeteerGAN", "-", "0.73"),
            ("the paper's method", "30.74", "0.90"),
        ),
    ),
)
FSRT_TABLE_1 = PublishedTable(
    "Released checkpoints under one protocol (FSRT, Rochow et al. 2024, Table 1)",
    "The official VoxCeleb test set, 256 x 256, source = first frame, every 10th frame, PSNR of RGB frames, "
    "another landmark detector.",
    Table(
        ("method", "psnr", "ssim", "l1", "akd"),
        (
            ("DPE", "22.94", "0.7180", "0.0484", "3.07"),
            ("FOMM", "22.90", "0.7310", "0.0470", "2.26"),
            ("DaGAN", "23.51", "0.7563", "0.0450", "2.10"),
            ("face-vid2vid (third-party code)", "22.97", "0.7327", "0.0471", "2.33"),
            ("TPSMM", "23.76", "0.7660", "0.0433", "2.00"),
            ("FSRT", "23.67", "0.7576", "0.0421", "2.13"),
        ),
    ),
)
PUBLISHED = (PAPER_TABLE_1, FSRT_TABLE_1)


def score_table(evaluation: Evaluation, columns: Sequence[Column]) -> Table:
    """A row for each subject: mean over clips, and its interval."""
    rows = tuple(
        (
            name,
            *(interval_text(evaluation.summaries[name].get(column.name), column) for column in columns),
            str(sum(row.subject == name and row.frames > 0 for row in evaluation.rows)),
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


def slope_table(evaluation: Evaluation) -> Table | None:
    """A row for each measure: slope of each subject on the driver, its interval, and the correlation r."""
    shown = [name for name in MEASURES if any(name in slopes for slopes in evaluation.slopes.values())]
    if not shown:
        return None
    rows = []
    for name in shown:
        cells, counts = [], [""]
        for subject in evaluation.subjects:
            slope = evaluation.slopes[subject].get(name)
            if slope is None:
                cells.append("-")
                continue
            interval = f" [{slope.low:.2f}, {slope.high:.2f}]" if math.isfinite(slope.low) else ""
            cells.append(f"{slope.slope:.2f}{interval} r {number(slope.correlation, 2)}")
            counts.append(f"{slope.clips} of {slope.people}")
        rows.append((name, *cells, counts[-1]))
    return Table(("slope", *evaluation.subjects, "clips of people"), tuple(rows))


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
