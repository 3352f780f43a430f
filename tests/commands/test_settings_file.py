"""``--config``: what a TOML file says about a command, and what is said about a file that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.media import VideoReader, write_photo

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes my.toml into the working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda text: (tmp_path / "my.toml").write_text(text) and None


@pytest.fixture
def folders(tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b.png", "x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()


def test_settings_count_and_flags_win(
    faceanim: Run,
    settings: Callable[[str], None],
    astronaut: np.ndarray,
    make_driver: Callable[..., Path],
    rigid_weights_file: Path,
) -> None:
    write_photo(Path("a.png"), astronaut)
    make_driver("x.mp4", frames=2)
    settings(
        f"""
        [animate]
        weights = {json.dumps(str(rigid_weights_file))}
        sr = false
        size = 48
        fps = 50
        crop = [150, 20, 200, 200.5]
        driver_crop = "100,20,200,200"
        device = "cpu"
        [weights.pull]
        offline = true
        [eval]
        baseline = ["static", "truth"]
        """
    )
    arguments = ("animate", "a.png", "x.mp4", "-o", "o.mp4", "--config", "my.toml", "--size", 64)
    assert faceanim(*arguments)[0] == 0
    with VideoReader("o.mp4") as video:
        assert (video.width, video.fps, sum(1 for _ in video)) == (64, 50, 4)


@pytest.mark.usefixtures("folders")
def test_each_command_has_its_table(
    faceanim: Run, settings: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings('[animate]\nsize = 48\n[batch]\noutput = "out"\nname = "{index}.mp4"\ndry-run = true\n')
    arguments = ("batch", "photos", "x.mp4", "-q")
    assert faceanim(*arguments)[0] == 2  # no --output
    listed = "photos/a.png\tx.mp4\tout/1.mp4\nphotos/b.png\tx.mp4\tout/2.mp4\n"
    assert faceanim(*arguments, "--config", "my.toml")[:2] == (0, listed)
    monkeypatch.setenv("FACEANIM_CONFIG", "my.toml")
    assert faceanim(*arguments)[:2] == (0, listed)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[animate]\nsise = 48", 2, "[animate]: no option sise; did you mean size?"),
        ("[animate]\nxyzzy = 48", 2, "[animate]: no option xyzzy; see faceanim animate --help"),
        ("[animate]\nno-sr = true", 2, "[animate]: no option no-sr; write sr = false"),
        ("[animate]\nconfig = 'x'", 2, "[animate]: no option config"),
        ("[animat]\nsize = 48", 2, "my.toml: no command animat; did you mean animate?"),
        ("size = 48", 2, "my.toml: size belongs into the table of a command, such as [animate]"),
        ("animate = 3", 2, "animate is a command; write a table [animate]"),
        ("[weights.pull]\nnam = 1", 2, "[weights.pull]: no option nam; see faceanim weights pull --help"),
        ("[animate]\nsr = 'no'", 2, "[animate] sr: true or false"),
        ("[animate]\nsize = true", 2, "[animate] size: a number or a text"),
        ("[animate]\nsize = {a = 1}", 2, "[animate] size: a number, a text, or a list"),
        ("[animate]\nSIZE = 48", 2, "[animate]: no option SIZE; did you mean size?"),
        ('[animate]\n"--size" = 48', 2, "[animate]: no option --size; did you mean size?"),
        ("[animate]\nhelp-all = true", 2, "[animate]: no option help-all"),
        ("[animate]\nsize = 2020-02-02", 2, "[animate] size: a number, a text, or a list"),
        ("[animate]\nsize = [[48]]", 2, "[animate] size: a number, a text, or a list"),
        ("[animate]\nsize = 48.5", 2, "'--size'"),
        ("[animate]\npose = inf", 2, "'--pose'"),
        (
            "[animate]\ndevice = 'floppy'",
            2,
            "'floppy' is not one of auto, cpu, cuda, cuda:1, mps, in the settings file",
        ),
        ("[animate]\nsize = 'big'", 2, "in the settings file (see faceanim animate -h)"),
        ("size: 256", 5, "cannot read the settings my.toml: not TOML: "),
        ("[animate]\nx = " + "[" * 5000, 5, "cannot read the settings my.toml: not TOML"),
        ("#" * (1 << 20) + "#", 5, "cannot read the settings my.toml: too large for settings"),
        ("[animate", 5, "cannot read the settings my.toml: not TOML"),
    ],
)
def test_a_file_that_is_wrong(
    faceanim: Run, settings: Callable[[str], None], text: str, code: int, said: str
) -> None:
    settings(text)
    got, out, err = faceanim("animate", "a.png", "x.mp4", "-o", "o.mp4", "--config", "my.toml")
    assert (got, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("encoding", "end", "start"),
    [
        ("utf-8", "\n", ""),
        ("utf-8", "\r\n", ""),
        ("utf-8", "\r", ""),
        ("utf-8-sig", "\r\n", ""),
        ("utf-16-le", "\r\n", "\ufeff"),
        ("utf-16-be", "\n", "\ufeff"),
    ],
)
@pytest.mark.usefixtures("folders")
def test_a_file_as_editors_save_it(
    faceanim: Run, settings: Callable[[str], None], encoding: str, end: str, start: str
) -> None:
    settings("")
    text = start + end.join(("[batch]", "output = 'Zoë'", "dry_run = true", ""))
    Path("my.toml").write_bytes(text.encode(encoding))
    code, out, _ = faceanim("batch", "photos", "x.mp4", "-q", "--config", "my.toml")
    assert code == 0
    assert out.splitlines()[0] == "photos/a.png\tx.mp4\tZoë/a-x.mp4"


def test_a_file_in_another_encoding(faceanim: Run, settings: Callable[[str], None]) -> None:
    settings("")
    Path("my.toml").write_bytes("[batch]\noutput = 'Zoë'".encode("latin-1"))
    code, _, err = faceanim("doctor", "--config", "my.toml")
    assert code == 5
    assert err == "faceanim: cannot read the settings my.toml: it is not UTF-8; save it as UTF-8 text\n"


def test_a_file_that_is_not_there(faceanim: Run, settings: Callable[[str], None]) -> None:
    code, _, err = faceanim("weights", "list", "--config", "none.toml")
    assert code == 5
    assert err == "faceanim: cannot read the settings none.toml: No such file or directory\n"
