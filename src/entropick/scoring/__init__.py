"""A check-up for any folder of images: does the generator that made them generalize, or does it copy?

`score.py` goes from files into files; `space.py` is where sets are compared, `measuring.py` what is found there;
`verdict.py` says it in words and whether it counts as failed, `page.py` puts it on one page.
"""

from entropick.scoring.score import PAGE, Score
from entropick.scoring.space import Space
from entropick.scoring.verdict import Condition, Verdict, judge, meaning

__all__ = ["PAGE", "Condition", "Score", "Space", "Verdict", "judge", "meaning"]
