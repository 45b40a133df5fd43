"""One training step: what is drawn for a batch, its loss and gradients, and the update of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.diffusion.capture import Captured
from entropick.diffusion.diffusion import NoiseTable
from entropick.diffusion.execution import Execution
from entropick.diffusion.objective import Batch, Gradients, Objective
from entropick.diffusion.optimization import Optimization, OptimizationSettings, to_numpy
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


@dataclass(frozen=True)
class DeviceData:
    """The training set on the device: uint8 images ``(n, h, w, c)``, and class numbers ``(n,)`` below `n_classes`."""

    images: Tensor
    classes: Tensor | None
    n_classes: int


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
        self.optimization = Optimization(list(self.network.parameters()), settings, dtype=execution.dtype)
        # A generator whose capture broke off may be of no use any more: each step has one of its own.
        self.random = torch.Generator(execution.device).manual_seed(seed)
        self._settings = settings
        self._data = data
        self._part = part
        self._objective = Objective(
            network=self.network,
            images=data.images,
            table=NoiseTable.build(settings.timesteps, execution.device),
            execution=execution,
            classes=data.classes,
            untold_class=data.n_classes,
            scale=self.optimization.scale,
            weight=(part.stop - part.start) / settings.batch_size,
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
        self.optimization.step(gradients.of_parameters)
        return gradients

    def capture(self) -> None:
        """From now on replay one graph: of the whole step, or, where gradients are to be added up, as far as that."""
        before = copy.deepcopy(self.state())
        example = torch.zeros(self._settings.batch_size, dtype=torch.int64)
        self._graph = Captured(self.__call__ if self._is_alone else self._gradients, example, random=self.random)
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
