"""What a selection tells: its cover and its distances, what they prove, and what chance would have done."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Features, check_features
from entropick.errors import DuplicateWarning, InputError
from entropick.metrics.entropy import duplicate_share, knn_entropy
from entropick.page.words import number
from entropick.random_stream import RandomStream
from entropick.selectors.approximate import ApproximateGreedy
from entropick.selectors.base import Selector
from entropick.selectors.dealt import covering_radius
from entropick.selectors.random import Random
from entropick.work import Work


@dataclass(frozen=True)
class Measures:
    """One set of rows, measured against the pool that it was chosen from. Distances in the units of the features.

    Attributes
    ----------
    covering_radius
        The largest distance of any row of the pool to its nearest chosen row; small is good.
    min_distance
        The smallest distance between two chosen rows, those left out that were both picked already; large is good. None
        if there is only one.
    knn_entropy
        In nats, see `entropick.metrics.knn_entropy`; None where it is not finite or cannot be estimated.
    duplicate_share
        Share of rows that repeat another exactly.
    """

    covering_radius: float
    min_distance: float | None
    knn_entropy: float | None
    duplicate_share: float


@dataclass(frozen=True)
class Certificate:
    """What follows for every other selection of the same size from the same pool.

    Attributes
    ----------
    best_radius_at_least
        No selection of this size has a smaller covering radius.
    factor
        The covering radius is at most this many times the smallest possible one; None where that says nothing.
    core_set
        Of a choice from a core-set alone, which is not exact, what was known before the whole pool was looked at, see
        `entropick.selectors.ApproximateGreedy`: ``eps``, its ``rows``, the ``distance`` of any other row to one of
        these at most, ``radius_at_most`` and ``factor_at_most``. None of a choice from all rows.
    threshold
        The last threshold of Threshold Decay, or None.
    pairs_above_threshold
        Whether all pairs are farther apart than the threshold, as the filter promises of distinct rows.
    rows_within
        ``threshold / decay``, if no row of the pool is farther than that from the selection, else None (the first pass
        was the last, or quotas ruled).
    """

    best_radius_at_least: float
    factor: float | None
    core_set: Mapping[str, float | None] | None = None
    threshold: float | None = None
    pairs_above_threshold: bool | None = None
    rows_within: float | None = None


@dataclass(frozen=True)
class Appraisal:
    """A fitted selector's choice beside a random one of the same size; see `appraise`.

    Attributes
    ----------
    n_pool, n_samples
        Rows to choose from, and rows chosen.
    selection, control
        The choice, and a random choice of as many rows of the same pool. Entropies are comparable only so: at equal
        size, k and feature space.
    control_seed
        What the control depends on.
    certificate
        What the choice proves.
    """

    n_pool: int
    n_samples: int
    selection: Measures
    control: Measures
    control_seed: int
    certificate: Certificate

    def summary(self) -> dict[str, Any]:
        """All of it as plain data, fit for JSON."""
        plain = {name: value if isinstance(value, int) else dict(vars(value)) for name, value in vars(self).items()}
        return {**plain, "entropy_gain": self.entropy_gain}

    @property
    def entropy_gain(self) -> float | None:
        """Entropy of the selection minus that of the control, in nats."""
        chosen, control = self.selection.knn_entropy, self.control.knn_entropy
        return None if chosen is None or control is None else chosen - control


def appraise(
    selector: Selector,
    X: ArrayLike,
    *,
    control_seed: int = 0,
    control: Selector | None = None,
    work: Work | None = None,
) -> Appraisal:
    """Measure what `selector`, fitted on `X` (n, d), has chosen, and a random choice of the same size.

    Rows that were given to the selector as `initial` are the first of the random choice as well. `control` is that
    choice where it is there already, see `random_control`. `work` is that of `entropick.neighbors.nearest_neighbors`.

    Raises
    ------
    InputError
        If `X` is not usable or has fewer rows than the selector was fitted on.

    Notes
    -----
    The certificate needs no trust in the algorithm. The n chosen rows and the row farthest from them are n + 1 rows
    of which no two are nearer than the smaller of `min_distance` and `covering_radius`. Whatever n rows are chosen, two
    of these n + 1 have the same nearest one, so that one of them is at least half that distance away. For `Greedy`,
    whose pairs are at least a covering radius apart, this is its 2-approximation of the k-center problem (Gonzalez,
    "Clustering to minimize the maximum intercluster distance", 1985); for `ThresholdDecay` it gives at most
    ``2 / decay``.

    Examples
    --------
    >>> from entropick.selectors import Greedy
    >>> X = [[0.0], [1.0], [5.0], [9.0]]
    >>> found = appraise(Greedy(n_samples=3, initial=[0]).fit(X), X)
    >>> found.selection.covering_radius, found.certificate.best_radius_at_least, found.certificate.factor
    (1.0, 0.5, 2.0)
    """
    features = check_features(X)
    if len(features) <= int(selector.indices_.max()):
        raise InputError(
            f"X: expected the rows that the selector was fitted on, got {len(features)} rows where it chose row "
            f"{int(selector.indices_.max())}."
        )
    chosen = _measured(features, selector, work)
    certificate = _certificate(_finite(selector.min_distance_), chosen.covering_radius, selector)
    return Appraisal(
        n_pool=len(features),
        n_samples=len(selector.indices_),
        selection=chosen,
        control=_measured(features, control or random_control(selector, features, seed=control_seed), work),
        control_seed=control_seed,
        certificate=certificate,
    )


def random_control(selector: Selector, X: Features, *, seed: int) -> Random:
    """A random choice from `X` of as many rows as `selector` chose, after the same `initial` ones; it knows its
    covering radius, which the shards of what is dealt find."""
    control = Random(
        n_samples=len(selector.indices_),
        initial=selector.initial,
        random_state=RandomStream(seed, stage="random control").rng(),
    )
    with warnings.catch_warnings():
        # That the pool has copies has been said of the selection.
        warnings.simplefilter("ignore", DuplicateWarning)
        control.fit(X)
    vars(control)["covering_radius_"] = covering_radius(X, control.indices_)
    return control


def _measured(X: Features, selector: Selector, work: Work | None) -> Measures:
    points = X[selector.indices_]
    # Some selectors know it as they end; it is what would be measured.
    radius = vars(selector).get("covering_radius_")
    radius = covering_radius(X, selector.indices_) if radius is None else float(radius)
    entropy = knn_entropy(points, work=work) if len(points) > 1 else math.inf
    # How far apart rows are that were picked already is no merit of the choice.
    n_initial = 0 if selector.initial is None else np.size(selector.initial)
    nearest = float(selector.distances_[n_initial:].min(initial=math.inf))
    return Measures(radius, _finite(nearest), _finite(entropy), duplicate_share(points))


def _certificate(min_distance: float | None, radius: float, selector: Selector) -> Certificate:
    apart = math.inf if min_distance is None else min_distance
    least = min(apart, radius) / 2
    factor = radius / least if least > 0 else None
    if isinstance(selector, ApproximateGreedy):
        facts = {name: _finite(value) for name, value in selector.facts_.items()}
        names = ("radius_at_most", "factor_at_most")
        core_set = {"eps": selector.eps, "rows": facts["core_rows"], "distance": facts["core_distance"]}
        return Certificate(least, factor, core_set | {name: facts[name] for name in names})
    threshold, decay = vars(selector).get("threshold_"), selector.get_params().get("decay")
    # Thresholds of other rules promise nothing of the kind.
    if threshold is None or decay is None:
        return Certificate(least, factor)
    within = threshold / float(decay)
    return Certificate(least, factor, None, threshold, apart > threshold, within if radius <= within else None)


def core_set_in_words(result: Mapping[str, Any]) -> list[str]:
    """What is to be known of a choice from a core-set, by what ``selection.json`` tells; nothing of an exact one."""
    of = result["certificate"].get("core_set")
    if of is None:
        return []
    n, n_pool = of["rows"], result["n_pool"]
    if n == n_pool:
        found = f"no row of the pool is so near another that it fell away: all {n_pool:,} were looked at, as without"
    else:
        found = f"chosen from {n:,} of {n_pool:,} rows, of which every other row is within {number(of['distance'])}"
    if of["factor_at_most"] is None:
        return [f"approximate, eps {of['eps']:g}: {found}."]
    return [
        f"approximate, eps {of['eps']:g}: {found}.",
        f"covering radius certified to be at most {number(of['radius_at_most'])}, at most "
        f"{number(of['factor_at_most'])} times the smallest possible; then measured, "
        f"{number(result['selection']['covering_radius'])}, at most {number(result['certificate']['factor'])} times.",
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
