"""Tables in files: parquet files and streams of Arrow, read in batches or cell by cell.

pyarrow is imported when the first table is opened.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from entropick.datasets.remote import RemotePath
from entropick.errors import InputError

TABLE_FILES = (".parquet", ".arrow")
# Columns of a table, and keys of a description, that tell the class of an image: the first that is there.
CLASS_NAMES = ("label", "labels", "class", "cls", "class_name", "category")
# Lists whose numbers are more than 2^31 fit into no array of Arrow, and a batch is all that is in memory beside the
# result.
BATCH_NUMBERS = 1 << 24
_BATCH_ROWS = 65_536
# Cells are decoded so many bytes at once; of each file the last few such batches are kept.
_BATCH_BYTES, _KEPT = 16 << 20, 3
# What is fetched at once of a file: where it is mapped instead, all that was read counts as memory of this process.
_FETCHED_BYTES = 8 << 20


class TableFile:
    """One file of a table, of which nothing is read but what it says of itself.

    Attributes
    ----------
    path, schema, n_rows
        The file, its columns, and how many rows it has.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Absolute: Arrow takes a leading ~ for somebody's home.
            if isinstance(path, RemotePath) or path.suffix == ".parquet":
                source = path.open() if isinstance(path, RemotePath) else path.absolute()
                self._hold(path, pq.ParquetFile(source, buffer_size=_FETCHED_BYTES, pre_buffer=False), None)
            else:
                self._hold(path, None, _mapped(path, *_state(path)))
        except InputError:
            raise
        except OSError as error:
            if not isinstance(error, pa.ArrowException) and error.errno is not None:
                raise
            raise _unreadable(path, error) from error
        except Exception as error:
            raise _unreadable(path, error) from error

    @classmethod
    def of(cls, table: Any, path: Path) -> Self:
        """A table of pyarrow that is in memory; `path` is what messages call it."""
        made = cls.__new__(cls)
        made._hold(path, None, table)
        return made

    def _hold(self, path: Path, parquet: Any, arrow: Any) -> None:
        self.path, self._parquet, self._arrow = path, parquet, arrow
        self.schema = arrow.schema if parquet is None else parquet.schema_arrow
        self.n_rows = int(arrow.num_rows if parquet is None else parquet.metadata.num_rows)
        if len(set(self.schema.names)) < len(self.schema.names):
            raise InputError(f"{path}: expected columns of different names, got {', '.join(self.schema.names)}.")

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """The rows in order, as batches of these columns with some 2^24 numbers at most; InputError for a torn file."""
        import pyarrow as pa

        rows = max(1, min(_BATCH_ROWS, BATCH_NUMBERS * self.n_rows // max(1, self._n_numbers(columns))))
        try:
            if self._parquet is not None:
                batches = self._parquet.iter_batches(rows, columns=list(columns), use_threads=False)
            else:
                batches = self._arrow.select(list(columns)).to_batches(max_chunksize=rows)
            for batch in batches:
                # Arrow believes that text is text, of which Python then makes none.
                batch.validate(full=True)
                yield batch
        except Exception as error:
            raise _unreadable(self.path, error) from error
        finally:
            # What batches took, some hundred MB, Arrow keeps for others.
            pa.default_memory_pool().release_unused()

    def column(self, name: str) -> list[Any]:
        """All values of one column as plain data; `name` may be that of a field in a structure, ``image.path``."""
        found: list[Any] = []
        for batch in self.batches([name.partition(".")[0]] if self._parquet is None else [name]):
            values = batch.column(0)
            for field in name.split(".")[1:]:
                values = values.field(field)
            found += values.to_pylist()
        return found

    def _n_numbers(self, columns: Sequence[str]) -> int:
        if self._parquet is None:
            return int(self._arrow.select(list(columns)).nbytes) // 4
        groups = map(self._parquet.metadata.row_group, range(self._parquet.metadata.num_row_groups))
        chunks = (group.column(number) for group in groups for number in range(group.num_columns))
        return sum(
            chunk.num_values
            for chunk in chunks
            if {chunk.path_in_schema.split(".")[0], chunk.path_in_schema} & {*columns}
        )


def cell(path: Path, column: str, row: int) -> Any:
    """One value of a table as plain data; made for rows that are read in their order, by several threads at once."""
    try:
        if path.suffix == ".parquet":
            return _cells(path, column, *_state(path)).cell(row)
        return _mapped(path, *_state(path)).column(column)[row].as_py()
    except InputError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def label_of(described: Mapping[str, object]) -> str | None:
    """The class among the values of a description, as text; None if there is none."""
    for name in CLASS_NAMES:
        if isinstance(value := described.get(name), str | int) and str(value).strip():
            # JSON may hold halves of letters, which no file can.
            return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return None


def is_text(kind: Any) -> bool:
    """Whether a type of Arrow is text, or texts by their numbers."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _unreadable(path: Path, error: Exception) -> InputError:
    kind = "a parquet file" if path.suffix == ".parquet" else "a stream of Arrow"
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: expected {kind}, but it cannot be read ({reason}).")


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _mapped(path: Path, size: int, changed: int) -> Any:
    """A table of Arrow as a memory map, of which only what is looked at is read."""
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.memory_map(str(path.absolute()))).read_all()
    # Arrow believes where a file says that values begin and end, and ends the process where that is nowhere.
    table.validate(full=True)
    return table


@functools.lru_cache(maxsize=4)
def _cells(path: Path, column: str, size: int, changed: int) -> _Cells:
    return _Cells(path, column)


class _Cells:
    """One column of a parquet file, decoded in batches, of which the last few are kept."""

    def __init__(self, path: Path, column: str) -> None:
        import pyarrow.parquet as pq

        self._file, self._column = pq.ParquetFile(path.absolute(), memory_map=True), column
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._ends = np.cumsum([group.num_rows for group in groups])
        self._rows = [max(1, _BATCH_BYTES * group.num_rows // max(1, self._bytes(group))) for group in groups]
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._group, self._next, self._batches = -1, 0, iter(())
        self._lock = threading.Lock()

    def cell(self, row: int) -> Any:
        group = int(np.searchsorted(self._ends, row, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        number, place = divmod(row - first, self._rows[group])
        with self._lock:
            if (group, number) not in self._kept:
                self._decode(group, number)
            self._kept.move_to_end((group, number))
            return self._kept[group, number][place].as_py()

    def _decode(self, group: int, number: int) -> None:
        if group != self._group or number < self._next:
            self._group, self._next = group, 0
            self._batches = self._file.iter_batches(
                self._rows[group], row_groups=[group], columns=[self._column], use_threads=False
            )
        while self._next <= number:
            self._kept[group, self._next] = next(self._batches).column(0)
            self._next += 1
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def _bytes(self, group: Any) -> int:
        chunks = map(group.column, range(group.num_columns))
        return sum(of.total_uncompressed_size for of in chunks if of.path_in_schema.split(".")[0] == self._column)
