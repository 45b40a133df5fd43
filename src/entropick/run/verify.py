"""Does a run directory still hold what was written? Every line's seal and every file's hash is computed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from entropick.errors import RunDamaged, RunError
from entropick.run.directory import read_config
from entropick.run.files import hash_file, write_atomic
from entropick.run.ledger import LEDGER, Entry, intact_entries
from entropick.run.lock import locked


@dataclass(frozen=True)
class Verification:
    """What was found in one run directory.

    Attributes
    ----------
    folder
        The run directory.
    n_entries, n_files
        Intact ledger lines, and files that they name.
    damages
        One sentence per damaged line or file; empty when all is well.
    n_intact
        How many leading ledger lines are intact together with all their files.
    """

    folder: Path
    n_entries: int
    n_files: int
    damages: tuple[str, ...]
    n_intact: int


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


def verify_run(folder: Path) -> Verification:
    """Hash everything that the ledger of `folder` names and compare."""
    entries, _, damage = intact_entries(folder / LEDGER)
    damages: list[str] = []
    n_intact = 0
    for entry in entries:
        found = _damages(folder, entry)
        if not found and not damages:
            n_intact += 1
        damages += found
    damages += [damage] if damage else []
    damages += _config_damage(folder)
    return Verification(folder, len(entries), sum(len(e.files) for e in entries), tuple(damages), n_intact)


def repair_run(found: Verification) -> None:
    """Cut the ledger before its first damage, so that the run command computes the rest anew."""
    with locked(found.folder):
        entries, _, _ = intact_entries(found.folder / LEDGER)
        kept = "".join(entry.to_line() for entry in entries[: found.n_intact]).encode()
        for entry in entries[found.n_intact :]:
            _clear_the_way(found.folder, entry)
        write_atomic(found.folder / LEDGER, lambda stream: stream.write(kept))


def _config_damage(folder: Path) -> list[str]:
    try:
        read_config(folder)
    except RunDamaged as error:
        return [str(error)]
    return []


def _clear_the_way(folder: Path, entry: Entry) -> None:
    """Move aside what stands where a file has to be written again and is no file."""
    for path in (folder / name for name in entry.files):
        if path.is_dir():
            path.rename(path.with_name(f"{path.name}.damaged"))


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
