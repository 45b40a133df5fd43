"""What a report is made from: the ledgers of a study, or of one run, as they lie on the disk. Reads, never writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entropick.errors import RunError, shown
from entropick.run import LEDGER, STUDY, History, Place, read_json, read_study_file

STAGES = ("select", "train", "sample", "measure")


class RunRecord(History):
    """One run of a study: a run directory, its size (None where the study has none) and its seed."""

    def __init__(self, folder: Path, size: int | None = None, seed: int | None = None) -> None:
        super().__init__(folder)
        self.size = size
        self.seed: int | None = self.config.get("seed") if seed is None else seed

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        planned = "" if self.n_iterations is None else f" of {self.n_iterations}"
        done = f"{len(self.measured)}{planned} iterations measured"
        under_way = max((entry.iteration for entry in self.entries), default=0)
        stages = [stage for stage in STAGES if self.find(under_way, stage)]
        if self.is_finished or "measure" in stages or not stages:
            return done
        return f"{done}; iteration {under_way}: {', '.join(stages)} done"


@dataclass(frozen=True)
class ArmRecord:
    """One arm: its config as the study resolved it, and its runs as far as they were started, one per size and seed.

    Attributes
    ----------
    control_of
        The family whose random control it is, where its name says so as the paper does ("accumulate-subsample").
    """

    name: str
    config: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    control_of: str = ""

    @property
    def family(self) -> str:
        """What arms are compared within: the part of the name before the first "+", by custom the paradigm."""
        return self.control_of or self.name.partition("+")[0]

    @property
    def method(self) -> str:
        """What the arm does in its family: the rest of the name; without one it is the plain loop."""
        return "random" if self.control_of else self.name.partition("+")[2] or "vanilla"

    def at_size(self, size: int | None) -> ArmRecord:
        """The arm with its runs of this size only."""
        return replace(self, runs=tuple(run for run in self.runs if run.size == size))

    @property
    def selected(self) -> tuple[int, ...]:
        """The iterations whose training set at least one seed has chosen."""
        selected = (entry for run in self.runs for entry in run.entries if entry.stage == "select")
        return tuple(sorted({entry.iteration for entry in selected if entry.iteration > 0}))

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations that at least one seed has measured."""
        return tuple(sorted({n for run in self.runs for n in run.measured}))

    @property
    def last(self) -> int | None:
        """The last iteration that every seed with results has measured, or None before the first."""
        reached = [run.measured[-1] for run in self.runs if run.measured]
        return min(reached) if reached else None


@dataclass(frozen=True)
class StudyRecord:
    """Arms x sizes x seeds; no sizes where the study has none. A single run is a study of one arm."""

    folder: Path
    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    sizes: tuple[int, ...]
    arms: tuple[ArmRecord, ...]

    def runs(self) -> Iterator[tuple[ArmRecord, RunRecord]]:
        """All runs with their arms, in the study's order."""
        return ((arm, run) for arm in self.arms for run in arm.runs)

    def at_size(self, size: int | None) -> StudyRecord:
        """The study as if it had this size only."""
        sizes = () if size is None else (size,)
        return replace(self, sizes=sizes, arms=tuple(arm.at_size(size) for arm in self.arms))

    def by_size(self) -> list[StudyRecord]:
        """One study per size, the largest first; the study itself where it has no sizes."""
        return [self.at_size(size) for size in sorted(self.sizes, reverse=True)] or [self]

    @property
    def unfinished(self) -> list[str]:
        """One sentence per run that has not reached its last iteration, begun ones first in each arm."""
        sentences = []
        for arm in self.arms:
            begun = {(run.size, run.seed): run for run in arm.runs}
            planned = [(size, seed) for size in self.sizes or (None,) for seed in self.seeds]
            states = {at: run.progress for at, run in begun.items() if not run.is_finished}
            states |= {at: "not started" for at in planned if at not in begun}
            sentences += [
                f"{arm.name}, {'' if size is None else f'size {size:,}, '}seed {seed}: {state}"
                for (size, seed), state in states.items()
            ]
        return sentences


def read_study(folder: Path) -> StudyRecord:
    """Read a study directory or a single run directory.

    Raises
    ------
    RunError
        It is neither.
    RunDamaged
        A ledger line is not what was written.
    """
    folder = Path(folder)
    name = folder.resolve().name
    if not (folder / STUDY).is_file():
        if not (folder / LEDGER).is_file():
            raise RunError(
                f"{folder}: expected a study or run directory, but found neither study.json nor {LEDGER} in it."
            )
        run = RunRecord(folder)
        seeds = () if run.seed is None else (run.seed,)
        return StudyRecord(folder, name, name, "", seeds, (), (ArmRecord(name, run.config, (run,)),))
    described = read_json(folder / STUDY)
    kinds = {"arms": dict, "seeds": list, "sizes": list}
    if not isinstance(described, dict) or any(
        not isinstance(described.get(name, of()), of) for name, of in kinds.items()
    ):
        described = read_study_file(folder)  # which tells what it is not
    name = str(described.get("name", name))
    seeds, sizes = tuple(described.get("seeds", ())), tuple(described.get("sizes", ()))
    arms, configs = [], described.get("arms", {})
    for arm, config in configs.items():
        if arm != Path(arm).name:
            raise RunError(f"{folder / STUDY}: expected the name of a folder for each arm, got {shown(arm)}.")
        places = [Place(arm, size, seed) for size in sizes or (None,) for seed in seeds]
        begun = [place for place in places if (folder / place.path / LEDGER).is_file()]
        runs = tuple(RunRecord(folder / place.path, place.size, place.seed) for place in begun)
        arms.append(ArmRecord(arm, config, runs, _control_of(arm, config, list(configs))))
    title, description = str(described.get("title") or name), str(described.get("description") or "")
    return StudyRecord(folder, name, title, description, seeds, sizes, tuple(arms))


def _control_of(arm: str, config: Mapping[str, Any], names: Sequence[str]) -> str:
    """The family of which the arm is the random control under the paper's name, "accumulate-subsample", if it is."""
    paradigm, selector = ((config.get(section) or {}).get("kind") for section in ("paradigm", "selector"))
    is_called_so = arm == f"{paradigm}-subsample" and selector == "random"
    is_own_family = any(name.startswith(f"{arm}+") for name in names)
    return str(paradigm) if is_called_so and not is_own_family else ""
