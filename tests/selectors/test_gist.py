"""GIST against the plain algorithm, and its factor against the best of all sets of tiny pools."""

from __future__ import annotations

import itertools
import math

import clouds
import numpy as np
import pytest
import reference

from entropick.errors import InputError
from entropick.selectors import Gist, Greedy
from entropick.selectors import threshold_decay as scanning

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


def table(X):
    X = np.asarray(X, np.float64)
    return np.sqrt(np.square(X[:, None] - X[None]).sum(axis=2))


def worth(distances, utility, rows, reach, diversity):
    """What is maximized, from the table of all distances."""
    smallest = min(distances[a, b] for a, b in itertools.combinations(rows, 2))
    return float(np.mean([utility[row] for row in rows])) + diversity * smallest / reach


def plain(X, n, utility, order, *, diversity, epsilon):
    """The algorithm as it is said: a set for each threshold, row by row; the best of them and of the farthest-first."""
    distances = table(X)
    farthest, _ = reference.greedy(X, n, [int(order[0])])
    reach = min(reference.in_order(X, farthest)[1:])
    n_steps = math.ceil(math.log(4 / epsilon) / math.log1p(epsilon))
    best, value = farthest, worth(distances, utility, farthest, reach, diversity)
    for threshold in [*(2 * reach / (1 + epsilon) ** step for step in range(n_steps + 1)), 0.0]:
        rows = []
        for row in order.tolist():
            if len(rows) < n and all(distances[row, other] > threshold for other in rows):
                rows.append(row)
        if len(rows) == n and (of := worth(distances, utility, rows, reach, diversity)) > value + 1e-12:
            best, value = rows, of
    return best, reach


@pytest.mark.parametrize("diversity", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("name", ["normal", "near copies", "clusters", "outliers", "sorted line", "far to near"])
def test_equals_the_plain_algorithm(name, diversity, monkeypatch, screened):
    monkeypatch.setattr(scanning, "_WIDTH", (16, 32))
    X = clouds.cloud(name, 70, 3)
    utility = np.random.default_rng(1).permutation(70) / 70
    order = np.argsort(-utility)
    found = Gist(n_samples=20, utility=utility, diversity=diversity, epsilon=0.3).fit(X)
    rows, _ = plain(X, 20, utility, order, diversity=diversity, epsilon=0.3)
    assert found.indices_.tolist() == rows
    np.testing.assert_array_equal(found.distances_, reference.in_order(X, rows))
    assert found.covering_radius_ == reference.covering_radius(X, rows)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
@pytest.mark.parametrize("diversity", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_set_is_better_by_more_than_the_factor(seed, diversity, epsilon):
    rng = np.random.default_rng(seed)
    n, X, utility = int(rng.integers(2, 6)), rng.normal(size=(12, 2)), rng.exponential(size=12)
    if seed % 2:
        # What is worth most lies close together.
        utility = 1 / (0.1 + np.linalg.norm(X, axis=1))
    found = Gist(n_samples=n, utility=utility, diversity=diversity, epsilon=epsilon).fit(X).indices_.tolist()
    distances, reach = (
        table(X.astype(np.float32)),
        plain(X.astype(np.float32), n, utility, np.argsort(-utility), diversity=diversity, epsilon=epsilon)[1],
    )
    best = max(worth(distances, utility, rows, reach, diversity) for rows in itertools.combinations(range(12), n))
    assert worth(distances, utility, found, reach, diversity) >= best / (2 * (1 + epsilon))


def test_without_diversity_it_takes_what_is_worth_most_and_with_much_what_is_far_apart():
    X, utility = clouds.cloud("normal", 60, 2), np.linspace(0, 1, 60)
    assert sorted(Gist(n_samples=9, utility=utility, diversity=0).fit(X).indices_) == list(range(51, 60))
    far = Gist(n_samples=9, utility=utility, diversity=100).fit(X)
    greedy = Greedy(n_samples=9, initial=[59]).fit(X)
    assert far.min_distance_ >= greedy.min_distance_
    assert far.threshold_ <= far.min_distance_


def test_density_is_worth_less_off_the_trusted_rows():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(80, 2)), rng.normal(size=(10, 2)) + 30])
    y = np.repeat([0, 1], [80, 10])
    by_density = Gist(n_samples=20, random_state=0, diversity=0.5).fit(X, y)
    alike = Gist(n_samples=20, random_state=0, utility="uniform").fit(X, y)
    assert (by_density.indices_ >= 80).sum() < (alike.indices_ >= 80).sum()
    assert by_density.trusts == (0,) and alike.trusts == () and alike.least_trusted == 0


def test_picks_that_are_given_stay_and_shares_are_kept():
    X, y = clouds.cloud("normal", 60, 3), np.repeat([0, 1], [45, 15])
    found = Gist(n_samples=20, utility="uniform", initial=[5, 6], minimum={1: 0.5}, random_state=0).fit(X, y)
    assert found.indices_[:2].tolist() == [5, 6] and (y[found.indices_] == 1).sum() >= 10
    np.testing.assert_array_equal(found.distances_, reference.in_order(X, found.indices_.tolist()))
    assert found.covering_radius_ == reference.covering_radius(X, found.indices_.tolist())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"utility": "beauty"}, 'utility: expected "density", "uniform" or a number per row, got \'beauty\''),
        ({"utility": [1.0, -1.0]}, "finite numbers .* of at least 0"),
        ({"utility": [1.0, float("nan")]}, "finite numbers"),
        ({"utility": [1.0, 2.0]}, "utility: expected a number for each of the 20 rows of X, got 2"),
        ({"diversity": -1.0}, "diversity: expected a number of at least 0"),
        ({"epsilon": 1.0}, "epsilon: expected a number between 0 and 1"),
        ({"k": 0}, "k: expected"),
        ({"trusted": 7}, "more than k = 5 rows of source 7, got 0"),
    ],
)
def test_unusable_parameters(given, message):
    with pytest.raises(InputError, match=message):
        Gist(n_samples=3, **given).fit(np.arange(20.0)[:, None], y=[0] * 20)


def test_trusted_rows_that_are_all_the_same():
    with pytest.raises(InputError, match="expected different rows"):
        Gist(n_samples=3).fit(np.ones((20, 2)), y=[0] * 20)
