"""intrinsic_dimension on sets whose dimension is known, and against its formula by another route."""

import numpy as np
import pytest
from sklearn.neighbors import KDTree

from entropick.errors import InputError
from entropick.metrics import intrinsic_dimension


def embedded(m, d=40, n=2000, seed=0):
    """n points of an m-dimensional cube, turned into d dimensions."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, m)))[0]
    return (rng.uniform(size=(n, m)) @ turn.T).astype(np.float32)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("k", [2, 10, 20])
def test_known_dimensions(m, k):
    # The rim of the cube draws the estimate down, the more so the higher m and k.
    estimate = intrinsic_dimension(embedded(m), k=k)
    assert m * 0.88 < estimate < m * 1.08


def test_equals_the_formula_by_another_route():
    X = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    for k in (2, 5, 10):
        eps = KDTree(X.astype(float)).query(X.astype(float), k=k + 1)[0][:, 1:]
        inverse = [np.log(row[-1] / row[:-1]).mean() for row in eps]
        assert intrinsic_dimension(X, k=k) == pytest.approx(1 / np.mean(inverse), rel=1e-10)


def test_bias_in_high_dimension_is_as_documented():
    X = np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32)
    assert 0.5 < intrinsic_dimension(X) / 50 < 0.7


def test_scale_and_copies_do_not_matter():
    X = embedded(3, n=300)
    assert intrinsic_dimension(X * 1024) == pytest.approx(intrinsic_dimension(X), rel=1e-12)
    assert intrinsic_dimension(np.concatenate([X, X[:100]])) == intrinsic_dimension(X)


def test_a_collapsed_set_has_none():
    assert intrinsic_dimension(np.ones((20, 3))) == 0
    assert intrinsic_dimension(np.repeat(np.eye(10), 2, axis=0)) == 0


def test_points_at_equal_distances_have_any():
    assert intrinsic_dimension(np.eye(12)) == np.inf


@pytest.mark.parametrize("k", [0, 1, 2.0, True])
def test_bad_k(k):
    with pytest.raises(InputError, match="k: expected"):
        intrinsic_dimension(np.eye(30), k=k)


def test_too_few_rows():
    with pytest.raises(InputError, match=r"X: expected at least k \+ 1 = 11 rows .* got 10"):
        intrinsic_dimension(np.eye(10))
