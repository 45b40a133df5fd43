"""What the page says in words and tables: plain data for its template, all of it out of the ledgers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from entropick.page import words
from entropick.report import comparisons, summary
from entropick.report.record import STAGES, ArmRecord, StudyRecord, finite
from entropick.run import flatten

# Settings that the table of last iterations shows where the arms that have them differ in them.
_IN_TABLE = re.compile(r"guidance|conditional|garbage_share$")


@dataclass(frozen=True)
class FinalTable:
    """Means over seeds at each arm's last iteration, and what real data scores; `told` are settings worth a column."""

    told: list[str]
    titles: list[str]
    real: list[summary.Spread | None]
    rows: list[FinalRow]


@dataclass(frozen=True)
class FinalRow:
    """An arm at its last iteration: settings, size of its training set, metrics in order, share of real images."""

    arm: ArmRecord
    told: list[str]
    n_training: summary.Spread | None
    metrics: list[summary.Spread | None]
    real_share: float | None


@dataclass(frozen=True)
class OfSize:
    """What the page says of one size of a study, or of a study without sizes."""

    size: int | None
    final: FinalTable
    compared: list[comparisons.Comparison]
    measures: list[str]
    stories: list[tuple[ArmRecord, list[str]]]


def of_size(study: StudyRecord) -> OfSize:
    """Tables and sentences of a study at one size."""
    return OfSize(
        study.sizes[0] if study.sizes else None,
        final_table(study),
        comparisons.comparisons(study),
        words.short_names(comparisons.measures(study)),
        [(arm, story(study, arm)) for arm in study.arms],
    )


def final_table(study: StudyRecord) -> FinalTable:
    """The table of last iterations."""
    keys = [key for key in summary.metric_keys(study) if words.words(key).is_main or not words.words(key).meaning]
    told = [name for name, values, _ in settings(study) if _IN_TABLE.search(name) and len({*values} - {words.DASH}) > 1]
    real = [summary.real_over_seeds(study, key) for key in keys]
    rows = [_final_row(arm, arm.last, keys, told) for arm in study.arms if arm.last is not None]
    return FinalTable([name.rpartition(".")[2] for name in told], words.short_names(keys), real, rows)


def _final_row(arm: ArmRecord, last: int, keys: list[str], told: list[str]) -> FinalRow:
    config = flatten(arm.config)
    sizes = summary.Spread.of(finite(run.values(last, "measure").get("n_training")) for run in arm.runs)
    metrics = [summary.metric_over_seeds(arm, last, key) for key in keys]
    return FinalRow(arm, [_show(config, name) for name in told], sizes, metrics, _real_share(arm, last))


def _real_share(arm: ArmRecord, iteration: int) -> float | None:
    shares = summary.shares_over_seeds(arm, iteration)
    return shares.get(0, 0.0) if shares else None


def setting(study: StudyRecord) -> str:
    """What was compared, in one sentence of numbers."""
    n_seeds = len({run.seed for _, run in study.runs()})
    n_iterations = max((n for arm in study.arms for n in arm.iterations), default=0)
    sizes = f"{_count(len(study.sizes), 'size')}, " if study.sizes else ""
    counts = f"{_count(len(study.arms), 'arm')}, {sizes}{_count(n_seeds, 'seed')}"
    told = f"{counts}, {_count(n_iterations, 'iteration')} measured."
    data = next((run.values(0, "data") for _, run in study.runs() if run.values(0, "data")), None)
    if data is None:
        return told
    shape = f" {words.TIMES} ".join(str(size) for size in data.get("image_shape") or [])
    n_real = listed([f"{size:,}" for size in study.sizes]) or f"{data.get('n_real', 0):,}"
    images = f"{n_real} real images" + (f" of {shape}" if shape else "")
    held_out = f" and {data['n_reference']:,} held out as reference" if data.get("n_reference") else ""
    return f"{told} The data: {images}{held_out}."


