"""How close the generated distribution is to the real one: the Frechet distance between two fitted Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import check_features
from entropick.errors import InputError
from entropick.metrics.moments import centered_blocks, column_means

Matrix = NDArray[np.float64]


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
        _check_widths("left", self, "right", other)
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
    the value is mostly that bias.

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
    G = _statistics(generated, "generated")
    R = _statistics(reference, "reference")
    _check_widths("generated", G, "reference", R)
    shift = G.mean - R.mean
    traces = (np.trace(G.scatter) / (G.n - 1)) + (np.trace(R.scatter) / (R.n - 1))
    return max(0.0, float(shift @ shift + traces - 2 * _overlap(G.covariance, R.covariance)))


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


def _check_widths(name_a: str, a: GaussianStatistics, name_b: str, b: GaussianStatistics) -> None:
    if a.mean.shape != b.mean.shape:
        raise InputError(
            f"expected the same number of feature columns, but {name_a} has {len(a.mean)}, {name_b} has {len(b.mean)}. "
            "Extract all of them alike."
        )
