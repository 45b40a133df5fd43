"""Approximate Greedy: what it certifies holds, whatever the pool, its shards, and what is lost on the way."""

from __future__ import annotations

import itertools
import math

import clouds
import numpy as np
import pytest
import reference

from entropick.errors import BudgetSpent, InputError
from entropick.selectors import ApproximateGreedy, Greedy, approximate, core_set
from entropick.selectors.core_set import Grid, pieces, proxies
from entropick.selectors.dealt import Dealt
from entropick.selectors.shards import InProcess, Part, Shard
from entropick.work import Work

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Core-sets of tiny pools, in several pieces and batches."""
    monkeypatch.setattr(approximate, "SAMPLED", 2)
    monkeypatch.setattr(approximate, "_PIECES", 1)
    monkeypatch.setattr(core_set, "PIECE", 24)
    monkeypatch.setattr(core_set, "_OF_CELL", 8)


def dealt(X, n_shards):
    of = np.random.default_rng(1).permutation(np.arange(len(X)) % n_shards)
    numbers = [np.flatnonzero(of == number) for number in range(n_shards)]
    return Dealt(X, InProcess([Shard(X[rows], whole=X) for rows in numbers]), list(map(Part, numbers)))


def copies(n, d, noise, seed=0):
    """A pool of which each row has four near copies somewhere."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.normal(size=(n // 5, d)), 5, axis=0)
    return rng.permutation(X + rng.normal(size=X.shape) * noise).astype(np.float32)


