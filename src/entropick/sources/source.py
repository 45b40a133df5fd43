"""Sources: where candidates come from, by name, so that it is known of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Floats, check_bit_depth, check_same_width
from entropick.datasets.array_files import array_of_images, read_array_file, split_path
from entropick.datasets.image_tables import LONGEST_NAME
from entropick.datasets.listing import (
    ImageSet,
    Listing,
    holds_images,
    is_pattern,
    list_path,
    open_images,
    path_or_address,
)
from entropick.datasets.reading import ImageFile, base_of, hash_content, is_image, read_picture
from entropick.datasets.remote import RemotePath
from entropick.datasets.tables import TABLE_FILES, TableFile
from entropick.errors import InputError, cut, shown, storage_error
from entropick.processes.hardware import in_gigabytes
from entropick.run.files import fingerprint
from entropick.sources.embeddings import (
    Embeddings,
    file_of_row,
    map_file,
    place_of_row,
    read_classes,
    read_embeddings,
    without_repeats,
    without_unit_axes,
)
from entropick.sources.rounding import as_features

Kind = Literal["folder", "images", "embeddings"]


@dataclass(frozen=True)
class Source:
    """Candidates under one name, opened but hardly read.

    Attributes
    ----------
    name, path
        As given in ``name=path``.
    kind
        "folder" of image files, or what holds them like one, array of "images", or array of "embeddings".
    files
        The images of a folder, in the order of ``sorted`` of their relative POSIX paths, or those in tar files and
        tables, in theirs; else empty.
    array
        uint8 ``(n, h, w, c)`` images or float32 ``(n, d)`` embeddings, a memory map where the file allows; None for a
        folder.
    classes
        The class of each row as text, in order; None where none is known. Of a folder and what holds images like one,
        see `entropick.datasets.ImageSet`; of an ``.npz`` file, its labels; of embeddings, their column ``label``.
    passed_over
        How many other entries a folder has, by the reason why they are no candidates.
    problems
        Row of embeddings -> why it cannot be used.
    columns, unused
        Of tables, the columns that were asked for, and those that are no features.
    raw
        Embeddings as they are in their files, until all sources are open and become float32 by one rule; then None.
    offset
        What was subtracted from all rows of embeddings then, see `entropick.sources.rounding`.
    in_memory
        Whether it is in memory, and `path` only words for that.
    digest
        Of an array that is, the hash of its content, with what its rows are called; "" for anything else.
    labels
        The hash of classes that were told beside the source, in memory; "" where there are none.
    data
        The files of an array, and how many rows each has.
    names, ids
        What rows of embeddings are called in their files, and an id that they have beside that; None where there is
        none.
    notes
        What is worth a line.
    images
        What `files` were found as; None for an array.
    bit_depth
        How many bits the values of deep images have, which are then scaled to 8; None where there are to be none.
    states
        What files of arrays, tables and archives were, bytes and time of change, before anything of them was read.
    """

    name: str
    path: Path
    kind: Kind
    files: tuple[ImageFile, ...] = field(default=(), repr=False)
    array: NDArray[Any] | None = field(default=None, repr=False)
    classes: Sequence[str] | None = field(default=None, repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict, repr=False)
    columns: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    raw: Embeddings | None = field(default=None, repr=False)
    offset: Floats | None = field(default=None, repr=False)
    in_memory: bool = False
    digest: str = ""
    labels: str = ""
    data: Mapping[Path, int] = field(default_factory=dict, repr=False)
    names: Sequence[str | None] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    images: ImageSet | None = field(default=None, repr=False)
    bit_depth: int | None = None
    ids: Sequence[str | None] | None = field(default=None, repr=False)
    states: Mapping[Path, tuple[int, int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.files) if self.array is None else len(self.array)

    def place(self, row: int) -> str:
        """Where a row is: the path of its own file, or of the file that holds it, with ``#`` and its place in there.

        Of an array whose one file was given by its name, that is the path of all rows.
        """
        if self.files:
            return str(self.files[row])
        return str(self.path) if self._is_one_file else place_of_row(self.data, row)

    def absolute_place(self, row: int) -> str:
        """The same, absolute."""
        place = self.place(row)
        return place if isinstance(self.path, RemotePath) else str(Path(place).absolute())

    @cached_property
    def base(self) -> Path:
        """Where the names of its files begin: a folder, or the one file that was given and holds images."""
        place = base_of(self.path)
        return place.parent if self._is_one_file and not self.files else place

    def file_name(self, row: int) -> str:
        """The file of a row below `base`: its own, or the one that holds it."""
        if self.files:
            return self.files[row].relative_to(self.path).as_posix()
        if self._is_one_file:
            return self.path.name
        return file_of_row(self.data, row)[0].relative_to(self.base).as_posix()

    @cached_property
    def _is_one_file(self) -> bool:
        """Whether `path` is the one file itself, and no folder or pattern in which it was found."""
        return not self.data or split_path(self.path)[0] in self.data

    def own_name(self, row: int) -> str | None:
        """What the data call a row, inside a file that holds images or beside embeddings; None for nothing."""
        if self.files:
            file = self.files[row]
            return None if isinstance(file, Path) else file.key
        names = self.ids if self.names is None else self.names
        return None if names is None else names[row]

    def own_id(self, row: int) -> str | None:
        """The id that embeddings of a row have beside its name; None for nothing."""
        return None if self.ids is None or self.names is None else self.ids[row]

    @property
    def paths(self) -> tuple[ImageFile, ...]:
        """What lies on the disk and decides about the rows: images, or the files of an array."""
        return self.files or tuple(self.data)

    def picture(self, row: int, *, side: int | None = None) -> Any:
        """A row of a source of images as a Pillow image in RGB, shown at about this `side`: see `read_picture`."""
        from PIL import Image

        if self.array is None:
            try:
                return read_picture(self.files[row], side=side, bit_depth=self.bit_depth)
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno is None:  # as Pillow says that it cannot decode something
                    raise
                # A page that lacks a picture because of the disk would be kept so.
                raise storage_error(error) from error
        pixels = np.asarray(self.array[row])
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")

    def content_hash(self, images: Sequence[bytes | None]) -> str:
        """sha256 (hexadecimal) of the content; for a folder of relative paths and `images`, the hash of each file."""
        content, asked = self._content_hash(images), dict[str, Any]()
        if split := split_path(self.path)[1] if self.images is None and not self.digest else "":
            content = fingerprint({"content": content, "split": split})
        # Of a table another column may have been asked for.
        is_table = self.images is None or not isinstance(self.files[0], Path)
        if self.columns and is_table and not self.digest:
            asked["columns"] = list(self.columns)
        if self.bit_depth is not None:
            asked["bit_depth"] = self.bit_depth
        if self.labels:
            asked["labels"] = self.labels
        return fingerprint({"content": content, **asked}) if asked else content

    def _content_hash(self, images: Sequence[bytes | None]) -> str:
        if self.digest:
            return self.digest
        if self.images is not None:
            return self.images.content_hash(images)
        return hash_content(list(self.data))


def source_number(sources: Sequence[Source], name: str, *, role: str) -> int:
    """The place of the source of this name; InputError, in which `role` says what it was named for."""
    names = [source.name for source in sources]
    if name not in names:
        raise InputError(f"{role}: expected the name of a source ({', '.join(names)}), got {shown(name)}.")
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


def open_sources(
    specifications: Sequence[str], *, columns: Sequence[str] = (), bit_depth: int | None = None
) -> tuple[Source, ...]:
    """Open sources given as ``name=path``.

    Parameters
    ----------
    specifications
        Each a name and a path.
    columns
        Of tables, the columns that are features, see `entropick.sources.open_embeddings`.
    bit_depth
        Of images with values of more than 8 bits, how many these have; None refuses them.

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
        raise InputError(f"sources: expected different names, got {shown(twice[0])} more than once.")
    return alike([open_source(name, path, tuple(columns), bit_depth) for name, path in pairs])


