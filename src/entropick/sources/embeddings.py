"""Embeddings in files: matrices in NumPy's format, or columns of tables; rows find their images by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import allow_open
from entropick.datasets.array_files import map_array
from entropick.datasets.image_tables import names_of_classes, tells_classes
from entropick.datasets.listing import Listing, is_pattern, list_path, words_of
from entropick.datasets.reading import hash_content
from entropick.datasets.remote import RemotePath
from entropick.datasets.tables import TABLE_FILES, TableFile, is_text
from entropick.datasets.texts import Texts, as_text, class_text
from entropick.errors import InputError, cut, shown
from entropick.sources.scratch import Room, copied

EMBEDDING_FILES = (".npy", ".parquet")
CLASSES = "label"
# Columns that name rows and are never features; the first one of text joins rows to image files.
_INDEX = "__index_level_0__"
_NAMES = ("path", "file_name", "filename", "filepath", "image_path", "key", "id", _INDEX)
_IDS = ("key", "id")
# Rows with the id of an earlier one that are named one by one.
_MOST_REPEATS = 1000
# Numbers that are made float32 at once.
_BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Embeddings:
    """What files of embeddings hold.

    Attributes
    ----------
    parts
        Real numbers ``(n, d)`` as they are in the files, in order; memory maps of ``.npy`` files.
    problems
        Row -> which of its values is missing.
    names, ids
        What each row is the embedding of, by the files, and an id that it has beside that; None where they do not say.
    called
        Both by their columns.
    columns
        Of tables, the columns that were asked for.
    unused
        Other columns, which are no features.
    files
        The files, and how many rows each has.
    notes
        What is worth a line.
    digest
        Of what is in memory, the hash of its content.
    """

    parts: tuple[NDArray[Any], ...]
    problems: Mapping[int, str] = field(default_factory=dict)
    names: Sequence[str | None] | None = None
    unused: tuple[str, ...] = ()
    files: Mapping[Path, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    digest: str = ""
    ids: Sequence[str | None] | None = None
    called: Mapping[str, Texts] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def matrix(self) -> NDArray[Any]:
        """All rows in one array; a memory map where there is one file of NumPy."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together."""
        return (sum(map(len, self.parts)), *self.parts[0].shape[1:]) if self.parts[0].ndim else ()

    def content_hash(self) -> str:
        """sha256 (hexadecimal) of the bytes of the files: of one file its own, of several that of theirs in order."""
        if self.digest:
            return self.digest
        return hash_content(list(self.files))

    def value(self, row: int, column: int) -> Any:
        """The number in a row and column, as it is in its file."""
        for part in self.parts:
            if row < len(part):
                return part[row, column]
            row -= len(part)
        raise IndexError(row)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The rows in order, some 2^22 numbers at once, the same ones however they are spread over files."""
        rows = max(1, _BLOCK_NUMBERS // max(1, self.shape[1]))
        kind = np.result_type(*self.parts)
        waiting: list[NDArray[Any]] = []
        for part in self.parts:
            start = 0
            while start < len(part):
                stop = min(len(part), start + rows - sum(map(len, waiting)))
                waiting.append(np.ascontiguousarray(part[start:stop], kind.newbyteorder("=")))
                start = stop
                if sum(map(len, waiting)) == rows:
                    yield np.concatenate(waiting)
                    waiting = []
        if waiting:
            yield np.concatenate(waiting)


def open_embeddings(path: Path, columns: Sequence[str] = ()) -> Embeddings:
    """Embeddings of a ``.npy`` or ``.parquet`` file, or of several: a folder of them, or a pattern.

    A table has one column of lists or tensors of equal length, or columns of numbers. Never features are: the column
    ``label`` with classes, names (``path``, ``file_name``, ``filename``, ``filepath``, ``image_path``, ``key``,
    ``id``), the index of pandas, and columns of whole numbers beside such of fractions. `columns`, names or patterns
    such as ``f*``, says otherwise. Arrays and tensors may have further axes of length 1. Numbers in the names of
    several files are sorted as numbers.

    Raises
    ------
    InputError
        If a file is missing, torn, of another kind or width than the others, or holds no numbers in a matrix.
    """
    if not path.exists() and not is_pattern(path):
        raise InputError(f"{path}: expected a file of embeddings, but there is none.")
    listing = list_path(path)
    found = read_embeddings(listing, columns)
    if not listing.passed_over:
        return found
    return replace(found, notes=(*found.notes, f"{path}: passed over {words_of(listing.passed_over)}."))


def read_embeddings(listing: Listing, columns: Sequence[str] = ()) -> Embeddings:
    """As `open_embeddings`, of what lies at a path."""
    if listing.suffix == ".npy":
        allow_open(len(listing.data))
        arrays = {file: without_unit_axes(map_file(file)) for file in listing.data}
        if len(arrays) > 1:
            for file, array in arrays.items():
                if array.dtype.kind not in "fiub":
                    raise InputError(f"{file}: expected real numbers, got dtype {array.dtype}.")
                if array.ndim != 2 or array.shape[1:] != next(iter(arrays.values())).shape[1:] or not len(array):
                    raise InputError(
                        f"{file}: expected rows as in {listing.data[0].name}, which has shape "
                        f"{arrays[listing.data[0]].shape}, got shape {array.shape}."
                    )
        sizes = {file: len(array) if array.ndim else 0 for file, array in arrays.items()}
        return Embeddings(tuple(arrays.values()), files=sizes, notes=listing.notes())
    if listing.suffix not in TABLE_FILES:
        raise InputError(f"{listing.path}: expected embeddings in a .npy or .parquet file, or in several in a folder.")
    return _from_tables(listing, [TableFile(file) for file in listing.data], columns)


def map_file(file: Path) -> NDArray[Any]:
    """A memory map of a ``.npy`` file; of one that lies elsewhere, of a copy that is there while a command works.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if not isinstance(file, RemotePath):
        return map_array(file)
    copy = copied(str(file), file.blocks(), file.stat().st_size, ".npy")
    if copy is None:
        raise InputError(f"{file}: expected a file of this machine. Copy it first.")
    return map_array(copy, name=str(file))


