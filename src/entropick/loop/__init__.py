"""Self-consuming loops, and studies of several: what is trained on what, in which order, and what becomes of it.

`loop.py` is configuration and the story; `stages.py` is each arrow of it, a function of declared inputs, over rows of a
`pool.py`; `study.py` is arms x sizes x seeds, and `plan.py` tells what a study will cost.
"""

from entropick.loop.loop import Loop
from entropick.loop.pool import Pool
from entropick.loop.study import Study

__all__ = ["Loop", "Pool", "Study"]
