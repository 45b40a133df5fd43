"""What computes: the device, and how many threads of the processor."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from entropick.errors import InputError


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
        if kinds is not None and kind not in kinds:
            raise TypeError
        if kinds is not None and kind == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device: expected a GPU for {device!r}, but torch sees no GPU. Use 'cpu' or 'auto'.")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        if kinds is None:
            expected = f"a usable torch device or 'auto', got {device!r} ({error})"
        else:
            expected = '"auto", ' + " or ".join(f'"{kind}"' for kind in kinds) + f", got {device!r}"
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
