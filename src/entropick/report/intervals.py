"""What is clear and what is chance: differences between arms, paired by seed, and correlations, with intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.page.words import words
from entropick.report.study import ArmRecord
from entropick.report.table import Table

# The arms of a family that others are held against, by their method.
CONTROLS = ("vanilla", "random")

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


@dataclass(frozen=True)
class Comparison:
    """One arm beside one control of its family: a difference per measure, None where there is none.

    `verdicts` say of each difference whether it is better (1), worse (-1), or neither is clear (0).
    """

    arm: ArmRecord
    control: ArmRecord
    iteration: int
    differences: tuple[Interval | None, ...]
    verdicts: tuple[int, ...]


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


def compared_in(table: Table) -> list[str]:
    """The measures that arms are compared in: those that have a better and a worse."""
    return [key for key in table.measures if words(key).is_main and words(key).better]


def comparisons(table: Table) -> list[Comparison]:
    """Every arm beside the controls of its family, in the study's order; of a study at one size."""
    found = []
    for arm in table.study.arms:
        for method in CONTROLS:
            control = next((a for a in table.study.arms if a.family == arm.family and a.method == method), None)
            if control is not None and arm.method not in CONTROLS and None not in (arm.last, control.last):
                found.append(_compared(table, arm, control))
    return found


def _compared(table: Table, arm: ArmRecord, control: ArmRecord) -> Comparison:
    iteration, keys = min(arm.last or 0, control.last or 0), compared_in(table)
    ours, theirs = ({run.seed: table.of_run(one, run, iteration) for run in one.runs} for one in (arm, control))
    differences = []
    for key in keys:
        pairs = [(found.get(key), theirs.get(seed, {}).get(key)) for seed, found in ours.items()]
        paired = [a - b for a, b in pairs if a is not None and b is not None]
        differences.append(mean_difference(paired) if paired else None)
    verdicts = tuple(d.side * words(key).better if d else 0 for d, key in zip(differences, keys, strict=True))
    return Comparison(arm, control, iteration, tuple(differences), verdicts)


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
