"""Downloads from the Hugging Face Hub through its own client: its cache, environment variables, progress.

What this adds: the SHA-256 is checked and remembered, a second source stands in for a first that fails, and
an error says what to fetch by hand. Environment variables of the client that people set: HF_HOME (where the
cache is), HF_TOKEN, HF_ENDPOINT (a mirror), HF_HUB_OFFLINE, and the usual proxy variables.

A cut connection is taken up where it broke, by the client, as long as the command runs. Begun anew is what a
killed command had fetched: since 1.18 the client keeps no part of a file that it could go on from.
"""

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path

from faceanim_cli import __version__
from faceanim_cli.errors import WeightsError
from faceanim_cli.files import file_sha256
from faceanim_cli.weights.catalogue import HubSource
from faceanim_cli.weights.file_kind import file_kind
from faceanim_cli.weights.records import forget_sha256, record_sha256, recorded_sha256

ROUNDS = 2  # through the sources, as long as a fault may pass: no connection, 429, 5xx
PAUSE = 1.5  # seconds between them
PASSING = frozenset({408, 429, 500, 502, 503, 504})
NETWORK_CLIENTS = ("httpx", "requests", "urllib3")  # whichever the Hub's client is built on
SHA256 = re.compile(r"[0-9a-f]{64}")


def source_url(source: HubSource) -> str:
    """The address of a file, for a browser or for curl."""
    from huggingface_hub import hf_hub_url  # noqa: PLC0415 (the client takes a while to import)

    return hf_hub_url(source.repo_id, source.filename, repo_type=source.repo_type, revision=source.revision)


def is_offline(asked: bool = False) -> bool:
    """Whether the network is off, by ``--offline`` or by HF_HUB_OFFLINE."""
    from huggingface_hub import constants  # noqa: PLC0415

    return asked or bool(constants.HF_HUB_OFFLINE)


def show_progress(wanted: bool) -> None:
    """Whether the client draws progress bars, on stderr where that is a terminal, and warns of cut lines."""
    if not wanted:
        from huggingface_hub.utils import (  # type: ignore[attr-defined] # noqa: PLC0415 (documented there)
            disable_progress_bars,
        )

        disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def cached_file(source: HubSource) -> Path | None:
    """The file in the Hub's cache, without a look at the network; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

    found = try_to_load_from_cache(
        source.repo_id, source.filename, revision=source.revision, repo_type=source.repo_type
    )
    return Path(found) if isinstance(found, str) else None


def fetch(name: str, sources: Sequence[HubSource], sha256: str | None, by_hand: str) -> Path:
    """Download a file from the first source that has it, and check it.

    Progress goes to stderr, if that is a terminal. A cut connection is taken up where it broke.

    Args:
        name: what messages call the weights.
        sources: tried in this order.
        sha256: what the file must hash to; None trusts the hash that the Hub states, and checks that the
            content is of a kind that holds weights.
        by_hand: how a person gets the file without this; the end of the error.

    Returns:
        The file's path in the Hub's cache.

    Raises:
        WeightsError: every source failed; says how, each.
    """
    failures: dict[HubSource, Exception] = {}
    for round_ in range(ROUNDS):
        if round_ and not any(_may_pass(error) for error in failures.values()):
            break
        if round_:
            time.sleep(PAUSE)
        for source in sources:
            if source in failures and not _may_pass(failures[source]):
                continue
            try:
                return _download(source, sha256)
            # The client speaks through requests, httpx or hf-xet, as its version has it, and lets their
            # errors through: whatever goes wrong with one source, the next one deserves its turn.
            except Exception as error:
                failures[source] = error
    reasons = "; ".join(f"{source.repo_id}: {_reason(error)}" for source, error in failures.items())
    raise WeightsError(f"cannot fetch {name}: {reasons}; {by_hand}") from next(iter(failures.values()), None)


def check(path: Path, sha256: str | None) -> None:
    """Make sure that a file is what it should be, once: later calls trust size and modification time.

    Raises:
        WeightsError: it is not; the message names both hashes and what the file is instead.
    """
    known = recorded_sha256(path)
    if known is not None and known == (sha256 or known):
        return
    digest = file_sha256(path)
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{_kind_prefix(path)}its SHA-256 is {digest} instead of {sha256}")
    record_sha256(path, digest)


def delete_cached(path: Path) -> None:
    """Delete a file of the Hub's cache: the name in the snapshot, and the blob (or blobs) that it leads to.

    Raises:
        WeightsError: the cache cannot be written.
    """
    forget_sha256(path)
    link: Path | None = path
    try:
        while link is not None:
            target = link.parent / link.readlink() if link.is_symlink() else None
            link.unlink(missing_ok=True)
            link = target
    except OSError as error:
        raise WeightsError(f"{link}: cannot be deleted ({error.strerror}); delete it yourself") from error


def _download(source: HubSource, sha256: str | None) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download  # noqa: PLC0415

    if cached_file(source) is None:
        # The download would ask the same, but with half a minute of patience that the next source makes
        # needless; and the Hub states a large file's SHA-256, which spares us 751 wrong megabytes.
        offered = get_hf_file_metadata(source_url(source)).etag
        if sha256 is not None and offered is not None and SHA256.fullmatch(offered) and offered != sha256:
            raise WeightsError(f"it offers a file with SHA-256 {offered} instead of {sha256}")
    path = Path(
        hf_hub_download(
            source.repo_id,
            source.filename,
            repo_type=source.repo_type,
            revision=source.revision,
            library_name="faceanim",
            library_version=__version__,
        )
    )
    try:
        fresh = recorded_sha256(path) is None
        check(path, sha256 or _stated_sha256(path))
        if sha256 is None and fresh:
            file_kind(path)
    except WeightsError as error:
        delete_cached(path)
        raise WeightsError(f"{str(error).removeprefix(f'{path}: ')}; the download was deleted") from error
    return path


def _stated_sha256(path: Path) -> str | None:
    """The hash that the Hub stated: the cache's blobs are named by it where the system has symbolic links."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if SHA256.fullmatch(name) else None


def _kind_prefix(path: Path) -> str:
    """What a wrong file is, as the beginning of a message; empty if it looks like weights."""
    try:
        file_kind(path)
    except WeightsError as error:
        return f"{str(error).removeprefix(f'{path}: ')}; "
    return ""


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error; the client wraps some as "not in the cache"."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def _may_pass(error: Exception) -> bool:
    if isinstance(error, WeightsError):  # a wrong file is as wrong in two seconds
        return False
    status = _status(error)
    return status is None or status in PASSING


def _reason(error: Exception) -> str:
    if isinstance(error, WeightsError):
        return str(error)
    status = _status(error)
    if status in (401, 403):
        return f"{status}: no such repository, or a private one that needs another HF_TOKEN"
    if status == 404:
        return "404: no such repository, revision or file"
    if status is not None:
        return f"the server answers {status}"
    # "Not in the cache" (a FileNotFoundError) says less than what kept the client from looking elsewhere.
    cause = (error.__cause__ if isinstance(error, FileNotFoundError) else None) or error
    from_network = type(cause).__module__.startswith(NETWORK_CLIENTS) or isinstance(cause, ConnectionError)
    first_line = next(iter(str(cause).splitlines()), "")
    return f"{'no connection' if from_network else 'failed'} ({type(cause).__name__}: {first_line})"
