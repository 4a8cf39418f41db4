"""What a process was playing when it was ended from outside: notes on its node that outlive it.

Ray tries a call again that was lost with its process. Where a node is gone that is right, however long it takes until others
know; where the call itself is what ends processes (they run out of memory), somebody has to remember that it did.
"""

import os
import struct
from hashlib import blake2b
from pathlib import Path

MOST = 4  # processes that one call may end
_NOTE = struct.Struct("<Iq")  # processes that began the call, and the operation that was played last


class ProcessLost(Exception):
    """A step that ends its process each time it is played."""


class Notes:
    """An actor's notes, one file for each call that is being played. Calls are known by what is in them."""

    def __init__(self, folder: Path, actor: str) -> None:
        self._prefix = folder / f"edge-emulator-{actor}-"

    def of(self, payload: bytes) -> "Note":
        """The note of a call, as processes before this one left it."""
        return Note(f"{self._prefix}{blake2b(payload, digest_size=8).hexdigest()}")


class Note:
    """One call's. ``times``: processes that began it before and never ended it; ``op``: what the last of them played, or None.

    Within ``with`` this process is one of them.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        left = os.pread(self._file, _NOTE.size, 0)
        self.times, last = _NOTE.unpack(left) if len(left) == _NOTE.size else (0, -1)
        self.op: int | None = last if last >= 0 else None

    def __enter__(self) -> "Note":
        self.playing(-1)
        return self

    def playing(self, op: int) -> None:
        """This operation begins now."""
        os.pwrite(self._file, _NOTE.pack(self.times + 1, op), 0)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        Path(self._path).unlink(missing_ok=True)
