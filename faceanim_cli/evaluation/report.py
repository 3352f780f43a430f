"""Writes report.html, a single file, and scores.md with its tables."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from faceanim_cli.evaluation.figures import bars, scatter
from faceanim_cli.evaluation.landmark_metrics import MEASURES
from faceanim_cli.evaluation.metrics import Column
from faceanim_cli.evaluation.results import ClipScore, ScoreFolder
from faceanim_cli.evaluation.runner import Evaluation
from faceanim_cli.evaluation.statistics import Summary
from faceanim_cli.media import whole_file
from faceanim_cli.tables import Table

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a202c}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.6rem 0}
th,td{padding:.2rem .7rem;border-bottom:1px solid #e2e8f0;text-align:right}
th:first-child,td:first-child{text-align:left}
dt{font-weight:600}dd{margin:0 0 .3rem 1.2rem}.note{color:#4a5568}.bad{color:#9b2c2c}
img,svg{max-width:100%}figure{margin:.8rem 0}.scroll{overflow-x:auto}
"""
NUMBERS_ABOUT = (
    "Every number is a mean over clips of the means over their frames, with the 95 % interval of a "
    "percentile bootstrap over people, whose clips stay together (over clips if all are of one person; a "
    "pair of people counts as the driver's). Frames whose value is infinite (PSNR of identical pictures) or "
    "undefined are left out of a mean, unless all are infinite."
)
DIFFERENCES_ABOUT = "Paired over the clips that both have; an interval without 0 is a difference."
SLOPES_ABOUT = (
    "Slope of the result on the driver, by landmarks of a network that is not under test: 1 is full "
    "following, 0 none; r is the correlation. Pooled over the clips whose driver moves, each from its own "
    "mean; intervals as above."
)


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


def write_report(
    folder: ScoreFolder, evaluation: Evaluation, columns: Sequence[Column], facts: Mapping[str, str]
) -> None:
    """Write report.html and scores.md into the folder.

    Args:
        facts: what was measured and how, for people, in order.
    """
    with whole_file(folder.folder / "scores.md") as partial:
        partial.write_text(markdown(evaluation, columns, facts), "utf-8", "backslashreplace")
    with whole_file(folder.folder / "report.html") as partial:
        partial.write_text(page(folder, evaluation, columns, facts), "utf-8", "backslashreplace")


def markdown(evaluation: Evaluation, columns: Sequence[Column], facts: Mapping[str, str]) -> str:
    """The tables and facts."""
    differences, slopes = difference_table(evaluation, columns), slope_table(evaluation)
    parts = [score_table(evaluation, columns).markdown()]
    parts += [] if differences is None else [differences.markdown()]
    parts += [] if slopes is None else [slopes.markdown(), SLOPES_ABOUT]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    parts.append(NUMBERS_ABOUT)
    return "\n\n".join(parts) + "\n"


