"""ThresholdDecay against the plain float64 passes."""

from __future__ import annotations

import math

import clouds
import numpy as np
import pytest
import reference

from entropick.errors import DuplicateWarning, InputError
from entropick.neighbors import growing_set
from entropick.selectors import threshold_decay as module
from entropick.selectors.threshold_decay import ThresholdDecay

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")


def check(X, n, threshold, decay, seed=0):
    selector = ThresholdDecay(n_samples=n, threshold=threshold, decay=decay, random_state=seed).fit(X)
    order = np.random.default_rng(seed).permutation(len(X))
    start = float(np.sqrt(reference.squares_to(X.astype(np.float64), order[0]).max()))
    rows, distances = reference.threshold_decay(X, n, order, start if threshold == "auto" else threshold, decay)
    np.testing.assert_array_equal(selector.indices_, rows)
    np.testing.assert_array_equal(selector.distances_, distances)
    assert selector.covering_radius_ == reference.covering_radius(X, rows)
    assert selector.min_distance_ == reference.smallest_pair(X, rows)
    return selector


@pytest.mark.parametrize("block", [3, 512])
@pytest.mark.parametrize("d", [1, 30])
@pytest.mark.parametrize("name", clouds.MAKERS)
def test_equals_the_plain_passes(name, d, block, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "_WIDTH", (block, 4 * block))
    monkeypatch.setattr(growing_set, "_OVERLAP", 2)
    check(clouds.cloud(name, 80, d), 50, "auto", 0.8)


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_plain_passes_for_any_size(seed, monkeypatch):
    monkeypatch.setattr(module, "_WIDTH", (8, 16))
    monkeypatch.setattr(growing_set, "_OVERLAP", 3)
    rng = np.random.default_rng(seed)
    N, d = rng.integers(1, 70), rng.integers(1, 12)
    names = [name for name in clouds.MAKERS if name not in ("huge", "tiny")]
    X = clouds.cloud(rng.choice(names), N, d, seed)
    check(
        X, int(rng.integers(1, N + 1)), float(rng.choice([0.5, 3.0, 60.0])), float(rng.choice([0.5, 0.8, 0.95])), seed
    )


def test_a_distance_equal_to_the_threshold_is_not_enough():
    X = np.array([[0.0], [3.0], [6.0], [9.5]], np.float32)
    check(X, 4, 3.0, 0.5)
    check(X, 3, 6.0, 0.5)
    check(np.arange(0, 60, 3, dtype=np.float32)[:, None], 15, 3.0, 0.5)


def test_certificates():
    X = clouds.cloud("normal", 200, 6)
    selector = ThresholdDecay(n_samples=60, threshold="auto", decay=0.9, random_state=1).fit(X)
    assert selector.min_distance_ > selector.threshold_
    assert selector.covering_radius_ <= selector.threshold_ / selector.decay


@pytest.mark.parametrize(("threshold", "decay"), [(1e300, 0.5), (1e30, 0.999999), (1e-300, 0.5), (60.0, 1e-300)])
def test_jumps_over_empty_thresholds(threshold, decay):
    X = clouds.cloud("normal", 60, 4)
    selector = ThresholdDecay(n_samples=40, threshold=threshold, decay=decay, random_state=0).fit(X)
    assert selector.n_distinct_ == 40 and selector.min_distance_ > selector.threshold_


def test_slow_decay_approaches_greedy():
    X = clouds.cloud("normal", 60, 4)
    selector = ThresholdDecay(n_samples=30, threshold="auto", decay=1 - 1e-9, random_state=0).fit(X)
    rows, _ = reference.greedy(X, 30, [int(selector.indices_[0])])
    assert selector.indices_.tolist() == rows


def test_ends_when_only_copies_are_left():
    X = np.repeat(clouds.cloud("normal", 10, 4), 5, axis=0)
    with pytest.warns(DuplicateWarning, match="got 10 and filled up with 20 copies"):
        selector = ThresholdDecay(n_samples=30, random_state=3).fit(X)
    order = np.random.default_rng(3).permutation(50).tolist()
    places = [order.index(row) for row in selector.indices_[10:]]
    assert places == sorted(places)


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, 3.0, 1e-170, 1e200, 59.99999])
def test_square_within_is_the_border(threshold):
    square = module.square_within(threshold)
    assert math.sqrt(square) <= threshold < math.sqrt(math.nextafter(square, math.inf))


@pytest.mark.parametrize(
    "parameters",
    [{"threshold": 0}, {"threshold": -1.0}, {"threshold": "none"}, {"threshold": math.inf}, {"threshold": None}]
    + [{"decay": value} for value in (0, 1, 1.5, -0.1, math.nan, "0.9")],
)
def test_refuses_bad_parameters(parameters):
    with pytest.raises(InputError, match=next(iter(parameters))):
        ThresholdDecay(n_samples=2, **parameters).check()
