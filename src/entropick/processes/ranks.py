"""Ranks: the processes that ``torchrun`` started for one run. Rank 0 leads, the others help where it calls them.

The leader does all that one process alone would do: it reads, decides, writes and prints. What is worth sharing it
calls with `Work.together`: then all ranks call the same function with the same arguments. Helpers know no run directory
and print nothing; checkpoints are the leader's, and what it loads all of them load.

Ranks meet when a shared function calls `sum`, `gather` or `load`, and when it ends. At every meeting each first tells
whether it can go on. If one cannot (an error, a spent budget, a full disk), all leave the function, the leader with the
error, and the leader may call another. A rank that is interrupted or gone can tell nothing: then its connections break,
and all end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from numpy.typing import NDArray

from entropick.errors import InputError, ProcessLost, StudyFailed, as_told, shown
from entropick.processes.hardware import limited_threads
from entropick.work import SIGNALS, Passing, State, Work

# Helpers wait while the leader selects, measures and draws; a connection that breaks is noticed at once.
_PATIENCE = timedelta(days=365)
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_SAVE = 25.0


class Connections(Protocol):
    """What ranks exchange; all of them must call the same method."""

    def largest(self, number: int) -> int:
        """The largest of all numbers."""

    def broadcast(self, value: Any) -> Any:
        """The leader's value."""

    def gather(self, value: Any) -> list[Any]:
        """All values, by rank."""

    def sum(self, tensor: Any) -> None:
        """Replace a flat tensor by its sum over all processes."""


@dataclass(frozen=True)
class _Call:
    """What the leader calls its helpers to do, with as many threads as itself: results depend on that."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    named: dict[str, Any]
    threads: int


@dataclass(frozen=True)
class _End:
    exit_code: int


class _StoppedElsewhere(BaseException):
    """Another rank left the shared function with `error`. Not for the function itself to catch."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Ranks:
    """The processes of one run; without `connections`, this process alone."""

    def __init__(self, rank: int = 0, size: int = 1, connections: Connections | None = None) -> None:
        self.rank = rank
        self.size = size
        self._connections = connections
        self._is_broken = False

    def sharing(self, work: Work) -> Work:
        """The leader's `work`, whose `together` calls the helpers too."""
        return work if self._connections is None else _Leading(work, self)

    def follow(self) -> int:
        """Help with whatever the leader calls, until it ends; return its exit code.

        Raises
        ------
        ProcessLost
            The leader ended without saying so.
        """
        while not isinstance(call := self._broadcast(None), _End):
            with limited_threads(call.threads), contextlib.suppress(_StoppedElsewhere):
                self._take_part(call, Work())
        return call.exit_code

    def dismiss(self, exit_code: int) -> None:
        """Let the helpers end with the leader, as far as they can still be told."""
        if self._connections is not None and not self._is_broken:
            with contextlib.suppress(ProcessLost):
                self._broadcast(_End(exit_code))

    def leave(self, exit_code: int) -> None:
        """End this process, if there are others: at once, for gloo may abort an interpreter that takes its time."""
        if self._connections is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)

    # -- for the works of a shared function -------------------------------------------------------------------------

    def lead(self, work: Work, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call `function` in all processes; return what it returned in this one, or raise the first one's error."""
        import torch

        call = _Call(function, args, named, torch.get_num_threads())
        self._broadcast(call)
        try:
            result, error = self._take_part(call, work)
        except _StoppedElsewhere as left:
            raise left.error from None
        if error is not None:
            raise error
        return result

    def sum(self, tensors: Sequence[Any]) -> None:
        """See `Work.sum`."""
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._meet()
        with self._connected() as connections:
            connections.sum(flat)
        totals = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def gather(self, part: Any) -> list[Any]:
        """See `Work.gather`."""
        self._meet()
        with self._connected() as connections:
            return connections.gather(part)

    def broadcast(self, value: Any) -> Any:
        """The leader's value, at a meeting."""
        self._meet()
        return self._broadcast(value)

    # -- meetings ---------------------------------------------------------------------------------------------------

    def _take_part(self, call: _Call, work: Work) -> tuple[Any, Exception | None]:
        """The result of this process's part, or its own error; _StoppedElsewhere if it was another one's."""
        try:
            result = call.function(*call.args, **call.named, work=_Sharing(work, self))
            self._meet()
        except ProcessLost:
            raise
        except Exception as error:
            with contextlib.suppress(_StoppedElsewhere):
                self._meet(error)
            return None, error
        except _StoppedElsewhere:
            raise
        except BaseException:
            # An interrupt falls anywhere, also between two halves of a meeting.
            self._is_broken = True
            raise
        return result, None

    def _meet(self, error: Exception | None = None) -> None:
        """Go on together, or leave together: then _StoppedElsewhere has the error of the first that had one."""
        with self._connected() as connections:
            if not connections.largest(error is not None):
                return
            errors = connections.gather(None if error is None else self._portable(error))
        raise _StoppedElsewhere(next(error for error in errors if error is not None))

    def _broadcast(self, value: Any) -> Any:
        with self._connected() as connections:
            return connections.broadcast(value)

    def _portable(self, error: Exception) -> Exception:
        """The error as another process can raise it."""
        told = as_told(error)
        if told is error or not isinstance(told, StudyFailed):
            return told
        return StudyFailed(f"process {self.rank} of {self.size} failed:\n{told}")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connections]:
        assert self._connections is not None
        lost = ProcessLost(
            f"one of the {self.size} processes that share this run has ended. What was finished is kept; repeat the "
            "same command to go on, with as many processes as you like."
        )
        if self._is_broken:
            raise lost
        # Interrupted within an exchange, by whatever it be, it could only mix up the next one.
        self._is_broken = True
        try:
            yield self._connections
        except RuntimeError:
            raise lost from None
        self._is_broken = False