def page(
    folder: ScoreFolder, evaluation: Evaluation, columns: Sequence[Column], facts: Mapping[str, str]
) -> str:
    """The whole report as HTML."""
    sections = [
        "<h1>faceanim eval</h1>",
        _scroll(score_table(evaluation, columns).html()),
        _section("Differences", difference_table(evaluation, columns), DIFFERENCES_ABOUT),
        _section("Expression", slope_table(evaluation), SLOPES_ABOUT),
        f'<p class="note">{html.escape(NUMBERS_ABOUT)}</p>',
        _problems(evaluation),
        "<h2>What was measured</h2>",
        _definitions(facts),
        "<h2>Metrics</h2>",
        _definitions({column.name: column.about for column in columns}),
        _plots(evaluation, columns),
        _strips(folder, evaluation, columns),
        _published(),
        "<h2>Clips</h2>",
        _scroll(clip_table(evaluation, columns).html()),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>faceanim eval</title>'
        f"<style>{STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )


def ranked(evaluation: Evaluation, column: Column) -> list[ClipScore]:
    """The first subject's clips that have the column, best first."""
    rows = [
        row
        for row in evaluation.rows
        if row.subject == evaluation.subjects[0] and not math.isnan(row.values.get(column.name, math.nan))
    ]
    return sorted(rows, key=lambda row: row.values[column.name], reverse=column.better == "higher")


def _section(title: str, table: Table | None, note: str) -> str:
    if table is None:
        return ""
    return f'<h2>{title}</h2>{_scroll(table.html())}<p class="note">{html.escape(note)}</p>'


def _problems(evaluation: Evaluation) -> str:
    told: dict[tuple[str, str], list[str]] = {}
    for row in evaluation.problems:
        told.setdefault((row.clip, row.problem), []).append(row.subject)
    if not told:
        return ""
    items = "".join(
        f"<li><b>{html.escape(clip)}</b> ({html.escape(', '.join(subjects))}): {html.escape(problem)}</li>"
        for (clip, problem), subjects in told.items()
    )
    return f'<h2 class="bad">Problems</h2><ul class="bad">{items}</ul>'


def _plots(evaluation: Evaluation, columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    parts = ["<h2>Plots</h2>"]
    for column in columns:
        by_subject: dict[str, dict[str, float]] = {name: {} for name in evaluation.subjects}
        for row in evaluation.rows:
            by_subject[row.subject][row.clip] = row.values.get(column.name, math.nan)
        parts.append(_figure(bars(f"{column.name} of each clip", column.unit, by_subject)))
    turned = any(math.isfinite(row.turn) for row in evaluation.rows)
    across = (
        "mean angle between the driver's head and its reference pose, degrees"
        if turned
        else "motion: mean change of the driving frames since the reference frame, 8-bit levels"
    )
    shown: dict[str, list[tuple[float, float, str]]] = {name: [] for name in evaluation.subjects}
    for row in evaluation.rows:
        value = row.values.get(columns[0].name, math.nan)
        shown[row.subject].append((row.turn if turned else row.motion, value, row.clip))
    against = "head angle" if turned else "motion"
    parts.append(_figure(scatter(f"{columns[0].name} against {against}", across, columns[0].unit, shown)))
    return "".join(parts)


def _strips(folder: ScoreFolder, evaluation: Evaluation, columns: Sequence[Column]) -> str:
    rows = ranked(evaluation, columns[0]) if columns else []
    if not rows:
        return ""
    named = {"best": rows[0], "median": rows[len(rows) // 2], "worst": rows[-1]}
    parts = [
        f"<h2>Best, median and worst clip of {html.escape(evaluation.subjects[0])} by {columns[0].name}</h2>",
        '<p class="note">Source, driving frame, result, error (four times as bright): the frame of each '
        "clip that differs most from the reference.</p>",
    ]
    for name, row in named.items():
        path = folder.strip_path(row.clip)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            value = f"{number(row.values[columns[0].name], columns[0].decimals)} {columns[0].unit}"
            caption = html.escape(f"{name}: {row.clip}, {value}")
            parts.append(_figure(f'<img alt="{caption}" src="data:image/jpeg;base64,{data}">', caption))
    return "".join(parts)


def _published() -> str:
    parts = ["<h2>Published numbers: other data, other protocols</h2>"]
    for table in PUBLISHED:
        parts.append(f"<h3>{html.escape(table.title)}</h3>")
        parts.append(f'<p class="note">{html.escape(table.protocol)}</p>')
        parts.append(_scroll(table.table.html()))
    return "".join(parts)


def _definitions(facts: Mapping[str, Any]) -> str:
    items = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(str(v))}</dd>" for n, v in facts.items())
    return f"<dl>{items}</dl>"


def _figure(content: str, caption: str = "") -> str:
    if not content:
        return ""
    return f"<figure>{content}{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"


def _scroll(content: str) -> str:
    return f'<div class="scroll">{content}</div>'


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
