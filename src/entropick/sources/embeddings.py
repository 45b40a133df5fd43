"""Embeddings in files: a matrix in NumPy's format, or columns of a parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, check_features
from entropick.datasets.reading import map_array
from entropick.errors import InputError

EMBEDDING_FILES = (".npy", ".parquet")
CLASSES = "label"


def read_embeddings(path: Path) -> Features:
    """Embeddings, float32 (n, d), of a ``.npy`` or ``.parquet`` file.

    A parquet file has one column of lists of equal length, or only columns of numbers; beside them it may have a column
    ``label`` with the class of each row. A float32 ``.npy`` file comes back as a memory map.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or holds no finite numbers in a matrix.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of embeddings, but there is none.")
    if path.suffix not in EMBEDDING_FILES:
        raise InputError(f"{path}: expected embeddings in a .npy or .parquet file.")
    return check_features(map_array(path) if path.suffix == ".npy" else _parquet_matrix(path), name=str(path))


def read_classes(path: Path) -> tuple[str, ...] | None:
    """The column ``label`` of a parquet file as text, None if it has none; InputError if a value is missing."""
    table = _table(path, columns=[CLASSES])
    if not table.num_columns:
        return None
    if table.column(CLASSES).null_count:
        raise InputError(f"{path}: expected no missing values, but column {CLASSES!r} has some.")
    return tuple(map(str, table.column(CLASSES).to_pylist()))


def _table(path: Path, columns: list[str] | None = None) -> Any:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(columns=columns)
    except Exception as error:
        raise InputError(f"{path}: expected a parquet file, but it cannot be read ({error}).") from error
    if len(set(table.column_names)) < table.num_columns:
        raise InputError(f"{path}: expected columns of different names, got {', '.join(table.column_names)}.")
    return table


def _parquet_matrix(path: Path) -> NDArray[Any]:
    import pyarrow as pa

    table = _table(path)
    if CLASSES in table.column_names:
        table = table.drop_columns(CLASSES)
    nulls = [name for name in table.column_names if table.column(name).null_count]
    lists = [name for name in table.column_names if _is_list(table.schema.field(name).type)]
    if nulls:
        raise InputError(f"{path}: expected no missing values, but column {nulls[0]!r} has some.")
    if len(lists) > 1 or not table.num_rows or not table.num_columns:
        raise InputError(
            f"{path}: expected rows, and one column of lists or only columns of numbers, got {table.num_rows} rows of "
            f"{', '.join(table.column_names) or 'no columns'}."
        )
    if not lists:
        return _side_by_side(path, {name: table.column(name).to_numpy() for name in table.column_names})
    column = table.column(lists[0]).combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = set(pa.compute.list_value_length(column).unique().to_pylist())
    if len(lengths) != 1:
        raise InputError(f"{path}: expected lists of one length in column {lists[0]!r}, got lengths {sorted(lengths)}.")
    matrix: NDArray[Any] = values.reshape(table.num_rows, -1)
    return matrix


def _side_by_side(path: Path, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    for name, values in columns.items():
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path}: expected real numbers, but column {name!r} has dtype {values.dtype}.")
    return np.stack(list(columns.values()), axis=1)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