@pytest.mark.parametrize("eps", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_what_is_certified_holds(name, eps):
    X = clouds.cloud(name, 90, 4)
    found = ApproximateGreedy(n_samples=12, eps=eps, random_state=0).fit(X)
    rows = found.indices_.tolist()
    assert found.covering_radius_ == pytest.approx(reference.covering_radius(X, rows), rel=1e-12)
    assert found.core_radius_ <= found.covering_radius_ <= found.radius_at_most_
    np.testing.assert_allclose(found.distances_, reference.in_order(X, rows), rtol=1e-12)
    # What the factor says of the best is checked against Greedy, which is no better than the best.
    exact = Greedy(n_samples=12, random_state=0).fit(X)
    assert found.covering_radius_ <= found.factor_at_most_ * exact.covering_radius_ * (1 + 1e-12) or not math.isfinite(
        found.factor_at_most_
    )
    # The promise of eps, with Greedy's radius as what no other is half of.
    assert found.radius_at_most_ <= (2 + eps) * exact.covering_radius_ * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("eps", [0.2, 0.9])
def test_the_factor_holds_against_the_best_of_all_choices(eps, seed):
    X = copies(15, 2, 0.02, seed)
    for n in (2, 3):
        found = ApproximateGreedy(n_samples=n, eps=eps, random_state=seed).fit(X)
        best = min(reference.covering_radius(X, list(rows)) for rows in itertools.combinations(range(len(X)), n))
        assert found.covering_radius_ <= found.radius_at_most_ <= found.factor_at_most_ * best * (1 + 1e-12)
        assert found.factor_at_most_ <= 2 + 2 * found.core_distance_ / found.core_radius_ + 1e-9
        assert found.radius_at_most_ <= (2 + eps) * best * (1 + 1e-12)


@pytest.mark.parametrize("name", clouds.MAKERS)
def test_a_tiny_eps_is_greedy(name):
    X = clouds.cloud(name, 90, 4)
    found = ApproximateGreedy(n_samples=12, eps=1e-9, random_state=3).fit(X)
    exact = Greedy(n_samples=12, random_state=3).fit(X)
    np.testing.assert_array_equal(found.distances_, exact.distances_)
    assert found.covering_radius_ == pytest.approx(exact.covering_radius_, rel=1e-12)


def test_near_copies_fall_away():
    X = copies(200, 6, 1e-3)
    found = ApproximateGreedy(n_samples=20, eps=0.2, random_state=0).fit(X)
    assert found.core_rows_ < 120
    assert 0 < found.core_distance_ < 0.05
    assert found.facts_["factor_at_most"] < 2.2


def test_of_what_has_no_copies_all_rows_are_left_and_the_choice_is_greedy():
    X = np.random.default_rng(0).standard_normal((120, 60)).astype(np.float32)
    found = ApproximateGreedy(n_samples=12, eps=0.5, random_state=0).fit(X)
    exact = Greedy(n_samples=12, random_state=0).fit(X)
    assert (found.core_rows_, found.core_distance_, found.factor_at_most_) == (120, 0.0, 2.0)
    np.testing.assert_array_equal(found.indices_, exact.indices_)
    assert found.covering_radius_ == exact.covering_radius_


def test_a_small_pool_is_its_own_core_set():
    X = copies(40, 3, 1e-3)
    found = ApproximateGreedy(n_samples=20, eps=0.5, random_state=0).fit(X)
    assert found.core_rows_ == 40
    np.testing.assert_array_equal(found.indices_, Greedy(n_samples=20, random_state=0).fit(X).indices_)


RULES = {
    "plain": {"random_state": 0},
    "initial": {"initial": [5, 90, 6]},
    "quota": {"random_state": 0, "minimum": {1: 0.5, 2: 0.2}},
    "balanced": {"random_state": 0, "minimum": "balanced", "initial": [5]},
}


@pytest.mark.parametrize("n_shards", [2, 3, 7])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_equal_for_every_dealing(rule, n_shards):
    X, y = copies(150, 5, 0.02), np.repeat([0, 1, 2], [90, 40, 20])
    make = {"n_samples": 24, "eps": 0.4, **rule}
    expected = ApproximateGreedy(**make).fit(X, y)
    found = ApproximateGreedy(**make).fit(dealt(X, n_shards), y)
    assert found.facts_ == expected.facts_
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_shares_and_given_rows_are_kept(rule):
    X, y = copies(150, 5, 0.02), np.repeat([0, 1, 2], [90, 40, 20])
    found = ApproximateGreedy(n_samples=24, eps=0.4, **rule).fit(X, y)
    rows = found.indices_.tolist()
    initial = rule.get("initial", [])
    assert rows[: len(initial)] == initial
    counts = np.bincount(y[found.indices_])
    assert counts[1] >= {"quota": 12, "balanced": 8}.get(next(k for k, v in RULES.items() if v is rule), 0)
    assert found.covering_radius_ == pytest.approx(reference.covering_radius(X, rows), rel=1e-12)
    assert found.covering_radius_ <= found.radius_at_most_


def test_a_source_of_near_copies_still_gives_what_it_owes():
    X = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    X[80:] = X[80] + np.linspace(0, 1e-4, 20)[:, None]
    y = np.repeat([0, 1], [80, 20])
    found = ApproximateGreedy(n_samples=20, eps=0.5, random_state=0, minimum={1: 0.5}).fit(X, y)
    assert np.bincount(y[found.indices_])[1] == 10


class Forgetful(InProcess):
    """Loses a shard before every so many calls, and makes it anew from its rows."""

    def __init__(self, shards, every):
        super().__init__(shards)
        self.every, self.n_calls, self.n_lost = every, 0, 0

    def call(self, method, *arguments):
        self.n_calls += 1
        if self.n_calls % self.every == 0:
            lost = self.n_lost % len(self)
            old = self.shards[lost]
            self.shards[lost] = Shard(old.X, whole=old._whole)
            self.n_lost += 1
        return super().call(method, *arguments)


@pytest.mark.parametrize("every", [3, 4])
def test_lost_shards(every):
    X = copies(150, 5, 0.02)
    expected = ApproximateGreedy(n_samples=24, eps=0.4, random_state=0).fit(X)
    pool = dealt(X, 3)
    carrier = Forgetful(pool.carrier.shards, every)
    found = ApproximateGreedy(n_samples=24, eps=0.4, random_state=0).fit(Dealt(X, carrier, pool.parts))
    assert carrier.n_lost
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    assert found.facts_ == expected.facts_


class Interrupted(Work):
    """Ends at each checkpoint after the last, which it keeps."""

    def __init__(self):
        self.kept, self.n_left = {}, 0

    def due(self):
        self.n_left -= 1
        return self.n_left < 0

    def save(self, name, arrays, state):
        self.kept[name] = ({key: value.copy() for key, value in arrays.items()}, state)
        raise BudgetSpent("later")

    def load(self, name):
        return self.kept.get(name)


def test_goes_on_from_every_checkpoint():
    X = copies(150, 5, 0.02)
    make = {"n_samples": 24, "eps": 0.4, "random_state": 0}
    expected, work, n_interrupted = ApproximateGreedy(**make).fit(X), Interrupted(), 0
    for n in range(60):
        work.n_left = n % 2 + 1
        try:
            found = ApproximateGreedy(**make).fit(X, work=work)
            break
        except BudgetSpent:
            n_interrupted += 1
    assert n_interrupted > 2
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    assert found.facts_ == expected.facts_


@pytest.mark.parametrize("eps", [0, 1, -0.1, 1.5, math.nan, math.inf, "0.1", True, None])
def test_an_eps_that_says_nothing_is_refused(eps):
    with pytest.raises(InputError, match="eps: expected a number between 0 and 1"):
        ApproximateGreedy(n_samples=2, eps=eps).fit([[0.0], [1.0]])


@pytest.mark.parametrize("name", clouds.MAKERS)
def test_proxies_are_the_first_kept_row_within_the_limit(name, screened):
    X = clouds.cloud(name, 60, 20)
    squares = np.array([reference.squares_to(X.astype(np.float64), row) for row in range(len(X))])
    for limit in (0.0, float(np.quantile(squares, 0.02)), float(np.quantile(squares, 0.5))):
        kept, expected = [], []
        for row in range(len(X)):
            near = [other for other in kept if squares[row, other] <= limit]
            expected.append(near[0] if near else row)
            kept += [] if near else [row]
        of, found = proxies(X, limit)
        assert of.tolist() == expected
        np.testing.assert_allclose(found, squares[np.arange(len(X)), expected], rtol=1e-9)


@pytest.mark.parametrize("name", clouds.MAKERS)
def test_cells_follow_from_rows_alone(name):
    X = clouds.cloud(name, 200, 6)
    grid = Grid.of(X, np.arange(0, 200, 2))
    whole = grid.cells(X)
    parts = [grid.cells(X[rows]) for rows in np.array_split(np.arange(200), 13)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_pieces_are_all_rows_once_and_near_copies_share_one():
    X = copies(400, 8, 1e-4)
    y = np.arange(400) % 2
    cells = Grid.of(X, np.arange(400)).cells(X)
    of_pool = pieces(cells, y)
    np.testing.assert_array_equal(np.sort(np.concatenate(of_pool)), np.arange(400))
    assert all(len(rows) <= 24 and len(set(y[rows])) == 1 and (np.diff(rows) > 0).all() for rows in of_pool)
    squares = np.array([reference.squares_to(X.astype(np.float64), row) for row in range(400)])
    same_cell = cells[:, None] == cells
    assert same_cell[squares < 1e-4].mean() > 0.9


def test_a_grid_of_wide_rows():
    X = copies(60, 500, 1e-4)
    cells = Grid.of(X, np.arange(0, 60, 3)).cells(X)
    assert len(set(cells.tolist())) > 2
