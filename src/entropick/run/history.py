"""Reading what commands left on the disk: a run's stages and numbers, the runs of a study, and whether all is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from entropick import notebook
from entropick.errors import RunDamaged, RunError
from entropick.run.files import FileRecord, hash_file, read_content, read_json, set_aside, write_atomic
from entropick.run.folder import locked, read_config, recorded_environments
from entropick.run.ledger import LEDGER, Entry, Ledger, intact_entries
from entropick.run.seal import CONFIG, ENVIRONMENT, SEAL, STUDY, Seal

# Measures that a notebook draws; its table has all.
_DRAWN = 2


class History:
    """A read-only view of a run directory, finished or not.

    Parameters
    ----------
    folder
        The run directory; RunError if it is none, RunDamaged if a line of its ledger, or its config, is not what was
        written.

    Attributes
    ----------
    config
        What it was made with; empty where the file is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / LEDGER).is_file():
            raise RunError(f"{self.folder}: expected a run directory, but found no {LEDGER} in it.")
        self.config: dict[str, Any] = read_config(self.folder) if (self.folder / CONFIG).exists() else {}
        if not isinstance(self.config.get("n_iterations", 0), int):
            raise RunDamaged(f"{self.folder / CONFIG}: expected a whole number of n_iterations. Remove the file.")
        self._ledger = Ledger(self.folder)
        self._intact: dict[str, bool] = {}

    def __repr__(self) -> str:
        of = "stages" if self.n_iterations is None else "iterations"
        done = f"{self.n_done} of {self.n_planned or 'any number of'} {of}"
        return f"History({str(self.folder)!r}: {done}, seal {self.seal or 'none'})"

    def _repr_html_(self) -> str:
        """How far it is, and what each iteration measured, as a table and charts."""
        title = repr(self).removeprefix("History(").removesuffix(")")
        if not (measured := self.metrics):
            rows = [
                [entry.iteration, entry.stage, len(entry.files), entry.timing.get("seconds")] for entry in self.entries
            ]
            return notebook.block(title, notebook.table(["iteration", "stage", "files", "seconds"], rows))
        keys = [key for key in dict.fromkeys(key for of in measured for key in of) if key != "iteration"]
        curves = {key: [(of["iteration"], of[key]) for of in measured if of.get(key) is not None] for key in keys}
        # The longer side goes down: that is how tables fit.
        heading, rows = ["iteration", *keys], [[of["iteration"], *map(of.get, keys)] for of in measured]
        if len(measured) <= len(keys):
            heading, *rows = map(list, zip(heading, *rows, strict=True))
        return notebook.block(
            title,
            *(notebook.lines({key: curves[key]}, x="iteration", y=key) for key in keys[:_DRAWN]),
            notebook.table([str(of) for of in heading], rows),
        )

    @property
    def entries(self) -> list[Entry]:
        """All finished stages, in order."""
        return list(self._ledger)

    @property
    def environments(self) -> list[dict[str, Any]]:
        """On what it was computed, the newest last; empty where that is not known."""
        return recorded_environments(self.folder)

    @property
    def seal(self) -> str:
        """Equal for two runs exactly when all their results are equal."""
        return self._ledger.seal

    # -- how far it is ----------------------------------------------------------------------------------------------

    @property
    def measured(self) -> tuple[int, ...]:
        """The iterations that are finished, measured and all, in order."""
        return tuple(sorted(entry.iteration for entry in self._ledger if entry.stage == "measure" and entry.iteration))

    @property
    def n_iterations(self) -> int | None:
        """How many iterations were asked for; None where the config does not say, as in a run without iterations."""
        planned: int | None = self.config.get("n_iterations")
        return planned

    @property
    def n_iterations_done(self) -> int:
        """How many iterations are finished, measured and all."""
        return max(self.measured, default=0)

    @property
    def n_planned(self) -> int | None:
        """How many iterations were asked for, or how many `stages` the config of a run without iterations names."""
        stages = self.config.get("stages")
        return len(stages) if self.n_iterations is None and isinstance(stages, list) else self.n_iterations

    @property
    def n_done(self) -> int:
        """How many of these are finished."""
        return len(self._ledger) if self.n_iterations is None else self.n_iterations_done

    @property
    def is_finished(self) -> bool:
        """Whether all of them are."""
        return self.n_planned is not None and self.n_done >= self.n_planned

    # -- what it found ----------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One mapping per finished iteration: ``{"iteration": n, "generalization_score/pixels": ..., ...}``."""
        measured = [entry for entry in self._ledger if entry.stage == "measure" and entry.iteration]
        return [{"iteration": entry.iteration, **entry.values["metrics"]} for entry in measured]

    def find(self, iteration: int, stage: str) -> Entry | None:
        """The entry of a finished stage, or None."""
        return self._ledger.find(iteration, stage)

    def values(self, iteration: int, stage: str) -> dict[str, Any]:
        """The numbers of a stage; empty where it is not done."""
        entry = self.find(iteration, stage)
        return entry.values if entry else {}

    def digest(self, iteration: int, stage: str, name: str) -> str | None:
        """The sha256 that the ledger gives for a file of a stage; None where it names none."""
        entry = self.find(iteration, stage)
        return entry.files[entry.path(name)].sha256 if entry and entry.has(name) else None

    def load(self, iteration: int, name: str) -> Any:
        """A file of an iteration, for instance ``load(3, "generated.npy")``.

        Raises
        ------
        RunError
            There is none.
        RunDamaged
            It is not what was written.
        """
        below = f"iteration-{iteration:03d}/{name}"
        path = self.folder / below
        if not path.is_file():
            raise RunError(f"{path}: expected a file of this run, but there is none.")
        record = next((entry.files[below] for entry in self._ledger if below in entry.files), None)
        if record is not None and not self._is_intact(below, record):
            raise RunDamaged(
                f"{path}: it is not the file that the ledger names (its sha256 differs). Restore the file, or run "
                f"`entropick verify {self.folder} --repair` and then the command that made it."
            )
        return read_content(path)

    def intact(self, iteration: int, stage: str, name: str) -> Any:
        """The content of a file of a stage; None where the ledger names none or the file is not what it names."""
        entry = self.find(iteration, stage)
        if entry is None or not entry.has(name):
            return None
        path = entry.path(name)
        return read_content(self.folder / path) if self._is_intact(path, entry.files[path]) else None

    def _is_intact(self, path: str, record: FileRecord) -> bool:
        """Whether a file is what the ledger names; it is hashed once."""
        if path not in self._intact:
            on_disk = self.folder / path
            self._intact[path] = on_disk.is_file() and hash_file(on_disk) == record
        return self._intact[path]

    @property
    def damaged(self) -> tuple[str, ...]:
        """The files that `intact` was asked for and that are not what the ledger names; config and environment too."""
        broken = {path for path, intact in self._intact.items() if not intact}
        lost = {ENVIRONMENT} if (self.folder / ENVIRONMENT).exists() and not self.environments else set()
        return tuple(sorted({*broken, *lost, *Seal(self.folder).changed()}))


