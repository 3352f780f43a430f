"""JSON that somebody else may have written: one line says what is wrong with it, wherever it is read."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faceanim_cli.batch.report import read_report
from faceanim_cli.benchmark.run import read_benchmark
from faceanim_cli.data.journal import FILE, Journal
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError, WeightsError
from faceanim_cli.evaluation.results import ScoreFolder
from faceanim_cli.files import parse_json
from faceanim_cli.media.own_files import is_ours
from faceanim_cli.motion.motion_file import read_motion
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.file_kind import file_kind
from faceanim_cli.weights.inspect import describe
from faceanim_cli.weights.onnx_export import is_export

ITEM = '"photo": "a", "driver": "b", "status": "done"'
NESTED = "[" * 100_000 + "]" * 100_000


def safetensors(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode()


def checkpoint(**metadata: str) -> bytes:
    return safetensors(json.dumps({"__metadata__": {"faceanim": "1", "network": "animation", **metadata}}))


def in_folder(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Reads a folder in which the file has this name."""
    return lambda file: read(file.rename(file.with_name(name)).parent)


@pytest.mark.parametrize(
    ("content", "read", "error"),
    [
        (f"{NESTED}\n", read_report, UnreadableInputError),
        (f'{{{ITEM}, "output": []}}\n', read_report, UnreadableInputError),
        (f'{{{ITEM}, "output": "c", "settings": [1]}}\n', read_report, UnreadableInputError),
        (NESTED, read_benchmark, UnreadableInputError),
        (f"{NESTED}\n", in_folder(FILE, lambda folder: Journal.read(folder, {})), UnreadableInputError),
        ('{"settings": 3}\n', in_folder(FILE, lambda folder: Journal.read(folder, {})), UnreadableInputError),
        (
            '{"settings": {}}\n{"manifest": 3, "draw": 3}\n',
            in_folder(FILE, lambda folder: Journal.read(folder, {})),
            UnreadableInputError,
        ),
        (NESTED, in_folder("scores.json", lambda folder: ScoreFolder(folder, {}, ())), UsageError),
        (safetensors('{"a":' + NESTED + "}"), file_kind, WeightsError),
        (safetensors('{"a": {"data_offsets": ["0", "8"]}}'), file_kind, WeightsError),
        (safetensors('{"a": {"data_offsets": [0, null]}}'), file_kind, WeightsError),
        (checkpoint(settings=NESTED), load_checkpoint, WeightsError),
        (checkpoint(settings=NESTED), describe, WeightsError),
        (safetensors('{"a":' + NESTED + "}"), read_motion, UnreadableInputError),
    ],
)  # fmt: skip
def test_what_does_not_read_is_told(
    tmp_path: Path, content: str | bytes, read: Callable[[Path], Any], error: type[FaceanimError]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as caught:
        read(path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [safetensors('{"a":' + NESTED + "}"), NESTED.encode()])
def test_what_does_not_read_is_not_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    assert not is_ours(path)
    assert not is_export(tmp_path)


def test_json_that_reads() -> None:
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match="Expecting"):
        parse_json("x")