def alike(opened: Sequence[Source]) -> tuple[Source, ...]:
    """Opened sources with embeddings as float32; InputError unless all are images, or embeddings of one width."""
    sources = _finished(opened)
    if odd := [source.name for source in sources if source.kind == "embeddings" and source.bit_depth is not None]:
        raise InputError(f"bit_depth: expected images, but {odd[0]} has embeddings. Leave it out.")
    if {source.kind for source in sources} > {"embeddings"}:
        listed = ", ".join(f"{source.name} has {source.kind}" for source in sources)
        raise InputError(f"sources: expected images in all of them, or embeddings in all of them, but {listed}.")
    check_same_width(*((s.name, s.array) for s in sources if s.array is not None and s.kind == "embeddings"))
    return sources


def _name_and_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not is_name(name) or not path:
        raise InputError(f"sources: expected NAME=PATH, for instance real=photos/, got {shown(text)}.")
    return name, path_or_address(path)


def is_name(text: str) -> bool:
    """Whether a source can be called so: manifests and folders are written with it."""
    is_plain = text.strip() == text and text.isprintable() and not set("/\\") & set(text)
    return is_plain and text not in ("", ".", "..") and len(text.encode()) <= LONGEST_NAME


def _finished(opened: Sequence[Source]) -> tuple[Source, ...]:
    """Embeddings as float32, all by the same rule, and which of their rows cannot be used."""
    raw = {f"{source.name}: {source.path}": source.raw for source in opened if source.raw is not None}
    made = iter(as_features(raw))
    return tuple(
        source
        if source.raw is None
        else replace(
            source,
            array=(of := next(made)).X,
            problems=of.problems,
            offset=of.offset,
            notes=(*source.notes, *of.notes),
            raw=None,
        )
        for source in opened
    )


