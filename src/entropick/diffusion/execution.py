"""Where and how a network is computed: device, precision, memory layout, kernel by kernel or as one captured graph."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from entropick.errors import InputError

WARM_UPS = 3
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# U-Nets of fewer channels do not fill matrix tiles.
_NARROW = 32
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Found = TypeVar("Found")


@dataclass(frozen=True)
class Execution:
    """One way to compute a network; what is not plain must prove itself first (see `gate`).

    Attributes
    ----------
    device
        Where.
    dtype
        Of matrix products and convolutions. Noise, x_t, losses and weights that are trained stay float32.
    channels_last
        Images with their channels innermost, as the matrix units of a GPU want them.
    captured
        All kernels of a step replayed as one CUDA graph, instead of being launched one by one.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    captured: bool = False

    @classmethod
    def choose(cls, device: torch.device, precision: str, network: str, width: int) -> Execution:
        """The way that was measured to be fastest for this kind of device and network (``docs/benchmarks-engine.md``).

        It depends on nothing but its arguments and the kind of processor, so that a run can be repeated. On processors
        float32 is fastest unless there are matrix tiles (AMX), and there for narrow U-Nets too.
        """
        is_cuda = device.type == "cuda"
        is_narrow = network == "unet" and width < _NARROW
        has_tiles = is_cuda or (device.type == "cpu" and torch.cpu._is_amx_tile_supported() and not is_narrow)
        if precision == "auto":
            precision = "bfloat16" if has_tiles else "float32"
        return cls(device, _DTYPES[precision], channels_last=is_cuda and network == "unet", captured=is_cuda)

    @property
    def is_plain(self) -> bool:
        """Whether this is the eager float32 path that every other one is measured against."""
        return self == self.plain()

    @property
    def name(self) -> str:
        """In words, for the ledger."""
        parts = [str(self.dtype).removeprefix("torch.")]
        parts += ["channels last"] if self.channels_last else []
        return ", ".join([*parts, "captured" if self.captured else "eager"])

    def plain(self) -> Execution:
        """Eager float32 on the same device."""
        return Execution(self.device)

    def uncaptured(self) -> Execution:
        """The same kernels, launched one by one."""
        return dataclasses.replace(self, captured=False)

    def fallbacks(self) -> Iterator[Execution]:
        """This way, then ever plainer ones."""
        ways = (self, self.uncaptured(), self.plain())
        yield from dict.fromkeys(ways)

    def place(self, network: nn.Module) -> nn.Module:
        """The network itself, moved to the device and the memory layout."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if self.channels_last else network  # type: ignore[call-overload]

    def frozen(self, network: nn.Module) -> nn.Module:
        """A copy to sample from: weights cast once, no gradients."""
        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        for parameter in frozen.parameters():
            # Weights only: tables of frequencies are numbers that low precision would spoil.
            parameter.data = parameter.data.to(self.dtype)
        return self.place(frozen)

    def autocast(self) -> torch.autocast:
        """The context that a forward pass with float32 weights runs in."""
        is_low = self.dtype != torch.float32
        dtype = self.dtype if is_low else torch.bfloat16  # the latter is only there to be switched off
        # A captured graph must hold the casts themselves, not the address of a cache.
        return torch.autocast(self.device.type, dtype, enabled=is_low, cache_enabled=not self.captured)

    def inference(self) -> AbstractContextManager[Any]:
        """The context that sampling runs in."""
        # Tensors of inference mode cannot be written outside of it, and a graph's random state is one of them in some
        # releases of torch.
        return torch.no_grad() if self.captured else torch.inference_mode()


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError for float16 outside CUDA."""
    if precision == "float16" and device.type != "cuda":
        raise InputError(
            f"precision: float16 needs a CUDA device, got device {device.type!r}. Use 'float32', 'bfloat16' or 'auto'."
        )


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
