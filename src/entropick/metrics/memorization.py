"""Does the model generalize or copy? The distance from what it generated to what it was trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from entropick.metrics.base import Measure, Neighborhood
from entropick.metrics.near_copies import mean_distance, nearest_training
from entropick.neighbors import Neighbors


def generalization_score(*, generated: ArrayLike, training: ArrayLike, allow_same: bool = False) -> float:
    """Mean L2 distance from each generated row to its nearest training row: high is novel, low is copied.

    ::

        GS = 1/|G| sum over x in G of  min over z in D of  ||x - z||

    The score has the unit of the features, so it says nothing by itself. `copying` sets it beside the score of fresh
    real rows, as a ratio, and tells the neighbour of each single row. The number of *training* rows moves the score
    (more rows, smaller distances), and so does the feature space: compare only at equal training size and in equal
    features.

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
    found = nearest_training(generated=generated, training=training, allow_same=allow_same)
    return mean_distance(found.distances[:, 0])


GENERALIZATION_SCORE = Measure(
    name="generalization_score",
    roles=("generated", "training"),
    function=lambda roles: mean_distance(roles.nearest_training.distances[:, 0]),
    reads="high is novel, 0 is a copy",
    label="Generalization score",
    power=1,
    meaning="Mean distance from a generated image to its nearest image in its training set: "
    "high means novel images, low means copies.",
    trap="Noise is far from everything, so a high score alone does not mean good images: read it beside precision, and "
    "against the real-data line. Comparable at equal training-set size and feature space.",
    range=(0.0, None),
    better=1,
    is_main=True,
    short="GS",
    summary="GS",
    moves_with=("training",),
    in_full=True,  # As in the paper.
    searches=(("generated", "training"),),
)
GENERALIZATION_SCORE_REAL = Measure(
    name="generalization_score_real",
    roles=("generated", "real"),
    function=lambda roles: generalization_score(generated=roles.generated, training=roles.real, allow_same=True),
    reads="high is novel, 0 is a copy",
    label="Generalization score against real data",
    power=1,
    meaning="Mean distance from a generated image to its nearest original real image.",
    trap="Where the training set is generated itself, an image can be far from the real ones and still a copy.",
    range=(0.0, None),
    moves_with=("real",),
    searches=(("generated", "real"),),
)
GENERALIZATION_SCORE_BASELINE = Measure(
    name="generalization_score_baseline",
    roles=("training", "reference"),
    function=lambda roles: mean_distance(roles.held_out_distances),
    reads="what the generalization score is measured against",
    label="Score of fresh real images",
    power=1,
    meaning="Mean distance from a held-out real image to its nearest of as many real images as the training set has: "
    "what the generalization score is measured against.",
    trap="Held-out images that are in the training set as well make it too low.",
    range=(0.0, None),
    moves_with=("training",),
    searches=(("reference", "training"),),
    on_request=True,
)
GENERALIZATION_SCORE_RATIO = Measure(
    name="generalization_score_ratio",
    roles=("generated", "training", "reference"),
    function=lambda roles: roles.copying.ratio,
    reads="1 is as novel as fresh data, 0 is a copy",
    label="Ratio to fresh real images",
    meaning="The generalization score over the score of fresh real images: 1 is as new as fresh data, 0 is a copy.",
    trap="A mean: a few copies among many new images hardly move it, so read it beside the near-copy rate. Noise, too, "
    "is far from everything.",
    range=(0.0, None),
    axis=(0.0, 1.0),
    better=1,
    is_main=True,
    short="ratio",
    moves_with=("training",),
    searches=(("generated", "training"), ("reference", "training")),
)


def spacing_ratio(*, generated: ArrayLike, training: ArrayLike, allow_same: bool = False) -> float:
    """The generalization score over the spacing of the training set: copying, whatever the set's scale.

    ::

        mean over x in G of min over z in D of ||x - z||   /   mean over z in D of min over z' != z in D of ||z - z'||

    A generator that has learned what its training set was drawn from emits images that are as far from the training
    images as these are from one another, so it has about 1: exactly 1 in expectation, but that a training image has
    one neighbour less to be near to. The features' unit and scale cancel. So a set that merely shrinks keeps its value,
    while the score falls with it; a generator that copies has 0. Which of the two happens is what this tells.

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, taken as float32.
    training
        Features, ``(n_training, d)``, at least 2 rows, taken as float32. Their number moves the value of copies.
    allow_same
        Accept the same array on both sides; the value is then 0.

    Returns
    -------
    float
        At least 0; of a training set without any spacing, all its rows being alike in pairs, 0 for copies of it and
        infinite for anything else.

    Raises
    ------
    InputError
        For unusable features, differing widths, fewer than 2 training rows, or the same array on both sides.

    References
    ----------
    The score: Shi et al. 2025, arXiv 2509.16499. Beside distances within the training set, row by row: `authpct`.

    Examples
    --------
    >>> spacing_ratio(generated=[[0.5], [2.5]], training=[[0.0], [1.0], [3.0]])
    0.375
    >>> spacing_ratio(generated=[[5.0], [25.0]], training=[[0.0], [10.0], [30.0]])  # ten times as large
    0.375
    """
    found = nearest_training(generated=generated, training=training, allow_same=allow_same)
    return _over_spacing(found, Neighborhood(training, name="training"))


