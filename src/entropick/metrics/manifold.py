"""Fidelity and diversity told apart: precision and density, recall and coverage, over balls of nearest neighbours.

The manifold of a set is the union of closed balls around its points, each reaching to the point's k-th nearest other
point of the same set. All distances come from one kernel, so that a point on the border of a ball - every exact copy of
a neighbour is one - is counted as inside, always.

None of the four can tell a copy from a novel image: a generator that returns its training set has perfect precision.
Read them beside `generalization_score`. They move with the number of rows, with k and with the feature space (in high
dimension most of all): compare only where all of these are equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Features, Integers, check_count, check_features, check_same_width
from entropick.metrics.base import Measure, Neighborhood
from entropick.neighbors import count_balls, nearest_neighbors

# Which neighbour sets the radii: as in the papers of the measures.
_K_PRECISION, _K_DENSITY = 3, 5


def precision(*, generated: ArrayLike, reference: ArrayLike, k: int = _K_PRECISION) -> float:
    """Share of generated rows that lie in the manifold of the reference: are the images realistic?

    One reference outlier has a ball that may swallow much; `density` is the measure that withstands it.

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, taken as float32.
    reference
        Features of real images, ``(n_reference, d)``, at least k + 1 rows, taken as float32.
    k
        Which neighbour sets the radius of a ball; 3 in the paper.

    Returns
    -------
    float
        From 0 to 1. Compare only at equal sizes, k and feature space.

    Raises
    ------
    InputError
        For unusable features, differing widths, a `k` below 1 or fewer than k + 1 reference rows.

    References
    ----------
    Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019, eq. 1, 2.

    Examples
    --------
    >>> precision(generated=[[0.5], [9.0]], reference=[[0.0], [1.0], [2.0]], k=1)
    0.5
    """
    return _precision(*_checked(points=("generated", generated), centers=("reference", reference), k=k))


def _precision(points: Features, centers: Neighborhood, k: int = _K_PRECISION) -> float:
    return float(np.mean(_balls_around(points, centers, k) > 0))


PRECISION = Measure(
    name="precision",
    roles=("generated", "reference"),
    function=lambda roles: _precision(roles.generated, roles.within("reference")),
    reads="1 is all",
    label="Precision",
    meaning="Share of generated images that lie among the held-out real ones (within a k-nearest-neighbour ball of "
    "one).",
    trap="Copies of training images score high as well; one outlier among the real images has a ball that swallows "
    "much.",
    range=(0.0, 1.0),
    better=1,
    is_main=True,
    summary="prec.",
    moves_with=("reference",),
    least_rows={"reference": _K_PRECISION + 1},
    searches=(("reference", "reference"), ("generated", "reference")),
    k=_K_PRECISION,
)


def recall(*, generated: ArrayLike, reference: ArrayLike, k: int = _K_PRECISION) -> float:
    """Share of reference rows that lie in the manifold of the generated rows: is all of the real data reached?

    One generated outlier has a ball that may swallow much; `coverage` is the measure that withstands it. Exact
    copies among the generated rows shrink their balls down to radius 0.

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, at least k + 1 rows, taken as float32.
    reference
        Features of real images, ``(n_reference, d)``, taken as float32.
    k
        Which neighbour sets the radius of a ball; 3 in the paper.

    Returns
    -------
    float
        From 0 to 1. Compare only at equal sizes, k and feature space.

    Raises
    ------
    InputError
        For unusable features, differing widths, a `k` below 1 or fewer than k + 1 generated rows.

    References
    ----------
    Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019, eq. 1, 2.

    Examples
    --------
    >>> recall(generated=[[0.0], [1.0], [2.0]], reference=[[0.5], [9.0]], k=1)
    0.5
    """
    return _precision(*_checked(points=("reference", reference), centers=("generated", generated), k=k))


RECALL = Measure(
    name="recall",
    roles=("generated", "reference"),
    function=lambda roles: _precision(roles.reference, roles.within("generated")),
    reads="1 is all",
    label="Recall",
    meaning="Share of held-out real images that lie among the generated ones (within a k-nearest-neighbour ball of "
    "one).",
    trap="One generated outlier has a ball that swallows much; compare at equal sizes and k.",
    range=(0.0, 1.0),
    better=1,
    is_main=True,
    summary="recall",
    moves_with=("generated",),
    least_rows={"generated": _K_PRECISION + 1},
    searches=(("generated", "generated"), ("reference", "generated")),
    k=_K_PRECISION,
)


def density(*, generated: ArrayLike, reference: ArrayLike, k: int = _K_DENSITY) -> float:
    """Mean number of reference balls that a generated row lies in, over k: are the images where real ones are dense?

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, taken as float32.
    reference
        Features of real images, ``(n_reference, d)``, at least k + 1 rows, taken as float32.
    k
        Which neighbour sets the radius of a ball; 5 in the paper.

    Returns
    -------
    float
        At least 0; near 1 for two samples of one distribution, above 1 where generated rows crowd in dense places.

    Raises
    ------
    InputError
        For unusable features, differing widths, a `k` below 1 or fewer than k + 1 reference rows.

    References
    ----------
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020 (density).

    Examples
    --------
    >>> density(generated=[[0.5], [9.0]], reference=[[0.0], [1.0], [2.0]], k=1)
    1.0
    """
    return _density(*_checked(points=("generated", generated), centers=("reference", reference), k=k))


def _density(points: Features, centers: Neighborhood, k: int = _K_DENSITY) -> float:
    return float(np.mean(_balls_around(points, centers, k)) / k)


DENSITY = Measure(
    name="density",
    roles=("generated", "reference"),
    function=lambda roles: _density(roles.generated, roles.within("reference")),
    reads="1 is as real ones do",
    label="Density",
    meaning="Mean number of real k-nearest-neighbour balls that a generated image lies in, divided by k.",
    trap="Not bounded by 1; copies of training images score high as well.",
    range=(0.0, None),
    better=1,
    moves_with=("reference",),
    least_rows={"reference": _K_DENSITY + 1},
    searches=(("reference", "reference"), ("generated", "reference")),
    k=_K_DENSITY,
)


def coverage(*, generated: ArrayLike, reference: ArrayLike, k: int = _K_DENSITY) -> float:
    """Share of reference balls that hold at least one generated row: is all of the real data reached?

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, taken as float32.
    reference
        Features of real images, ``(n_reference, d)``, at least k + 1 rows, taken as float32.
    k
        Which neighbour sets the radius of a ball; 5 in the paper.

    Returns
    -------
    float
        From 0 to 1. With two samples of n rows of one distribution about 1 - 2^-k, whatever the dimension.

    Raises
    ------
    InputError
        For unusable features, differing widths, a `k` below 1 or fewer than k + 1 reference rows.

    References
    ----------
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020 (coverage and
    its expected value).

    Examples
    --------
    >>> coverage(generated=[[0.5], [9.0]], reference=[[0.0], [1.0], [3.0]], k=1)
    0.6666666666666666
    """
    return _coverage(*_checked(points=("generated", generated), centers=("reference", reference), k=k))


def _coverage(points: Features, centers: Neighborhood, k: int = _K_DENSITY) -> float:
    nearest = nearest_neighbors(centers.rows, points, work=centers.work).distances[:, 0]
    return float(np.mean(nearest <= centers.distances(k)))


COVERAGE = Measure(
    name="coverage",
    roles=("generated", "reference"),
    function=lambda roles: _coverage(roles.generated, roles.within("reference")),
    reads="1 is all",
    label="Coverage",
    meaning="Share of held-out real images whose k-nearest-neighbour ball holds at least one generated image.",
    trap="Rises with the number of generated images; compare at equal sizes and k.",
    range=(0.0, 1.0),
    better=1,
    is_main=True,
    moves_with=("generated", "reference"),
    least_rows={"reference": _K_DENSITY + 1},
    searches=(("reference", "reference"), ("reference", "generated")),
    k=_K_DENSITY,
)


def _checked(
    *, points: tuple[str, ArrayLike], centers: tuple[str, ArrayLike], k: int
) -> tuple[Features, Neighborhood, int]:
    X = check_features(points[1], name=points[0])
    around = Neighborhood(centers[1], name=centers[0])
    check_same_width(*sorted([(points[0], X), (centers[0], around.rows)], key=lambda side: side[0]))
    around.check(check_count(k, name="k"))
    return X, around, k


def _balls_around(points: Features, centers: Neighborhood, k: int) -> Integers:
    """In how many balls of `centers` each point lies, int64 ``(n_points,)``."""
    return count_balls(points, centers=centers.rows, radii=centers.distances(k), work=centers.work)
