"""How close the generated distribution is to the real one: the Frechet distance between two fitted Gaussians, and the
kernel distance, which fits none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, check_features, check_same_width, check_sets
from entropick.errors import InputError
from entropick.metrics.base import Measure
from entropick.metrics.diversity import centered_blocks, column_means, some_columns

Matrix = NDArray[np.float64]
# Rows of a tile of the kernel: 32 MiB of float64 products.
_TILE_ROWS = 2048


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Number, mean and scatter of a set of features; statistics of parts add up to those of the whole.

    Keep them where one reference is compared with many generated sets, or where a set is too large to be read at once.

    Attributes
    ----------
    n
        Number of rows.
    mean
        float64 ``(d,)``.
    scatter
        Sum of the outer products of the centred rows, float64 ``(d, d)``.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> parts = GaussianStatistics.of(X[:20]) + GaussianStatistics.of(X[20:])
    >>> bool(np.allclose(parts.covariance, GaussianStatistics.of(X).covariance))
    True
    """

    n: int
    mean: NDArray[np.float64]
    scatter: Matrix

    @classmethod
    def of(cls, X: ArrayLike, *, name: str = "X") -> Self:
        """The statistics of features ``(n, d)``, n at least 1; `name` is what an InputError calls them."""
        X = check_features(X, name=name)
        mean = column_means(X)
        scatter = np.zeros((X.shape[1], X.shape[1]))
        for block in centered_blocks(X, mean):
            scatter += block.T @ block
        return cls(len(X), mean, scatter)

    @property
    def covariance(self) -> Matrix:
        """Covariance with n - 1 in the denominator, float64 ``(d, d)``; InputError for a single row."""
        if self.n < 2:
            raise InputError(f"covariance: expected statistics of at least 2 rows, got {self.n}.")
        return self.scatter / (self.n - 1)

    def __add__(self, other: GaussianStatistics) -> GaussianStatistics:
        """The statistics of both sets together (Chan, Golub and LeVeque 1983, the pairwise update)."""
        check_same_width(("left", _row(self)), ("right", _row(other)))
        n = self.n + other.n
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.n / n)
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.n * other.n / n)
        return GaussianStatistics(n, mean, scatter)


def frechet_distance(*, generated: ArrayLike | GaussianStatistics, reference: ArrayLike | GaussianStatistics) -> float:
    """Squared Frechet (2-Wasserstein) distance between Gaussians fitted to two sets of features.

    ::

        ||m1 - m2||^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2

    The distance is called FID only with Inception features of the original weights; in any other space name the
    space. It falls as either set grows, at equal distributions too: compare only at equal n on both sides and in the
    same feature space. Fewer rows than columns are allowed - the formula holds for a singular covariance - but then
    the value is mostly that bias. It then takes a matrix of rows by rows instead of columns by columns.

    Parameters
    ----------
    generated, reference
        Features ``(n, d)``, taken as float32, or their `GaussianStatistics`.

    Returns
    -------
    float
        At least 0, in squared units of the features.

    Raises
    ------
    InputError
        For unusable features, differing widths, or fewer than 2 rows in a set.

    References
    ----------
    Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982; Heusel et al., "GANs
    trained by a two time-scale update rule ...", NeurIPS 2017, eq. 6; the bias: Chong and Forsyth, CVPR 2020.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    >>> round(frechet_distance(generated=X + np.float32(0.5), reference=X), 4)  # moved by 0.5 along four axes
    1.0
    """
    if not isinstance(generated, GaussianStatistics) and not isinstance(reference, GaussianStatistics):
        X, Y = check_sets(generated=generated, reference=reference)
        if min(len(X), len(Y)) > 1 and max(len(X), len(Y)) < X.shape[1]:
            return _between_few_rows(X, Y)
    G = _statistics(generated, "generated")
    R = _statistics(reference, "reference")
    check_same_width(("generated", _row(G)), ("reference", _row(R)))
    shift = G.mean - R.mean
    traces = (np.trace(G.scatter) / (G.n - 1)) + (np.trace(R.scatter) / (R.n - 1))
    return max(0.0, float(shift @ shift + traces - 2 * _overlap(G.covariance, R.covariance)))


FRECHET_DISTANCE = Measure(
    name="frechet_distance",
    roles=("generated", "reference"),
    function=lambda roles: frechet_distance(generated=roles.generated, reference=roles.reference),
    reads="low is like real, 0 is equal",
    label="Fréchet distance",
    power=2,
    meaning="Distance between Gaussians fitted to the generated images and to held-out real ones: 0 means equal mean "
    "and covariance.",
    trap="Grows as samples get smaller, and copies of the training set score well. It is an FID only with Inception "
    "features of the original weights; compare at equal sizes and feature space.",
    range=(0.0, None),
    better=-1,
    is_main=True,
    summary="Fréchet",
    moves_with=("generated", "reference"),
    least_rows={"generated": 2, "reference": 2},
    n_spectra=2,
)


