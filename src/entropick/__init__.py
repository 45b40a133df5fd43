"""entropick: choose training data by entropy, and see whether a model generalizes or copies.

>>> import entropick as ep
>>> ep.selectors.Greedy(n_samples=2, initial=[0]).fit([[0.0], [1.0], [5.0]]).indices_
array([0, 2])
>>> ep.select([[0.0], [1.0], [5.0]], 2, initial=[0]).indices
array([0, 2])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entropick import errors

if TYPE_CHECKING:
    from entropick import (
        api,
        datasets,
        features,
        generators,
        metrics,
        paradigms,
        report,
        scoring,
        selection,
        selectors,
        sources,
    )
    from entropick.api import score, select
    from entropick.loop import Loop, Pool, Study
    from entropick.paradigms import Accumulate, FixedRealShare, FreshData, Replace

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

# torch and the plotting library take seconds to import, a room a moment: only for those who use it.
_HOMES = {
    "Accumulate": "paradigms",
    "FixedRealShare": "paradigms",
    "FreshData": "paradigms",
    "Loop": "loop",
    "Pool": "loop",
    "Replace": "paradigms",
    "Study": "loop",
    "score": "api",
    "select": "api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"entropick.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"entropick.{name}")
    raise AttributeError(f"module 'entropick' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
