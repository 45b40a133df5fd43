"""The guard keeps garbage out, costs few real rows, and says what it did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from registered import makers
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from entropick.config.components import component_class
from entropick.errors import InputError
from entropick.selectors import Greedy, Guard, OutlierGuard

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist_train_12000.npz"
N_NOISE = 100


def real_images():
    """(trusted, pool): 2,000 and 4,000 of MNIST where it lies beside the checkout, else scikit-learn's digits."""
    if MNIST.is_file():
        images = np.load(MNIST, allow_pickle=False)["images"].reshape(12000, -1)
        rows = np.random.default_rng(0).permutation(12000)
        return images[rows[:2000]].astype(np.float32), images[rows[2000:6000]].astype(np.float32)
    # Shuffled, because they are in the order of their writers.
    images = np.random.default_rng(0).permutation(load_digits().data).astype(np.float32) * np.float32(255 / 16)
    return images[:597], images[597:]


def test_noise_among_real_images_stays_out():
    trusted, pool = real_images()
    noise = np.random.default_rng(1).integers(0, 256, (N_NOISE, pool.shape[1])).astype(np.float32)
    X = np.concatenate([trusted, pool, noise])
    source = np.repeat([0, 1, 1], [len(trusted), len(pool), N_NOISE])
    is_noise = np.arange(len(X)) >= len(X) - N_NOISE

    # Unguarded, greedy takes it all.
    plain = Greedy(n_samples=len(X) // 4, random_state=0).fit(X)
    assert is_noise[plain.indices_].sum() == N_NOISE

    guard = OutlierGuard().fit(X, source)
    kept = X[guard.kept_]
    guarded = guard.kept_[Greedy(n_samples=len(X) // 4, random_state=0).fit(kept).indices_]
    assert is_noise[guard.set_aside_].sum() == N_NOISE and not is_noise[guarded].any()
    # The promise is at most one in a thousand of the real ones, here about four.
    assert (~is_noise[guard.set_aside_]).sum() <= 0.001 * len(pool)


def test_at_most_the_stated_share_of_good_rows_is_set_aside():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        X = rng.standard_normal((150, 3)) ** 3
        guard = OutlierGuard(k=3, quantile=0.9, factor=1.0).fit(X, np.repeat([0, 1], [100, 50]))
        shares.append(len(guard.set_aside_) / 50)
    # 60 x 50 rows; the standard error of the mean is below 0.01.
    assert np.mean(shares) < 0.1 + 0.02


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_rule_has_no_scale(scale):
    X = np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32)
    X[70:] *= 20
    source = np.repeat([0, 1], [50, 30])
    found = OutlierGuard().fit(X * np.float32(scale), source).set_aside_
    np.testing.assert_array_equal(found, OutlierGuard().fit(X, source).set_aside_)
    assert set(found.tolist()) == set(range(70, 80))


def test_what_it_says():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [9.0], [90.0], [1.5]])
    guard = OutlierGuard(trusted=(5,), k=2, factor=2.0).fit(X, [5, 5, 5, 5, 0, 0, 0])
    assert guard.set_aside_.tolist() == [5, 4] and guard.kept_.tolist() == [0, 1, 2, 3, 6]
    assert guard.threshold_ == 4.0 and guard.distances_.tolist() == [2.0, 1.0, 1.0, 2.0, 7.0, 88.0, 0.5]
    assert json.loads(json.dumps(guard.summary())) == {"threshold": 4.0, "n_set_aside": 2, "n_kept": 5}


def test_trusted_rows_are_never_set_aside():
    guard = OutlierGuard(k=1).fit([[0.0], [1.0], [2.0], [500.0]])
    assert guard.set_aside_.tolist() == [] and guard.kept_.tolist() == [0, 1, 2, 3]


GUARDS = makers("guard")


@pytest.fixture(params=GUARDS)
def guard(request):
    return GUARDS[request.param]()


def test_is_a_guard_known_by_its_kind(guard):
    assert isinstance(guard, Guard) and component_class("guard", guard.kind, "tests") is type(guard)
    assert json.loads(json.dumps(guard.describe()))["kind"] == guard.kind


