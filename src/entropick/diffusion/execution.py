"""Where and how a network is computed: device, precision, memory layout, kernel by kernel or as one captured graph."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from entropick.diffusion import kernels
from entropick.diffusion.networks import UNet
from entropick.errors import InputError

WARM_UPS = 3
# What torch.compile hands its graphs to.
COMPILER = "inductor"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
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
    fused
        Over a copy of the weights that was cast once (`Twin`), with products, norms and activations that are fewer and
        larger kernels.
    compiled
        The same, and what lies between products fused by torch.compile.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    captured: bool = False
    fused: bool = False
    compiled: bool = False

    @classmethod
    def ways(cls, device: torch.device, precision: str, network: str) -> tuple[Execution, ...]:
        """All that may be fastest on this kind of device: first what short work takes, then what long work tries too.

        They depend on nothing but the arguments and the kind of processor. Which one long work takes is measured, see
        `gate`; so with a precision that is given there is one way, whose numbers are the same in every run.
        """
        is_cuda = device.type == "cuda"
        layouts = [False] if network != "unet" else [True, False] if is_cuda else [False, True]
        dtypes = _dtypes(device)
        if precision != "auto":
            dtypes, layouts = [_DTYPES[precision]], layouts[:1]
        return tuple(
            cls(
                device,
                dtype,
                channels_last=channels_last,
                captured=is_cuda,
                fused=is_cuda and channels_last and dtype != torch.float32 and kernels.IS_HERE,
            )
            for dtype in dtypes
            for channels_last in layouts
        )

    @property
    def is_plain(self) -> bool:
        """Whether this is the eager float32 path that every other one is measured against."""
        return self == self.plain()

    @property
    def name(self) -> str:
        """In words, for the ledger."""
        parts = [str(self.dtype).removeprefix("torch.")]
        parts += ["channels last"] if self.channels_last else []
        parts += ["compiled"] if self.compiled else ["fused"] if self.fused else []
        return ", ".join([*parts, "captured" if self.captured else "eager"])

    @property
    def may_compile(self) -> bool:
        """Whether this way, compiled, is worth a trial: the perceptron's few products are not."""
        return self.captured and self.fused and not self.compiled

    def plain(self) -> Execution:
        """Eager float32 on the same device."""
        return Execution(self.device)

    def uncaptured(self) -> Execution:
        """The same kernels, launched one by one."""
        return dataclasses.replace(self, captured=False)

    def as_compiled(self) -> Execution:
        """The same, compiled."""
        return dataclasses.replace(self, compiled=True)

    def uncompiled(self) -> Execution:
        """The same, kernel by kernel as torch has them."""
        return dataclasses.replace(self, compiled=False)

    def fallbacks(self) -> Iterator[Execution]:
        """This way, then ever plainer ones."""
        fused = self.uncompiled()
        unfused = dataclasses.replace(fused, fused=False)
        ways = (self, fused, unfused, unfused.uncaptured(), self.plain())
        yield from dict.fromkeys(ways)

    def place(self, network: nn.Module) -> nn.Module:
        """The network itself, moved to the device and the memory layout."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if self.channels_last else network  # type: ignore[call-overload]

    def frozen(self, network: nn.Module) -> nn.Module:
        """A copy to sample from: weights cast once, no gradients."""
        if self.fused:
            twin = Twin(self.place(copy.deepcopy(network)).eval().requires_grad_(False), self.dtype)
            return twin.compiled() if self.compiled else twin.network
        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        for parameter in frozen.parameters():
            # Weights only: tables of frequencies are numbers that low precision would spoil.
            parameter.data = parameter.data.to(self.dtype)
        return self.place(frozen)

    def autocast(self) -> torch.autocast:
        """The context that a forward pass with float32 weights runs in."""
        is_low = self.dtype != torch.float32 and not self.fused
        dtype = self.dtype if is_low else torch.bfloat16  # the latter is only there to be switched off
        # A captured graph must hold the casts themselves, not the address of a cache.
        return torch.autocast(self.device.type, dtype, enabled=is_low, cache_enabled=not self.captured)

    def inference(self) -> AbstractContextManager[Any]:
        """The context that sampling runs in."""
        # Tensors of inference mode cannot be written outside of it, and a graph's random state is one of them in some
        # releases of torch.
        return torch.no_grad() if self.captured else torch.inference_mode()


def _dtypes(device: torch.device) -> list[torch.dtype]:
    """What may be fastest on a device, the one that is sure to do first."""
    if device.type == "cuda":
        # Cards before Ampere emulate it.
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return [torch.bfloat16, torch.float32] if has_bfloat16 else [torch.float32]
    has_bfloat16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return [torch.float32, torch.bfloat16] if device.type == "cpu" and has_bfloat16 else [torch.float32]


def described(network: nn.Module) -> str:
    """Which network this is, as far as its speed goes."""
    return f"{type(network).__name__} of {sum(weight.numel() for weight in network.parameters()):,} weights"


def where(device: torch.device) -> str:
    """What computes there."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError for float16 outside CUDA."""
    if precision == "float16" and device.type != "cuda":
        raise InputError(
            f"precision: float16 needs a CUDA device, got device {device.type!r}. Use 'float32', 'bfloat16' or 'auto'."
        )


