"""Features of sources: read from a file, or extracted once and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entropick import arrays, features
from entropick.arrays import Integers
from entropick.datasets import read_image
from entropick.errors import InputError
from entropick.features.cache import FeatureCache, Read
from entropick.run.files import fingerprint
from entropick.sources.problems import check_problems
from entropick.sources.source import Source
from entropick.sources.survey import Survey
from entropick.work import Work


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


def extract(
    sources: Sequence[Source],
    hashes: Sequence[str],
    encoder: features.Features,
    found: Survey,
    cache: Path,
    work: Work,
) -> Candidates:
    """Features of all images by `encoder`, kept in `cache`; those of arrays are not where extraction is cheap."""
    kept = FeatureCache(cache)
    encoder = kept.taught(encoder, work)
    problems = tuple(dict(known) for known in found.problems)
    parts: list[arrays.Features] = []
    for number, source in enumerate(sources):
        note = f"features of {source.name}"
        if source.array is not None:
            parts.append(kept.matrix(encoder, hashes[number], source.array, work, note))
            continue
        content = fingerprint({"content": hashes[number], "shape": list(found.shape or ())})
        read = _decoder(source, found.mode, dict(problems[number]))
        for X, undecoded in kept.parts(encoder, content, read, len(source), work, note):
            parts.append(X)
            problems[number].update(undecoded)
    return _align(sources, [part for part in parts if len(part)], problems)


def check_files(sources: Sequence[Source], found: Survey, *, skip_bad: bool, work: Work) -> None:
    """Raise InputError if the survey found image files that cannot be used, unless they are to be skipped.

    Then the others are decoded as well, so that all are named at once. Where sizes do not matter, heads are enough.
    """
    problems = [dict(known) for known in found.problems]
    if found.shape is not None and any(problems) and not skip_bad:
        for source, known in zip(sources, problems, strict=True):
            read = _decoder(source, found.mode, dict(known))
            for row in range(len(source.files)):
                known.update(read(range(row, row + 1))[1])
                work.progress(row + 1, len(source.files), f"looking for others in {source.name}")
    check_problems(sources, problems, skip_bad=skip_bad)


def given(sources: Sequence[Source], X: arrays.Features | None, problems: Sequence[dict[int, str]]) -> Candidates:
    """Embeddings that are there already: of one file for all sources in order, or the sources themselves."""
    if X is None:
        matrices = [source.array for source in sources if source.array is not None]
        return _align(sources, matrices, tuple(problems))
    n = sum(map(len, sources))
    good = np.flatnonzero(np.concatenate([_usable(s, p) for s, p in zip(sources, problems, strict=True)]))
    # A memory map of which all rows are used is not copied.
    return _align(sources, [X if len(good) == n else X[good]], tuple(problems))


def check_rows(sources: Sequence[Source], X: arrays.Features) -> None:
    """Raise InputError unless `X` has one row per image of all sources."""
    if len(X) != (n := sum(map(len, sources))):
        listed = ", ".join(f"{source.name} {len(source)}" for source in sources)
        raise InputError(f"features: expected {n} rows, one per image ({listed}), got {len(X)}. Extract them again.")


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


def _usable(source: Source, problems: dict[int, str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    usable = np.ones(len(source), bool)
    usable[list(problems)] = False
    return usable


def _decoder(source: Source, mode: str, known: Mapping[int, str]) -> Read:
    """How to read a folder's images: those of rows in `known` are left out, what does not decode is told."""

    def read(rows: range) -> tuple[arrays.Images | None, dict[int, str]]:
        images, found = [], {}
        for row in rows:
            if row not in known:
                try:
                    images.append(read_image(source.files[row], mode=mode))
                except InputError as error:
                    found[row] = str(error).removeprefix(f"{source.files[row]}: ")
        return (np.stack(images) if images else None), found

    return read
