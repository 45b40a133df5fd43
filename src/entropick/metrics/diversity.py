"""How varied a set is, from which iterations it comes, and where it lies on the real data's principal axes, on which a
collapsed set stands as spikes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import (
    BlockRows,
    Features,
    check_count,
    check_features,
    check_same_width,
    check_sets,
    check_sources,
)
from entropick.errors import InputError
from entropick.metrics.base import Measure

# Columns of which products are summed at once, where there are more of them than rows.
_GRAM_COLUMNS = 1 << 14
# Values converted at once: 32 MiB in float64.
_BLOCK_VALUES = 1 << 22
# Rows that the axes are computed from; they are directions of the greatest variance, for which a sample is enough.
_MOST_ROWS = 8192
_MARGIN = 0.2


def total_variance(X: ArrayLike) -> float:
    """Trace of the covariance: the sum of the variances of all columns (with n - 1), in float64.

    It sees only the spread around the mean: a few far clusters of copies have a large variance and a low entropy, so
    show `knn_entropy` beside it. Comparable in the same feature space only; the paper's values are of pixels 0..255.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32. No d x d matrix is made.

    Returns
    -------
    float
        In squared units of the features; unbiased, so sets of different size may be compared.

    Raises
    ------
    InputError
        For unusable features or fewer than 2 rows.

    References
    ----------
    Shi et al. 2025, arXiv 2509.16499: the variance of the training set.

    Examples
    --------
    >>> total_variance([[0.0, 0.0], [2.0, 4.0]])
    10.0
    """
    (X,) = check_sets(X=X, least=2)
    squares = sum(float(np.square(block).sum()) for block in centered_blocks(X, column_means(X)))
    return squares / (len(X) - 1)


TOTAL_VARIANCE = Measure(
    name="total_variance",
    roles=("training",),
    function=lambda roles: total_variance(roles.training),
    reads="high is wide",
    label="Variance of the training set",
    power=2,
    meaning="Trace of the covariance of the training set: the mean squared distance from its mean.",
    trap="Sees the spread around the mean only: a few far clusters of copies keep a large variance.",
    range=(0.0, None),
    short="variance",
    least_rows={"training": 2},
)


def variance_ratio(*, generated: ArrayLike, training: ArrayLike) -> float:
    """Contraction: the total variance of the generated rows over that of the training rows.

    A model that has learned the distribution has about 1, one that emits its mean 0. In a self-consuming loop what is
    lost is lost for the next iteration too: against the *real* rows in the role of the training rows the losses of all
    iterations so far multiply.

    Parameters
    ----------
    generated, training
        Features ``(n, d)``, at least 2 rows each, taken as float32. Sets of different size may be compared.

    Returns
    -------
    float
        At least 0; of training rows that are all the same, 1 for generated rows that are all the same, else infinite.

    Raises
    ------
    InputError
        For unusable features, differing widths, or fewer than 2 rows in a set.

    Examples
    --------
    >>> variance_ratio(generated=[[0.0], [1.0]], training=[[0.0], [2.0]])
    0.25
    """
    G, T = check_sets(generated=generated, training=training, least=2)
    # By comparison: the mean of equal numbers is rounded, so that their variance may be a tiny number.
    if not _differ(T):
        return math.inf if _differ(G) else 1.0
    return total_variance(G) / total_variance(T)


def _differ(X: Features) -> bool:
    return any(bool((block != X[0]).any()) for block in blocks(X))


VARIANCE_RATIO = Measure(
    name="variance_ratio",
    roles=("generated", "training"),
    function=lambda roles: variance_ratio(generated=roles.generated, training=roles.training),
    reads="1 keeps the spread, 0 is all alike; above 1 is wider, as by noise",
    label="Variance kept in one step",
    meaning="Variance of the generated images over that of their training set: contraction. 1 keeps the spread, "
    "0 is one image.",
    trap="A mean over all directions: copies keep the variance, and noise adds to it.",
    range=(0.0, None),
    axis=(0.0, 1.0),
    least_rows={"generated": 2, "training": 2},
)
VARIANCE_RATIO_REAL = Measure(
    name="variance_ratio_real",
    roles=("generated", "real"),
    function=lambda roles: variance_ratio(generated=roles.generated, training=roles.real),
    reads="1 is as wide as the real data, 0 is all alike; above 1 is wider, as by noise",
    label="Variance kept of the real data",
    meaning="Variance of the generated images over that of the original real images: contraction since the start. "
    "1 is as wide as the real data, 0 is one image.",
    trap="A mean over all directions: copies keep the variance, and noise adds to it.",
    range=(0.0, None),
    axis=(0.0, 1.0),
    is_main=True,
    short="variance kept",
    least_rows={"generated": 2, "real": 2},
)


def vendi_score(X: ArrayLike) -> float:
    """Vendi score with the cosine kernel: the effective number of different directions among the rows, 1 to n.

    ::

        exp(- sum over i of lambda_i log lambda_i),  lambda the eigenvalues of K / n,  K_ij = cos(x_i, x_j)

    n equal rows score 1, n orthogonal ones n. At most d with d columns, so it saturates where n is far above d. It does
    not see lengths, and in spaces without negative values (pixels) all rows are alike and it stays low: read it in
    embeddings, and compare at equal n and feature space. Rows of zeros count as one more direction.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32. The smaller of the n x n and the d x d matrix is made, in float64.

    Returns
    -------
    float
        From 1 to min(n, d + 1).

    Raises
    ------
    InputError
        For unusable features.

    References
    ----------
    Friedman and Dieng, "The Vendi score: a diversity evaluation metric for machine learning", TMLR 2023, def. 3.1, of
    order 1.

    Examples
    --------
    >>> round(vendi_score([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0]]), 6)
    2.0
    """
    X = check_features(X)
    values = np.append(np.linalg.eigvalsh(_cosines(X)), sum(int((~of.any(axis=1)).sum()) for of in blocks(X))) / len(X)
    values = values[values > 0]
    return float(np.exp(-np.sum(values * np.log(values))))


VENDI_SCORE = Measure(
    name="vendi_score",
    roles=("training",),
    function=lambda roles: vendi_score(roles.training),
    reads="1 is all alike, high is varied",
    label="Vendi score of the training set",
    unit="directions",
    meaning="The effective number of different directions among its images, by cosine similarity.",
    trap="Does not see lengths, and stays low in pixels, which have no negative values: read it in embeddings. Compare "
    "at equal size and feature space.",
    range=(1.0, None),
    better=1,
    moves_with=("training",),
    n_spectra=1,
    on_request=True,
)


def _cosines(X: Features) -> NDArray[np.float64]:
    """Gram matrix of the rows scaled to length 1, or the matrix of columns with the same eigenvalues but for zeros."""
    if len(X) <= X.shape[1]:
        # By columns, for a float64 copy of wide rows might not fit.
        lengths = np.concatenate([_lengths(block.astype(np.float64)) for block in blocks(X)])
        small = np.zeros((len(X), len(X)))
        for start in range(0, X.shape[1], _GRAM_COLUMNS):
            rows = some_columns(X, start, start + _GRAM_COLUMNS)
            rows /= lengths
            small += rows @ rows.T
        return small
    gram = np.zeros((X.shape[1], X.shape[1]))
    for block in blocks(X):
        rows = _unit_rows(block)
        gram += rows.T @ rows
    return gram


def _unit_rows(block: Features) -> NDArray[np.float64]:
    rows = block.astype(np.float64)
    rows /= _lengths(rows)
    return rows


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lengths of rows, ``(n, 1)``; 1 for a row of zeros, which stays one."""
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 0, lengths, 1)


