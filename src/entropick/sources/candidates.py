"""From sources to candidates: which images can be used, in which space they are compared, the features of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from entropick import arrays
from entropick.arrays import Integers
from entropick.arrays.rows import next_look
from entropick.datasets import reading
from entropick.datasets.reading import ImageFile
from entropick.datasets.texts import numbered
from entropick.errors import InputError
from entropick.features.cache import FeatureCache, Rows
from entropick.features.stream import ImageArray, ImageFiles, Pictures
from entropick.sources.rounding import about_lengths, directions
from entropick.sources.scratch import are_large
from entropick.sources.source import Source, readable
from entropick.sources.space import NO_DIRECTION, Space, unused_columns
from entropick.sources.survey import LISTED, Problems, Survey, listing, survey, usable
from entropick.work import Passing, Work


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

    def numbers(self, sources: Sequence[Source]) -> Integers:
        """The number (n,) of each row, counted through all `sources`; ascending."""
        starts = np.cumsum([0, *map(len, sources)])
        numbers: Integers = starts[self.source] + self.row
        return numbers

    def class_numbers(self, sources: Sequence[Source], rows: Integers) -> tuple[Integers, list[str]]:
        """The number of the class of each of some `rows`, (m,), -1 where it is not known; all these classes, sorted."""
        found, names = np.full(len(rows), -1, np.int64), list[str]()
        for number, source in enumerate(sources):
            if source.classes is not None:
                of_source, known = numbered(source.classes)
                here = np.flatnonzero(self.source[rows] == number)
                numbers = of_source[self.row[rows[here]]]
                found[here] = np.where(numbers < 0, -1, numbers + len(names))
                names += known
        present, places = np.unique(found, return_inverse=True)
        called = ["" if of < 0 else names[of] for of in present.tolist()]
        ordered = sorted({name for of, name in zip(present.tolist(), called, strict=True) if of >= 0})
        new = {name: number for number, name in enumerate(ordered)}
        of_present = [-1 if of < 0 else new[name] for of, name in zip(present.tolist(), called, strict=True)]
        return np.array(of_present, np.int64)[places], ordered

    def in_blocks(self) -> Self:
        """The same; a memory map that is large becomes rows of which no part is ever copied as a whole."""
        is_large = arrays.is_mapped(self.X) and are_large(self.X.nbytes)
        return replace(self, X=cast(Any, arrays.FileRows([cast(Any, self.X)]))) if is_large else self


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
        for source in sources:
            for file, state in source.states.items():
                if _state(file) != state:
                    raise changed(file)
        states = {path: _state(path) for path in (*files, *(of for space in spaces for of in space.files()))}
        opened = [space.opened(sources) for space in spaces]
        images = [reading.hash_images(source.files, work, f"reading {source.path}") for source in sources]
        hashes = [source.content_hash(of) for source, of in zip(sources, images, strict=True)]
        return cls(sources, hashes, images, opened, states)

    def check_unchanged(self, paths: Iterable[ImageFile]) -> None:
        """Raise InputError if one of these files is not as it was when it was hashed."""
        for path in paths:
            # One that has come since was none of them.
            if self.states.get(path) != _state(path):
                raise changed(path)

    def check_unchanged_rows(self) -> None:
        """Raise InputError if a file of embeddings is not as it was when it was hashed."""
        of_sources = [path for source in self.sources if source.kind == "embeddings" for path in source.paths]
        self.check_unchanged([*of_sources, *(path for space in self.spaces for path in space.files())])

    def watched(self, work: Work) -> Work:
        """The same work, which ends with InputError at a sign of life once a file of embeddings is not as it was."""
        return _Watching(work, self.check_unchanged_rows)

    def bytes_in_memory(self, space: Space) -> int | None:
        """What embeddings take that are in memory, where all of them are large and the others stay in their files;
        None where none do."""
        if space.encoder is not None:
            return None
        found = [space.embedded] if space.embedded is not None else [of.array for of in self.sources]
        held = [of for of in found if of is not None]
        in_files = [of for of in held if isinstance(of, np.memmap | arrays.BlockRows)]
        if len(held) > 1 and in_files and not are_large(sum(of.nbytes for of in held)):
            return None
        n_bytes = sum(of.nbytes for of in held) - sum(of.nbytes for of in in_files)
        return None if are_large(n_bytes) or not in_files else n_bytes

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
        of_sources = [unused_columns(readable(str(source.path)), source.unused) for source in self.sources]
        of_sources += [source.notes for source in self.sources]
        if not any(space.normalize for space in self.spaces):
            of_sources += [
                about_lengths(readable(str(of.path)), of.array, of.offset)
                for of in self.sources
                if of.kind == "embeddings" and of.array is not None
            ]
            of_sources += [
                about_lengths(readable(of.place), of.embedded, of.offset)
                for of in self.spaces
                if of.embedded is not None
            ]
        return [note for notes in (*of_sources, *(space.notes for space in self.spaces)) for note in notes]

    def described(self) -> dict[str, dict[str, Any]]:
        """Path and hash of each source, by its name."""
        described = dict[str, dict[str, Any]]()
        for source, content in zip(self.sources, self.hashes, strict=True):
            depth = {} if source.bit_depth is None else {"bit_depth": source.bit_depth}
            described[source.name] = {"path": readable(str(source.path)), "content": content, **depth}
        return described

    def identity(self) -> list[Any]:
        """The sources as plain data; numbers of sources and of rows follow their order."""
        return [[name, described] for name, described in self.described().items()]

    def candidates(
        self, space: Space, found: Survey, cache: Path, work: Work, say: Callable[[str], None] = lambda line: None
    ) -> Candidates:
        """The features of all usable rows; those that an encoder makes are kept in `cache`. A memory map stays one."""
        candidates = self._as_they_are(space, found, cache, work, say)
        # Embeddings came so.
        return _of_length_one(self.sources, candidates) if space.normalize and space.encoder else candidates

    def _as_they_are(
        self, space: Space, found: Survey, cache: Path, work: Work, say: Callable[[str], None]
    ) -> Candidates:
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
            rows = np.flatnonzero(usable(source, bad))
            pictures = self._pictures(number, space, found).take(rows.tolist())

            def put(of: Sequence[int], X: arrays.Features, at: Integers = rows + start) -> None:
                matrix.put(at[of].tolist(), X)

            def check(of: Iterable[int], source: Source = source, rows: Integers = rows) -> None:
                self.check_unchanged([source.files[rows[row]] for row in of] if source.files else source.paths)

            undecoded = kept.fill(put, encoder, pictures, work, f"features of {source.name}", check, say)
            bad.update({int(rows[row]): reason for row, reason in undecoded.items()})
            start += len(source)
        good = np.flatnonzero(np.concatenate([usable(s, p) for s, p in zip(self.sources, problems, strict=True)]))
        return _align(self.sources, [matrix.matrix(good)] if len(good) else [], problems)

    def _pictures(self, number: int, space: Space, found: Survey) -> Pictures:
        """The images of a source as a space takes them: those that have a resize of their own, as they are."""
        source, images = self.sources[number], self.images[number]
        assert space.encoder is not None
        side, mode = space.side(found), "rgb" if space.encoder.has_resize else found.mode
        if source.array is not None:
            return ImageArray(source.array, side)
        return ImageFiles(source.files, images, mode, side, source.bit_depth)

    def apart(
        self, space: Space, found: Survey, cache: Path, work: Work, say: Callable[[str], None] = lambda line: None
    ) -> dict[str, Candidates]:
        """The candidates of each source, by its name."""
        start, parts = 0, {}
        columns = zip(self.sources, self.hashes, self.images, found.problems, strict=True)
        for source, content, images, problems in columns:
            rows: Any = None
            if space.embedded is not None:
                rows = arrays.part_of(space.embedded, start, start + len(source))
            alone = Contents([source], [content], [images], (), self.states)
            of_source = Survey(found.shape, (problems,), found.side)
            parts[source.name] = alone.candidates(replace(space, embedded=rows), of_source, cache, work, say)
            start += len(source)
        return parts


class _Watching(Passing):
    """Checks at signs of life, as often as rows in files are looked at, whoever reads them and wherever they are."""

    def __init__(self, work: Work, check: Callable[[], None]) -> None:
        super().__init__(work)
        self._check, self._next_look = check, 0.0

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._look()
        super().progress(done, total, note)

    def due(self) -> bool:
        self._look()
        return super().due()

    def _look(self) -> None:
        if (now := time.monotonic()) >= self._next_look:
            self._check()
            self._next_look = next_look(now)


def changed(path: ImageFile) -> InputError:
    """What is said of a file that is no longer as it was when it was looked at."""
    if _state(path) is None:
        return InputError(
            f"{readable(str(path))}: expected a file that stays where it is, but it was removed while this command "
            "worked. Put it back, and repeat the command."
        )
    return InputError(
        f"{readable(str(path))}: expected a file that stays as it is, but it changed while this command worked. Repeat "
        "the command."
    )


def _state(path: ImageFile) -> tuple[int, int] | None:
    """Size and time of the last change; None where there is no file to be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def nothing_usable(sources: Sequence[Source], problems: Problems) -> InputError:
    """What is said where no row can be used."""
    lines = listing(sources, problems, most=LISTED)
    return InputError("\n  ".join(["sources: expected usable rows, but there is not one:", *lines]))


