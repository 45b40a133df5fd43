"""Duplicates in a pool: planted ones are found, a clean pool has none, whatever its scale, density and dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from entropick.arrays import JoinedRows
from entropick.selection.duplicates import Duplicates, find_duplicates

NONE = np.empty(0, np.int64)


def found(X: Any, preferred: Any = NONE, **more: Any) -> Duplicates:
    return find_duplicates(np.asarray(X, np.float32), np.asarray(preferred), np.random.default_rng(0), **more)


def groups(of: Duplicates) -> list[list[int]]:
    return [of.rows[of.groups == group].tolist() for group in range(of.n_groups)]


CLEAN = {
    "even in 2 dimensions": lambda rng: rng.random((2000, 2)),
    "even in 10": lambda rng: rng.random((2000, 10)) * 1e-3,
    "a Gaussian in 3": lambda rng: rng.standard_normal((2000, 3)),
    "clusters of other densities": lambda rng: np.concatenate(
        [rng.standard_normal((500, 4)) * 10**power + 100 * power for power in range(4)]
    ),
    "5 dimensions among 50": lambda rng: rng.random((2000, 5)) @ rng.standard_normal((5, 50)),
    "100 dimensions": lambda rng: rng.standard_normal((1000, 100)),
    "digits": lambda rng: load_digits().data,
}


@pytest.mark.parametrize("kind", CLEAN)
def test_a_clean_pool_has_none(kind: str) -> None:
    # A tenth of a row on average; digits have a pair or two that a person would call alike.
    named = [found(CLEAN[kind](np.random.default_rng(seed))).n_groups for seed in range(1 if kind == "digits" else 4)]
    assert sum(named) <= (3 if kind == "digits" else 1)


@pytest.mark.parametrize("kind", CLEAN)
def test_planted_ones_are_found_in_groups(kind: str) -> None:
    rng = np.random.default_rng(5)
    X = CLEAN[kind](rng).astype(np.float32)
    n, scale = len(X), np.abs(np.diff(X[:2], axis=0)).max() * 1e-4
    nearly = X[[10, 10, 11]] + rng.uniform(-scale, scale, (3, X.shape[1])).astype(np.float32)
    of = found(np.concatenate([X, nearly, X[[12, 12, 12]]]))
    assert {(10, n, n + 1), (11, n + 2), (12, n + 3, n + 4, n + 5)} <= set(map(tuple, groups(of)))
    assert of.dimension is not None and 0 < of.share <= 0.5 and of.n_distinct == len(np.unique(X, axis=0)) + 3
    assert of.n_looked_up == of.n_distinct


def test_a_pool_of_pairs_is_seen_as_one() -> None:
    X = np.random.default_rng(0).random((400, 4))
    of = found(np.concatenate([X, X + 1e-4]))
    assert sorted(groups(of)) == [[row, row + 400] for row in range(400)]


def test_what_is_to_be_kept_comes_first() -> None:
    X = np.random.default_rng(0).random((50, 2))
    X[[20, 30, 40]] = X[10]
    X[[5, 6]] += X[[4, 4]] - X[[5, 6]]
    of = found(X, [30, 49, 20, 6])
    assert groups(of) == [[6, 4, 5], [30, 20, 10, 40]]
    assert of.keeps.tolist() == [True, False, False, True, False, False, False]
    assert not of.distances.any()


def test_distances_are_to_the_one_that_is_kept() -> None:
    X = np.random.default_rng(0).random((300, 3)).astype(np.float32)
    X[200:203] = X[7] + np.float32(1e-4) * np.arange(1, 4, dtype=np.float32)[:, None]
    of = found(X, [201])
    assert groups(of) == [[201, 7, 200, 202]]
    assert of.distances == pytest.approx(np.linalg.norm(X[of.rows].astype(float) - X[201], axis=1))


def test_the_cost_is_bounded_and_said() -> None:
    X = np.random.default_rng(0).random((400, 4))
    of = found(np.concatenate([X, X[:100], X[100:200] + 1e-4]), most_products=500 * 4 * 120)
    assert of.n_looked_up == 120 and of.n_distinct == 500
    # Exact copies are found all the same, and of near ones those of which one was looked up.
    exact = [group for group in groups(of) if group[0] < 100]
    assert exact == [[row, row + 400] for row in range(100)] and 100 < of.n_groups < 200


@pytest.mark.parametrize("X", [[[1.0]], [[1.0]] * 3, [[1.0], [2.0]], np.eye(40), np.arange(30.0)[:, None]])
def test_small_and_regular_pools(X: Any) -> None:
    of = found(X)
    n_copies = len(X) - len(np.unique(X, axis=0))
    assert len(of.rows) == (n_copies + 1 if n_copies else 0)


def test_rows_that_repeat_are_read_together() -> None:
    """One by one, those of a large pool in files take long."""
    asked: list[Any] = []

    class Rows(JoinedRows):
        def __getitem__(self, rows: Any) -> Any:
            asked.append(rows)
            return super().__getitem__(rows)

    half = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    X = np.concatenate([half, half])
    of = find_duplicates(Rows([X]), NONE, np.random.default_rng(0))  # type: ignore[arg-type]
    assert of.n_groups == 300 and not of.distances.any() and len(asked) < 100
    np.testing.assert_array_equal(of.distances, found(X).distances)
