"""Embeddings in files: a matrix in NumPy's format, or columns of a parquet file; rows find their images by name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, check_features, non_finite_rows
from entropick.datasets.reading import map_array
from entropick.errors import InputError

EMBEDDING_FILES = (".npy", ".parquet")
CLASSES = "label"
# Columns that name rows and are never features; the first one of text joins rows to image files.
_INDEX = "__index_level_0__"
_NAMES = ("path", "file_name", "filename", "filepath", "image_path", "key", "id", _INDEX)
# float32 may blur the spread of a column by so much, before the column is moved to its mean.
_BLUR = 1e-3


@dataclass(frozen=True)
class Embeddings:
    """What a file of embeddings holds.

    Attributes
    ----------
    matrix
        Real numbers ``(n, d)`` as they are in the file; a memory map of a ``.npy`` file.
    problems
        Row -> which of its values is missing.
    names
        What each row is the embedding of, by the file; None where it does not say.
    unused
        Other columns, which are no features.
    """

    matrix: NDArray[Any]
    problems: dict[int, str]
    names: tuple[str, ...] | None = None
    unused: tuple[str, ...] = ()


def open_embeddings(path: Path, columns: Sequence[str] = ()) -> Embeddings:
    """Embeddings of a ``.npy`` or ``.parquet`` file.

    A parquet file has one column of lists of equal length, or columns of numbers. Never features are: the column
    ``label`` with classes, names (``path``, ``file_name``, ``filename``, ``filepath``, ``image_path``, ``key``,
    ``id``), the index of pandas, and columns of whole numbers beside such of fractions. `columns`, names or patterns
    such as ``f*``, says otherwise.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or holds no numbers in a matrix.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of embeddings, but there is none.")
    if path.suffix not in EMBEDDING_FILES:
        raise InputError(f"{path}: expected embeddings in a .npy or .parquet file.")
    return Embeddings(map_array(path), {}) if path.suffix == ".npy" else _from_parquet(path, columns)


def as_features(named: Mapping[str, Embeddings]) -> tuple[list[Features], list[dict[int, str]]]:
    """Of each, float32 ``(n, d)`` and why rows cannot be used; a float32 matrix, also a memory map, is not copied.

    Where numbers of 64 bits have an offset so large that float32 would blur what they differ in, that is subtracted
    first, the same from all; distances do not change by it.
    """
    offset = next((found for of in named.values() if (found := _offset(of.matrix)) is not None), None)
    matrices, problems = [], []
    for name, of in named.items():
        is_moved = offset is not None and of.matrix.ndim == 2 and of.matrix.shape[1] == len(offset)
        matrix = of.matrix - offset if is_moved else of.matrix
        matrices.append(check_features(matrix, name=name, finite=False))
        problems.append({**non_finite_rows(matrices[-1]), **of.problems})
    return matrices, problems


def rows_of_files(names: Sequence[str], files: Sequence[tuple[Path, Path]]) -> tuple[list[int | None], list[str]]:
    """Of each file the row with its name, None where there is not exactly one; and the names that are of no one file.

    A file is ``(folder, path below it)``. A name is that path, or ends in it, or is a unique end of the file's whole
    path, all with or without a suffix.
    """
    rows: list[list[int]] = [[] for _ in files]
    strays = []
    indices = [_Index(files, with_suffix=True), _Index(files, with_suffix=False)]
    for row, name in enumerate(names):
        found = next((hits for index in indices if (hits := index.find(name))), [])
        if len(found) == 1:
            rows[found[0]].append(row)
        else:
            strays.append(name)
    return [of[0] if len(of) == 1 else None for of in rows], strays


class _Index:
    """Files by their paths below their folders, and by all ends of their whole paths."""

    def __init__(self, files: Sequence[tuple[Path, Path]], *, with_suffix: bool) -> None:
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._ends: dict[str, list[int]] = defaultdict(list)
        self._depths = [len(below.parts) for _, below in files]
        for number, (folder, below) in enumerate(files):
            shown = below if with_suffix else below.with_suffix("")
            parts = (*folder.absolute().parts[1:], *shown.parts)
            self._exact[shown.as_posix()].append(number)
            for start in range(len(parts)):
                self._ends["/".join(parts[start:])].append(number)

    def find(self, name: str) -> list[int]:
        parts = [part for part in PurePosixPath(name).parts if part != "/"]
        if exact := self._exact.get("/".join(parts)):
            return exact
        for start in range(len(parts)):
            hits = self._ends.get("/".join(parts[start:]), [])
            # An end of a name must hold all of the path below the folder: x/1.png is not y/1.png.
            if found := [hit for hit in hits if not start or len(parts) - start >= self._depths[hit]]:
                return found
        return []


def read_classes(path: Path) -> tuple[str, ...] | None:
    """The column ``label`` of a parquet file as text, None if it has none; InputError if a value is missing."""
    return classes_of(path, _table(path, columns=[CLASSES]))


