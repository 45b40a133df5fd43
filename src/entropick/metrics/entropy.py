"""How spread out a set is: the nearest-neighbour estimate of differential entropy, and its blind spot, duplicates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import check_count, check_features
from entropick.errors import InputError
from entropick.neighbors import distinct_rows, nearest_neighbors


def knn_entropy(X: ArrayLike, k: int = 1) -> float:
    """Kozachenko-Leonenko estimate of the differential entropy of the distribution behind `X`, in nats.

    ::

        H = psi(N) - psi(k) + log c_d + (d / N) sum over i of log eps_k(i)

    with eps_k(i) the L2 distance from point i to its k-th nearest other point and c_d the volume of the unit ball in
    d dimensions. Everything is in log space and float64.

    **Duplicates.** The distance to an exact copy is 0 and its logarithm -inf, so the estimate is made over the
    *distinct* rows: N is their number, and how many were dropped is `duplicate_share`, to be shown beside it. A set of
    at least k + 1 rows with fewer than k + 1 distinct ones has collapsed: its entropy is ``-inf``, not an error, so
    that a loop survives to report it. Near-copies are kept and lower the estimate, as they should.

    **Bias.** In high dimension the estimate is far off (with thousands of points of a Gaussian about +90 nats at
    d = 384 and +950 at d = 3072), and the bias moves with N. Compare estimates only at equal N, equal k and in the
    same feature space; never read one as the entropy itself.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32.
    k
        Which neighbour; 1 in the paper. A larger k trades variance for bias.

    Returns
    -------
    float
        Nats, ``-inf`` for a collapsed set. ``a * X`` has ``d * log(a)`` more than `X`.

    Raises
    ------
    InputError
        For unusable features, a `k` below 1, or fewer than k + 1 rows.

    References
    ----------
    Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector", 1987; in the form of Kraskov et al.,
    Phys. Rev. E 69, 066138 (2004), eq. 20, with distances for diameters. As the entropy of the training set: Shi et
    al. 2025, arXiv 2509.16499.

    Examples
    --------
    >>> X = np.random.default_rng(0).uniform(0, 4, (2000, 1))
    >>> abs(knn_entropy(X, k=3) - math.log(4)) < 0.1
    True
    >>> knn_entropy(np.zeros((10, 2)))
    -inf
    """
    X = check_features(X)
    k = check_count(k, name="k")
    if len(X) < k + 1:
        raise InputError(f"X: expected at least k + 1 = {k + 1} rows to have a neighbour {k}, got {len(X)}.")
    first, _ = distinct_rows(X)
    n = len(first)
    d: int = X.shape[1]
    if n < k + 1:
        return -math.inf
    points = X if n == len(X) else X[first]
    distances = nearest_neighbors(points, points, k=k, exclude_self=True).distances[:, k - 1]
    # psi(n) - psi(k) for whole numbers is this sum, without scipy; fsum rounds once, so row order does not matter.
    digammas = math.fsum(1.0 / i for i in range(k, n))
    return digammas + _log_unit_ball(d) + d / n * math.fsum(np.log(distances))


def duplicate_share(X: ArrayLike) -> float:
    """Share of rows that repeat an earlier row exactly, from 0 to (n - 1) / n; what `knn_entropy` leaves out.

    Parameters
    ----------
    X
        Features, ``(n, d)``, compared as float32; 0.0 and -0.0 are the same value.

    Raises
    ------
    InputError
        For unusable features.

    Examples
    --------
    >>> duplicate_share([[1.0], [2.0], [1.0], [1.0]])
    0.5
    """
    X = check_features(X)
    first, _ = distinct_rows(X)
    return (len(X) - len(first)) / len(X)


def _log_unit_ball(d: int) -> float:
    """Logarithm of the volume of the unit ball in `d` dimensions."""
    return d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
