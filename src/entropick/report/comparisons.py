"""What selection does beside its controls: differences at the last iteration, paired by seed, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from entropick.page.words import words
from entropick.report.intervals import Interval, mean_difference
from entropick.report.record import ArmRecord, StudyRecord
from entropick.report.summary import metric_keys

# The arms of a family that others are held against, by their method.
CONTROLS = ("vanilla", "random")


@dataclass(frozen=True)
class Comparison:
    """One arm beside one control of its family: a difference per measure, None where there is none.

    `verdicts` say of each difference whether it is better (1), worse (-1), or neither is clear (0).
    """

    arm: ArmRecord
    control: ArmRecord
    iteration: int
    differences: tuple[Interval | None, ...]
    verdicts: tuple[int, ...]


def measures(study: StudyRecord) -> list[str]:
    """The measures that arms are compared in: those that have a better and a worse."""
    return [key for key in metric_keys(study) if words(key).is_main and words(key).better]


def comparisons(study: StudyRecord) -> list[Comparison]:
    """Every arm beside the controls of its family, in the study's order; of a study at one size."""
    found = []
    for arm in study.arms:
        for method in CONTROLS:
            control = next((a for a in study.arms if a.family == arm.family and a.method == method), None)
            if control is not None and arm.method not in CONTROLS:
                found += _compared(study, arm, control)
    return found


def _compared(study: StudyRecord, arm: ArmRecord, control: ArmRecord) -> list[Comparison]:
    if arm.last is None or control.last is None:
        return []
    iteration = min(arm.last, control.last)
    keys = measures(study)
    differences = tuple(_difference(arm, control, iteration, key) for key in keys)
    verdicts = tuple(d.side * words(key).better if d else 0 for d, key in zip(differences, keys, strict=True))
    return [Comparison(arm, control, iteration, differences, verdicts)]


def _difference(arm: ArmRecord, control: ArmRecord, iteration: int, key: str) -> Interval | None:
    by_seed = [{run.seed: run.metrics(iteration).get(key) for run in one.runs} for one in (arm, control)]
    pairs = [(by_seed[0][seed], by_seed[1].get(seed)) for seed in by_seed[0]]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    return mean_difference(differences) if differences else None
