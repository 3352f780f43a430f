"""Starts and stops the web server: its folder and address."""

import contextlib
import ctypes
import ipaddress
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from faceanim_cli.errors import UsageError
from faceanim_cli.web.access import Access
from faceanim_cli.web.app import Site
from faceanim_cli.web.jobs import MakeOptions
from faceanim_cli.web.live import LiveStage
from faceanim_cli.web.queue import JobQueue

FOLDER = "faceanim-web-"  # begins the names of the servers' folders; the process's number follows
LOOPBACK = "127.0.0.1"
M_ARENA_MAX = -8  # of glibc's malloc.h
FRAME_BYTES = 2_000_000  # of a camera's frame, as JPEG

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the server listens; with a host other than this machine itself it asks for a token."""

    host: str
    port: int
    token: str | None

    @property
    def url(self) -> str:
        """What a person opens."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def serve(
    make_options: MakeOptions,
    models: Sequence[str],
    host: str | None,
    port: int,
    ready: Callable[[Address, Callable[[], None]], None],
) -> None:
    """Serve the page until the process is told to end.

    Args:
        make_options: makes of what the page sends the options of an animation.
        models: see ``Site``.
        host: name or number to listen on; None is this machine alone.
        port: 0 is any that is free.
        ready: told, as soon as the server listens, its address and what to call to end it.

    Raises:
        UsageError: the address is taken, or not of this machine.
    """
    _share_heaps()
    with _listening(host or LOOPBACK, port) as listener, _folder() as root:
        token = None if host is None else secrets.token_urlsafe(24)
        address = Address(host or LOOPBACK, listener.getsockname()[1], token)
        queue = JobQueue(root, make_options)
        site = Site(queue, LiveStage(root, make_options), root, models)
        app = Access(site.app(), _names(address.host), address.port, token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws_max_size=FRAME_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )

        def stop() -> None:
            server.should_exit = True

        server = _Server(config, site, lambda: ready(address, stop))
        try:
            server.run(sockets=[listener])
        finally:
            site.closing = True
            queue.close()


class _Server(uvicorn.Server):
    """Tells when it listens, and ends the news of the page first of all, which would go on for ever."""

    def __init__(self, config: uvicorn.Config, site: Site, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._site, self._ready = site, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.closing = True
        await super().shutdown(sockets)


def _share_heaps() -> None:
    """Keep memory flat from job to job.

    Each job has new threads. glibc gives new threads one of up to eight heaps for each core, and each heap
    keeps what it held at most: over twenty jobs, half a gigabyte more than with two.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # of another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        resolver = isinstance(error, socket.gaierror)  # its numbers are others
        reason = error.strerror if resolver else os.strerror(error.errno or 0)
        raise UsageError(f"cannot listen on {host}, port {port}: {reason}; give another --port") from error
    with listener:
        yield listener


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only this user can look into, gone at the end; what killed servers left goes first."""
    for old in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        number = old.name.removeprefix(FOLDER).split("-")[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _runs(process: int) -> bool:
    if os.name == "nt":  # there os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _names(host: str) -> set[str]:
    """What a browser may call this machine, besides its numbers."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        name = socket.gethostname()
        return {name, f"{name}.local", socket.getfqdn()}
    return {host}
