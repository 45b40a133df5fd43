"""Where sources are compared: by an encoder of images, by embeddings in a file, or as the embeddings that they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np

from entropick import arrays, features
from entropick.datasets.listing import is_pattern, list_path
from entropick.datasets.remote import RemotePath
from entropick.datasets.tables import TABLE_FILES
from entropick.errors import InputError, counted, shown
from entropick.features.cache import check_encoder
from entropick.sources.embeddings import Embeddings, open_embeddings
from entropick.sources.rounding import Rounded, as_features, directions
from entropick.sources.source import Source, on_one_line, readable
from entropick.sources.survey import IN_ROW, Survey, listing, survey, undecodable, usable
from entropick.work import Work

# Names that are told at most.
_LISTED = 10
NO_DIRECTION = "expected a direction (--normalize, normalize=True), got none in {row}: all its features are 0"
"""Why a row without length cannot be brought to length 1."""
# Images that are looked for by decoding all: so many, or one in so many.
_FEW = 50
# As many pixels as Pillow opens without a word.
_MOST_SIDE = 9_459


@dataclass(frozen=True)
class Space:
    """Where sources are compared: by an encoder, by a file of embeddings, or as the embeddings that they are.

    Attributes
    ----------
    name
        What the keys of its values end in.
    encoder
        How images become features; None if there are embeddings.
    file
        A ``.npy`` or ``.parquet`` file with an embedding of each image, the sources in order; None if there is an
        encoder or the sources are embeddings themselves.
    columns
        Of a parquet file, the columns that are features, see `entropick.sources.embeddings.open_embeddings`.
    resize
        To which height and width images are brought for the encoder; None only does it where the encoder needs one size
        and they have many, or are large.
    normalize
        Whether rows are brought to length 1, so that distances order pairs as their cosines do.
    memory
        As `file`, where embeddings are in memory.
    embedded, offset, content, problems, notes
        Once embeddings are `opened`: a row for each row of the sources, see `entropick.sources.rounding`, their hash,
        of each source which rows cannot be used and why, and what is worth a line.
    data
        The files of embeddings, once they are opened: a pattern may match others later.
    """

    name: str
    encoder: features.Features | None = None
    file: Path | None = None
    memory: Embeddings | None = field(default=None, repr=False, compare=False)
    embedded: arrays.Features | None = field(default=None, repr=False, compare=False)
    offset: arrays.Floats | None = field(default=None, repr=False, compare=False)
    content: str | None = None
    columns: tuple[str, ...] = ()
    resize: int | None = None
    normalize: bool = False
    problems: tuple[dict[int, str], ...] = field(default=(), repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)
    data: tuple[Path, ...] = field(default=(), repr=False, compare=False)

    def check(self, sources: Sequence[Source]) -> None:
        """Raise InputError if this is no way to compare the sources, or its encoder cannot be used."""
        are_images = sources[0].kind != "embeddings"
        if not are_images and (self.encoder or self.are_given):
            raise InputError("features: expected none, because the sources are embeddings already.")
        if are_images and not (self.encoder or self.are_given):
            raise InputError("features: expected a name or a file of embeddings, because the sources are images.")
        if self.encoder is not None:
            check_encoder(self.encoder)
        if self.resize is not None:
            arrays.check_count(self.resize, name="resize", maximum=_MOST_SIDE)
            if self.encoder is None:
                raise InputError("resize: expected an encoder of images, but there are embeddings. Leave it out.")

    @property
    def are_given(self) -> bool:
        """Whether embeddings of the images are given, in a file or in memory."""
        return self.file is not None or self.memory is not None

    @property
    def place(self) -> str:
        """Where these are, in words."""
        return "features (in memory)" if self.file is None else str(self.file)

    @property
    def has_columns(self) -> bool:
        """Whether the embeddings that are given are in tables."""
        if self.memory is not None:
            return bool(self.memory.columns)
        return any(file.suffix in TABLE_FILES for file in self.files())

    def files(self) -> tuple[Path, ...]:
        """The files of embeddings, of which a pattern may name several; InputError if there is none."""
        if self.data or self.file is None:
            return self.data
        return list_path(self.file).data if is_pattern(self.file) or self.file.is_dir() else (self.file,)

    def opened(self, sources: Sequence[Source]) -> Self:
        """The space with the embeddings that are given; InputError unless their rows can be told to be those of the
        sources. Where they are to have length 1, embeddings that the sources are become so here, all by one rule."""
        if self.encoder is not None:
            return self
        if not self.are_given:
            return self._of_length_one(sources) if self.normalize else self
        assert self.file is not None or self.memory is not None
        found = open_embeddings(self.file, self.columns) if self.file is not None else self.memory
        assert found is not None
        (rounded,) = as_features({self.place: found})
        # An image is as good as it was: it is its row that cannot be used.
        odd = {row: f"{IN_ROW}{self.place}: {reason}" for row, reason in rounded.problems.items()}
        rounded = rounded._replace(problems=odd)
        notes = (*unused_columns(self.place, found.unused), *found.notes, *rounded.notes)
        if isinstance(self.file, RemotePath):
            of = counted(len(found.files), "file")
            notes += (f"{self.place}: rows are fetched from {of}, known by their sizes and times.",)
        opened = replace(self, content=found.content_hash(), offset=rounded.offset, notes=notes)
        opened = replace(opened, data=tuple(found.files))
        arrays_of_images = [source.name for source in sources if source.kind != "folder"]
        if found.names is not None and arrays_of_images and len(arrays_of_images) < len(sources):
            raise InputError(
                f"features: expected rows in the order of the sources, or image files to join their names to, but the "
                f"rows of {self.place} have names, and the images of {arrays_of_images[0]} are in an array and have "
                "none. Leave the column of names out if the rows are in order, or give all images as files."
            )
        if found.names is not None and not arrays_of_images:
            opened = opened._joined(rounded, found.names, sources)
        elif len(rounded.X) != sum(map(len, sources)):
            opened = opened._without_unreadable(rounded, sources)
        else:
            opened = replace(opened, embedded=rounded.X, problems=_by_source(rounded.problems, sources))
        return opened._of_length_one(sources) if self.normalize else opened

    def _of_length_one(self, sources: Sequence[Source]) -> Self:
        """Rows at length 1; those that have none are problems."""
        parts = [(source.array, source.offset) for source in sources if source.array is not None]
        if self.embedded is not None:
            parts = [(self.embedded, self.offset)]
        X, are_none = directions(parts)
        problems = _by_source(dict.fromkeys(np.flatnonzero(are_none).tolist(), NO_DIRECTION), sources)
        where = f"{IN_ROW}{self.place}: " if self.are_given else ""
        problems = tuple(
            {row: where + why.format(row="it" if where else f"row {row}") for row, why in of.items()} for of in problems
        )
        known = self.problems or [source.problems for source in sources]
        return replace(
            self, embedded=X, offset=None, problems=tuple(a | dict(b) for a, b in zip(problems, known, strict=True))
        )

    def _without_unreadable(self, rounded: Rounded, sources: Sequence[Source]) -> Self:
        """Rows of as many images as can be read, in their order; InputError if there are others."""
        X, bad = rounded.X, rounded.problems
        unreadable = survey(sources, one_size=False, work=Work()).problems
        n, n_unreadable = sum(map(len, sources)), sum(map(len, unreadable))
        if 0 < n - n_unreadable - len(X) <= max(_FEW, n // _FEW):
            # Heads may be whole where what follows is not: to find so few, all are worth decoding.
            unreadable = undecodable(sources, unreadable)
            n_unreadable = sum(map(len, unreadable))
        listed = ", ".join(f"{source.name} {len(source)}" for source in sources)
        if not n_unreadable or len(X) != n - n_unreadable:
            files = [f"{len(lines)} cannot be read:", *lines] if (lines := listing(sources, unreadable)) else []
            advice = "Extract them again, or give a table with a column of file names."
            raise InputError(
                "\n  ".join([f"features: expected {n} rows, one per image ({listed}), got {len(X)}. {advice}", *files])
            )
        order = np.zeros(n, np.int64)
        good = np.concatenate([usable(s, known) for s, known in zip(sources, unreadable, strict=True)])
        order[good] = np.arange(len(X))
        problems, start = [], 0
        for source, known in zip(sources, unreadable, strict=True):
            rows = order[start : start + len(source)].tolist()
            problems.append({number: bad[row] for number, row in enumerate(rows) if row in bad} | known)
            start += len(source)
        note = (
            f"{self.place}: {len(X):,} rows for {n:,} images, of which {n_unreadable:,} cannot be read: the rows are "
            "taken to be of the others, in order."
        )
        return replace(self, embedded=arrays.some_rows(X, order), problems=tuple(problems), notes=(*self.notes, note))

    def _joined(self, rounded: Rounded, names: Sequence[str | None], sources: Sequence[Source]) -> Self:
        """Rows in the order of the files that they name."""
        X, bad, notes = rounded.X, rounded.problems, self.notes
        files = [(source.path, file.relative_to(source.path)) for source in sources for file in source.files]
        rows, strays = rows_of_files([name or "" for name in names], files)
        if not any(row is not None for row in rows):
            raise InputError(
                f"features: expected names of the images in {self.place}, but {shown(names[0])} and all others are of "
                "none. If its rows are in the order of the files, sorted by path, leave the column with the names out."
            )
        if strays:
            listed = ", ".join(map(on_one_line, strays[:_LISTED])) + (", …" if len(strays) > _LISTED else "")
            notes += (f"{self.place}: {counted(len(strays), 'row')} of no image, or of several: {listed}.",)
        given_rows, problems = iter(rows), []
        for source in sources:
            problems.append(dict[int, str]())
            for number, row in zip(range(len(source)), given_rows, strict=False):
                if row is None:
                    problems[-1][number] = f"{IN_ROW}{self.place}: expected one with its name, got none or several"
                elif row in bad:
                    problems[-1][number] = bad[row]
        order = np.array([0 if row is None else row for row in rows])
        return replace(self, embedded=arrays.some_rows(X, order), problems=tuple(problems), notes=notes)

    def identity(self) -> Any:
        """The space as plain data: equal where features are equal."""
        unit = {"normalize": True} if self.normalize else {}
        if self.encoder is not None:
            return {**self.encoder.identity(), **({} if self.resize is None else {"resize": self.resize}), **unit}
        if not self.are_given:
            return {"embeddings": "of length 1"} if unit else "embeddings"
        columns = {"columns": list(self.columns)} if self.columns else {}
        return {"file": readable(self.place), "content": self.content, **columns, **unit}

    def side(self, found: Survey) -> int | None:
        """To which height and width images are brought here; None as they are, or where there are embeddings."""
        if self.encoder is None:
            return None
        return self.resize if self.encoder.has_resize else found.side

    def width(self, sources: Sequence[Source], shape: tuple[int, ...] | None) -> int:
        """The number of features, before there are any."""
        if self.encoder is not None:
            # An encoder that takes images of every size makes as many features of a small one.
            return self.encoder.width((8, 8, 3) if self.encoder.has_resize else shape or (8, 8, 3))
        matrix = sources[0].array if self.embedded is None else self.embedded
        assert matrix is not None
        return int(matrix.shape[1])


def _by_source(problems: Mapping[int, str], sources: Sequence[Source]) -> tuple[dict[int, str], ...]:
    """Problems of rows, counted through all sources, by the rows of each."""
    ends = np.cumsum([len(source) for source in sources]).tolist()
    return tuple(
        {row - end + len(source): why for row, why in problems.items() if end - len(source) <= row < end}
        for source, end in zip(sources, ends, strict=True)
    )


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
    """Files by their paths below their folders; what else is asked for is made when it is."""

    def __init__(self, files: Sequence[tuple[Path, Path]], *, with_suffix: bool) -> None:
        self._files, self._with_suffix = files, with_suffix
        self._ends: dict[int, dict[str, list[int]]] = {}

    def find(self, name: str) -> list[int]:
        parts = [part for part in PurePosixPath(name).parts if part != "/"]
        if exact := self._whole.get("/".join(parts)):
            return exact
        # How many parts of the name a file's whole path ends in -> such files.
        found: dict[int, list[int]] = defaultdict(list)
        for depth in (of for of in self._depths if of < len(parts)):
            # An end of a name must hold all of the path below the folder: x/1.png is not y/1.png.
            for number in self._whole.get("/".join(parts[-depth:]), ()):
                above = zip(reversed(self._folders[self._files[number][0]]), reversed(parts[:-depth]), strict=False)
                found[depth + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], above))].append(number)
        if 0 < len(parts) < max(self._depths, default=0):
            found[len(parts)] += self._of_length(len(parts)).get("/".join(parts), [])
        return next((found[length] for length in sorted(found, reverse=True) if found[length]), [])

    @cached_property
    def _whole(self) -> dict[str, list[int]]:
        """Files by their whole paths below their folders."""
        whole: dict[str, list[int]] = defaultdict(list)
        for number, (_, below) in enumerate(self._files):
            whole[self._shown(below).as_posix()].append(number)
        return dict(whole)

    @cached_property
    def _depths(self) -> list[int]:
        """How many parts these paths have."""
        return sorted({len(below.parts) for _, below in self._files})

    @cached_property
    def _folders(self) -> dict[Path, tuple[str, ...]]:
        """The parts of each folder's own path."""
        return {folder: folder.absolute().parts[1:] for folder in {folder for folder, _ in self._files}}

    def _of_length(self, length: int) -> dict[str, list[int]]:
        """Files by the last so many parts of their paths below their folders, of those that have more."""
        if length not in self._ends:
            ends: dict[str, list[int]] = defaultdict(list)
            for number, (_, below) in enumerate(self._files):
                if len(parts := self._shown(below).parts) > length:
                    ends["/".join(parts[-length:])].append(number)
            self._ends[length] = dict(ends)
        return self._ends[length]

    def _shown(self, below: Path) -> Path:
        return below if self._with_suffix else below.with_suffix("")


def check_columns(columns: Sequence[str], sources: Sequence[Source], spaces: Sequence[Space]) -> None:
    """Raise InputError for columns of features where no table has been opened that they could be of."""
    if columns and not any(of.columns for of in sources) and not any(of.has_columns for of in spaces):
        names = ", ".join(source.name for source in sources)
        raise InputError(
            f"columns: expected a table whose columns are features or images, but there is none among {names} and the "
            f"features, got {shown(columns[0])}. Leave it out."
        )


def unused_columns(place: str, columns: Sequence[str]) -> tuple[str, ...]:
    """A line that names the columns of a table that are no features, if there are any."""
    listed = ", ".join(columns[:_LISTED]) + (", …" if len(columns) > _LISTED else "")
    return (
        (f"{place}: columns that are no features: {listed}; --columns (columns=) says otherwise.",) if columns else ()
    )