class Place(NamedTuple):
    """One run of a study: its arm, its size (None where the study has none), its seed."""

    arm: str
    size: int | None
    seed: int

    @property
    def path(self) -> str:
        """Its run directory, relative to the study's."""
        size = "" if self.size is None else f"size-{self.size}/"
        return f"arms/{self.arm}/{size}seed-{self.seed}"


def read_study_file(folder: Path) -> dict[str, Any]:
    """What a study directory is about; RunDamaged if its study.json is not what a study writes."""
    path = folder / STUDY
    study = read_json(path)
    kinds = {"arms": dict, "seeds": list, "sizes": list, "threads": int}
    if isinstance(study, dict):
        study.setdefault("sizes", [])
    if not isinstance(study, dict) or any(not isinstance(study.get(name), kind) for name, kind in kinds.items()):
        raise RunDamaged(
            f"{path}: expected arms, seeds and threads of a study. `entropick verify {folder} --repair` restores it."
        )
    return study


def places(study: Mapping[str, Any]) -> list[Place]:
    """All runs of a described study: arm by arm, size by size, seed by seed."""
    return [
        Place(str(arm), size, seed)
        for arm in study["arms"]
        for size in study["sizes"] or [None]
        for seed in study["seeds"]
    ]


def find_runs(folder: Path) -> list[Path]:
    """All run directories at or below `folder`, sorted.

    Raises
    ------
    RunError
        There is none.
    """
    runs = sorted(path.parent for path in folder.rglob(LEDGER)) if folder.is_dir() else []
    if not runs:
        raise RunError(f"{folder}: expected a run or study directory, but found no {LEDGER} in it or below.")
    return runs