def without_unit_axes(array: NDArray[Any]) -> NDArray[Any]:
    """``(n, 1, d)`` or ``(n, d, 1, 1)`` as ``(n, d)``, uncopied; any other array as it is."""
    if array.ndim < 3 or sum(length != 1 for length in array.shape[1:]) > 1:
        return array
    # By an index, because a memory map that is squeezed is called an array.
    found = array[(slice(None), *(0 if length == 1 else slice(None) for length in array.shape[1:]))]
    return found[:, None] if found.ndim == 1 else found


def read_classes(tables: Sequence[TableFile]) -> Sequence[str] | None:
    """The column ``label`` of tables as text, by the names that each has for its classes; None if they have no
    such column, InputError if a value is missing."""
    if not any(tells_classes(table.schema, CLASSES) for table in tables):
        return None
    found, named = list[Any](), list[Any]()
    for table, names in zip(tables, names_of_classes(tables, CLASSES), strict=True):
        batches = list(table.batches([CLASSES])) if tells_classes(table.schema, CLASSES) else []
        if (not batches and table.n_rows) or any(_lacks_class(batch.column(0), names) for batch in batches):
            raise InputError(
                f"{table.path}: expected no missing values, but column {shown(CLASSES)} has some. Give such rows a "
                "class of their own, or rename the column."
            )
        found += [batch.column(0) for batch in batches]
        named += [names] * len(batches)
    return cast(Sequence[str], Texts.coded(found, named))


def _lacks_class(column: Any, names: Sequence[str] | None) -> bool:
    """Whether a value of a column of classes is missing; see `class_text`."""
    return any(class_text(value, names) is None for value in column.unique().to_pylist())


def embeddings_of(table: TableFile, columns: Sequence[str] = ()) -> Embeddings:
    """What one table holds, such as one that is in memory."""
    return _from_tables(Listing(table.path), [table], columns)


def _from_tables(listing: Listing, tables: Sequence[TableFile], columns: Sequence[str]) -> Embeddings:
    first = tables[0]
    used, (names, ids) = _used(first, columns), _columns_of_names(first)
    read = _read_columns(first, columns)
    lists = [name for name in used if _is_list(first.schema.field(name).type)]
    n = sum(table.n_rows for table in tables)
    for table in tables:
        if table is not first and (of := _read_columns(table, columns)) != read:
            raise InputError(
                f"{table.path}: expected columns as in {first.path.name} ({', '.join(read)}), got "
                f"{', '.join(of) or 'none'}."
            )
        if odd := [name for name in used if _is_list(table.schema.field(name).type) != (name in lists)]:
            wanted = "a list in each row" if odd[0] in lists else "a number in each row"
            raise InputError(
                f"{table.path}: expected {wanted} of column {shown(odd[0])}, as in {first.path.name}, got "
                f"{table.schema.field(odd[0]).type}."
            )
        if len(lists) > 1 or not table.n_rows or not used or (lists and len(used) > 1):
            raise InputError(
                f"{table.path}: expected rows, and one column of lists or only columns of numbers, got {table.n_rows} "
                f"rows of {', '.join(used) or 'no columns'}."
            )
    names, ids = (None if name in used else name for name in (names, ids))
    matrix = _Rows(n, np.result_type(*(_kind(table, name) for table in tables for name in used)))
    texts = {name: list[Any]() for name in (names, ids) if name is not None}
    for table in tables:
        for batch in table.batches([*used, *texts]):
            matrix.add(table.path, batch, used, is_list=bool(lists))
            for name, of in texts.items():
                of.append(as_text(batch.column(name)))
    held = {name: Texts(of) for name, of in texts.items()}
    files = {table.path: table.n_rows for table in tables}
    told = (names, CLASSES) if tells_classes(first.schema, CLASSES) else (names,)
    unused = tuple(name for name in first.schema.names if name not in (*used, *told))
    whole = matrix.finished()
    return Embeddings(
        (whole,),
        matrix.problems,
        held.get(names or ""),
        unused,
        files,
        (*listing.notes(), *matrix.notes),
        ids=held.get(ids or ""),
        called=held,
        columns=tuple(columns),
    )


