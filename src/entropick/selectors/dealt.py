"""A pool that is dealt: a feature matrix that reads like any other, and knows in which shards its rows lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from entropick.arrays import BlockRows, Features, Floats, Integers, SomeRows, some_rows
from entropick.selectors.shards import Carrier, InProcess, Part, Shard, Shards


class Dealt(BlockRows):
    """Some rows (n, d) of a pool whose shards lie elsewhere.

    Rows that are asked for are read here. A rule that asks shards (`shards_of`) leaves the work to them.

    Parameters
    ----------
    X
        The rows, as they can be read here.
    carrier, parts
        What takes calls to the shards, and which of the rows lie in each.
    """

    def __init__(self, X: Features | BlockRows, carrier: Carrier, parts: Sequence[Part]) -> None:
        super().__init__(*X.shape)
        self._X, self.carrier, self.parts = X, carrier, parts

    def __getitem__(self, rows: Any) -> Any:
        return self._X[rows]

    def take(self, rows: Any, axis: int = 0) -> Any:
        """Some rows, by their numbers."""
        return self._X.take(rows, axis=0)

    def only(self, rows: Integers) -> Dealt:
        """Some of the rows, ascending, as a pool of their own in the same shards."""
        parts = []
        for part in self.parts:
            here = np.asarray(part.numbers, np.int64)
            chosen = np.isin(here, rows, assume_unique=True)
            of_shard = np.arange(len(here)) if part.rows is None else part.rows
            parts.append(Part(np.searchsorted(rows, here[chosen]), of_shard[chosen]))
        return Dealt(SomeRows(self, rows), self.carrier, parts)


def in_one(X: Features, *, device: str) -> Dealt:
    """A pool whose rows all lie in one shard of this process, unless it is dealt already."""
    return X if isinstance(X, Dealt) else Dealt(X, InProcess([Shard(X, device=device)]), [Part(range(len(X)))])


def only(X: Features, rows: Integers) -> Features:
    """Some rows of a matrix, ascending: a copy; of what is read in blocks none, of what is dealt a pool in the same
    shards."""
    return X.only(rows) if isinstance(X, Dealt) else some_rows(X, rows)


def shards_of(
    X: Features, n_samples: int, *, device: str, weights: Floats | None = None, order: Integers | None = None
) -> Shards:
    """The shards of a pool, from which `n_samples` rows are to be picked; an array is one of this process.

    Squared distances count as much as `weights` (n,). Numbers are those of rows, or places in an `order` (n,) of them.
    """
    if not isinstance(X, Dealt):
        part = Part(range(len(X)), order, weights)
        return Shards(InProcess([Shard(X, device=device)]), n_samples, [part], device=device)
    parts = X.parts if weights is None else [replace(of, weights=weights[np.asarray(of.numbers)]) for of in X.parts]
    if order is not None:
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        parts = [_in_order(part, places[np.asarray(part.numbers)]) for part in parts]
    return Shards(X.carrier, n_samples, parts, device=device)


def covering_radius(X: Features, rows: Integers, *, device: str = "auto") -> float:
    """The largest distance of any row of a pool to the nearest of some `rows`, each of which is told once."""
    shards = shards_of(X, len(rows), device=device)
    shards.accept(rows, np.zeros(len(rows)))
    return shards.radius()


def _in_order(part: Part, places: Integers) -> Part:
    """The same rows of a shard by their places in an order."""
    ascending = np.argsort(places)
    return Part(places[ascending], ascending if part.rows is None else part.rows[ascending])
