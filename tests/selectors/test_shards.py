"""A pool in shards gives the rows of the whole pool, however it is dealt, and whichever shards are lost on the way."""

from __future__ import annotations

import pickle

import clouds
import numpy as np
import pytest
import reference

from entropick.errors import InputError, ProcessLost
from entropick.neighbors import growing_set
from entropick.selectors import Greedy, ThresholdDecay
from entropick.selectors import greedy as greedy_module
from entropick.selectors import threshold_decay as threshold_decay_module
from entropick.selectors.dealt import Dealt
from entropick.selectors.greedy import farthest_first
from entropick.selectors.shards import InProcess, Part, Shard, Shards
from entropick.work import Work

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(greedy_module, "_WIDTH", (8, 4, 16))
    monkeypatch.setattr(growing_set, "_BROUGHT", 2)


def dealt(X, n_shards, how, weights=None):
    """The rows of X in shards, and what may be picked in each: neighbours together, in turn, or at random."""
    of = {
        "in a row": np.arange(len(X)) * n_shards // len(X),
        "in turn": np.arange(len(X)) % n_shards,
        "at random": np.random.default_rng(0).permutation(np.arange(len(X)) % n_shards),
    }[how]
    numbers = [np.flatnonzero(of == number) for number in range(n_shards)]
    parts = [Part(rows, weights=None if weights is None else weights[rows]) for rows in numbers]
    return [Shard(X[rows]) for rows in numbers], parts


class Forgetful(InProcess):
    """Loses a shard before every so many calls, and makes it anew from its rows; what is sent is pickled."""

    def __init__(self, parts, every):
        super().__init__(parts)
        self.every, self.n_calls, self.n_lost = every, 0, 0

    def call(self, method, *arguments):
        self.n_calls += 1
        if self.n_calls % self.every == 0:
            lost = self.n_lost % len(self)
            self.shards[lost] = Shard(self.shards[lost].X)
            self.n_lost += 1
        return pickle.loads(pickle.dumps(super().call(method, *pickle.loads(pickle.dumps(arguments)))))


def test_all_is_computed_where_one_asks_for_it(monkeypatch):
    """Also what is compared beside the shards, as rows that are picked beforehand, and the radius after a quota."""
    asked = set()
    monkeypatch.setattr(growing_set, "usable_device", lambda device: asked.add(device) or "cpu")
    X, y = clouds.cloud("normal", 60, 5), np.arange(60) % 3
    Greedy(n_samples=20, initial=[4, 2], minimum="balanced", device="cpu").fit(X, y)
    shards, parts = dealt(X, 2, "in turn")
    for shard in shards:
        shard.device = "cpu"
    farthest_first(Shards(InProcess(shards), 9, parts, device="cpu"), np.array([3]), Work(), "selection")
    assert asked == {"cpu"}


def pick(carrier, parts, n, first):
    return farthest_first(Shards(carrier, n, parts), np.array(first), Work(), "selection")


@pytest.mark.parametrize(("n_shards", "how"), [(2, "in a row"), (3, "in turn"), (7, "at random")])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_the_rows_of_the_whole_pool(name, n_shards, how):
    X = clouds.cloud(name, 60, 6)
    expected = Greedy(n_samples=45, initial=[5, 3]).fit(X)
    shards, parts = dealt(X, n_shards, how)
    found = pick(InProcess(shards), parts, 45, [5, 3])
    np.testing.assert_array_equal(found.rows, expected.indices_)
    np.testing.assert_array_equal(found.distances, expected.distances_)
    assert found.facts == {"covering_radius": expected.covering_radius_}


@pytest.mark.parametrize("every", [3, 4])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_lost_shards_are_told_all_picks(name, every):
    X = clouds.cloud(name, 60, 6)
    shards, parts = dealt(X, 3, "in turn")
    carrier = Forgetful(shards, every)
    found = pick(carrier, parts, 40, [0])
    assert carrier.n_lost
    rows, distances = reference.greedy(X, 40, [0])
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


