"""Matrices as the house knows them, and what is read like one: rows in files, on a GPU, some of others, several joined.

Nothing of the latter is ever in memory as a whole: rows that are asked for are made an array of their own.
"""

from __future__ import annotations

import mmap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from entropick.errors import InputError, storage_error

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_BYTES = 64 << 20
"""What is read at once where all rows are passed over."""
# Of a memory map, what may count as memory of this process before it is let go of, and what the system may map around
# a row that is read: a page of the largest kind.
_TOUCHED_BYTES, _AROUND_BYTES = 128 << 20, 2 << 20
# How long files are believed to be as they were, and how many times as long as it takes to look.
_SECONDS_BETWEEN_LOOKS, _LOOKED_SHARE = 0.2, 50
# Files that may be opened beside those of rows.
_OTHER_FILES = 128


class BlockRows(ABC):
    """A float32 matrix ``(n, d)`` that is no array: rows that are asked for come as an array of their own.

    It is read like a memory map, in blocks, and there is never a copy of all of it.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, n: int, width: int) -> None:
        self.shape: tuple[int, int] = (n, width)
        self.size, self.nbytes = n * width, 4 * n * width

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Some rows: by a slice, a number, or an array of numbers or flags."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        step = max(1, BLOCK_BYTES // (4 * self.shape[1]))
        for start in range(0, len(self), step):
            yield from self[start : start + step]

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        return self[rows]

    def part(self, start: int, stop: int) -> BlockRows:
        """The rows from `start` to `stop`, of which nothing is copied."""
        return SomeRows(self, np.arange(start, stop))

    @property
    def lie_in_files(self) -> bool:
        """Whether all numbers of these are in files, so that another process is sent little."""
        return False

    def in_files(self, write: Callable[[Features], FileRows]) -> BlockRows:
        """The same rows, made of rows in files alone; what is in none yet is given to `write`."""
        return write(cast(Features, self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


class RowsInParts(BlockRows):
    """Rows of several matrices one after another, that end at `ends`; a subclass reads those of one in `_read`."""

    def __init__(self, ends: Integers, width: int) -> None:
        self._ends = ends
        super().__init__(int(ends[-1]) if len(ends) else 0, width)

    @abstractmethod
    def _read(self, number: int, rows: Any) -> NDArray[Any]:
        """Some rows of one of the matrices, by a slice or by their numbers, float32."""

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, int | np.integer):
            return cast(NDArray[Any], self.take(numbers_of([rows], len(self)))[0])
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            return self.take(numbers_of(rows, len(self)))
        start, stop, _ = rows.indices(len(self))
        found = np.empty((max(0, stop - start), self.shape[1]), np.float32)
        for number, first, low, high in self._within(start, stop):
            found[first + low - start : first + high - start] = self._read(number, slice(low, high))
        return found

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        numbers = np.asarray(rows)
        if len(self._ends) == 1:
            return np.asarray(self._read(0, numbers), np.float32)
        found = np.empty((len(numbers), self.shape[1]), np.float32)
        for number, places, within in _by_part(self._ends, numbers):
            found[places] = self._read(number, within)
        return found

    def _within(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """Matrices with rows from `start` to `stop`: which, where it begins, and which of its own rows these are."""
        first = 0
        for number, end in enumerate(self._ends.tolist()):
            if first < stop and start < end:
                yield number, first, max(start - first, 0), min(stop, end) - first
            first = end


class FileRows(RowsInParts):
    """Rows of memory maps one after another, of any kind of number, as float32; of what is sent to another process only
    the places go, and the files are opened there.

    Parameters
    ----------
    maps
        Matrices of one width in files, with contiguous rows.
    offset
        What is subtracted from every row, in float64 ``(d,)``, before it becomes float32; None for nothing.

    Raises
    ------
    InputError
        When rows are read, if a file is missing or no longer what it was (it is looked at several times a second); for
        more files than may be open.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     rows = np.memmap(f"{folder}/a", np.float16, "w+", shape=(3, 2))
    ...     rows[:] = [[0, 1], [2, 3], [4, 5]]
    ...     X = FileRows([rows] * 2)
    ...     X.shape, X[[4, 0]].tolist()
    ((6, 2), [[2.0, 3.0], [0.0, 1.0]])
    """

    _maps: list[np.memmap[Any, Any]] | None

    def __init__(self, maps: Sequence[np.memmap[Any, Any]], *, offset: Floats | None = None) -> None:
        self._hold([_Place.of(of) for of in maps], maps[0].shape[1], offset)
        # What may be written to is opened again, to be read alone.
        if not any(of.flags.writeable for of in maps):
            self._maps = list(maps)

    def _hold(self, places: Sequence[_Place], width: int, offset: Floats | None) -> None:
        self._places, self._offset = places, offset
        self._maps = None
        self._n_touched, self._n_others, self._next_look = 0, 0, 0.0
        super().__init__(np.cumsum([place.shape[0] for place in places]), width)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_maps": None, "_next_look": 0.0}

    @property
    def maps(self) -> list[np.memmap[Any, Any]]:
        """The matrices in the files."""
        if self._maps is None:
            allow_open(len(self._places))
            self._maps = [place.open() for place in self._places]
        return self._maps

    def part(self, start: int, stop: int) -> FileRows:
        """The rows from `start` to `stop`, of the same files."""
        made = FileRows.__new__(FileRows)
        cut = [self._places[number].part(low, high) for number, _, low, high in self._within(start, stop)]
        made._hold(cut, self.shape[1], self._offset)
        return made

    @property
    def lie_in_files(self) -> bool:
        """They do."""
        return True

    def in_files(self, write: Callable[[Features], FileRows]) -> FileRows:
        """These are."""
        return self

    def _read(self, number: int, rows: Any) -> NDArray[Any]:
        self._look()
        of = self.maps[number]
        if isinstance(rows, slice):
            self._touch(of.itemsize * (rows.stop - rows.start) * self.shape[1])
            return self._float32(of[rows])
        if len(rows) and (np.diff(rows) == 1).all():
            # A copy: rows that are taken by their numbers may be written to.
            return self._read(number, slice(int(rows[0]), int(rows[-1]) + 1)).copy()
        found, step = np.empty((len(rows), self.shape[1]), np.float32), max(1, _TOUCHED_BYTES // _AROUND_BYTES)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            self._touch(len(some) * max(of.itemsize * self.shape[1], _AROUND_BYTES))
            found[start : start + step] = self._float32(np.asarray(of).take(some, axis=0))
        return found

    def _float32(self, rows: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            moved = rows if self._offset is None else rows - self._offset
            return np.asarray(moved).astype(np.float32, copy=False)

    def _look(self) -> None:
        """See now and then whether all files are what they were: a map of one that is cut ends the process."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self.check_unchanged()
        self._next_look = next_look(now)

    def check_unchanged(self) -> None:
        """Raise InputError if a file is missing or no longer what it was when this was made."""
        for place in self._places:
            place.check()

    def _touch(self, n_bytes: int) -> None:
        """Let go of what has been read now and then: the system keeps it for as long as it has memory to spare, but
        counts it as this process's own."""
        self._n_touched += n_bytes
        if self._n_touched <= _TOUCHED_BYTES or not hasattr(mmap, "MADV_DONTNEED"):
            return
        self._n_touched = 0
        # How much is mapped around a row differs between files, and what was read may have been read before.
        if (mapped := _mapped_bytes()) is None or mapped - self._n_others > _TOUCHED_BYTES:
            for of in self.maps:
                of._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
            self._n_others = _mapped_bytes() or 0


