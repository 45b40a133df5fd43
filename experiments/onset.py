"""When models begin to copy, and how that grows with their training images, off the ledgers of a probed study.

    python experiments/onset.py runs/memorization-onset
    python experiments/onset.py runs/memorization-onset --figure results/memorization-onset/figures/onset.svg

The rule stands in experiments/memorization-onset.toml, written before the run. One line per run, then the slope of the
logarithm of the onset over the logarithm of the size, with a 95 % bootstrap interval beside the prediction of 1; the
figure shows both.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import numpy as np

from entropick.page.document import FILE_INK
from entropick.report import read_table
from entropick.report.figure import COLORS, Figure, Panel, Rows, data
from entropick.report.table import PROBE, Table

KEY = "generalization_score_ratio/pixels"
LEVEL = 0.5
PREDICTED = 1.0
_DRAWS = 10_000


@dataclass(frozen=True)
class Onset:
    """One run: its size, and the steps at which it begins to copy; None with the reason where it has no onset."""

    arm: str
    size: int
    seed: int
    steps: float | None
    reason: str = ""


def main() -> None:
    """Print onsets and slopes of a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--figure", type=Path, help="a file for the onsets over the sizes, with both slopes (SVG)")
    args = parser.parse_args()
    found = onsets(read_table(args.study))
    if not found:
        parser.error("expected a study of several sizes with probes (--probe-steps), got none of either.")
    sys.stdout.write("\n".join(lines(found)) + "\n")
    if args.figure is not None:
        import vl_convert

        if (fitted := slope(found)) is None:
            parser.error("--figure: expected onsets at two sizes at least, got none or one.")
        args.figure.write_text(
            vl_convert.vegalite_to_svg(drawn(found, fitted[0]).file_spec(FILE_INK)), encoding="utf-8"
        )


def onsets(table: Table) -> list[Onset]:
    """The onset of every run of a study that was probed in iteration 1."""
    found = []
    for arm, run in table.study.runs():
        steps = sorted(entry.values["step"] for entry in run.entries if entry.iteration == 1 and PROBE in entry.stage)
        values = {step: table.of_run(arm, run, 1, f"{PROBE}{step}").get(KEY) for step in steps}
        size, name = run.size, arm.name
        if size is None:
            # Arms of a family may have sizes of their own.
            size, name = run.values(0, "data").get("n_real"), arm.family
        if size is not None and values:
            steps_at, reason = crossing({step: value for step, value in values.items() if value is not None})
            found.append(Onset(name, size, run.seed or 0, steps_at, reason))
    return found


def crossing(values: Mapping[int, float]) -> tuple[float | None, str]:
    """Where the values by step fall below the level for good, between the logarithms of two steps; or why they do not.

    >>> crossing({100: 0.9, 200: 0.7, 400: 0.3})
    (282.842712474619, '')
    >>> crossing({100: 0.9, 200: 0.7})
    (None, 'not below 0.5 at 200 steps')
    """
    steps = sorted(values)
    above = [step for step in steps if values[step] > LEVEL]
    if not steps or (above and above[-1] == steps[-1]):
        return None, f"not below {LEVEL} at {steps[-1]:,} steps" if steps else "no value"
    if not above:
        return None, f"below {LEVEL} from the first probe on, {steps[0]:,} steps"
    before, after = above[-1], steps[steps.index(above[-1]) + 1]
    share = (values[before] - LEVEL) / (values[before] - values[after])
    return math.exp(math.log(before) + share * (math.log(after) - math.log(before))), ""


def slope(found: Sequence[Onset]) -> tuple[float, float | None, float | None] | None:
    """The slope in log-log over all runs with an onset, and a 95 % interval by a bootstrap over the runs of each size.

    None with fewer than two sizes; no interval where no size has two runs.
    """
    by_size: dict[int, list[float]] = {}
    for one in found:
        if one.steps is not None:
            by_size.setdefault(one.size, []).append(math.log(one.steps))
    if len(by_size) < 2:
        return None
    rng = np.random.default_rng(0)
    estimate = _fitted(by_size)
    if max(map(len, by_size.values())) < 2:
        return estimate, None, None
    drawn = [
        _fitted({size: list(rng.choice(logs, len(logs))) for size, logs in by_size.items()}) for _ in range(_DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return estimate, float(low), float(high)


def _fitted(by_size: Mapping[int, Sequence[float]]) -> float:
    x = np.array([math.log(size) for size, logs in by_size.items() for _ in logs])
    y = np.array([log for logs in by_size.values() for log in logs])
    return float(((x - x.mean()) * y).sum() / np.square(x - x.mean()).sum())


def lines(found: Sequence[Onset]) -> list[str]:
    """What is printed: a Markdown table of onsets, and a sentence on the slope of each arm."""
    said = ["| arm | images | seed | onset, steps |", "| --- | ---: | ---: | ---: |"]
    for one in sorted(found, key=lambda one: (one.arm, one.size, one.seed)):
        steps = one.reason if one.steps is None else f"{one.steps:,.0f}"
        said.append(f"| {one.arm} | {one.size:,} | {one.seed} | {steps} |")
    for arm in dict.fromkeys(one.arm for one in found):
        own = [one for one in found if one.arm == arm]
        n_without = sum(one.steps is None for one in own)
        without = f"; {n_without} of {len(own)} runs have no onset and are left out" if n_without else ""
        fitted = slope(own)
        if fitted is None:
            said += ["", f"{arm}: no slope, for want of two sizes with an onset{without}."]
            continue
        estimate, low, high = fitted
        interval = " (no interval: one run a size)" if low is None else f" [{low:.2f}, {high:.2f}]"
        said += ["", f"{arm}: slope {estimate:.2f}{interval}, predicted {PREDICTED:g}{without}."]
    return said


def drawn(found: Sequence[Onset], fitted: float) -> Figure:
    """Onsets over sizes in logarithms: a point a run, the fitted slope, and the predicted one through the mean."""
    points: Rows = [{"size": one.size, "steps": one.steps} for one in found if one.steps is not None]
    sizes = sorted({row["size"] for row in points})
    middle = [math.exp(np.mean([math.log(row[of]) for row in points])) for of in ("size", "steps")]
    slopes = {f"slope {fitted:.2f}, fitted": fitted, f"slope {PREDICTED:g}, predicted": PREDICTED}
    ends = [
        {"line": name, "size": size, "steps": middle[1] * (size / middle[0]) ** power}
        for name, power in slopes.items()
        for size in (sizes[0], sizes[-1])
    ]
    x = alt.X(
        "size:Q",
        title="training images",
        axis=alt.Axis(values=sizes),
        scale=alt.Scale(type="log", nice=False, padding=12),
    )
    y = alt.Y("steps:Q", title="steps until copying begins", scale=alt.Scale(type="log", nice=False, padding=12))
    names = list(slopes)
    styles = {
        "color": alt.Color(
            "line:N", title=None, sort=names, scale=alt.Scale(domain=names, range=[COLORS[0], "#8a8a8a"])
        ),
        "strokeDash": alt.StrokeDash(
            "line:N", title=None, sort=names, scale=alt.Scale(domain=names, range=[[1, 0], [5, 4]])
        ),
    }
    lines_drawn = alt.Chart(data(ends)).mark_line(strokeWidth=2).encode(x=x, y=y, **styles)
    runs = alt.Chart(data(points)).mark_point(filled=True, size=50, color=COLORS[0]).encode(x=x, y=y)
    return Figure("onset", "When a model begins to copy", (), (Panel("", alt.layer(lines_drawn, runs)),))


if __name__ == "__main__":
    main()
