"""What computes: the device, how many threads of the processor, and how much memory there is."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from entropick.errors import InputError, cut, shown

# Bytes of memory, and shares of a GPU's, that are not to be exceeded, see `limited_memory`.
_limits: list[int] = []
_gpu_shares: list[float] = []
# Of each version of cgroups: how the line of a process begins, where the limit lies, and in which file.
_CGROUPS = (("0::", "", "memory.max"), ("memory", "memory", "memory.limit_in_bytes"))


def usable_device(device: str, kinds: Collection[str] | None = ("cpu", "cuda")) -> str:
    """Return "cuda" or "cpu" for "auto", and any other device as it is.

    `kinds` are those that will do; None is whatever torch can compute on.

    Raises
    ------
    InputError
        If torch does not know the device, or there is none here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if isinstance(device, int):  # Torch takes a number for a GPU, but only where it was built for GPUs.
            raise TypeError("a device has a name")
        kind = torch.device(device).type
        if kind == "meta":
            raise TypeError("nothing is computed there")
        if kinds is not None and kind not in kinds:
            raise TypeError
        if kinds is not None and kind == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device: expected a GPU for {shown(device)}, but torch sees no GPU. Use 'cpu' or 'auto'.")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        if kinds is None:
            expected = f"a usable torch device or 'auto', got {shown(device)} ({cut(error)})"
        else:
            expected = '"auto", ' + " or ".join(f'"{kind}"' for kind in kinds) + f", got {shown(device)}"
        raise InputError(f"device: expected {expected}.") from None
    return device


@contextlib.contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let torch and the linear-algebra libraries use this many threads; with one, sums have one order."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def usable_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def limited_memory(n_bytes: int | None, of_gpu: float = 1.0) -> Iterator[None]:
    """Let computations in here use so much memory, None for what there is, and such a part of a GPU's."""
    if n_bytes is not None:
        _limits.append(n_bytes)
    _gpu_shares.append(of_gpu)
    try:
        yield
    finally:
        _gpu_shares.remove(of_gpu)
        if n_bytes is not None:
            _limits.remove(n_bytes)


def usable_memory(*, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may use: the machine's, or a limit of its container or shell if that is less.

    Limits of cgroups (both versions; of every group on the way up), of the address space (``ulimit -v``) and those of
    `limited_memory` count.
    `proc` and `groups` are where the system tells of them.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits]
    with contextlib.suppress(ImportError):  # there is none on Windows
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    for controller, below, name in _CGROUPS:
        for group in _groups(proc / "self" / "cgroup", controller):
            with contextlib.suppress(OSError, ValueError):  # "max" is no number, and what is not mounted no file
                limits.append(int((groups / below / group / name).read_text()))
    return min(limits)


def memory_of(device: str) -> int:
    """Bytes of memory that can be computed in on a torch device: a GPU's own, else `usable_memory`."""
    import torch

    kind = torch.device(device)
    return torch.cuda.get_device_properties(kind).total_memory if kind.type == "cuda" else usable_memory()


def usable_memory_of(device: str) -> int:
    """Bytes that this process may use of a device's memory: of a GPU's what is free, or what is left of a share of it
    (`limited_memory`) if that is less; else `usable_memory`."""
    import torch

    kind = torch.device(device)
    if kind.type != "cuda":
        return usable_memory()
    # What torch keeps for later tensors is free as well.
    used = torch.cuda.memory_allocated(kind)
    free, total = torch.cuda.mem_get_info(kind)
    left = int(min(_gpu_shares, default=1.0) * total) - used
    return max(0, min(free + torch.cuda.memory_reserved(kind) - used, left))


class _FullPrecision:
    """Holds torch to true float32 products, where a caller may have allowed TF32 or bfloat16 to stand for them.

    What a caller has set is set again when the last of the threads that multiply has ended.
    """

    def __init__(self) -> None:
        self._lock, self._n_inside = threading.Lock(), 0
        self._restore: Callable[[], None] = lambda: None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._restore = _held_to_full_precision()
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._restore()


full_precision = _FullPrecision()


def _held_to_full_precision() -> Callable[[], None]:
    """Set what products in float32 are to be, and give what sets it back."""
    import torch

    sums = torch.backends.cuda.matmul
    switches: tuple[Any, ...] = (sums, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    reduced, before = sums.allow_bf16_reduced_precision_reduction, [switch.fp32_precision for switch in switches]
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:
        # A caller used the switches, and torch no longer reads what they replace.
        products = None

    def restore() -> None:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
        sums.allow_bf16_reduced_precision_reduction = reduced

    if products is not None:
        torch.set_float32_matmul_precision("highest")
    for switch in switches:
        switch.fp32_precision = "ieee"
    sums.allow_bf16_reduced_precision_reduction = False
    return restore


def in_gigabytes(n_bytes: int) -> str:
    """Bytes as messages tell them.

    >>> in_gigabytes(25_300_000_000), in_gigabytes(4 * 10**22)
    ('25.3 GB', '4e+13 GB')
    """
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e15 else f"{n_bytes / 1e9:,.1f} GB"


def _groups(file: Path, controller: str) -> list[str]:
    """The cgroup of this process and all above it, as paths below the mount; in a container the mount is the group."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    found = {"."}
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if (controller == f"{number}::" and not controllers) or controller in controllers.split(","):
            own = Path(path.lstrip("/"))
            found |= {str(group) for group in (own, *own.parents)}
    return sorted(found)
