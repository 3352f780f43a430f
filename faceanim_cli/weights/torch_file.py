"""Files that ``torch.save`` wrote, read as tensors and plain containers; nothing in them is ever run.

Both formats: the zip of today, and the pickles in a row of torch before 1.6, which the published checkpoints
of first-order-model have.
"""

import logging
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.file_kind import FileKind, file_kind

STORAGE_BYTES = {  # for each number of a storage, by the name of its class
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}


def read_torch_file(path: Path) -> Any:
    """The file's content, in memory; of a zip only those tensors that are used.

    Raises:
        WeightsError: not a torch file, truncated, or one that asks for anything but tensors.
    """
    kind = _torch_kind(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch zip")
    except Exception as error:  # torch raises whatever its readers stumble over
        raise _named(path, error) from error


def read_torch_shapes(path: Path) -> Any:
    """The file's content with tensors of the device "meta", which have a shape and no numbers.

    Reads a few kilobytes of a file of any size, where ``torch.load(map_location="meta")`` reads the whole of
    an old one.

    Raises:
        WeightsError: as :func:`read_torch_file`.
    """
    kind = _torch_kind(path)
    try:
        with path.open("rb") as file:
            if kind == "torch zip":
                with zipfile.ZipFile(file) as archive:
                    name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                    with archive.open(name) as inner:
                        reader = _ShapeReader(inner)
                        content = reader.load()
                expected = sum(reader.storages.values())
            else:
                for _ in range(3):  # the magic number, the protocol's version, the machine that wrote it
                    _ShapeReader(file).load()
                reader = _ShapeReader(file)
                content = reader.load()
                _ShapeReader(file).load()  # the order of the storages, which follow, each after its length
                expected = file.tell() + sum(8 + size for size in reader.storages.values())
    except Exception as error:  # a damaged pickle can raise anything
        raise _named(path, error) from error
    size = path.stat().st_size
    if size < expected:
        raise WeightsError(f"{path}: a truncated torch file, {size:,} of {expected:,} bytes; fetch it again")
    return content


class _ShapeReader(pickle.Unpickler):
    """Calls nothing but what is listed in ``find_class``: rebuilding tensors, here without their numbers."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, int] = {}  # bytes of each

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _rebuild_shape
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in STORAGE_BYTES:
            return name
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> None:
        _, storage, key, _, count, *_ = pid
        self.storages[key] = STORAGE_BYTES[storage] * count


def _rebuild_shape(storage: None, offset: int, size: Sequence[int], *rest: object) -> Tensor:
    return torch.empty(tuple(size), device="meta")


def _rebuild_parameter(data: Tensor, *rest: object) -> Tensor:
    return data


def _torch_kind(path: Path) -> FileKind:
    kind = file_kind(path)
    if kind == "safetensors":
        raise WeightsError(f"{path}: a safetensors file where a torch checkpoint is needed")
    return kind


def _named(path: Path, error: Exception) -> WeightsError:
    """What a reader's error says about the file."""
    asked = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if asked is not None:
        return WeightsError(
            f"{path}: refused: to open it, {asked[1]} would have to be called, and a checkpoint needs only "
            "tensors; do not open it elsewhere unless you trust who made it"
        )
    logging.getLogger(__name__).debug("%s", path, exc_info=error)
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return WeightsError(f"{path}: a truncated or damaged torch file ({reason}); fetch it again")
