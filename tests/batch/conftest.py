"""Empty files by their names, as plans see them; the fixture ``touch`` makes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faceanim_cli.batch.plan import BatchPlan

Touch = Callable[..., Path]


@pytest.fixture
def touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Touch:
    """Makes empty files below the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def triples(plan: BatchPlan) -> list[tuple[str, str, str]]:
    return [(i.photo.as_posix(), i.driver.as_posix(), i.output.as_posix()) for i in plan.items]


def names(plan: BatchPlan) -> list[str]:
    return [item.output.name for item in plan.items]
