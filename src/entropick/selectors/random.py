"""Random selection, the control beside every other selector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Integers
from entropick.errors import InputError, shown
from entropick.selectors.base import Ordered, RandomState, Selection, first_in
from entropick.selectors.quotas import even_shares
from entropick.work import Work


@dataclass(kw_only=True)
class Random(Ordered):
    """Pick rows at random, all alike or the same number from every source.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    stratify : bool
        Give every source (every value of `y`) the same share. What does not divide evenly, or what a short source
        cannot give, goes to the other sources as evenly as can be, one more to the lower source numbers.
    random_state : int, Generator or None
        What the picks depend on.
    initial, minimum : optional
        Rows that are already picked (not with `stratify`), least shares of sources: see `Selector`.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, in random order.
    distances_ : float64 (n_samples,)
        Distance of each pick to the nearest earlier one, as for every selector; it takes no part in the choice.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    Rows are drawn without regard to copies, so copies can be picked while other points are left. There is no
    `covering_radius_`: it would cost more than all the rest; ``nearest_neighbors(X, X[indices_])`` has it.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    >>> selector = Random(n_samples=4, stratify=True, random_state=0).fit(X, y=[0, 0, 0, 0, 1])
    >>> sorted(selector.indices_.tolist())[-1], len(set(selector.indices_.tolist()))
    (4, 4)
    """

    stratify: bool = False
    random_state: RandomState = None

    kind: ClassVar[str] = "random"
    reads_blocks: ClassVar[bool] = True

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        if not isinstance(self.stratify, bool | np.bool_):
            raise InputError(f"stratify: expected True or False, got {shown(self.stratify)}.")
        if self.stratify and (len(self._initial()) or self.minimum):
            raise InputError(
                'stratify: expected no initial and no minimum beside it. Use minimum="balanced" instead, or of sources '
                "of a selection shares (quotas=, --quota)."
            )

    def _select(self, X: Features, sources: Integers, initial: Integers, work: Work) -> Selection:
        rows = first_in(np.random.default_rng(self.random_state).permutation(len(X)), initial)
        if self.stratify:
            rows = _stratified(rows, sources, self.n_samples)
        return self._first(X, rows, {})


def _stratified(rows: Integers, sources: Integers, n: int) -> Integers:
    """The first rows of each source, as many as its share, in the order of `rows`."""
    values, group = np.unique(sources[rows], return_inverse=True)
    shares = even_shares(np.bincount(group), n)
    chosen = np.zeros(len(rows), bool)
    for value in range(len(values)):
        chosen[np.flatnonzero(group == value)[: shares[value]]] = True
    return rows[chosen]
