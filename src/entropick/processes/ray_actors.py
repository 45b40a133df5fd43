"""Actors in a Ray cluster, one on each node or GPU; or in one of this machine, which ends with the command.

Ray makes lost actors anew, on another node if need be. It is told to send no statistics of use and to open no
dashboard. Its store of objects in shared memory only takes what is under way between processes, and stays small.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from entropick.errors import InputError, ProcessLost
from entropick.processes.actors import TRIES, Actor, Actors, Answer, Make, answered, share_of_memory
from entropick.processes.hardware import limited_memory, usable_cores
from entropick.processes.spread import THREAD_VARIABLES
from entropick.work import SIGNALS

# What a store of objects of a cluster on this machine has, and where it lies.
_STORE_BYTES, _SHARED_MEMORY = 256 << 20, Path("/dev/shm")
# How long to wait for a sign of a cluster.
_SECONDS_TO_ANSWER = 10.0
# How often to look whether the head of a cluster answers, and how long it may not: Ray itself ends this process, and
# says so in its own words, after a minute.
_SECONDS_BETWEEN_LOOKS, _SECONDS_WITHOUT_HEAD = 2.0, 15.0
# The address that this process is connected to, and the head there.
_connected: dict[str, _Head] = {}


def import_ray() -> Any:
    """The package; InputError if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Without it Ray warns that it will one day stop hiding GPUs from actors that have none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise InputError(
            "engine: expected the package ray, which is not installed. In a checkout of entropick run: pip install "
            "'.[ray]'"
        ) from None
    return ray


@contextlib.contextmanager
def cluster(workers: int | None, address: str) -> Iterator[Cluster]:
    """A connection to the cluster at an address, or if that is "" to one of this machine alone; within a connection to
    it, that one.

    Raises
    ------
    InputError
        If none answers at the address, it has too few processors, or shared memory is too small for one of our own.
    """
    ray = import_ray()
    cores = usable_cores()
    if address in _connected and ray.is_initialized():
        yield Cluster(ray, workers, None if address else cores, _connected[address])
        return
    here: dict[str, Any] = {"address": address}
    _check_answers(address)
    if not address:
        _check_shared_memory()
        here = {"address": "local", "num_cpus": max(cores, workers or 1), "include_dashboard": False}
        here |= {"object_store_memory": _STORE_BYTES}
    # Ray takes signals over, which are to end at the next checkpoint.
    heeded = {number: signal.getsignal(number) for number in SIGNALS}
    with contextlib.suppress(AttributeError):
        # What happens to actors would be printed between our own lines.
        ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"engine: expected a Ray cluster at {address or 'this machine'}, but: {reason}. Start one with 'ray "
            "start --head', or leave the address out."
        ) from None
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
    # Who is connected through ray:// may not reach it, and does not depend on it.
    is_far = address.startswith("ray://")
    head = _connected[address] = _Head("" if is_far else str(ray.get_runtime_context().gcs_address))
    try:
        yield Cluster(ray, workers, None if address else cores, head)
    finally:
        del _connected[address]
        ray.shutdown()


class _Head:
    """The process of a cluster that knows the others, at ``host:port``; without it Ray ends this process."""

    def __init__(self, address: str) -> None:
        self._address, self._looked = address, time.monotonic()
        self._silent_since: float | None = None
        self.is_gone = False

    def check(self) -> None:
        """Raise ProcessLost if it has not answered for some time, looked at now and then."""
        host, _, port = self._address.rpartition(":")
        if (now := time.monotonic()) < self._looked + _SECONDS_BETWEEN_LOOKS or not port.isdecimal():
            return
        self._looked = now
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
            self._silent_since = None
            return
        if self._silent_since is None:
            self._silent_since = now
        if (seconds := now - self._silent_since) >= _SECONDS_WITHOUT_HEAD:
            self.is_gone = True
            raise ProcessLost(
                f"engine: expected the head of the Ray cluster at {self._address} to answer, but for {seconds:.0f} "
                "seconds it has not. What was finished is kept: see that it runs, and repeat the same command."
            )


