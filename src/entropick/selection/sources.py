"""Sources: where candidates come from, by name, so that it is known of every row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, check_features, check_images
from entropick.datasets import image_files, read_array_file
from entropick.errors import InputError
from entropick.run.files import hash_file
from entropick.work import Work

Kind = Literal["folder", "images", "embeddings"]


@dataclass(frozen=True)
class Source:
    """Candidates under one name, opened but hardly read.

    Attributes
    ----------
    name, path
        As given in ``name=path``.
    kind
        "folder" of image files, array of "images", or array of "embeddings".
    files
        The image files of a folder, sorted; else empty.
    array
        uint8 ``(n, h, w, c)`` images or float32 ``(n, d)`` embeddings, a memory map where the file allows; None for a
        folder.
    """

    name: str
    path: Path
    kind: Kind
    files: tuple[Path, ...] = ()
    array: NDArray[Any] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.files) if self.array is None else len(self.array)

    def place(self, row: int) -> str:
        """The path of a row's file: its own, or that of the array it is in."""
        return str(self.files[row] if self.files else self.path)

    def content_hash(self, tell: Callable[[int, int], None]) -> str:
        """sha256 (hexadecimal) of the content; for a folder of relative paths and bytes."""
        if not self.files:
            return hash_file(self.path).sha256
        digest = hashlib.sha256()
        for done, file in enumerate(self.files, start=1):
            digest.update(f"{file.relative_to(self.path)}\0{hash_file(file).sha256}\n".encode())
            tell(done, len(self.files))
        return digest.hexdigest()


def open_sources(specifications: Sequence[str]) -> tuple[Source, ...]:
    """Open sources given as ``name=path``.

    Raises
    ------
    InputError
        No source, a specification without a name, a name twice, a path that does not exist or holds nothing usable,
        or embeddings beside images.
    """
    pairs = [_name_and_path(text) for text in specifications]
    if not pairs:
        raise InputError("sources: expected at least one NAME=PATH, for instance real=photos/.")
    names = Counter(name for name, _ in pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"sources: expected different names, got {twice[0]!r} more than once.")
    sources = tuple(_open(name, path) for name, path in pairs)
    if {source.kind for source in sources} > {"embeddings"}:
        listed = ", ".join(f"{source.name} has {source.kind}" for source in sources)
        raise InputError(f"sources: expected images in all of them, or embeddings in all of them, but {listed}.")
    return sources


def _name_and_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    usable = name.strip() == name and name not in ("", ".", "..") and not set("/\\\0") & set(name)
    if not equals or not usable or not path:
        raise InputError(f"sources: expected NAME=PATH, for instance real=photos/, got {text!r}.")
    return name, Path(path)


def _open(name: str, path: Path) -> Source:
    if path.is_dir():
        return Source(name, path, "folder", files=tuple(image_files(path)))
    if not path.is_file():
        raise InputError(f"{name}: expected a folder or a file at {path}, but there is none.")
    if path.suffix == ".npz":
        return Source(name, path, "images", array=read_array_file(path)[0])
    if path.suffix == ".parquet":
        return Source(name, path, "embeddings", array=read_embeddings(path))
    if path.suffix != ".npy":
        raise InputError(f"{path}: expected a folder of images, or a .npy, .npz or .parquet file.")
    array = _map(path)
    if array.ndim == 2:
        return Source(name, path, "embeddings", array=check_features(array, name=str(path)))
    return Source(name, path, "images", array=check_images(array, name=str(path)))


