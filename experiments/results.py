"""Keep what a finished study found: ledgers without images, every number as CSV, figures, and the tables of the docs.

    python experiments/results.py runs/digits-grid results/digits-grid

What is kept is a study directory without its images: ``entropick report results/digits-grid`` draws all curves again.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from entropick import report
from entropick.page import words
from entropick.report.comparisons import CONTROLS, comparisons, measures
from entropick.report.content import first_space
from entropick.report.cost import costs
from entropick.report.intervals import Interval, mean_difference
from entropick.report.look import Look
from entropick.report.record import ArmRecord, StudyRecord, read_study
from entropick.report.relations import correlation_of, described, points
from entropick.report.summary import real_over_seeds, unfinished

# What makes a run directory; everything else is images, weights and tables of rows.
KEPT = ("config.json", "environment.json", "ledger.jsonl")


def main() -> None:
    """Copy, draw and tabulate one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    study = read_study(given.study)
    if waiting := unfinished(study):
        parser.error(
            f"expected a finished study; of {given.study} {len(waiting)} runs are missing, first {waiting[0]}."
        )
    given.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(given.study / "study.json", given.out)
    for _, run in study.runs():
        kept = given.out / run.folder.relative_to(study.folder)
        kept.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copy(run.folder / name, kept)
    with (given.out / "numbers.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(numbers(study))
    report.write_figures(given.study, given.out / "figures", formats=("svg",))
    (given.out / "tables.md").write_text("\n\n".join(tables(study)) + "\n")


def numbers(study: StudyRecord) -> Iterator[list[object]]:
    """Every number that was measured, one a row; iteration 0 is what real data itself scores."""
    yield ["arm", "size", "seed", "iteration", "measure", "value"]
    for arm, run in study.runs():
        for n in (0, *run.measured):
            where = [arm.name, run.size, run.seed, n]
            yield from ([*where, key, value] for key, value in run.metrics(n).items())
            yield from ([*where, f"share_of_source_{source}", share] for source, share in run.shares(n).items())


def tables(study: StudyRecord) -> Iterator[str]:
    """The last iteration, what differs from the controls, how measures are related, and what it all took; Markdown."""
    spaces = list(dict.fromkeys(words.split_key(key)[1] for key in measures(study)))
    for one, space in itertools.product(study.by_size(), spaces):
        where = (f", {one.sizes[0]:,} images" if one.sizes else "") + (f", {space}" if len(spaces) > 1 else "")
        keys = [key for key in measures(one) if words.split_key(key)[1] == space]
        yield f"**Last iteration{where}** (mean over seeds, in brackets half the width of its 95 % interval)"
        yield "\n".join(_last(one, keys))
        if found := list(_differences(one, keys)):
            yield f"**Beside the controls{where}** (+ better, \N{MINUS SIGN} worse, 0 not clear at 95 %, over seeds)"
            yield "\n".join(found)
    yield from _relations(study)
    yield "\n".join(_costs(study))


def _last(study: StudyRecord, keys: list[str]) -> Iterator[str]:
    yield _row(["arm", *words.short_names(keys), "real share"])
    yield _row(["---", *["---:"] * (len(keys) + 1)])
    real = [real_over_seeds(study, key) for key in keys]
    yield _row(["*real data*", *(words.number(one.mean, 3) if one else "" for one in real), ""])
    for arm in study.arms:
        if arm.last is not None:
            shares = [run.shares(arm.last).get(0, 0.0) for run in arm.runs if run.shares(arm.last)]
            yield _row([arm.name, *(_over_seeds(_values(arm, key)) for key in keys), _over_seeds(shares)])


def _values(arm: ArmRecord, key: str) -> list[float]:
    found = [run.metrics(arm.last or 0).get(key) for run in arm.runs]
    return [value for value in found if value is not None]


def _over_seeds(values: list[float]) -> str:
    if not values:
        return ""
    found = mean_difference(values)
    half = "" if found.high is None else f" ({words.number(found.high - found.estimate, 2)})"
    return f"{words.number(found.estimate, 3)}{half}"


def _differences(study: StudyRecord, keys: list[str]) -> Iterator[str]:
    found = comparisons(study)
    if not found:
        return
    places = [measures(study).index(key) for key in keys]
    yield _row(["arm", "beside", *words.short_names(keys)])
    yield _row(["---", "---", *["---:"] * len(keys)])
    for one in found:
        cells = [_judged(one.differences[place], one.verdicts[place]) for place in places]
        yield _row([one.arm.name, _control(one.control), *cells])


def _control(arm: ArmRecord) -> str:
    return CONTROLS[0] if arm.method == CONTROLS[0] else arm.method


def _judged(difference: Interval | None, verdict: int) -> str:
    if difference is None:
        return ""
    sign = {1: "+", -1: "\N{MINUS SIGN}", 0: "0"}[verdict]
    half = "" if difference.high is None else f" ± {words.number(difference.high - difference.estimate, 2)}"
    return f"{sign} ({words.number(difference.estimate, 2)}{half})"


def _relations(study: StudyRecord) -> Iterator[str]:
    space, look = first_space(study), Look(study)
    lines = []
    for name in ("knn_entropy", "total_variance"):
        rows = points(study, look, f"generalization_score/{space}", f"{name}/{space}")
        label = words.in_sentence(words.words(name).label)
        parts = [
            ("all", rows),
            *((f"{size:,} images", [r for r in rows if r["size"] == str(size)]) for size in study.sizes),
        ]
        parts += [(arm.name, [row for row in rows if row["arm"] == arm.name]) for arm in study.arms]
        for what, chosen in parts:
            if found := correlation_of(chosen):
                lines.append(_row([label, what, described(found), str(found.n)]))
    if lines:
        yield "**Pearson's r with the logarithm of the generalization score** (95 % interval: bootstrap over runs)"
        yield "\n".join([_row(["measure", "over", "r", "points"]), _row(["---", "---", "---:", "---:"]), *lines])


def _costs(study: StudyRecord) -> Iterator[str]:
    yield _row(["arm", "runs", "gradient steps", "images sampled", "seconds behind its results", "computed for it"])
    yield _row(["---", *["---:"] * 5])
    for cost in costs(study):
        counts = [str(cost.n_runs), f"{cost.steps:,}", f"{cost.images:,}"]
        yield _row([cost.arm.name, *counts, f"{cost.total_seconds:,.0f}", f"{cost.own_seconds:,.0f}"])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
