"""The page of a score: the verdict in words first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick.page import words
from entropick.page.document import render
from entropick.run.files import FileRecord, write_atomic
from entropick.scoring.gallery import Pair, pairs
from entropick.scoring.verdict import judge, meaning, notes
from entropick.sources import Source


@dataclass(frozen=True)
class MeasureRow:
    """A measure in all spaces, for the table; each value with its space, its interval if there is one, and words."""

    name: str
    label: str
    explained: str
    values: list[tuple[str, float | None, Sequence[float] | None, str]]


def write_page(told: Mapping[str, Any], sources: Sequence[Source], path: Path) -> FileRecord:
    """Write the page of a ``score.json``; pictures are read from `sources`. Equal scores give equal pages."""
    html = render_score(told, sources).encode()
    return write_atomic(path, lambda stream: stream.write(html))


def render_score(told: Mapping[str, Any], sources: Sequence[Source]) -> str:
    """The page as HTML."""
    from entropick.scoring.figures import distance_figure, distance_table

    spaces = told["spaces"]
    verdicts = judge(told)
    galleries = {name: _gallery(of, sources) for name, of in spaces.items()}
    return render(
        "entropick.scoring",
        specs=[distance_figure(of, name) for name, of in spaces.items()],
        told=told,
        verdicts=verdicts,
        notes=notes(told),
        tiles=_tiles(told, verdicts[0].space),
        rows=_measure_rows(told),
        galleries=galleries,
        tables={name: distance_table(of) for name, of in spaces.items()},
        has_pictures=sources[0].kind != "embeddings",
        facts=_facts(told),
    )


def _gallery(summary: Mapping[str, Any], sources: Sequence[Source]) -> list[Pair]:
    by_name = {source.name: source for source in sources}
    return pairs(summary["nearest"], by_name["generated"], by_name["training"])


def _tiles(told: Mapping[str, Any], space: str) -> list[tuple[str, str]]:
    """The few numbers that the verdict rests on, each with what it is."""
    summary = told["spaces"][space]
    tiles = []
    if summary["ratio"] is not None:
        tiles.append((f"{summary['ratio']:.2f}", "of the distance of fresh real images"))
    if summary["near_copy_distance"] is not None:
        share = summary["n_near_copies"] / summary["n_generated"]
        tiles.append((words.percent(share), "near copies; 1 % is chance"))
    tiles.append((f"{summary['n_exact_copies']:,}", "exact copies"))
    tiles.append((f"{summary['n_generated']:,}", "generated images"))
    return tiles


def _measure_rows(told: Mapping[str, Any]) -> list[MeasureRow]:
    spaces = list(told["spaces"])
    rows = []
    for name in dict.fromkeys(words.split_key(key)[0] for key in told["values"]):
        known = words.words(name)
        values = [
            (space, told["values"][key], told["intervals"].get(key), meaning(told, name, space))
            for space, key in ((space, f"{name}/{space}") for space in spaces)
        ]
        label = f"{known.label} ({known.unit})" if known.unit else known.label
        rows.append(MeasureRow(name, label, f"{known.meaning} {known.trap}".strip(), values))
    return rows


def _facts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the sets were compared."""
    spaces = [(f"space {name}", _described(space)) for name, space in told["config"]["spaces"].items()]
    return [*spaces, ("entropick", told["version"]), ("seed", str(told["config"]["seed"]))]


def _described(space: Any) -> str:
    return space if isinstance(space, str) else ", ".join(f"{name}: {value}" for name, value in space.items())
