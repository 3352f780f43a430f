"""Pickles told from their opcodes: the containers and shapes that torch reads, and no harm from bad ones."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.pickle_shapes import (
    RefusedCallError,
    TensorShape,
    UnknownOpcodeError,
    read_pickle_shapes,
)
from faceanim_cli.weights.torch_file import read_torch_shapes

PLAIN = {
    "numbers": [0, -1, 255, 70_000, -(2**40), 2**2100, 1.5, True, False, None],
    "texts": ("", "a\n", "ä" * 300, b"bytes", b"b" * 300),
    "nested": {1: [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, []]},
    "many": list(range(3000)),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_containers_come_out_as_they_went_in(protocol: int) -> None:
    file = io.BytesIO(pickle.dumps(PLAIN, protocol) + b"what follows")
    if protocol == 2:  # bytes became a call of _codecs.encode there
        with pytest.raises(RefusedCallError, match=r"_codecs\.encode"):
            read_pickle_shapes(file)
        file = io.BytesIO(pickle.dumps({**PLAIN, "texts": ()}, protocol) + b"what follows")
        assert read_pickle_shapes(file).value == {**PLAIN, "texts": ()}
    else:
        assert read_pickle_shapes(file).value == PLAIN
    assert file.read() == b"what follows"


def shapes_of(value: Any) -> Any:
    """What torch read, with shapes for tensors."""
    if isinstance(value, torch.Tensor):
        return TensorShape(tuple(value.shape))
    if isinstance(value, dict):
        return {key: shapes_of(item) for key, item in value.items()}
    return type(value)(shapes_of(item) for item in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_torch_reads_the_same(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    shared = torch.zeros(6, dtype=torch.float16)
    content = {
        "network": network.state_dict(),  # an ordered dict with attributes
        "optimizer": optimizer.state_dict(),
        "views": OrderedDict(a=shared, b=shared[2:], c=shared.view(2, 3).T),
        "scalar": torch.tensor(3),
        "parameter": torch.nn.Parameter(torch.zeros(2, 2)),
        "epoch": 7,
    }
    path = tmp_path / "x.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert read_torch_shapes(path) == shapes_of(torch.load(path, weights_only=True))


def opcodes(*parts: bytes) -> io.BytesIO:
    return io.BytesIO(b"\x80\x02" + b"".join(parts) + b".")


def test_a_table_as_large_as_all_memory_is_not_made() -> None:
    # An unpickler would make room for 2 billion places at this opcode.
    assert read_pickle_shapes(opcodes(b"N", b"r", struct.pack("<I", 2**31 - 1))).value is None


@pytest.mark.parametrize(
    "bad",
    [
        opcodes(b"X", struct.pack("<I", 2**32 - 1), b"short"),
        opcodes(b"\x8d", struct.pack("<Q", 2**62), b"short"),
        opcodes(b"h\x07"),
        opcodes(b"t"),
        opcodes(b"]", b"N", b"R"),
        opcodes(),
        io.BytesIO(b"\x80\x02}"),
        io.BytesIO(b"\xff"),
    ],
    ids=["long text", "endless text", "no such memo", "no mark", "calls a list", "nothing", "cut", "noise"],
)
def test_damaged_pickles_end_in_an_ordinary_error(bad: io.BytesIO) -> None:
    with pytest.raises((ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)):
        read_pickle_shapes(bad)


@pytest.mark.parametrize(
    "code", [b"(ios\nsystem\n", b"cposix\nsystem\n", b"X\x02\x00\x00\x00osX\x01\x00\x00\x00x\x93"]
)
def test_every_way_to_name_a_function_is_refused(code: bytes) -> None:
    with pytest.raises((RefusedCallError, UnknownOpcodeError)):
        read_pickle_shapes(opcodes(code))


def test_a_pickle_that_would_unpack_into_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data.pkl", "w") as file:
        for _ in range(80):
            file.write(bytes(1_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(WeightsError, match="a pickle of 80,000,000 bytes"):
        read_torch_shapes(path)