def _between_few_rows(X: Features, Y: Features) -> float:
    """The distance of two sets with fewer rows than columns, of which no ``(d, d)`` is made."""
    # With S1 = A^T A and S2 = B^T B, A and B the centred rows over the root of n - 1, the trace of the root is the sum
    # of the singular values of A B^T; added up over columns, a few at a time.
    overlap, shift, traces = np.zeros((len(X), len(Y))), [], []
    step = max(1, _TILE_ROWS**2 // max(len(X), len(Y)))
    for start in range(0, X.shape[1], step):
        A, B = (some_columns(Z, start, start + step) for Z in (X, Y))
        means = A.mean(axis=0), B.mean(axis=0)
        A, B = (A - means[0]) / math.sqrt(len(X) - 1), (B - means[1]) / math.sqrt(len(Y) - 1)
        overlap += A @ B.T
        shift.append(float(np.square(means[0] - means[1]).sum()))
        traces += [float(np.square(A).sum()), float(np.square(B).sum())]
    singular = np.linalg.svd(overlap, compute_uv=False)
    return max(0.0, math.fsum(shift) + math.fsum(traces) - 2 * float(singular.sum()))


def _overlap(A: Matrix, B: Matrix) -> float:
    """Trace of (A^1/2 B A^1/2)^1/2 for symmetric positive semidefinite matrices, in real numbers throughout."""
    # The eigenvalues of that root are the singular values of A^1/2 B^1/2. Taken so, rounding stays of the order of
    # machine epsilon; rooting the eigenvalues of the product would turn 1e-16 into 1e-8 in every null direction.
    return float(np.linalg.svd(_factor(A).T @ _factor(B), compute_uv=False).sum())


def _factor(S: Matrix) -> Matrix:
    """F ``(d, rank)`` with F F^T = S, without the eigenvalues that are zero up to rounding, or negative by it."""
    values, vectors = np.linalg.eigh(S)
    real = values > values[-1] * len(values) * np.finfo(np.float64).eps
    factor: Matrix = vectors[:, real] * np.sqrt(values[real])
    return factor


def _statistics(data: ArrayLike | GaussianStatistics, name: str) -> GaussianStatistics:
    statistics = data if isinstance(data, GaussianStatistics) else GaussianStatistics.of(data, name=name)
    if statistics.n < 2:
        raise InputError(f"{name}: expected at least 2 rows for a covariance, got {statistics.n}.")
    return statistics


def _row(statistics: GaussianStatistics) -> Features:
    return statistics.mean[None].astype(np.float32)


def kernel_distance(*, generated: ArrayLike, reference: ArrayLike) -> float:
    """Squared maximum mean discrepancy with the kernel ``(x.y / d + 1)^3``, without bias.

    ::

        mean over i != j of k(g_i, g_j)  +  mean over i != j of k(r_i, r_j)  -  2 mean over i, j of k(g_i, r_j)

    Its expected value does not depend on the number of rows, so sets of different size may be compared; it is 0 for
    two samples of one distribution, and single values fall on both sides of 0. It is the KID with Inception features
    of the original weights only. The KID of the literature averages this same estimate over random subsets of 1,000
    rows: it has the same expected value, but draws, and is noisier. This one takes all pairs, in tiles, so n x n is
    never held.

    Parameters
    ----------
    generated, reference
        Features ``(n, d)``, at least 2 rows, taken as float32; products and sums are float64.

    Returns
    -------
    float
        In the sixth power of the units of the features, where these are large: compare in one space only.

    Raises
    ------
    InputError
        For unusable features, differing widths, or fewer than 2 rows in a set.

    References
    ----------
    Binkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4; the estimate: Gretton et al., JMLR 13, 2012, eq. 3.

    Examples
    --------
    >>> kernel_distance(generated=[[1.0], [1.0]], reference=[[0.0], [0.0]])
    7.0
    """
    G, R = check_sets(generated=generated, reference=reference, least=2)
    return _mean_of_pairs(G) + _mean_of_pairs(R) - 2 * math.fsum(_sums(G, R)) / (len(G) * len(R))


KERNEL_DISTANCE = Measure(
    name="kernel_distance",
    roles=("generated", "reference"),
    function=lambda roles: kernel_distance(generated=roles.generated, reference=roles.reference),
    reads="0 is equal, high is far",
    label="Kernel distance",
    power=6,
    meaning="Squared maximum mean discrepancy between generated and held-out real images: 0 for equal distributions, "
    "by chance also below.",
    trap="It is a KID only with Inception features of the original weights. Large where the features are large: "
    "compare in one feature space only.",
    better=-1,
    least_rows={"generated": 2, "reference": 2},
    products=(("generated", "generated"), ("generated", "reference"), ("reference", "reference")),
    on_request=True,
)


def _mean_of_pairs(X: Features) -> float:
    """The mean of the kernel over all pairs of different rows."""
    diagonal = np.concatenate([_kernel(np.einsum("ij,ij->i", rows, rows), X.shape[1]) for rows in _tiles(X)])
    return math.fsum([*_sums(X, X), *(-diagonal)]) / (len(X) * (len(X) - 1))


def _sums(X: Features, Y: Features) -> Iterator[float]:
    """Sums of the kernel over the rows of tiles."""
    for rows in _tiles(X):
        for columns in _tiles(Y):
            yield from _kernel(rows @ columns.T, X.shape[1]).sum(axis=1)


def _tiles(X: Features) -> Iterator[NDArray[np.float64]]:
    return (X[start : start + _TILE_ROWS].astype(np.float64) for start in range(0, len(X), _TILE_ROWS))


def _kernel(products: NDArray[np.float64], d: int) -> NDArray[np.float64]:
    base = products / d + 1
    return base * base * base
