"""The page of a selection: what people look at before they trust it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import altair as alt

from entropick.page.document import PAGE_INK, render, specification
from entropick.page.words import length_unit, number, percent
from entropick.selection.appraisal import core_set_in_words
from entropick.selection.output import Repeat, Row
from entropick.sources import Picture, Source, picture, readable
from entropick.work import Work

# Told apart with any colour vision, legible on light and dark; in the order in which they are drawn.
COLORS = {"left out": "#8A9299", "set aside": "#CC79A7", "given": "#009E73", "chosen": "#D55E00"}
_RANDOM = "#0072B2"
# Pictures side by side under a slider, how many of such rows of each kind, and their longer side in pixels.
_N_IN_FRAME, _N_FRAMES, _SIDE = 48, {"chosen": 6, "set aside": 3, "left out": 3}, 80
# Groups of duplicates with pictures, of which so many each; skipped images and classes that are listed.
_N_GROUPS, _N_OF_GROUP, _N_LISTED = 12, 6, 100


@dataclass(frozen=True)
class Thumbnail:
    """A picture with its source and a number under it."""

    picture: Picture
    source: str
    note: str


@dataclass(frozen=True)
class Strip:
    """Rows of one kind as pictures, of which a slider shows one frame at a time.

    Attributes
    ----------
    name, explained
        What they are, and what their order is.
    frames
        Each with its title, "ranks 0 to 47".
    """

    name: str
    explained: str
    frames: list[tuple[str, list[Thumbnail]]]


def render_selection(
    result: Mapping[str, Any],
    overview: Mapping[str, Any],
    picked: Sequence[Row],
    aside: Sequence[Row],
    repeats: Sequence[Repeat],
    sources: Sequence[Source],
    work: Work,
) -> str:
    """The page as HTML, from ``selection.json``, what `entropick.selection.overview` found, the rows that were picked
    and set aside, and those that repeat others; pictures are read from `sources`. Equal selections give equal pages."""
    figures = list(_figures(result, overview, sources))
    groups = [list(of) for _, of in groupby(repeats, lambda repeat: repeat.group)]
    return render(
        "entropick.selection",
        specs=[spec for _, _, spec, _ in figures],
        result=result,
        headline=_headline(result),
        tiles=_tiles(result),
        sentences=_sentences(result),
        compared=_compared(result),
        strips=[] if sources[0].kind == "embeddings" else list(_strips(picked, aside, overview, sources, work)),
        figures=[(title, explained, table) for title, explained, _, table in figures],
        pairs=[
            (of["distance"], [_thumbnail(Row(sources[a], b, 0, 0.0), "") for a, b in of["rows"]])
            for of in overview["pairs"]
        ],
        groups=[[(_thumbnail(r.of, r.kind), r) for r in of[:_N_OF_GROUP]] for of in groups[:_N_GROUPS]],
        sizes=[len(of) for of in groups],
        rule=_rule(result["duplicates"]),
        has_pictures=sources[0].kind != "embeddings",
        has_order=any(source.files and not source.in_memory for source in sources),
        facts=_facts(result),
        n_listed=_N_LISTED,
    )


def _headline(result: Mapping[str, Any]) -> str:
    n, n_pool = result["n_samples"] - result["n_given"], result["n_pool"] - result["n_given"]
    radius, beside = (result[of]["covering_radius"] for of in ("selection", "control"))
    after = f" after {result['n_given']:,} that were given" if result["n_given"] else ""
    told = f"{n:,} of {n_pool:,} rows{after}"
    if not beside or radius == beside:
        return f"{told}."
    change = percent(abs(1 - radius / beside))
    nearer = "nearer" if radius < beside else "farther"
    return f"{told}: the worst represented one is {change} {nearer} than after a random choice."


def _tiles(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few numbers to see first, each with what it is."""
    tiles = [(f"{result['n_samples'] - result['n_given']:,}", "chosen")]
    if result["n_given"]:
        tiles.append((f"{result['n_given']:,}", "given, picked already"))
    if result["guard"] is not None:
        tiles.append((f"{result['guard']['n_set_aside']:,}", "set aside by the guard"))
    tiles.append((f"{result['duplicates']['rows'] - result['duplicates']['groups']:,}", "duplicates in the pool"))
    tiles.append((f"{len(result['skipped']):,}", "skipped"))
    return tiles


def _sentences(result: Mapping[str, Any]) -> list[str]:
    """What the choice proves, in words."""
    certificate, n = result["certificate"], result["n_samples"]
    told = []
    if certificate["best_radius_at_least"]:
        told.append(
            f"Whatever {n:,} rows are chosen, the worst represented one is at least "
            f"{number(certificate['best_radius_at_least'])} away from the nearest of them; here it is "
            f"{number(result['selection']['covering_radius'])}, at most {number(certificate['factor'], 3)} times the "
            "best."
        )
    told += [line[0].upper() + line[1:] for line in core_set_in_words(result)]
    if result["n_distinct"] < n:
        told.append(f"Only {result['n_distinct']:,} of {n:,} rows are distinct; the others are copies of them.")
    if result["n_given"]:
        told.append("The random choice starts from the given rows as well.")
    return told