def _mapped_bytes() -> int | None:
    """What this process has of all files that it has mapped, as far as the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE
    except (OSError, ValueError):
        return None


def next_look(began: float) -> float:
    """When files are to be looked at again, on the monotonic clock, after a look that `began` then and ends now."""
    ended = time.monotonic()
    return ended + max(_SECONDS_BETWEEN_LOOKS, _LOOKED_SHARE * (ended - began))


@dataclass(frozen=True)
class _Place:
    """Where a matrix lies in a file, and what the file was when it was opened (bytes, time of change)."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    offset: int
    state: tuple[int, int]

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> Self:
        """That of a memory map, or of a part of one, whose own offset is that of the whole."""
        whole = np.frombuffer(array._mmap, np.uint8)  # type: ignore[attr-defined]
        begun = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        offset = begun + array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        path = str(array.filename)
        return cls(path, array.dtype, (array.shape[0], array.shape[1]), offset, _state(path))

    def part(self, start: int, stop: int) -> Self:
        """Some of the rows."""
        offset = self.offset + start * self.shape[1] * self.dtype.itemsize
        return replace(self, shape=(stop - start, self.shape[1]), offset=offset)

    def open(self) -> np.memmap[Any, Any]:
        """The matrix; InputError if the file is missing or has changed."""
        self.check()
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except OSError as error:
            raise storage_error(error) from error

    def check(self) -> None:
        """Raise InputError if the file is missing or has changed."""
        if self.state != _state(self.path):
            raise InputError(
                f"{self.path}: expected a file that stays as it is, but it changed while this command worked. Repeat "
                "the command."
            )


