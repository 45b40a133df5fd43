"""Where rows of embeddings lie while a command works: in memory, or, where they take a large share of it, in files.

What the files of a source hold as a matrix is read from there and needs no room. What has to be decoded, copied or
brought into another layout does: `room` makes it, in memory for as long as all that has been made there is little,
and else in files below the folder of the command (`spilled_into`), which are gone when it ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from entropick.errors import InputError
from entropick.processes.hardware import in_gigabytes, usable_memory
from entropick.run.folder import is_locked, locked

# Above this share of memory, float32 rows stay in files, or come into some.
LARGE = 0.25
# What may wait to be written.
_UNWRITTEN_BYTES = 128 << 20


def are_large(n_bytes: int) -> bool:
    """Whether rows that take so many bytes as float32 are not to be in memory as a whole."""
    return n_bytes > LARGE * usable_memory()


class Scratch:
    """Files that are there for as long as a command works.

    Parameters
    ----------
    folder
        Where; None for a folder among those that systems have for it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._open = folder, contextlib.ExitStack()
        self._own: Path | None = None
        self._n_files = 0
        self.in_memory = 0
        self.copies: dict[str, Path] = {}

    def file(self, suffix: str) -> Path:
        """The path of a new file."""
        if self._own is None:
            if self._folder is None:
                self._own = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="entropick-rows-")))
            else:
                # Another command in the same folder, which will be refused, must not take these away.
                self._own = self._folder / uuid4().hex[:8]
                self._open.callback(_remove, self._own)
                self._open.enter_context(locked(self._own))
        self._n_files += 1
        return self._own / f"{self._n_files}{suffix}"

    def close(self) -> None:
        """Remove all files."""
        self._open.close()


_scratch: ContextVar[Scratch | None] = ContextVar("scratch", default=None)


def scratch_file(suffix: str) -> Path | None:
    """The path of a file that is there for as long as a command works; None where no command has a folder for it."""
    scratch = _scratch.get()
    return None if scratch is None else scratch.file(suffix)


@contextlib.contextmanager
def spilled_into(folder: Path | None) -> Iterator[None]:
    """In here rows that take a large share of memory come into files of `folder` (None: a temporary one), which are
    removed in the end, and so is what a killed command left there."""
    _sweep(folder)
    scratch = Scratch(folder)
    token = _scratch.set(scratch)
    try:
        yield
    finally:
        _scratch.reset(token)
        scratch.close()
        _sweep(folder)


def _sweep(folder: Path | None) -> None:
    """Remove what no living command holds, and the folder if nothing is left in it."""
    if folder is None or not folder.is_dir():
        return
    with contextlib.suppress(OSError):
        for place in folder.iterdir():
            if not is_locked(place):
                _remove(place)
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()  # if it was made for nothing else


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


class Room:
    """Room for a matrix `shape` of a `kind` of numbers, zeros at first: in memory, or in a file, a memory map.

    `place` is what messages call it; `instead` are bytes that such a matrix took which it takes the place of.

    Raises
    ------
    InputError
        If the disk has no room for it.
    """

    def __init__(self, place: str, shape: tuple[int, int], kind: Any, *, instead: int = 0) -> None:
        self.kind = np.dtype(kind)
        self._place, self._n_unwritten = place, 0
        n_bytes, scratch = 4 * shape[0] * shape[1] - instead, _scratch.get()
        if scratch is None or not are_large(scratch.in_memory + n_bytes):
            if scratch is not None:
                scratch.in_memory += n_bytes
            self.matrix: NDArray[Any] = np.zeros(shape, self.kind)
            return
        with _disk(place, size := shape[0] * shape[1] * self.kind.itemsize, scratch) as file:
            with file.open("wb") as stream:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(stream.fileno(), 0, size)
            self.matrix = np.memmap(file, self.kind, "r+" if file.stat().st_size else "w+", shape=shape)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line, where it is in a file."""
        if not isinstance(self.matrix, np.memmap):
            return ()
        folder = Path(str(self.matrix.filename)).parent.parent
        return (
            f"{self._place}: its rows take much of memory and are read from {in_gigabytes(self.matrix.nbytes)} in "
            f"{folder}, which are removed in the end.",
        )

    def wrote(self, n_rows: int) -> None:
        """Tell that so many more rows are there; now and then they are brought into the file, and take no memory."""
        if isinstance(self.matrix, np.memmap):
            self._n_unwritten += n_rows * self.matrix.shape[1] * self.kind.itemsize
            if self._n_unwritten > _UNWRITTEN_BYTES:
                self._write()

    def finished(self) -> NDArray[Any]:
        """The whole matrix, not to be written again where it lies in a file."""
        if isinstance(self.matrix, np.memmap):
            self._write()
            return np.memmap(str(self.matrix.filename), self.kind, "r", shape=self.matrix.shape)
        return self.matrix

    def _write(self) -> None:
        assert isinstance(self.matrix, np.memmap)
        self.matrix.flush()
        self._n_unwritten = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self.matrix._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def copied(place: str, blocks: Iterable[bytes], n_bytes: int, suffix: str) -> Path | None:
    """A file of so many bytes that come in blocks; None where there is no folder for such files.

    Raises
    ------
    InputError
        If the disk has no room for them.
    """
    scratch = _scratch.get()
    if scratch is None or place in scratch.copies:
        return None if scratch is None else scratch.copies[place]
    with _disk(place, n_bytes, scratch, suffix) as file:
        with file.open("wb") as target:
            target.writelines(blocks)
        scratch.copies[place] = file
        return file


@contextlib.contextmanager
def _disk(place: str, n_bytes: int, scratch: Scratch, suffix: str = ".rows") -> Iterator[Path]:
    file = scratch.file(suffix)
    try:
        yield file
    except OSError as error:
        raise InputError(
            f"{place}: expected room for {in_gigabytes(n_bytes)} of rows in {file.parent.parent}, because they do not "
            f"fit into memory, but: {error.strerror or error}. Make room, or give --out (out=) elsewhere."
        ) from error
