"""The generated images beside their nearest training images, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entropick.scoring.measuring import Measured
from entropick.sources import Candidates, Source, readable_columns

Table = dict[str, list[Any]]


def nearest_table(told: Measured, sources: Sequence[Source], candidates: Mapping[str, Candidates]) -> Table:
    """Every generated image with its nearest training image, the nearest pair first."""
    by_name = {source.name: source for source in sources}
    order = told.worst_first()
    rows = candidates["generated"].row[order].tolist()
    neighbors = candidates["training"].row[told.neighbors[order]].tolist()
    return {
        "rank": list(range(len(order))),
        "distance": told.distances[order].tolist(),
        "near_copy": told.near_copies[order].astype(int).tolist(),
        "row": rows,
        "path": [by_name["generated"].place(row) for row in rows],
        "training_row": neighbors,
        "training_path": [by_name["training"].place(row) for row in neighbors],
    }


def first_rows(table: Table, n: int) -> Table:
    """The first `n` rows, fit for JSON."""
    return readable_columns({name: column[:n] for name, column in table.items()})