def _state(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path}: expected a file that stays where it is, but: {error.strerror}.") from error
    return found.st_size, found.st_mtime_ns


def allow_open(n_files: int) -> None:
    """See that this process may have so many more files open, as memory maps have them.

    Raises
    ------
    InputError
        If the system does not allow it.
    """
    try:
        import resource
    except ImportError:  # there is none on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted, unlimited = _n_open() + n_files + _OTHER_FILES, resource.RLIM_INFINITY
    if soft == unlimited or wanted <= soft:
        return
    if hard != unlimited and wanted > hard:
        raise InputError(
            f"expected fewer files of rows, because this system allows {hard:,} open files, got {n_files:,}. Raise its "
            "limit (ulimit -n), or join files."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _n_open() -> int:
    """How many files this process has open, as far as the system tells."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0


class SomeRows(BlockRows):
    """Some `rows`, by their numbers, of a matrix of which nothing is copied."""

    def __init__(self, X: BlockRows, rows: Integers) -> None:
        super().__init__(len(rows), X.shape[1])
        self._X, self._rows = X, rows

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return self._X[self._rows[rows]]

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        return self._X.take(self._rows[rows], axis=0)

    def part(self, start: int, stop: int) -> SomeRows:
        """The rows from `start` to `stop`."""
        return SomeRows(self._X, self._rows[start:stop])

    @property
    def lie_in_files(self) -> bool:
        """Whether the matrix does."""
        return self._X.lie_in_files

    def in_files(self, write: Callable[[Features], FileRows]) -> SomeRows:
        """The same, of rows that lie in files."""
        return SomeRows(self._X.in_files(write), self._rows)


class JoinedRows(RowsInParts):
    """Matrices of one width one after another, of which nothing is copied: arrays, memory maps, other `BlockRows`.

    Examples
    --------
    >>> X = JoinedRows([np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)])
    >>> X[[3, 0, 2]].tolist(), X[1:3].tolist(), X.part(1, 3)[0].tolist()
    ([[1.0], [0.0], [1.0]], [[0.0], [1.0]], [0.0])
    """

    def __init__(self, parts: Sequence[Features | BlockRows]) -> None:
        self._parts = list(parts)
        super().__init__(np.cumsum([len(part) for part in parts]), parts[0].shape[1])

    def _read(self, number: int, rows: Any) -> NDArray[Any]:
        of = self._parts[number]
        return of[rows] if isinstance(rows, slice) else of.take(rows, axis=0)

    def part(self, start: int, stop: int) -> JoinedRows:
        """The rows from `start` to `stop`, of the same matrices."""
        found = self._within(start, stop)
        return JoinedRows([part_of(self._parts[number], low, high) for number, _, low, high in found])

    @property
    def lie_in_files(self) -> bool:
        """Whether all parts do."""
        return all(isinstance(of, BlockRows) and of.lie_in_files for of in self._parts)

    def in_files(self, write: Callable[[Features], FileRows]) -> JoinedRows:
        """The same, of rows that lie in files."""
        return JoinedRows([in_files(of, write) for of in self._parts])


class TensorRows(BlockRows):
    """A float32 tensor ``(n, d)`` that stays on its device."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        super().__init__(int(tensor.shape[0]), int(tensor.shape[1]))

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        # A tensor is no writable array's twin here: what was handed out must not change with it.
        found: NDArray[Any] = self._tensor[rows].cpu().numpy()
        return found.copy() if np.may_share_memory(found, self._memory) else found

    def is_finite(self) -> bool:
        """Whether all values are, as the device finds."""
        return bool(self._tensor.isfinite().all())

    @property
    def _memory(self) -> NDArray[Any]:
        return self._tensor.numpy() if self._tensor.device.type == "cpu" else np.empty(0)


