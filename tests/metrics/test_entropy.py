"""knn_entropy and intrinsic_dimension against closed forms, independent computations, sets of known dimension, and
their own laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln
from scipy.stats import chi2, ncx2
from sklearn.neighbors import KDTree

from entropick.errors import InputError
from entropick.metrics import duplicate_share, intrinsic_dimension, knn_entropy


def oracle(X, k=1):
    """The formula with scipy's special functions and a tree, on rows that are all distinct."""
    n, d = X.shape
    eps = KDTree(X.astype(np.float64)).query(X.astype(np.float64), k=k + 1)[0][:, k]
    log_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return digamma(n) - digamma(k) + log_ball + d * np.mean(np.log(eps))


def standard_error(n, log_density_variance=0.0, k=1):
    """About sqrt((Var log p + psi'(k) + cross terms) / n); the terms beyond Var log p sum to less than 2 for k = 1."""
    return math.sqrt((log_density_variance + 2 / k) / n)


@pytest.mark.parametrize("d", range(1, 9))
@pytest.mark.parametrize("n", [500, 2000])
def test_gaussian_closed_form(n, d):
    X = np.random.default_rng(d).normal(size=(n, d)) * 3
    expected = d / 2 * math.log(2 * math.pi * math.e) + d * math.log(3)
    assert knn_entropy(X) == pytest.approx(expected, abs=4 * standard_error(n, d / 2))


@pytest.mark.parametrize("d", range(1, 9))
@pytest.mark.parametrize("n", [500, 2000])
def test_uniform_closed_form(n, d):
    X = np.random.default_rng(d).uniform(0, 5, size=(n, d))
    # Balls of points near a face stick out of the cube: a bias of the order of the share of such points, upwards.
    boundary = d / 2 * n ** (-1 / d)
    error = knn_entropy(X) - d * math.log(5)
    assert -4 * standard_error(n) < error < boundary + 4 * standard_error(n)


@pytest.mark.parametrize("k", range(1, 6))
def test_every_k_estimates_the_same_entropy(k):
    X = np.random.default_rng(k).normal(size=(2000, 3))
    expected = 1.5 * math.log(2 * math.pi * math.e)
    assert knn_entropy(X, k=k) == pytest.approx(expected, abs=4 * standard_error(2000, 1.5, k))


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("d", [1, 2, 5, 8, 40])
def test_equals_an_independent_computation(d, k):
    X = np.random.default_rng(d).normal(size=(300, d)).astype(np.float32)
    assert knn_entropy(X, k=k) == pytest.approx(oracle(X, k), rel=1e-12, abs=1e-10)


def test_near_copies_far_from_the_origin_keep_their_distance():
    rng = np.random.default_rng(0)
    X = (1000 + rng.normal(size=(200, 16))).astype(np.float32)
    X = np.concatenate([X, np.nextafter(X, np.float32(np.inf))])
    assert knn_entropy(X) == pytest.approx(oracle(X), rel=1e-12)
    assert duplicate_share(X) == 0


@pytest.mark.parametrize("exponent", [-20, -1, 3, 20])
def test_scaling_law(exponent):
    X = np.random.default_rng(0).normal(size=(100, 7)).astype(np.float32)
    scaled = X * np.float32(2.0**exponent)  # a power of two, so that float32 rounds nothing
    assert knn_entropy(scaled) == pytest.approx(knn_entropy(X) + 7 * exponent * math.log(2), rel=1e-13)


def test_row_order_and_shift_do_not_matter():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(200, 10)).astype(np.float32)
    assert knn_entropy(X[rng.permutation(200)]) == knn_entropy(X)
    assert knn_entropy(X + 1024) == knn_entropy(X)


