"""Which generated rows are near copies of training rows: distances, beside those of fresh real rows.

A distance says nothing by itself; it is judged by the *baseline*, the distances of held-out real rows to as many real
rows. Everything here is exact, per row where that helps (galleries, audits), and independent of the order of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, Integers, check_real, check_sets
from entropick.errors import InputError
from entropick.neighbors import Neighbors, nearest_neighbors
from entropick.work import Work

_BLOCK_ROWS = 4096
# The share of fresh real rows that may be taken for near copies, and how rarely more than `most_by_chance` are.
FALSE_ALARMS, RARELY = 0.01, 0.001


@dataclass(frozen=True, eq=False)
class Copying:
    """How near every generated row is to its training set, and how near fresh real rows are; see `copying`.

    Attributes
    ----------
    distances
        From each generated row to its nearest training row, float64 ``(n_generated,)``, in the units of the features.
    neighbors
        That training row, int64 ``(n_generated,)``.
    baseline_distances
        From each reference row to its nearest of as many real rows, float64 ``(n_reference,)``.
    false_alarms
        The share of fresh real rows that may be taken for near copies.
    """

    distances: NDArray[np.float64]
    neighbors: Integers
    baseline_distances: NDArray[np.float64]
    false_alarms: float = FALSE_ALARMS

    @property
    def score(self) -> float:
        """The generalization score: the mean of `distances`."""
        return mean_distance(self.distances)

    @property
    def baseline(self) -> float:
        """The score of fresh real rows: the mean of `baseline_distances`."""
        return mean_distance(self.baseline_distances)

    @property
    def ratio(self) -> float:
        """`score` over `baseline`: 1 is as novel as fresh data, 0 is a copy; NaN where the baseline is 0."""
        return self.score / self.baseline if self.baseline else math.nan

    @cached_property
    def near_copy_distance(self) -> float:
        """Below this distance to its nearest training row a row is a near copy."""
        rank = near_copy_rank(len(self.baseline_distances), self.false_alarms)
        return float(np.partition(self.baseline_distances, rank - 1)[rank - 1])

    @property
    def copying_ratio(self) -> float | None:
        """The ratio at which the mean generated row is a near copy, from 0 to 1; None where the baseline is 0."""
        return self.near_copy_distance / self.baseline if self.baseline else None

    @cached_property
    def near_copies(self) -> NDArray[np.bool_]:
        """Which generated rows are near copies, bool ``(n_generated,)``."""
        near: NDArray[np.bool_] = (self.distances < self.near_copy_distance) | (self.distances == 0)
        return near

    @property
    def near_copy_rate(self) -> float:
        """The share of generated rows that are near copies."""
        return float(np.mean(self.near_copies))


def copying(
    *,
    generated: ArrayLike,
    training: ArrayLike,
    reference: ArrayLike,
    real: ArrayLike | None = None,
    false_alarms: float = FALSE_ALARMS,
    allow_same: bool = False,
    device: str = "cpu",
) -> Copying:
    """Measure how near each generated row is to the training set, beside fresh real rows.

    **Near copies.** A generated row is a near copy if it is nearer to the training set than all but a share
    `false_alarms` of held-out real rows are: its distance is below the one of rank
    ``floor((n_reference + 1) * false_alarms)``, at least 1, among theirs, in ascending order. An exact copy always is.
    The rule has no scale and assumes no distribution. A fresh real row is called a near copy with a probability of at
    most `false_alarms`, or ``1 / (n_reference + 1)`` where that is more: among n_reference + 1 exchangeable rows it
    has each rank with equal probability. (Exact copies among real images come on top; they are copies.)

    **Equal numbers.** More training rows are nearer, so both sides are measured against equally many. Without `real`
    that is the training set itself on both sides. The number of *queries* does not matter: a reference of any size
    has the same expected distance.

    Parameters
    ----------
    generated
        Features of generated images, ``(n_generated, d)``, taken as float32.
    training
        Features of the images that the generator was trained on, ``(n_training, d)``.
    reference
        Features of real images that no model was trained on, ``(n_reference, d)``.
    real
        Real images that the reference is measured against, ``(n_training, d)``, where the training set is not real
        itself, as in a self-consuming loop.
    false_alarms
        Between 0 and 1.
    allow_same
        Accept the same array for `generated` and `training`.
    device
        Where distances are computed, in the words of torch.

    Raises
    ------
    InputError
        For unusable features, differing widths, a training set on both sides, a reference that is the training set,
        or another number of `real` rows than of training rows.

    References
    ----------
    The score: Shi et al. 2025, arXiv 2509.16499. The bound is that of conformal prediction: Vovk et al., "Algorithmic
    learning in a random world", 2005. A threshold on the distance to the nearest training image: Carlini et al.,
    "Extracting training data from diffusion models", USENIX Security 2023; Somepalli et al., CVPR 2023.

    Examples
    --------
    >>> found = copying(generated=[[0.1], [5.5]], training=[[0.0], [5.0]], reference=[[1.0], [6.0], [4.5]])
    >>> found.near_copies.tolist(), found.neighbors.tolist(), round(found.ratio, 2)
    ([True, False], [0, 1], 0.36)
    """
    found = nearest_training(generated=generated, training=training, allow_same=allow_same, device=device)
    rows = training if real is None else real
    baseline = held_out_distances(reference=reference, real=rows, n_training=len(np.asarray(training)), device=device)
    share = check_real(false_alarms, name="false_alarms", above=0, below=1)
    return Copying(found.distances[:, 0], found.indices[:, 0], baseline, share)


def near_copy_rank(n_reference: int, false_alarms: float = FALSE_ALARMS) -> int:
    """Which of so many reference distances, in ascending order from 1, bounds those of near copies; see `copying`."""
    return max(1, math.floor((n_reference + 1) * false_alarms))


def most_by_chance(n_fresh: int, n_reference: int, false_alarms: float = FALSE_ALARMS) -> int:
    """How many of so many fresh real rows chance may make near copies: more are with a probability below 0.001.

    The bound is a distance of the reference, so it scatters as well, the more the fewer reference rows there are. Of
    ``n_fresh`` rows that are exchangeable with them, a beta-binomial number is below the one of rank r: its share
    follows Beta(r, n_reference + 1 - r). (Exact copies among real images come on top; they are copies.)

    Examples
    --------
    >>> most_by_chance(1000, 1000), most_by_chance(1000, 24)
    (28, 253)
    """
    from scipy.stats import betabinom

    rank = near_copy_rank(n_reference, false_alarms)
    return int(betabinom.isf(RARELY, n_fresh, rank, n_reference + 1 - rank))


def nearest_training(
    *,
    generated: ArrayLike,
    training: ArrayLike,
    allow_same: bool = False,
    device: str = "cpu",
    work: Work | None = None,
) -> Neighbors:
    """The nearest training row of each generated row; InputError for the same array on both sides."""
    G, T = check_sets(generated=generated, training=training)
    if not allow_same and _identical(G, T):
        raise InputError(
            f"generated and training: expected two sets, got one array {G.shape} on both sides, whose score is 0. "
            "Load the generated images on one side, or pass allow_same=True if this is meant."
        )
    return nearest_neighbors(G, T, device=device, work=work)


def held_out_distances(
    *, reference: ArrayLike, real: ArrayLike, n_training: int, device: str = "cpu", work: Work | None = None
) -> NDArray[np.float64]:
    """From each reference row to its nearest real row, float64 ``(n_reference,)``; see `copying` for the errors."""
    R, points = check_sets(reference=reference, real=real)
    if len(points) != n_training:
        raise InputError(
            f"real: expected as many rows as training, {n_training}, because more rows are nearer, got {len(points)}. "
            "Take a random part of the larger one."
        )
    if _identical(R, points):
        raise InputError(
            f"reference: expected real images that no model was trained on, got the training set itself {R.shape}. "
            "Hold some real images out."
        )
    return nearest_neighbors(R, points, device=device, work=work).distances[:, 0]


def mean_distance(distances: NDArray[np.float64]) -> float:
    """The mean, whatever the order of rows."""
    # fsum rounds once.
    return math.fsum(distances) / len(distances)


def _identical(a: Features, b: Features) -> bool:
    if a is b:
        return True
    # By blocks: different sets are told apart in the first one, without reading the rest of a memory map.
    return a.shape == b.shape and all(
        np.array_equal(a[start : start + _BLOCK_ROWS], b[start : start + _BLOCK_ROWS])
        for start in range(0, len(a), _BLOCK_ROWS)
    )