def source_shares(source: ArrayLike, n_sources: int | None = None) -> dict[int, float]:
    """Share of each source - the iteration a row was born in, 0 for real - in a set.

    Beside it belongs the line 1 / n, the share of each source in a random choice from n equal ones.

    Parameters
    ----------
    source
        Source of each row, integers ``(n,)``, at least 0; for a selection ``pool.source[selector.indices_]``.
    n_sources
        Report the sources 0 .. n_sources - 1, also absent ones, with share 0. Without it, those that occur.

    Returns
    -------
    dict
        Source to share, by ascending source; the shares add up to 1.

    Raises
    ------
    InputError
        For no rows, values that are not integers, or a source below 0 or not below `n_sources`.

    References
    ----------
    Shi et al. 2025, arXiv 2509.16499: proportions of the iterations in the selected training set.

    Examples
    --------
    >>> source_shares([0, 0, 0, 2], n_sources=3)
    {0: 0.75, 1: 0.0, 2: 0.25}
    """
    sources = check_sources(source, np.size(source), name="source")
    if not len(sources):
        raise InputError("source: expected at least one row, got none.")
    values, counts = np.unique(sources, return_counts=True)
    limit = None if n_sources is None else check_count(n_sources, name="n_sources")
    if values[0] < 0 or (limit is not None and values[-1] >= limit):
        expected = "0 or more" if limit is None else f"0..{limit - 1}"
        raise InputError(f"source: expected values {expected}, got {values[0]}..{values[-1]}.")
    shares = dict.fromkeys(range(limit or 0), 0.0)
    return shares | dict(zip(values.tolist(), (counts / len(sources)).tolist(), strict=True))


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


# Moments in float64, read block by block so that no float64 copy of the whole set is made.


def column_means(X: Features) -> NDArray[np.float64]:
    """The mean of each column, float64 ``(d,)``."""
    total = np.zeros(X.shape[1])
    for block in blocks(X):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(X)


def centered_blocks(X: Features, means: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The rows of `X` minus `means`, float64, a few at a time."""
    # Two passes instead of sum(x^2) - n mean^2, which loses everything where the mean is large beside the spread.
    for block in blocks(X):
        yield block - means


def some_columns(X: Features, start: int, stop: int) -> NDArray[np.float64]:
    """Some of the columns of all rows, float64."""
    if isinstance(X, BlockRows):
        return np.concatenate([block[:, start:stop].astype(np.float64) for block in blocks(X)])
    return X[:, start:stop].astype(np.float64)


def blocks(X: Features) -> Iterator[Features]:
    """The rows of `X`, float32, a few at a time."""
    rows = max(1, _BLOCK_VALUES // X.shape[1])
    for start in range(0, len(X), rows):
        yield X[start : start + rows]
