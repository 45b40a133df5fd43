"""Where a loop is heading: the slope of entropy and of the score, the iteration at which the score meets the level of
copies, and what brings it there: copying, contraction or crowding.

Straight lines are fitted by least squares, and nothing is said where the data does not support it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import check_real
from entropick.errors import InputError, counted

_LEAST_POINTS = 4
# A line through n iterations says little about what lies this many times their span beyond them.
_HORIZON = 3
# A cause is named that makes up this share of the fall of the score.
_NAMED = 1 / 3


@dataclass(frozen=True)
class Trend:
    """A fitted straight line.

    Attributes
    ----------
    slope
        Change per iteration.
    low, high
        Confidence interval of the slope (Student's t with n - 2 degrees of freedom).
    n
        Number of iterations that it was fitted to.
    """

    slope: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Arrival:
    """When the score will reach the copying level, or why nothing is said about it.

    Attributes
    ----------
    iteration
        Where the fitted line meets the level; None where nothing is said.
    low, high
        Its confidence interval; None with it.
    reason
        Why nothing is said, in words; empty otherwise.
    """

    iteration: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class EarlyWarning:
    """Where a loop is heading, from its measured iterations; see `early_warning`.

    Attributes
    ----------
    entropy
        Trend of the entropy of the training set, in nats per iteration, or None with too few values.
    log_score
        Trend of the logarithm of the generalization score: -0.1 is a loss of about 10 % per iteration.
    arrival
        When the score reaches the copying level.
    copying
        The part of `log_score` that is copying: the trend of the logarithm of the score over the spacing of the
        training set; None with too few values.
    contraction
        The part that is a set which loses spread: half the trend of the logarithm of its variance.
    crowding
        The rest: the trend of the logarithm of the set's spacing over the root of its variance, training images that
        draw nearer to each other than the set has shrunk. As all lines are fitted to the same iterations, the three
        slopes add up to that of the score.
    """

    entropy: Trend | None
    log_score: Trend | None
    arrival: Arrival
    copying: Trend | None = None
    contraction: Trend | None = None
    crowding: Trend | None = None

    @property
    def what(self) -> str:
        """What lowers the score, such as "contraction and copying"; empty where that is not known.

        Each of the three that makes up a third of the fall or more, the largest first. Of a score that does not fall
        significantly nothing is said: what it scatters by has no cause.
        """
        if self.log_score is None or self.log_score.high >= 0:
            return ""
        parts = {"copying": self.copying, "contraction": self.contraction, "crowding": self.crowding}
        slopes = {name: of.slope for name, of in parts.items() if of is not None}
        fall = sum(slopes.values())
        if len(slopes) < len(parts) or fall >= 0:
            return ""
        shares = sorted(((slope / fall, name) for name, slope in slopes.items()), reverse=True)
        return " and ".join(name for share, name in shares if share >= _NAMED)


def early_warning(
    metrics: Iterable[Mapping[str, float | None]],
    *,
    copying_ratio: float,
    space: str,
    confidence: float = 0.95,
) -> EarlyWarning:
    """Read the measured iterations of a loop for where it is heading.

    Parameters
    ----------
    metrics
        One row per iteration: ``iteration``, ``knn_entropy/SPACE``, ``generalization_score_ratio/SPACE``,
        ``spacing_ratio/SPACE``, ``total_variance/SPACE``, as ``History.metrics`` has them. Values that are missing,
        None or not finite are left out.
    copying_ratio
        The ratio that counts as copying, `Copying.copying_ratio`; in a ledger a value of the stage *baseline*. At it
        the mean generated image is as near to its training image as only 1 % of fresh real images are to theirs.
    space
        Feature space.
    confidence
        Of all intervals, between 0 and 1.

    Raises
    ------
    InputError
        For a row without its iteration, a ratio below 0, a copying ratio not above 0, or another confidence.

    Examples
    --------
    >>> ratios = [0.91, 0.80, 0.74, 0.65, 0.60, 0.53]
    >>> rows = [{"iteration": n, "generalization_score_ratio/pixels": ratio} for n, ratio in enumerate(ratios, 1)]
    >>> found = early_warning(rows, copying_ratio=0.3, space="pixels").arrival
    >>> round(found.low, 1), round(found.iteration, 1), round(found.high, 1)
    (10.8, 11.4, 12.2)
    """
    rows = list(metrics)
    if any("iteration" not in row for row in rows):
        raise InputError("metrics: expected the iteration of every row, as History.metrics has it, got one without.")
    entropies = _series(rows, f"knn_entropy/{space}")
    iterations, ratios = _series(rows, f"generalization_score_ratio/{space}")
    positive = ratios > 0
    return EarlyWarning(
        entropy=trend(*entropies, confidence=confidence),
        log_score=trend(iterations[positive], np.log(ratios[positive]), confidence=confidence),
        arrival=arrival(iterations, ratios, level=copying_ratio, confidence=confidence),
        **_parts(rows, space, confidence),
    )


def _parts(rows: Sequence[Mapping[str, float | None]], space: str, confidence: float) -> dict[str, Trend | None]:
    """The trends of the three factors of the ratio: score over spacing, root of the variance, spacing over that."""
    names = ("generalization_score_ratio", "spacing_ratio", "total_variance")
    found = _finite(rows, *(f"{name}/{space}" for name in names))
    whole = found[(found[:, 1:] > 0).all(axis=1)]
    iterations, (ratio, copied, variance) = whole[:, 0], np.log(whole[:, 1:]).T
    parts = {"copying": copied, "contraction": variance / 2, "crowding": ratio - copied - variance / 2}
    return {name: trend(iterations, values, confidence=confidence) for name, values in parts.items()}


def trend(iterations: ArrayLike, values: ArrayLike, *, confidence: float = 0.95) -> Trend | None:
    """The slope of `values` over `iterations` with its interval; None for fewer than 4 points."""
    line = _Line.through(iterations, values, confidence)
    if line is None:
        return None
    reach = line.t * line.error / math.sqrt(line.spread)
    return Trend(line.slope, line.slope - reach, line.slope + reach, line.n)


def arrival(iterations: ArrayLike, scores: ArrayLike, *, level: float, confidence: float = 0.95) -> Arrival:
    """The iteration at which a line through the logarithms of `scores` falls to `level`.

    The interval is Fieller's: all iterations at which a Student interval of the line holds the level. It is for the
    line; a single later score scatters around that. It takes the scores' deviations from a line for independent, and
    the level for known.

    Nothing is said (`Arrival.reason` tells why) with fewer than 4 scores, where the level has been reached, where the
    slope is not significantly negative (the interval would have no end), where the scores bend significantly away from
    a line, and where the interval ends more than 3 times as far ahead as the iterations span.

    Parameters
    ----------
    iterations, scores
        ``(n,)``; scores at least 0.
    level
        Above 0, in the units of the scores.
    confidence
        Between 0 and 1; also that of the tests.

    Raises
    ------
    InputError
        For differing lengths, values that are not finite, a score below 0 or a level not above 0.

    References
    ----------
    Fieller, "Some problems in interval estimation", J. R. Stat. Soc. B 16 (1954); Draper and Smith, "Applied
    regression analysis", section 3.2 (inverse regression).
    """
    level = check_real(level, name="level", above=0)
    x, y = _checked(iterations, scores)
    if np.any(y < 0):
        raise InputError(f"scores: expected values of at least 0, got {y.min()}.")
    if np.any(reached := y <= level):
        return Arrival(reason=f"the copying level was reached at iteration {x[np.argmax(reached)]:g}")
    line = _Line.through(x, np.log(y), confidence)
    if line is None:
        return Arrival(reason=f"{counted(len(x), 'iteration')} measured; a warning needs at least {_LEAST_POINTS}")
    if not line.falls:
        return Arrival(reason="the score does not fall significantly")
    if _bends(x, np.log(y), confidence):
        return Arrival(reason="the score does not fall along a line")
    low, at, high = line.meets(math.log(level))
    if high > x.max() + _HORIZON * (x.max() - x.min()):
        return Arrival(reason="the copying level is too far away for a warning")
    return Arrival(at, low, high)


@dataclass(frozen=True)
class _Line:
    """A least-squares line with its residual standard error, about the means of both coordinates."""

    n: int
    x: float
    y: float
    slope: float
    spread: float  # sum of (x_i - x)^2
    error: float
    t: float

    @classmethod
    def through(cls, iterations: ArrayLike, values: ArrayLike, confidence: float) -> _Line | None:
        x, y = _checked(iterations, values)
        if len(np.unique(x)) < _LEAST_POINTS:
            return None
        dx, dy = x - x.mean(), y - y.mean()
        spread = float(dx @ dx)
        slope = float(dx @ dy) / spread
        error = math.sqrt(float(np.square(dy - slope * dx).sum()) / (len(x) - 2))
        return cls(len(x), float(x.mean()), float(y.mean()), slope, spread, error, _quantile(confidence, len(x) - 2))

    @property
    def falls(self) -> bool:
        """Whether the slope is significantly negative."""
        return self.slope + self.t * self.error / math.sqrt(self.spread) < 0

    def meets(self, level: float) -> tuple[float, float, float]:
        """Low, estimate and high of where the line has the value `level`; for a line that falls."""
        distance = (level - self.y) / self.slope
        # Below 1, as the slope differs from 0 significantly.
        g = (self.t * self.error / self.slope) ** 2 / self.spread
        reach = self.t * self.error / abs(self.slope) * math.sqrt((1 - g) / self.n + distance**2 / self.spread)
        ends = [self.x + (distance + sign * reach) / (1 - g) for sign in (-1, 1)]
        return ends[0], self.x + distance, ends[1]


def _bends(x: NDArray[np.float64], y: NDArray[np.float64], confidence: float) -> bool:
    """Whether a parabola fits significantly better than a line; False where there are too few points to tell."""
    freedom = len(x) - 3
    if freedom < 2:
        return False
    basis = np.linalg.qr(np.vander(x - x.mean(), 3, increasing=True))[0]
    parts = basis.T @ y
    error = math.sqrt(max(0.0, float(np.square(y - basis @ parts).sum()) / freedom))
    # Below rounding error, values are on a line.
    return bool(abs(parts[2]) > max(_quantile(confidence, freedom) * error, 1e-9 * np.abs(y).max()))


def _quantile(confidence: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + check_real(confidence, name="confidence", above=0, below=1)) / 2, freedom))


def _series(rows: Sequence[Mapping[str, float | None]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = _finite(rows, key)
    return found[:, 0], found[:, 1]


def _finite(rows: Sequence[Mapping[str, float | None]], *keys: str) -> NDArray[np.float64]:
    """The iteration and the values of these keys, a row for each iteration that has all of them."""
    # None becomes NaN.
    found = np.array([[row.get(key) for key in ("iteration", *keys)] for row in rows], np.float64)
    found = found.reshape(-1, 1 + len(keys))
    return found[np.isfinite(found).all(axis=1)]


def _checked(iterations: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(iterations, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"expected as many values as iterations, got shapes {y.shape} and {x.shape}.")
    if n_bad := int(np.count_nonzero(~(np.isfinite(x) & np.isfinite(y)))):
        raise InputError(f"expected finite iterations and values, got {n_bad} of {len(x)} that are not.")
    return x, y
