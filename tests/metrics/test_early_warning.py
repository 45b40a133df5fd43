"""early_warning: its lines against scipy, the coverage of its intervals, and its silence."""

import math

import numpy as np
import pytest
from scipy.stats import linregress, t

from entropick.errors import InputError
from entropick.metrics import early_warning
from entropick.metrics.early_warning import arrival, trend

ITERATIONS = np.arange(1, 9)


def ledger(ratios, entropies=None, space="pixels"):
    rows = [{"iteration": n, f"generalization_score_ratio/{space}": ratio} for n, ratio in enumerate(ratios, 1)]
    for row, entropy in zip(rows, entropies if entropies is not None else [], strict=False):
        row[f"knn_entropy/{space}"] = entropy
    return rows


def falling(rng, rate=0.12, noise=0.03, n=8):
    """Ratios of a loop that loses a constant share per iteration."""
    return np.exp(-rate * np.arange(1, n + 1) + rng.normal(scale=noise, size=n))


def test_trend_equals_scipy():
    y = np.random.default_rng(0).normal(size=8) - 0.5 * ITERATIONS
    ours, theirs = trend(ITERATIONS, y), linregress(ITERATIONS, y)
    reach = t.ppf(0.975, 6) * theirs.stderr
    assert (ours.slope, ours.low, ours.high) == pytest.approx(
        (theirs.slope, theirs.slope - reach, theirs.slope + reach), rel=1e-12
    )
    assert ours.n == 8


def test_the_ends_are_where_the_band_of_the_line_meets_the_level():
    scores = falling(np.random.default_rng(0))
    found, level = arrival(ITERATIONS, scores, level=0.2), math.log(0.2)
    line = linregress(ITERATIONS, np.log(scores))
    error = math.sqrt(np.square(np.log(scores) - line.intercept - line.slope * ITERATIONS).sum() / 6)

    def distance(x):
        band = error * math.sqrt(1 / 8 + (x - 4.5) ** 2 / np.square(ITERATIONS - 4.5).sum())
        return abs(line.intercept + line.slope * x - level) / band

    assert found.iteration == pytest.approx((level - line.intercept) / line.slope)
    assert distance(found.low) == pytest.approx(t.ppf(0.975, 6)) == pytest.approx(distance(found.high))
    assert found.low < found.iteration < found.high


def test_coverage_on_simulated_ledgers():
    # exp(-0.12 n) falls to 0.2 at n = 13.4. Of 400 intervals 95 % hold it; 92 % is four standard errors below.
    rng = np.random.default_rng(0)
    truth = math.log(0.2) / -0.12
    found = [early_warning(ledger(falling(rng)), copying_ratio=0.2, space="pixels").arrival for _ in range(400)]
    told = [f for f in found if f.iteration is not None]
    assert len(told) > 360  # 5 % look bent by chance
    held = np.mean([f.low <= truth <= f.high for f in told])
    assert 0.91 < held < 0.99
    assert np.median([f.iteration for f in told]) == pytest.approx(truth, rel=0.02)


def test_coverage_of_slopes():
    rng = np.random.default_rng(1)
    found = [early_warning(ledger(falling(rng)), copying_ratio=0.2, space="pixels").log_score for _ in range(400)]
    assert 0.91 < np.mean([f.low <= -0.12 <= f.high for f in found]) < 0.99


def test_flat_ledgers_are_left_alone():
    rng = np.random.default_rng(0)
    found = [arrival(ITERATIONS, np.exp(rng.normal(scale=0.05, size=8)), level=0.3) for _ in range(400)]
    # A two-sided test at 5 % takes one in forty flat ledgers for a falling one; most of those are too far away.
    assert np.mean([f.iteration is not None for f in found]) < 0.03
    assert {f.reason for f in found if f.iteration is None} >= {"the score does not fall significantly"}
    assert all(bool(f.reason) == (f.iteration is None) == (f.low is None) == (f.high is None) for f in found)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([], "0 iterations measured; a warning needs at least 4"),
        ([0.9, 0.8, 0.7], "3 iterations measured; a warning needs at least 4"),
        ([0.9, 0.9, 0.9, 0.9, 0.9], "the score does not fall significantly"),
        ([0.5, 0.6, 0.7, 0.8, 0.9], "the score does not fall significantly"),
        ([0.9, 0.5, 0.25, 0.4, 0.15], "the copying level was reached at iteration 5"),
        ([0.9, 0.5, 0.1, 0.0, 0.3], "the copying level was reached at iteration 3"),
        ([0.9, 0.6, 0.45, 0.40, 0.38, 0.37, 0.365, 0.363], "the score does not fall along a line"),
        ([0.99, 0.97, 0.98, 0.955, 0.95, 0.93], "the copying level is too far away for a warning"),
    ],
)
def test_silence(scores, reason):
    found = early_warning(ledger(scores), copying_ratio=0.2, space="pixels").arrival
    assert found.iteration is None and found.low is None and found.high is None
    assert found.reason == reason


