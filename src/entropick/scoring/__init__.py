"""A check-up for any folder of images: does the generator that made them generalize, or does it copy?

`score.py` goes from files into files, in the stages of a run; `measuring.py` is what is found in one space,
`verdict.py` says it in words and whether it counts as failed, `page.py` puts it on one page.
"""

from entropick.scoring.score import PAGE, Score
from entropick.scoring.verdict import Condition, Verdict, judge, meaning
from entropick.sources import Space

__all__ = ["PAGE", "Condition", "Score", "Space", "Verdict", "judge", "meaning"]
