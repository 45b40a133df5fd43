"""One training step: what is drawn for a batch, its loss and gradients, and the update of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from entropick.diffusion.execution import Captured, Execution, Twin, laid_out_like
from entropick.diffusion.optimization import Optimization, OptimizationSettings, to_numpy
from entropick.diffusion.process import NOISE, NoiseTable
from entropick.errors import InputError
from entropick.work import Arrays, State

Sum = Callable[[Sequence[Tensor]], None]


@dataclass(frozen=True)
class TrainingSettings(OptimizationSettings):
    """What a training depends on besides images and network; see `DDPM` for each."""

    batch_size: int
    timesteps: int
    flips: bool
    label_dropout: float
    predicts: str = NOISE


@dataclass(frozen=True)
class DeviceData:
    """The training set on the device: uint8 images ``(n, h, w, c)``, and class numbers ``(n,)`` below `n_classes`."""

    images: Tensor
    classes: Tensor | None
    n_classes: int


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
    """The squared error of the predicted noise, Ho et al. 2020, equation 14; or that of the velocity which tells it.

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
    predicts
        What the error is taken of. An error of the velocity is that of the noise over the signal's share of x_t.
    twin
        Of whose weights `network` is made, where it is not itself trained.
    """

    network: nn.Module
    images: Tensor
    table: NoiseTable
    execution: Execution
    classes: Tensor | None = None
    untold_class: int = 0
    scale: Callable[[Tensor], Tensor] = lambda loss: loss
    weight: float = 1.0
    predicts: str = NOISE
    twin: Twin | None = None

    def __call__(self, batch: Batch) -> Gradients:
        """Loss and (scaled) gradients of a batch."""
        x = self.images[batch.rows].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        if batch.flipped is not None:
            x = torch.where(batch.flipped[:, None, None, None], x.flip(-1), x)
        noisy = self.table.add_noise(x, batch.noise, batch.timestep)
        if self.execution.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        if self.twin is not None:
            self.twin.refresh()
        with self.execution.autocast():
            predicted = self.network(noisy, batch.timestep, self._told(batch))
        loss = self._error(predicted.float(), batch) * self.weight
        parameters = list(self.network.parameters())
        gradients = torch.autograd.grad(self.scale(loss), parameters)
        if self.twin is not None:
            gradients = self.twin.raised(gradients)
        return Gradients(loss.detach(), predicted.detach(), tuple(map(laid_out_like, parameters, gradients)))

    def _error(self, predicted: Tensor, batch: Batch) -> Tensor:
        if self.predicts == NOISE:
            return functional.mse_loss(predicted, batch.noise)
        signal = self.table.signal[batch.timestep][:, None, None, None]
        return ((predicted - batch.noise) / signal).square().mean()

    def _told(self, batch: Batch) -> Tensor | None:
        """The class numbers that the network is told."""
        if self.classes is None or batch.untold is None:
            return None
        return self.classes[batch.rows].masked_fill_(batch.untold, self.untold_class)


class Step:
    """A step of a training, over tensors that stay where they are.

    It is the same function of its rows at every call: nothing is read back to the host, and all that changes (weights,
    moments, their average, the step's number, the loss's scale) is written in place. So a CUDA graph can hold the whole
    of it; on a processor it is simply called.

    Parameters
    ----------
    settings, network, data, execution
        What is trained, in which way; the network is moved to where and how the execution wants it.
    part
        The rows of every batch that are computed here. Everything random is drawn for the whole batch.
    seed
        Timesteps, noise, flips and forgotten labels come from one torch generator with this seed, whose state is part
        of what is written down.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        network: nn.Module,
        data: DeviceData,
        *,
        execution: Execution,
        part: slice,
        seed: int,
    ) -> None:
        self.network = execution.place(network).train()
        self._twin = twin = Twin(self.network, execution.dtype) if execution.fused else None
        parameters, pieces = list(self.network.parameters()), twin.pieces if twin else ()
        self.optimization = Optimization(parameters, settings, dtype=execution.dtype, pieces=pieces)
        # A generator whose capture broke off may be of no use any more: each step has one of its own.
        self.random = torch.Generator(execution.device).manual_seed(seed)
        self._settings = settings
        self._data = data
        self._part = part
        computed = twin.network if twin else self.network
        self._objective = Objective(
            network=twin.compiled() if twin and execution.compiled else computed,
            twin=twin,
            images=data.images,
            table=NoiseTable.build(settings.timesteps, execution.device),
            execution=execution,
            classes=data.classes,
            untold_class=data.n_classes,
            scale=self.optimization.scale,
            weight=(part.stop - part.start) / settings.batch_size,
            predicts=settings.predicts,
        )
        self._graph: Captured[Gradients] | None = None
        self._is_alone = part == slice(0, settings.batch_size)

    def __call__(self, rows: Tensor, add_up: Sum = lambda tensors: None) -> Gradients:
        """Take a step with these training images, int64 ``(batch_size,)``.

        `add_up` replaces tensors by their sums where several processes compute parts of a batch. The gradients that
        come back are clipped; what comes back of a graph lies in places that the next step overwrites.
        """
        if self._graph is None:
            gradients = self._gradients(rows)
        else:
            gradients = self._graph(rows)
            if self._is_alone:
                return gradients
        add_up(gradients.summands)
        self.optimization.step(self._twin.gradients if self._twin else gradients.of_parameters)
        return gradients

    def capture(self) -> None:
        """From now on replay one graph: of the whole step, or, where gradients are to be added up, as far as that."""
        before = copy.deepcopy(self.state())
        example = torch.zeros(self._settings.batch_size, dtype=torch.int64)
        self._graph = Captured(self.__call__ if self._is_alone else self._gradients, example, randoms=[self.random])
        self.restore(*before)

    def state(self) -> tuple[Arrays, State]:
        """Everything that a step changes, on the host."""
        arrays, state = self.optimization.state()
        return {**arrays, "random": to_numpy(self.random.get_state())}, state

    def restore(self, arrays: Arrays, state: State) -> None:
        """Become what `state` described, in place; InputError for random numbers of another kind of device."""
        random = self._checked(arrays["random"])
        self.optimization.restore(arrays, state)
        self.random.set_state(random)

    def _gradients(self, rows: Tensor) -> Gradients:
        drawn = self._draw(rows)
        return self._objective(drawn if self._is_alone else drawn.part(self._part))

    def _draw(self, rows: Tensor) -> Batch:
        n, random, device = len(rows), self.random, self.random.device
        height, width, channels = self._data.images.shape[1:]

        def coins(share: float) -> Tensor:
            return torch.rand(n, generator=random, device=device) < share

        return Batch(
            rows=rows.to(device, non_blocking=True),
            timestep=torch.randint(self._settings.timesteps, (n,), generator=random, device=device),
            noise=torch.randn((n, channels, height, width), generator=random, device=device),
            flipped=coins(0.5) if self._settings.flips else None,
            untold=None if self._data.classes is None else coins(self._settings.label_dropout),
        )

    def _checked(self, random: NDArray[Any]) -> Tensor:
        expected = self.random.get_state()
        if random.shape != expected.shape:
            raise InputError(
                f"device: expected a checkpoint of a training on {self.random.device.type!r}, whose random state has "
                f"{len(expected)} bytes, got one of {len(random)}: another kind of device wrote it. Go on there, or "
                "begin this run anew in another folder."
            )
        return torch.tensor(random)
