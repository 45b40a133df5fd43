"""Reading a run: its ledger as iterations and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entropick.errors import RunDamaged, RunError
from entropick.run.directory import CONFIG, read_config
from entropick.run.files import read_content
from entropick.run.ledger import LEDGER, Entry, Ledger


class History:
    """A read-only view of a run directory, finished or not.

    Parameters
    ----------
    folder
        The run directory; RunError if it is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / LEDGER).is_file():
            raise RunError(f"{self.folder}: expected a run directory, but found no {LEDGER} in it.")
        self.config: dict[str, Any] = read_config(self.folder)
        if not isinstance(self.config.get("n_iterations"), int):
            raise RunDamaged(f"{self.folder / CONFIG}: expected a whole number of n_iterations. Remove the file.")
        self._ledger = Ledger(self.folder)

    def __repr__(self) -> str:
        done, planned = self.n_iterations_done, self.config["n_iterations"]
        return f"History({str(self.folder)!r}: {done} of {planned} iterations, seal {self.seal or 'none'})"

    @property
    def entries(self) -> list[Entry]:
        """All finished stages, in order."""
        return list(self._ledger)

    @property
    def seal(self) -> str:
        """Equal for two runs exactly when all their results are equal."""
        return self._ledger.seal

    @property
    def n_iterations_done(self) -> int:
        """How many iterations are finished, measured and all."""
        return max((entry.iteration for entry in self._ledger if entry.stage == "measure"), default=0)

    @property
    def is_finished(self) -> bool:
        """Whether all iterations of the config are done."""
        return self.n_iterations_done >= int(self.config["n_iterations"])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One mapping per finished iteration: ``{"iteration": n, "generalization_score/pixels": ..., ...}``."""
        measured = [entry for entry in self._ledger if entry.stage == "measure"]
        return [{"iteration": entry.iteration, **entry.values["metrics"]} for entry in measured]

    def find(self, iteration: int, stage: str) -> Entry | None:
        """The entry of a finished stage, or None."""
        return self._ledger.find(iteration, stage)

    def load(self, iteration: int, name: str) -> Any:
        """A file of an iteration, for instance ``load(3, "generated.npy")``."""
        path = self.folder / f"iteration-{iteration:03d}" / name
        if not path.is_file():
            raise RunError(f"{path}: expected a file of this run, but there is none.")
        return read_content(path)
