"""A pickled dict of numbers, read without running it.

`pickle.load` does whatever the file says, and a restricted `Unpickler` still hands damaged sizes to
numpy. Here an opcode moves plain values, and the few names that such a file needs stand for what is
written below. No name is looked up in a module, and nothing in the file is called.

What a file can cost is bounded by its length: strings, arrays and the memo are shared, never copied
or reserved ahead.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_NAMES = {
    "_codecs encode": "encode",
    "numpy dtype": "dtype",
    "numpy ndarray": "ndarray",
    **{
        f"{module} {name}": name
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    },
}
"""Names that may stand in a file -> what they are here. numpy 2 has renamed its modules."""

_NUMBERS = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")

_LARGEST_KEY = 10**15

_LONGEST = 8 * 255
"""Bytes of an array: as many numbers as there can be classes."""


class RefusedError(ValueError):
    """The file asks for something that no dict of numbers needs."""


@dataclass(frozen=True, slots=True)
class _Name:
    text: str


@dataclass(slots=True)
class _Type:
    """A numpy type such as "f4", and its byte order."""

    code: str
    order: str = "|"


@dataclass(slots=True)
class Array:
    """An array as the file has it: its type, its shape and its bytes, not yet looked at."""

    type: _Type | None = None
    shape: object = None
    data: object = None

    def numbers(self) -> list[float]:
        """The numbers of an array of one axis.

        Raises:
            ValueError: this is no such array, or its bytes are more or fewer than its length says.
        """
        if self.type is None or self.type.code not in _NUMBERS:
            raise ValueError("an array that holds no plain numbers")
        order = self.type.order if self.type.order in ("<", ">") else "="
        # A remainder is an error.
        values = np.frombuffer(_bytes(self.data), np.dtype(order + self.type.code))
        if self.shape != (len(values),):
            raise ValueError(f"an array of {len(values)} numbers and another shape")
        return [float(value) for value in values]


def read_dict(content: bytes) -> dict[str | int, Array]:
    """The dict in the pickle of a numpy array without axes, as `numpy.save` writes one.

    Raises:
        RefusedError: it names a function or an object beside numpy's arrays of numbers.
        ValueError: it is damaged, or holds something else than such a dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # python's about backslashes in a damaged name
            value = _Machine().run(content)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("a damaged pickle") from error
    if isinstance(value, Array) and isinstance(value.data, list) and len(value.data) == 1:
        value = value.data[0]
    if not isinstance(value, dict) or not value:
        raise ValueError("no dict of images")
    for key, row in value.items():
        if not isinstance(row, Array):
            raise ValueError(f"no array behind {str(key)[:40]!r}")
    return value


class _Machine:
    """The stack of a pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> object:
        """The value that the pickle ends with."""
        for code, argument, _ in pickletools.genops(content):
            if code.name in _LITERALS:
                self._stack.append(argument)
            elif code.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[code.name]())
            elif code.name in _TUPLES:
                self._stack.append(tuple(self._take(_TUPLES[code.name])))
            elif code.name in _STEPS:
                _STEPS[code.name](self, argument)
            elif code.name not in _NOTHING:
                raise RefusedError(f"the opcode {code.name}")
        return self._stack.pop()

    def _take(self, count: int) -> list[Any]:
        """The uppermost `count` values."""
        start = len(self._stack) - count
        if start < 0:
            raise IndexError
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _above_mark(self) -> list[Any]:
        return self._take(len(self._stack) - self._marks.pop())

    def mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def put(self, place: Any) -> None:
        self._memo[place] = self._stack[-1]

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, place: Any) -> None:
        self._stack.append(self._memo[place])

    def close_tuple(self, _: object) -> None:
        self._stack.append(tuple(self._above_mark()))

    def close_list(self, _: object) -> None:
        self._stack.append(self._above_mark())

    def append(self, _: object) -> None:
        (value,) = self._take(1)
        self._stack[-1].append(value)

    def appends(self, _: object) -> None:
        values = self._above_mark()
        self._stack[-1].extend(values)

    def close_dict(self, _: object) -> None:
        values = self._above_mark()
        self._stack.append({})
        self._set(values)

    def set_item(self, _: object) -> None:
        self._set(self._take(2))

    def set_items(self, _: object) -> None:
        self._set(self._above_mark())

    def _set(self, values: Any) -> None:
        target = self._stack[-1]
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Hashing a tuple of tuples of tuples can take for ever.
            if not isinstance(key, str | int) or (isinstance(key, int) and abs(key) > _LARGEST_KEY):
                raise RefusedError("a key that is neither a name nor a number")
            target[key] = value

    def name(self, text: Any) -> None:
        if text not in _NAMES:
            raise RefusedError(f"the name {text[:60].replace(' ', '.')!r}")
        self._stack.append(_Name(_NAMES[text]))

    def stack_name(self, _: object) -> None:
        module, name = self._take(2)
        self.name(module + " " + name)

    def call(self, _: object) -> None:
        name, arguments = self._take(2)
        if not isinstance(name, _Name) or name.text not in _CALLS:
            raise RefusedError("a call of something else than numpy's arrays")
        self._stack.append(_CALLS[name.text](*arguments))

    def build(self, _: object) -> None:
        (state,) = self._take(1)
        _fill(self._stack[-1], state)


def _fill(value: object, state: Any) -> None:
    """What numpy's own `__setstate__` would do to an array or a type."""
    if isinstance(value, _Type):
        _, value.order, *parts = state
        if value.order not in ("<", ">", "|", "=") or any(part is not None for part in parts[:3]):
            raise RefusedError("a type with fields")
    elif isinstance(value, Array):
        _, value.shape, value.type, _, value.data = state
        if not isinstance(value.type, _Type):
            raise RefusedError("an array of no type")
    else:
        raise RefusedError("a state for something else than numpy's arrays")


def _bytes(data: object) -> bytes:
    """Bytes, or text that stands for them as Python 2 and protocols 0 to 2 write it."""
    if not isinstance(data, str | bytes) or len(data) > _LONGEST:
        raise ValueError("an array that holds no numbers, or more than there can be classes")
    return data.encode("latin1") if isinstance(data, str) else data


def _encode(text: str, encoding: str) -> str:
    if encoding != "latin1":
        raise RefusedError("a text in another encoding than latin1")
    return text  # encoded where it is looked at: a copy for each call would have no bound


def _scalar(kind: _Type, data: object) -> int:
    (number,) = Array(kind, (1,), data).numbers()
    if not number.is_integer():
        raise ValueError("a fraction as a key")
    return int(number)


_CALLS: Mapping[str, Callable[..., object]] = {
    "encode": _encode,
    "dtype": lambda code, *_: _Type(code),
    "_reconstruct": lambda *_: Array(),
    "scalar": _scalar,
}

_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING"),
    )
)
"""Opcodes that put down the value behind them."""

_CONSTANTS: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}

_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "TUPLE": _Machine.close_tuple,
    "LIST": _Machine.close_list,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "DICT": _Machine.close_dict,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}

_NOTHING = ("PROTO", "FRAME", "STOP")
