"""Images and embeddings as people have them: folders, arrays and tables under names, and the features of their rows.

What a *source* is, is in `source.py`, what a file of embeddings holds in `embeddings.py`; `candidates.py` looks at
image files before any is decoded and turns sources into aligned columns of candidates. Selections and scores both begin
here, and share what their output folders (`output.py`) and forecasts (`cost.py`) have in common.
"""

from entropick.features.cache import FeatureCache, check_encoder, lessons_of
from entropick.sources.candidates import (
    Candidates,
    Space,
    Survey,
    check_files,
    check_problems,
    extract,
    given,
    skipped,
    survey,
)
from entropick.sources.embeddings import EMBEDDING_FILES, read_embeddings
from entropick.sources.output import OutputFolder, csv_text, encoded, fitted, readable_columns
from entropick.sources.source import Contents, Source, open_sources, readable, source_number

__all__ = [
    "EMBEDDING_FILES",
    "Candidates",
    "Contents",
    "FeatureCache",
    "OutputFolder",
    "Source",
    "Space",
    "Survey",
    "check_encoder",
    "check_files",
    "check_problems",
    "csv_text",
    "encoded",
    "extract",
    "fitted",
    "given",
    "lessons_of",
    "open_sources",
    "read_embeddings",
    "readable",
    "readable_columns",
    "skipped",
    "source_number",
    "survey",
]
