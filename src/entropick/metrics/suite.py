"""The measures of a loop, by name: one call for all that is asked of one iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entropick.arrays import Features
from entropick.errors import InputError
from entropick.metrics.diversity import total_variance
from entropick.metrics.entropy import duplicate_share, knn_entropy
from entropick.metrics.fidelity import frechet_distance
from entropick.metrics.manifold import coverage, density, precision, recall
from entropick.metrics.memorization import generalization_score


@dataclass(frozen=True)
class Roles:
    """Feature matrices, float32 ``(n, d)``, by the part they play."""

    training: Features
    generated: Features
    reference: Features


MEASURES: dict[str, Callable[[Roles], float]] = {
    # A collapsed model may well emit its training set; here that is a result, not a slip.
    "generalization_score": lambda r: generalization_score(generated=r.generated, training=r.training, allow_same=True),
    "knn_entropy": lambda r: knn_entropy(r.training, k=1),
    "duplicate_share": lambda r: duplicate_share(r.training),
    "total_variance": lambda r: total_variance(r.training),
    "frechet_distance": lambda r: frechet_distance(generated=r.generated, reference=r.reference),
    "precision": lambda r: precision(generated=r.generated, reference=r.reference),
    "recall": lambda r: recall(generated=r.generated, reference=r.reference),
    "density": lambda r: density(generated=r.generated, reference=r.reference),
    "coverage": lambda r: coverage(generated=r.generated, reference=r.reference),
}


def check_measures(names: Sequence[str]) -> None:
    """Raise InputError if one of `names` is no measure."""
    for name in names:
        if name not in MEASURES:
            raise InputError(f"metrics: there is no {name!r}; known are {', '.join(MEASURES)}.")


def measure(roles: Roles, names: Sequence[str], *, space: str) -> dict[str, float | None]:
    """Compute the named measures; keys are ``name/space``, a value that is not finite becomes None."""
    check_measures(names)
    values = {f"{name}/{space}": MEASURES[name](roles) for name in names}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
