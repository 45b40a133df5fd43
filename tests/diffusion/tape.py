"""What a CUDA graph is, played on the processor: a tape of kernels that is played again, without any Python between.

While a function is recorded no result of it may be looked at, and nothing it does lasts; then each replay runs the
same kernels on the same memory. What Python knew when the tape was made stays as it was: a step that hides state in
Python, or makes a tensor of a number that changes, comes out wrong here as it would on a GPU.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from entropick.diffusion.execution import WARM_UPS

# Kernels that answer the host, or whose results have a shape that only their numbers know.
ANSWERS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_consecutive"}


def tensors(values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Unread(TorchDispatchMode):
    """Refuses whatever would make a GPU wait for the host."""

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        if kernel.overloadpacket.__name__ in ANSWERS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {kernel}")
        return kernel(*args, **(kwargs or {}))


class Tape(Unread):
    """Records kernels; `restore` undoes what they wrote."""

    def __init__(self):
        super().__init__()
        self.kernels = []
        self._written = {}

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for argument, value in zip(kernel._schema.arguments, args, strict=False):
            self._keep(argument, value)
        for argument in kernel._schema.arguments:
            if argument.name in kwargs:
                self._keep(argument, kwargs[argument.name])
        found = super().__torch_dispatch__(kernel, types, args, kwargs)
        self.kernels.append((kernel, args, kwargs, found))
        return found

    def _keep(self, argument, value):
        if argument.alias_info is not None and argument.alias_info.is_write:
            for tensor in tensors(value):
                self._written.setdefault(id(tensor), (tensor, tensor.detach().clone()))

    @torch.no_grad()
    def restore(self):
        # The last first, so that of views of the same memory the oldest copy stays.
        for tensor, before in reversed(self._written.values()):
            tensor.copy_(before)

    @torch.no_grad()
    def replay(self):
        for kernel, args, kwargs, found in self.kernels:
            self.play(kernel, args, kwargs, found)

    def play(self, kernel, args, kwargs, found):
        returns = kernel._schema.returns
        if returns and all(r.alias_info is not None and not r.alias_info.is_write for r in returns):
            return  # A view: it shows whatever lies there by now.
        again = kernel(*args, **kwargs)
        for place, tensor in zip(tensors(found), tensors(again), strict=True):
            if place is not tensor:
                place.copy_(tensor)


def recorder(tape=Tape, log=None):
    """A stand-in for `execution.record`; `log` gets "warm-up", "capture" and "replay" as they happen."""
    log = [] if log is None else log

    def record(function, *randoms):
        for _ in range(WARM_UPS):
            log.append("warm-up")
            function()
        log.append("capture")
        recorded, before = tape(), [random.get_state() for random in randoms]
        with recorded:
            result = function()
        recorded.restore()
        for random, state in zip(randoms, before, strict=True):
            random.set_state(state)

        def replay():
            log.append("replay")
            recorded.replay()

        return replay, result

    return record


class WrongNumbers(Tape):
    """A fifth is added to every result of a matrix product."""

    def play(self, kernel, args, kwargs, found):
        super().play(kernel, args, kwargs, found)
        if kernel.overloadpacket.__name__ in ("addmm", "mm"):
            found.mul_(1.2)


class Forgetful(Tape):
    """Kernels whose name begins like this are left out of the replay."""

    forgets = ""

    def play(self, kernel, args, kwargs, found):
        if not kernel.overloadpacket.__name__.startswith(self.forgets):
            super().play(kernel, args, kwargs, found)


def forgetting(kernel):
    return type("Forgetting", (Forgetful,), {"forgets": kernel})


class SameNoise(Tape):
    """Every replay draws the numbers of the first one, as a generator that is not registered would."""

    def play(self, kernel, args, kwargs, found):
        if (random := kwargs.get("generator")) is None:
            super().play(kernel, args, kwargs, found)
            return
        state = random.get_state()
        super().play(kernel, args, kwargs, found)
        random.set_state(state)


class Broken(Tape):
    """The capture breaks off in the middle."""

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        if len(self.kernels) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().__torch_dispatch__(kernel, types, args, kwargs)
