"""Least shares of sources: kept exactly, and nothing changes where the free choice keeps them anyway."""

from __future__ import annotations

import json

import clouds
import numpy as np
import pytest
import reference
from registered import makers
from sklearn.base import clone

from entropick.errors import InputError
from entropick.neighbors import nearest_neighbors
from entropick.selectors import DensityGreedy, Greedy, Random
from entropick.selectors.quotas import owed_rows, within_quotas

MAKE = makers(
    "selector",
    {
        "density-greedy": {"trusted": 2},
        "gist": {"trusted": 2},
        "latent-space-filter": {"trusted": 2},
        "threshold-decay": {"threshold": "auto"},
    },
)


def maker(kind):
    return lambda n, **more: MAKE[kind](n_samples=n, random_state=0, **more)


@pytest.fixture(params=MAKE)
def make(request):
    return maker(request.param)


@pytest.fixture(scope="module")
def X():  # noqa: N802 - a matrix
    """Source 0 in the middle, 1 around it, 2 far out: free choice prefers 2."""
    return np.concatenate([clouds.cloud("normal", 60, 4, seed) * scale for seed, scale in enumerate((1, 3, 30))])


Y = np.repeat([0, 1, 2], 60)


def plain_greedy(X, y, n, first, owed, weights=1.0):
    """One pick after another: the farthest of all that may be picked."""
    weights = np.broadcast_to(weights, len(X))
    rows = [first]
    while len(rows) < n:
        debts = {s: least - int(np.sum(y[rows] == s)) for s, least in owed.items()}
        must = n - len(rows) <= sum(max(debt, 0) for debt in debts.values())
        may = [r for r in range(len(X)) if r not in rows and (not must or debts.get(y[r], 0) > 0)]
        gaps = [weights[r] * min(np.sum((X[r].astype(float) - X[p]) ** 2) for p in rows) for r in may]
        rows.append(may[int(np.argmax(gaps))])
    return rows


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 1.0])
def test_the_density_is_that_of_all_trusted_rows_whoever_may_be_picked(X, share):
    owed = {2: int(40 * share)}
    weights = reference.density_weights(X, Y == 0, 5, 2.0)
    selector = DensityGreedy(n_samples=40, initial=[150], minimum={2: share}).fit(X, Y)
    assert selector.indices_.tolist() == plain_greedy(X, Y, 40, 150, owed, weights)


def test_greedy_picks_the_farthest_that_may_be_picked(X):
    for minimum in ({0: 0.5}, {0: 0.3, 1: 0.4}, {0: 1.0}, {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}):
        found = Greedy(n_samples=30, initial=[3], minimum=minimum).fit(X, Y)
        owed = {source: int(share * 30 + 1e-9) for source, share in minimum.items()}
        assert found.indices_.tolist() == plain_greedy(X, Y, 30, 3, owed)
        np.testing.assert_allclose(found.distances_, reference.in_order(X, found.indices_.tolist()))


def test_every_source_gets_its_minimum(make, X):
    for minimum in ({0: 0.5}, {0: 0.4, 1: 0.6}, {1: 0.01}, {"0": 0.25, 2: 0.75}, "balanced"):
        found = make(40, minimum=minimum).fit(X, Y)
        counts = np.bincount(Y[found.indices_], minlength=3)
        owed = owed_rows(minimum, Y, 40)
        assert len(set(found.indices_.tolist())) == 40
        assert all(counts[source] >= least for source, least in owed.items())
        assert found.min_distance_ == pytest.approx(min(reference.in_order(X, found.indices_.tolist())))


def test_balanced_is_as_even_as_can_be(make, X):
    assert np.bincount(Y[make(41, minimum="balanced").fit(X, Y).indices_]).tolist() == [14, 14, 13]
    few = np.where(np.arange(180) < 175, Y, 7)
    assert np.bincount(few[make(100, minimum="balanced").fit(X, few).indices_])[[0, 1, 2, 7]].tolist() == [
        32,
        32,
        31,
        5,
    ]


def test_a_minimum_that_is_kept_anyway_changes_nothing(make, X):
    free, bound = make(40).fit(X, Y), make(40, minimum={2: 0.2}).fit(X, Y)
    np.testing.assert_array_equal(free.indices_, bound.indices_)


def test_the_radius_is_that_of_all_rows(X):
    for make in (maker("greedy"), maker("threshold-decay")):
        found = make(20, minimum={0: 0.9}).fit(X, Y)
        gaps = np.linalg.norm(X[:, None].astype(float) - X[found.indices_], axis=2).min(axis=1)
        assert found.covering_radius_ == pytest.approx(gaps.max())
        assert found.covering_radius_ == nearest_neighbors(X, X[found.indices_]).distances.max()


def test_threshold_decay_keeps_its_distance(X):
    found = maker("threshold-decay")(40, minimum={0: 0.5}).fit(X, Y)
    assert found.min_distance_ > found.threshold_


def test_beside_rows_already_picked(make, X):
    found = make(20, initial=[100, 170], minimum={0: 0.9}).fit(X, Y)
    assert found.indices_[:2].tolist() == [100, 170] and np.all(Y[found.indices_[2:]] == 0)
    with pytest.raises(InputError, match="the 2 rows of initial do not leave them"):
        make(20, initial=[100, 170], minimum={0: 0.95}).fit(X, Y)


def test_rows_already_picked_come_first(make, X):
    found = make(20, initial=[7, 5, 100]).fit(X, Y)
    assert found.indices_[:3].tolist() == [7, 5, 100] and len(set(found.indices_.tolist())) == 20
    np.testing.assert_allclose(found.distances_, reference.in_order(X, found.indices_.tolist()))


@pytest.mark.parametrize(
    ("minimum", "message"),
    [
        ({9: 0.1}, "expected at least 2 rows of source 9, got 0"),
        ({0: 0.7, 1: 0.7}, "add up to at most 1, got 1.4"),
        ({0: -0.5}, "minimum of source 0"),
        ({0: "half"}, "minimum of source 0"),
        ({"real": 0.5}, "whole numbers as sources"),
        ({0: 0.1, "0": 0.2}, "every source once"),
        ("even", "balanced"),
        ([0.5], "balanced"),
    ],
)
def test_refuses_what_cannot_be_kept(make, X, minimum, message):
    with pytest.raises(InputError, match=message):
        make(20, minimum=minimum).fit(X, Y)


def test_stratify_goes_alone(X):
    with pytest.raises(InputError, match="stratify"):
        Random(n_samples=4, stratify=True, initial=[0]).fit(X)


def test_clone_and_describe():
    selector = Greedy(n_samples=4, minimum={0: 0.5})
    assert clone(selector).minimum == {0: 0.5}
    assert json.loads(json.dumps(selector.describe())) == selector.describe()


def test_debts():
    assert within_quotas(np.array([0, 1, 0, 0]), {}) == 4
    assert within_quotas(np.array([0, 0, 1, 0]), {1: 2}) == 3
    assert within_quotas(np.array([1, 1, 0, 0]), {1: 2}) == 4