@dataclass(frozen=True)
class Verification:
    """What was found in one folder: a run directory, or the study's own.

    Attributes
    ----------
    folder
        The folder.
    n_entries, n_files
        Intact ledger lines, and files that they name.
    damages
        One sentence per damaged line or file; empty when all is well.
    n_intact
        How many leading ledger lines are intact together with all their files.
    unfinished
        What is not done yet, in words; empty where all that was asked for is done.
    """

    folder: Path
    n_entries: int
    n_files: int
    damages: tuple[str, ...]
    n_intact: int
    unfinished: str = ""

    @property
    def is_run(self) -> bool:
        """Whether it is a run directory."""
        return self.n_entries > 0 or not (self.folder / STUDY).exists()


def verify(folder: Path) -> list[Verification]:
    """Compare all folders at or below `folder` with what their ledgers and seals say.

    Raises
    ------
    RunError
        There is no run in it, and none that a seal knows of.
    """
    folders = sorted({path.parent for name in (LEDGER, SEAL, STUDY) for path in folder.rglob(name)})
    return [verify_run(place) for place in folders or find_runs(folder)]


def verify_run(folder: Path) -> Verification:
    """Hash everything that the ledger of `folder` names, and compare it and the small files with the seal."""
    entries, _, damage = intact_entries(folder / LEDGER)
    damages: list[str] = []
    n_intact = 0
    for entry in entries:
        found = _damages(folder, entry)
        if not found and not damages:
            n_intact += 1
        damages += found
    damages += [damage] if damage else []
    seal, unfinished = Seal(folder), ""
    damages += seal.damages()
    try:
        if (folder / LEDGER).exists() and CONFIG not in seal.copies:
            read_config(folder)
        if not damages:
            unfinished = _unfinished(folder)
    except RunDamaged as error:
        damages.append(str(error))
    return Verification(folder, len(entries), sum(len(e.files) for e in entries), tuple(damages), n_intact, unfinished)


def repair_run(found: Verification) -> None:
    """Cut the ledger before its first damage, so that the same command computes the rest anew; heal what has a copy."""
    with locked(found.folder):
        seal = Seal(found.folder)
        entries, length, damage = intact_entries(found.folder / LEDGER)
        if damage or found.n_intact < len(entries):
            kept = "".join(entry.to_line() for entry in entries[: found.n_intact]).encode()
            for path in (found.folder / name for entry in entries[found.n_intact :] for name in entry.files):
                # It would be in the way of the file that has to be written again.
                set_aside(path)
            length = len(kept)
            set_aside(found.folder / LEDGER)
            write_atomic(found.folder / LEDGER, lambda stream: stream.write(kept))
        seal.repair(length)


def _unfinished(folder: Path) -> str:
    """What a sound folder still lacks: iterations of a run, runs of a study."""
    if (folder / STUDY).exists():
        waiting = [
            place.path for place in places(read_study_file(folder)) if not (folder / place.path / LEDGER).exists()
        ]
        return f"not begun: {', '.join(waiting)}" if waiting else ""
    if not (folder / LEDGER).exists() or (history := History(folder)).n_planned is None or history.is_finished:
        return ""
    return f"{history.n_done} of {history.n_planned} {'stages' if history.n_iterations is None else 'iterations'} done"


def _damages(folder: Path, entry: Entry) -> list[str]:
    damages = []
    for name, record in entry.files.items():
        path = folder / name
        if not path.is_file():
            damages.append(f"{path} is missing")
        elif (found := hash_file(path)) != record:
            damages.append(
                f"{path} is damaged: expected {record.bytes} bytes with sha256 {record.sha256[:12]}…, "
                f"found {found.bytes} bytes with {found.sha256[:12]}…"
            )
    return damages