def story(study: StudyRecord, arm: ArmRecord) -> list[str]:
    """What happened in an arm, in sentences that only repeat its numbers."""
    if arm.last is None:
        return ["Nothing measured yet."]
    space = first_space(study)
    course = [_course(arm, f"{metric}/{space}") for metric in ("generalization_score", "knn_entropy")]
    state = [_state(arm, f"{metric}/{space}", arm.last) for metric in ("precision", "recall", "frechet_distance")]
    first, last = arm.iterations[0], arm.last
    share = _real_share(arm, last)
    return [
        _sentence(f"Iteration {last}" if first == last else f"Iteration {first} → {last}", course),
        _sentence(f"At iteration {last}", state),
        "" if share is None else f"Real images in its training set: {words.percent(share)}.",
    ]


def first_space(study: StudyRecord) -> str:
    """The feature space that the overview speaks of."""
    return next((words.split_key(key)[1] for key in summary.metric_keys(study)), "")


def _course(arm: ArmRecord, key: str) -> str:
    """A metric from the first to the last iteration, with what real data scores; empty where it was never measured."""
    iterations = dict.fromkeys((arm.iterations[0], arm.last or 0))
    spreads = [summary.metric_over_seeds(arm, n, key) for n in iterations]
    if not any(spreads):
        return ""
    told = " → ".join(words.number(spread.mean if spread else None) for spread in spreads)
    real = summary.metric_over_seeds(arm, 0, key)
    known = words.words(key)
    unit = f" {known.unit}" if known.unit else ""
    return f"{words.in_sentence(known.label)} {told}{unit}" + (
        f" (real data {words.number(real.mean)})" if real else ""
    )


def _state(arm: ArmRecord, key: str, iteration: int) -> str:
    spread = summary.metric_over_seeds(arm, iteration, key)
    return f"{words.in_sentence(words.words(key).label)} {words.number(spread.mean)}" if spread else ""


def _sentence(start: str, parts: list[str]) -> str:
    there = [part for part in parts if part]
    return f"{start}: {', '.join(there)}." if there else ""


def selections(study: StudyRecord) -> tuple[list[str], list[tuple[ArmRecord, int, dict[str, summary.Spread]]]]:
    """The selections' own numbers at each arm's last iteration: their names, and a row per arm."""
    rows = [(arm, arm.last, summary.selection_over_seeds(arm, arm.last)) for arm in study.arms if arm.last]
    names = list(dict.fromkeys(name for _, _, numbers in rows for name in numbers))
    return names, [row for row in rows if row[2]]


def settings(study: StudyRecord) -> list[tuple[str, list[str], bool]]:
    """Rows of (setting, its value in each arm, whether the arms differ), those that differ first."""
    configs = [flatten(arm.config) for arm in study.arms]
    names = list(dict.fromkeys(name for config in configs for name in config if name))
    rows = [(name, [_show(config, name) for config in configs]) for name in names]
    told = [(name, values, len(set(values)) > 1) for name, values in rows]
    return sorted(told, key=lambda row: not row[2])


def _show(config: dict[str, Any], name: str) -> str:
    if name not in config:
        return words.DASH
    value = config[name]
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def stages(study: StudyRecord) -> list[str]:
    """The stages that any run has done, in the order of the loop."""
    order = ("data", "baseline", *STAGES)
    found = {stage for _, run in study.runs() for _, stage in run.entries}
    return [stage for stage in order if stage in found] + sorted(found - set(order))


def environments(study: StudyRecord) -> list[tuple[dict[str, Any], list[str]]]:
    """The different environments, flat, and the runs that were made in each."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for arm, run in study.runs():
        for environment in run.environments:
            key = json.dumps(environment, sort_keys=True)
            found.setdefault(key, (flatten(environment), []))[1].append(f"{arm.name}, seed {run.seed}")
    return list(found.values())


def last_result(study: StudyRecord) -> str:
    """When the newest result was finished; not when the page was made, so that equal ledgers give equal pages."""
    times = [
        str(e.timing["finished"]) for _, run in study.runs() for e in run.entries.values() if "finished" in e.timing
    ]
    return max(times, default="").replace("T", " ").replace("+00:00", " UTC")


def listed(items: list[str]) -> str:
    """Items in a sentence: "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
