"""The page of a score: the verdict in words first, then what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from entropick.page import words
from entropick.page.document import PAGE_INK, render, specification
from entropick.page.words import condition_in_words, number, percent
from entropick.scoring.verdict import Chance, judge, meaning, notes
from entropick.sources import Picture, Source, picture

# Told apart with any colour vision, legible on light and dark.
GENERATED_COLOR, REFERENCE_COLOR = "#D55E00", "#0072B2"
_SETS = {"generated": "generated", "reference": "fresh real images"}


@dataclass(frozen=True)
class MeasureRow:
    """A measure in all spaces, for the table; each value with its space, its interval if there is one, and words."""

    name: str
    label: str
    explained: str
    values: list[tuple[str, float | None, Sequence[float] | None, str]]


@dataclass(frozen=True)
class Pair:
    """A generated image and its nearest training image."""

    distance: float
    kind: str
    generated: Picture
    training: Picture


def render_score(score: Mapping[str, Any], sources: Sequence[Source]) -> str:
    """The page of a ``score.json`` as HTML; pictures are read from `sources`. Equal scores give equal pages."""
    spaces = score["spaces"]
    verdicts = judge(score)
    by_name = {source.name: source for source in sources}
    galleries = {name: _pairs(of["nearest"], by_name["generated"], by_name["training"]) for name, of in spaces.items()}
    return render(
        "entropick.scoring",
        specs=[distance_figure(of, words.length_unit(score["config"]["spaces"][name])) for name, of in spaces.items()],
        score=score,
        verdicts=verdicts,
        notes=notes(score),
        conditions=[condition_in_words(of) for of in score["conditions"]],
        chances={name: Chance.of(score, name) for name, of in spaces.items() if of["near_copy_distance"] is not None},
        tiles=_tiles(score, verdicts[0].space),
        rows=_measure_rows(score),
        galleries=galleries,
        kinds={name: _kinds(gallery, spaces[name]) for name, gallery in galleries.items()},
        tables={name: distance_table(of) for name, of in spaces.items()},
        has_pictures=sources[0].kind != "embeddings",
        facts=_facts(score),
    )


def _tiles(score: Mapping[str, Any], space: str) -> list[tuple[str, str]]:
    """The few numbers that the verdict rests on, each with what it is."""
    summary = score["spaces"][space]
    tiles = []
    if summary["ratio"] is not None:
        tiles.append((f"{summary['ratio']:.2f}", "of the distance of fresh real images"))
    if summary["near_copy_distance"] is not None:
        share = summary["n_near_copies"] / summary["n_generated"]
        tiles.append((percent(share), f"near copies; {Chance.of(score, space).told}"))
    tiles.append((f"{summary['n_exact_copies']:,}", "exact copies"))
    if (kept := score["values"].get(f"variance_ratio/{space}")) is not None:
        tiles.append((percent(kept, 2), "of the training set's variance; less is contraction"))
    tiles.append((f"{summary['n_generated']:,}", "generated images"))
    return tiles


def _measure_rows(score: Mapping[str, Any]) -> list[MeasureRow]:
    rows = []
    for name in dict.fromkeys(words.split_key(key)[0] for key in score["values"]):
        known = words.words(name)
        keys = {space: f"{name}/{space}" for space in score["spaces"]}
        values = [
            (space, score["values"][key], score["intervals"].get(key), meaning(score, name, space))
            for space, key in keys.items()
        ]
        label = f"{known.label} ({known.unit})" if known.unit else known.label
        rows.append(MeasureRow(name, label, f"{known.meaning} {known.trap}".strip(), values))
    return rows


def _facts(score: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the sets were compared."""
    spaces = [(f"space {name}", _described(space)) for name, space in score["config"]["spaces"].items()]
    return [*spaces, ("entropick", score["version"]), ("seed", str(score["config"]["seed"]))]


def _described(space: Any) -> str:
    return space if isinstance(space, str) else ", ".join(f"{name}: {value}" for name, value in space.items())


def _kinds(gallery: Sequence[Pair], summary: Mapping[str, Any]) -> str:
    """Which pairs are shown of how many there are, kind by kind, in a sentence."""
    n_exact, n_near = summary["n_exact_copies"], summary["n_near_copies"] - summary["n_exact_copies"]
    there = {"exact copy": n_exact, "near copy": n_near, "": summary["n_generated"] - n_exact - n_near}
    words_of = {"exact copy": "exact copies", "near copy": "near copies, from near to far", "": "that are no copies"}
    shown = Counter(pair.kind for pair in gallery)
    parts = [f"{shown[kind]:,} of the {n:,} {words_of[kind]}" for kind, n in there.items() if n]
    return f"{words.listed(parts)}, the nearest pair first"


def _pairs(nearest: Mapping[str, Sequence[Any]], generated: Source, training: Source) -> list[Pair]:
    """The pairs that ``score.json`` keeps of a space, in their order."""
    columns = ("distance", "near_copy", "row", "path", "training_row", "training_path")
    return [
        Pair(
            distance=distance,
            kind="exact copy" if distance == 0 else "near copy" if near_copy else "",
            generated=picture(generated, row, path),
            training=picture(training, training_row, training_path),
        )
        for distance, near_copy, row, path, training_row, training_path in zip(
            *(nearest[name] for name in columns), strict=True
        )
    ]


def distance_figure(summary: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """The Vega-Lite specification of the histogram of one space, whose distances have the unit."""
    histogram = summary["histogram"]
    edges, sets = histogram["edges"], {name: histogram[key] for key, name in _SETS.items() if key in histogram}
    rows = [
        {"set": name, "low": low, "high": high, "share": share}
        for name, shares in sets.items()
        for low, high, share in zip(edges, edges[1:], shares, strict=False)
        if share
    ]
    colors = [GENERATED_COLOR, REFERENCE_COLOR][: len(sets)]
    fills = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(opacity=0.6)
        .encode(
            x=alt.X(
                "low:Q",
                title=f"distance to the nearest training image ({unit})",
                axis=alt.Axis(grid=False),
            ),
            x2="high:Q",
            y=alt.Y("share:Q", title="images (share)", axis=alt.Axis(format="%", tickCount=5)),
            y2=alt.datum(0),
            color=alt.Color(
                "set:N",
                title=None,
                scale=alt.Scale(domain=list(sets), range=colors),
                legend=alt.Legend(symbolType="square"),
            ),
            tooltip=[
                alt.Tooltip("set:N", title="images"),
                alt.Tooltip("low:Q", title="from", format=".4~g"),
                alt.Tooltip("high:Q", title="to", format=".4~g"),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    layers = [fills]
    if summary["near_copy_distance"] is not None:
        border = alt.Chart(alt.InlineData(values=[{"at": summary["near_copy_distance"]}]))
        layers.append(border.mark_rule(strokeDash=[5, 3], strokeWidth=1.2).encode(x="at:Q"))
    return specification(alt.layer(*layers), PAGE_INK)


def distance_table(summary: Mapping[str, Any]) -> list[list[str]]:
    """The same as a table, header first; empty bins left out."""
    histogram = summary["histogram"]
    keys = [key for key in _SETS if key in histogram]
    bins = zip(histogram["edges"], histogram["edges"][1:], *(histogram[key] for key in keys), strict=False)
    rows = [
        [f"{number(low)} to {number(high)}", *(percent(share) for share in shares)]
        for low, high, *shares in bins
        if any(shares)
    ]
    return [["distance", *(_SETS[key] for key in keys)], *rows]
