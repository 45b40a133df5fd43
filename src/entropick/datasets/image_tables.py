"""Images in tables, as Hugging Face keeps them: a column of bytes, and perhaps one of classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from entropick.datasets.reading import PackedImage, first_suffix
from entropick.datasets.tables import CLASS_NAMES, TableFile, cell, is_text
from entropick.datasets.texts import class_text
from entropick.errors import InputError, shown

# Bytes of a name that disks have.
LONGEST_NAME = 255
# Columns of plain bytes that are images, where nothing else says so, and the order in which one of several is taken.
_IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")


@dataclass(frozen=True, slots=True)
class RowImage(PackedImage):
    """An image in a row of a table."""

    container: Path
    name: str
    column: str
    row: int
    own: str | None = None

    @property
    def key(self) -> str | None:
        """The path or name that the table has of it."""
        return self.own

    @property
    def place(self) -> str:
        """What stands after ``#``: the number of the row."""
        return str(self.row)

    def read_bytes(self) -> bytes:
        """The bytes in the table; InputError if there are none."""
        found = cell(self.container, self.column, self.row)
        content = found.get("bytes") if isinstance(found, dict) else found
        if content is None:
            has_path = isinstance(found, dict) and found.get("path")
            came = f"only the path {shown(found['path'])}" if has_path else "nothing"
            raise InputError(f"expected the bytes of an image in column {shown(self.column)}, got {came}")
        return bytes(content)


@dataclass(frozen=True)
class TableContents:
    """The images of tables of one data set, a row each.

    Attributes
    ----------
    images
        In the order of files and rows.
    classes
        The class of each by its column, None where it is missing; None if there is no such column.
    class_names
        All classes, in the order of their numbers, where the data set names them.
    unused
        Columns that were not looked at.
    """

    images: tuple[RowImage, ...]
    classes: tuple[str | None, ...] | None
    class_names: tuple[str, ...] | None
    unused: tuple[str, ...]


def image_column(table: TableFile, columns: Sequence[str] = ()) -> str | None:
    """The column of images; None if there is none, or if `columns` (names or patterns) asks for others alone.

    It is a structure with a field ``bytes``, or bytes under a name such as ``image``; the one that is called ``image``
    or the like where there are several.
    """
    import pyarrow as pa

    features, found = _features(table.schema), []
    for field in table.schema:
        kind = features.get(field.name, {}).get("_type", "Image")
        is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        is_bytes = _is_bytes(field.type.field("bytes").type) if is_struct else _is_bytes(field.type)
        if kind == "Image" and is_bytes and (is_struct or field.name in _IMAGES or field.name in features):
            found.append(field.name)
    if columns:
        found = [name for name in found if any(fnmatchcase(name, of) for of in columns)]
    return min(found, key=lambda name: (*_IMAGES, name).index(name), default=None)


def read_tables(tables: Sequence[TableFile], columns: Sequence[str] = ()) -> TableContents:
    """The images of all rows of `tables`, of which no bytes are read yet.

    Raises
    ------
    InputError
        If a table has no such column, where the first one has, or no rows.
    """
    images: list[RowImage] = []
    classes: list[str | None] = []
    column = image_column(tables[0], columns)
    label = _class_column(tables[0].schema)
    named = [None] * len(tables) if label is None else names_of_classes(tables, label)
    for table, names in zip(tables, named, strict=True):
        if column is None or image_column(table, columns) != column or (label and label not in table.schema.names):
            wanted = ", ".join(repr(name) for name in (column or "image", label) if name)
            raise InputError(
                f"{table.path}: expected columns {wanted}, as in {tables[0].path.name}, got "
                f"{', '.join(table.schema.names) or 'none'}."
            )
        if not table.n_rows:
            raise InputError(f"{table.path}: expected rows, got none. Leave the file out.")
        paths = _paths(table, column)
        unnamed = (RowImage(table.path, "", column, row) for row in range(table.n_rows))
        suffix = "" if all(paths) else first_suffix(unnamed)
        called = zip(_file_names(paths, suffix), paths, strict=True)
        images += [RowImage(table.path, name, column, row, own) for row, (name, own) in enumerate(called)]
        if label is not None:
            classes += [class_text(value, names) for value in table.column(label)]
    known = None if label is None or not any(name is not None for name in classes) else tuple(classes)
    unused = tuple(name for name in tables[0].schema.names if name not in (column, label))
    # Where tables number their classes differently, these have no order but that of their names.
    return TableContents(tuple(images), known, named[0] if len(set(named)) == 1 else None, unused)