def classes_of(path: Path, table: Any) -> tuple[str, ...] | None:
    """The same of a table, `path` being what messages call it."""
    if CLASSES not in table.column_names:
        return None
    if table.column(CLASSES).null_count:
        raise InputError(f"{path}: expected no missing values, but column {CLASSES!r} has some.")
    return tuple(map(str, table.column(CLASSES).to_pylist()))


def _offset(matrix: NDArray[Any]) -> NDArray[np.float64] | None:
    """What to subtract from each column; None if float32 holds the numbers as well as need be."""
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.dtype.itemsize < 8 or not matrix.size:
        return None
    finite = np.asarray(matrix[np.isfinite(matrix).all(axis=1)], np.float64)
    if not len(finite):
        return None
    mean, spread, largest = finite.mean(axis=0), finite.std(axis=0), np.abs(finite).max(axis=0)
    blurred = (largest * np.finfo(np.float32).eps > _BLUR * spread) & (spread > 1e-12 * largest)
    return np.where(blurred, mean, 0.0) if blurred.any() else None


def _table(path: Path, columns: list[str] | None = None) -> Any:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(columns=columns)
    except Exception as error:
        raise InputError(f"{path}: expected a parquet file, but it cannot be read ({error}).") from error
    if len(set(table.column_names)) < table.num_columns:
        raise InputError(f"{path}: expected columns of different names, got {', '.join(table.column_names)}.")
    return table


def _from_parquet(path: Path, columns: Sequence[str]) -> Embeddings:
    return embeddings_of(path, _table(path), columns)


def embeddings_of(path: Path, table: Any, columns: Sequence[str] = ()) -> Embeddings:
    """What a table of pyarrow holds, as of a parquet file, `path` being what messages call it."""
    import pyarrow as pa

    kinds = {field.name: field.type for field in table.schema}
    names = next((name for name in _NAMES if name in kinds and _is_text(kinds[name])), None)
    used = _used(path, table, columns)
    lists = [name for name in used if _is_list(kinds[name])]
    if len(lists) > 1 or not table.num_rows or not used:
        raise InputError(
            f"{path}: expected rows, and one column of lists or only columns of numbers, got {table.num_rows} rows of "
            f"{', '.join(used) or 'no columns'}."
        )
    used = lists or used
    problems: dict[int, str] = {}
    for name in used:
        for row in np.flatnonzero(np.asarray(pa.compute.is_null(table.column(name)))).tolist():
            problems.setdefault(row, f"expected no missing values, but column {name!r} has none in row {row}")
    matrix = _of_lists(path, lists[0], table) if lists else _side_by_side(path, table, used)
    unused = tuple(name for name in table.column_names if name not in (*used, names, CLASSES))
    named = None if names is None or names in used else tuple(map(str, table.column(names).to_pylist()))
    return Embeddings(matrix, problems, named, unused)


def _used(path: Path, table: Any, columns: Sequence[str]) -> list[str]:
    """The columns that are features."""
    import pyarrow as pa

    if columns:
        if missing := [of for of in columns if not any(fnmatchcase(name, of) for name in table.column_names)]:
            raise InputError(
                f"columns: expected columns of {path} ({', '.join(table.column_names)}), got {missing[0]!r}."
            )
        return [name for name in table.column_names if any(fnmatchcase(name, of) for of in columns)]
    known = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in known.get("index_columns", ()) if isinstance(name, str)]
    free = [name for name in table.column_names if name not in (CLASSES, *_NAMES, *index)]
    lists = [name for name in free if _is_list(table.schema.field(name).type)]
    whole = [name for name in free if pa.types.is_integer(kind := table.schema.field(name).type) or _is_flag(kind)]
    has_fractions = any(pa.types.is_floating(table.schema.field(name).type) for name in free)
    return lists or [name for name in free if not (has_fractions and name in whole)]


def _of_lists(path: Path, name: str, table: Any) -> NDArray[Any]:
    """The matrix of a column of lists, chunk by chunk; rows without a list are NaN."""
    import pyarrow as pa

    chunks = table.column(name).chunks
    lengths = {length for chunk in chunks for length in pa.compute.list_value_length(chunk).unique().to_pylist()}
    lengths.discard(None)
    if len(lengths) > 1:
        raise InputError(f"{path}: expected lists of one length in column {name!r}, got lengths {sorted(lengths)}.")
    width, parts = max(lengths, default=1), []
    for chunk in chunks:
        values = chunk.drop_null().flatten().to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path}: expected lists of real numbers in column {name!r}, got {chunk.type}.")
        part = values.reshape(-1, width)
        if chunk.null_count:
            part = np.full((len(chunk), width), np.nan, np.result_type(values.dtype, np.float16))
            part[np.asarray(chunk.is_valid())] = values.reshape(-1, width)
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _side_by_side(path: Path, table: Any, names: Sequence[str]) -> NDArray[Any]:
    columns = {name: table.column(name).to_numpy() for name in names}
    for name, values in columns.items():
        # Of flags and words with gaps, pyarrow makes objects.
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path}: expected real numbers, but column {name!r} has dtype {values.dtype}.")
    return np.stack(list(columns.values()), axis=1)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _is_flag(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_boolean(kind))
