"""How spread out a set is: the nearest-neighbour estimate of differential entropy, its blind spot, duplicates, and the
number of dimensions that the set fills."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import check_count
from entropick.metrics.base import Measure, Neighborhood
from entropick.work import Work


def knn_entropy(X: ArrayLike, k: int = 1, *, work: Work | None = None) -> float:
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
    work
        As in `entropick.neighbors.nearest_neighbors`.

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
    return _knn_entropy(Neighborhood(X, work=work), check_count(k, name="k"))


def _knn_entropy(rows: Neighborhood, k: int = 1) -> float:
    rows.check(k)
    n = rows.n_distinct
    d: int = rows.rows.shape[1]
    if n < k + 1:
        return -math.inf
    distances = rows.distinct_distances(k)[:, k - 1]
    # psi(n) - psi(k) for whole numbers is this sum, without scipy; fsum rounds once, so row order does not matter.
    digammas = math.fsum(1.0 / i for i in range(k, n))
    log_unit_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    return digammas + log_unit_ball + d / n * math.fsum(np.log(distances))


KNN_ENTROPY = Measure(
    name="knn_entropy",
    roles=("training",),
    function=lambda roles: _knn_entropy(roles.within("training")),
    reads="high is varied; compare at equal size and feature space only",
    label="Entropy of the training set",
    meaning="Kozachenko-Leonenko estimate from nearest-neighbour distances over the distinct images of the training "
    "set: the more evenly spread, the higher. It is a differential entropy and may be negative.",
    trap="Biased in high dimension, and the bias moves with the number of images N: compare only at equal N, k and "
    "feature space. Duplicates are dropped first, so read it beside the duplicate share.",
    unit="nats",
    better=1,
    is_main=True,
    short="entropy",
    summary="entropy",
    moves_with=("training",),
    least_rows={"training": 2},
    searches=(("training", "training"),),
)


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
    return _duplicate_share(Neighborhood(X))


def _duplicate_share(rows: Neighborhood) -> float:
    return (len(rows.rows) - rows.n_distinct) / len(rows.rows)


DUPLICATE_SHARE = Measure(
    name="duplicate_share",
    roles=("training",),
    function=lambda roles: _duplicate_share(roles.within("training")),
    reads="0 is all different",
    label="Duplicate share",
    meaning="Share of the training set that repeats another of its images exactly.",
    trap="Near copies that differ in one value are not counted.",
    range=(0.0, 1.0),
    axis=(0.0, None),
    better=-1,
    moves_with=("training",),
)


_DIMENSION_NEIGHBORS = 10
# Rows whose logarithms are summed at once.
_BLOCK_ROWS = 65_536


def intrinsic_dimension(X: ArrayLike, k: int = _DIMENSION_NEIGHBORS) -> float:
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
    return _intrinsic_dimension(Neighborhood(X), check_count(k, name="k", minimum=2))


def _intrinsic_dimension(rows: Neighborhood, k: int = _DIMENSION_NEIGHBORS) -> float:
    rows.check(k)
    if rows.n_distinct < k + 1:
        return 0.0
    distances = rows.distinct_distances(k)
    blocks = (np.log(distances[start : start + _BLOCK_ROWS]) for start in range(0, len(distances), _BLOCK_ROWS))
    growth = math.fsum(value for logs in blocks for value in (logs[:, -1:] - logs[:, :-1]).ravel())
    return rows.n_distinct * (k - 1) / growth if growth else math.inf


INTRINSIC_DIMENSION = Measure(
    name="intrinsic_dimension",
    roles=("training",),
    function=lambda roles: _intrinsic_dimension(roles.within("training")),
    reads="high is varied, 0 is collapsed",
    label="Intrinsic dimension of the training set",
    unit="dimensions",
    meaning="The dimension of the surface that its images lie near, estimated from the distances of their ten nearest "
    "neighbours.",
    trap="Too low with few images, the more so the higher it is: compare at equal size and feature space.",
    range=(0.0, None),
    better=1,
    moves_with=("training",),
    least_rows={"training": _DIMENSION_NEIGHBORS + 1},
    searches=(("training", "training"),),
    k=_DIMENSION_NEIGHBORS,
    on_request=True,
)
