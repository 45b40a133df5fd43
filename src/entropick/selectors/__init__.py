"""Selectors: which rows of a pool become the next training set, and which do not even come into question."""

from entropick.selectors.approximate import ApproximateGreedy
from entropick.selectors.base import Guard, Selection, Selector
from entropick.selectors.density_greedy import DensityGreedy
from entropick.selectors.gist import Gist
from entropick.selectors.greedy import Greedy
from entropick.selectors.guards import OutlierGuard
from entropick.selectors.random import Random
from entropick.selectors.ranked import DenoisingLoss, LatentSpaceFilter
from entropick.selectors.threshold_decay import ThresholdDecay

__all__ = [
    "ApproximateGreedy",
    "DenoisingLoss",
    "DensityGreedy",
    "Gist",
    "Greedy",
    "Guard",
    "LatentSpaceFilter",
    "OutlierGuard",
    "Random",
    "Selection",
    "Selector",
    "ThresholdDecay",
]
