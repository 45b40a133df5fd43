"""Where a set lies on the real data's principal axes: a collapsed one stands on it as spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import check_features, check_same_width

# Rows that the axes are computed from; they are directions of the greatest variance, for which a sample is enough.
_MOST_ROWS = 8192
_MARGIN = 0.2


@dataclass(frozen=True)
class Plane:
    """The two directions in which a set of points varies most.

    Attributes
    ----------
    frame
        float64 ``(3, d)``: the mean and the two axes, of unit length.
    extent
        float64 ``(2, 2)``: on each axis, the lowest and highest coordinate of a map.
    explained
        The share of the variance that lies on each axis.
    """

    frame: NDArray[np.float64]
    extent: NDArray[np.float64]
    explained: tuple[float, float] = (0.0, 0.0)


def principal_plane(X: ArrayLike) -> Plane:
    """The plane of the first two principal components of `X` ``(n, d)``, n and d at least 2.

    Its extent is that of the points, and a fifth more on each side. Of more than 8,192 rows as many, evenly spaced, are
    taken.

    Examples
    --------
    >>> plane = principal_plane([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [2.0, 1.0, 0.0], [2.0, -1.0, 0.0]])
    >>> np.abs(plane.frame[1]).round(6).tolist(), [round(share, 3) for share in plane.explained]
    ([1.0, 0.0, 0.0], [0.8, 0.2])
    """
    points = check_features(X)
    rows = np.linspace(0, len(points) - 1, min(len(points), _MOST_ROWS)).astype(int)
    points = points[rows].astype(np.float64)
    centre = points.mean(axis=0)
    centred = points - centre
    axes, squares = _leading_axes(centred)
    frame = np.stack([centre, *axes])
    coordinates = centred @ axes.T
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    total = max(float((centred**2).sum()), np.finfo(float).tiny)
    first, second = (float(square / total) for square in squares)
    return Plane(frame, np.stack([low - margin, high + margin], axis=1), (first, second))


def density_map(X: ArrayLike, plane: Plane, *, bins: int = 40) -> tuple[NDArray[np.float32], float]:
    """How densely `X` ``(n, d)`` lies on a plane, and the share of it that falls outside of the plane's extent.

    Returns
    -------
    (float32 ``(bins, bins)``, float)
        The share of rows in each cell, the first axis first; and the share in none.
    """
    points = check_features(X)
    check_same_width(("X", points), ("plane", plane.frame.astype(np.float32)))
    centre, axes = plane.frame[0], plane.frame[1:]
    coordinates = (points - centre) @ axes.T
    counts, _, _ = np.histogram2d(coordinates[:, 0], coordinates[:, 1], bins=bins, range=plane.extent.tolist())
    return (counts / len(points)).astype(np.float32), float(1 - counts.sum() / len(points))


def _leading_axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two leading right singular vectors, their largest entry positive, and their squared singular values."""
    from scipy.sparse.linalg import svds

    n, d = centred.shape
    if min(n, d) <= 3 or not centred.any():
        _, values, axes = np.linalg.svd(centred, full_matrices=False)
        missing = max(2 - len(axes), 0)
        values, axes = np.pad(values, (0, missing)), np.pad(axes, ((0, missing), (0, 0)))
    else:
        # A fixed start, so that equal data has equal axes.
        _, values, axes = svds(centred, k=2, v0=np.linspace(1.0, 2.0, min(n, d)))
        values, axes = values[::-1], axes[::-1]
    axes, values = axes[:2], values[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    return axes * np.where(signs == 0, 1.0, signs)[:, None], values**2
