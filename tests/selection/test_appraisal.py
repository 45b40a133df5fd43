"""A selection is measured exactly, beside a random one, and what it proves is true."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import knn_entropy
from entropick.selection import appraise
from entropick.selectors import Greedy, Random, ThresholdDecay

SELECTORS = [
    Greedy(n_samples=4, random_state=0),
    ThresholdDecay(n_samples=4, threshold="auto", decay=0.9, random_state=0),
    ThresholdDecay(n_samples=4, threshold=1e-9, random_state=0),
    Random(n_samples=4, random_state=0),
    Greedy(n_samples=4, random_state=0, minimum={0: 0.75}),
]


def gaps(X, rows):
    return np.linalg.norm(X[:, None].astype(float) - X[rows], axis=2).min(axis=1)


@pytest.mark.parametrize("selector", SELECTORS)
def test_numbers_and_proof_hold(selector):
    X = np.random.default_rng(0).standard_normal((14, 2)).astype(np.float32)
    found = appraise(selector.fit(X, np.arange(14) % 2), X)
    chosen = found.selection
    assert chosen.covering_radius == pytest.approx(gaps(X, selector.indices_).max())
    assert chosen.min_distance == selector.min_distance_
    assert chosen.knn_entropy == knn_entropy(X[selector.indices_])
    best = min(gaps(X, list(rows)).max() for rows in itertools.combinations(range(14), 4))
    proof = found.certificate
    assert proof.best_radius_at_least <= best + 1e-9
    assert chosen.covering_radius <= proof.factor * best + 1e-9
    if proof.threshold is not None:
        assert proof.pairs_above_threshold and chosen.min_distance > proof.threshold
        assert (proof.rows_within is None) == (chosen.covering_radius > proof.threshold / selector.decay)


def test_the_classic_guarantees():
    X = np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)
    greedy = appraise(Greedy(n_samples=60, random_state=0).fit(X), X)
    assert greedy.certificate.factor == pytest.approx(2.0)
    decay = appraise(ThresholdDecay(n_samples=60, threshold="auto", decay=0.9, random_state=0).fit(X), X)
    assert decay.certificate.factor <= 2 / 0.9 and decay.certificate.rows_within is not None
    assert greedy.entropy_gain > 0 and decay.entropy_gain > 0
    assert greedy.selection.covering_radius < greedy.control.covering_radius
    assert greedy.selection.min_distance > greedy.control.min_distance


def test_the_control_has_its_own_seed_and_the_same_size():
    X = np.random.default_rng(2).standard_normal((50, 3)).astype(np.float32)
    first, other = Greedy(n_samples=10, random_state=0).fit(X), Random(n_samples=10, random_state=3).fit(X)
    assert appraise(first, X).control == appraise(other, X).control
    assert appraise(first, X, control_seed=1).control != appraise(first, X).control


def test_corner_cases_are_plain_json():
    for X, n in (([[1.0]], 1), ([[1.0], [2.0]], 2), ([[1.0], [2.0], [9.0]], 1)):
        summary = appraise(Greedy(n_samples=n, random_state=0).fit(X), X).summary()
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    with pytest.warns(match="distinct"):
        selector = Greedy(n_samples=3, random_state=0).fit([[1.0]] * 5)
    summary = appraise(selector, [[1.0]] * 5).summary()
    assert summary["selection"]["duplicate_share"] == pytest.approx(2 / 3)
    assert summary["entropy_gain"] is None and summary["certificate"]["factor"] is None


def test_refuses_another_pool():
    with pytest.raises(InputError, match="the rows that the selector was fitted on"):
        appraise(Greedy(n_samples=3, random_state=0).fit(np.arange(9.0)[:, None]), [[1.0], [2.0]])
