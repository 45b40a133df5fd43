"""When models begin to copy, and how that grows with their training images, off the ledgers of a probed study.

    python experiments/onset.py runs/memorization-onset          # a study, or what was kept of one in results/
    python experiments/onset.py runs/memorization-onset --figure results/memorization-onset/figures/onset.svg

The rule stands in experiments/memorization-onset.toml, written before the run. One line per run, then the slope of the
logarithm of the onset over the logarithm of the size, with a 95 % bootstrap interval beside the prediction of 1; the
figure shows both. A run that is not finished has no onset yet.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import numpy as np

from entropick.errors import EntropickError, counted
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
    if args.figure is not None and args.figure.suffix != ".svg":
        parser.error(f"--figure: expected a file that ends in .svg, got {args.figure}.")
    # Beside this script, which other scripts load by its path.
    from results import opened

    try:
        with opened(args.study) as folder:
            table = read_table(folder)
    except EntropickError as error:
        parser.error(str(error))
    found, waiting = onsets(table), table.study.unfinished
    open_runs = f"Not finished: {counted(len(waiting), 'run')}, first {waiting[0]}." if waiting else ""
    if not found:
        came = f"expected a study that looks into its trainings (--probe-steps), got none of that in {args.study}."
        parser.error(f"{came} {open_runs}".strip())
    sys.stdout.write("\n".join(lines(found)) + "\n")
    if open_runs:
        sys.stdout.write(f"\n{open_runs}\n")
    if args.figure is not None:
        import vl_convert

        if not (slopes := slopes_of(found)):
            parser.error("--figure: expected onsets at two sizes of an arm at least, got none or one.")
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        spec = drawn(found, slopes).file_spec(FILE_INK)
        args.figure.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def onsets(table: Table) -> list[Onset]:
    """The onset of every run of a study that was probed in iteration 1."""
    sized = [(arm, run, run.size or run.values(0, "data").get("n_real")) for arm, run in table.study.runs()]
    # Arms of a family may have sizes of their own, where they differ in nothing else.
    places = Counter((arm.family, size, run.seed) for arm, run, size in sized)
    several = {family for (family, *_), n in places.items() if n > 1}
    found = []
    for arm, run, size in sized:
        asked = run.config.get("probe_steps", ())
        if size is None or not asked:
            continue
        name = arm.name if run.size is not None or arm.family in several else arm.family
        steps = [step for step in asked if run.find(1, f"{PROBE}{step}")]
        values = {step: table.of_run(arm, run, 1, f"{PROBE}{step}").get(KEY) for step in steps}
        at, reason = crossing({step: value for step, value in values.items() if value is not None})
        if len(steps) < len(asked):
            # What falls below the level now may rise above it again.
            at, reason = None, f"not finished: {len(steps)} of {len(asked)} probes"
        found.append(Onset(name, size, run.seed or 0, at, reason))
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


def slopes_of(found: Sequence[Onset]) -> dict[str, float]:
    """The slope of every arm that has one."""
    fitted = {arm: slope([one for one in found if one.arm == arm]) for arm in dict.fromkeys(one.arm for one in found)}
    return {arm: of[0] for arm, of in fitted.items() if of is not None}


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


def drawn(found: Sequence[Onset], slopes: Mapping[str, float]) -> Figure:
    """Onsets over sizes in logarithms: a point a run, and of each arm that has a slope this and the predicted one."""
    of_arms = {arm: [one for one in found if one.arm == arm and one.steps is not None] for arm in slopes}
    colors = dict(zip(slopes, itertools.cycle(COLORS), strict=False))
    fitted = {arm: f"{f'{arm}: ' if len(slopes) > 1 else ''}slope {power:.2f}, fitted" for arm, power in slopes.items()}
    predicted = f"slope {PREDICTED:g}, predicted"
    names = [*fitted.values(), predicted]
    x = alt.X(
        "size:Q",
        title="training images",
        axis=alt.Axis(values=sorted({one.size for own in of_arms.values() for one in own})),
        scale=alt.Scale(type="log", nice=False, padding=12),
    )
    y = alt.Y("steps:Q", title="steps until copying begins", scale=alt.Scale(type="log", nice=False, padding=12))
    styles = {
        "color": alt.Color(
            "line:N", title=None, sort=names, scale=alt.Scale(domain=names, range=[*colors.values(), "#8a8a8a"])
        ),
        "strokeDash": alt.StrokeDash(
            "line:N", title=None, sort=names, scale=alt.Scale(domain=names, range=[*([[1, 0]] * len(slopes)), [5, 4]])
        ),
    }
    layers = []
    for arm, own in of_arms.items():
        points: Rows = [{"size": one.size, "steps": one.steps} for one in own]
        sizes = sorted({row["size"] for row in points})
        middle = [math.exp(np.mean([math.log(row[of]) for row in points])) for of in ("size", "steps")]
        ends = [
            {"line": name, "size": size, "steps": middle[1] * (size / middle[0]) ** power}
            for name, power in ((fitted[arm], slopes[arm]), (predicted, PREDICTED))
            for size in (sizes[0], sizes[-1])
        ]
        layers.append(alt.Chart(data(ends)).mark_line(strokeWidth=2).encode(x=x, y=y, **styles))
        layers.append(alt.Chart(data(points)).mark_point(filled=True, size=50, color=colors[arm]).encode(x=x, y=y))
    return Figure("onset", "When a model begins to copy", (), (Panel("", alt.layer(*layers)),))


if __name__ == "__main__":
    main()