def _check_answers(address: str) -> None:
    """Ray itself tries for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"engine: expected a Ray cluster at {address}, but nothing answers there ({error}). Start one with 'ray "
            "start --head', or leave the address out."
        ) from None


def _check_shared_memory() -> None:
    if _SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(_SHARED_MEMORY).free) < _STORE_BYTES:
        raise InputError(
            f"engine: expected {_STORE_BYTES >> 20} MiB free in {_SHARED_MEMORY}, where Ray passes messages, got "
            f"{free >> 20}. Make it larger (of a container: --shm-size=1g), or use --engine processes."
        )


class Cluster:
    """A Ray cluster; `cores` are those that actors share on this machine, None where each node has its own."""

    def __init__(self, ray: Any, workers: int | None, cores: int | None, head: _Head) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        n_cpus, n_gpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("CPU", "GPU"))
        self.workers = workers or n_gpus or len(nodes)
        if self.workers > n_cpus:
            raise InputError(
                f"workers: expected at most {n_cpus}, the processors of {len(nodes)} nodes, got {self.workers}."
            )
        smallest = int(min(node.get("CPU", 0) for node in nodes)) or 1
        self._cpus = max(1, min(n_cpus // self.workers, smallest))
        self._threads = max(1, cores // self.workers) if cores else self._cpus
        self._gpus = 1 if n_gpus >= self.workers else 0
        # Of our own cluster this process knows the memory, of another one each node its own.
        self._memory = share_of_memory(self.workers) if cores else None
        self._on_node = -(-self.workers // len(nodes))
        self._ray, self._head = ray, head

    @contextlib.contextmanager
    def start(self, make: Make, recipes: Sequence[tuple[Any, ...]]) -> Iterator[Actors]:
        """See `entropick.processes.actors.Place`."""
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD"}
        options |= {"max_restarts": -1, "max_task_retries": TRIES - 1}
        remote = self._ray.remote(**options)(_Remote)
        actors = [remote.remote(make, recipe, self._threads, self._memory, self._on_node) for recipe in recipes]
        try:
            yield _OnRay(self._ray, actors, self._head)
        finally:
            # Without a head nobody would take note of it.
            for actor in [] if self._head.is_gone else actors:
                self._ray.kill(actor)


class _Remote:
    """An actor as Ray holds it."""

    def __init__(self, make: Make, recipe: tuple[Any, ...], threads: int, memory: int | None, on_node: int) -> None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        self._actor, self._memory = Actor(make, recipe), memory or share_of_memory(on_node)

    def ask(self, method: str, *arguments: Any) -> Answer:
        with limited_memory(self._memory):
            return self._actor.ask(method, *arguments)

    def pid(self) -> int:
        return os.getpid()


class _OnRay:
    """Actors of a cluster."""

    def __init__(self, ray: Any, actors: Sequence[Any], head: _Head) -> None:
        self._ray, self._actors, self._head = ray, actors, head

    def __len__(self) -> int:
        return len(self._actors)

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """See `Actors`."""
        each = zip(*arguments, strict=True) if arguments else [()] * len(self)
        asked = [actor.ask.remote(method, *of) for actor, of in zip(self._actors, each, strict=True)]
        try:
            answers = self._answers(asked)
        except self._ray.exceptions.RayError as error:
            raise ProcessLost(
                f"engine: expected answers of {len(self)} actors, but Ray lost some and gave up ("
                f"{' '.join(str(error).split())[:200]}). What was finished is kept: repeat the same command."
            ) from None
        return [answered(answer) for answer in answers]

    def _answers(self, asked: Sequence[Any]) -> list[Answer]:
        while True:
            self._head.check()
            with contextlib.suppress(self._ray.exceptions.GetTimeoutError):
                found: list[Answer] = self._ray.get(asked, timeout=_SECONDS_BETWEEN_LOOKS)
                return found

    @property
    def pids(self) -> list[int]:
        """See `Actors`."""
        found: list[int] = self._ray.get([actor.pid.remote() for actor in self._actors])
        return found
