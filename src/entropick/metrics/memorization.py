"""Does the model generalize or copy? The distance from what it generated to what it was trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Features, check_features, check_same_width
from entropick.errors import InputError
from entropick.neighbors import nearest_neighbors

_BLOCK_ROWS = 4096


def generalization_score(*, generated: ArrayLike, training: ArrayLike, allow_same: bool = False) -> float:
    """Mean L2 distance from each generated row to its nearest training row: high is novel, low is copied.

    ::

        GS = 1/|G| sum over x in G of  min over z in D of  ||x - z||

    The score has the unit of the features, so it says nothing by itself. Compare it with the score of fresh real rows
    against the same training set, ``generalization_score(generated=reference, training=training)``: a ratio near 1 is
    as novel as fresh data, one near 0 is copying. The number of *training* rows moves the score (more rows, smaller
    distances), and so does the feature space: compare only at equal training size and in equal features.

    For the neighbour of each single row - to show images beside what they were copied from - call
    ``entropick.neighbors.nearest_neighbors(generated, training)``; this score is the mean of its first distances.

    Parameters
    ----------
    generated
        Features of generated images, ``(n_generated, d)``, taken as float32.
    training
        Features of the images the generator was trained on, ``(n_training, d)``, taken as float32.
    allow_same
        Accept the same array on both sides; the score is then 0.

    Returns
    -------
    float
        At least 0; computed in float64, independent of the order of rows.

    Raises
    ------
    InputError
        For unusable features, differing widths, or (without `allow_same`) the same array on both sides: that is a
        training set compared with itself, which looks like perfect copying.

    References
    ----------
    Shi et al., "A Closer Look at Model Collapse: From a Generalization-to-Memorization Perspective", NeurIPS 2025,
    arXiv 2509.16499: the generalization score GS(n), with kappa the L2 distance.

    Examples
    --------
    >>> generalization_score(generated=[[0.0, 3.0], [4.0, 0.0]], training=[[0.0, 0.0], [9.0, 9.0]])
    3.5
    """
    G = check_features(generated, name="generated")
    T = check_features(training, name="training")
    check_same_width(("generated", G), ("training", T))
    if not allow_same and _identical(G, T):
        raise InputError(
            f"generated and training: expected two sets, got one array {G.shape} on both sides, whose score is 0. "
            "Load the generated images on one side, or pass allow_same=True if this is meant."
        )
    distances = nearest_neighbors(G, T).distances[:, 0]
    # fsum rounds once, so the score does not depend on the order of rows.
    return math.fsum(distances) / len(G)


def _identical(a: Features, b: Features) -> bool:
    if a is b:
        return True
    # By blocks: different sets are told apart in the first one, without reading the rest of a memory map.
    return a.shape == b.shape and all(
        np.array_equal(a[start : start + _BLOCK_ROWS], b[start : start + _BLOCK_ROWS])
        for start in range(0, len(a), _BLOCK_ROWS)
    )
