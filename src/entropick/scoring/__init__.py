"""A check-up for any folder of images: does the generator that made them generalize, or does it copy?

`score.py` goes from files into files; `space.py` is where sets are compared, `measuring.py` what is found there;
`condition.py` says when a score counts as failed, `verdict.py` what it says in words; `page.py` puts it on one page.
"""

from entropick.scoring.condition import Condition
from entropick.scoring.score import PAGE, Score
from entropick.scoring.space import Space
from entropick.scoring.verdict import Verdict, judge, meaning

__all__ = ["PAGE", "Condition", "Score", "Space", "Verdict", "judge", "meaning"]