def _compared(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The measures of the choice, and of a random one, with what they mean."""
    rows = {
        "Covering radius": (
            "covering_radius",
            "of the worst represented row to its nearest chosen one; small is good",
        ),
        "Smallest distance": ("min_distance", "between two chosen rows; large is good"),
        "Entropy (nats)": (
            "knn_entropy",
            "how spread the chosen ones are; comparable at this size, in this space",
        ),
        "Repeats": ("duplicate_share", "share of chosen rows that repeat another exactly"),
    }
    chosen, control = result["selection"], result["control"]
    return [(label, number(chosen[key]), number(control[key]), said) for label, (key, said) in rows.items()]


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """With what it was chosen."""
    config = result["config"]
    names = ("selector", "guard", "features", "given", "balance", "files", "skip_bad", "seed")
    return [
        (name.replace("_", " "), _plain(config[name]))
        for name in names
        if config[name] is not None and config[name] is not False and config[name] != []
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(of)}" for key, of in value.items() if of is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rule(duplicates: Mapping[str, Any]) -> str:
    """How near rows have to be to be called duplicates, in words."""
    if not duplicates["share"]:
        return "Exact copies only: there are too few distinct rows to tell what is near."
    looked_up = ""
    if duplicates["n_looked_up"] < duplicates["n_distinct"]:
        looked_up = (
            f" Neighbours of {duplicates['n_looked_up']:,} of {duplicates['n_distinct']:,} distinct rows were looked "
            "up; exact copies are all found."
        )
    near, dimension = number(duplicates["share"], 2), number(duplicates["dimension"], 3)
    return (
        f"Exact copies, and rows nearer to each other than {near} of the distance to their 16th neighbour. Distances "
        f"to neighbours grow here as in {dimension} dimensions; of a pool of this size without duplicates, spread "
        f"evenly around each row, this names a tenth of a row on average.{looked_up} duplicates.csv has all groups, "
        "and in each the one to keep, a chosen one where there is one."
    )


def _thumbnail(row: Row, note: str) -> Thumbnail:
    return Thumbnail(picture(row.source, row.row, readable(row.path), side=_SIDE), row.source.name, note)


def _strips(
    picked: Sequence[Row], aside: Sequence[Row], overview: Mapping[str, Any], sources: Sequence[Source], work: Work
) -> Iterator[Strip]:
    chosen = [row for row in picked if not row.is_given]
    left_out = overview["left_out"]
    near = zip(left_out["rows"], left_out["distances"], strict=True)
    others = [Row(sources[source], row, rank, distance) for rank, ((source, row), distance) in enumerate(near)]
    looked_up = "" if len(others) == left_out["n"] else f" {len(others):,} of {left_out['n']:,}, taken at random."
    kinds = {
        "chosen": (chosen, "By rank; under each its distance to the nearest of the picks before it."),
        "set aside": (aside, "The most extreme first; under each its distance from what the guard trusts."),
        "left out": (others, f"The farthest first; under each its distance to the nearest chosen one.{looked_up}"),
    }
    for name, (rows, explained) in kinds.items():
        if rows:
            yield Strip(name, explained, list(_frames(rows, _N_FRAMES[name], f"pictures of what is {name}", work)))


def _frames(rows: Sequence[Row], most: int, note: str, work: Work) -> Iterator[tuple[str, list[Thumbnail]]]:
    """At most so many frames, evenly spaced over all rows, the first and the last among them."""
    n_frames = min(most, -(-len(rows) // _N_IN_FRAME))
    last = max(len(rows) - _N_IN_FRAME, 0)
    for frame in range(n_frames):
        # Where all fit, one begins where the one before it ends.
        fits = len(rows) <= most * _N_IN_FRAME
        start = frame * _N_IN_FRAME if fits else round(frame * last / (n_frames - 1))
        shown = rows[start : start + _N_IN_FRAME]
        title = f"{shown[0].rank:,} to {shown[-1].rank:,}"
        work.progress(frame, n_frames, note)
        yield title, [_thumbnail(row, number(row.distance, 3) if row.distance != float("inf") else "") for row in shown]


Figure = tuple[str, str, dict[str, Any], list[list[str]]]
"""Title, words, specification, and the numbers as a table, header first; empty where there are too many."""


def _figures(result: Mapping[str, Any], overview: Mapping[str, Any], sources: Sequence[Source]) -> Iterator[Figure]:
    unit = length_unit(result["config"]["features"])
    if overview["map"] is not None:
        yield _map_figure(overview["map"], sources, unit)
    yield _shares_figure(result)
    if overview["distances"]["rank"]:
        yield _curve_figure(overview["distances"], unit)


def _map_figure(found: Mapping[str, Any], sources: Sequence[Source], unit: str) -> Figure:
    counts = {fate: of for fate, of in found["counts"].items() if of[1]}
    points = [
        {"what": fate, "x": x, "y": y, "source": sources[source].name, "row": row}
        for fate, x, y, source, row in found["points"]
    ]
    # What is set aside may be so far away that nothing else would be seen.
    spans = {axis: _span([of[axis] for of in points if of["what"] != "set aside"]) for axis in ("x", "y")}
    shown = [of for of in points if all(low <= of[axis] <= high for axis, (low, high) in spans.items())]
    beyond = f" {len(points) - len(shown):,} that are set aside lie beyond its rim." if len(shown) < len(points) else ""
    first, second = (percent(share) for share in found["explained"])
    drawn = [f"{some:,} of {n:,} {fate}" if some < n else f"all {n:,} {fate}" for fate, (some, n) in counts.items()]
    explained = (
        f"The pool on its two principal axes, which hold {first} and {second} of its variance; what looks near here "
        f"may be far on all others. Axes from {found['n_fitted']:,} rows; drawn: {', '.join(drawn)}.{beyond}"
    )
    scales = {axis: alt.Scale(domain=list(span), nice=False, zero=False) for axis, span in spans.items()}
    axis = alt.Axis(grid=False, tickCount=5)
    colors = alt.Scale(domain=list(counts), range=[COLORS[fate] for fate in counts])
    chart = (
        alt.Chart(alt.InlineData(values=shown))
        .mark_circle(size=22)
        .encode(
            x=alt.X("x:Q", title=f"first axis ({unit})", scale=scales["x"], axis=axis),
            y=alt.Y("y:Q", title=f"second axis ({unit})", scale=scales["y"], axis=axis),
            color=alt.Color("what:N", title=None, scale=colors),
            opacity=alt.condition("datum.what === 'left out'", alt.value(0.45), alt.value(0.85)),
            tooltip=[alt.Tooltip("what:N", title="it is"), alt.Tooltip("source:N"), alt.Tooltip("row:Q")],
        )
    )
    return "A map of the pool", explained, specification(chart, PAGE_INK, height=380), []


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From the lowest to the highest, and a twentieth more on each side."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low or 1.0)
    return low - margin, high + margin


def _shares_figure(result: Mapping[str, Any]) -> Figure:
    sources = result["sources"]
    usable = {name: of["files_or_rows"] - of["skipped"] - of.get("given", 0) for name, of in sources.items()}
    n_usable, n_chosen = sum(usable.values()), sum(of["chosen"] for of in sources.values())
    # What is given is no part of the pool that is chosen from.
    shares = {name: (usable[name] / n_usable, of["chosen"] / n_chosen) for name, of in sources.items() if usable[name]}
    values = [
        {"source": name, "of": of, "share": share, "place": place}
        for place, (name, both) in enumerate(shares.items())
        for of, share in zip(("pool", "chosen"), both, strict=True)
    ]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar()
        .encode(
            y=alt.Y("of:N", title=None, sort=["pool", "chosen"], axis=alt.Axis(ticks=False, domain=False)),
            x=alt.X("share:Q", title="rows (share)", stack="zero", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color("source:N", title=None, sort=list(shares), scale=alt.Scale(scheme="tableau10")),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("source:N"), alt.Tooltip("of:N"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    keys = list(next(iter(sources.values())))
    header = ["source", *(key.replace("_", " ") for key in keys), "share of the pool", "of the chosen"]
    rows = [
        [name, *(f"{of[key]:,}" for key in keys), *map(percent, shares.get(name, (0.0, 0.0)))]
        for name, of in sources.items()
    ]
    explained = "Which share of the usable rows each source has, and which of the chosen ones."
    return "Sources, before and after", explained, specification(chart, PAGE_INK, height=110), [header, *rows]


def _curve_figure(distances: Mapping[str, Any], unit: str) -> Figure:
    ranks = distances["rank"]
    names = {"selection": "selection", "random": "random choice"}
    values = [
        {"of": label, "rank": rank, "distance": distance}
        for name, label in names.items()
        for rank, distance in zip(ranks, distances[name], strict=True)
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("rank:Q", title="rank (number)", axis=alt.Axis(grid=False, tickMinStep=1)),
        y=alt.Y("distance:Q", title=f"distance to the nearest earlier pick ({unit})"),
        color=alt.Color(
            "of:N", title=None, scale=alt.Scale(domain=list(names.values()), range=[COLORS["chosen"], _RANDOM])
        ),
        tooltip=[alt.Tooltip("of:N"), alt.Tooltip("rank:Q"), alt.Tooltip("distance:Q", format=".4~g")],
    )
    chart = alt.layer(
        base.transform_filter("datum.of === 'selection'").mark_line(strokeWidth=2),
        base.transform_filter("datum.of !== 'selection'").mark_circle(size=18, opacity=0.6),
    )
    step = max(1, len(ranks) // 12)
    rows = [
        [f"{rank:,}", number(chosen), number(random)]
        for rank, chosen, random in zip(*(distances[key][::step] for key in ("rank", *names)), strict=True)
    ]
    explained = (
        "How far each pick is from all before it, beside a random choice of as many. Where the two meet, more picks "
        "add no more than chance does."
    )
    return (
        "Distances over rank",
        explained,
        specification(chart, PAGE_INK, height=260),
        [["rank", *names.values()], *rows],
    )
