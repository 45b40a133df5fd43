"""What a measure is: its function, and all that loops, scores, pages, costs and the docs have to know of it.

A new measure is a function, a `Measure` below it, and a line in the registry of `suite.py`; or, in a package of its
own, an entry point ``name = "module:RECORD"`` of the group ``entropick.metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features
from entropick.metrics.near_copies import Copying, held_out_distances, leave_one_out, nearest_training
from entropick.neighbors import Neighbors

# Rows are looked up among rows: the roles of the two.
Search = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a page says of a measure, and how it draws it.

    Attributes
    ----------
    label
        What it is called, as a title.
    meaning
        What it is, in a sentence or two; empty only for a measure that is not known here.
    trap
        Where it misleads.
    reads
        Which value is which, in a few words.
    moves_with
        The roles whose number of rows moves its expected value: compare only where these numbers are equal.
    unit
        Of its values; empty for one that follows from the features, or none.
    power
        Of which power of the features' unit its values are; 0 for none.
    range
        The lowest and the highest value that it can have; None where there is no bound.
    axis
        What a chart shows of that at least, where it is not all of it.
    better
        1 if more is better, -1 if less is, 0 if it depends.
    is_main
        Whether it is shown first, and in the tables of results.
    short
        Its name in tables; by default the label.
    summary
        Its heading in the table that ends a run; empty where it is not in there.
    """

    label: str
    meaning: str = ""
    trap: str = ""
    reads: str = ""
    moves_with: tuple[str, ...] = ()
    unit: str = ""
    power: int = 0
    range: tuple[float | None, float | None] = (None, None)
    axis: tuple[float | None, float | None] | None = None
    better: int = 0
    is_main: bool = False
    short: str = ""
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure(Words):
    """One number about some of the sets.

    Attributes
    ----------
    name
        What it is called in study files, commands and keys.
    roles
        Which sets it needs; see `Roles`.
    function
        From `Roles`, in which these sets are not None, to the number. It does not depend on the order of rows.
    in_full
        Whether loops measure it of the whole training set although it moves with it.
    least_rows
        How many rows it needs of a role, where that is more than one.
    searches
        Which rows are searched among which, (asked, among), for what it costs.
    products
        Which rows are multiplied with which, in float64 and in full, likewise.
    n_spectra
        How many square matrices, as wide as the features or as there are rows, if fewer, are decomposed, likewise.
    on_request
        Whether loops measure it only where it is asked for: what is not cheap beside training a generator. What other
        packages bring always is.
    """

    name: str
    roles: tuple[str, ...]
    # Any: that some of the sets are there is not something that a type can say.
    function: Callable[[Any], float]
    in_full: bool = False
    least_rows: Mapping[str, int] = field(default_factory=dict)
    searches: tuple[Search, ...] = ()
    products: tuple[Search, ...] = ()
    n_spectra: int = 0
    on_request: bool = False

    @property
    def same_size(self) -> bool:
        """Whether loops measure it of as many training as real images."""
        return "training" in self.moves_with and not self.in_full

    @property
    def of_copying(self) -> bool:
        """Whether generated images are compared with what they may be copies of."""
        return "generated" in self.roles and bool({"training", "real"} & set(self.roles))


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
    def within_training(self) -> Neighbors:
        """The nearest other training row of each training row."""
        return leave_one_out(**self._of("training"))

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

    def exchanged(self, **sets: Features) -> Roles:
        """These roles with other `sets` in some; what was found within a training set that stays is kept."""
        other = replace(self, **sets)
        if "training" not in sets and "within_training" in self.__dict__:
            other.__dict__["within_training"] = self.within_training
        return other

    def _of(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}
