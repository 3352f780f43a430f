"""``faceanim web`` as a command: where it listens, what it says, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")


def test_it_says_what_is_missing(
    faceanim: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "faceanim_cli.web.server", raising=False)
    code, _, err = faceanim("web")
    assert (code, err) == (
        2,
        "faceanim: the page needs more packages: pip install 'faceanim-cli[web]'\n",
    )


def test_a_port_that_is_taken(faceanim: Callable[..., tuple[int, str, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = faceanim("web", "--port", port)
    assert (code, out) == (2, "")
    assert (
        err
        == f"faceanim: cannot listen on 127.0.0.1, port {port}: Address already in use; give another --port\n"
    )


def test_a_host_that_is_not_here(faceanim: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = faceanim("web", "--host", "192.0.2.1")  # of no machine: RFC 5737
    assert code == 2 and err.startswith("faceanim: cannot listen on 192.0.2.1, port 7860: ")


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_and_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    dead = tmp_path / "faceanim-web-999999999-x"  # what a killed server left
    dead.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "faceanim_cli", "web", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        assert server.stdout is not None and server.stderr is not None
        address = server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with urllib.request.urlopen(address) as page:
            assert b"<title>faceanim</title>" in page.read()
        (folder,) = tmp_path.iterdir()
        assert folder != dead and folder.stat().st_mode & 0o777 == 0o700
        server.send_signal(number)
        assert server.wait(30) == code
        assert server.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
