"""A pool in shards gives the rows of the whole pool, however it is dealt, and whichever shards are lost on the way."""

from __future__ import annotations

import clouds
import numpy as np
import pytest
import reference

from entropick.selectors import Greedy, shards
from entropick.selectors import greedy as greedy_module
from entropick.selectors.greedy import farthest_first
from entropick.selectors.shards import InProcess, Shard, Shards
from entropick.work import Work

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(greedy_module, "_WIDTH", (8, 4, 16))
    monkeypatch.setattr(shards, "_BROUGHT", 2)


def dealt(X, n_shards, how, seed=0):
    """The rows of X in shards: neighbours together, in turn, or at random."""
    of = {
        "in a row": np.arange(len(X)) * n_shards // len(X),
        "in turn": np.arange(len(X)) % n_shards,
        "at random": np.random.default_rng(seed).permutation(np.arange(len(X)) % n_shards),
    }[how]
    return [Shard(X[of == number], np.flatnonzero(of == number)) for number in range(n_shards)]


class Forgetful(InProcess):
    """Loses a shard before every third call, and makes it anew from its rows."""

    def __init__(self, parts):
        super().__init__(parts)
        self.n_calls = self.n_lost = 0

    def call(self, method, *arguments):
        self.n_calls += 1
        if method == "begin":
            self.beginnings = list(zip(*arguments, strict=True))
        elif self.n_calls % 3 == 0 and hasattr(self, "beginnings"):
            lost = self.n_lost % len(self)
            old = self.shards[lost]
            self.shards[lost] = Shard(old.X, old.numbers)
            self.shards[lost].begin(*self.beginnings[lost])
            self.n_lost += 1
        return super().call(method, *arguments)


def pick(carrier, n, first, weights=None):
    return farthest_first(Shards(carrier, n, weights), np.array(first), Work(), "selection")


@pytest.mark.parametrize(("n_shards", "how"), [(2, "in a row"), (3, "in turn"), (7, "at random")])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_the_rows_of_the_whole_pool(name, n_shards, how):
    X = clouds.cloud(name, 60, 6)
    expected = Greedy(n_samples=45, initial=[5, 3]).fit(X)
    found = pick(InProcess(dealt(X, n_shards, how)), 45, [5, 3])
    np.testing.assert_array_equal(found.rows, expected.indices_)
    np.testing.assert_array_equal(found.distances, expected.distances_)
    assert found.facts == {"covering_radius": expected.covering_radius_}


@pytest.mark.parametrize("name", clouds.MAKERS)
def test_lost_shards_are_told_all_picks(name):
    X = clouds.cloud(name, 60, 6)
    carrier = Forgetful(dealt(X, 3, "in turn"))
    found = pick(carrier, 40, [0])
    assert carrier.n_lost > 2
    rows, distances = reference.greedy(X, 40, [0])
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


def test_weights_lie_with_their_rows():
    X = clouds.cloud("normal", 90, 6)
    weights = np.random.default_rng(0).uniform(0.1, 1.0, 90)
    parts = dealt(X, 4, "at random")
    found = pick(InProcess(parts), 40, [2], [weights[part.numbers] for part in parts])
    assert found.rows.tolist() == reference.greedy(X, 40, [2], weights)[0]


def test_a_shard_far_from_all_others():
    X = clouds.cloud("normal", 60, 6)
    X[30:] *= 1e6
    found = pick(InProcess(dealt(X, 2, "in a row")), 50, [0])
    np.testing.assert_array_equal(found.rows, Greedy(n_samples=50, initial=[0]).fit(X).indices_)


def test_a_shard_whose_numbers_do_not_fit():
    from entropick.errors import InputError

    with pytest.raises(InputError, match="expected one of each of 4 rows, got 3"):
        Shard(np.zeros((4, 2), np.float32), np.arange(3))
