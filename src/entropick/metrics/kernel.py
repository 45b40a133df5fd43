"""How close the generated distribution is to the real one, without fitting Gaussians: the kernel distance."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, check_features, check_same_width
from entropick.errors import InputError

# Rows of a tile: 32 MiB of float64 products.
_TILE_ROWS = 2048


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
    G, R = check_features(generated, name="generated"), check_features(reference, name="reference")
    check_same_width(("generated", G), ("reference", R))
    for name, X in (("generated", G), ("reference", R)):
        if len(X) < 2:
            raise InputError(f"{name}: expected at least 2 rows for a pair, got {len(X)}.")
    return _mean_of_pairs(G) + _mean_of_pairs(R) - 2 * math.fsum(_sums(G, R)) / (len(G) * len(R))


def _mean_of_pairs(X: Features) -> float:
    """The mean of the kernel over all pairs of different rows."""
    return math.fsum([*_sums(X, X), *(-_diagonal(X))]) / (len(X) * (len(X) - 1))


def _sums(X: Features, Y: Features) -> Iterator[float]:
    """Sums of the kernel over the rows of tiles."""
    for rows in _tiles(X):
        for columns in _tiles(Y):
            yield from _kernel(rows @ columns.T, X.shape[1]).sum(axis=1)


def _diagonal(X: Features) -> NDArray[np.float64]:
    return np.concatenate([_kernel(np.einsum("ij,ij->i", rows, rows), X.shape[1]) for rows in _tiles(X)])


def _tiles(X: Features) -> Iterator[NDArray[np.float64]]:
    return (X[start : start + _TILE_ROWS].astype(np.float64) for start in range(0, len(X), _TILE_ROWS))


def _kernel(products: NDArray[np.float64], d: int) -> NDArray[np.float64]:
    base = products / d + 1
    return base * base * base
