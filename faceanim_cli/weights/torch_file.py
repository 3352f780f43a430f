"""Reads files of ``torch.save``: their tensors or, without torch, only their shapes.

Both formats: the zip of today, and the pickles in a row of torch before 1.6, which the published checkpoints
of first-order-model have. Nothing in them is ever run.
"""

import io
import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.file_kind import FileKind, file_kind
from faceanim_cli.weights.pickle_shapes import RefusedCallError, read_pickle_shapes

LARGEST_PICKLE = 1 << 26  # bytes; that of a published checkpoint has a few 100,000: tensors lie beside it


def read_torch_file(path: Path) -> Any:
    """The file's content as tensors and plain containers, in memory; of a zip only those that are used.

    Raises:
        WeightsError: not a torch file, truncated, or one that asks for anything but tensors.
    """
    import torch  # noqa: PLC0415 (shapes are told without it)

    kind = _torch_kind(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch zip")
    except Exception as error:  # torch raises whatever its readers stumble over
        raise _read_error(path, error) from error


def read_torch_shapes(path: Path) -> Any:
    """The file's content with each tensor a ``TensorShape``; a few kilobytes are read, of a file of any size.

    Raises:
        WeightsError: not a torch file, truncated, or one that asks for anything but tensors.
    """
    kind = _torch_kind(path)
    try:
        with path.open("rb") as file:
            if kind == "torch zip":
                read = read_pickle_shapes(io.BytesIO(_zipped_pickle(file)))
                expected = sum(read.storages.values())
            else:
                for _ in range(3):  # the magic number, the protocol's version, the machine that wrote it
                    read_pickle_shapes(file)
                read = read_pickle_shapes(file)
                read_pickle_shapes(file)  # the order of the storages, which follow, each after its length
                expected = file.tell() + sum(8 + size for size in read.storages.values())
    except Exception as error:  # a damaged pickle can raise anything
        raise _read_error(path, error) from error
    size = path.stat().st_size
    if size < expected:
        raise WeightsError(f"{path}: a truncated torch file, {size:,} of {expected:,} bytes; fetch it again")
    return read.value


def _torch_kind(path: Path) -> FileKind:
    """Which of torch's two formats.

    Raises:
        WeightsError: neither.
    """
    kind = file_kind(path)
    if kind == "safetensors":
        raise WeightsError(f"{path}: a safetensors file where a torch checkpoint is needed")
    return kind


def _read_error(path: Path, error: Exception) -> WeightsError:
    """What a reader's error, ours or torch's, says about the file."""
    asked = str(error) if isinstance(error, RefusedCallError) else None
    if isinstance(error, pickle.UnpicklingError) and (found := re.search(r"GLOBAL (\S+)", str(error))):
        asked = found[1]
    if asked is not None:
        return WeightsError(
            f"{path}: refused: to open it, {asked} would have to be called, and a checkpoint needs only "
            "tensors; do not open it elsewhere unless you trust who made it"
        )
    logging.getLogger(__name__).debug("%s", path, exc_info=error)
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return WeightsError(f"{path}: a truncated or damaged torch file ({reason}); fetch it again")


def _zipped_pickle(file: Any) -> bytes:
    with zipfile.ZipFile(file) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
        if entry.file_size > LARGEST_PICKLE:  # as the zip says, before it is unpacked
            raise ValueError(f"a pickle of {entry.file_size:,} bytes")
        return archive.read(entry)