def _paths(table: TableFile, column: str) -> list[str | None]:
    """What each image was called before it came into the table, by its own path or by a column of names."""
    import pyarrow as pa

    kind = table.schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0 and is_text(kind.field("path").type):
        paths = table.column(f"{column}.path")
        if any(paths):
            return paths
    for name in ("file_name", "filename", "path", "image_path", "key", "__key__", "id", "image_id"):
        if name in table.schema.names and is_text(table.schema.field(name).type):
            return [None if value is None else str(value) for value in table.column(name)]
    return [None] * table.n_rows


def _file_names(paths: Sequence[str | None], suffix: str) -> list[str]:
    """Names that lead nowhere, that disks have, and of which there are no two, also where case does not count.

    A row that is not called anything has its number and the suffix; one whose name cannot stay, the number before it.
    """
    width = len(str(len(paths) - 1))
    longest = LONGEST_NAME - width - 1
    plain = [PurePosixPath((path or "").replace("\\", "/")).name.replace("\0", "") for path in paths]
    plain = ["" if name in (".", "..") else name for name in plain]
    counts = Counter(name.lower() for name in plain)
    kept = {
        row: name for row, name in enumerate(plain) if counts[name.lower()] == 1 and 0 < len(name.encode()) <= longest
    }
    made: dict[int, str] = {}
    todo = [row for row in range(len(plain)) if row not in kept]
    while todo:
        for row in todo:
            # The end of a long name says more, and has the suffix.
            end = plain[row].encode()[-longest:].decode("utf-8", "ignore")
            made[row] = f"{row:0{width}d}-{end}" if end else f"{row:0{width}d}{suffix}"
        taken = {made[row].lower() for row in todo}
        todo = [row for row, name in kept.items() if name.lower() in taken]
        for row in todo:
            del kept[row]
    return [kept.get(row) or made[row] for row in range(len(plain))]


def _class_column(schema: Any) -> str | None:
    """The column of classes: called ``label`` or the like, or the only one that is declared to be that."""
    import pyarrow as pa

    features = _features(schema)
    declared = [name for name, of in features.items() if of.get("_type") == "ClassLabel" and name in schema.names]
    usable = [f.name for f in schema if is_text(f.type) or pa.types.is_integer(f.type) or pa.types.is_boolean(f.type)]
    named = [name for name in CLASS_NAMES if name in usable]
    return named[0] if named else declared[0] if len(declared) == 1 else None


def tells_classes(schema: Any, column: str) -> bool:
    """Whether a table has this column, with one class in each row: several are none."""
    import pyarrow as pa

    return column in schema.names and not pa.types.is_nested(schema.field(column).type)


def names_of_classes(tables: Sequence[TableFile], column: str) -> list[tuple[str, ...] | None]:
    """Of each table the names of the classes in a column, in the order of their numbers, where the data set has them;
    a table that tells none has those of the first."""
    found = [_features(table.schema).get(column, {}).get("names") for table in tables]
    named = [tuple(map(str, names)) if isinstance(names, list) and names else None for names in found]
    return [names or named[0] for names in named]


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face says of the columns; nothing where nothing is said."""
    try:
        known = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: of for name, of in known.items() if isinstance(of, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))
