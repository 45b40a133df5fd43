"""Random selection, and how it shares the picks among sources."""

from __future__ import annotations

import clouds
import numpy as np
import pytest
import reference

from entropick.errors import DuplicateWarning, InputError
from entropick.neighbors import growing_set
from entropick.selectors import random as module
from entropick.selectors.quotas import even_shares
from entropick.selectors.random import Random

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("n", [1, 7, 60])
def test_distances_are_those_of_the_order(n, monkeypatch):
    monkeypatch.setattr(growing_set, "_BLOCK_ROWS", 8)
    X = clouds.cloud("near copies", 60, 5)
    selector = Random(n_samples=n, random_state=0).fit(X)
    np.testing.assert_array_equal(selector.distances_, reference.in_order(X, selector.indices_.tolist()))


def test_every_row_is_as_likely():
    X = clouds.cloud("normal", 10, 2)
    rng = np.random.default_rng(0)
    counts = sum(np.bincount(Random(n_samples=3, random_state=rng).fit(X).indices_, minlength=10) for _ in range(300))
    assert counts.sum() == 900 and counts.min() > 50 and counts.max() < 135


@pytest.mark.parametrize(
    ("sizes", "n", "expected"),
    [
        ([10, 10], 6, [3, 3]),
        ([10, 10, 10], 8, [3, 3, 2]),
        ([10, 1, 10, 10], 12, [4, 1, 4, 3]),
        ([1, 2, 3, 100], 50, [1, 2, 3, 44]),
        ([5, 5], 10, [5, 5]),
        ([5, 5, 5], 1, [1, 0, 0]),
        ([0, 4], 3, [0, 3]),
    ],
)
def test_shares(sizes, n, expected):
    assert even_shares(np.array(sizes), n).tolist() == expected


def test_stratified_picks_follow_the_shares():
    y = np.array([7] * 30 + [-2] * 3 + [4] * 30)
    selector = Random(n_samples=20, stratify=True, random_state=5).fit(clouds.cloud("normal", 63, 2), y)
    values, counts = np.unique(y[selector.indices_], return_counts=True)
    assert values.tolist() == [-2, 4, 7] and counts.tolist() == [3, 9, 8]
    assert len(set(selector.indices_.tolist())) == 20
    assert len(set(y[selector.indices_[:10]].tolist())) > 1


def test_without_stratify_sources_play_no_part():
    X = clouds.cloud("normal", 30, 2)
    a, b = (Random(n_samples=9, random_state=1).fit(X, y).indices_ for y in (None, np.arange(30)))
    np.testing.assert_array_equal(a, b)


def test_warns_only_if_there_are_too_few_distinct_points():
    X = np.repeat(clouds.cloud("normal", 10, 2), 4, axis=0)
    Random(n_samples=10, random_state=0).fit(X)
    with pytest.warns(DuplicateWarning, match="expected 30 distinct"):
        Random(n_samples=30, random_state=0).fit(X)


def test_refuses_bad_stratify():
    with pytest.raises(InputError, match="stratify"):
        Random(n_samples=1, stratify="yes").check()


def test_module_does_not_touch_global_state():
    before = np.random.get_state()[1].copy()
    module.Random(n_samples=2).fit([[0.0], [1.0], [2.0]])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
