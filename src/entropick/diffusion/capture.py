"""A function of tensors as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

WARM_UPS = 3
Found = TypeVar("Found")


class Captured(Generic[Found]):
    """Replays all kernels of ``function(*inputs)`` at once: no launch, no Python, between the first and the last.

    The function must do the same work at every call and read nothing back to the host. Whatever changes from call to
    call must lie in tensors that it writes in place, and random numbers must come from `random`: each replay goes on
    in its stream, which may be seeded anew between two of them. Inputs keep the shapes of the example. What is
    returned lies in fixed places that the next call overwrites.

    Building one calls the function `WARM_UPS` times: what that changes is for the caller to put back.
    """

    def __init__(self, function: Callable[..., Found], *example: Tensor, random: torch.Generator) -> None:
        places = [tensor.to(random.device, copy=True) for tensor in example]
        self._places = places
        self._replay, self._result = record(lambda: function(*places), random)

    def __call__(self, *inputs: Tensor) -> Found:
        """The function of these inputs."""
        for place, tensor in zip(self._places, inputs, strict=True):
            place.copy_(tensor, non_blocking=True)
        self._replay()
        return self._result


def record(function: Callable[[], Found], random: torch.Generator) -> tuple[Callable[[], None], Found]:
    """What replays the kernels of one call, and what that call returned; nothing is computed before the first replay.

    A graph takes seed and offset of a registered generator from the host at every replay, and moves its offset on by
    as much as one call draws: the numbers are those of calls without a graph.
    """
    with torch.cuda.device(random.device):
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()  # type: ignore[no-untyped-call]
        graph.register_generator_state(random)
        stream.wait_stream(torch.cuda.current_stream())
        # This context leaves the stream also where a capture breaks off.
        with torch.cuda.stream(stream):
            # Libraries choose their kernels and workspaces at the first calls.
            for _ in range(WARM_UPS):
                function()
            # Other threads, such as a watchdog of connections, may go on talking to the device.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                result = function()
        torch.cuda.current_stream().wait_stream(stream)
    return graph.replay, result
