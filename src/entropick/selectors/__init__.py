"""Selectors: which rows of a pool become the next training set."""

from entropick.selectors.base import Selection, Selector
from entropick.selectors.greedy import Greedy
from entropick.selectors.random import Random
from entropick.selectors.threshold_decay import ThresholdDecay

__all__ = ["Greedy", "Random", "Selection", "Selector", "ThresholdDecay"]
