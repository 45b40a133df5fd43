"""An engine: where the actors of a computation live, in processes of this machine or in a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from entropick.errors import InputError, shown
from entropick.processes.actors import Place, ThisMachine
from entropick.processes.hardware import usable_cores

_MOST_PROCESSES = 1024


@dataclass(frozen=True)
class Engine:
    """Where actors live.

    Attributes
    ----------
    kind
        "processes" of this machine, or "ray".
    workers
        How many; None for as many as there are cores, of a Ray cluster as nodes, or GPUs if it has some.
    address
        Of a Ray cluster; "" starts one on this machine, which ends with the command.
    """

    kind: str
    workers: int | None = None
    address: str = ""

    @property
    def name(self) -> str:
        """As it is asked for: ``processes:4``, ``ray:10.0.0.1:6379``."""
        more = self.address if self.kind == "ray" else str(self.workers or "")
        return f"{self.kind}:{more}" if more else self.kind

    @property
    def foreseen(self) -> int | None:
        """How many workers there will be; None where only the cluster knows."""
        return self.workers or (usable_cores() if self.kind == "processes" else None if self.address else 1)

    def check(self) -> None:
        """Raise InputError if what it needs is not installed, or for more processes than a machine can have."""
        if self.kind == "processes" and (self.workers or 1) > _MOST_PROCESSES:
            raise InputError(
                f"workers: expected at most {_MOST_PROCESSES:,} processes of one machine, got {self.workers:,}."
            )
        if self.kind == "ray":
            from entropick.processes.ray_actors import import_ray

            import_ray()

    @contextlib.contextmanager
    def connected(self) -> Iterator[Place]:
        """What starts actors there."""
        if self.kind == "ray":
            from entropick.processes.ray_actors import cluster

            with cluster(self.workers, self.address) as place:
                yield place
        else:
            yield ThisMachine(self.workers)


def engine(text: str, workers: int | None = None) -> Engine:
    """What ``processes[:N]`` or ``ray[:ADDRESS]`` says; InputError for anything else.

    >>> engine("processes:4").workers, engine("ray:10.0.0.1:6379").address
    (4, '10.0.0.1:6379')
    """
    kind, _, more = text.partition(":")
    if kind not in ("processes", "ray") or (text != kind and not more):
        raise InputError(f"engine: expected processes, processes:N, ray or ray:ADDRESS, got {shown(text)}.")
    if kind == "processes" and more:
        if not more.isdecimal() or not int(more):
            raise InputError(f"engine: expected a number of processes of at least 1, got {shown(text)}.")
        if workers not in (None, int(more)):
            raise InputError(f"workers: expected the {int(more)} of {text}, got {workers}. Leave one of them out.")
        return Engine(kind, int(more))
    if workers is not None and workers < 1:
        raise InputError(f"workers: expected a whole number of at least 1, got {workers}.")
    return Engine(kind, workers, more)
