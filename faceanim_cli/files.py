"""Hashes and change stamps of files, file names that are cut to length, and JSON of others."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHUNK = 1 << 22  # bytes read at a time


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def file_stamp(path: Path) -> list[str | int]:
    """Where a file really lies, its size in bytes and its modification time in nanoseconds, as JSON values.

    As long as the stamp stays, the content does: hashing hundreds of megabytes anew is not worth it.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def cut_name(text: str, size: int) -> str:
    """The beginning of ``text``, at most ``size`` bytes on disk; whole characters, for some systems refuse
    others. Names that are no text, as old disks have them, are cut as well."""
    while len(os.fsencode(text)) > size:
        text = text[:-1]
    return text


def parse_json(text: str | bytes | bytearray) -> Any:
    """What a JSON text says, for texts that may be anybody's.

    Raises:
        ValueError: it is no JSON, or nested deeper than Python bears.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
