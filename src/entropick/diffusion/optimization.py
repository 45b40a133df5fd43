"""How weights follow gradients: AdamW, clipping, the learning rate's course, and a moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.diffusion.execution import WARM_UPS
from entropick.work import Arrays, State

_BETAS = (0.95, 0.999)
# What the parts of an optimization are called in a checkpoint.
_WRITTEN = ("weight", "first_moment", "second_moment", "average")


@dataclass(frozen=True)
class OptimizationSettings:
    """How weights follow gradients; `clip_norm` bounds the whole gradient, `ema` is the average's decay (0: none)."""

    steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    clip_norm: float
    ema: float

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to 0 (the paper's schedule, as in Diffusers); the first step is 0."""
        if step < self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))

    def average_moves_at(self, step: int) -> float:
        """The share of the way to the newest weights that the average moves; the first step is 0."""
        # A young average leans on the newest weights, or it would remember the random start.
        return 1.0 - min(self.ema, (step + 1) / (step + 11))


class Schedule:
    """Learning rate and the average's share at the present step, read on the device from a table of all steps.

    Attributes
    ----------
    step
        int64 ``(1,)``: how many steps have been taken.
    rate
        ``(1,)``: the learning rate that was last read.
    """

    def __init__(self, settings: OptimizationSettings, device: torch.device) -> None:
        # A graph that is built near the end of a training takes steps beyond it.
        steps = range(settings.steps + WARM_UPS)
        # Fused kernels read the rate in float64 on a processor, and in float32 elsewhere.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        # Without a list, whose numbers take several times the memory.
        rates = np.fromiter(map(settings.learning_rate_at, steps), np.float64, len(steps))
        self._rates = torch.from_numpy(rates).to(device, dtype)
        shares = map(settings.average_moves_at, steps if settings.ema else ())
        self._shares = torch.from_numpy(np.fromiter(shares, np.float64)).to(device, torch.float32)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.rate = self._rates[:1].clone()

    def read_rate(self) -> None:
        """Set the rate to that of the present step."""
        torch.index_select(self._rates, 0, self.step, out=self.rate)

    def share(self) -> Tensor:
        """How far the average moves, a scalar."""
        return self._shares.index_select(0, self.step)[0]