@pytest.mark.parametrize("order", ["C", "F"])
def test_every_row_is_kept_or_set_aside(guard, order):
    X = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32, order=order)
    X[110:] *= np.arange(20, 30)[:, None]
    sources, before = np.repeat([0, 1], [60, 60]), X.copy()
    assert guard.fit(X, sources) is guard
    aside, kept = guard.set_aside_, guard.kept_
    assert aside.dtype == kept.dtype == np.int64 and set(range(110, 120)) <= set(aside.tolist())
    assert sorted([*aside.tolist(), *kept.tolist()]) == list(range(120)) and (np.diff(kept) > 0).all()
    assert guard.distances_.shape == (120,) and guard.distances_.dtype == np.float64
    assert (np.diff(guard.distances_[aside]) <= 0).all() and (guard.distances_[aside] > guard.threshold_).all()
    assert not np.isin(sources[aside], guard.trusts).any()
    summary = json.loads(json.dumps(guard.summary(), allow_nan=False))
    assert summary == {"threshold": guard.threshold_, "n_set_aside": len(aside), "n_kept": len(kept)}
    np.testing.assert_array_equal(X, before)


def test_narrow_numbers_set_aside_the_same_rows():
    X = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    source = np.repeat([0, 1], 150)
    found = [
        OutlierGuard(quantile=kind(np.float32(0.9)), factor=kind(np.float32(1.1))).fit(X, source).set_aside_.tolist()
        for kind in (np.float32, float)
    ]
    assert found[0] and found[0] == found[1]


def test_says_what_it_trusts(guard):
    assert all(isinstance(number, int) for number in guard.trusts)
    assert (guard.least_trusted > 0) == bool(guard.trusts)
    X = np.arange(40.0)[:, None]
    for n in {guard.least_trusted, max(guard.least_trusted - 1, 0)} if guard.trusts else ():
        sources = np.where(np.arange(40) < n, guard.trusts[0], max(guard.trusts) + 1)
        if n == guard.least_trusted:
            guard.fit(X, sources)
        else:
            with pytest.raises(InputError, match="trusted"):
                guard.fit(X, sources)


def test_not_fitted_and_clone(guard):
    for name in ("kept_", "set_aside_", "distances_", "threshold_"):
        with pytest.raises(NotFittedError):
            getattr(guard, name)
    assert clone(guard).get_params() == guard.get_params()
    assert clone(OutlierGuard(k=7)).get_params() == OutlierGuard(k=7).get_params()


def test_a_failed_fit_keeps_the_fitted_state(guard):
    X = np.random.default_rng(0).standard_normal((50, 3))
    kept = guard.fit(X, np.zeros(50, int)).kept_.copy()
    with pytest.raises(InputError, match="finite"):
        guard.fit(np.full((50, 3), np.nan))
    with pytest.raises(InputError, match="50 integers"):
        guard.fit(X, np.zeros(49, int))
    np.testing.assert_array_equal(guard.kept_, kept)


@dataclass(kw_only=True)
class LongRows(Guard):
    """A guard that trusts nothing."""

    longest: float = 10.0
    kind: ClassVar[str] = "long-rows"

    def _measure(self, X, sources, work):
        return np.linalg.norm(X, axis=1).astype(np.float64), self.longest


def test_a_guard_is_a_measure_and_a_threshold():
    guard = LongRows().fit([[1.0], [99.0], [10.0], [100.0]])
    assert guard.set_aside_.tolist() == [3, 1] and guard.kept_.tolist() == [0, 2] and guard.trusts == ()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, "k: expected"),
        ({"quantile": 1.0}, "quantile"),
        ({"factor": 0.5}, "factor: expected at least 1"),
        ({"trusted": 3}, "more than k = 5 rows of source 3, got 0"),
        ({"k": 10}, "more than k = 10 rows of source 0, got 10"),
    ],
)
def test_refuses(parameters, message):
    with pytest.raises(InputError, match=message):
        OutlierGuard(**parameters).fit(np.arange(12.0)[:, None], np.repeat([0, 1], [10, 2]))


def test_a_source_of_copies_cannot_be_trusted():
    with pytest.raises(InputError, match="copies"):
        OutlierGuard().fit(np.array([[1.0]] * 20 + [[2.0]]), np.repeat([0, 1], [20, 1]))
