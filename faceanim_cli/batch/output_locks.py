"""Keeps two batches on one machine from making the same results at once."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PLACE_BYTES = 7  # of a hash: places of locks end at 2 to the power of 63


@contextlib.contextmanager
def locked_outputs(items: Sequence[BatchItem]) -> Iterator[None]:
    """Reserve the outputs of a batch for this process, until the block or the process ends.

    One empty file in the folder for temporary files stands for all results of this user: a result is the byte
    at the place that the hash of its path says, and that byte is locked. The system lets go of it whenever
    the process ends, however it does. Where there are no such locks, nothing is reserved.

    Raises:
        UsageError: another process is making one of them.
    """
    with contextlib.ExitStack() as opened:
        if fcntl is not None:
            path = Path(tempfile.gettempdir()) / f"faceanim-batch-{os.getuid()}.lock"
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                opened.callback(os.close, file)
                _lock(file, items)
            except OSError as error:
                logger.info("%s: results are not locked: %s", path, error.strerror)
        yield


def _lock(file: int, items: Sequence[BatchItem]) -> None:
    for item in items:
        digest = hashlib.sha256(os.fsencode(os.path.realpath(item.output))).digest()
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int.from_bytes(digest[:PLACE_BYTES], "big"))
        except (BlockingIOError, PermissionError) as error:  # systems differ in how they say it
            raise UsageError(
                f"{item.output}: another batch is making it; wait for it and give --resume, or name another "
                "--output"
            ) from error
