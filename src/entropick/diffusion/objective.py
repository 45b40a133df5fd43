"""The loss of one batch and its gradients, as a pure function of the network and of what was drawn for the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from entropick.diffusion.diffusion import NoiseTable
from entropick.diffusion.execution import Execution


@dataclass(frozen=True)
class Batch:
    """Everything random about one batch of b images.

    Attributes
    ----------
    rows
        int64 ``(b,)``: which training images.
    timestep
        int64 ``(b,)``: how noisy each one is made.
    noise
        float32 ``(b, c, h, w)``: the noise that is added and to be predicted.
    flipped
        bool ``(b,)``: which images are mirrored; None for none.
    untold
        bool ``(b,)``: whose class the network is not told; None without classes.
    """

    rows: Tensor
    timestep: Tensor
    noise: Tensor
    flipped: Tensor | None = None
    untold: Tensor | None = None

    def part(self, rows: slice) -> Batch:
        """Some of the images, with what was drawn for them."""
        drawn = (getattr(self, field.name) for field in fields(self))
        return Batch(*(None if tensor is None else tensor[rows] for tensor in drawn))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Gradients:
    """What one batch says: the mean loss (a scalar), the predicted noise, and the gradient of every parameter."""

    loss: Tensor
    predicted: Tensor
    of_parameters: tuple[Tensor, ...]

    @property
    def summands(self) -> list[Tensor]:
        """What is to be added where several processes have computed parts of a batch."""
        return [self.loss, *self.of_parameters]


@dataclass(frozen=True)
class Objective:
    """Epsilon-prediction, Ho et al. 2020, equation 14: the squared error of the predicted noise.

    Attributes
    ----------
    network
        What is trained.
    images, classes
        The whole training set on the device: uint8 ``(n, h, w, c)``, and class numbers ``(n,)`` or None.
    untold_class
        The class number that stands for "no class told".
    table
        Coefficients of the noise.
    execution
        How the network is computed.
    scale
        Applied to the loss before gradients are taken, so that those of float16 do not vanish.
    weight
        The share of the whole batch that is seen here: losses and gradients of all its parts add up to the batch's own.
    """

    network: nn.Module
    images: Tensor
    table: NoiseTable
    execution: Execution
    classes: Tensor | None = None
    untold_class: int = 0
    scale: Callable[[Tensor], Tensor] = lambda loss: loss
    weight: float = 1.0

    def __call__(self, batch: Batch) -> Gradients:
        """Loss and (scaled) gradients of a batch."""
        x = self.images[batch.rows].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        if batch.flipped is not None:
            x = torch.where(batch.flipped[:, None, None, None], x.flip(-1), x)
        noisy = self.table.add_noise(x, batch.noise, batch.timestep)
        if self.execution.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        with self.execution.autocast():
            predicted = self.network(noisy, batch.timestep, self._told(batch))
        loss = functional.mse_loss(predicted.float(), batch.noise) * self.weight
        parameters = list(self.network.parameters())
        gradients = torch.autograd.grad(self.scale(loss), parameters)
        return Gradients(loss.detach(), predicted.detach(), tuple(map(_laid_out_like, parameters, gradients)))

    def _told(self, batch: Batch) -> Tensor | None:
        """The class numbers that the network is told."""
        if self.classes is None or batch.untold is None:
            return None
        return self.classes[batch.rows].masked_fill_(batch.untold, self.untold_class)


def _laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in its parameter's memory layout, which fused optimizers take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
