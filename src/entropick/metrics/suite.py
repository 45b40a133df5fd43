"""The measures by name: which sets each of them needs, what it asks, and one call for all that is asked at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features
from entropick.errors import InputError
from entropick.metrics.dimension import intrinsic_dimension
from entropick.metrics.diversity import total_variance, vendi_score
from entropick.metrics.entropy import duplicate_share, knn_entropy
from entropick.metrics.fidelity import frechet_distance
from entropick.metrics.kernel import kernel_distance
from entropick.metrics.manifold import coverage, density, precision, recall
from entropick.metrics.memorization import (
    Copying,
    authpct,
    generalization_score,
    held_out_distances,
    mean_distance,
    nearest_training,
)
from entropick.neighbors import Neighbors


@dataclass(frozen=True, eq=False)
class Roles:
    """Feature matrices, float32 ``(n, d)``, by the part they play; None where there is none.

    Attributes
    ----------
    training
        What the generator was trained on.
    generated
        What it made.
    reference
        Real images that no model was trained on.
    real
        The original real images, where the training set is not real itself; see `copying`.
    """

    training: Features | None = None
    generated: Features | None = None
    reference: Features | None = None
    real: Features | None = None

    # What several measures start from is computed once. That generated and training images may be the same is no slip
    # here: a collapsed model may well emit its training set.

    @cached_property
    def nearest_training(self) -> Neighbors:
        """The nearest training row of each generated row."""
        return nearest_training(**self._of("generated", "training"), allow_same=True)

    @cached_property
    def copying(self) -> Copying:
        """Every generated row beside fresh real ones."""
        found = self.nearest_training
        return Copying(found.distances[:, 0], found.indices[:, 0], self.held_out_distances)

    @cached_property
    def held_out_distances(self) -> NDArray[np.float64]:
        """From each reference row to its nearest of as many real rows as there are training rows."""
        assert self.training is not None
        real = self.training if self.real is None else self.real
        return held_out_distances(**self._of("reference"), real=real, n_training=len(self.training))

    def _of(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


_MEANINGS = {
    "training": "the images that the generator was trained on",
    "generated": "the images that it made",
    "reference": "held-out real images",
    "real": "the original real images",
}
_TRAINING = {"X": "training"}
_BOTH = {"generated": "generated", "training": "training"}
_FIDELITY = {"generated": "generated", "reference": "reference"}


@dataclass(frozen=True)
class Measure:
    """One number about some of the sets.

    Attributes
    ----------
    function
        From the roles, those it needs not being None, to the number.
    roles
        Which it needs.
    asks
        The question that it answers.
    better
        Which direction is which.
    same_size
        Comparable only at one number of training rows (and of real rows beside them).
    """

    function: Callable[[Roles], float]
    roles: tuple[str, ...]
    asks: str
    better: str
    same_size: bool = False

    @property
    def of_copying(self) -> bool:
        """Whether generated images are compared with what they may be copies of."""
        return "generated" in self.roles and bool({"training", "real"} & set(self.roles))


def _calling(
    function: Callable[..., float], arguments: dict[str, str], asks: str, better: str, same_size: bool = False
) -> Measure:
    """The measure that calls `function` with a role for each of its `arguments`."""

    def measured(given: Roles) -> float:
        return function(**{argument: getattr(given, role) for argument, role in arguments.items()})

    return Measure(measured, tuple(arguments.values()), asks, better, same_size)


MEASURES: dict[str, Measure] = {
    "generalization_score": Measure(
        lambda given: mean_distance(given.nearest_training.distances[:, 0]),
        ("generated", "training"),
        "how far is a generated image from its nearest training image?",
        "high is novel, 0 is a copy",
    ),
    "generalization_score_real": _calling(
        partial(generalization_score, allow_same=True),
        {"generated": "generated", "training": "real"},
        "how far is a generated image from its nearest original real image?",
        "high is novel, 0 is a copy",
    ),
    "generalization_score_baseline": Measure(
        lambda given: mean_distance(given.held_out_distances),
        ("training", "reference"),
        "how far is a fresh real image from its nearest of as many real ones?",
        "what the generalization score is measured against",
        same_size=True,
    ),
    "generalization_score_ratio": Measure(
        lambda given: given.copying.ratio,
        ("generated", "training", "reference"),
        "how novel are generated images beside fresh real ones?",
        "1 is as novel as fresh data, 0 is a copy",
        same_size=True,
    ),
    "near_copy_rate": Measure(
        lambda given: given.copying.near_copy_rate,
        ("generated", "training", "reference"),
        "which share is nearer to a training image than 99 % of fresh real images are?",
        "0.01 or less is honest, 1 is all copies",
        same_size=True,
    ),
    "authpct": _calling(
        partial(authpct, allow_same=True),
        _BOTH,
        "which share is farther from its training image than that image's own neighbour?",
        "high is novel, 0 is all copies; compare with the reference's",
        same_size=True,
    ),
    "knn_entropy": _calling(
        knn_entropy,
        _TRAINING,
        "how spread out is the training set?",
        "high is varied; compare at equal size and feature space only",
        same_size=True,
    ),
    "duplicate_share": _calling(
        duplicate_share,
        _TRAINING,
        "which share of the training set repeats an earlier image exactly?",
        "0 is all different",
        same_size=True,
    ),
    "total_variance": _calling(
        total_variance, _TRAINING, "how far does the training set reach from its mean?", "high is wide"
    ),
    "vendi_score": _calling(
        vendi_score,
        _TRAINING,
        "how many different directions does the training set have?",
        "1 is all alike, high is varied",
        same_size=True,
    ),
    "intrinsic_dimension": _calling(
        intrinsic_dimension,
        _TRAINING,
        "how many dimensions does the training set fill?",
        "high is varied, 0 is collapsed",
        same_size=True,
    ),
    "frechet_distance": _calling(
        frechet_distance,
        _FIDELITY,
        "how far apart are generated and real as a whole?",
        "low is like real, 0 is equal",
    ),
    "kernel_distance": _calling(
        kernel_distance, _FIDELITY, "how far apart are generated and real, without bias?", "0 is equal, high is far"
    ),
    "precision": _calling(precision, _FIDELITY, "which share of generated looks real?", "1 is all"),
    "recall": _calling(recall, _FIDELITY, "which share of the real data is reached?", "1 is all"),
    "density": _calling(
        density, _FIDELITY, "do generated images lie where real ones are dense?", "1 is as real ones do"
    ),
    "coverage": _calling(coverage, _FIDELITY, "which share of the real data has a generated neighbour?", "1 is all"),
}

# What a loop measures unless told otherwise: what is cheap beside training a generator.
LOOP_MEASURES = tuple(
    name
    for name in MEASURES
    if name not in ("generalization_score_baseline", "vendi_score", "intrinsic_dimension", "kernel_distance")
)


def check_measures(names: Sequence[str]) -> None:
    """Raise InputError if one of `names` is no measure."""
    for name in names:
        if name not in MEASURES:
            close = difflib.get_close_matches(name, MEASURES, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"metrics: there is no {name!r}; known are {', '.join(MEASURES)}.{hint}")


def check_roles(roles: Roles, names: Sequence[str]) -> None:
    """Raise InputError if one of the measures needs a role that is None."""
    for name in names:
        for role in MEASURES[name].roles:
            if getattr(roles, role) is None:
                raise InputError(
                    f"metrics: {name} needs the role {role} ({_MEANINGS[role]}), which is not there. "
                    f"Give it, or leave {name} out."
                )


def measure(roles: Roles, names: Sequence[str], *, space: str) -> dict[str, float | None]:
    """Compute the named measures; keys are ``name/space``, a value that is not finite becomes None.

    Raises
    ------
    InputError
        For an unknown name, a measure that needs a role which is None, or sets that a measure cannot use.
    """
    check_measures(names)
    check_roles(roles, names)
    values = {f"{name}/{space}": MEASURES[name].function(roles) for name in names}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
