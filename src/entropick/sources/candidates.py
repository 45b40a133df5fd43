"""From sources to candidates: which images can be used, in which space they are compared, the features of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from entropick import arrays, features
from entropick.arrays import Integers
from entropick.datasets import reading
from entropick.datasets.listing import is_pattern, list_path
from entropick.datasets.reading import Head, ImageFile
from entropick.errors import InputError, shown
from entropick.features.cache import FeatureCache, Rows, check_encoder
from entropick.features.stream import ImageArray, ImageFiles, Pictures
from entropick.processes.ahead import ahead
from entropick.sources.embeddings import as_features, open_embeddings, rows_of_files
from entropick.sources.source import Source, on_one_line, readable
from entropick.work import Work

# By what factor lengths of embeddings may vary before it is worth a line; rows that are measured at once.
_VARIED, _BLOCK_ROWS = 2.0, 4096
# Names that are told at most.
_LISTED = 10
# Where fewer files than this share have one size, none is the odd one; where it has more pixels than so many, no two
# images are alike in them. Then spaces that need one size compare at this one.
_USUAL, _MOST_PIXELS, _SIDE = 0.9, 1 << 20, 32
# As many pixels as Pillow opens without a word.
_MOST_SIDE = 9_459

Problems = Sequence[dict[int, str]]
"""Of each source, in order: row -> why it cannot be used."""


@dataclass(frozen=True)
class Candidates:
    """All usable rows of all sources, as aligned columns.

    Attributes
    ----------
    X
        float32 ``(n, d)``.
    source, row
        int64 ``(n,)``: the number of the source, and the row in it.
    problems
        Of each source, in order: row -> why it is not among the candidates.
    """

    X: arrays.Features
    source: Integers
    row: Integers
    problems: tuple[dict[int, str], ...]

    def __len__(self) -> int:
        return len(self.X)


@dataclass(frozen=True)
class Survey:
    """What the heads of image files say, before any is decoded.

    Attributes
    ----------
    shape
        ``(h, w, c)`` of the images to compare in spaces that need one size; None if no space does.
    problems
        Of each source, in order: row -> why its file cannot be used.
    side
        To which height and width images are brought for spaces that need one size; None where they have one.
    n_frames
        Of each source, in order: row -> how many frames or pages its file has, where there are several.
    """

    shape: tuple[int, ...] | None
    problems: tuple[dict[int, str], ...]
    side: int | None = None
    n_frames: tuple[dict[int, int], ...] = ()

    @property
    def mode(self) -> str:
        """How `entropick.datasets.reading.read_image` should convert files for spaces that need one size."""
        return "grey" if self.shape is not None and self.shape[-1] == 1 else "rgb"


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
    embedded, content, problems, notes
        Once the file is `opened`: a row for each image, its hash, of each source which rows cannot be used and why, and
        what is worth a line.
    """

    name: str
    encoder: features.Features | None = None
    file: Path | None = None
    embedded: arrays.Features | None = field(default=None, repr=False, compare=False)
    content: str | None = None
    columns: tuple[str, ...] = ()
    resize: int | None = None
    normalize: bool = False
    problems: tuple[dict[int, str], ...] = field(default=(), repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def check(self, sources: Sequence[Source]) -> None:
        """Raise InputError if this is no way to compare the sources, or its encoder cannot be used."""
        are_images = sources[0].kind != "embeddings"
        if not are_images and (self.encoder or self.file):
            raise InputError("features: expected none, because the sources are embeddings already.")
        if are_images and not (self.encoder or self.file):
            raise InputError("features: expected a name or a file of embeddings, because the sources are images.")
        if self.encoder is not None:
            check_encoder(self.encoder)
        if self.resize is not None:
            arrays.check_count(self.resize, name="resize", maximum=_MOST_SIDE)
            if self.encoder is None:
                raise InputError("resize: expected an encoder of images, but there are embeddings. Leave it out.")

    def files(self) -> tuple[Path, ...]:
        """The files of embeddings, of which a pattern may name several; InputError if there is none."""
        if self.file is None:
            return ()
        return list_path(self.file).data if is_pattern(self.file) or self.file.is_dir() else (self.file,)

    def opened(self, sources: Sequence[Source]) -> Self:
        """The space with what is in its file; InputError unless its rows can be told to be those of the images."""
        if self.file is None:
            return self
        found = open_embeddings(self.file, self.columns)
        (X,), (bad,) = as_features({str(self.file): found})
        content, notes = found.content_hash(), (*_unused(str(self.file), found.unused), *found.notes)
        if found.names is not None and all(source.kind == "folder" for source in sources):
            return self._joined(X, bad, found.names, sources, content=content, notes=notes)
        if len(X) != sum(map(len, sources)):
            return self._without_unreadable(X, bad, sources, content=content, notes=notes)
        ends = np.cumsum([len(source) for source in sources]).tolist()
        problems = tuple(
            {row - end + len(source): reason for row, reason in bad.items() if end - len(source) <= row < end}
            for source, end in zip(sources, ends, strict=True)
        )
        return replace(self, embedded=X, content=content, problems=problems, notes=notes)

    def _without_unreadable(
        self,
        X: arrays.Features,
        bad: Mapping[int, str],
        sources: Sequence[Source],
        *,
        content: str,
        notes: tuple[str, ...],
    ) -> Self:
        """Rows of as many images as can be read, in their order; InputError if there are others."""
        unreadable = survey(sources, one_size=False, work=Work()).problems
        n, n_unreadable = sum(map(len, sources)), sum(map(len, unreadable))
        listed = ", ".join(f"{source.name} {len(source)}" for source in sources)
        if not n_unreadable or len(X) != n - n_unreadable:
            files = [f"{len(lines)} cannot be read:", *lines] if (lines := _listing(sources, unreadable)) else []
            advice = "Extract them again, or give a table with a column of file names."
            raise InputError(
                "\n  ".join([f"features: expected {n} rows, one per image ({listed}), got {len(X)}. {advice}", *files])
            )
        order = np.zeros(n, np.int64)
        good = np.concatenate([_usable(s, known) for s, known in zip(sources, unreadable, strict=True)])
        order[good] = np.arange(len(X))
        problems, start = [], 0
        for source, known in zip(sources, unreadable, strict=True):
            rows = order[start : start + len(source)].tolist()
            problems.append({number: bad[row] for number, row in enumerate(rows) if row in bad} | known)
            start += len(source)
        notes += (
            f"{self.file}: {len(X):,} rows for {n:,} images, of which {n_unreadable:,} cannot be read: the rows are "
            "taken to be of the others, in order.",
        )
        return replace(self, embedded=X[order], content=content, problems=tuple(problems), notes=notes)

    def _joined(
        self,
        X: arrays.Features,
        bad: Mapping[int, str],
        names: Sequence[str],
        sources: Sequence[Source],
        *,
        content: str,
        notes: tuple[str, ...],
    ) -> Self:
        """Rows in the order of the files that they name."""
        files = [(source.path, file.relative_to(source.path)) for source in sources for file in source.files]
        rows, strays = rows_of_files(names, files)
        if not any(row is not None for row in rows):
            raise InputError(
                f"features: expected names of the images in {self.file}, but {shown(names[0])} and all others are of "
                "none. If its rows are in the order of the files, sorted by path, leave the column with the names out."
            )
        if strays:
            listed = ", ".join(map(on_one_line, strays[:_LISTED])) + (", …" if len(strays) > _LISTED else "")
            notes += (f"{self.file}: {len(strays):,} rows are of no image, or of several: {listed}.",)
        given_rows, problems = iter(rows), []
        for source in sources:
            problems.append(dict[int, str]())
            for number, row in zip(range(len(source)), given_rows, strict=False):
                if row is None:
                    problems[-1][number] = f"expected one row with its name in {self.file}, got none or several"
                elif row in bad:
                    problems[-1][number] = bad[row]
        order = np.array([0 if row is None else row for row in rows])
        return replace(self, embedded=X[order], content=content, problems=tuple(problems), notes=notes)

    def identity(self) -> Any:
        """The space as plain data: equal where features are equal."""
        unit = {"normalize": True} if self.normalize else {}
        if self.encoder is not None:
            return {**self.encoder.identity(), **({} if self.resize is None else {"resize": self.resize}), **unit}
        if self.file is None:
            return {"embeddings": "of length 1"} if unit else "embeddings"
        columns = {"columns": list(self.columns)} if self.columns else {}
        return {"file": readable(str(self.file)), "content": self.content, **columns, **unit}

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


@dataclass(frozen=True)
class Contents:
    """Sources beside the hashes of what they held when they were looked at, and the opened spaces to compare in.

    `hashes` are of whole sources, `images` of each file of each source, or None where it could not be read.
    """

    sources: Sequence[Source]
    hashes: Sequence[str]
    images: Sequence[Sequence[bytes | None]]
    spaces: Sequence[Space]
    states: Mapping[ImageFile, tuple[int, int] | None]

    @classmethod
    def of(cls, sources: Sequence[Source], spaces: Sequence[Space], work: Work) -> Self:
        """Open the spaces, and hash the sources."""
        # Before they are hashed: what changes in between is another content than the hash says.
        files = [path for source in sources for path in source.paths]
        states = {path: _state(path) for path in (*files, *(of for space in spaces for of in space.files()))}
        opened = [space.opened(sources) for space in spaces]
        images = [reading.hash_images(source.files, work, f"reading {source.path}") for source in sources]
        hashes = [source.content_hash(of) for source, of in zip(sources, images, strict=True)]
        return cls(sources, hashes, images, opened, states)

    def check_unchanged(self, paths: Iterable[ImageFile]) -> None:
        """Raise InputError if one of these files is not as it was when it was hashed."""
        for path in paths:
            if self.states[path] != _state(path):
                raise InputError(
                    f"{readable(str(path))}: expected a file that stays as it is, but it changed while this command "
                    "worked. Repeat the command."
                )

    def survey(self, work: Work) -> Survey:
        """What can be used; image files are looked at only where an encoder needs their pixels."""
        found = Survey(None, tuple({} for _ in self.sources))
        if encoders := [space.encoder for space in self.spaces if space.encoder is not None]:
            asked = next((space.resize for space in self.spaces if space.resize is not None), None)
            one_size = not all(encoder.has_resize for encoder in encoders)
            found = survey(self.sources, one_size=one_size, work=work, resize=asked)
            for problems, contents in zip(found.problems, self.images, strict=True):
                for row in (row for row, content in enumerate(contents) if content is None):
                    problems.setdefault(row, "cannot be read")
        known = [[source.problems for source in self.sources], *(space.problems for space in self.spaces)]
        for of_sources in known:
            for problems, more in zip(found.problems, of_sources, strict=False):
                problems.update(more)
        return found

    def notes(self) -> list[str]:
        """What was found in files of embeddings that is worth a line."""
        of_sources = [_unused(readable(str(source.path)), source.unused) for source in self.sources]
        of_sources += [source.notes for source in self.sources]
        if not any(space.normalize for space in self.spaces):
            given = [(source.path, source.array) for source in self.sources if source.kind == "embeddings"]
            given += [(space.file, space.embedded) for space in self.spaces if space.file is not None]
            of_sources += [_about_lengths(readable(str(place)), X) for place, X in given if X is not None]
        return [note for notes in (*of_sources, *(space.notes for space in self.spaces)) for note in notes]

    def described(self) -> dict[str, dict[str, str]]:
        """Path and hash of each source, by its name."""
        pairs = zip(self.sources, self.hashes, strict=True)
        return {source.name: {"path": readable(str(source.path)), "content": content} for source, content in pairs}

    def identity(self) -> list[Any]:
        """The sources as plain data; numbers of sources and of rows follow their order."""
        return [[name, described] for name, described in self.described().items()]

    def candidates(self, space: Space, found: Survey, cache: Path, work: Work) -> Candidates:
        """The features of all usable rows; those that an encoder makes are kept in `cache`. A memory map stays one."""
        candidates = self._as_they_are(space, found, cache, work)
        return _of_length_one(self.sources, candidates) if space.normalize else candidates

    def _as_they_are(self, space: Space, found: Survey, cache: Path, work: Work) -> Candidates:
        if space.encoder is None:
            candidates = given(self.sources, space.embedded, found.problems)
            # A memory map is read again by whoever compares its rows: later changes of its file are not seen.
            self.check_unchanged(
                space.files() if space.file else [path for source in self.sources for path in source.paths]
            )
            return candidates
        kept = FeatureCache(cache)
        encoder = kept.taught(space.encoder, work)
        problems = tuple(dict(known) for known in found.problems)
        matrix, start = Rows(sum(map(len, self.sources))), 0
        for number, (source, bad) in enumerate(zip(self.sources, problems, strict=True)):
            rows = np.flatnonzero(_usable(source, bad))
            pictures = self._pictures(number, space, found).take(rows.tolist())

            def put(of: Sequence[int], X: arrays.Features, at: Integers = rows + start) -> None:
                matrix.put(at[of].tolist(), X)

            def check(of: Iterable[int], source: Source = source, rows: Integers = rows) -> None:
                self.check_unchanged([source.files[rows[row]] for row in of] if source.files else source.paths)

            undecoded = kept.fill(put, encoder, pictures, work, f"features of {source.name}", check)
            bad.update({int(rows[row]): reason for row, reason in undecoded.items()})
            start += len(source)
        good = np.flatnonzero(np.concatenate([_usable(s, p) for s, p in zip(self.sources, problems, strict=True)]))
        return _align(self.sources, [matrix.matrix(good)] if len(good) else [], problems)

    def _pictures(self, number: int, space: Space, found: Survey) -> Pictures:
        """The images of a source as a space takes them: those that have a resize of their own, as they are."""
        source, images = self.sources[number], self.images[number]
        assert space.encoder is not None
        side, mode = space.side(found), "rgb" if space.encoder.has_resize else found.mode
        if source.array is not None:
            return ImageArray(source.array, side)
        return ImageFiles(source.files, images, mode, side)

    def apart(self, space: Space, found: Survey, cache: Path, work: Work) -> dict[str, Candidates]:
        """The candidates of each source, by its name."""
        start, parts = 0, {}
        columns = zip(self.sources, self.hashes, self.images, found.problems, strict=True)
        for source, content, images, problems in columns:
            rows = None if space.embedded is None else space.embedded[start : start + len(source)]
            alone = Contents([source], [content], [images], (), self.states)
            of_source = Survey(found.shape, (problems,), found.side)
            parts[source.name] = alone.candidates(replace(space, embedded=rows), of_source, cache, work)
            start += len(source)
        return parts


def _state(path: ImageFile) -> tuple[int, int] | None:
    """Size and time of the last change; None where there is no file to be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def survey(sources: Sequence[Source], *, one_size: bool, work: Work, resize: int | None = None) -> Survey:
    """Look at the head of every image file; with `one_size`, those of an unusual size are problems.

    With `resize` none is; nor where too few have the usual size, or that is very large: then they are brought to a
    small one.

    Raises
    ------
    InputError
        With `one_size`, if sources differ in shape as a whole, or no file is usable.
    """
    heads: list[dict[int, Head]] = []
    problems: tuple[dict[int, str], ...] = tuple({} for _ in sources)
    for source, known in zip(sources, problems, strict=True):
        heads.append({})
        for row, head in enumerate(ahead(_head_or_reason, source.files)):
            if isinstance(head, str):
                known[row] = head
            else:
                heads[-1][row] = head
            work.progress(row + 1, len(source.files), f"looking at {source.name}")
    n_frames = tuple({row: head.n_frames for row, head in of.items() if head.n_frames > 1} for of in heads)
    if not one_size:
        return Survey(None, problems, resize, n_frames)
    sizes = Counter(head.size for of in heads for head in of.values())
    if resize is None:
        usual = [source.array.shape[1:3] for source in sources if source.array is not None]
        usual += [size for size, _ in sizes.most_common(1)]
        is_mixed = bool(sizes) and sizes.most_common(1)[0][1] < _USUAL * sizes.total()
        if is_mixed or any(height * width > _MOST_PIXELS for height, width in usual):
            resize = _SIDE
    if resize is not None and (sizes or any(source.array is not None for source in sources)):
        is_grey = all(head.is_grey for of in heads for head in of.values())
        is_grey &= all(source.array is None or source.array.shape[-1] == 1 for source in sources)
        channels = {source.array.shape[-1] for source in sources if source.array is not None}
        if len(channels | {1 if is_grey else 3}) == 1:
            return Survey((resize, resize, 1 if is_grey else 3), problems, resize, n_frames)
    shape = _one_shape(sources, [list(of.values()) for of in heads], problems)
    for of, known in zip(heads, problems, strict=True):
        for row, (size, *_) in of.items():
            if size != shape[:2]:
                known[row] = f"has {size[1]}x{size[0]} pixels, expected {shape[1]}x{shape[0]} as most others have"
    return Survey(shape, problems, n_frames=n_frames)


def _head_or_reason(file: ImageFile) -> Head | str:
    try:
        return reading.image_head(file)
    except InputError as error:
        return str(error)


def check_files(sources: Sequence[Source], found: Survey, *, skip_bad: bool, work: Work) -> None:
    """Raise InputError if the survey found image files that cannot be used, unless they are to be skipped.

    Then the others are decoded as well, so that all are named at once. Where sizes do not matter, heads are enough.
    """
    problems = [dict(known) for known in found.problems]
    if found.shape is not None and any(problems) and not skip_bad:
        for source, known in zip(sources, problems, strict=True):
            rows = [row for row in range(len(source.files)) if row not in known]
            read = partial(_reason, source.files, found)
            for done, (row, reason) in enumerate(zip(rows, ahead(read, rows), strict=True), start=1):
                known.update({row: reason} if reason else {})
                work.progress(done, len(rows), f"looking for others in {source.name}")
    check_problems(sources, problems, skip_bad=skip_bad)


def _reason(files: Sequence[ImageFile], looks: Survey, row: int) -> str:
    """Why a file does not decode; empty if it does."""
    try:
        reading.read_image(files[row], mode=looks.mode, side=looks.side)
    except InputError as error:
        return str(error)
    return ""


def given(sources: Sequence[Source], X: arrays.Features | None, problems: Problems) -> Candidates:
    """Embeddings that are there already: of one file for all sources in order, or the sources themselves."""
    if X is None:
        # A memory map of which all rows are used is not copied.
        matrices = [
            source.array[_usable(source, bad)] if bad else source.array
            for source, bad in zip(sources, problems, strict=True)
            if source.array is not None
        ]
        return _align(sources, matrices, tuple(problems))
    n = sum(map(len, sources))
    good = np.flatnonzero(np.concatenate([_usable(s, p) for s, p in zip(sources, problems, strict=True)]))
    return _align(sources, [X if len(good) == n else X[good]], tuple(problems))


def _of_length_one(sources: Sequence[Source], candidates: Candidates) -> Candidates:
    """The candidates divided by their lengths, in float64; what has none is a problem of its row."""
    X = np.empty(candidates.X.shape, np.float32)
    lengths = _lengths(candidates.X)
    is_zero = lengths == 0
    for start in range(0, len(X), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        X[part] = candidates.X[part] / np.where(is_zero, 1.0, lengths)[part, None]
    if not is_zero.any():
        return replace(candidates, X=X)
    problems = tuple(dict(known) for known in candidates.problems)
    for number, row in zip(candidates.source[is_zero].tolist(), candidates.row[is_zero].tolist(), strict=True):
        problems[number][row] = "expected a row that has a direction, but all its features are 0"
    return _align(sources, [X[~is_zero]], problems)


def _lengths(X: arrays.Features) -> arrays.Floats:
    """The Euclidean length of each row, float64 (n,), a block at a time."""
    blocks = (np.asarray(X[start : start + _BLOCK_ROWS], np.float64) for start in range(0, len(X), _BLOCK_ROWS))
    squares: arrays.Floats = np.concatenate([np.einsum("ij,ij->i", block, block) for block in blocks])
    return np.sqrt(squares)


def _about_lengths(place: str, X: arrays.Features) -> tuple[str, ...]:
    """A line where the lengths of embeddings vary so much that distances and cosines are two things."""
    lengths = _lengths(X)
    lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
    if not len(lengths) or lengths.max() <= _VARIED * lengths.min():
        return ()
    return (
        f"{place}: rows have lengths from {lengths.min():.3g} to {lengths.max():.3g}. Where only their directions mean "
        "something (cosine), give --normalize.",
    )


def check_problems(sources: Sequence[Source], problems: Problems, *, skip_bad: bool) -> None:
    """Raise InputError that names all images that cannot be used, unless they are to be skipped."""
    if skip_bad or not any(problems):
        return
    lines = _listing(sources, problems)
    images, them = ("1 image", "it") if len(lines) == 1 else (f"{len(lines)} images", "them")
    raise InputError("\n  ".join([f"{images} cannot be used. Mend or remove {them}, or give --skip-bad:", *lines]))


def skipped(sources: Sequence[Source], problems: Problems) -> list[dict[str, Any]]:
    """What was skipped, as plain data."""
    return [
        {"source": source.name, "path": readable(source.place(row)), "row": row, "reason": readable(reason)}
        for source, bad in zip(sources, problems, strict=True)
        for row, reason in sorted(bad.items())
    ]


def _unused(place: str, columns: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(columns[:_LISTED]) + (", …" if len(columns) > _LISTED else "")
    return (f"{place}: columns that are no features: {listed}; --columns says otherwise.",) if columns else ()


def _listing(sources: Sequence[Source], problems: Problems) -> list[str]:
    return [
        f"{on_one_line(source.place(row))}: {on_one_line(reason)}"
        for source, of in zip(sources, problems, strict=True)
        for row, reason in sorted(of.items())
    ]


def _one_shape(sources: Sequence[Source], usable: Sequence[Sequence[Head]], problems: Problems) -> tuple[int, ...]:
    """The shape of arrays if there are any, else the usual size of files, grey only if all are grey."""
    arrays_shapes = [source.array.shape[1:] for source in sources if source.array is not None]
    usual = [_usual_size(of) for of in usable if of]
    if not arrays_shapes and not usual:
        lines = ["sources: expected readable images, but not one file can be read:", *_listing(sources, problems)]
        raise InputError("\n  ".join(lines))
    all_grey = all(head.is_grey for of in usable for head in of)
    loses_colour = not all_grey and any(shape[-1] == 1 for shape in arrays_shapes)
    if len(set(arrays_shapes)) > 1 or len({*usual, *(shape[:2] for shape in arrays_shapes)}) > 1 or loses_colour:
        listed = ", ".join(
            f"{source.name} has {_described(source, of)}" for source, of in zip(sources, usable, strict=True)
        )
        raise InputError(
            f"sources: expected images of one shape, but {listed}. Make them alike, give --resize, or embeddings."
        )
    return arrays_shapes[0] if arrays_shapes else (*usual[0], 1 if all_grey else 3)


def _usual_size(usable: Sequence[Head]) -> tuple[int, int]:
    return Counter(head.size for head in usable).most_common(1)[0][0]


def _described(source: Source, usable: Sequence[Head]) -> str:
    """The shape of an array, or the usual size of a folder's files."""
    if source.array is not None:
        return str(source.array.shape[1:])
    if not usable:
        return "none that can be read"
    height, width = _usual_size(usable)
    colour = "" if all(head.is_grey for head in usable) else " in colour"
    return f"mostly {width}x{height} pixels{colour}"


def _align(sources: Sequence[Source], parts: list[Any], problems: tuple[dict[int, str], ...]) -> Candidates:
    rows = [np.flatnonzero(_usable(source, bad)) for source, bad in zip(sources, problems, strict=True)]
    if not sum(map(len, rows)):
        raise InputError("sources: expected usable rows, but there is not one.")
    return Candidates(
        X=parts[0] if len(parts) == 1 else np.concatenate(parts),
        source=np.repeat(np.arange(len(sources)), [len(of) for of in rows]),
        row=np.concatenate(rows).astype(np.int64),
        problems=problems,
    )


def _usable(source: Source, problems: Mapping[int, str]) -> NDArray[np.bool_]:
    usable = np.ones(len(source), bool)
    usable[list(problems)] = False
    return usable
