"""What results are called: a template with the names of photo and driver in it."""

import hashlib
import os
import re
from pathlib import Path, PurePath
from string import Formatter

from faceanim_cli.errors import UsageError
from faceanim_cli.files import cut_name

FIELDS = ("photo", "driver", "index")
DEFAULT_NAME = "{photo}-{driver}.mp4"
INDEX_FORMAT = re.compile(r"(0?[1-9])?d?")  # at most nine digits
LONGEST_NAME = 255  # bytes, on nearly all file systems
LONGEST_SUFFIX = 16  # of letters; more is a dot in the middle of a name
HASH_DIGITS = 8


def check_template(name: str) -> None:
    """Refuse a template that names no file inside the output folder.

    Raises:
        UsageError: an unknown field, a format that does not fit, an absolute path or one with "..".
    """
    known = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        for _, field, spec, conversion in Formatter().parse(name):
            if field is None:
                continue
            if field not in FIELDS:
                raise UsageError(f"--name {name}: unknown {{{field}}}; known are {known}")
            if conversion or (spec and not (field == "index" and INDEX_FORMAT.fullmatch(spec))):
                raise UsageError(f"--name {name}: only the index takes a format, such as {{index:03d}}")
    except ValueError as error:
        raise UsageError(f"--name {name}: {error}; fields are {known}") from error
    check_inside(name, f"--name {name}")


def check_inside(name: str, said: str) -> None:
    """Refuse what names no file inside the output folder; ``said`` is how the message begins.

    Raises:
        UsageError: an absolute path, one with "..", or none.
    """
    path = PurePath(name)
    if (
        not path.name
        or path.is_absolute()
        or path.drive
        or ".." in path.parts
        or name.endswith(("/", os.sep))
    ):
        raise UsageError(f"{said} does not name a file inside the output folder")


def fill_template(name: str, photo: Path, driver: Path, index: int) -> str:
    """The result's name; ``name`` has passed :func:`check_template`.

    Where the names of photo and driver together are longer than file systems bear, the end of a folder's or
    file's name is cut off, and a part of its hash keeps it apart from others of the same beginning.
    """
    filled = PurePath(name.format(photo=photo.stem, driver=driver.stem, index=index))
    return str(PurePath(*map(_shortened, filled.parts)))


def _shortened(name: str) -> str:
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    suffix = PurePath(name).suffix
    suffix = suffix if len(suffix) <= LONGEST_SUFFIX else ""
    end = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:HASH_DIGITS]}{suffix}"
    return cut_name(name.removesuffix(suffix), LONGEST_NAME - len(os.fsencode(end))) + end
