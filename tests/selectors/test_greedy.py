"""Greedy against the plain float64 loop."""

from __future__ import annotations

import clouds
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entropick.errors import DuplicateWarning, InputError
from entropick.neighbors import growing_set
from entropick.selectors import greedy as module
from entropick.selectors.greedy import Greedy

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")

# Values of which many are equal, close to each other, or far off.
VALUES = st.integers(-2, 2).map(float) | st.sampled_from([1.0001, 1e3, 1e3 + 1e-4]) | st.floats(-100, 100, width=32)


def check(X, n, initial):
    selector = Greedy(n_samples=n, initial=initial).fit(X)
    rows, distances = reference.greedy(X, n, initial)
    np.testing.assert_array_equal(selector.indices_, rows)
    np.testing.assert_array_equal(selector.distances_, distances)
    assert selector.covering_radius_ == reference.covering_radius(X, rows)
    assert selector.min_distance_ == reference.smallest_pair(X, rows)


@pytest.mark.parametrize("width", [(8, 4, 16), (256, 32, 512)])
@pytest.mark.parametrize("d", [1, 30])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_equals_the_plain_loop(name, d, width, monkeypatch, screened):
    monkeypatch.setattr(module, "_WIDTH", width)
    monkeypatch.setattr(growing_set, "_BROUGHT", 2)
    monkeypatch.setattr(growing_set, "_OVERLAP", 2)
    check(clouds.cloud(name, 120, d), 70, [3])


@pytest.mark.parametrize("seed", range(15))
def test_equals_the_plain_loop_for_any_size(seed, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "_WIDTH", (4, 2, 8))
    rng = np.random.default_rng(seed)
    N, d = rng.integers(1, 90), rng.integers(1, 12)
    n = int(rng.integers(1, N + 1))
    initial = rng.permutation(N)[: rng.integers(1, n + 1)].tolist()
    check(clouds.cloud(rng.choice(list(clouds.MAKERS)), N, d, seed), n, initial)


@pytest.mark.parametrize("seed", range(12))
def test_of_rows_equally_far_the_lowest(seed, monkeypatch):
    monkeypatch.setattr(module, "_WIDTH", (6, 3, 12))
    monkeypatch.setattr(growing_set, "_BROUGHT", 1)
    rng = np.random.default_rng(seed)
    X = rng.permutation(np.indices((9, 7)).reshape(2, -1).T).astype(np.float32)
    check(X, 60, [0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(X=hnp.arrays(np.float32, st.tuples(st.integers(1, 25), st.integers(1, 20)), elements=VALUES), data=st.data())
def test_equals_the_plain_loop_for_any_rows(X, data):
    n = data.draw(st.integers(1, len(X)))
    check(X, n, [data.draw(st.integers(0, len(X) - 1))])


@pytest.mark.parametrize("name", ["normal", "copies", "integer grid"])
def test_all_rows(name):
    X = clouds.cloud(name, 50, 5)
    check(X, 50, [0])
    assert sorted(Greedy(n_samples=50).fit(X).indices_) == list(range(50))


def test_one_row():
    selector = Greedy(n_samples=1).fit([[1.0, 2.0]])
    assert selector.indices_.tolist() == [0] and selector.distances_.tolist() == [np.inf]
    assert selector.covering_radius_ == 0.0 and selector.summary()["min_distance"] is None


def test_first_row_is_random():
    X = clouds.cloud("normal", 50, 5)
    firsts = {int(Greedy(n_samples=1, random_state=seed).fit(X).indices_[0]) for seed in range(20)}
    assert len(firsts) > 5


def test_empty_initial_is_none():
    X = clouds.cloud("normal", 20, 3)
    a, b = (Greedy(n_samples=5, initial=initial, random_state=1).fit(X) for initial in ([], None))
    np.testing.assert_array_equal(a.indices_, b.indices_)


def test_initial_rows_may_be_copies_of_one_another():
    X = clouds.cloud("copies", 30, 3)
    X[5] = X[9]
    check(X, 8, [9, 5, 1])


def test_a_copy_is_never_picked_while_a_distinct_row_is_left():
    X = np.repeat(clouds.cloud("near copies", 40, 8), 3, axis=0)
    with pytest.warns(DuplicateWarning, match="expected 100 distinct points, got 40 and filled up with 60 copies"):
        selector = Greedy(n_samples=100, random_state=0).fit(X)
    assert len(np.unique(X[selector.indices_[:40]], axis=0)) == 40
    assert (np.diff(selector.indices_[40:]) > 0).all()


def test_near_copies_crowding_a_tile(monkeypatch):
    monkeypatch.setattr(growing_set, "_CROWD_PAIRS", 10)
    check(clouds.cloud("clusters", 150, 30), 100, [0])


def test_work_hears_of_progress():
    from entropick.work import Work

    heard = []

    class Ears(Work):
        def progress(self, done, total, note=""):
            heard.append((done, total))

    Greedy(n_samples=20).fit(clouds.cloud("normal", 50, 3), work=Ears())
    assert heard[-1] == (20, 20)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ([0, 0], "different rows"),
        ([0, 1, 2, 3], "at most n_samples=3"),
        ([[0], [1]], "shape"),
        ([0.5], "whole row numbers"),
        ([99], "rows from 0 to 9"),
        ([-1], "rows from 0 to 9"),
    ],
)
def test_refuses_bad_initial(initial, message):
    with pytest.raises(InputError, match=message):
        Greedy(n_samples=3, initial=initial).fit(clouds.cloud("normal", 10, 2))
