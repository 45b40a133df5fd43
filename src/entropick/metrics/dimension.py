"""How many directions a set really has, whatever the number of its columns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import check_count, check_features
from entropick.errors import InputError
from entropick.neighbors import distinct_rows, nearest_neighbors


def intrinsic_dimension(X: ArrayLike, k: int = 10) -> float:
    """Maximum-likelihood estimate of the dimension of the manifold that `X` lies near, from neighbour distances.

    ::

        1 / m = 1 / (N (k - 1)) sum over i  sum over j < k of  log (eps_k(i) / eps_j(i))

    with eps_j(i) the L2 distance from point i to its j-th nearest other point. Around a point of an m-dimensional
    manifold the number of points within r grows like r^m; m is fitted to that. With ``k = 2`` this is the likelihood
    form of TwoNN.

    It has no unit and does not change when the features are scaled. With few points it is too low, the more so the
    higher the dimension (about 60 % of it at 1,000 points and m = 50): compare at equal N, k and feature space.
    Duplicates are dropped first, as in `knn_entropy`; near-copies lower the estimate.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32.
    k
        Neighbours looked at, at least 2. A larger k has less variance and sees coarser structure.

    Returns
    -------
    float
        At least 0; 0 for a collapsed set (at least k + 1 rows, fewer than k + 1 distinct ones).

    Raises
    ------
    InputError
        For unusable features, a `k` below 2, or fewer than k + 1 rows.

    References
    ----------
    Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", NeurIPS 2004, eq. 8, with inverses
    averaged as MacKay and Ghahramani (2005) showed to be right. TwoNN: Facco et al., Sci. Rep. 7, 12140 (2017).

    Examples
    --------
    >>> line = np.outer(np.random.default_rng(0).uniform(size=500), np.ones(20))
    >>> round(intrinsic_dimension(line))
    1
    """
    X = check_features(X)
    k = check_count(k, name="k", minimum=2)
    if len(X) < k + 1:
        raise InputError(f"X: expected at least k + 1 = {k + 1} rows to have a neighbour {k}, got {len(X)}.")
    first, _ = distinct_rows(X)
    if len(first) < k + 1:
        return 0.0
    points = X if len(first) == len(X) else X[first]
    logs = np.log(nearest_neighbors(points, points, k=k, exclude_self=True).distances)
    growth = math.fsum((logs[:, -1:] - logs[:, :-1]).ravel())
    return len(points) * (k - 1) / growth if growth else math.inf
