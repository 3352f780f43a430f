"""Options of ``faceanim eval`` that cannot be, each one line and its exit code; and the list of metrics."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from faceanim_cli.commands.eval import EvaluationFlags
from faceanim_cli.evaluation.metrics import METRICS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(faceanim: Run) -> Run:
    return partial(faceanim, "eval")


def test_every_known_metric_is_listed_and_in_the_help(run: Run) -> None:
    code, out, _ = run("--list-metrics")
    assert code == 0
    assert all(column.name in out for metric in METRICS.values() for column in metric.columns)
    text = str(EvaluationFlags.__annotations__["metrics"].__metadata__[0].help)
    assert all(name in text for name in METRICS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--metrics", "psrn"), 2, "unknown metric psrn; known are psnr, ssim"),
        (("--data", "nowhere"), 5, "nowhere"),
        (("--weights", "no.safetensors"), 4, "no.safetensors"),
        (("--protocol", "files", "--truth", "x"), 2, "--predicted"),
        (("--predicted", "x", "--truth", "nowhere"), 5, "no such file or folder"),
        (("--predicted", ".", "--truth", ".", "--weights", "a"), 2, "--weights"),
        (("--protocol", "cross", "--metrics", "psnr"), 2, "need a ground truth"),
        (("--protocol", "reconstruction", "--truth", "."), 2, "--protocol files"),
        (("--protocol", "reconstruction", "--pairs", "p.csv"), 2, "--protocol cross"),
        (("--metrics", "csim"), 2, "--identity-model"),
        (("--metrics", "slopes"), 2, "--landmark-model"),
        (("--metrics", "csim", "--identity-model", "no.pt"), 4, "no.pt"),
        (("--metrics", "akd", "--landmark-model", "no.pt"), 4, "no.pt"),
        (("--baseline", "magic"), 2, "static, similarity, truth"),
        (("--metrics", "flicker", "--every", "2"), 2, "--every 1"),
        (("--grid", "a.txt"), 2, "name it .png or .jpg"),
        (("--grid", "nowhere/a.png"), 2, "nowhere"),
        (("--every", "0"), 2, "--every"),
        (("--seed", "-3"), 2, "--seed"),
        (("--num-pairs", "3"), 2, "--protocol cross"),
        (("--pairs", "p.csv", "--num-pairs", "3"), 2, "--limit"),
        (("--protocol", "cross", "--count-source"), 2, "--protocol reconstruction"),
        (("--photo", "a.jpg"), 2, "--grid"),
        (("--driver", "a.mp4"), 2, "--grid"),
        (("--landmark-model", "a.pt", "--metrics", "psnr"), 2, "names none"),
        (("--identity-model", "a.pt", "--metrics", "psnr"), 2, "csim"),
        (("--predicted", "clips", "--truth", "clips", "-o", "clips/report"), 2, "lie in each other"),
        (("--data", "clips", "-o", "clips"), 2, "lie in each other"),
        (("--data", "clips", "-o", "."), 2, "lie in each other"),
        (("-o", "foreign"), 2, "a report.html of something else"),
    ],
)
def test_bad_options_have_their_exit_code(
    run: Run,
    rigid_weights_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("clips", "foreign"):
        (tmp_path / folder).mkdir()
    (tmp_path / "foreign/report.html").write_text("precious")
    by_files = {"--weights", "--predicted"} & set(arguments) or arguments[:2] == ("--protocol", "files")
    extra = ("--weights", rigid_weights_file, "--size", 64, "--limit", 1) if not by_files else ()
    got, out, err = run(*arguments, *extra, "--quiet")
    assert got == code
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["clips", "foreign", "report.html"]
    assert (tmp_path / "foreign/report.html").read_text() == "precious"