def _over_spacing(found: Neighbors, training: Neighborhood) -> float:
    score, spacing = mean_distance(found.distances[:, 0]), mean_distance(training.distances(1))
    if spacing:
        return score / spacing
    return math.inf if score else 0.0


SPACING_RATIO = Measure(
    name="spacing_ratio",
    roles=("generated", "training"),
    function=lambda roles: _over_spacing(roles.nearest_training, roles.within("training")),
    reads="1 is as new as a fresh draw, 0 is a copy, whatever the scale",
    label="Score over spacing",
    meaning="The generalization score over the mean distance of a training image to its nearest other training image: "
    "copying, whatever the scale. A training set that merely shrinks keeps its value, about 1; copies have 0.",
    trap="Near-identical training images make the spacing small and hide copies; a set chosen for distance has a wide "
    "one, and seems nearer to copies than it is. Noise is far above 1.",
    range=(0.0, None),
    axis=(0.0, 1.0),
    better=1,
    is_main=True,
    short="score/spacing",
    moves_with=("training",),
    least_rows={"training": 2},
    searches=(("generated", "training"), ("training", "training")),
)
NEAR_COPY_RATE = Measure(
    name="near_copy_rate",
    roles=("generated", "training", "reference"),
    function=lambda roles: roles.copying.near_copy_rate,
    reads="0.01 or less is honest, 1 is all copies",
    label="Near-copy rate",
    meaning="Share of generated images that are nearer to a training image than 99 % of fresh real images are, or "
    "exact copies of one.",
    trap="About 1 % is chance, more with fewer than 99 held-out images. In pixels a shifted or recoloured copy is no "
    "near copy: look in an encoder's space, too.",
    range=(0.0, 1.0),
    better=-1,
    moves_with=("training",),
    searches=(("generated", "training"), ("reference", "training")),
)


def authpct(*, generated: ArrayLike, training: ArrayLike, allow_same: bool = False) -> float:
    """Share of authentic rows: farther from their nearest training row than that row is from its own neighbour.

    Row x with nearest training row z is authentic if ``||x - z|| >= min over z' of ||z - z'||``, z' the other training
    rows. It needs no held-out images, but it has no fixed value for honest data: fresh real rows score well below 1,
    and the value depends on dimension. Compare it with that of the reference, ``authpct(generated=reference, ...)``.
    Where training rows come in pairs of near copies, copies of them count as authentic.

    Parameters
    ----------
    generated
        Features, ``(n_generated, d)``, taken as float32.
    training
        Features, ``(n_training, d)``, at least 2 rows, taken as float32.
    allow_same
        Accept the same array on both sides.

    Returns
    -------
    float
        From 0 to 1; the literature's AuthPct is 100 times that.

    Raises
    ------
    InputError
        For unusable features, differing widths, fewer than 2 training rows, or the same array on both sides.

    References
    ----------
    Alaa et al., "How faithful is your synthetic data? Sample-level metrics for evaluating and auditing generative
    models", ICML 2022, section 2.3, with their classifier; as AuthPct: Stein et al., NeurIPS 2023.

    Examples
    --------
    >>> authpct(generated=[[0.1], [5.0]], training=[[0.0], [1.0], [3.0]])
    0.5
    """
    found = nearest_training(generated=generated, training=training, allow_same=allow_same)
    return _authentic_share(found, Neighborhood(training, name="training"))


def _authentic_share(found: Neighbors, training: Neighborhood) -> float:
    return float(np.mean(found.distances[:, 0] >= training.distances(1)[found.indices[:, 0]]))


AUTHPCT = Measure(
    name="authpct",
    roles=("generated", "training"),
    function=lambda roles: _authentic_share(roles.nearest_training, roles.within("training")),
    reads="high is novel, 0 is all copies; compare with the reference's",
    label="Authentic share",
    meaning="Share of generated images that are farther from their nearest training image than that one is from its "
    "own nearest training image.",
    trap="Fresh real images score well below 1, how far depends on the dimension. Copies of training images that come "
    "in near-identical pairs count as authentic.",
    range=(0.0, 1.0),
    better=1,
    moves_with=("training",),
    least_rows={"training": 2},
    searches=(("generated", "training"), ("training", "training")),
)
