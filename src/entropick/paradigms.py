"""Paradigms: from which iterations the pool of an iteration is made.

Integers only; choosing among the images is a selector's work.

The paper's *accumulate-subsample* is `Accumulate` with the `Random` selector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from entropick.arrays import check_count
from entropick.component import Component


@dataclass(kw_only=True)
class Paradigm(Component, ABC):
    """The contract: iteration -> the earlier iterations whose images are its pool; 0 stands for the real data."""

    @abstractmethod
    def sources(self, iteration: int) -> list[int]:
        """Ascending iterations in 0 ... iteration - 1; for iteration 1 always ``[0]``."""


@dataclass(kw_only=True)
class Replace(Paradigm):
    """D_n is drawn from G_{n-1} alone (Shi et al. 2025, section 3).

    Examples
    --------
    >>> Replace().sources(1), Replace().sources(4)
    ([0], [3])
    """

    kind: ClassVar[str] = "replace"

    def sources(self, iteration: int) -> list[int]:
        """The iteration before."""
        return [check_count(iteration, name="iteration") - 1]


@dataclass(kw_only=True)
class Accumulate(Paradigm):
    """D_n is drawn from the real data and everything generated since (Shi et al. 2025, section 3).

    Without a selector the training set grows by one generation per iteration.

    Examples
    --------
    >>> Accumulate().sources(1), Accumulate().sources(4)
    ([0], [0, 1, 2, 3])
    """

    kind: ClassVar[str] = "accumulate"

    def sources(self, iteration: int) -> list[int]:
        """The real data and all iterations before."""
        return list(range(check_count(iteration, name="iteration")))
