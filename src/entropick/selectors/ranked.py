"""Rows with the best scores, however alike they are: Latent Space Filtering, and selection by denoising loss."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers, check_choice, check_count, check_real
from entropick.errors import InputError
from entropick.neighbors import distinct_rows
from entropick.selectors.base import Ordered, RandomState, Selection, best_first, first_in
from entropick.selectors.guards import spacing
from entropick.work import Work

# Rows whose scores are computed at once.
_BLOCK_ROWS = 1 << 16
_MOST_PASSES = 1000
# By the distance to which trusted row it is judged whether these are like the others.
_NEIGHBOR = 5


@dataclass(kw_only=True)
class Ranked(Ordered):
    """A selector that takes the rows with the highest scores, those of equal scores in random order.

    A subclass gives ``{"scores": ...}`` (n,) in `_of_all`, and says in `_told` what a score stands for. There is no
    `covering_radius_`, see `Random`.
    """

    random_state: RandomState = None

    def _select(
        self, X: Features, sources: Integers, initial: Integers, work: Work, scores: Floats | None = None
    ) -> Selection:
        assert scores is not None, "every rule of this kind has scores of all rows"
        order = first_in(best_first(scores, self.random_state), initial)
        chosen = order[len(initial) : self.n_samples]
        facts = {"threshold": self._told(float(scores[chosen[-1]]))} if len(chosen) else {}
        return self._first(X, order, facts)

    @abstractmethod
    def _told(self, score: float) -> float:
        """The score of the last pick in the words of the rule, for `threshold_`."""


@dataclass(kw_only=True)
class LatentSpaceFilter(Ranked):
    """Take the rows of whose class a classifier, learned from trusted rows, is surest.

    Softmax regression over standardized features learns the classes of the trusted rows. A row's confidence is the
    probability that it gives to the row's own class, or, where that is not known, to the likeliest one. The rows of
    highest confidence are taken.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    trusted : int or tuple of int
        The source or sources (values of `y`) that the classifier learns from; 0, real data, unless told otherwise.
        Without `y` every row is of source 0.
    n_classes : int
        Where no trusted row has a label (``fit(X, y, labels=...)``), they are put into so many clusters by k-means,
        and these are the classes. At least 2.
    penalty : float
        Above 0: the weight of the squared coefficients beside the summed loss.
    random_state : int, Generator or None
        What the clusters, and the order of rows of equal confidence, depend on.
    initial, minimum : optional
        Rows that are already picked, least shares of sources: see `Selector`.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, the surest first.
    distances_ : float64 (n_samples,)
        Distance of each pick to the nearest earlier one, as for every selector; it takes no part in the choice.
    threshold_ : float
        The confidence of the last pick, between 0 and 1.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    The paper takes the features of a row from the encoder half of the first model's U-Net at a middle noise level;
    here they are those of whatever space the selector is given, so a learned one such as ``classifier`` comes nearest
    to it. Its classifier is softmax regression, too, and its loops are of labelled images, of which the model knows
    the class. Images of an unconditional model have no label: that the likeliest class stands for theirs, and that
    clusters stand for classes where nothing has labels, is our reading. Confidence favours what lies in the midst of
    its class, so that spread is lost: it is what the paper's two methods are to be held against.

    Source: Cai, Wang, Liu, Zhang, "Stabilizing self-consuming diffusion models with latent space filtering", AAAI
    2026, arXiv 2511.12742.

    Examples
    --------
    Between the two classes nobody is sure:

    >>> X = [[0.0], [1.0], [9.0], [10.0], [5.1], [-1.0]]
    >>> rule = LatentSpaceFilter(n_samples=5, n_classes=2, random_state=0)
    >>> sorted(rule.fit(X, y=[0, 0, 0, 0, 1, 1], labels=[0, 0, 1, 1, -1, -1]).indices_.tolist())
    [0, 1, 2, 3, 5]
    """

    trusted: int | tuple[int, ...] = 0
    n_classes: int = 10
    penalty: float = 1.0

    kind: ClassVar[str] = "latent-space-filter"
    asks: ClassVar[tuple[str, ...]] = ("labels",)

    @property
    def least_trusted(self) -> int:
        """Two rows for each class that clusters can make."""
        return 2 * self.n_classes

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_count(self.n_classes, name="n_classes", minimum=2)
        check_real(self.penalty, name="penalty", above=0)

    def _of_all(self, X: Features, sources: Integers, work: Work, labels: Integers | None = None) -> dict[str, Floats]:
        trusted = np.flatnonzero(np.isin(sources, self.trusts))
        if len(trusted) < self.least_trusted:
            raise InputError(
                f"trusted: expected at least {self.least_trusted} rows of source "
                f"{', '.join(map(str, self.trusts))}, two for each of n_classes = {self.n_classes}, got "
                f"{len(trusted)}. Name another source, or lower n_classes."
            )
        self.judge_trusted(*spacing(X, sources, self.trusts, min(_NEIGHBOR, len(trusted) - 1), work))
        known = np.full(len(X), -1) if labels is None else labels
        lessons = trusted[known[trusted] >= 0]
        taught = known[lessons]
        if not len(lessons):
            lessons, taught = trusted, self._clusters(X[trusted])
            known = np.full(len(X), -1)
        if len(np.unique(taught)) < 2:
            raise InputError(
                f"labels: expected at least two classes among the {len(lessons)} trusted rows that have one, got "
                f"{len(np.unique(taught))}. Trust rows of more classes."
            )
        return {"scores": self._confidence(X, lessons, taught, known, work)}

    def _clusters(self, X: Features) -> Integers:
        from sklearn.cluster import KMeans

        seed = int(np.random.default_rng(self.random_state).integers(1 << 31))
        n = min(self.n_classes, len(distinct_rows(X)[0]))
        found: Integers = KMeans(n, n_init=1, random_state=seed).fit_predict(X.astype(np.float64)).astype(np.int64)
        return found

    def _confidence(self, X: Features, lessons: Integers, taught: Integers, known: Integers, work: Work) -> Floats:
        """The logarithm of each row's confidence (n,): it tells rows apart where the confidence is all but 1."""
        from scipy.special import log_softmax
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scale = StandardScaler().fit(X[lessons].astype(np.float64))
        model = LogisticRegression(C=1 / float(self.penalty), max_iter=_MOST_PASSES)
        with warnings.catch_warnings():
            # A hair's breadth from the optimum the order of rows is what it will be.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scale.transform(X[lessons].astype(np.float64)), taught)
        scores = np.empty(len(X))
        for start in range(0, len(X), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(X)))
            logits = model.decision_function(scale.transform(X[block].astype(np.float64)))
            if logits.ndim == 1:
                # Of two classes there is the difference alone.
                logits = np.column_stack([np.zeros(len(logits)), logits])
            scores[block] = _of_own_class(log_softmax(logits, axis=1), known[block], model.classes_)
            work.progress(block.stop, len(X), "confidence")
        return scores

    def _told(self, score: float) -> float:
        return math.exp(score)


