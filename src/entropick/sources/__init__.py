"""Images and embeddings as people have them: folders, arrays and tables under names, and the features of their rows.

What a *source* is, is in `source.py`; `survey.py` looks at image files before any is decoded; `extraction.py` turns
sources into aligned columns of candidates, `feature_cache.py` keeps what was extracted. Selections and scores begin
here, and loops keep their features here.
"""

from entropick.sources.embeddings import read_embeddings
from entropick.sources.extraction import Candidates, check_rows, extract, given
from entropick.sources.feature_cache import FeatureCache, check_encoder, lessons_of
from entropick.sources.source import Source, open_sources
from entropick.sources.survey import Survey, survey

__all__ = [
    "Candidates",
    "FeatureCache",
    "Source",
    "Survey",
    "check_encoder",
    "check_rows",
    "extract",
    "given",
    "lessons_of",
    "open_sources",
    "read_embeddings",
    "survey",
]