def test_a_perfect_line():
    found = arrival(ITERATIONS, np.exp(-0.2 * ITERATIONS), level=math.exp(-2.4))
    assert (found.low, found.iteration, found.high) == pytest.approx((12, 12, 12))


def test_entropy_and_score_of_one_space():
    entropies = [-3.0 * n + 0.1 * (-1) ** n for n in range(1, 7)]
    rows = ledger([0.9**n for n in range(1, 7)], entropies)
    other = ledger([0.5] * 6, space="dino")
    merged = [{**a, **b} for a, b in zip(rows, other, strict=True)]
    found = early_warning(merged, copying_ratio=0.2, space="pixels")
    assert found.entropy.low < -3 < found.entropy.high and found.entropy.n == 6
    assert found.log_score.slope == pytest.approx(math.log(0.9))
    assert early_warning(merged, copying_ratio=0.2, space="dino").entropy is None


def test_values_that_are_missing_are_left_out():
    rows = ledger([0.9, None, 0.8, 0.72, 0.65], [None, -math.log(2), 1.0, 2.0, 3.0])
    found = early_warning([*rows, {"iteration": 6}], copying_ratio=0.2, space="pixels")
    assert found.log_score.n == 4 and found.entropy.n == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0}, "level: expected"),
        ({"confidence": 1.5}, "confidence: expected"),
        ({"scores": [1, 2]}, "as many values as iterations"),
        ({"scores": [np.nan] * 8}, "finite iterations and values, got 8 of 8"),
        ({"scores": [-1.0] * 8}, "scores: expected values of at least 0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(InputError, match=message):
        arrival(**({"iterations": ITERATIONS, "scores": 0.9**ITERATIONS, "level": 0.2} | arguments))


def test_a_row_without_its_iteration_is_named():
    with pytest.raises(InputError, match="the iteration of every row"):
        early_warning([{"knn_entropy/pixels": 1.0}], copying_ratio=0.2, space="pixels")


def told_of(ratios, spaced, variances):
    measured = {"spacing_ratio/pixels": spaced, "total_variance/pixels": variances}
    rows = ledger(ratios)
    for name, values in measured.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return early_warning(rows, copying_ratio=0.2, space="pixels")


@pytest.mark.parametrize(
    ("copied", "shrunk", "crowded", "what"),
    [
        (0.8, 1.0, 1.0, "copying"),
        (1.0, 0.8, 1.0, "contraction"),
        (1.0, 1.0, 0.8, "crowding"),
        (0.89, 0.9, 1.0, "copying and contraction"),
        (1.0, 0.9, 0.89, "crowding and contraction"),
        (1.05, 0.8, 1.0, "contraction"),
        (0.8, 1.05, 1.0, "copying"),
        (1.1, 1.1, 1.0, ""),
    ],
)
def test_it_says_what_is_coming(copied, shrunk, crowded, what):
    n = np.arange(1, 7)
    found = told_of(0.9 * (copied * shrunk * crowded) ** n, copied**n, 50.0 * shrunk ** (2 * n))
    assert found.what == what
    slopes = [found.copying.slope, found.contraction.slope, found.crowding.slope]
    assert slopes == pytest.approx([math.log(copied), math.log(shrunk), math.log(crowded)], abs=1e-12)
    assert sum(slopes) == pytest.approx(found.log_score.slope)


@pytest.mark.parametrize("missing", ["spaced", "variances"])
def test_where_a_part_is_missing_it_says_so_by_silence(missing):
    n = np.arange(1, 7)
    whole = {"spaced": 0.9**n, "variances": 50.0 * 0.9**n}
    found = told_of(0.8**n, **whole | {missing: [None] * 6})
    assert found.what == "" and found.copying is None
    assert found.log_score.n == 6
    found = told_of(0.8**n, **whole | {missing: [0.9, 0.8, None, 0.0, 0.5, 0.4]})
    assert found.what and found.copying.n == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_not_finite_counts_as_missing(value):
    """As the ratio over a spacing of 0 is, or a gap in a table of others."""
    n = np.arange(1, 7)
    found = told_of(0.8**n, [0.9, 0.8, value, 0.6, 0.5, 0.4], [1.0] * 6)
    assert found.copying.n == 5 and found.what == "copying"
    rows = ledger([0.9, 0.8, value, 0.64, 0.6])
    assert early_warning(rows, copying_ratio=0.2, space="pixels").log_score.n == 4


def test_no_cause_is_named_of_a_score_that_does_not_fall():
    """Copies from the first iteration on, which scatter."""
    rng = np.random.default_rng(0)
    told = [told_of(*(0.1 * np.exp(0.02 * rng.normal(size=(3, 8))))).what for _ in range(200)]
    assert np.mean([bool(what) for what in told]) < 0.06