class Optimization:
    """Takes gradients, moves the parameters and their average; everything it knows can be written down.

    All that changes lies in tensors on the device, which stay where they are: a CUDA graph can hold `step`.

    Parameters
    ----------
    parameters
        The weights, in the order in which they are written down.
    dtype
        Of products: float16 has its losses scaled.
    pieces
        The few long tensors that all parameters are views of, where they are: what is moved then.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        settings: OptimizationSettings,
        *,
        dtype: torch.dtype,
        pieces: Sequence[Tensor] = (),
    ) -> None:
        self._settings = settings
        self._views = _Views(parameters, pieces) if pieces else None
        self._parameters = [nn.Parameter(piece) for piece in pieces] or list(parameters)
        device = self._parameters[0].device
        self.schedule = Schedule(settings, device)
        self.norm = torch.zeros((), device=device)
        self._weights = [parameter.detach() for parameter in self._parameters]
        self._average = [weight.clone() for weight in self._weights] if settings.ema else []
        self._optimizer = torch.optim.AdamW(
            self._parameters, betas=_BETAS, weight_decay=settings.weight_decay, fused=True, capturable=True
        )
        # Given later: a constructor would read it.
        self._optimizer.param_groups[0]["lr"] = self.schedule.rate
        for parameter in self._parameters:
            self._optimizer.state[parameter] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        # float16 gradients underflow unless the loss is scaled up; a step whose gradients overflow is left out.
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        # The scaler makes its tensors when it is first asked.
        self._scaler.scale(torch.zeros((), device=device))

    def scale(self, loss: Tensor) -> Tensor:
        """The loss as gradients are to be taken of it."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def step(self, gradients: Sequence[Tensor]) -> None:
        """The next step, with the gradients of the scaled loss, which are unscaled and clipped where they lie."""
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self.schedule.read_rate()
        self._scaler.unscale_(self._optimizer)
        self.norm = nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average:
            move = _move_together if self.norm.is_cuda else _move_each
            move(self._average, self._weights, self.schedule.share())
        self.schedule.step.add_(1)

    def weights(self) -> list[Tensor]:
        """The weights to sample from, parameter by parameter: the moving average where there is one."""
        return self._each(self._average or self._weights)

    def _each(self, moved: list[Tensor]) -> list[Tensor]:
        """Parameter by parameter."""
        return self._views(moved) if self._views else moved

    def _moments(self, name: str) -> list[Tensor]:
        return [self._optimizer.state[parameter][name] for parameter in self._parameters]

    def parts(self) -> dict[str, list[Tensor]]:
        """All that a step moves."""
        return {
            "the weights": self._weights,
            "the first moments": self._moments("exp_avg"),
            "the second moments": self._moments("exp_avg_sq"),
            "the average": self._average,
        }

    def rescale(self, scale: float) -> None:
        """Set the scale of the loss, where there is one."""
        self._scaler.update(scale)

    def state(self) -> tuple[Arrays, State]:
        """Weights, moments and average as arrays; the number of steps, and the state of the loss scaling."""
        arrays = {
            f"{index}.{name}": to_numpy(tensor)
            for name, part in zip(_WRITTEN, self.parts().values(), strict=True)
            for index, tensor in enumerate(self._each(part))
        }
        return arrays, {
            "step": int(self.schedule.step),
            # Fewer than asked for where float16 gradients overflowed.
            "taken": int(self._optimizer.state[self._parameters[0]]["step"]),
            "loss_scaling": self._scaler.state_dict(),
        }

    @torch.no_grad()
    def restore(self, arrays: Arrays, state: State) -> None:
        """Become what `state` described; all tensors stay where they are."""
        for name, part in zip(_WRITTEN, self.parts().values(), strict=True):
            for index, tensor in enumerate(self._each(part)):
                tensor.copy_(torch.tensor(arrays[f"{index}.{name}"]))
        for taken in self._moments("step"):
            taken.fill_(state["taken"])
        self.schedule.step.fill_(state["step"])
        if state["loss_scaling"]:
            self._scaler.load_state_dict(state["loss_scaling"])


class _Views:
    """Parameters as views of a few long tensors."""

    def __init__(self, parameters: Sequence[Tensor], pieces: Sequence[Tensor]) -> None:
        places = {piece.untyped_storage().data_ptr(): number for number, piece in enumerate(pieces)}
        self._views = [
            (places[one.untyped_storage().data_ptr()], one.shape, one.stride(), one.storage_offset())
            for one in parameters
        ]

    def __call__(self, moved: Sequence[Tensor]) -> list[Tensor]:
        """What the parameters would be, if these were the long tensors; none of none."""
        if not moved:
            return []
        return [moved[number].detach().as_strided(size, stride, first) for number, size, stride, first in self._views]


def _move_each(average: list[Tensor], weights: list[Tensor], share: Tensor) -> None:
    """Move each tensor of the average the same share of the way to the weights."""
    torch._foreach_lerp_(average, weights, [share] * len(average))


def _move_together(average: list[Tensor], weights: list[Tensor], share: Tensor) -> None:
    """The same in three launches, instead of one per tensor; rounded otherwise."""
    way = torch._foreach_sub(weights, average)
    torch._foreach_mul_(way, share)
    torch._foreach_add_(average, way)


def are_finite(arrays: Arrays) -> bool:
    """Whether no number among the arrays is NaN or infinite."""
    return all(np.isfinite(array).all() for array in arrays.values())


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """The tensor's values on the host."""
    return tensor.detach().cpu().numpy()
