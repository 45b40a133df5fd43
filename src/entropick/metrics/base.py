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
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, Floats, Integers, check_features, some_rows
from entropick.errors import InputError
from entropick.metrics.near_copies import Copying, held_out_distances, nearest_training
from entropick.neighbors import Neighbors, distinct_rows, nearest_neighbors
from entropick.work import Work

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
    k
        Neighbours that it asks for in them, where that is more than one.
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
    k: int = 1
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


class Neighborhood:
    """A set of rows, and the nearest others of each, searched once for all that ask.

    Raises
    ------
    InputError
        For unusable features; `name` is what they are called then.
    """

    def __init__(self, rows: ArrayLike, *, name: str = "X", work: Work | None = None) -> None:
        self.rows = check_features(rows, name=name)
        self.work, self._name = work, name
        self._most = 1
        self._found: dict[bool, Floats] = {}

    def foresee(self, k: int) -> None:
        """Look for `k` neighbours already when the first are asked for."""
        self._most = max(self._most, k)

    def check(self, k: int) -> None:
        """Raise InputError if the rows do not have `k` neighbours."""
        if len(self.rows) < k + 1:
            raise InputError(
                f"{self._name}: expected at least k + 1 = {k + 1} rows to have a neighbour {k}, got {len(self.rows)}."
            )

    def distances(self, k: int) -> Floats:
        """The distance of each row to its k-th nearest other row, float64 (n,); that to a copy is 0."""
        self.check(k)
        return self._nearest(k, distinct=self.has_no_copies)[:, k - 1]

    def distinct_distances(self, k: int) -> Floats:
        """The distances of each distinct row to its k nearest other distinct rows, float64 (m, k), m above k."""
        return self._nearest(k, distinct=True)[:, :k]

    @property
    def n_distinct(self) -> int:
        """How many different rows there are."""
        return len(self._first)

    @property
    def has_no_copies(self) -> bool:
        """Whether all rows differ."""
        return self.n_distinct == len(self.rows)

    @cached_property
    def _first(self) -> Integers:
        return distinct_rows(self.rows)[0]

    def _nearest(self, k: int, *, distinct: bool) -> Floats:
        known = self._found.get(distinct)
        if known is None or known.shape[1] < k:
            points = some_rows(self.rows, self._first) if distinct and not self.has_no_copies else self.rows
            most = min(max(k, self._most), len(points) - 1)
            known = nearest_neighbors(points, points, k=most, exclude_self=True, work=self.work).distances
            self._found[distinct] = known
        return known


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
    work
        Hears of progress in searches, keeps what is finished of them, and may have workers that look side by side.
    """

    training: Features | None = None
    generated: Features | None = None
    reference: Features | None = None
    real: Features | None = None
    work: Work | None = None

    # What several measures start from is computed once. That generated and training images may be the same is no slip
    # here: a collapsed model may well emit its training set.

    @cached_property
    def nearest_training(self) -> Neighbors:
        """The nearest training row of each generated row."""
        return nearest_training(**self._of("generated", "training"), allow_same=True, work=self.work)

    def within(self, role: str) -> Neighborhood:
        """The set of this role, and the nearest others of its rows."""
        if role not in self._within:
            self._within[role] = Neighborhood(getattr(self, role), name=role, work=self.work)
        return self._within[role]

    @cached_property
    def _within(self) -> dict[str, Neighborhood]:
        return {}

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
        n_training = len(self.training)
        return held_out_distances(**self._of("reference"), real=real, n_training=n_training, work=self.work)

    def exchanged(self, **sets: Features) -> Roles:
        """These roles with other `sets` in some; what was found within a set that stays is kept."""
        other: Roles = replace(self, **sets)  # type: ignore[arg-type]
        other._within.update({role: within for role, within in self._within.items() if role not in sets})
        return other

    def _of(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}