def _of_own_class(logs: NDArray[np.float64], labels: Integers, classes: Integers) -> Floats:
    """The log probability of each row's class; of a row without one, of the likeliest; of one that no trusted row is
    of, none."""
    own: Floats = logs.max(axis=1)
    place = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    is_taught = classes[place] == labels
    own[is_taught] = logs[np.flatnonzero(is_taught), place[is_taught]]
    own[~is_taught & (labels >= 0)] = -math.inf
    return own


@dataclass(kw_only=True)
class DenoisingLoss(Ranked):
    """Take the rows that the last model of a loop denoises best, or worst.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    prefer : "low" or "high"
        "low" takes what the model knows well, "high" what it knows badly.
    random_state : int, Generator or None
        What the order of rows of equal loss depends on. Without losses, as in the first iteration of a loop, where
        there is no model yet, all rows are equal and the choice is a random one.
    initial, minimum : optional
        Rows that are already picked, least shares of sources: see `Selector`.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, in order of their losses.
    distances_ : float64 (n_samples,)
        Distance of each pick to the nearest earlier one, as for every selector; it takes no part in the choice.
    threshold_ : float
        The loss of the last pick.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    A loop gives it the losses of its last model (`entropick.generators.Generator.losses`); elsewhere they are those
    that ``fit(X, losses=...)`` is given. The loss of a diffusion model is a bound of the negative log likelihood, up to
    weights, so "low" is selection by likelihood. The literature goes both ways. Core sets for classifiers are scored by
    what a diffusion model does with a row, as an estimate of its likelihood (Chen et al., AAAI 2026, arXiv 2511.19274);
    that a loop keeps what its own model finds likely is what biased sampling does, which trades diversity for quality
    (Alemohammad et al., "Self-consuming generative models go MAD", ICLR 2024, arXiv 2307.01850). High losses are what
    is sought where hard examples are. No paper that we know runs a loop on this rule: it is a control for both.

    Examples
    --------
    >>> rule = DenoisingLoss(n_samples=2, prefer="high")
    >>> rule.fit([[0.0], [1.0], [2.0]], losses=[0.3, 0.1, 0.2]).indices_.tolist(), rule.threshold_
    ([0, 2], 0.2)
    """

    prefer: str = "low"

    kind: ClassVar[str] = "denoising-loss"
    reads_blocks: ClassVar[bool] = True
    asks: ClassVar[tuple[str, ...]] = ("losses",)

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_choice(self.prefer, ("low", "high"), name="prefer")

    def _of_all(self, X: Features, sources: Integers, work: Work, losses: Floats | None = None) -> dict[str, Floats]:
        if losses is None:
            return {"scores": np.zeros(len(X))}
        return {"scores": losses if self.prefer == "high" else -losses}

    def _told(self, score: float) -> float:
        return score if self.prefer == "high" else -score + 0.0
