"""The table of all measures in docs/what-do-the-numbers-mean.md, made from their records.

`python tools/measures_table.py` writes it; a test fails while it differs from what stands there.
"""

from __future__ import annotations

from pathlib import Path

from entropick.metrics.base import Measure
from entropick.metrics.suite import MEASURES, REGISTRY

PAGE = Path(__file__).parents[1] / "docs" / "what-do-the-numbers-mean.md"
START = "<!-- This table is made from the records of the measures: python tools/measures_table.py -->\n"
END = "<!-- End of the table. -->\n"
HEAD = "| measure | what it is | of which sets | which value is which | range | equal numbers of |"


def table() -> str:
    """The table of the package's own measures, in the order of the registry."""
    rows = [_row(MEASURES[name]) for name in REGISTRY.built_in]
    return "\n".join([HEAD, "| --- " * HEAD.count(" | ") + "| --- |", *rows]) + "\n"


def renewed(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(START)
    return before + START + table() + END + rest.partition(END)[2]


def _row(record: Measure) -> str:
    unit = f" {record.unit}" if record.unit else ""
    low, high = record.range
    span = f"{'any' if low is None else f'from {low:g}'}{'' if high is None else f' to {high:g}'}{unit}"
    moves = ", ".join(record.moves_with) or "any numbers"
    cells = (f"`{record.name}`", record.meaning, ", ".join(record.roles), record.reads, span, moves)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