def open_source(name: str, path: Path, columns: tuple[str, ...], bit_depth: int | None = None) -> Source:
    """One source, embeddings as they are in the file; InputError if nothing usable is at the path."""
    bit_depth = check_bit_depth(bit_depth)
    try:
        return replace(_opened(name, path, columns, bit_depth), bit_depth=bit_depth)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{name}: expected a readable folder or file at {cut(readable(str(path)))}, but: {reason}."
        ) from error


def _opened(name: str, path: Path, columns: tuple[str, ...], bit_depth: int | None) -> Source:
    """A source; embeddings are as they are in their files."""
    file, split = split_path(path)
    if not file.exists() and not is_pattern(file):
        raise InputError(f"{name}: expected a folder or a file at {path}, but there is none.")
    if split and file.suffix != ".npz":
        raise InputError(f"{path}: expected a split behind # of .npz files alone, got one of {file}. Leave it out.")
    listing = list_path(file)
    # Before anything of them is read.
    states = {of: (state.st_size, state.st_mtime_ns) for of in listing.data if (state := of.stat())}
    source = _of_listing(name, path, listing, columns, bit_depth)
    # Of images it is known of what lies beside them whether it says more of them.
    told = listing.passed_over if source.images is None else source.passed_over
    source = replace(source, passed_over=told, states=states)
    if not isinstance(file, RemotePath):
        return source
    size = in_gigabytes(sum(n_bytes for n_bytes, _ in states.values()))
    note = f"{path}: rows are fetched from {len(states):,} files of {size}, known by their sizes and times."
    return replace(source, notes=(*source.notes, note))


def _of_listing(name: str, path: Path, listing: Listing, columns: tuple[str, ...], bit_depth: int | None) -> Source:
    """A source of what was found at its path."""
    if holds_images(listing, columns):
        if isinstance(listing.path, RemotePath):
            raise InputError(f"{path}: expected embeddings at an address, got images. Copy them to this machine.")
        found = open_images(listing, columns)
        source = Source(name, path, "folder", files=found.files, classes=found.classes, passed_over=found.passed_over)
        asked = columns if listing.suffix in TABLE_FILES else ()
        return replace(source, columns=asked, notes=found.notes, images=found)
    if listing.suffix == ".npz":
        return _archive(name, path, listing, bit_depth)
    if listing.suffix not in (".npy", *TABLE_FILES):
        if listing.data and is_image(listing.data[0]):
            n = "one image" if len(listing.data) == 1 else f"{len(listing.data):,} images"
            raise InputError(f"{path}: expected a folder of images, got {n}. Give {listing.data[0].parent}.")
        raise InputError(
            f"{path}: expected a folder of images, or a .npy, .npz or .parquet file, a .tar of images, or several of "
            "a kind."
        )
    if listing.suffix == ".npy" and _are_images(listing):
        arrays = [array_of_images(map_file(of), name=str(of), bit_depth=bit_depth) for of in listing.data]
        if len({array.shape[1:] for array in arrays}) > 1:
            shapes = ", ".join(f"{of.name} has {array.shape}" for of, array in zip(listing.data, arrays, strict=True))
            raise InputError(f"{path}: expected images of one shape, but {shapes}.")
        images = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        data = {of: len(array) for of, array in zip(listing.data, arrays, strict=True)}
        return Source(name, path, "images", array=images, data=data, notes=listing.notes())
    raw = without_repeats(read_embeddings(listing, columns), path)
    classes = read_classes([TableFile(of) for of in listing.data]) if listing.suffix in TABLE_FILES else None
    source = Source(name, path, "embeddings", classes=classes, data=raw.files, names=raw.names, ids=raw.ids, raw=raw)
    return replace(source, columns=raw.columns, unused=raw.unused, notes=raw.notes)


def _archive(name: str, path: Path, listing: Listing, bit_depth: int | None) -> Source:
    if len(listing.data) > 1:
        raise InputError(f"{path}: expected one .npz file, got {len(listing.data)}. Name one of them.")
    # In a folder the one file stands for it.
    is_file = listing.path.is_file()
    images, labels = read_array_file(path if is_file else listing.data[0], bit_depth=bit_depth)
    classes = None if labels is None else tuple(map(str, labels.tolist()))
    return Source(name, path, "images", array=images, classes=classes, data={listing.data[0]: len(images)})


def _are_images(listing: Listing) -> bool:
    """Whether arrays are images: by the first, whatever is no matrix."""
    first = map_file(listing.data[0])
    return first.ndim != 2 and (first.dtype == np.uint8 or without_unit_axes(first).ndim != 2)
