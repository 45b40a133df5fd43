"""What a long computation asks of whoever runs it: to be seen, to be saved, to be stopped, to be shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
State = dict[str, Any]


class Work:
    """Progress and checkpoints of one stage. This base class keeps nothing, for use without a run directory.

    A computation calls `progress` often, asks `due` between steps, and when it is due gives `save` all that it needs
    to go on. `save` may raise `entropick.errors.BudgetSpent` once the checkpoint is safe. What is computed must not
    depend on when checkpoints fall.

    Several processes may share a computation (`entropick.processes.ranks`). Then all of them call it with the same
    arguments, each does the part that `share` or its `rank` gives it, and `sum` and `gather` bring the parts together.
    In between all must do the same. This base class is one process, whose part is everything.
    """

    rank: int = 0
    """The number of this process among those that share the computation."""

    n_processes: int = 1
    """How many share it."""

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

    def together(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """``function(*args, work=..., **named)``, in all processes that can be had; what it returned in this one."""
        return function(*args, work=self, **named)

    def share(self, n: int) -> slice:
        """The rows of `n` that fall to this process: neighbours, and as many as others get, or one more.

        >>> Work().share(5)
        slice(0, 5, None)
        """
        return slice(n * self.rank // self.n_processes, n * (self.rank + 1) // self.n_processes)

    def sum(self, tensors: Sequence[Any]) -> None:
        """Replace each of these torch tensors by its sum over all processes, the same bits in each of them."""

    def gather(self, part: Any) -> list[Any]:
        """What all processes have called this with, in the order of their ranks."""
        return [part]


class Passing(Work):
    """Passes everything on to another work; a subclass changes something on the way."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Pass it on."""
        self._work.progress(done, total, note)

    def due(self) -> bool:
        """Ask on."""
        return self._work.due()

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        """Pass it on."""
        self._work.save(name, arrays, state)

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        """Ask on."""
        return self._work.load(name)


class _Part(Passing):
    def __init__(self, whole: Work, name: str) -> None:
        super().__init__(whole)
        self._name = name

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        super().save(f"{self._name}-{name}", arrays, state)

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        return super().load(f"{self._name}-{name}")