def without_repeats(found: Embeddings, place: Path) -> Embeddings:
    """The same; rows whose id an earlier row has are problems, and a line tells of rows that share a path.

    Raises
    ------
    InputError
        If there are so many of them that the column is no id.
    """
    for name, texts in found.called.items():
        problems, notes = _repeats(name, texts, found.files, place)
        found = replace(found, problems={**problems, **found.problems}, notes=(*found.notes, *notes))
    return found


def _repeats(name: str, texts: Texts, files: Mapping[Path, int], place: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    """Rows that are called what another one is called: of an id a problem of the later ones, of a path a line."""
    n, pairs = texts.repeats(_MOST_REPEATS)
    if not pairs:
        return {}, ()
    known, row = pairs[0]
    where = f"{shown(texts[row])} is in {place_of_row(files, known)} and {place_of_row(files, row)}"
    if name not in _IDS:
        return {}, (f"{place}: {n:,} rows have the {name} of an earlier one; {where}, for instance.",)
    if n > _MOST_REPEATS:
        raise InputError(
            f"{place}: expected in each row a value of its own in column {shown(name)}, but {n:,} of {len(texts):,} "
            f"have that of an earlier row; {where}, for instance. Leave repeated rows out, or rename the column."
        )
    return {
        later: f"expected another {name} than {shown(texts[later])}, which {place_of_row(files, first)} has"
        for first, later in pairs
    }, ()


def place_of_row(files: Mapping[Path, int], row: int) -> str:
    """The file that a row lies in, counted through all of them, with ``#`` and its number there."""
    return "#".join(map(str, file_of_row(files, row))) if files else f"row {row}"


def file_of_row(files: Mapping[Path, int], row: int) -> tuple[Path, int]:
    """The file that a row lies in, counted through all of them, and its number there."""
    for file, n in files.items():
        if row < n:
            return file, row
        row -= n
    raise IndexError(row)


class _Rows:
    """A matrix under way, batch by batch; rows that miss a value are problems."""

    def __init__(self, n: int, kind: np.dtype[Any]) -> None:
        self.problems: dict[int, str] = {}
        self._n, self._kind, self._next = n, kind, 0
        self._room: Room | None = None
        # The file that says how long rows are.
        self._first = Path()

    def add(self, path: Path, batch: Any, names: Sequence[str], *, is_list: bool) -> None:
        """The next rows: a column of lists, or columns of numbers."""
        start, self._next = self._next, self._next + len(batch)
        for place, name in enumerate(names):
            array = _storage(batch.column(name))
            has_value = np.asarray(array.is_valid())
            self._missing(name, start + np.flatnonzero(~has_value))
            array = array.drop_null()
            values, width = _vectors(path, name, array, batch.column(name).type) if is_list else (array, len(names))
            if not len(array):
                continue
            rows = start + np.flatnonzero(has_value)
            if values.null_count:  # of fractions they are NaN
                gaps = np.asarray(values.is_null()).reshape(len(array), -1).any(axis=1)
                self._missing(name, rows[gaps])
                values = values if self._kind.kind == "f" else values.fill_null(self._kind.type(0).item())
            block = np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(array), -1)
            if self._room is None:
                self._first, self._room = path, Room(str(path), (self._n, width), self._kind)
            matrix = self._room.matrix
            if width != matrix.shape[1]:
                if path == self._first:
                    raise _uneven(path, name, (width, matrix.shape[1]))
                raise InputError(
                    f"{path}: expected lists of length {matrix.shape[1]} in column {shown(name)}, as in "
                    f"{self._first.name}, got {width}."
                )
            target = matrix if is_list else matrix[:, place : place + 1]
            if len(rows) == len(batch):
                target[start : self._next] = block
            else:
                target[rows] = block
        if self._room is not None:
            self._room.wrote(len(batch))

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether they lie in a file."""
        return () if self._room is None else self._room.notes

    def finished(self) -> NDArray[Any]:
        """The whole matrix."""
        return np.zeros((self._n, 1), self._kind) if self._room is None else self._room.finished()

    def _missing(self, name: str, rows: NDArray[np.int64]) -> None:
        for row in rows.tolist():
            self.problems.setdefault(row, f"expected no missing values, but column {shown(name)} has none in row {row}")


def _vectors(path: Path, name: str, array: Any, kind: Any) -> tuple[Any, int]:
    """The numbers of lists or tensors that are vectors of one length, and that length."""
    import pyarrow.compute as pc

    lengths: list[int] = []
    while len(array) and _is_list(array.type):
        found = pc.list_value_length(array).unique().to_pylist()
        if len(found) > 1 or None in found:
            raise _uneven(path, name, found)
        lengths += found
        array = _storage(array.flatten())
    # A tensor is one long list to Arrow.
    shape = list(getattr(kind, "shape", lengths))
    if sum(length != 1 for length in shape) > 1:
        raise InputError(
            f"{path}: expected a vector in each row of column {shown(name)}, got tensors of shape {tuple(shape)}. "
            "Average or flatten them first."
        )
    return array, int(np.prod(lengths))


def _uneven(path: Path, name: str, lengths: Sequence[int | None]) -> InputError:
    return InputError(
        f"{path}: expected lists of one length in column {shown(name)}, got lengths "
        f"{sorted(length or 0 for length in lengths)}."
    )


def _kind(table: TableFile, name: str) -> np.dtype[Any]:
    """The type of the numbers in a column; InputError if it has none."""
    import pyarrow as pa

    kind = whole = _storage_type(table.schema.field(name).type)
    while _is_list(kind):
        kind = _storage_type(kind.value_type)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if _is_list(whole):
            raise InputError(f"{table.path}: expected lists of real numbers in column {shown(name)}, got {whole}.")
        raise InputError(f"{table.path}: expected real numbers, but column {shown(name)} has dtype {_dtype(kind)}.")
    return _dtype(kind)


def _dtype(kind: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        return np.dtype(object)
    return found


def _storage(array: Any) -> Any:
    """An array of Arrow without what a library says that it means."""
    return getattr(array, "storage", array)


def _storage_type(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)


def _read_columns(table: TableFile, columns: Sequence[str]) -> list[str]:
    """The columns that are read: features, and those that name rows."""
    return [*_used(table, columns), *filter(None, _columns_of_names(table))]


def _columns_of_names(table: TableFile) -> tuple[str | None, str | None]:
    """The column of text that names rows, and another one of ids, which may be numbers."""
    import pyarrow as pa

    kinds = {name: table.schema.field(name).type for name in _NAMES if name in table.schema.names}
    named = next((name for name, kind in kinds.items() if is_text(kind)), None)
    ids = [name for name in _IDS if name in kinds and (is_text(kinds[name]) or pa.types.is_integer(kinds[name]))]
    return named, next((name for name in ids if name != named), None) if named not in _IDS else None


def _used(table: TableFile, columns: Sequence[str]) -> list[str]:
    """The columns that are features."""
    import pyarrow as pa

    names = table.schema.names
    if columns:
        if missing := [of for of in columns if not any(fnmatchcase(name, of) for name in names)]:
            came = shown(missing[0])
            raise InputError(f"columns: expected columns of {table.path} ({cut(', '.join(names))}), got {came}.")
        return [name for name in names if any(fnmatchcase(name, of) for of in columns)]
    index = _index_of_pandas(table.schema)
    free = [name for name in names if name not in (CLASSES, *_NAMES, *index)]
    lists = [name for name in free if _is_list(table.schema.field(name).type)]
    whole = [name for name in free if pa.types.is_integer(kind := table.schema.field(name).type) or _is_flag(kind)]
    has_fractions = any(pa.types.is_floating(table.schema.field(name).type) for name in free)
    return lists or [name for name in free if not (has_fractions and name in whole)]


def _index_of_pandas(schema: Any) -> list[str]:
    try:
        known = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return [name for name in known.get("index_columns", ()) if isinstance(name, str)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    kind = _storage_type(kind)
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_flag(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_boolean(kind))
