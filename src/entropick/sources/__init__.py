"""Images and embeddings as people have them: folders, arrays and tables under names, and the features of their rows.

What a *source* is, is in `source.py`; `survey.py` looks at image files before any is decoded; `extraction.py` turns
sources into aligned columns of candidates, `feature_cache.py` keeps what was extracted, for loops too; `problems.py` is
about images that cannot be used. Selections and scores both begin here, and share what their output folders
(`output.py`), pictures and forecasts (`cost.py`) have in common.
"""

from entropick.features.cache import FeatureCache, check_encoder, lessons_of
from entropick.sources.embeddings import EMBEDDING_FILES, read_embeddings
from entropick.sources.extraction import Candidates, check_files, check_rows, extract, given
from entropick.sources.output import begun, check_output, finished, readable_columns, write_csv
from entropick.sources.pictures import encoded, fitted, read_picture
from entropick.sources.problems import check_problems, skipped
from entropick.sources.source import Source, open_sources, readable, source_number
from entropick.sources.survey import Survey, survey

__all__ = [
    "EMBEDDING_FILES",
    "Candidates",
    "FeatureCache",
    "Source",
    "Survey",
    "begun",
    "check_encoder",
    "check_files",
    "check_output",
    "check_problems",
    "check_rows",
    "encoded",
    "extract",
    "finished",
    "fitted",
    "given",
    "lessons_of",
    "open_sources",
    "read_embeddings",
    "read_picture",
    "readable",
    "readable_columns",
    "skipped",
    "source_number",
    "survey",
    "write_csv",
]
