"""A function of tensors as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3


class Captured:
    """Replays all kernels of ``function(*inputs)`` at once: no launch, no Python, between the first and the last.

    The function must do the same work at every call, read nothing back to the host and draw no random numbers. Inputs
    keep the shapes of the example. What is returned lies in fixed places that the next call overwrites.
    """

    def __init__(self, function: Callable[..., Any], *example: Tensor | None) -> None:
        self._places = [None if tensor is None else tensor.clone() for tensor in example]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Libraries choose their kernels and workspaces at the first calls.
            for _ in range(WARM_UPS):
                function(*self._places)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = function(*self._places)

    def __call__(self, *inputs: Tensor | None) -> Any:
        """The function of these inputs."""
        for place, tensor in zip(self._places, inputs, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        self._graph.replay()
        return self._result
