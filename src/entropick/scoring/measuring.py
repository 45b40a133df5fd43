"""One space measured: the values, and of each generated image how near it is to which training image."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers, some_rows
from entropick.errors import InputError
from entropick.metrics.base import Roles
from entropick.metrics.near_copies import mean_distance
from entropick.metrics.suite import foresee, interval, measure, rows_needed
from entropick.sources import Candidates, Source, readable
from entropick.work import Work

Table = dict[str, list[Any]]

# How often the sets are split for an interval.
N_SPLITS = 20
_BINS = 40
# Beyond this share of the distances the last bar holds all.
_SHOWN = 0.995


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found in one space.

    Attributes
    ----------
    values, intervals
        ``name/space`` -> value, and low and high where they were asked for; None where they are not finite.
    distances, neighbors
        Of each generated row: the distance to its nearest training row, and which that is.
    near_copies
        Which generated rows are near copies; without a reference, exact copies alone.
    near_copy_distance
        Below it a row is a near copy; None without a reference.
    baseline_distances
        Of each reference row; None without a reference.
    n_shared
        Reference rows that are training rows as well; None without a reference.
    """

    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    distances: NDArray[np.float64]
    neighbors: Integers
    near_copies: NDArray[np.bool_]
    near_copy_distance: float | None
    baseline_distances: NDArray[np.float64] | None
    n_shared: int | None

    @property
    def ratio(self) -> float | None:
        """Mean distance over that of the reference; None without a reference, or where that is 0."""
        mean = None if self.baseline_distances is None else mean_distance(self.baseline_distances)
        return mean_distance(self.distances) / mean if mean else None

    def summary(self) -> dict[str, Any]:
        """What the page and its readers need beside the values, as plain data."""
        return {
            "ratio": self.ratio,
            "n_generated": len(self.distances),
            "n_near_copies": int(self.near_copies.sum()),
            "n_exact_copies": int((self.distances == 0).sum()),
            "near_copy_distance": self.near_copy_distance,
            "n_reference_in_training": self.n_shared,
            "histogram": self._histogram(),
        }

    def worst_first(self) -> Integers:
        """The generated rows, nearest to the training set first."""
        order: Integers = np.argsort(self.distances, kind="stable").astype(np.int64)
        return order

    def _histogram(self) -> dict[str, list[float]]:
        """Shares of the distances in bins of equal width from 0; the last one holds all beyond."""
        sets = {"generated": self.distances}
        if self.baseline_distances is not None:
            sets["reference"] = self.baseline_distances
        top = max(float(np.quantile(distances, _SHOWN)) for distances in sets.values())
        edges = np.linspace(0, top if top > 0 else 1, _BINS + 1)
        counts = {name: np.histogram(np.minimum(of, edges[-1]), edges)[0] for name, of in sets.items()}
        return {"edges": edges.tolist(), **{name: (of / len(sets[name])).tolist() for name, of in counts.items()}}


def check_rows(sizes: Mapping[str, int], metrics: Sequence[str], *, halves: bool) -> None:
    """Raise InputError if a set, or half of it, has fewer rows than the measures need; it says what is enough."""
    for role, n_rows in sizes.items():
        least, name = rows_needed(role, metrics)
        least *= 2 if halves else 1
        if n_rows < least:
            raise InputError(
                f"{role}: expected at least {least} usable rows for {name}{' and its interval' if halves else ''}, "
                f"got {n_rows}. Give more, or name other --metrics (metrics=)."
            )


def check_two_sets(sources: Sequence[Source], contents: Sequence[str]) -> None:
    """Refuse two sources whose `contents`, hashes in their order, are equal."""
    for (a, of_a), (b, of_b) in itertools.combinations(zip(sources, contents, strict=True), 2):
        if of_a == of_b:
            raise InputError(
                f"{a.name} and {b.name}: expected two sets, but {readable(str(a.path))} and {readable(str(b.path))} "
                f"have the same content, so the score would say nothing. Give another --{b.name} "
                f"({b.name}=), or --allow-same (allow_same=True) if this is meant."
            )


def rows_hash(X: Features) -> str:
    """A hash (hexadecimal) of the rows, whatever their order.

    Examples
    --------
    >>> X = np.eye(3, dtype=np.float32)
    >>> rows_hash(X) == rows_hash(X[::-1]), rows_hash(X) == rows_hash(X[:2])
    (True, False)
    """
    # Adding 0.0 turns -0.0 into 0.0.
    rows = np.fromiter((hashlib.sha256((row + np.float32(0)).tobytes()).digest() for row in X), "V32", len(X))
    rows.sort()
    return hashlib.sha256(rows.tobytes()).hexdigest()


