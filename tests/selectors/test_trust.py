"""What is trusted is like a part of the rows only: a warning where it is, and none where it is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

from entropick.errors import TrustWarning
from entropick.selectors import DensityGreedy, Gist, LatentSpaceFilter, OutlierGuard

RULES = {
    "density-greedy": lambda: DensityGreedy(n_samples=50, random_state=0),
    "gist": lambda: Gist(n_samples=50, random_state=0),
    "latent-space-filter": lambda: LatentSpaceFilter(n_samples=50, random_state=0),
    "outlier-guard": OutlierGuard,
}


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    return found.data[order].astype(np.float32), found.target[order]


@pytest.fixture(params=RULES)
def make(request):
    return RULES[request.param]


def test_three_classes_of_ten_are_a_part(make, digits):
    X, labels = digits
    y = np.where((np.arange(len(X)) < 900) & (labels < 3), 0, 1)
    with pytest.warns(TrustWarning, match=r"8\d% of the 1,5\d\d others .* cover a part of the data only"):
        rule = make().fit(X, y)
    assert rule.unlike_share_ > 0.8


@pytest.mark.parametrize("n", [25, 100, 600])
def test_digits_of_the_same_kind_are_not(make, digits, n):
    X, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)
        rule = make().fit(X[: n + 700], np.repeat([0, 1], [n, 700]))
    assert rule.unlike_share_ < 0.2


def test_nor_are_digits_of_other_writers_and_a_tenth_of_noise(make):
    X = load_digits().data.astype(np.float32)
    noise = np.random.default_rng(0).integers(0, 17, (120, 64)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)
        rule = make().fit(np.concatenate([X, noise]), np.repeat([1, 0, 1], [1200, 597, 120]))
    assert 0.05 < rule.unlike_share_ < 1 / 3


def test_of_few_rows_nothing_is_said():
    X = np.arange(60.0)[:, None] ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)
        rule = OutlierGuard(k=2).fit(X, np.repeat([0, 1], [45, 15]))
        assert rule.unlike_share_ > 0.5
        assert OutlierGuard(k=2).fit(X).unlike_share_ == 0
