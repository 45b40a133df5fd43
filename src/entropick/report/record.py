"""What a report is made from: the ledgers of a study, or of one run, as they lie on the disk. Reads, never writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entropick.errors import RunError
from entropick.run.files import hash_file, read_content, read_json
from entropick.run.ledger import LEDGER, Entry, Ledger

STAGES = ("select", "train", "sample", "measure")


@dataclass(frozen=True)
class RunRecord:
    """One run directory: its ledger entries by (iteration, stage), its config and its environments."""

    folder: Path
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

    def values(self, iteration: int, stage: str) -> Mapping[str, Any]:
        """The numbers of a stage; empty where it is not done."""
        entry = self.entries.get((iteration, stage))
        return entry.values if entry else {}

    def metrics(self, iteration: int) -> dict[str, float | None]:
        """The metrics of an iteration, None where a value is not a finite number; iteration 0 is the real data."""
        found = self.values(iteration, "measure" if iteration else "baseline").get("metrics", {})
        return {str(key): finite(value) for key, value in found.items()}

    def shares(self, iteration: int) -> dict[int, float]:
        """The share of each source iteration in the training set, 0 being real."""
        found = self.values(iteration, "select").get("shares", {})
        shares = {int(source): finite(share) for source, share in found.items()}
        return {source: share for source, share in sorted(shares.items()) if share is not None}

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
    """One arm: its config as the study resolved it, and its runs, one per seed, as far as they were started."""

    name: str
    config: Mapping[str, Any]
    runs: tuple[RunRecord, ...]

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
    """Arms x seeds. A single run is a study of one arm."""

    folder: Path
    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    arms: tuple[ArmRecord, ...]

    def runs(self) -> Iterator[tuple[ArmRecord, RunRecord]]:
        """All runs with their arms, in the study's order."""
        return ((arm, run) for arm in self.arms for run in arm.runs)


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
    if (folder / "study.json").is_file():
        return _read_arms(folder, read_json(folder / "study.json"))
    if (folder / LEDGER).is_file():
        run = _read_run(folder, None)
        name = folder.resolve().name
        arm = ArmRecord(name, run.config, (run,))
        return StudyRecord(folder, name, name, "", () if run.seed is None else (run.seed,), (arm,))
    raise RunError(f"{folder}: expected a study or run directory, but found neither study.json nor {LEDGER} in it.")


def finite(value: Any) -> float | None:
    """`value` as a float, or None where it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_arms(folder: Path, study: Mapping[str, Any]) -> StudyRecord:
    name = str(study.get("name", folder.resolve().name))
    seeds = tuple(study.get("seeds", ()))
    arms = tuple(_read_arm(folder, str(arm), config, seeds) for arm, config in study.get("arms", {}).items())
    title = str(study.get("title") or name)
    return StudyRecord(folder, name, title, str(study.get("description") or ""), seeds, arms)


def _read_arm(folder: Path, name: str, config: Mapping[str, Any], seeds: tuple[int, ...]) -> ArmRecord:
    if name != Path(name).name:
        raise RunError(f"{folder / 'study.json'}: expected the name of a folder for each arm, got {name!r}.")
    runs = [(folder / "arms" / name / f"seed-{seed}", seed) for seed in seeds]
    return ArmRecord(name, config, tuple(_read_run(path, seed) for path, seed in runs if (path / LEDGER).is_file()))


def _read_run(folder: Path, seed: int | None) -> RunRecord:
    config = _read_if_there(folder / "config.json")
    environments = _read_if_there(folder / "environment.json").get("environments", [])
    ledger = Ledger(folder)
    entries = {(entry.iteration, entry.stage): entry for entry in ledger}
    return RunRecord(
        folder, config.get("seed") if seed is None else seed, config, tuple(environments), entries, ledger.seal
    )


def _read_if_there(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
