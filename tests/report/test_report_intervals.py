"""Intervals against closed forms, another library, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from entropick.report.intervals import correlation, mean_difference
from entropick.report.relations import described


@pytest.mark.parametrize("n", [2, 3, 10])
def test_paired_differences_have_students_interval(n: int) -> None:
    values = np.random.default_rng(n).normal(1, 2, n)
    found = mean_difference(values.tolist())
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_one_seed_has_no_interval_and_takes_no_side() -> None:
    found = mean_difference([3.0])
    assert (found.estimate, found.low, found.high, found.side) == (3.0, None, None, 0)


def test_sides() -> None:
    assert [mean_difference(values).side for values in ([5.0, 5.1], [-5.0, -5.1], [-1.0, 1.0])] == [1, -1, 0]


def test_correlation_is_pearsons() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    found = correlation(x.tolist(), (x + y).tolist(), list(range(40)))
    assert found is not None and found.low is not None and found.high is not None
    assert found.estimate == pytest.approx(stats.pearsonr(x, x + y).statistic)
    assert found.low < found.estimate < found.high and found.n == 40


def test_one_seed_has_no_interval_of_r() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    found = correlation(x.tolist(), y.tolist(), [0] * 40)
    assert found is not None and (found.low, found.high) == (None, None) and found.n == 40


def test_intervals_of_r_hold_the_truth_over_seeds_that_differ() -> None:
    """Each seed has a shift of its own: points of one are no independent draws. 95 % of 200 should hold the truth."""
    rng, n_seeds, n_points, n_studies = np.random.default_rng(0), 5, 12, 200
    held = 0
    for _ in range(n_studies):
        shift = rng.normal(size=(2, n_seeds, 1))
        x, y = (shift + rng.normal(size=(2, n_seeds, n_points))).reshape(2, -1)
        found = correlation(x.tolist(), y.tolist(), np.repeat(np.arange(n_seeds), n_points).tolist())
        assert found is not None and found.low is not None and found.high is not None
        held += found.low <= 0 <= found.high
    assert 0.88 < held / n_studies < 0.99


def test_with_single_points_as_clusters_the_interval_is_that_of_fisher() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    y = 0.7 * x + rng.normal(size=400)
    found = correlation(x.tolist(), y.tolist(), list(range(400)))
    low, high = stats.pearsonr(x, y).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_points_that_repeat_in_a_cluster_do_not_narrow_the_interval() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 30))
    once = correlation(x.tolist(), y.tolist(), list(range(30)))
    often = correlation(np.repeat(x, 9).tolist(), np.repeat(y, 9).tolist(), np.repeat(np.arange(30), 9).tolist())
    assert once is not None and often is not None
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
def test_no_correlation_of_too_little(x: list[float], y: list[float]) -> None:
    assert correlation(x, y, list(range(len(x)))) is None


def test_few_clusters_have_no_interval() -> None:
    found = correlation([1.0, 2.0, 4.0, 5.0], [1.0, 3.0, 2.0, 5.0], ["a", "a", "b", "c"])
    assert found is not None and found.low is None and described(found) == "0.75"
