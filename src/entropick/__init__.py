"""entropick: choose training data by entropy, and see whether a model generalizes or copies.

>>> import entropick as ep
>>> ep.selectors.Greedy(n_samples=2, initial=[0]).fit([[0.0], [1.0], [5.0]]).indices_
array([0, 2])
>>> ep.select([[0.0], [1.0], [5.0]], 2, initial=[0]).indices
array([0, 2])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entropick import datasets, errors, features, metrics, paradigms, selection, selectors
from entropick.loop import Loop, Pool, Study
from entropick.paradigms import Accumulate, FixedRealShare, FreshData, Replace

if TYPE_CHECKING:
    from entropick import api, generators, report, scoring, sources
    from entropick.api import score, select

__version__ = "0.2.0"

__all__ = [
    "Accumulate",
    "FixedRealShare",
    "FreshData",
    "Loop",
    "Pool",
    "Replace",
    "Study",
    "__version__",
    "api",
    "datasets",
    "errors",
    "features",
    "generators",
    "metrics",
    "paradigms",
    "report",
    "score",
    "scoring",
    "select",
    "selection",
    "selectors",
    "sources",
]

# torch and the plotting library take seconds to import, pages and tables a moment: only for those who use them.
_LAZY = ("api", "generators", "report", "scoring", "sources")
_FUNCTIONS = ("score", "select")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f"entropick.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module("entropick.api"), name)
    raise AttributeError(f"module 'entropick' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