def read_embeddings(path: Path) -> Features:
    """Embeddings, float32 (n, d), of a ``.npy`` or ``.parquet`` file.

    A parquet file has one column of lists of equal length, or only columns of numbers. A float32 ``.npy`` file comes
    back as a memory map.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or holds no finite numbers in a matrix.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of embeddings, but there is none.")
    if path.suffix not in (".npy", ".parquet"):
        raise InputError(f"{path}: expected embeddings in a .npy or .parquet file.")
    return check_features(_map(path) if path.suffix == ".npy" else _parquet_matrix(path), name=str(path))


def _map(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise InputError(f"{path}: expected a NumPy file without pickles, but it cannot be read ({error}).") from error
    return array


def _parquet_matrix(path: Path) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except Exception as error:
        raise InputError(f"{path}: expected a parquet file, but it cannot be read ({error}).") from error
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
        return np.stack([table.column(name).to_numpy() for name in table.column_names], axis=1)
    column = table.column(lists[0]).combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = set(pa.compute.list_value_length(column).unique().to_pylist())
    if len(lengths) != 1:
        raise InputError(f"{path}: expected lists of one length in column {lists[0]!r}, got lengths {sorted(lengths)}.")
    matrix: NDArray[Any] = values.reshape(table.num_rows, -1)
    return matrix


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


@dataclass(frozen=True)
class Survey:
    """What the heads of image files say, before any is decoded.

    Attributes
    ----------
    shape
        ``(h, w, c)`` of the images to compare; None if the sizes do not matter.
    problems
        Of each source, in order: row -> why its file cannot be used.
    """

    shape: tuple[int, ...] | None
    problems: tuple[dict[int, str], ...]

    @property
    def mode(self) -> str:
        """How `entropick.datasets.read_image` should convert files."""
        return "grey" if self.shape is not None and self.shape[-1] == 1 else "rgb"


def survey(sources: Sequence[Source], *, one_size: bool, work: Work) -> Survey:
    """Look at the head of every image file; with `one_size`, those of an unusual size are problems.

    Raises
    ------
    InputError
        With `one_size`, if sources differ in shape as a whole, or no file is usable.
    """
    heads: list[list[tuple[tuple[int, int], bool] | str]] = []
    for source in sources:
        heads.append([])
        for row, file in enumerate(source.files):
            heads[-1].append(_head(file))
            work.progress(row + 1, len(source.files), f"looking at {source.name}")
    problems = tuple({row: h for row, h in enumerate(of) if isinstance(h, str)} for of in heads)
    if not one_size:
        return Survey(None, problems)
    usable = [h for of in heads for h in of if not isinstance(h, str)]
    arrays = {source.array.shape[1:] for source in sources if source.array is not None}
    shape = _one_shape(sources, arrays, usable)
    for of, found in zip(heads, problems, strict=True):
        for row, head in enumerate(of):
            if not isinstance(head, str) and head[0] != shape[:2]:
                found[row] = f"has {head[0][1]}x{head[0][0]} pixels, expected {shape[1]}x{shape[0]} as most others have"
    return Survey(shape, problems)


def _one_shape(
    sources: Sequence[Source], arrays: set[tuple[int, ...]], usable: list[tuple[tuple[int, int], bool]]
) -> tuple[int, ...]:
    """The shape of arrays if there are any, else the most usual size of files, grey only if all are grey."""
    if len(arrays) > 1:
        listed = ", ".join(
            f"{source.name} has {source.array.shape[1:]}" for source in sources if source.array is not None
        )
        raise InputError(f"sources: expected images of one shape, but {listed}. Resize them, or give embeddings.")
    if arrays:
        return arrays.pop()
    if not usable:
        raise InputError("sources: expected readable images, but not one file can be read.")
    size = Counter(size for size, _ in usable).most_common(1)[0][0]
    return (*size, 1 if all(is_grey for _, is_grey in usable) else 3)


def _head(file: Path) -> tuple[tuple[int, int], bool] | str:
    """((height, width), whether it is grey) of an image file, or why it cannot be used."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                return f"expected 8 bits per channel, got Pillow mode {image.mode!r}"
            return (image.height, image.width), image.mode in ("1", "L", "LA")
    except Exception as error:
        return f"does not decode ({type(error).__name__})"
