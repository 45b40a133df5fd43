"""The plane of a set's principal axes, against a full singular value decomposition."""

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics.diversity import density_map, principal_plane


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
