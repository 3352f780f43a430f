"""What is remembered about weights between runs: hashes that were checked, licences that were accepted, files
that were added by hand, slim copies of checkpoints. It lies in the Hub client's folder for assets,
``$HF_HOME/assets/faceanim/weights``.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faceanim_cli.files import file_stamp, parse_json
from faceanim_cli.weights.catalogue import CatalogueEntry


def assets_folder(*parts: str) -> Path:
    """A path in our part of the assets folder; nothing is created."""
    from huggingface_hub import constants  # noqa: PLC0415 (reads the environment when imported)

    return Path(constants.HF_ASSETS_CACHE).absolute().joinpath("faceanim", "weights", *parts)


def added_path(entry: CatalogueEntry) -> Path:
    """Where ``weights add`` puts an entry's file, and where one put by hand is found too; where the one lies
    that is made of several.
    """
    name = f"{entry.name}.safetensors" if entry.files else entry.sources[0].basename
    return assets_folder("added", entry.name, name)


def converted_path(*paths: Path) -> Path:
    """Where the slim copy of another project's checkpoint, of one file or several, lies, or would.

    Its name is made of the files' paths, sizes and times: a checkpoint that changes is converted anew.
    """
    stamp = " ".join(str(part) for path in paths for part in file_stamp(path))
    return assets_folder("converted", f"{hashlib.sha256(os.fsencode(stamp)).hexdigest()[:32]}.safetensors")


def recorded_sha256(path: Path) -> str | None:
    """The hash that this file had when it was checked; None if it has changed since, or never was.

    Size and modification time tell whether it changed: hashing 751 MB before each animation is not worth it.
    """
    known = _read(_hash_record(path))
    return known["sha256"] if known is not None and known.get("file") == file_stamp(path) else None


def last_sha256(path: Path) -> str | None:
    """The hash that this file had when it was checked last, whether it has changed since or not."""
    known = _read(_hash_record(path))
    return None if known is None else known["sha256"]


def record_sha256(path: Path, sha256: str) -> None:
    """Remember that a file was checked. A folder that cannot be written only means hashing again."""
    _write(_hash_record(path), {"path": str(path.absolute()), "file": file_stamp(path), "sha256": sha256})


def forget_sha256(path: Path) -> None:
    """Drop what is remembered about a file."""
    with contextlib.suppress(OSError):
        _hash_record(path).unlink(missing_ok=True)


def recorded_files() -> Iterator[tuple[Path, str]]:
    """Every file that was checked and is still there, with the hash that it had."""
    for record in sorted(assets_folder("checked").glob("*.json")):
        known = _read(record)
        if known is not None and Path(known["path"]).is_file():
            yield Path(known["path"]), known["sha256"]


def licence_accepted(entry: CatalogueEntry) -> bool:
    """Whether a person has agreed to the terms as they stand in the catalogue today."""
    known = _read(assets_folder("accepted", f"{entry.name}.json"))
    return entry.terms is None or (known is not None and known.get("terms") == entry.terms)


def accept_licence(entry: CatalogueEntry) -> None:
    """Remember that a person agreed to an entry's terms."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _write(assets_folder("accepted", f"{entry.name}.json"), {"terms": entry.terms, "accepted": now})


def _hash_record(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return assets_folder("checked", f"{name}.json")


def _read(record: Path) -> dict[str, Any] | None:
    try:
        known = parse_json(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never written, or cut short by a power cut
        return None
    return known if isinstance(known, dict) else None


def _write(record: Path, content: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # a shared, read-only cache works all the same
        record.parent.mkdir(parents=True, exist_ok=True)
        partial = record.with_name(f".{record.name}.{os.getpid()}")
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(record)
