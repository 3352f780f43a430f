"""A benchmark as tables of text."""

from collections.abc import Mapping

from faceanim_cli.benchmark.cases import CaseResult, Timing
from faceanim_cli.benchmark.files import FPS
from faceanim_cli.benchmark.run import Benchmark
from faceanim_cli.tables import Table

STAGES = ("keypoints", "motion", "generator", "sr", "other")


def case_table(run: Benchmark, before: Benchmark | None = None) -> Table:
    """A row for each case; against an earlier run, how many times as fast it is now."""
    old = {} if before is None else {case.key: case for case in before.cases}
    on_gpu = any(case.gpu_mb is not None for case in run.cases)
    header = (
        *("weights", "precision", "size", "batch", "ms/frame", "fps", f"x {FPS} fps"),
        *STAGES,
        *("GMAC", "GFLOP/s", "of peak"),
        *(("GPU MB", "GPU busy") if on_gpu else ()),
        *(("as fast as before",) if before is not None else ()),
    )
    rows = []
    for case in run.cases:
        row = (
            *(case.weights, case.precision, f"{case.size}{' SR' if case.sr else ''}", str(case.batch)),
            *(with_spread(case.frame), f"{case.fps:.1f}", f"{case.fps / float(FPS):.2f}"),
            *(f"{case.stages[name].median:.1f}" if name in case.stages else "-" for name in STAGES),
            *(f"{case.gmac:.2f}", f"{case.gflops:.0f}", f"{100 * case.peak_share:.0f} %"),
            *((_or_dash(case.gpu_mb), _or_dash(case.gpu_busy, 100, " %")) if on_gpu else ()),
            *((_ratio(case, old.get(case.key)),) if before is not None else ()),
        )
        rows.append(row)
    return Table(header, tuple(rows))


def file_table(files: Mapping[str, Timing]) -> Table:
    """A row for each thing done beside the networks; it runs side by side with them."""
    return Table(("beside", "ms/frame"), tuple((name, with_spread(files[name])) for name in files))


def command_table(run: Benchmark, before: Benchmark | None = None) -> Table | None:
    """A row for each run of ``faceanim animate``; None where there was none."""
    if not run.commands:
        return None
    old = {} if before is None else {command.key: command for command in before.commands}
    header = ("faceanim animate", "frames", "seconds", f"x {FPS} fps", "peak RSS MB")
    rows = []
    for command in run.commands:
        earlier = old.get(command.key)
        rows.append(
            (
                f"{command.weights}{f' {command.size}' if command.size else ''}{' SR' if command.sr else ''}",
                str(command.frames),
                f"{command.seconds:.1f}",
                f"{command.real_time:.2f}",
                "-" if command.rss_mb is None else f"{command.rss_mb:.0f}",
                *(
                    (f"{earlier.seconds / command.seconds:.2f}" if earlier else "-",)
                    if before is not None
                    else ()
                ),
            )
        )
    return Table((*header, *(("as fast as before",) if before is not None else ())), tuple(rows))


def heading(run: Benchmark) -> str:
    """The machine, and what it can do, in two lines."""
    peaks = ", ".join(f"{value:.0f} in {name}" for name, value in run.peak_gflops.items())
    about = ", ".join((run.machine["device"], run.machine["cpu"], f"torch {run.machine['torch']}"))
    return f"{about}; faceanim {run.faceanim}\nconvolution peak, GFLOP/s: {peaks}"


def with_spread(timing: Timing) -> str:
    """Median, and half the distance of the quartiles."""
    return f"{timing.median:.1f} ±{timing.spread / 2:.1f}"


def _or_dash(value: float | None, times: int = 1, unit: str = "") -> str:
    return "-" if value is None else f"{times * value:.0f}{unit}"


def _ratio(case: CaseResult, earlier: CaseResult | None) -> str:
    """How many times as fast; marked where the two runs' middle halves overlap."""
    if earlier is None:
        return "-"
    now, then = case.frame, earlier.frame
    within = abs(now.median - then.median) <= (now.spread + then.spread) / 2
    return f"{then.median / now.median:.2f}{' (within spread)' if within else ''}"