def check_differing(name: str, X: Features, space: str) -> None:
    """Refuse a set of equal rows: a blank file, or a generator that makes one image; there is nothing to compare."""
    first = X[0]
    # Row by row: the first that differs is enough, without reading the rest of a memory map.
    if len(X) > 1 and all(np.array_equal(row, first) for row in X):
        raise InputError(
            f"{name}: expected rows that differ, but all {len(X)} are the same in {space}. Look at what they are."
        )


def measure_space(
    matrices: Mapping[str, Features],
    metrics: Sequence[str],
    space: str,
    seed: int | None,
    work: Work,
    *,
    allow_same: bool = False,
) -> Measured:
    """Compute `metrics` of the matrices (role -> features), with intervals if there is a `seed`, and near copies.

    Reference rows that are training rows as well are left out, unless `allow_same`: a few of them are enough to make
    every copy look as near as fresh data.
    """
    roles, n_shared = Roles(**matrices, work=work), None
    work.progress(0, len(metrics) + 1, f"nearest training images ({space})")
    if roles.reference is not None:
        shared = roles.copying.baseline_distances == 0
        n_shared = int(shared.sum())
        if n_shared and not allow_same:
            if shared.all():
                raise InputError(
                    f"reference: expected images that the generator was not trained on, but all {n_shared} are in the "
                    "training set. Give held-out ones, or --allow-same (allow_same=True) if this is meant."
                )
            roles = replace(roles, reference=some_rows(roles.reference, np.flatnonzero(~shared)))
            check_rows({name: len(getattr(roles, name)) for name in matrices}, metrics, halves=seed is not None)
    foresee(roles, metrics)
    values: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    for done, name in enumerate(metrics, start=1):
        work.progress(done, len(metrics) + 1, f"{name} ({space})")
        values |= measure(roles, [name], space=space)
        if seed is not None:
            low, high = interval(name, roles, n_resamples=N_SPLITS, seed=seed)
            intervals[f"{name}/{space}"] = (low, high) if math.isfinite(low) else None
    found = roles.nearest_training
    distances = found.distances[:, 0]
    copies = None if roles.reference is None else roles.copying
    return Measured(
        values=values,
        intervals=intervals,
        distances=distances,
        neighbors=found.indices[:, 0],
        near_copies=distances == 0 if copies is None else copies.near_copies,
        near_copy_distance=None if copies is None else copies.near_copy_distance,
        baseline_distances=None if copies is None else copies.baseline_distances,
        n_shared=n_shared,
    )


def shown_pairs(table: Table, n: int) -> list[int]:
    """`n` rows of a `nearest_table` to look at, in its order: pairs of every kind, not `n` of the same.

    A sixth are the nearest pairs that are no copies, the rest exact and near copies in equal parts; what one kind has
    too few of the others fill. Of exact copies those of different training images come first, near copies are spaced
    evenly from the nearest to the farthest.
    """
    rows = range(len(table["rank"]))
    exact = [row for row in rows if table["distance"][row] == 0]
    near = [row for row in rows if table["near_copy"][row] and table["distance"][row] != 0]
    others = [row for row in rows if not table["near_copy"][row] and table["distance"][row] != 0]
    seen = Counter[Any]()
    turns = {}
    for row in exact:
        turns[row] = seen[table["training_row"][row]]
        seen[table["training_row"][row]] += 1
    n_others = min(len(others), max(n // 6, n - len(exact) - len(near)))
    n_exact = min(len(exact), max((n - n_others + 1) // 2, n - n_others - len(near)))
    n_near = min(len(near), n - n_others - n_exact)
    spaced = np.unique(np.linspace(0, max(len(near) - 1, 0), n_near).astype(int)).tolist()
    chosen = [*sorted(exact, key=lambda row: (turns[row], row))[:n_exact], *(near[at] for at in spaced)]
    return sorted([*chosen, *others[:n_others]])


def nearest_table(measured: Measured, sources: Sequence[Source], candidates: Mapping[str, Candidates]) -> Table:
    """Every generated image with its nearest training image, the nearest pair first."""
    by_name = {source.name: source for source in sources}
    order = measured.worst_first()
    rows = candidates["generated"].row[order].tolist()
    neighbors = candidates["training"].row[measured.neighbors[order]].tolist()
    return {
        "rank": list(range(len(order))),
        "distance": measured.distances[order].tolist(),
        "near_copy": measured.near_copies[order].astype(int).tolist(),
        "row": rows,
        "path": [by_name["generated"].place(row) for row in rows],
        "training_row": neighbors,
        "training_path": [by_name["training"].place(row) for row in neighbors],
    }
