"""Images and embeddings as people have them: folders, arrays and tables under names, and the features of their rows.

What a *source* is, is in `source.py`, what a file of embeddings holds in `embeddings.py`; `memory.py` takes arrays,
tensors, frames and pictures that are in memory. `survey.py` looks at image files before any is decoded, `space.py` is
where sources are compared, `rounding.py` makes float32 of embeddings, and `candidates.py` turns it all into aligned
columns of candidates. Selections and scores are both commands that go from files into files
(`output.py`), and `cost.py` forecasts what they take.
"""

from entropick.sources.candidates import Candidates, Contents, changed, given, nothing_usable
from entropick.sources.embeddings import EMBEDDING_FILES, open_embeddings
from entropick.sources.memory import embeddings_of_images, sources_of, texts
from entropick.sources.output import FilesCommand, Picture, Say, csv_text, encoded, fitted, picture, readable_columns
from entropick.sources.source import Source, on_one_line, open_sources, readable, source_number
from entropick.sources.space import Space, check_columns
from entropick.sources.survey import Survey, check_problems, converted, passed_over, skipped

__all__ = [
    "EMBEDDING_FILES",
    "Candidates",
    "Contents",
    "FilesCommand",
    "Picture",
    "Say",
    "Source",
    "Space",
    "Survey",
    "changed",
    "check_columns",
    "check_problems",
    "converted",
    "csv_text",
    "embeddings_of_images",
    "encoded",
    "fitted",
    "given",
    "nothing_usable",
    "on_one_line",
    "open_embeddings",
    "open_sources",
    "passed_over",
    "picture",
    "readable",
    "readable_columns",
    "skipped",
    "source_number",
    "sources_of",
    "texts",
]
