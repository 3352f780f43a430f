"""Receives uploads to disk, up to a size limit."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from starlette.requests import Request

from faceanim_cli.errors import UnreadableInputError

PHOTO_MB, DRIVER_MB = 50, 500
LONGEST_NAME = 100  # letters of a file's name that are kept


class TooLargeError(UnreadableInputError):
    """More bytes than are taken."""


def shown_name(text: str, otherwise: str) -> str:
    """What a person calls a file, safe to show and to save under: without folders and control characters."""
    text = unquote(text).encode(errors="replace").decode()  # halves of letters, as some systems' names have
    name = re.sub(r"[\x00-\x1f\x7f/\\]", "", re.split(r"[/\\]", text)[-1]).strip(". ")
    return name[-LONGEST_NAME:] or otherwise


async def receive(request: Request, path: Path, most_mb: int, name: str) -> None:
    """Write a request's body to a file.

    Raises:
        TooLargeError: it is larger than ``most_mb``; told before it is read where the request says so.
        UnreadableInputError: it is empty.
        ClientDisconnect: it ended early.
    """
    too_large = TooLargeError(f"{name} is too large: at most {most_mb} MB are taken")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > most_mb * 1_000_000:
        raise too_large
    size = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_mb * 1_000_000:
                raise too_large
            await asyncio.to_thread(file.write, chunk)
    if not size:
        raise UnreadableInputError(f"{name} is empty: choose another file")


@asynccontextmanager
async def received(request: Request, root: Path, most_mb: int, name: str) -> AsyncIterator[Path]:
    """A request's body as a file that is there for a while; errors as ``receive``."""
    with tempfile.NamedTemporaryFile(dir=root, delete=False) as file:
        path = Path(file.name)
    try:
        await receive(request, path, most_mb, name)
        yield path
    finally:
        path.unlink(missing_ok=True)
