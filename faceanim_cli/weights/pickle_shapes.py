"""Reads tensor shapes from torch's pickles by their opcodes; nothing is unpickled, let alone run.

A machine of a few opcodes on plain containers, where tensors are their shapes. It knows the calls that make
tensors and stops at any other. Slower than an unpickler, and safer than one with a list of allowed names:
``pickle`` fills a table as large as a pickle's numbering says, which can be all memory.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

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


class RefusedCallError(Exception):
    """A pickle that wants to call something which no tensor needs; its message is the name."""


class UnknownOpcodeError(Exception):
    """An opcode that torch does not write."""


@dataclass(frozen=True)
class TensorShape:
    """A tensor without its numbers."""

    shape: tuple[int, ...]


@dataclass
class PickleShapes:
    """What was read.

    Attributes:
        value: dicts, lists, tuples, numbers and strings as they were pickled; tensors as ``TensorShape``.
        storages: bytes of each storage that the tensors lie in, by its key.
    """

    value: Any = None
    storages: dict[str, int] = field(default_factory=dict)


def read_pickle_shapes(file: IO[bytes]) -> PickleShapes:
    """Read one pickle; ``file`` stands behind it then.

    Raises:
        RefusedCallError: it wants to call anything but what makes tensors and ordered dicts.
        UnknownOpcodeError, ValueError, IndexError, KeyError, TypeError, AttributeError: not a whole pickle.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(file):
        machine.step(opcode.name, argument)
    return PickleShapes(machine.stack.pop(), machine.storages)


# Opcodes whose argument is the value.
NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"})
STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"})
TEXTS = frozenset({"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"})
PUSHED = NUMBERS | STRINGS | TEXTS
MADE: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
NOTHING_TO_DO = frozenset({"PROTO", "FRAME", "STOP"})


class _Machine:
    """The unpickler's stack, without its powers."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, int] = {}
        self._below: list[list[Any]] = []  # stacks that MARK has set aside
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in PUSHED:
            stack.append(argument)
        elif name in MADE:
            stack.append(MADE[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._below.append(stack)
            self.stack = []
        elif name not in NOTHING_TO_DO:
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._since_mark()
            self.stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = self._since_mark() if name == "APPENDS" else [self.stack.pop()]
            self.stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._since_mark() if name == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            self.stack[-1].update(_pairs(items))
        elif name == "GLOBAL":
            self.stack.append(_callee(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            self.stack[-2:] = [_callee(*self.stack[-2:])]
        elif name == "BINPERSID":
            self._count_storage(*self.stack.pop())
            self.stack.append(None)
        elif name == "REDUCE":
            arguments = self.stack.pop()
            self.stack.append(self.stack.pop()(*arguments))
        elif name == "BUILD":
            self.stack.pop()  # attributes, such as the _metadata of a state dict
        else:
            raise UnknownOpcodeError(f"opcode {name}")

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _count_storage(
        self, _: str, kind: Callable[[], str], key: str, device: str, count: int, *rest: object
    ) -> None:
        self.storages[key] = STORAGE_BYTES[kind()] * count


def _callee(module: str, name: str) -> Callable[..., Any]:
    """What stands in for the few things that a checkpoint calls."""
    if (module, name) == ("collections", "OrderedDict"):
        return dict
    if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
        return _shape
    if (module, name) == ("torch._utils", "_rebuild_parameter"):
        return _parameter
    if module == "torch" and name in STORAGE_BYTES:
        return lambda: name
    raise RefusedCallError(f"{module}.{name}")


def _shape(storage: None, offset: int, size: tuple[int, ...], *rest: object) -> TensorShape:
    return TensorShape(tuple(size))


def _parameter(data: TensorShape, *rest: object) -> TensorShape:
    return data


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
