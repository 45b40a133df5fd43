"""What becomes of each class in a loop: how many of its images there still are, and how far these are spread.

A measure over all images can stay what it is while classes vanish one after another. Generated images have no labels,
so an image is of the class of its nearest real image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from entropick.arrays import Features, Integers
from entropick.metrics.diversity import total_variance
from entropick.neighbors import nearest_neighbors


def by_class(real: Features, labels: Integers, sets: Mapping[str, Features], *, space: str) -> dict[str, float]:
    """Numbers of each class of `real` (n, d) with `labels` (n,) in each of the `sets` (m, d), by their names.

    With ``generated`` among the sets, class 3 and space "pixels":

    ``generated_share_3/pixels``
        The share of its images that are of class 3.
    ``generated_dispersion_3/pixels``
        The total variance of these over that of the real images of class 3; 0 where fewer than two are left.
    ``generated_classes/pixels``
        How many classes there are, the exponential of the entropy of the shares: 10 for ten equal ones.
    ``generated_dispersion/pixels``
        The mean of the dispersion over classes; one that has vanished counts as 0.

    Classes of fewer than two different real images have no dispersion.

    Examples
    --------
    >>> real = np.array([[0.0], [2.0], [10.0], [14.0]], np.float32)
    >>> found = by_class(real, np.array([0, 0, 1, 1]), {"made": real[[0, 1, 1, 1]]}, space="it")
    >>> found["made_share_0/it"], found["made_classes/it"], found["made_dispersion_1/it"]
    (1.0, 1.0, 0.0)
    """
    numbers: dict[str, float] = {}
    known = np.unique(labels).tolist()
    own = {label: _variance(real[labels == label]) for label in known}
    for name, X in sets.items():
        nearest = labels[nearest_neighbors(X, real, k=1).indices[:, 0]]
        shares = [float(np.mean(nearest == label)) for label in known]
        numbers |= {f"{name}_share_{label}/{space}": share for label, share in zip(known, shares, strict=True)}
        numbers[f"{name}_classes/{space}"] = math.exp(-sum(share * math.log(share) for share in shares if share))
        spread = {label: _variance(X[nearest == label]) / own[label] for label in known if own[label]}
        numbers |= {f"{name}_dispersion_{label}/{space}": value for label, value in spread.items()}
        if spread:
            numbers[f"{name}_dispersion/{space}"] = sum(spread.values()) / len(spread)
    return numbers


def _variance(X: Features) -> float:
    return total_variance(X) if len(X) > 1 else 0.0
