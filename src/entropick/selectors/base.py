"""The contracts of the room: a selector picks rows of a feature matrix and says how far apart they are; a guard sets
rows aside before."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, Floats, Integers, check_count, check_features, check_labels, check_sources
from entropick.component import Component
from entropick.errors import DuplicateWarning, InputError, TrustWarning, shown
from entropick.neighbors import GrowingSet, distinct_rows
from entropick.neighbors.exact import distinct_numbers
from entropick.selectors.dealt import covering_radius, only
from entropick.selectors.quotas import check_minimum, owed_rows, within_quotas
from entropick.work import Work

# Of the distances of trusted rows among themselves this quantile is what is still like them. Of other rows of the same
# kind 3 % to 19 % were above it (digits, MNIST, CIFAR-10, faces), of images of models that learned them 0 % to 17 %;
# where three classes of ten were trusted 74 % to 82 % (digits) and 43 % (MNIST), but 6 % of CIFAR-10 in pixels, where
# classes lie within each other. Of fewer rows than these, on either side, nothing is said.
_LIKE, _MOST_UNLIKE, _LEAST_JUDGED = 0.95, 1 / 3, 20

RandomState = int | np.random.Generator | None


@dataclass(frozen=True)
class Selection:
    """What a rule hands back: `rows` (n,) in order, their `distances` (n,) when picked, and facts for the ledger."""

    rows: Integers
    distances: Floats
    facts: dict[str, float]


class Rule(Component, ABC):
    """What selectors and guards have in common: they are fitted to all rows, and may trust some.

    Fitted state ends in ``_``; asked for before `fit`, it is a NotFittedError.
    """

    @property
    def trusts(self) -> tuple[int, ...]:
        """The numbers of the sources (values of `y`) that the rule compares all rows with: those of its parameter
        `trusted`, if it has one."""
        return check_trusted(self.trusted) if hasattr(self, "trusted") else ()

    @property
    def least_trusted(self) -> int:
        """How many rows of these sources there must be."""
        return 0

    def judge_trusted(self, is_trusted: NDArray[np.bool_], distances: Floats) -> None:
        """Note which share of the other rows is unlike the trusted ones, and warn where that is a third or more.

        Unlike is a row whose distance (n,) to trusted rows is above that of 95 % of the trusted rows themselves: of
        rows that come from where these do, about 5 %. It is `unlike_share_` then.

        Warns
        -----
        TrustWarning
            What is trusted is like a part of the rows only, so that the choice turns toward that part.
        """
        others = distances[~is_trusted]
        limit = float(np.quantile(distances[is_trusted], _LIKE))
        self.unlike_share_ = float(np.mean(others > limit)) if len(others) else 0.0
        is_enough = min(len(others), len(distances) - len(others)) >= _LEAST_JUDGED
        if is_enough and self.unlike_share_ >= _MOST_UNLIKE:
            warnings.warn(
                f"{self.kind or type(self).__name__}: expected rows like the trusted ones, but "
                f"{self.unlike_share_:.0%} of the {len(others):,} others are farther from them than {_LIKE:.0%} of "
                "these are from each other. What is trusted may cover a part of the data only, and the choice then "
                "turns toward that part: trust rows of every kind that is wanted. Or the others are garbage.",
                TrustWarning,
                stacklevel=2,
            )

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator: no classifier, regressor or transformer, and `y` may be there."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False, one_d_labels=True),
            transformer_tags=None,
            classifier_tags=None,
            regressor_tags=None,
            input_tags=InputTags(),
        )

    def __getattr__(self, name: str) -> Any:
        # Only reached for what is missing.
        if name.endswith("_") and not name.startswith("_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"{type(self).__name__} is not fitted, so there is no {name} yet. Call fit(X) first.")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


@dataclass(kw_only=True)
class Selector(Rule):
    """A rule that picks `n_samples` rows of a feature matrix.

    A subclass writes `_select`, and `check` for parameters of its own. A parameter `trusted` says which sources
    it compares rows with.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    initial : integers (m,), optional
        Rows that are already picked; they are the first m of the `n_samples`.
    minimum : mapping of source to share, or "balanced", optional
        The least that each source (each value of `y`: iterations, folders, classes) gets of the picks, rounded down to
        whole rows; the shares add up to at most 1. "balanced": all sources get equally many, as far as they have them.
        The rule picks freely until as many places are left as are owed to sources; from there on only rows of sources
        that are still owed are candidates. So every source gets its minimum, and as long as the free choice already
        gives it, nothing changes.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, in order of selection, no row twice.
    distances_ : float64 (n_samples,)
        Euclidean distance of each pick to the nearest of the picks before it, in the units of the features; infinite
        for the first one, 0 for a copy of an earlier one.
    n_distinct_ : int
        Distinct points among the picks.
    min_distance_ : float
        The smallest distance between two picks; infinite if there is only one.
    n_features_in_ : int
        Columns of the features.
    facts_ : dict of float
        What else the rule tells, each also an attribute of its own: ``{"covering_radius": r}`` is `covering_radius_`.
    """

    reads_blocks: ClassVar[bool] = False
    """Whether `_select` asks for rows alone, by ``X[rows]``, so that a tensor may stay on its GPU."""
    asks_shards: ClassVar[bool] = False
    """Whether `_select` leaves the work to the shards of a pool that is dealt, see `entropick.selectors.dealt`."""
    asks: ClassVar[tuple[str, ...]] = ()
    """Which columns beside X and y `_of_all` is given, None where there is none: "labels", "losses"."""
    by_row: ClassVar[tuple[str, ...]] = ()
    """Which parameters may have a value for each row of X."""

    n_samples: int
    initial: ArrayLike | None = None
    minimum: Mapping[Any, float] | str | None = None

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        losses: ArrayLike | None = None,
        work: Work | None = None,
    ) -> Self:
        """Pick rows of `X`.

        Parameters
        ----------
        X : array (n, d)
            Features, float32 or cast to it; a memory map, or a torch tensor on a GPU, is read in blocks.
        y : integers (n,), optional
            The source of each row, for selectors that look at it.
        labels : integers (n,), optional
            The class of each row, -1 where it is not known, for selectors that look at it.
        losses : floats (n,), optional
            How badly a model knows each row, see `entropick.generators.Generator.losses`, for selectors that look at
            it.
        work : Work, optional
            Hears of progress, and keeps checkpoints from which an interrupted choice goes on.

        Raises
        ------
        InputError
            For an unusable parameter, unusable features or sources, or fewer rows than `n_samples`.

        Warns
        -----
        DuplicateWarning
            If `X` has fewer distinct points than `n_samples`, so that copies had to be picked.
        """
        self.check()
        features = check_features(X, on_device=self.reads_blocks)
        self.n_features_in_ = features.shape[1]
        sources = check_sources(y, len(features))
        if self.n_samples > len(features):
            raise InputError(
                f"n_samples: expected at most {len(features)}, the rows of X with shape {features.shape}, "
                f"got {self.n_samples}. Lower n_samples or pass more rows."
            )
        columns = {"labels": check_labels(labels, len(features)), "losses": _check_losses(losses, len(features))}
        asked = {name: columns[name] for name in self.asks}
        selection = self._within_quotas(features, sources, self._initial_rows(len(features)), work or Work(), asked)
        self._check_selected(selection, len(features))
        self.indices_, self.distances_ = selection.rows, selection.distances
        self.facts_ = selection.facts
        for name, value in selection.facts.items():
            setattr(self, f"{name}_", value)
        if self._fell_short(features):
            copies = self.n_samples - self.n_distinct_
            warnings.warn(
                f"{type(self).__name__}: expected {self.n_samples} distinct points, got {self.n_distinct_} and filled "
                f"up with {copies} {'copy' if copies == 1 else 'copies'} of them. Lower n_samples or look for "
                "duplicates in X.",
                DuplicateWarning,
                stacklevel=2,
            )
        return self

    def _check_selected(self, selection: Selection, n: int) -> None:
        """Raise InputError unless a rule, perhaps one of another package, picked as its contract says."""
        rows, distances = np.asarray(selection.rows), np.asarray(selection.distances)
        came = ""
        if rows.shape != (self.n_samples,) or not np.issubdtype(rows.dtype, np.integer):
            came = f"rows of shape {rows.shape} and dtype {rows.dtype}"
        elif rows.min() < 0 or rows.max() >= n:
            came = f"rows from {rows.min()} to {rows.max()}"
        elif (n_different := len(distinct_numbers(rows))) < len(rows):
            came = f"{n_different} different ones"
        elif distances.shape != rows.shape or np.isnan(distances).any():
            came = f"distances of shape {distances.shape}, {np.count_nonzero(np.isnan(distances))} of them NaN"
        elif odd := [name for name, fact in selection.facts.items() if np.ndim(fact)]:
            came = f"more than one number as the fact {shown(odd[0])}"
        if came:
            raise InputError(
                f"selector {self.kind or type(self).__name__!r}: expected {self.n_samples} different rows of {n}, each "
                f"with its distance, got {came}. Mend its _select."
            )

    @abstractmethod
    def _select(self, X: Features, sources: Integers, initial: Integers, work: Work) -> Selection:
        """Pick rows of checked data by checked parameters; the rows `initial`, perhaps none, are the first picks.

        Of fewer samples from the same data the same rows must come, as far as they go.
        """

    def _of_all(self, X: Features, sources: Integers, work: Work) -> dict[str, Floats]:
        """What the rule has to know of every row, (n,) each, as further arguments of `_select`: measured among all of
        them, also where a quota then leaves only some as candidates. A rule that `asks` for columns is given them as
        further arguments here."""
        return {}

    def _within_quotas(
        self, X: Features, sources: Integers, initial: Integers, work: Work, columns: Mapping[str, Any]
    ) -> Selection:
        known = self._of_all(X, sources, work, **columns)
        selection = self._select(X, sources, initial, work, **known)
        if not self.minimum:
            return selection
        owed = owed_rows(self.minimum, sources, self.n_samples)
        rows, distances, facts = selection.rows, selection.distances, dict(selection.facts)
        rounds = count(1)
        while (kept := within_quotas(sources[rows], owed)) < self.n_samples:
            if kept < len(initial):
                raise InputError(
                    f"minimum: expected places for {sum(owed.values())} owed rows, but the {len(initial)} rows of "
                    "initial do not leave them. Raise n_samples, or lower a share."
                )
            picked = rows[:kept]
            short = [source for source, least in owed.items() if np.count_nonzero(sources[picked] == source) < least]
            allowed = np.union1d(picked, np.flatnonzero(np.isin(sources, short)))
            among = work.part(f"quota-{next(rounds)}")
            known_of = {name: values[allowed] for name, values in known.items()}
            first = np.searchsorted(allowed, picked)
            selection = self._select(only(X, allowed), sources[allowed], first, among, **known_of)
            rows, distances = allowed[selection.rows], np.append(distances[:kept], selection.distances[kept:])
            facts |= selection.facts
        if "covering_radius" in facts:
            # The last choice was among some of the rows; the radius is that of all.
            facts["covering_radius"] = covering_radius(X, rows, device=getattr(self, "device", "auto"))
        return self._completed(X, Selection(rows, distances, facts), work, **known)

    def _completed(self, X: Features, selection: Selection, work: Work, **known: Floats) -> Selection:
        """A selection that least shares have ruled, with what has to be told of all of it."""
        return selection

    def _fell_short(self, X: Features) -> bool:
        """Whether `X` had too few distinct points."""
        return self.n_distinct_ < self.n_samples

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_count(self.n_samples, name="n_samples")
        check_random_state(getattr(self, "random_state", None))
        check_trusted(getattr(self, "trusted", 0))
        check_minimum(self.minimum)
        initial = self._initial()
        n_different = len(distinct_numbers(initial.ravel()))
        if initial.ndim != 1 or n_different < len(initial) or len(initial) > self.n_samples:
            raise InputError(
                f"initial: expected at most n_samples={self.n_samples} different rows, got shape {initial.shape} with "
                f"{n_different} different ones. Leave repeated rows out."
            )

    def _initial(self) -> Integers:
        initial = np.asarray([] if self.initial is None else self.initial)
        if initial.size and initial.dtype.kind not in "iu":
            raise InputError(
                f"initial: expected whole row numbers, got dtype {initial.dtype}. Use np.flatnonzero(mask)."
            )
        return initial.astype(np.int64)

    def _initial_rows(self, n: int) -> Integers:
        initial = self._initial()
        if len(initial) and (initial.min() < 0 or initial.max() >= n):
            raise InputError(
                f"initial: expected rows from 0 to {n - 1}, got {initial.min()} to {initial.max()}. "
                "Count the rows of the X that is passed to fit."
            )
        return initial

    @property
    def n_distinct_(self) -> int:
        """Distinct points among the picks."""
        return int(np.count_nonzero(self.distances_))

    @property
    def min_distance_(self) -> float:
        """The smallest distance between two picks; infinite if there is only one."""
        # Each pair is looked at when its later row is picked.
        return float(self.distances_.min())

    def summary(self) -> dict[str, Any]:
        """What a ledger keeps of the selection: JSON-able numbers, None where there is none or it is infinite."""
        values: dict[str, float | None] = {"n_distinct": self.n_distinct_, "covering_radius": None}
        values |= {"min_distance": self.min_distance_, "threshold": None, **self.facts_}
        return {
            "n_samples": len(self.indices_),
            **{name: value if value is not None and np.isfinite(value) else None for name, value in values.items()},
        }


@dataclass(kw_only=True)
class Ordered(Selector):
    """A selector that takes the first rows of an order: distances take no part in the choice, and copies are taken as
    any other rows."""

    def _first(self, X: Features, order: Integers, facts: dict[str, float]) -> Selection:
        """The first rows of the order, and how far each is from those before it."""
        rows = order[: self.n_samples]
        growing = GrowingSet(X, self.n_samples, rows)
        growing.accept_in_order(np.arange(len(rows)))
        return Selection(*growing.filled(), facts)

    def _fell_short(self, X: Features) -> bool:
        return super()._fell_short(X) and len(distinct_rows(X)[0]) < self.n_samples


@dataclass(kw_only=True)
class Guard(Rule):
    """A rule that sets rows aside before anything is selected from the others; never those that it `trusts`.

    A subclass writes `_measure`, and `check` for parameters of its own. A parameter `trusted` says which sources it
    trusts.

    Attributes
    ----------
    set_aside_ : int64
        Rows of X, the most extreme first.
    kept_ : int64
        All other rows, ascending.
    distances_ : float64 (n,)
        How extreme each row is.
    threshold_ : float
        Rows with a larger distance are set aside.
    """

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, *, work: Work | None = None) -> Self:
        """Find the rows of `X` (n, d) that are to be set aside; `y` (n,) is the source of each row.

        Raises
        ------
        InputError
            For an unusable parameter, unusable features or sources, or sources that cannot be trusted.
        """
        self.check()
        features = check_features(X)
        self.n_features_in_ = features.shape[1]
        sources = check_sources(y, len(features))
        self.distances_, self.threshold_ = self._measure(features, sources, work or Work())
        extreme = np.flatnonzero((self.distances_ > self.threshold_) & ~np.isin(sources, self.trusts))
        self.set_aside_: Integers = extreme[np.argsort(-self.distances_[extreme], kind="stable")]
        self.kept_: Integers = np.setdiff1d(np.arange(len(features)), extreme)
        return self

    @abstractmethod
    def _measure(self, X: Features, sources: Integers, work: Work) -> tuple[Floats, float]:
        """How extreme each row of checked data is (n,), and from where on a row is set aside."""

    def summary(self) -> dict[str, Any]:
        """What was done, as JSON-able numbers."""
        return {"threshold": self.threshold_, "n_set_aside": len(self.set_aside_), "n_kept": len(self.kept_)}


def check_trusted(trusted: Any) -> tuple[int, ...]:
    """Return the sources that are meant; InputError unless `trusted` is a whole number or a tuple of some."""
    numbers = trusted if isinstance(trusted, tuple | list) else (trusted,)
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int | np.integer) for one in numbers):
        raise InputError(
            f"trusted: expected a source, a whole number as in y, or a tuple of them, got {shown(trusted)}. "
            "0 is the first one, in loops the real data."
        )
    return tuple(numbers)


def check_random_state(value: Any) -> None:
    """Raise InputError unless `value` is a whole number of at least 0, a NumPy generator or None."""
    if not (value is None or isinstance(value, np.random.Generator)):
        check_count(value, name="random_state", minimum=0)


def _check_losses(losses: ArrayLike | None, n: int) -> Floats | None:
    """Return losses as float64 (n,), None where there are none; InputError for other shapes and what is not finite."""
    if losses is None:
        return None
    found = np.asarray(losses)
    if found.shape != (n,) or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise InputError(
            f"losses: expected {n} finite numbers, one per row, got shape {found.shape}, dtype {found.dtype}."
        )
    return found.astype(np.float64)


def best_first(values: Floats, random_state: RandomState) -> Integers:
    """Rows from the highest of their `values` (n,) on, those of equal values in random order."""
    at_random = np.random.default_rng(random_state).permutation(len(values))
    order: Integers = at_random[np.argsort(-values[at_random], kind="stable")]
    return order


def first_in(order: Integers, initial: Integers) -> Integers:
    """The rows in `order`, but `initial` before all others."""
    return np.concatenate([initial, order[~np.isin(order, initial)]])