def some_rows(X: Features, rows: Integers) -> Features:
    """Some rows of a matrix: a copy, but of what is read in blocks."""
    return cast(Features, SomeRows(X, rows)) if isinstance(X, BlockRows) else X[rows]


def part_of(X: Features | BlockRows, start: int, stop: int) -> Features | BlockRows:
    """The rows from `start` to `stop`, of which nothing is copied."""
    return X.part(start, stop) if isinstance(X, BlockRows) else X[start:stop]


def in_files(X: Features | BlockRows, write: Callable[[Features], FileRows]) -> BlockRows:
    """A matrix made of rows in files alone: a memory map and rows in files as they are, others as `write` has written
    them there."""
    if isinstance(X, BlockRows):
        return X.in_files(write)
    return FileRows([cast(Any, X)]) if is_mapped(X) else write(X)


def is_mapped(array: Any) -> bool:
    """Whether an array is a matrix of real numbers in a file, with contiguous rows."""
    return isinstance(array, np.memmap) and array.ndim == 2 and array.flags.c_contiguous and array.dtype.kind in "fiub"


def numbers_of(rows: Any, n: int) -> Integers:
    """The numbers of some of `n` rows, that are given by a slice, by numbers, also from the end, or by flags.

    Examples
    --------
    >>> numbers_of(slice(None, None, 2), 5).tolist(), numbers_of([-1, 0], 5).tolist(), numbers_of([True, False], 2)
    ([0, 2, 4], [4, 0], array([0]))
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(n))
    found = np.asarray(rows)
    if found.dtype == bool:
        return np.flatnonzero(found)
    numbers = found.astype(np.int64, copy=False)
    return np.where(numbers < 0, numbers + n, numbers) if numbers.size and numbers.min() < 0 else numbers


def _by_part(ends: Integers, numbers: Integers) -> Iterator[tuple[int, Any, Integers]]:
    """Which of the parts that end at `ends` have rows among `numbers`: the part, their places there, and their numbers
    in it."""
    of_row = np.searchsorted(ends, numbers, side="right")
    if not len(numbers):
        return
    if (of_row == of_row[0]).all():
        part = int(of_row[0])
        yield part, slice(None), numbers - (ends[part - 1] if part else 0)
        return
    order = np.argsort(of_row, kind="stable")
    parts, starts = np.unique(of_row[order], return_index=True)
    for part, places in zip(parts.tolist(), np.split(order, starts[1:]), strict=True):
        yield part, places, numbers[places] - (ends[part - 1] if part else 0)