def test_a_hundred_duplicate_pairs_are_left_out():
    X = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    doubled = np.concatenate([X, X[:100]])
    assert knn_entropy(doubled) == knn_entropy(X)
    # Replacing 100 rows by copies moves the estimate as much as removing them, and no more.
    replaced = np.concatenate([X[:900], X[:100]])
    assert knn_entropy(replaced) == knn_entropy(X[:900])
    assert abs(knn_entropy(replaced) - knn_entropy(X)) < 1
    assert duplicate_share(replaced) == 0.1


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=2, max_size=30), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_duplicates_rule(rows, k):
    X = np.array(rows, np.float32)
    distinct = np.array(sorted(set(rows)), np.float32)
    assert duplicate_share(X) == (len(X) - len(distinct)) / len(X)
    if len(X) < k + 1:
        with pytest.raises(InputError, match="at least k \\+ 1"):
            knn_entropy(X, k=k)
    elif len(distinct) < k + 1:
        assert knn_entropy(X, k=k) == -math.inf
    else:
        assert knn_entropy(X, k=k) == pytest.approx(oracle(distinct, k), abs=1e-12)


def test_negative_zero_is_zero():
    assert duplicate_share([[0.0, 1.0], [-0.0, 1.0]]) == 0.5


@pytest.mark.parametrize("k", [1, 2, 5])
def test_collapsed_set(k):
    assert knn_entropy(np.ones((6, 3)), k=k) == -math.inf


def test_copying_lowers_the_estimate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8))
    near_copies = np.repeat(X[:100], 4, axis=0) + rng.normal(scale=1e-3, size=(400, 8))
    assert knn_entropy(near_copies) < knn_entropy(X) - 20


def expected_on_a_gaussian(n, d, nodes=60):
    """What the estimate is on average with n points, bias and all, by quadrature over a point and its neighbour.

    The squared distance from x to another point is noncentral chi-squared with |x|^2, and the nearest of n - 1 is as
    near as their smallest quantile.
    """
    shares = (np.arange(nodes) + 0.5) / nodes
    smallest = -np.expm1(np.log1p(-shares) / (n - 1))
    squares = ncx2.ppf(smallest, d, chi2.ppf(shares, d)[:, None])
    return digamma(n) - digamma(1) + d / 2 * np.log(np.pi) - gammaln(d / 2 + 1) + d / 2 * np.mean(np.log(squares))


@pytest.mark.parametrize(("d", "bias"), [(16, 0.3), (32, 2.3), (64, 8.4), (384, 94)])
def test_high_dimension_is_off_by_what_theory_says_and_the_docs_state(d, bias):
    X = np.random.default_rng(d).normal(size=(2000, d))
    estimate, truth = knn_entropy(X), d / 2 * math.log(2 * math.pi * math.e)
    assert estimate == pytest.approx(expected_on_a_gaussian(2000, d), abs=4 * standard_error(2000, d / 2))
    assert expected_on_a_gaussian(2000, d) - truth == pytest.approx(bias, abs=0.01 * bias + 0.1)


@pytest.mark.parametrize(("d", "bias"), [(16, 3.1), (32, 8.4), (64, 20.7), (384, 166)])
def test_bias_on_a_cube_is_as_documented(d, bias):
    X = np.random.default_rng(d).uniform(0, 5, size=(2000, d))
    assert knn_entropy(X) - d * math.log(5) == pytest.approx(bias, abs=4 * standard_error(2000) + 0.005 * bias)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_bad_k(k):
    with pytest.raises(InputError, match="k: expected"):
        knn_entropy(np.eye(3), k=k)


@pytest.mark.parametrize("rows", [1, 3])
def test_too_few_rows(rows):
    with pytest.raises(InputError, match="X: expected at least k"):
        knn_entropy(np.eye(3)[:rows], k=3)


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
def test_bad_k_of_a_dimension(k):
    with pytest.raises(InputError, match="k: expected"):
        intrinsic_dimension(np.eye(30), k=k)


def test_too_few_rows_for_a_dimension():
    with pytest.raises(InputError, match=r"X: expected at least k \+ 1 = 11 rows .* got 10"):
        intrinsic_dimension(np.eye(10))
