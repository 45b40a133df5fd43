"""Numbers of a study: per run, and over seeds. Only what the ledgers say, only means and ranges of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick.page.words import in_order
from entropick.report.record import STAGES, ArmRecord, RunRecord, StudyRecord, finite, read_study


@dataclass(frozen=True)
class Spread:
    """One number over seeds: its mean and range, and how many seeds have it."""

    mean: float
    low: float
    high: float
    n_seeds: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """The spread of those values that are there, or None if there is none."""
        there = [value for value in values if value is not None]
        return cls(sum(there) / len(there), min(there), max(there), len(there)) if there else None


def metric_over_seeds(arm: ArmRecord, iteration: int, key: str) -> Spread | None:
    """A metric of an arm at an iteration; iteration 0 is what real data itself scores."""
    return Spread.of(run.metrics(iteration).get(key) for run in arm.runs)


def real_over_seeds(study: StudyRecord, key: str) -> Spread | None:
    """What real data scores, over seeds; None if nobody asked or if arms of one seed have different real data."""
    by_seed: dict[int | None, set[float]] = {}
    for _, run in study.runs():
        value = run.metrics(0).get(key)
        if value is not None:
            by_seed.setdefault(run.seed, set()).add(value)
    if any(len(values) > 1 for values in by_seed.values()):
        return None
    return Spread.of(value for values in by_seed.values() for value in values)


def shares_over_seeds(arm: ArmRecord, iteration: int) -> dict[int, float]:
    """Mean share of each source iteration in the training set, over the seeds that have selected it."""
    runs = [run.shares(iteration) for run in arm.runs if run.shares(iteration)]
    sources = sorted({source for shares in runs for source in shares})
    return {source: sum(shares.get(source, 0.0) for shares in runs) / len(runs) for source in sources}


def metric_keys(study: StudyRecord) -> list[str]:
    """All metric keys that any ledger of the study has, in the order of the page."""
    return in_order({key for _, run in study.runs() for n in (0, *run.measured) for key in run.metrics(n)})


def training_sizes(study: StudyRecord) -> list[int]:
    """The different sizes of training sets that were measured."""
    sizes = {run.values(n, "measure").get("n_training") for _, run in study.runs() for n in run.measured}
    return sorted(size for size in sizes if isinstance(size, int))


def progress(run: RunRecord) -> str:
    """How far a run is, in words."""
    planned = "" if run.n_iterations is None else f" of {run.n_iterations}"
    done = f"{len(run.measured)}{planned} iterations measured"
    under_way = max((n for n, _ in run.entries), default=0)
    stages = [stage for stage in STAGES if (under_way, stage) in run.entries]
    if run.finished or "measure" in stages or not stages:
        return done
    return f"{done}; iteration {under_way}: {', '.join(stages)} done"


def unfinished(study: StudyRecord) -> list[str]:
    """One sentence per run that has not reached its last iteration, begun ones first in each arm."""
    sentences = []
    for arm in study.arms:
        begun = {(run.size, run.seed): run for run in arm.runs}
        planned = [(size, seed) for size in study.sizes or (None,) for seed in study.seeds]
        sentences += [f"{_named(arm, *at)}: {progress(run)}" for at, run in begun.items() if not run.finished]
        sentences += [f"{_named(arm, *at)}: not started" for at in planned if at not in begun]
    return sentences


def _named(arm: ArmRecord, size: int | None, seed: int | None) -> str:
    return f"{arm.name}, {'' if size is None else f'size {size:,}, '}seed {seed}"


def summary_table(study_folder: Path) -> list[dict[str, Any]]:
    """One row per arm, size and seed: where it is and what it measured last.

    Columns are `arm`, `size` (None where the study has none), `seed`, `iteration` (the last one measured, None before
    the first), `finished`, the metrics by key, `share_real`, and the selector's own numbers as ``selection/<name>``. A
    number that is missing or not finite is None; all rows have the same columns.
    """
    study = read_study(study_folder)
    rows = [_row(arm, run) for arm, run in study.runs()]
    fixed = ["arm", "size", "seed", "iteration", "finished", *metric_keys(study), "share_real"]
    extra = sorted({name for row in rows for name in row if name.startswith("selection/")})
    return [{name: row.get(name) for name in [*fixed, *extra]} for row in rows]


def selection_over_seeds(arm: ArmRecord, iteration: int) -> dict[str, Spread]:
    """What the selection of an iteration says of itself: sizes of pool and training set, the selector's numbers."""
    told = [run.values(iteration, "select") for run in arm.runs]
    numbers = [
        {"pool": values.get("n_pool"), "selected": values.get("n_selected"), **(values.get("selection") or {})}
        for values in told
    ]
    names = dict.fromkeys(name for values in numbers for name in values)
    spreads = {name: Spread.of(finite(values.get(name)) for values in numbers) for name in names}
    return {name: spread for name, spread in spreads.items() if spread}


def _row(arm: ArmRecord, run: RunRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": arm.name,
        "size": run.size,
        "seed": run.seed,
        "iteration": None,
        "finished": run.finished,
    }
    if not run.measured:
        return row
    last = run.measured[-1]
    selection = run.values(last, "select").get("selection") or {}
    shares = run.shares(last)
    return {
        **row,
        "iteration": last,
        **run.metrics(last),
        "share_real": shares.get(0, 0.0) if shares else None,
        **{f"selection/{name}": finite(value) for name, value in selection.items()},
    }
