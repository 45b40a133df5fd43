"""Which rows of a pool repeat others: exact copies, and rows much nearer to each other than to what is around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers, some_rows
from entropick.neighbors import distinct_rows, nearest_neighbors
from entropick.sources.cost import DUPLICATE_NEIGHBORS, DUPLICATE_PRODUCTS
from entropick.work import Work

# Which neighbour says how far apart rows are around here, and which one, half as far down, how that grows.
_AROUND, _HALF = DUPLICATE_NEIGHBORS, DUPLICATE_NEIGHBORS // 2
# How many rows of a pool without duplicates may be named, and how near a duplicate has to be in any case.
_FALSE_ALARMS, _NEAREST = 0.1, 0.5
# Numbers that are subtracted at once.
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Groups of rows that repeat each other; see `find_duplicates`.

    Attributes
    ----------
    rows
        All rows in groups, int64 ``(m,)``, group by group, in each the one to keep first.
    groups
        The number of the group of each, from 0 on, int64 ``(m,)``.
    distances
        From each to the one to keep, float64 ``(m,)``, in the units of the features; 0 for an exact copy.
    share
        Below this share of the distance to the 16th neighbour a row is a near-duplicate; 0 where only exact copies were
        looked for.
    dimension
        Of the rows, near each other, by the same neighbours; None where that is not known.
    n_looked_up
        For how many distinct points neighbours were looked up; exact copies are found among all rows.
    n_distinct
        How many distinct points there are.
    """

    rows: Integers
    groups: Integers
    distances: Floats
    share: float
    dimension: float | None
    n_looked_up: int
    n_distinct: int

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    @property
    def keeps(self) -> NDArray[np.bool_]:
        """Which rows are the ones to keep, bool ``(m,)``."""
        first: NDArray[np.bool_] = np.diff(self.groups, prepend=-1) > 0
        return first

    def summary(self) -> dict[str, Any]:
        """What was found, as JSON-able numbers."""
        return {
            "groups": self.n_groups,
            "rows": len(self.rows),
            "exact": len(self.rows) - int(np.count_nonzero(self.distances)) - self.n_groups,
            "share": self.share,
            "dimension": self.dimension,
            "n_looked_up": self.n_looked_up,
            "n_distinct": self.n_distinct,
        }


def find_duplicates(
    X: Features,
    preferred: Integers,
    rng: np.random.Generator,
    work: Work | None = None,
    *,
    most_products: float = DUPLICATE_PRODUCTS,
) -> Duplicates:
    """Find the rows of `X` ``(n, d)`` that repeat others, in groups.

    **The rule.** A row is a near-duplicate of another one if that is nearer than a share t of the distance to its own
    16th neighbour. Where rows are spread evenly in so many dimensions m, the share of the way to the 16th neighbour at
    which the nearest one lies is below t with a probability of ``1 - (1 - t^m)^15``, at most ``15 t^m``, whatever the
    density. So ``t = (0.1 / (15 n))^(1/m)``: of a pool of n distinct rows without duplicates a tenth of a row is named
    on average. t is at most a half. m is what makes the 8th neighbour, of the middle one of all rows, as far away as it
    is: ``(r_8 / r_16)^m`` has a median of a half, which groups of up to eight do not change. Groups of more than 16
    look like an even spread and are found only as far as they are exact copies.

    **The cost.** Neighbours of all distinct rows, or of as many, at random, as `most_products` multiplications allow.

    Parameters
    ----------
    X
        The pool.
    preferred
        Rows to keep, where a group has one: the first of them that is in it, else its lowest row.
    rng
        Which rows are looked up where they are too many.
    work
        Hears of progress.
    most_products
        How much may be computed.

    References
    ----------
    Distances to neighbours as order statistics of an even spread: Facco et al., "Estimating the intrinsic dimension of
    datasets by a minimal neighborhood information", 2017; Levina and Bickel, 2004.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((200, 3), np.float32)
    >>> X[150], X[20] = X[7], X[8] + np.float32(1e-5)
    >>> found = find_duplicates(X, np.array([150]), np.random.default_rng(0))
    >>> found.rows.tolist(), found.groups.tolist(), found.keeps.tolist()
    ([150, 7, 8, 20], [0, 0, 1, 1], [True, False, True, False])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, point = distinct_rows(X)
    n = len(first)
    points = X if n == len(X) else some_rows(X, first)
    asked, near, share, dimension = np.empty(0, np.int64), np.empty((2, 0), np.int64), 0.0, None
    if n > _AROUND:
        n_asked = min(n, max(1, int(most_products / (n * X.shape[1]))))
        asked = np.arange(n) if n_asked == n else np.sort(rng.choice(n, n_asked, replace=False))
        # The nearest one is the row itself: the points differ.
        asking = points if n_asked == n else points[asked]  # a copy of all might not fit beside them
        found = nearest_neighbors(asking, points, k=_AROUND + 1, work=work)
        distances, neighbors = found.distances[:, 1:], found.indices[:, 1:]
        dimension = _dimension(distances)
        share = min(_NEAREST, (_FALSE_ALARMS / ((_AROUND - 1) * n)) ** (1 / dimension)) if dimension else 0.0
        row, column = np.nonzero(distances < share * distances[:, -1:])
        near = np.stack([asked[row], neighbors[row, column]])
    graph = coo_array((np.ones(near.shape[1], bool), (near[0], near[1])), shape=(n, n))
    _, of_point = connected_components(graph, directed=False)
    rows, groups = _in_groups(of_point[point], preferred)
    return Duplicates(rows, groups, _to_first(X, rows, groups), share, dimension, len(asked), n)


def _dimension(distances: Floats) -> float | None:
    """How fast the number of rows grows with the distance, near them; None where it does not say."""
    half = float(np.median(distances[:, _HALF - 1] / distances[:, _AROUND - 1]))
    return math.log(0.5) / math.log(half) if 0 < half < 1 else None


def _in_groups(group: Integers, preferred: Integers) -> tuple[Integers, Integers]:
    """The rows that share their group with others, the one to keep first, and the numbers of their groups, from 0 on in
    the order of the lowest rows."""
    place = np.full(len(group), len(preferred), np.int64)
    place[preferred] = np.arange(len(preferred))
    lowest = np.full(int(group.max()) + 1, len(group), np.int64)
    np.minimum.at(lowest, group, np.arange(len(group)))
    rows = np.flatnonzero(np.bincount(group)[group] > 1)
    rows = rows[np.lexsort((rows, place[rows], lowest[group[rows]]))]
    return rows, np.unique(lowest[group[rows]], return_inverse=True)[1].astype(np.int64)


def _to_first(X: Features, rows: Integers, groups: Integers) -> Floats:
    """The distance of each row to the first one of its group."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    kept = rows[starts][groups] if len(rows) else rows
    found, step = np.empty(len(rows)), max(1, _BLOCK_NUMBERS // X.shape[1])
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        # Rows together are read faster than one by one, where they lie in files.
        differences = X[rows[some]].astype(np.float64) - X[kept[some]]
        found[some] = [np.linalg.norm(row) for row in differences]
    return found
