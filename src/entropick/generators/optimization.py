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

from entropick.work import Arrays, State

_BETAS = (0.95, 0.999)


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


class Optimization:
    """Takes gradients, moves the parameters and their average; everything it knows can be written down."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], settings: OptimizationSettings, *, dtype: torch.dtype
    ) -> None:
        self._settings = settings
        self._parameters = list(parameters)
        self._average = [parameter.detach().clone() for parameter in self._parameters] if settings.ema else []
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, betas=_BETAS, weight_decay=settings.weight_decay, fused=True
        )
        # float16 gradients underflow unless the loss is scaled up; a step whose gradients overflow is left out.
        device = self._parameters[0].device.type
        self._scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss as gradients are to be taken of it."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def step(self, step: int, gradients: Sequence[Tensor]) -> None:
        """Step number `step`, from 1, with the gradients of the scaled loss."""
        self._optimizer.param_groups[0]["lr"] = self._settings.learning_rate_at(step - 1)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average:
            # A young average leans on the newest weights, or it would remember the random start.
            decay = min(self._settings.ema, step / (step + 10))
            torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1.0 - decay)

    def weights(self) -> list[Tensor]:
        """The weights to sample from: the moving average where there is one."""
        return self._average or [parameter.detach() for parameter in self._parameters]

    def state(self) -> tuple[Arrays, State]:
        """Weights, moments and average as arrays, and the state of the loss scaling."""
        arrays: dict[str, NDArray[Any]] = {}
        for index, parameter in enumerate(self._parameters):
            moments = self._optimizer.state[parameter]
            arrays[f"{index}.weight"] = to_numpy(parameter)
            arrays[f"{index}.first_moment"] = to_numpy(moments["exp_avg"])
            arrays[f"{index}.second_moment"] = to_numpy(moments["exp_avg_sq"])
        arrays |= {f"{index}.average": to_numpy(average) for index, average in enumerate(self._average)}
        return arrays, {"taken": self._taken(), "loss_scaling": self._scaler.state_dict()}

    @torch.no_grad()
    def restore(self, arrays: Arrays, state: State) -> None:
        """Become what `state` described."""
        for index, parameter in enumerate(self._parameters):
            parameter.copy_(torch.tensor(arrays[f"{index}.weight"]))
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(state["taken"]), device=parameter.device),
                "exp_avg": _like(parameter, arrays[f"{index}.first_moment"]),
                "exp_avg_sq": _like(parameter, arrays[f"{index}.second_moment"]),
            }
        for index, average in enumerate(self._average):
            average.copy_(torch.tensor(arrays[f"{index}.average"]))
        if state["loss_scaling"]:
            self._scaler.load_state_dict(state["loss_scaling"])

    def _taken(self) -> int:
        """Steps that the optimizer has taken: fewer than asked for where float16 gradients overflowed."""
        return int(self._optimizer.state[self._parameters[0]]["step"])


def are_finite(arrays: Arrays) -> bool:
    """Whether no number among the arrays is NaN or infinite."""
    return all(np.isfinite(array).all() for array in arrays.values())


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """The tensor's values on the host."""
    return tensor.detach().cpu().numpy()


def _like(parameter: Tensor, values: NDArray[Any]) -> Tensor:
    return torch.empty_like(parameter).copy_(torch.tensor(values))
