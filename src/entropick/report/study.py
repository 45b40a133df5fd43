"""What a report is made from: the ledgers of a study, or of one run, as they lie on the disk. Reads, never writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entropick.errors import RunError
from entropick.run.files import hash_file, read_content, read_json
from entropick.run.history import STUDY, Place
from entropick.run.ledger import LEDGER, Entry, Ledger

STAGES = ("select", "train", "sample", "measure")


@dataclass(frozen=True)
class RunRecord:
    """One run directory: its ledger entries by (iteration, stage), its config and its environments.

    `size` is None where the study has no sizes.
    """

    folder: Path
    size: int | None
    seed: int | None
    config: Mapping[str, Any]
    environments: tuple[Mapping[str, Any], ...]
    entries: Mapping[tuple[int, str], Entry]
    seal: str
    _intact: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    @property
    def n_iterations(self) -> int | None:
        """How many iterations were asked for, or None where the config does not say."""
        planned = self.config.get("n_iterations")
        return planned if isinstance(planned, int) else None

    @property
    def measured(self) -> tuple[int, ...]:
        """The iterations that have been measured, in order."""
        return tuple(sorted(n for n, stage in self.entries if stage == "measure" and n > 0))

    @property
    def finished(self) -> bool:
        """Whether the last iteration asked for has been measured."""
        return self.n_iterations is not None and len(self.measured) >= self.n_iterations

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        planned = "" if self.n_iterations is None else f" of {self.n_iterations}"
        done = f"{len(self.measured)}{planned} iterations measured"
        under_way = max((n for n, _ in self.entries), default=0)
        stages = [stage for stage in STAGES if (under_way, stage) in self.entries]
        if self.finished or "measure" in stages or not stages:
            return done
        return f"{done}; iteration {under_way}: {', '.join(stages)} done"

    def values(self, iteration: int, stage: str) -> Mapping[str, Any]:
        """The numbers of a stage; empty where it is not done."""
        entry = self.entries.get((iteration, stage))
        return entry.values if entry else {}

    def load(self, iteration: int, stage: str, name: str) -> Any:
        """The content of a file of a stage, or None where the ledger names none or the file is not what it names."""
        path = f"iteration-{iteration:03d}/{name}"
        entry = self.entries.get((iteration, stage))
        if entry is None or path not in entry.files or not self._is_intact(path, entry):
            return None
        return read_content(self.folder / path)

    def digest(self, iteration: int, stage: str, name: str) -> str | None:
        """The sha256 that the ledger gives for a file of a stage, or None where it names none."""
        entry = self.entries.get((iteration, stage))
        record = entry.files.get(f"iteration-{iteration:03d}/{name}") if entry else None
        return record.sha256 if record else None

    @property
    def damaged(self) -> tuple[str, ...]:
        """The files that were asked for and are not what the ledger names."""
        return tuple(sorted(path for path, intact in self._intact.items() if not intact))

    def _is_intact(self, path: str, entry: Entry) -> bool:
        if path not in self._intact:
            on_disk = self.folder / path
            self._intact[path] = on_disk.is_file() and hash_file(on_disk) == entry.files[path]
        return self._intact[path]


@dataclass(frozen=True)
class ArmRecord:
    """One arm: its config as the study resolved it, and its runs, one per size and seed, as far as they were started.

    `index` is its place among the study's arms, which decides its colour.
    """

    name: str
    config: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    index: int = 0

    @property
    def family(self) -> str:
        """What arms are compared within: the part of the name before the first "+", by custom the paradigm."""
        return self.name.partition("+")[0]

    @property
    def method(self) -> str:
        """What the arm does in its family: the rest of the name; without one it is the plain loop."""
        return self.name.partition("+")[2] or "vanilla"

    def at_size(self, size: int | None) -> ArmRecord:
        """The arm with its runs of this size only."""
        return replace(self, runs=tuple(run for run in self.runs if run.size == size))

    @property
    def selected(self) -> tuple[int, ...]:
        """The iterations whose training set at least one seed has chosen."""
        return tuple(sorted({n for run in self.runs for n, stage in run.entries if stage == "select" and n > 0}))

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
            states = {at: run.progress for at, run in begun.items() if not run.finished}
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
    if (folder / STUDY).is_file():
        return _read_arms(folder, read_json(folder / STUDY))
    if (folder / LEDGER).is_file():
        run = _read_run(folder, None, None)
        name = folder.resolve().name
        arm = ArmRecord(name, run.config, (run,))
        return StudyRecord(folder, name, name, "", () if run.seed is None else (run.seed,), (), (arm,))
    raise RunError(f"{folder}: expected a study or run directory, but found neither study.json nor {LEDGER} in it.")


def _read_arms(folder: Path, study: Mapping[str, Any]) -> StudyRecord:
    name = str(study.get("name", folder.resolve().name))
    seeds, sizes = tuple(study.get("seeds", ())), tuple(study.get("sizes", ()))
    arms = tuple(
        _read_arm(folder, ArmRecord(str(arm), config, (), index), seeds, sizes)
        for index, (arm, config) in enumerate(study.get("arms", {}).items())
    )
    title = str(study.get("title") or name)
    return StudyRecord(folder, name, title, str(study.get("description") or ""), seeds, sizes, arms)


def _read_arm(folder: Path, arm: ArmRecord, seeds: tuple[int, ...], sizes: tuple[int, ...]) -> ArmRecord:
    if arm.name != Path(arm.name).name:
        raise RunError(f"{folder / STUDY}: expected the name of a folder for each arm, got {arm.name!r}.")
    places = [Place(arm.name, size, seed) for size in sizes or (None,) for seed in seeds]
    begun = [place for place in places if (folder / place.path / LEDGER).is_file()]
    return replace(arm, runs=tuple(_read_run(folder / place.path, place.size, place.seed) for place in begun))


def _read_run(folder: Path, size: int | None, seed: int | None) -> RunRecord:
    config = _read_if_there(folder / "config.json")
    environments = _read_if_there(folder / "environment.json").get("environments", [])
    ledger = Ledger(folder)
    entries = {(entry.iteration, entry.stage): entry for entry in ledger}
    seed = config.get("seed") if seed is None else seed
    return RunRecord(folder, size, seed, config, tuple(environments), entries, ledger.seal)


def _read_if_there(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
