"""Arrays on disk, read a part at a time: no file stays open, and other processes get the path alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CachedArray:
    """The first entries of a ``.npy`` file; indexing reads from the file, and gives arrays.

    A memory map of numpy's would keep a file open for each clip, of which a system allows a few hundred, and
    be pickled with all that it shows: a loader process that is spawned, as on macOS and Windows, would get a
    copy of the whole cache. This is pickled as its path and mapped for the moment of each access.
    """

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> "CachedArray":
        """Read the header.

        Raises:
            OSError: no such file.
            ValueError: not a whole array, or one of Python objects.
        """
        array = np.load(path, mmap_mode="r")
        if array.dtype.hasobject or not array.flags.c_contiguous:
            raise ValueError(f"{path}: not an array as the cache writes them")
        return cls(path, int(array.offset), array.dtype, array.shape)

    def first(self, length: int) -> "CachedArray":
        """The first ``length`` entries."""
        return replace(self, shape=(length, *self.shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        if isinstance(key, int | np.integer):  # by far the most frequent, and faster without a map
            index = range(len(self))[key]
            count = math.prod(self.shape[1:])
            place = self.offset + index * count * self.dtype.itemsize
            return np.fromfile(self.path, self.dtype, count, offset=place).reshape(self.shape[1:])
        if 0 in self.shape:  # an empty file cannot be mapped
            return np.asarray(np.zeros(self.shape, self.dtype)[key])
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[key])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)
