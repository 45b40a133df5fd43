"""The table in the docs is that of the records."""

import runpy
from pathlib import Path

import pytest

from entropick.metrics import MEASURES

TOOL = Path(__file__).parents[2] / "tools" / "measures_table.py"


@pytest.mark.skipif(not TOOL.exists(), reason="an installed package has no docs")
def test_the_table_in_the_docs_is_that_of_the_records():
    tool = runpy.run_path(str(TOOL))
    page = tool["PAGE"].read_text(encoding="utf-8")
    assert page == tool["renewed"](page), "renew the table: python tools/measures_table.py"
    assert page.count(tool["START"]) == page.count(tool["END"]) == 1


def test_a_wide_set_is_not_called_noise():
    """A variance alone does not tell it from kinds of images that the other set lacks."""
    assert [name for name, of in MEASURES.items() if "there is noise" in of.reads] == []
