"""What each arm costs: gradient steps, images sampled, seconds.

Arms share results, so there are two sums. What an arm's results *took* counts every stage behind them, whoever computed
it: that is what arms must be compared at. What was computed *for it* counts the work that was done in its runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from entropick.report.record import STAGES, ArmRecord, StudyRecord, finite
from entropick.run.ledger import Entry


@dataclass(frozen=True)
class Cost:
    """What an arm took, over all its iterations, sizes and seeds.

    Attributes
    ----------
    n_runs
        Its runs, begun or finished.
    steps, images
        Gradient steps of all trainings, and images sampled, whoever computed them.
    seconds
        By stage of the loop, whoever computed it.
    own_seconds
        Of all that was computed in its own runs, the real data's stages too.
    n_shared
        Stages that were taken from another arm, or from another study.
    """

    arm: ArmRecord
    n_runs: int
    steps: int
    images: int
    seconds: dict[str, float]
    own_seconds: float
    n_shared: int

    @property
    def total_seconds(self) -> float:
        """All stages of the loop."""
        return sum(self.seconds.values())


def costs(study: StudyRecord) -> list[Cost]:
    """The cost of every arm that has begun, in the study's order."""
    return [_cost(arm) for arm in study.arms if arm.runs]


def _cost(arm: ArmRecord) -> Cost:
    entries = list(_entries([arm]))
    by_stage = {stage: [entry for entry in entries if entry.stage == stage] for stage in STAGES}
    return Cost(
        arm=arm,
        n_runs=len(arm.runs),
        steps=sum(int(finite(entry.values.get("n_steps")) or 0) for entry in by_stage["train"]),
        images=sum(int(finite(entry.values.get("n_images")) or 0) for entry in by_stage["sample"]),
        seconds={stage: sum(map(_took, found)) for stage, found in by_stage.items()},
        own_seconds=sum(_seconds(entry, "seconds") for entry in entries),
        n_shared=sum(map(_is_shared, entries)),
    )


def _entries(arms: Iterable[ArmRecord]) -> Iterable[Entry]:
    return (entry for arm in arms for run in arm.runs for entry in run.entries.values())


def _is_shared(entry: Entry) -> bool:
    return "shared_from" in entry.timing


def _took(entry: Entry) -> float:
    return _seconds(entry, "took" if _is_shared(entry) else "seconds")


def _seconds(entry: Entry, name: str) -> float:
    return finite(entry.timing.get(name)) or 0.0
