"""What can be looked at before a selection is trusted, computed once: a map of the pool, distances over rank, who is
next to whom, and what was left out. Numbers only; `page.py` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from entropick.arrays import Features, Integers
from entropick.metrics.diversity import Plane, principal_plane
from entropick.neighbors import nearest_neighbors, squared_distances
from entropick.random_stream import RandomStream
from entropick.selectors.base import Selector
from entropick.sources import Candidates
from entropick.sources.cost import MAP_NUMBERS, MAP_ROWS
from entropick.work import Work

# Numbers that are put on the map at once, in float64.
_BLOCK_NUMBERS = 1 << 22
# Points of each kind on the map, points of a curve, pairs, and rows that were left out whose distance is looked up.
_N_POINTS = {"left out": 1500, "set aside": 300, "given": 300, "chosen": 900}
_N_CURVE, _N_PAIRS, _N_LEFT_OUT = 240, 12, 2000


def overview(
    candidates: Candidates, fates: Mapping[str, Integers], rule: Selector, control: Selector, seed: int, work: Work
) -> dict[str, Any]:
    """All of it as plain data, fit for JSON; rows are ``[number of the source, row in it]``.

    Parameters
    ----------
    candidates
        The pool.
    fates
        Which of them are "given", "chosen", both in order, and "set aside".
    rule, control
        The fitted selector, and a random choice of as many rows.
    seed
        Which rows are taken where they are too many.
    """
    X, rng = candidates.X, RandomStream(seed, stage="overview").rng()
    kept = np.setdiff1d(np.arange(len(X)), fates["set aside"])
    picked = np.concatenate([fates["given"], fates["chosen"]])
    left_out = np.setdiff1d(kept, picked)
    n_given = len(fates["given"])

    def places(rows: Integers) -> list[tuple[int, int]]:
        return list(zip(candidates.source[rows].tolist(), candidates.row[rows].tolist(), strict=True))

    looked_up = _some(left_out, _N_LEFT_OUT, rng)
    gaps = np.empty(0)
    if len(looked_up):
        gaps = nearest_neighbors(X[looked_up], X[picked], work=work).distances[:, 0]
    farthest_first = np.argsort(-gaps, kind="stable")
    return {
        "map": _map(candidates, {**fates, "left out": left_out}, rng),
        "distances": _curve(n_given, selection=rule.distances_, random=control.distances_),
        "pairs": [
            {"distance": distance, "rows": places(np.array([earlier, later]))}
            for distance, earlier, later in _nearest_pairs(X, picked, rule.distances_, n_given, work)
        ],
        "left_out": {
            "n": len(left_out),
            "rows": places(looked_up[farthest_first]),
            "distances": gaps[farthest_first].tolist(),
        },
    }


def _some(rows: Integers, n: int, rng: np.random.Generator) -> Integers:
    """At most `n` of the rows, in their order."""
    return rows if len(rows) <= n else rows[np.sort(rng.choice(len(rows), n, replace=False))]


def _map(candidates: Candidates, fates: Mapping[str, Integers], rng: np.random.Generator) -> dict[str, Any] | None:
    """Where rows lie on the two axes on which the pool varies most; None where it has no two."""
    X = candidates.X
    n, width = X.shape
    if min(n, width) < 2:
        return None
    # What is set aside may be so far away that nothing else would be seen.
    rows = np.concatenate([rows for fate, rows in fates.items() if fate != "set aside"])
    fitted = _some(np.sort(rows), max(2, min(MAP_ROWS, MAP_NUMBERS // width)), rng)
    if len(fitted) < 2:
        return None
    plane = principal_plane(X[fitted])
    points = []
    for fate, most in _N_POINTS.items():
        of = _some(fates[fate], most, rng)
        drawn = zip(_on(X, of, plane), candidates.source[of].tolist(), candidates.row[of].tolist(), strict=True)
        points += [[fate, *at, source, row] for at, source, row in drawn]
    counts = {fate: [min(len(fates[fate]), most), len(fates[fate])] for fate, most in _N_POINTS.items()}
    return {"explained": list(plane.explained), "n_fitted": len(fitted), "counts": counts, "points": points}


def _on(X: Features, rows: Integers, plane: Plane) -> list[list[float]]:
    step, points = max(1, _BLOCK_NUMBERS // X.shape[1]), list[list[float]]()
    for start in range(0, len(rows), step):
        coordinates = (X[rows[start : start + step]].astype(np.float64) - plane.frame[0]) @ plane.frame[1:].T
        points += [[float(f"{number:.5g}") for number in point] for point in coordinates.tolist()]
    return points


def _curve(n_given: int, **distances: Any) -> dict[str, list[float]]:
    """Ranks, evenly spaced, and at each the distances of each choice to the nearest earlier pick."""
    n = len(next(iter(distances.values())))
    # The very first pick has none before it.
    first = max(n_given, 1)
    ranks = np.unique(np.linspace(first, n - 1, _N_CURVE).astype(int)) if n > first else np.empty(0, int)
    return {"rank": ranks.tolist(), **{name: of[ranks].tolist() for name, of in distances.items()}}


def _nearest_pairs(
    X: Features, picked: Integers, distances: Any, n_given: int, work: Work
) -> list[tuple[float, int, int]]:
    """The picks that are nearest to one before them, and that one: distance, earlier row, later row; nearest first."""
    # Each pair is looked at when its later row is picked.
    later = np.arange(max(n_given, 1), len(picked))
    later = later[np.argsort(distances[later], kind="stable")[:_N_PAIRS]]
    pairs = []
    for done, place in enumerate(later.tolist(), start=1):
        # One row beside those before it: fewer differences than a search would have to read rows.
        squares = squared_distances(X, np.full(place, picked[place]), X, picked[:place])
        pairs.append((float(distances[place]), int(picked[np.argmin(squares)]), int(picked[place])))
        work.progress(done, len(later), "nearest pairs")
    return pairs