def given(sources: Sequence[Source], X: arrays.Features | None, problems: Problems) -> Candidates:
    """Embeddings that are there already: of one file for all sources in order, or the sources themselves.

    Large ones are not copied: rows are read from where they are.
    """
    masks = [usable(source, bad) for source, bad in zip(sources, problems, strict=True)]
    if X is None:
        parts = [
            _chosen(source.array, mask) for source, mask in zip(sources, masks, strict=True) if source.array is not None
        ]
        return _align(sources, parts, tuple(problems))
    return _align(sources, [_chosen(X, np.concatenate(masks))], tuple(problems))


def _chosen(X: Any, mask: NDArray[np.bool_]) -> Any:
    """The rows of a matrix that a mask says; itself if it says all of them."""
    if mask.all():
        return X
    if not isinstance(X, arrays.BlockRows) and are_large(X.nbytes):
        X = arrays.FileRows([X]) if arrays.is_mapped(X) else arrays.JoinedRows([X])
    return arrays.some_rows(X, np.flatnonzero(mask))


def _joined(parts: Sequence[Any]) -> Any:
    """Matrices one after another; a copy where they are not large."""
    if len(parts) == 1:
        return parts[0]
    if are_large(sum(part.nbytes for part in parts)) or any(isinstance(part, arrays.BlockRows) for part in parts):
        return arrays.JoinedRows(parts)
    return np.concatenate(parts)


def _of_length_one(sources: Sequence[Source], candidates: Candidates) -> Candidates:
    """The candidates at length 1; what has no length is a problem of its row."""
    X, are_none = directions([(candidates.X, None)])
    if not are_none.any():
        return replace(candidates, X=X)
    problems = tuple(dict(known) for known in candidates.problems)
    for number, row in zip(candidates.source[are_none].tolist(), candidates.row[are_none].tolist(), strict=True):
        problems[number][row] = NO_DIRECTION.format(row=f"row {row}")
    return _align(sources, [_chosen(X, ~are_none)], problems)


def _align(sources: Sequence[Source], parts: list[Any], problems: tuple[dict[int, str], ...]) -> Candidates:
    rows = [np.flatnonzero(usable(source, bad)) for source, bad in zip(sources, problems, strict=True)]
    if not sum(map(len, rows)):
        raise nothing_usable(sources, problems)
    return Candidates(
        X=_joined(parts),
        source=np.repeat(np.arange(len(sources)), [len(of) for of in rows]),
        row=np.concatenate(rows).astype(np.int64),
        problems=problems,
    )
