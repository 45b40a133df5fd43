"""Sources: where candidates come from, by name, so that it is known of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import check_same_width
from entropick.datasets.reading import (
    array_of_images,
    class_folders,
    find_images,
    hash_folder,
    map_array,
    read_array_file,
    read_picture,
)
from entropick.errors import InputError
from entropick.run.files import fingerprint, hash_file
from entropick.sources.embeddings import Embeddings, as_features, open_embeddings, read_classes

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
        The image files of a folder, in the order of ``sorted`` of their relative POSIX paths; else empty.
    array
        uint8 ``(n, h, w, c)`` images or float32 ``(n, d)`` embeddings, a memory map where the file allows; None for a
        folder.
    classes
        The class of each row as text, in order; None where none is known. Of a folder, the first folder below it on the
        way to the file; of an ``.npz`` file, its array ``labels``; of a parquet file, its column ``label``.
    passed_over
        How many other entries a folder has, by the reason why they are no candidates.
    problems
        Row of embeddings -> why it cannot be used.
    columns, unused
        Of a parquet file, the columns that were asked for, and those that are no features.
    digest
        Of what is in memory, the hash of its content; "" where it is in files.
    """

    name: str
    path: Path
    kind: Kind
    files: tuple[Path, ...] = ()
    array: NDArray[Any] | None = field(default=None, repr=False)
    classes: tuple[str, ...] | None = field(default=None, repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict, repr=False)
    columns: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    digest: str = ""

    def __len__(self) -> int:
        return len(self.files) if self.array is None else len(self.array)

    def place(self, row: int) -> str:
        """The path of a row's file: its own, or that of the array it is in."""
        return str(self.files[row] if self.files else self.path)

    def picture(self, row: int, *, side: int | None = None) -> Any:
        """A row of a source of images as a Pillow image in RGB, shown at about this `side`: see `read_picture`."""
        from PIL import Image

        if self.array is None:
            return read_picture(self.files[row], side=side)
        pixels = np.asarray(self.array[row])
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")

    def content_hash(self, images: Sequence[bytes | None]) -> str:
        """sha256 (hexadecimal) of the content; for a folder of relative paths and `images`, the hash of each file."""
        if self.digest:
            return self.digest
        if self.files:
            return hash_folder(self.path, self.files, images)
        content = hash_file(self.path).sha256
        return fingerprint({"content": content, "columns": list(self.columns)}) if self.columns else content


def passed_over(sources: Sequence[Source]) -> dict[str, dict[str, int]]:
    """What the folders hold that is no candidate, by source and reason."""
    return {
        source.name: {readable(reason): count for reason, count in source.passed_over.items()}
        for source in sources
        if source.passed_over
    }


def source_number(sources: Sequence[Source], name: str, *, role: str) -> int:
    """The place of the source of this name; InputError, in which `role` says what it was named for."""
    names = [source.name for source in sources]
    if name not in names:
        raise InputError(f"{role}: expected the name of a source ({', '.join(names)}), got {name!r}.")
    return names.index(name)


def readable(path: str) -> str:
    """A file's name as text that can be written anywhere; bytes that are no UTF-8 become escapes.

    Examples
    --------
    >>> readable("caf\\udce9.png")
    'caf\\\\xe9.png'
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def on_one_line(path: str) -> str:
    """A readable name without line breaks and codes that a terminal would obey.

    Examples
    --------
    >>> on_one_line("a\\nb.png")
    'a\\\\nb.png'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in readable(path)
    )


def open_sources(specifications: Sequence[str], *, columns: Sequence[str] = ()) -> tuple[Source, ...]:
    """Open sources given as ``name=path``; `columns` of parquet files are features, see `open_embeddings`.

    Raises
    ------
    InputError
        No source, a specification without a name, a name twice, a path that does not exist or holds nothing usable,
        embeddings beside images, or embeddings of different widths.
    """
    pairs = [_name_and_path(text) for text in specifications]
    if not pairs:
        raise InputError("sources: expected at least one NAME=PATH, for instance real=photos/.")
    names = Counter(name for name, _ in pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"sources: expected different names, got {twice[0]!r} more than once.")
    return alike([open_source(name, path, tuple(columns)) for name, path in pairs])


def alike(opened: Sequence[Source]) -> tuple[Source, ...]:
    """Opened sources with embeddings as float32; InputError unless all are images, or embeddings of one width."""
    sources = _finished(opened)
    if {source.kind for source in sources} > {"embeddings"}:
        listed = ", ".join(f"{source.name} has {source.kind}" for source in sources)
        raise InputError(f"sources: expected images in all of them, or embeddings in all of them, but {listed}.")
    check_same_width(*((s.name, s.array) for s in sources if s.array is not None and s.kind == "embeddings"))
    return sources


def _name_and_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not is_name(name) or not path:
        raise InputError(f"sources: expected NAME=PATH, for instance real=photos/, got {text!r}.")
    return name, Path(path)


def is_name(text: str) -> bool:
    """Whether a source can be called so: manifests and folders are written with it."""
    return text.strip() == text and text.isprintable() and text not in ("", ".", "..") and not set("/\\") & set(text)


def _finished(opened: Sequence[Source]) -> tuple[Source, ...]:
    """Embeddings as float32, all by the same rule, and which of their rows cannot be used."""
    raw = {
        f"{source.name}: {source.path}": Embeddings(source.array, dict(source.problems))
        for source in opened
        if source.kind == "embeddings" and source.array is not None
    }
    made = zip(*as_features(raw), strict=True)
    return tuple(
        source if source.kind != "embeddings" else replace(source, array=(of := next(made))[0], problems=of[1])
        for source in opened
    )


def open_source(name: str, path: Path, columns: tuple[str, ...]) -> Source:
    """One source, embeddings as they are in the file; InputError if nothing usable is at the path."""
    try:
        return _opened(name, path, columns)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{name}: expected a readable folder or file at {readable(str(path))}, but: {reason}."
        ) from error


def _opened(name: str, path: Path, columns: tuple[str, ...]) -> Source:
    if path.is_dir():
        files, passed_over = find_images(path)
        classes = class_folders(path, files)
        return Source(name, path, "folder", files=tuple(files), classes=classes, passed_over=passed_over)
    if not path.is_file():
        raise InputError(f"{name}: expected a folder or a file at {path}, but there is none.")
    if path.suffix == ".npz":
        images, labels = read_array_file(path)
        classes = None if labels is None else tuple(map(str, labels.tolist()))
        return Source(name, path, "images", array=images, classes=classes)
    if path.suffix == ".parquet":
        found, classes = open_embeddings(path, columns), read_classes(path)
        source = Source(name, path, "embeddings", array=found.matrix, classes=classes, problems=found.problems)
        return replace(source, columns=columns, unused=found.unused)
    if path.suffix != ".npy":
        raise InputError(f"{path}: expected a folder of images, or a .npy, .npz or .parquet file.")
    array = map_array(path)
    if array.ndim == 2:
        return Source(name, path, "embeddings", array=array)
    return Source(name, path, "images", array=array_of_images(array, name=str(path)))