ALONE = Ranks()


class _Leading(Passing):
    """The leader's work between shared functions."""

    def __init__(self, work: Work, ranks: Ranks) -> None:
        super().__init__(work)
        self._ranks = ranks

    def together(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return self._ranks.lead(self._work, function, *args, **named)


class _Sharing(Passing):
    """The work of each process within a shared function; helpers keep and report nothing."""

    def __init__(self, work: Work, ranks: Ranks) -> None:
        super().__init__(work)
        self._ranks = ranks
        self.rank, self.n_processes = ranks.rank, ranks.size

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        found: tuple[dict[str, NDArray[Any]], State] | None = self._ranks.broadcast(super().load(name))
        return found

    def sum(self, tensors: Sequence[Any]) -> None:
        self._ranks.sum(tensors)

    def gather(self, part: Any) -> list[Any]:
        return self._ranks.gather(part)


# -- torchrun ----------------------------------------------------------------------------------------------------------


def n_ranks() -> int:
    """How many processes ``torchrun`` started this one among; 1 without it."""
    return _variable("WORLD_SIZE", 1) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _variable(name: str, default: int | None = None) -> int:
    """A number that torchrun tells; InputError for a variable that something else has set, or has not."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise InputError(
            f"{name}: expected the whole number that torchrun sets beside TORCHELASTIC_RUN_ID, got {shown(text)}. "
            "Start it by torchrun, or unset TORCHELASTIC_RUN_ID."
        )
    return int(text)


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks of this run: what ``torchrun`` started, else this process alone.

    A helper (``rank`` above 0) is to call `follow` and nothing else. It is silent, and leaves Ctrl-C and every signal
    that asks to stop to the leader.
    """
    if (size := n_ranks()) == 1:
        yield ALONE
        return
    rank = _variable("RANK")
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        _variable(name)
    if not os.environ.get("MASTER_ADDR"):
        raise InputError("MASTER_ADDR: expected the address that torchrun sets, got none. Start it by torchrun.")
    if rank:
        for number in (signal.SIGINT, *SIGNALS):
            signal.signal(number, signal.SIG_IGN)
        warnings.simplefilter("ignore")
    with _dying_with_parent():
        connections = _TorchDistributed()
        try:
            yield Ranks(rank, size, connections)
        finally:
            connections.close()


class _TorchDistributed:
    """Those of torch.distributed: gloo between processors, NCCL between GPUs where each process has its own."""

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist

        n_here, number = _variable("LOCAL_WORLD_SIZE"), _variable("LOCAL_RANK")
        if n_here == n_ranks():
            # Nobody is elsewhere: nothing needs to leave this machine.
            for loopback in [name for _, name in socket.if_nameindex() if name.startswith("lo")][:1]:
                os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        dist.init_process_group("gloo", timeout=_PATIENCE)
        self._dist, self._torch = dist, torch
        self._gpus: Any = None
        if n_gpus := torch.cuda.device_count():
            torch.cuda.set_device(number % n_gpus)
            self._gpus = dist.new_group(backend="nccl") if n_gpus >= n_here else None

    def largest(self, number: int) -> int:
        found = self._torch.tensor(int(number))
        self._dist.all_reduce(found, self._dist.ReduceOp.MAX)
        return int(found)

    def broadcast(self, value: Any) -> Any:
        values = [value]
        self._dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self._dist.get_world_size()
        self._dist.all_gather_object(values, value)
        return values

    def close(self) -> None:
        self._dist.destroy_process_group()

    def sum(self, tensor: Any) -> None:
        self._dist.all_reduce(tensor, group=self._gpus if tensor.is_cuda else None)


@contextlib.contextmanager
def _dying_with_parent() -> Iterator[None]:
    """End this process once torchrun is gone without having ended it; the leader saves what it has."""
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                is_over.wait(_SECONDS_TO_SAVE)
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
