"""Paradigms: from which iterations the pool of an iteration is made.

Integers only; choosing among the images is a selector's work.

The paper's *accumulate-subsample* is `Accumulate` with the `Random` selector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NoReturn

import numpy as np

from entropick.arrays import check_choice, check_count, check_real
from entropick.component import Component
from entropick.errors import InputError, shown


@dataclass(kw_only=True)
class Paradigm(Component, ABC):
    """The contract: iteration -> the earlier iterations whose images are its pool; 0 stands for the real data."""

    @abstractmethod
    def sources(self, iteration: int) -> list[int]:
        """Ascending iterations in 0 ... iteration - 1; for iteration 1 always ``[0]``."""

    def fresh(self, iteration: int) -> range:
        """Rows of the dataset's stock of further real images that are in the pool, too; for iteration 1 always none."""
        return range(0)

    def n_real(self, iteration: int, n_samples: int) -> int | None:
        """How many of the selector's `n_samples` must be real; None leaves that to the selector."""
        return None

    def checked_sources(self, iteration: int) -> list[int]:
        """`sources` as a loop takes them: whole numbers in a list; InputError unless they are as the contract says."""
        came = self.sources(iteration)
        wanted = f"different earlier iterations in ascending order, from 0 to {iteration - 1}"
        numbers = came.tolist() if isinstance(came, np.ndarray) else came
        if not isinstance(numbers, list | tuple | range) or not all(_is_whole(number) for number in numbers):
            self._refuse("sources", iteration, wanted, came)
        found = [int(number) for number in numbers]
        is_ascending = all(first < second for first, second in pairwise(found))
        if not found or not is_ascending or found[0] < 0 or found[-1] >= iteration:
            self._refuse("sources", iteration, wanted, came)
        return found

    def checked_fresh(self, iteration: int) -> range:
        """`fresh` as a loop takes it; InputError unless it is as the contract says."""
        came = self.fresh(iteration)
        is_run = isinstance(came, range) and came.step == 1 and came.start >= 0
        if not is_run or (iteration == 1 and len(came)):
            wanted = "no rows" if iteration == 1 else "consecutive rows of the stock, range(first, end)"
            self._refuse("fresh", iteration, wanted, came)
        return came

    def checked_n_real(self, iteration: int, n_samples: int) -> int | None:
        """`n_real` as a loop takes it; InputError unless it is as the contract says."""
        came = self.n_real(iteration, n_samples)
        if came is None:
            return None
        if not _is_whole(came) or not 0 <= came <= n_samples:
            self._refuse("n_real", iteration, f"None, or a whole number from 0 to {n_samples}", came)
        return int(came)

    def _refuse(self, function: str, iteration: int, wanted: str, came: Any) -> NoReturn:
        raise InputError(
            f"paradigm {self.called}: expected {wanted} as `{function}` of iteration {iteration}, got {shown(came)}. "
            f"Mend its `{function}`."
        )


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


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


@dataclass(kw_only=True)
class FreshData(Paradigm):
    """New real images enter the pool in each iteration after the first (Shi et al. 2025, appendix D.5).

    They come from the dataset's stock, in its order, `n_fresh` at a time: what is neither among its `n_images` nor
    reference.

    Parameters
    ----------
    n_fresh
        New real images per iteration.
    keep
        ``"all"``: the pool is the real data, all that was generated and all fresh images so far, as in `Accumulate`;
        ``"newest"``: the last generation and the newest fresh images, as in `Replace`.

    Examples
    --------
    >>> FreshData(n_fresh=10).sources(3), FreshData(n_fresh=10).fresh(3)
    ([0, 1, 2], range(0, 20))
    >>> FreshData(n_fresh=10, keep="newest").sources(3), FreshData(n_fresh=10, keep="newest").fresh(3)
    ([2], range(10, 20))
    """

    kind: ClassVar[str] = "fresh-data"
    n_fresh: int
    keep: str = "all"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_count(self.n_fresh, name="n_fresh")
        check_choice(self.keep, ("all", "newest"), name="keep")

    def sources(self, iteration: int) -> list[int]:
        """As in the paradigm that `keep` says."""
        return (Accumulate() if self.keep == "all" else Replace()).sources(iteration)

    def fresh(self, iteration: int) -> range:
        """The next `n_fresh` rows of the stock, and those before them unless only the newest are kept."""
        entered = (check_count(iteration, name="iteration") - 1) * self.n_fresh
        return range(0 if self.keep == "all" else max(entered - self.n_fresh, 0), entered)


@dataclass(kw_only=True)
class FixedRealShare(Paradigm):
    """A fixed share of every training set after the first is real; the rest is generated. Needs a selector.

    The selector chooses which real and which generated images; how many of each is fixed. With the `Random` selector it
    is the loop of Bertrand et al., "On the stability of iterative retraining of generative models on their own data",
    ICLR 2024.

    Parameters
    ----------
    share
        The share of real images, between 0 and 1.
    keep
        Which generated images are in the pool: ``"all"`` since the start, or the ``"newest"``.

    Examples
    --------
    >>> paradigm = FixedRealShare(share=0.25, keep="newest")
    >>> paradigm.sources(1), paradigm.sources(4), paradigm.n_real(4, n_samples=1024)
    ([0], [0, 3], 256)
    """

    kind: ClassVar[str] = "fixed-real-share"
    share: float
    keep: str = "all"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_real(self.share, name="share", above=0.0, below=1.0)
        check_choice(self.keep, ("all", "newest"), name="keep")

    def sources(self, iteration: int) -> list[int]:
        """The real data, and the generated images that `keep` says."""
        before = Accumulate().sources(iteration)
        return before if self.keep == "all" else sorted({0, before[-1]})

    def n_real(self, iteration: int, n_samples: int) -> int | None:
        """The share, to the nearest whole image; in the first iteration there is nothing else."""
        return None if iteration == 1 else round(self.share * n_samples)
