"""Pickles of plain data - dicts, lists, numbers, words - read so that nothing in the file can name a function to call.

A pickle is a program: what it names is imported and called (docs.python.org/3/library/pickle.html, "Restricting
Globals"). Here every operation is checked before any is done, and the few names that may occur, those with which NumPy
writes a number, lead to stand-ins below that only ever make an int or a float: NumPy itself is never called.
"""

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20  # FedScale's larger file has 39,369,071 bytes

PLAIN = {
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
}  # fmt: skip
# With these, and the names below, protocol 3 writes a NumPy number: scalar(dtype("f8", ...), its eight bytes).
NUMPY = {"GLOBAL", "REDUCE", "BUILD", "TUPLE", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE", "SHORT_BINBYTES"}
NUMBERS = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}  # NumPy's code -> struct's


class RefusedPickle(ValueError):
    """A pickle is broken or holds more than plain data; the message names file, what was got and what is accepted."""


def load_plain(path: Path) -> object:
    """The dicts, lists, numbers and words in a pickle; whatever else it holds is refused, and nothing in it is run.

    Raises RefusedPickle for other contents, for a broken file and for one of more than ``MAX_BYTES``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RefusedPickle(f"{path}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise RefusedPickle(f"{path}: got more than {MAX_BYTES // 2**20} MiB; expected a smaller pickle")
    _scan(path, data)
    try:
        return _Reader(io.BytesIO(data), fix_imports=False).load()
    except (
        Exception
    ) as error:  # a file can break the stack of operations in many ways, and none is the platform's fault
        raise RefusedPickle(f"{path}: got a broken pickle: {error}") from None


def _scan(path: Path, data: bytes) -> None:
    """Refuse before loading: other operations, other names, and memo numbers that would only ask for memory."""
    try:
        for operation, argument, position in pickletools.genops(data):
            reason = _refusal(operation.name, argument, position or 0)
            if reason is not None:
                raise RefusedPickle(
                    f"{path}: byte {position}: got {reason}; expected plain data: dicts, lists, numbers and words"
                )
    except RefusedPickle:
        raise
    except Exception as error:  # as above
        raise RefusedPickle(f"{path}: got a broken pickle: {error}") from None


def _refusal(operation: str, argument: Any, position: int) -> str | None:
    if operation not in PLAIN and operation not in NUMPY:
        return f"the operation {operation}"
    if operation == "GLOBAL" and argument not in _STAND_INS:
        return f"the name {str(argument)[:80]!r}"
    # Whoever writes a pickle counts its memo from zero; Python's reader makes a table as long as the number.
    if operation in ("PUT", "LONG_BINPUT") and not 0 <= argument <= position:
        return f"the memo number {argument}"
    return None


class _Dtype:
    """Stands for a NumPy dtype: struct's code of its numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = NUMBERS[code], "<"

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">")):
            raise ValueError("a dtype without its byte order")
        self.order = state[1]


class _MakeDtype:
    """Stands for ``numpy.dtype``. No attribute can be set on it: the pickle could have that done, too."""

    __slots__ = ()

    def __call__(self, code: Any, *_: Any) -> _Dtype:
        if not (isinstance(code, str) and code in NUMBERS):
            raise ValueError(f"a dtype of {str(code)[:20]!r}; expected one of {', '.join(NUMBERS)}")
        return _Dtype(code)


class _MakeNumber:
    """Stands for NumPy's ``scalar``."""

    __slots__ = ()

    def __call__(self, dtype: Any, data: Any) -> int | float:
        if not (isinstance(dtype, _Dtype) and isinstance(data, bytes)):
            raise ValueError("a NumPy number without dtype and bytes")
        value: int | float = struct.unpack(dtype.order + dtype.code, data)[0]
        return value


_STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray scalar": _MakeNumber(),  # before NumPy 2
    "numpy._core.multiarray scalar": _MakeNumber(),
    "numpy dtype": _MakeDtype(),
}


class _Reader(pickle.Unpickler):
    """Python's own reader, with no way out."""

    def find_class(self, module: str, name: str, /) -> Any:
        """A stand-in. Raises UnpicklingError for all other names."""
        found = _STAND_INS.get(f"{module} {name}")
        if found is None:
            raise pickle.UnpicklingError(f"the name {module}.{name}")
        return found
