"""The script that measures the watermark: what it counts is what was put before it."""

import importlib.util
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from faceanim_cli.media import VideoWriter, write_photo
from faceanim_cli.provenance.watermark import Watermark


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "watermark_table.py"
    spec = importlib.util.spec_from_file_location("watermark_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kept = ("H.264, CRF 28", "GIF of 256 colours")
    monkeypatch.setattr(module, "WAYS", {way: module.WAYS[way] for way in kept})
    monkeypatch.setattr(module, "PATTERNS", 1)
    return module


def test_it_counts_what_is_found(
    script: ModuleType, astronaut: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mark in (("a.mp4", 7), ("b.mp4", 8), ("c.mp4", None)):
        with VideoWriter(tmp_path / name, Fraction(25), (512, 512)) as writer:
            for shift in range(4):
                frame = np.roll(astronaut, 8 * shift, axis=1)
                writer.write(frame if mark is None else Watermark(mark).embed(frame))
    assert script.main([str(tmp_path), "--mark", "7"]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("| what was done | found |")
    ways = ("as written", "H.264, CRF 28", "GIF of 256 colours", script.SCREENSHOT)
    assert [row.split(" | ")[0][2:] for row in rows] == list(ways)
    for row in rows[:-1]:  # two bear one, of which one has the number; on a screen it may be too faint
        assert [cell.strip() for cell in row.split("|")[2:5:2]] == ["2 of 3", "1 of 2"]


def test_it_counts_false_alarms(
    script: ModuleType, astronaut: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(tmp_path / "a.png", astronaut[:256, :256])
    assert script.main(["--unmarked", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("0 of 6 without a watermark reach")
    write_photo(tmp_path / "b.png", Watermark().embed(astronaut))
    script.main(["--unmarked", str(tmp_path)])
    assert int(capsys.readouterr().out.split(" of 10 ")[0]) >= 3  # of its four versions


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634)]
)
def test_intervals_are_wilson_s(script: ModuleType, hits: int, count: int, low: float, high: float) -> None:
    """Against Newcombe 1998, method 3."""
    assert script.wilson(hits, count) == pytest.approx((low, high), abs=1e-4)
