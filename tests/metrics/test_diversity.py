"""total_variance, vendi_score and source_shares; the plane of principal axes against a full decomposition."""

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import source_shares, total_variance, variance_ratio, vendi_score
from entropick.metrics.diversity import density_map, principal_plane


@pytest.mark.parametrize("shape", [(2, 1), (50, 3), (10, 200)])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_is_the_trace_of_the_covariance(shape, offset):
    X = (np.random.default_rng(0).normal(size=shape) + offset).astype(np.float32)
    covariance = np.atleast_2d(np.cov(X.astype(np.float64), rowvar=False))
    assert total_variance(X) == pytest.approx(np.trace(covariance), rel=1e-12)


def test_blocks_make_no_difference(monkeypatch):
    X = np.random.default_rng(0).normal(100, 1, size=(53, 6)).astype(np.float32)
    whole = total_variance(X)
    monkeypatch.setattr("entropick.metrics.diversity._BLOCK_VALUES", 25)
    assert total_variance(X) == pytest.approx(whole, rel=1e-13)


def test_grey_levels_far_from_zero_are_exact():
    X = np.array([[16_777_214.0], [16_777_216.0]])
    assert total_variance(X) == 2


def test_constant_set_has_none():
    assert total_variance(np.full((5, 4), 0.1)) == 0


def test_one_row_has_no_variance():
    with pytest.raises(InputError, match="X: expected at least 2 rows"):
        total_variance([[1.0, 2.0]])


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_variance_ratio_is_that_of_the_traces(scale):
    rng = np.random.default_rng(0)
    T, G = (rng.normal(50, 1, size=(n, 6)).astype(np.float32) for n in (60, 45))
    G = (scale * G).astype(np.float32)
    expected = np.trace(np.cov(G.astype(np.float64).T)) / np.trace(np.cov(T.astype(np.float64).T))
    assert variance_ratio(generated=G, training=T) == pytest.approx(expected, rel=1e-12)


def test_variance_ratio_of_sets_that_have_none():
    same, other = np.full((7, 3), 0.1), [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert variance_ratio(generated=same, training=same + 1) == 1
    assert variance_ratio(generated=same, training=other) == pytest.approx(0, abs=1e-12)
    assert variance_ratio(generated=other, training=same) == np.inf
    with pytest.raises(InputError, match="generated: expected at least 2 rows"):
        variance_ratio(generated=[[1.0]], training=[[1.0], [2.0]])


def vendi_oracle(X):
    X = X.astype(np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(unit @ unit.T / len(X))
    shares = shares[shares > 1e-14]
    return np.exp(-np.sum(shares * np.log(shares)))


@pytest.mark.parametrize("shape", [(40, 5), (5, 40), (30, 30), (200, 3)])
def test_vendi_score_by_either_matrix(shape):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert vendi_score(X) == pytest.approx(vendi_oracle(X), rel=1e-10)
    assert 1 < vendi_score(X) < min(shape)


@pytest.mark.parametrize("n_classes", [1, 2, 7])
def test_vendi_score_counts_equal_classes(n_classes):
    X = np.repeat(np.eye(n_classes, 9), 5, axis=0) * np.arange(1, 5 * n_classes + 1)[:, None]
    assert vendi_score(X) == pytest.approx(n_classes, rel=1e-12)


def test_rows_of_zeros_are_one_more_direction():
    X = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert vendi_score(X) == pytest.approx(3, rel=1e-12)
    assert vendi_score(np.zeros((4, 2))) == 1


def test_shares():
    assert source_shares([3, 0, 0, 3, 0]) == {0: 0.6, 3: 0.4}
    assert list(source_shares([3, 0, 1])) == [0, 1, 3]
    assert source_shares(np.array([1, 1], np.uint8), n_sources=3) == {0: 0.0, 1: 1.0, 2: 0.0}
    assert list(source_shares([2, 1], n_sources=4)) == [0, 1, 2, 3]


def test_shares_are_plain_numbers_and_sum_to_one():
    shares = source_shares(np.random.default_rng(0).integers(0, 7, size=1000), n_sources=7)
    assert all(type(key) is int and type(value) is float for key, value in shares.items())
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("source", [[], [-1, 0], [0.5], [[0, 1]], [0, 3], np.zeros((0,), np.int64)])
def test_bad_sources(source):
    with pytest.raises(InputError, match="source: expected"):
        source_shares(source, n_sources=3)


def test_bad_n_sources():
    with pytest.raises(InputError, match="n_sources: expected"):
        source_shares([0], n_sources=0)
    with pytest.raises(InputError, match=r"source: expected values 0 or more, got -2\.\.0"):
        source_shares([0, -2])


def cloud(n=300, d=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, np.linspace(9, 1, d), (n, d)) + 5


@pytest.mark.parametrize(("n", "d"), [(300, 12), (40, 200), (5, 2), (30, 3)])
def test_axes_are_those_of_the_full_decomposition(n, d):
    X = cloud(n, d).astype(np.float32)
    plane = principal_plane(X)
    centred = X.astype(float) - X.astype(float).mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(plane.frame[0], X.astype(float).mean(axis=0))
    np.testing.assert_allclose(np.abs(np.sum(plane.frame[1:] * axes[:2], axis=1)), 1, atol=1e-8)
    np.testing.assert_allclose(plane.explained, (values**2 / (values**2).sum())[:2])


def test_equal_data_has_equal_axes_whatever_was_drawn_before():
    np.random.seed(1)
    first = principal_plane(cloud(60, 40)).frame
    np.random.seed(2)
    np.testing.assert_array_equal(first, principal_plane(cloud(60, 40)).frame)


def test_a_map_is_the_share_of_rows_in_each_cell():
    X = cloud()
    plane = principal_plane(X)
    density, outside = density_map(X, plane, bins=10)
    assert outside == 0 and density.sum() == pytest.approx(1, abs=1e-6)
    along = (X - plane.frame[0]) @ plane.frame[1]
    expected = np.histogram(along, bins=10, range=plane.extent[0])[0] / len(X)
    np.testing.assert_allclose(density.sum(axis=1), expected, atol=1e-3)


def test_what_falls_outside_is_counted():
    plane = principal_plane(cloud())
    far = plane.frame[0] + 1000 * plane.frame[1]
    density, outside = density_map(np.stack([far, plane.frame[0], far]), plane)
    assert outside == pytest.approx(2 / 3) and density.sum() == pytest.approx(1 / 3)


@pytest.mark.parametrize("X", [np.zeros((6, 4)), np.ones((6, 1)), np.eye(2)])
def test_degenerate_sets_have_a_plane(X):
    plane = principal_plane(X)
    assert np.isfinite(plane.frame).all() and (plane.extent[:, 0] < plane.extent[:, 1]).all()
    assert density_map(X, plane)[1] == 0


def test_widths_must_agree():
    with pytest.raises(InputError, match=r"width|columns|features"):
        density_map(np.zeros((3, 5)), principal_plane(cloud()))


def test_vendi_score_of_wide_rows_a_few_columns_at_a_time(monkeypatch):
    from entropick.metrics import diversity

    X = np.random.default_rng(0).standard_normal((10, 50))
    expected = vendi_score(X)
    monkeypatch.setattr(diversity, "_GRAM_COLUMNS", 7)
    assert vendi_score(X) == pytest.approx(expected, rel=1e-12)
