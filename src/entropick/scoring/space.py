"""The spaces in which sets are compared: an encoder's, a file of embeddings, or the sources themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entropick import arrays, features
from entropick.errors import InputError
from entropick.run.files import hash_file
from entropick.sources import Candidates, Source, Survey, check_rows, extract, given, read_embeddings, readable
from entropick.work import Work


@dataclass(frozen=True)
class Space:
    """One space.

    Attributes
    ----------
    name
        What the keys of its values end in.
    encoder
        How images become features; None if there are embeddings.
    file
        A ``.npy`` or ``.parquet`` file with an embedding of each image, the sources in order; None if there is an
        encoder or the sources are embeddings themselves.
    """

    name: str
    encoder: features.Features | None = None
    file: Path | None = None

    def describe(self) -> Any:
        """The space as plain data: equal where features are equal."""
        if self.encoder is not None:
            return self.encoder.identity()
        if self.file is None:
            return "embeddings"
        return {"file": readable(str(self.file)), "content": hash_file(self.file).sha256}

    def embedded(self, sources: Sequence[Source]) -> arrays.Features | None:
        """What is in the file, one row for each image of all sources; None if there is no file."""
        if self.file is None:
            return None
        X = read_embeddings(self.file)
        check_rows(sources, X)
        return X

    def width(self, sources: Sequence[Source], embedded: arrays.Features | None, shape: tuple[int, ...] | None) -> int:
        """The number of features, before there are any; `embedded` is what `embedded` gave."""
        if self.encoder is not None:
            # An encoder that takes images of every size makes as many features of a small one.
            return self.encoder.width(shape or (8, 8, 3))
        width = (sources[0].array if embedded is None else embedded).shape[1]  # type: ignore[union-attr]
        return int(width)

    def candidates(
        self,
        sources: Sequence[Source],
        embedded: arrays.Features | None,
        hashes: Mapping[str, str],
        found: Survey,
        cache: Path,
        work: Work,
    ) -> dict[str, Candidates]:
        """The features of each source, by its name. A memory map stays one."""
        start, matrices = 0, {}
        for source, problems in zip(sources, found.problems, strict=True):
            if self.encoder is not None:
                alone = Survey(found.shape, (problems,))
                matrices[source.name] = extract([source], [hashes[source.name]], self.encoder, alone, cache, work)
            else:
                rows = None if embedded is None else embedded[start : start + len(source)]
                matrices[source.name] = given([source], rows, (problems,))
            start += len(source)
        for name, of in matrices.items():
            _check_differing(name, of.X, self.name)
        return matrices


def rows_hash(X: arrays.Features) -> str:
    """A hash (hexadecimal) of the rows, whatever their order.

    Examples
    --------
    >>> X = np.eye(3, dtype=np.float32)
    >>> rows_hash(X) == rows_hash(X[::-1]), rows_hash(X) == rows_hash(X[:2])
    (True, False)
    """
    # Adding 0.0 turns -0.0 into 0.0.
    rows = sorted(hashlib.sha256((row + np.float32(0)).tobytes()).digest() for row in X)
    return hashlib.sha256(b"".join(rows)).hexdigest()


def _check_differing(name: str, X: arrays.Features, space: str) -> None:
    """Refuse a set of equal rows: a blank file, or a generator that makes one image; there is nothing to compare."""
    first = X[0]
    # By blocks: rows that differ are found in the first one, without reading the rest of a memory map.
    if len(X) > 1 and all((X[start : start + 4096] == first).all() for start in range(0, len(X), 4096)):
        raise InputError(
            f"{name}: expected rows that differ, but all {len(X)} are the same in {space}. Look at what they are."
        )
