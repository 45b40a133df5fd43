"""Density Greedy against the plain weighted float64 loop, and what it is for."""

from __future__ import annotations

import clouds
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits

from entropick.errors import InputError
from entropick.neighbors import growing_set, nearest_neighbors
from entropick.selectors import DensityGreedy, Greedy, Random
from entropick.selectors import greedy as module

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")

VALUES = st.floats(-100, 100, width=32)
# Clouds in which no trusted row has two copies for every other.
NAMES = [name for name in clouds.MAKERS if name not in ("all the same", "integer grid", "copies")]


def check(X, y, n, *, k=2, power=2.0):
    selector = DensityGreedy(n_samples=n, initial=[0], k=k, power=power).fit(X, y)
    weights = reference.density_weights(X, y == 0, k, power)
    rows, distances = reference.greedy(X, n, [0], weights)
    np.testing.assert_array_equal(selector.indices_, rows)
    np.testing.assert_array_equal(selector.distances_, distances)
    assert selector.covering_radius_ == reference.covering_radius(X, rows)


@pytest.mark.parametrize("power", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("d", [1, 30])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_plain_loop(name, d, power, monkeypatch, screened):
    monkeypatch.setattr(module, "_WIDTH", (8, 4, 16))
    monkeypatch.setattr(growing_set, "_BROUGHT", 2)
    monkeypatch.setattr(growing_set, "_OVERLAP", 2)
    check(clouds.cloud(name, 120, d), np.arange(120) % 3, 70, power=power)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    X=hnp.arrays(
        np.float32, st.tuples(st.integers(6, 25), st.integers(1, 20)), elements=st.floats(-100, 100, width=32)
    ),
    data=st.data(),
)
def test_equals_the_plain_loop_for_any_rows(X, data):
    y = np.arange(len(X)) % 3 // 2
    # No trusted row is a copy.
    X[y == 0, 0] = np.arange(101, 101 + np.count_nonzero(y == 0))
    check(X, y, data.draw(st.integers(1, len(X))), k=1, power=data.draw(st.floats(0, 6)))


def test_power_zero_is_greedy():
    X, y = clouds.cloud("outliers", 80, 4), np.arange(80) % 2
    plain = Greedy(n_samples=40, random_state=3).fit(X)
    np.testing.assert_array_equal(
        DensityGreedy(n_samples=40, random_state=3, power=0).fit(X, y).indices_, plain.indices_
    )


def test_takes_what_is_new_and_leaves_what_is_off_the_data():
    digits = np.random.default_rng(0).permutation(load_digits().data).astype(np.float32)
    noise = np.random.default_rng(1).integers(0, 17, (100, 64)).astype(np.float32)
    # Two digits in one image: nearer to digits than noise is, and yet none.
    blends = np.maximum(digits[1200:1495], digits[1495:1790])
    X, y = np.concatenate([digits[:1200], noise, blends]), np.repeat([0, 1], [600, 995])
    kinds = np.repeat([0, 1, 2], [1200, 100, 295])
    chosen = {cls: cls(n_samples=400, random_state=0).fit(X, y).indices_ for cls in (Greedy, DensityGreedy, Random)}
    counts = {cls: np.bincount(kinds[rows], minlength=3) for cls, rows in chosen.items()}
    assert counts[Greedy][1] == 100 and counts[Greedy][2] > counts[Random][2]
    assert counts[DensityGreedy][1] == 0 and counts[DensityGreedy][2] < counts[Random][2] / 3
    # Yet what it takes of the digits is spread wider than a random choice of as many.
    taken = chosen[DensityGreedy][kinds[chosen[DensityGreedy]] == 0]
    at_random = np.random.default_rng(2).permutation(1200)[: len(taken)]
    nearest = [nearest_neighbors(X[rows], X[rows], exclude_self=True).distances.mean() for rows in (taken, at_random)]
    assert nearest[0] > 1.05 * nearest[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"power": -1.0}, "power: expected a number of at least 0"),
        ({"power": float("nan")}, "power"),
        ({"quantile": 1.0}, "quantile: expected a number between 0 and 1"),
        ({"k": 0}, "k: expected"),
        ({"trusted": 7}, "more than k = 5 rows of source 7, got 0"),
        ({"k": 20}, "more than k = 20 rows"),
    ],
)
def test_unusable_parameters(given, message):
    with pytest.raises(InputError, match=message):
        DensityGreedy(n_samples=3, **given).fit(np.arange(20.0)[:, None], y=[0] * 20)


def test_trusted_rows_that_are_all_the_same():
    with pytest.raises(InputError, match="expected different rows"):
        DensityGreedy(n_samples=3).fit(np.ones((20, 2)), y=[0] * 20)
