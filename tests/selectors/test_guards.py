"""The guard keeps garbage out, costs few real rows, and says what it did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from entropick.errors import InputError
from entropick.selectors import Greedy, OutlierGuard

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


def test_not_fitted_and_clone():
    guard = OutlierGuard(k=7)
    with pytest.raises(NotFittedError):
        _ = guard.kept_
    assert clone(guard).get_params() == guard.get_params()


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
