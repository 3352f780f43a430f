"""Runs a whole benchmark, and reads and writes its JSON."""

import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from faceanim_cli import __version__
from faceanim_cli.animation.animator import Animator
from faceanim_cli.benchmark.cases import DETAIL_SIZE, CaseOptions, CaseResult, Timing, measure_cases
from faceanim_cli.benchmark.files import (
    FPS,
    CommandResult,
    measure_command,
    measure_files,
    write_driver,
)
from faceanim_cli.data.data_folder import example_clips
from faceanim_cli.device import choose_device
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.faces import resized
from faceanim_cli.files import parse_json
from faceanim_cli.media import VideoReader, write_photo
from faceanim_cli.pictures import Progress
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights

EXAMPLE = "turn.mp4"  # a face that ships, 256 x 256, about a second


@dataclass(frozen=True)
class Benchmark:
    """All that one run measured."""

    faceanim: str
    """Version."""
    machine: dict[str, str]
    peak_gflops: dict[str, float]
    """Of one large convolution, by precision."""
    cases: tuple[CaseResult, ...]
    files: dict[str, Timing]
    """Milliseconds a frame, by what is done."""
    commands: tuple[CommandResult, ...]

    def as_json(self) -> dict[str, Any]:
        """Numbers and names; :func:`read_benchmark` reads them again."""
        cases = [{**asdict(case), "fps": case.fps, "real_time": case.fps / float(FPS)} for case in self.cases]
        commands = [{**asdict(command), "real_time": command.real_time} for command in self.commands]
        return {**asdict(self), "cases": cases, "commands": commands}


def run_benchmark(options: CaseOptions, seconds: float = 10.0, progress: Progress | None = None) -> Benchmark:
    """Measure everything.

    Args:
        options: the cases in memory.
        seconds: length of the clip that ``faceanim animate`` makes, once for each weights and each kind of
            result; 0 leaves it out.
        progress: told rounds of a case done and expected.

    Raises:
        WeightsError, UsageError: as ``Animator``.
    """
    frames = list(VideoReader(example_clips() / EXAMPLE))
    side = max([DETAIL_SIZE, *(size or 0 for size in options.sizes)])
    photo = resized(frames[0], (side, side))  # its detail is nothing, but takes as long as any
    commands = []
    with tempfile.TemporaryDirectory() as folder:
        driver, picture = Path(folder) / "driver.mp4", Path(folder) / "photo.png"
        write_photo(picture, photo)
        write_driver(driver, frames, max(len(frames), round(seconds * FPS)))
        # First, while this process is small: see measure_command.
        for weights in options.weights if seconds > 0 else ():
            for sr, size in options.results:
                file = shipped_weights(ANIMATION) if weights is None else weights
                count = max(len(frames), round(seconds * FPS))
                commands.append(
                    measure_command(
                        picture, driver, count, file, sr, options.device, size, compiled=options.compiled
                    )
                )
        cases, peak = measure_cases(options, photo, frames, progress)
        animator = Animator(options.weights[0], options.device, sr=False)
        files = measure_files(
            animator, photo, example_clips() / EXAMPLE, sorted({case.size for case in cases}), options.rounds
        )
    return Benchmark(
        __version__, machine(choose_device(options.device)), peak, tuple(cases), files, tuple(commands)
    )


def machine(device: torch.device) -> dict[str, str]:
    """What the numbers depend on."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "cpu": f"{_cpu_name()}, {torch.get_num_threads()} threads",
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "python": platform.python_version(),
    }


def read_benchmark(path: Path) -> Benchmark:
    """What ``--json`` printed.

    Raises:
        UnreadableInputError: no such file, or not that.
    """
    try:
        run = parse_json(path.read_text(encoding="utf-8"))
        return Benchmark(
            run["faceanim"],
            dict(run["machine"]),
            dict(run["peak_gflops"]),
            tuple(_case(case) for case in run["cases"]),
            {name: Timing(**timing) for name, timing in run["files"].items()},
            tuple(
                CommandResult(**{key: value for key, value in command.items() if key != "real_time"})
                for command in run["commands"]
            ),
        )
    except OSError as error:
        raise UnreadableInputError(f"{path}: {error.strerror or error}; give what --json printed") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableInputError(
            f"{path}: not what `faceanim benchmark --json` prints; give such a file"
        ) from error


def _case(values: dict[str, Any]) -> CaseResult:
    known = {key: value for key, value in values.items() if key not in {"fps", "real_time"}}
    known["frame"] = Timing(**known["frame"])
    known["stages"] = {name: Timing(**timing) for name, timing in known["stages"].items()}
    return CaseResult(**known)


def _cpu_name() -> str:
    """The processor's own name, where the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
