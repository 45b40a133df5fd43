"""What a long computation asks of whoever runs it: to be seen, to be saved, to be stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
State = dict[str, Any]


class Work:
    """Progress and checkpoints of one stage. This base class keeps nothing, for use without a run directory.

    A computation calls `progress` often, asks `due` between steps, and when it is due gives `save` all that it needs
    to go on. `save` may raise `entropick.errors.BudgetSpent` once the checkpoint is safe. What is computed must not
    depend on when checkpoints fall.
    """

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell that `done` of `total` steps are finished."""

    def due(self) -> bool:
        """Whether a checkpoint should be saved now."""
        return False

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        """Keep `arrays` and the JSON-able `state` under `name`, replacing what was there."""

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        """What was last saved under `name`, or None."""
        return None

    def part(self, name: str) -> Work:
        """The same work for one of several computations, whose checkpoints are kept apart under `name`."""
        return _Part(self, name)


class _Part(Work):
    def __init__(self, whole: Work, name: str) -> None:
        self._whole = whole
        self._name = name

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._whole.progress(done, total, note)

    def due(self) -> bool:
        return self._whole.due()

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        self._whole.save(f"{self._name}-{name}", arrays, state)

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        return self._whole.load(f"{self._name}-{name}")
