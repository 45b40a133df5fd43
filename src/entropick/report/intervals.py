"""What is clear and what is chance: differences between arms, paired by seed, and correlations, with intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from entropick.page.words import words
from entropick.report.study import ArmRecord
from entropick.report.table import Table

# The arms of a family that others are held against, by their method.
CONTROLS = ("vanilla", "random")

_LEVEL = 0.95
# Beyond this an r is 1 but for rounding, and its transform is no number to compute with.
_MOST_R = 1 - 1e-12


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

    `verdicts` say of each difference whether it is better (1), worse (-1), or neither is clear (0). `nearer` says which
    is nearer to what real data scores, the arm (1) or the control (-1): to be "better" than real data is no merit.
    `better` is the way in which each measure is better.
    """

    arm: ArmRecord
    control: ArmRecord
    iteration: int
    differences: tuple[Interval | None, ...]
    verdicts: tuple[int, ...]
    nearer: tuple[int, ...] = ()
    better: tuple[int, ...] = ()

    def is_beyond(self, place: int) -> bool:
        """Whether the difference at that place would be a merit, or a loss, if more than real data has were one."""
        difference, nearer = self.differences[place], self.nearer[place]
        return difference is not None and difference.estimate * self.better[place] * nearer < 0


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


def correlation(x: Sequence[float], y: Sequence[float], seeds: Sequence[Hashable]) -> Interval | None:
    """Pearson's r of points of several seeds, with an interval for what other seeds would give.

    Only seeds are drawn: the arms, sizes and iterations of a study are chosen, and those of one seed share images. So
    the interval is a jackknife that leaves out one whole seed at a time, of Fisher's transform of r, with Student's
    quantile; from one seed there is none. None instead of it all where there is no r: fewer than three points, or all
    alike.

    References
    ----------
    Tukey's jackknife of a transformed statistic: Efron and Tibshirani, "An introduction to the bootstrap", chapter 11.
    """
    if (r := _pearson(x, y)) is None:
        return None
    drawn = list(dict.fromkeys(seeds))
    without = [_pearson(*_others(x, y, seeds, seed)) for seed in drawn]
    if len(drawn) < 2 or any(one is None for one in without):
        return Interval(r, None, None, len(x))
    from scipy.special import stdtrit

    n, z = len(drawn), math.atanh(_bounded(r))
    left = np.array([math.atanh(_bounded(one)) for one in without if one is not None])
    error = math.sqrt((n - 1) / n * float(np.square(left - left.mean()).sum()))
    half = float(stdtrit(n - 1, (1 + _LEVEL) / 2)) * error
    return Interval(r, math.tanh(z - half), math.tanh(z + half), len(x))


def _pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    return statistics.correlation(x, y)


def _others(
    x: Sequence[float], y: Sequence[float], seeds: Sequence[Hashable], left_out: Hashable
) -> tuple[list[float], list[float]]:
    kept = [place for place, seed in enumerate(seeds) if seed != left_out]
    return [x[place] for place in kept], [y[place] for place in kept]


def _bounded(r: float) -> float:
    return max(-_MOST_R, min(_MOST_R, r))


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
    nearer = tuple(_nearer_to_real(table, arm, control, iteration, key) for key in keys)
    verdicts = [d.side * words(key).better if d else 0 for d, key in zip(differences, keys, strict=True)]
    judged = tuple(verdict if of in (0, verdict) else 0 for verdict, of in zip(verdicts, nearer, strict=True))
    return Comparison(
        arm, control, iteration, tuple(differences), judged, nearer, tuple(words(key).better for key in keys)
    )


def _nearer_to_real(table: Table, arm: ArmRecord, control: ArmRecord, iteration: int, key: str) -> int:
    """Of a measure of generated images: 1 if the arm is nearer to what real data scores, -1 if the control is; or 0."""
    real, ours, theirs = (table.real(key), *(table.over_seeds(one, iteration, key) for one in (arm, control)))
    if "generated" not in getattr(words(key), "roles", ()) or not (real and ours and theirs):
        return 0
    ahead = abs(theirs.mean - real.mean) - abs(ours.mean - real.mean)
    return (ahead > 0) - (ahead < 0)
