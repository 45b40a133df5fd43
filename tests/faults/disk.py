"""A disk that fails, ends the process, or keeps a log: what Python asks of it below one folder, call by call.

Installed into a process of its own (a fork), where it stays. Calls of libraries that are not Python go past it; those
only read, and map into memory, what Python has opened or hashed before.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OPERATIONS = ("open", "write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "flock", "truncate")
ERRORS = tuple(
    getattr(errno, name) for name in ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EINTR", "EACCES", "ESTALE", "ENOLCK")
)


@dataclass(frozen=True)
class Fault:
    """What happens at call number `at`, from 0.

    Attributes
    ----------
    number
        The error; None ends the process with SIGKILL.
    lasts
        Whether all later calls fail as well, as on a disk that is full for good.
    halfway
        Whether half of a write is done first; any other call is done as a whole, and then told to have failed.
    """

    at: int
    number: int | None
    lasts: bool = False
    halfway: bool = False


@dataclass(frozen=True)
class Call:
    """One call as it was done: what, on which paths, and for a write its place and its bytes.

    "open" stands for one that changes nothing; one that makes a file is a "create", one that empties it a "truncate".
    """

    operation: str
    path: str
    other: str = ""
    place: int = 0
    data: bytes = b""


class Disk:
    """All calls below `root` from now on; `fault` happens to them, and `log` keeps them."""

    def __init__(self, root: str | os.PathLike[str], fault: Fault | None = None) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.fault = fault
        self.log: list[Call] = []
        self.n_calls = 0
        self._process = 0
        self._within = False

    def install(self) -> None:
        """Put this disk between Python and the real one, for as long as this process lives."""
        self._process = os.getpid()
        for name, operation in (
            ("fsync", "fsync"),
            ("rename", "rename"),
            ("replace", "rename"),
            ("link", "link"),
            ("unlink", "unlink"),
            ("remove", "unlink"),
            ("mkdir", "mkdir"),
            ("rmdir", "rmdir"),
            ("truncate", "truncate"),
            ("ftruncate", "truncate"),
        ):
            setattr(os, name, self._wrapped(getattr(os, name), operation))
        real_open = os.open

        def opened(path: Any, flags: int, *args: Any, **named: Any) -> int:
            where = self._path(path, named.get("dir_fd"))
            return self.call("open", where, lambda: real_open(path, flags, *args, **named))

        os.open = opened  # type: ignore[assignment]
        fcntl.flock = self._wrapped(fcntl.flock, "flock")
        self._real_open = io.open
        builtins.open = io.open = self._open  # type: ignore[assignment]
        # Else these would copy below Python.
        shutil._USE_CP_SENDFILE = False
        shutil._USE_CP_COPY_FILE_RANGE = False

    def call(
        self,
        operation: str,
        path: str,
        do: Callable[[], Any],
        half: Callable[[], Any] | None = None,
        other: str = "",
        place: int = 0,
        data: bytes = b"",
    ) -> Any:
        """Do one call, unless it is the one that fails."""
        # A fork of this process is no part of the test.
        if not (f"{path}{os.sep}".startswith(self.root) and os.getpid() == self._process) or self._within:
            return do()
        number, self.n_calls = self.n_calls, self.n_calls + 1
        fault = self.fault
        if fault is not None and (number == fault.at or (fault.lasts and number > fault.at)):
            if fault.halfway and number == fault.at:
                (half or do)()
            if fault.number is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(fault.number, os.strerror(fault.number or 0), path)
        size = os.stat(path).st_size if operation == "open" and os.path.isfile(path) else None
        done = do()
        if operation == "open" and size is None and os.path.isfile(path):
            operation = "create"
        elif operation == "open" and size and not os.stat(path).st_size:
            operation = "truncate"
        self.log.append(Call(operation, path, other, place, data))
        return done

    def _wrapped(self, real: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def called(path: Any, *args: Any, **named: Any) -> Any:
            where = self._path(path, named.get("dir_fd"))
            other = self._path(args[0]) if operation in ("rename", "link") else ""
            place = args[0] if operation == "truncate" else 0
            return self.call(operation, where, lambda: real(path, *args, **named), other=other, place=place)

        return called

    def _path(self, path: Any, folder: int | None = None) -> str:
        """The path of a path or descriptor; "" for what is none."""
        try:
            if isinstance(path, int):
                return os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")
            path = os.fsdecode(path)
            base = os.getcwd() if folder is None else os.readlink(f"/proc/self/fd/{folder}")
            path = os.path.join(base, path)
            return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        except (OSError, TypeError, ValueError):
            return ""

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """`open`, whose files write through this disk."""
        where = self._path(file)
        if isinstance(file, int) or not where.startswith(self.root):
            return self._real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = self.call("open", where, lambda: _Raw(self, file, mode.replace("b", "").replace("t", ""), opener=opener))
        try:
            return _layers(raw, mode, buffering, encoding, errors, newline)
        except BaseException:
            raw.close()
            raise


class _Raw(io.FileIO):
    """The lowest layer of a file: every write that reaches the system passes here."""

    def __init__(self, disk: Disk, file: Any, mode: str, *, opener: Any) -> None:
        # What opener does is part of this call.
        disk._within = True
        try:
            super().__init__(file, mode, opener=opener)
        finally:
            disk._within = False
        self._disk = disk
        self._where = disk._path(self.fileno())
        self._appends = "a" in mode

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        place = os.fstat(self.fileno()).st_size if self._appends else self.tell()
        write = super().write
        written: int = self._disk.call(
            "write",
            self._where,
            lambda: write(view),
            lambda: write(view[: len(view) // 2]),
            place=place,
            data=bytes(view),
        )
        return written

    def truncate(self, size: int | None = None) -> int:
        truncate = super().truncate
        place = self.tell() if size is None else size
        done: int = self._disk.call("truncate", self._where, lambda: truncate(size), place=place)
        return done


def _layers(
    raw: io.FileIO, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> Any:
    """As `io.open` has it: buffers and text on top of a raw file."""
    if buffering == 0:
        return raw
    size = io.DEFAULT_BUFFER_SIZE if buffering in (-1, 1) else buffering
    buffered: Any
    if "+" in mode:
        buffered = io.BufferedRandom(raw, size)
    elif "r" in mode:
        buffered = io.BufferedReader(raw, size)
    else:
        buffered = io.BufferedWriter(raw, size)
    if "b" in mode:
        return buffered
    text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text
