"""What the commands do, from Python: the same sources, stages, results and pages, with what is in memory too.

`selected.py` and `scored.py` are one function and its result each; `folder.py` is where they work when they are given
no folder. `entropick.select` and `entropick.score` are these functions.
"""

from entropick.api.scored import Scored, score
from entropick.api.selected import Selected, select

__all__ = ["Scored", "Selected", "score", "select"]