@pytest.mark.parametrize("name", clouds.MAKERS)
def test_every_round_picks_whatever_was_lost_before_it(name, screened):
    """A shard that is made anew knows no exact distance; with bounds alone a round might pick nothing."""
    X = clouds.cloud(name, 60, 20)
    shards, parts = dealt(X, 3, "in turn")
    asked = Shards(InProcess(shards), 40, parts)
    asked.accept(np.array([0]))
    while asked.missing:
        for number, shard in enumerate(shards):
            shards[number] = Shard(shard.X)
        fronts = asked.fronts(8)
        if not any(len(front.numbers) for front in fronts):
            break
        assert greedy_module._look_ahead(asked, fronts) > 0
    assert asked.filled()[0].tolist() == reference.greedy(X, 40, [0])[0]


@pytest.mark.parametrize("every", [3, 4])
@pytest.mark.parametrize("name", ["normal", "near copies", "copies", "integer grid", "all the same"])
def test_lost_shards_of_the_filter(name, every, monkeypatch):
    monkeypatch.setattr(threshold_decay_module, "_WIDTH", (8, 16))
    X = clouds.cloud(name, 60, 6)
    shards, parts = dealt(X, 3, "in turn")
    carrier = Forgetful(shards, every)
    make = {"n_samples": 40, "threshold": "auto", "decay": 0.7, "random_state": 0}
    found = ThresholdDecay(**make).fit(Dealt(X, carrier, parts))
    expected = ThresholdDecay(**make).fit(X)
    assert carrier.n_lost
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)
    assert found.facts_ == expected.facts_


def test_a_shard_made_anew_shows_few_picks_to_most_rows(monkeypatch):
    """Rows that are near a pick are not the farthest, whatever the others are."""
    monkeypatch.setattr(growing_set, "_TILE_COLUMNS", 4)
    X = clouds.cloud("normal", 600, 6)
    rows = Greedy(n_samples=200, initial=[0]).fit(X).indices_
    shard = Shard(X)
    asked = Shards(InProcess([shard]), 300, [Part(range(600))])
    asked.accept(rows)
    (front,) = asked.fronts(8)
    assert shard._growing._seen.mean() < 0.6 * len(rows)
    squares = np.square(np.linalg.norm(X[:, None].astype(float) - X[rows], axis=2)).min(1)
    np.testing.assert_allclose(front.squares, np.sort(squares)[-8:][np.argsort(np.argsort(squares[front.numbers]))])


def test_shards_that_are_lost_whenever_they_are_asked():
    shards, parts = dealt(clouds.cloud("normal", 60, 6), 3, "in turn")
    with pytest.raises(ProcessLost, match="one had been lost and was made anew"):
        pick(Forgetful(shards, 1), parts, 40, [0])


def test_weights_lie_with_their_rows():
    X = clouds.cloud("normal", 90, 6)
    weights = np.random.default_rng(0).uniform(0.1, 1.0, 90)
    shards, parts = dealt(X, 4, "at random", weights)
    found = pick(InProcess(shards), parts, 40, [2])
    assert found.rows.tolist() == reference.greedy(X, 40, [2], weights)[0]


def test_some_rows_of_each_shard():
    X = clouds.cloud("integer grid", 90, 6)
    shards = [Shard(X[:50]), Shard(X[50:])]
    parts = [Part(np.arange(10), np.arange(5, 15)), Part(range(10, 50))]
    found = pick(InProcess(shards), parts, 30, [12])
    candidates = np.concatenate([X[5:15], X[50:]])
    np.testing.assert_array_equal(found.rows, Greedy(n_samples=30, initial=[12]).fit(candidates).indices_)


def test_a_shard_far_from_all_others():
    X = clouds.cloud("normal", 60, 6)
    X[30:] *= 1e6
    shards, parts = dealt(X, 2, "in a row")
    found = pick(InProcess(shards), parts, 50, [0])
    np.testing.assert_array_equal(found.rows, Greedy(n_samples=50, initial=[0]).fit(X).indices_)


def test_a_part_whose_numbers_do_not_fit():
    with pytest.raises(InputError, match="expected one of each of 4 rows, got 3"):
        Shards(InProcess([Shard(np.zeros((4, 2), np.float32))]), 2, [Part(range(3))])
