"""Intervals of what a report relates: differences between arms, correlations over runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEVEL = 0.95
_N_RESAMPLES = 2000
# Fewer clusters than this say nothing of their own spread.
_FEWEST_CLUSTERS = 4


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, None where there is too little for one; `n` is what it is from."""

    estimate: float
    low: float | None
    high: float | None
    n: int

    @property
    def side(self) -> int:
        """1 if the interval lies above 0, -1 if below, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def mean_difference(differences: Sequence[float]) -> Interval:
    """The mean of paired differences, one per seed, with Student's interval; from one seed without.

    >>> found = mean_difference([1.0, 2.0, 3.0])
    >>> found.estimate, round(found.low, 3), round(found.high, 3), found.side
    (2.0, -0.484, 4.484, 0)
    """
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return Interval(mean, None, None, n)
    # Student's quantile; scipy.stats has it too, and takes seconds to import.
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + _LEVEL) / 2) * np.std(differences, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def correlation(x: Sequence[float], y: Sequence[float], clusters: Sequence[Hashable]) -> Interval | None:
    """Pearson's r of points that come in clusters, with a percentile bootstrap over whole clusters.

    The points of a run are no independent draws: an interval over points would be too narrow. None where there is no r:
    fewer than three points, or all alike.
    """
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    points = np.array([x, y], np.float64).T
    names = list(dict.fromkeys(clusters))
    members = [np.flatnonzero([cluster == name for cluster in clusters]) for name in names]
    low, high = _bootstrap(points, members) if len(members) >= _FEWEST_CLUSTERS else (None, None)
    return Interval(statistics.correlation(x, y), low, high, len(points))


def _bootstrap(points: NDArray[np.float64], members: list[NDArray[np.int64]]) -> tuple[float | None, float | None]:
    """The percentile interval; always the same for the same points."""
    rng = np.random.default_rng(0)
    sums = np.array([_moments(points[rows] - points.mean(axis=0)) for rows in members])
    drawn = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=_N_RESAMPLES)
    n, sx, sy, sxx, syy, sxy = (drawn @ sums).T
    spread = (n * sxx - sx**2) * (n * syy - sy**2)
    usable = spread > 1e-12 * spread.max()
    found = (n * sxy - sx * sy)[usable] / np.sqrt(spread[usable])
    if len(found) < _N_RESAMPLES / 2:
        return None, None
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _moments(points: NDArray[np.float64]) -> list[float]:
    x, y = points.T
    return [len(points), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