class Twin:
    """A network beside another one, with which it shares all weights but those of products: these are cast copies.

    Autocast casts every weight and activation anew, each by a kernel of its own. Here activations stay as products
    leave them, norms and embeddings compute in float32, and weights lie side by side in two long tensors, those that
    are shared and those that are cast: casting them, and all that an optimizer does with them, takes a few kernels.

    Attributes
    ----------
    network
        What to compute with; its parameters come in the order of the other one's.
    pieces, gradients
        The two long tensors of the other network's weights, which now are views of them, and of its gradients.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        kinds = () if dtype == torch.float32 else (nn.Conv2d, nn.Linear)
        products = [module for module in network.modules() if isinstance(module, kinds)]
        cast = {id(weight) for module in products for weight in module.parameters()}
        originals = list(network.parameters())
        self._is_cast = [id(original) in cast for original in originals]
        pairs = list(zip(originals, self._is_cast, strict=True))
        shared, lowered = ([weight for weight, is_cast in pairs if is_cast == wanted] for wanted in (False, True))
        self.network = copy.deepcopy(network, {id(weight): weight for weight in shared})
        copies = [copied for copied, is_cast in zip(self.network.parameters(), self._is_cast, strict=True) if is_cast]
        self.pieces = [_side_by_side(weights) for weights in (shared, lowered)]
        self._copy = _side_by_side(copies, dtype)
        self.gradients = [torch.zeros_like(piece) for piece in self.pieces]
        self._views = [
            list(map(functools.partial(_view, gradient), weights))
            for gradient, weights in zip(self.gradients, (shared, lowered), strict=True)
        ]
        for module in self.network.modules():
            if isinstance(module, UNet):
                module.fuse()

    def compiled(self) -> nn.Module:
        """The network through torch.compile, which fuses what lies between its products."""
        return torch.compile(self.network, fullgraph=True, dynamic=False, backend=COMPILER)  # type: ignore[return-value]

    def refresh(self) -> None:
        """Cast the weights anew, all at once."""
        self._copy.copy_(self.pieces[1])

    def raised(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Keep the gradients of this network's parameters as `gradients`; their views there, in float32."""
        for wanted, piece, views in zip((False, True), self.gradients, self._views, strict=True):
            own = [one for one, is_cast in zip(gradients, self._is_cast, strict=True) if is_cast == wanted]
            flat = [_flat(laid_out_like(view, one)) for view, one in zip(views, own, strict=True)]
            if flat:
                piece.copy_(torch.cat(flat))
        shared, raised = map(iter, self._views)
        return tuple(next(raised if is_cast else shared) for is_cast in self._is_cast)


def _side_by_side(weights: Sequence[nn.Parameter], dtype: torch.dtype = torch.float32) -> Tensor:
    """One long tensor of these weights, which become views of it, each in the memory layout that it had."""
    device = weights[0].device if weights else None
    piece = torch.empty(sum(weight.numel() for weight in weights), dtype=dtype, device=device)
    first = 0
    for weight in weights:
        view = piece.as_strided(weight.shape, weight.stride(), first)
        weight.data = view.copy_(weight.data)
        first += weight.numel()
    return piece


def _view(piece: Tensor, weight: Tensor) -> Tensor:
    """What `weight` is of its own piece, of another one."""
    return piece.as_strided(weight.shape, weight.stride(), weight.storage_offset())


def _flat(gradient: Tensor) -> Tensor:
    """All numbers in the order of memory."""
    return gradient.as_strided((gradient.numel(),), (1,))


def laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in its parameter's memory layout, which fused optimizers take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    if all(a == b for a, b, n in zip(gradient.stride(), parameter.stride(), parameter.shape, strict=True) if n > 1):
        return gradient.as_strided(parameter.shape, parameter.stride())
    return torch.empty_like(parameter).copy_(gradient)


class Captured(Generic[Found]):
    """Replays all kernels of ``function(*inputs)`` at once: no launch, no Python, between the first and the last.

    The function must do the same work at every call and read nothing back to the host. Whatever changes from call to
    call must lie in tensors that it writes in place, and random numbers must come from `randoms`: each replay goes
    on in their streams, which may be seeded anew between two of them. Inputs keep the shapes of the example. What is
    returned lies in fixed places that the next call overwrites.

    Building one calls the function `WARM_UPS` times: what that changes is for the caller to put back.
    """

    def __init__(self, function: Callable[..., Found], *example: Tensor, randoms: Sequence[torch.Generator]) -> None:
        places = [tensor.to(randoms[0].device, copy=True) for tensor in example]
        self._places = places
        self._replay, self._result = record(lambda: function(*places), *randoms)

    def __call__(self, *inputs: Tensor) -> Found:
        """The function of these inputs."""
        for place, tensor in zip(self._places, inputs, strict=True):
            place.copy_(tensor, non_blocking=True)
        self._replay()
        return self._result


@contextmanager
def launching_on(device: torch.device) -> Iterator[None]:
    """Make it the GPU that kernels are launched on, which those of Triton do not see from their tensors, and have cuDNN
    take kernels alone that compute the same bits at every call."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.cuda.device(device):
            yield
    finally:
        torch.backends.cudnn.deterministic = before


def record(function: Callable[[], Found], *randoms: torch.Generator) -> tuple[Callable[[], None], Found]:
    """What replays the kernels of one call, and what that call returned; nothing is computed before the first replay.

    A graph takes seed and offset of each registered generator from the host at every replay, and moves its offset on by
    as much as one call draws: the numbers are those of calls without a graph.
    """
    with torch.cuda.device(randoms[0].device):
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()  # type: ignore[no-untyped-call]
        for random in randoms:
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
