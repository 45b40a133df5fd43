"""The training loop of a DDPM: a pure function of (images, settings, stream), whatever interrupts it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.arrays import Images, Integers
from entropick.errors import InputError, TrainingDiverged
from entropick.generators.capture import Captured
from entropick.generators.diffusion import NoiseTable
from entropick.generators.epochs import Epochs
from entropick.generators.execution import Execution
from entropick.generators.gate import Passage, Probe, pass_gate, rough_copy
from entropick.generators.objective import Batch, Gradients, Objective
from entropick.generators.optimization import Optimization, OptimizationSettings, are_finite, to_numpy
from entropick.random_stream import RandomStream
from entropick.work import Work

# Reading the loss makes a GPU wait; every so many steps is enough to watch it.
_LOSS_EVERY = 50
_CHECKPOINT = "training"
# A fixed loss scale for the gate: no gradient of a probe overflows or vanishes in float16.
_PROBE_SCALE = 1024.0


@dataclass(frozen=True)
class TrainingSettings(OptimizationSettings):
    """What a training depends on besides images and network; see `DDPM` for each."""

    batch_size: int
    timesteps: int
    flips: bool
    label_dropout: float


@dataclass(frozen=True)
class TrainingSet:
    """uint8 images ``(n, h, w, c)`` and, for a conditional network, their class numbers below `n_classes`."""

    images: Images
    classes: Integers | None = None
    n_classes: int = 0

    def __len__(self) -> int:
        return len(self.images)


class Training:
    """One training from scratch, resumable at any step.

    Timesteps, noise, flips and forgotten labels come from one torch generator whose state is part of the checkpoint.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        network: nn.Module,
        data: TrainingSet,
        *,
        stream: RandomStream,
        execution: Execution,
    ) -> None:
        self.settings = settings
        self.network = network.train()
        self.final_loss = math.nan
        self.passage = Passage(execution)
        self._data = data
        self._device = execution.device
        self._images = torch.tensor(data.images).to(self._device)
        self._classes = None if data.classes is None else torch.tensor(data.classes).to(self._device)
        self._unread: list[Tensor] = []
        self._saved_step = 0
        self._epochs = Epochs(len(data), settings.batch_size, stream)
        self._table = NoiseTable.build(settings.timesteps, self._device)
        self._random = torch.Generator(self._device).manual_seed(stream.integer(chunk=1))
        self._part = slice(0, settings.batch_size)

    def run(self, work: Work) -> None:
        """Take all steps that are left, saving checkpoints when `work` says they are due.

        Where several processes share the work, each draws the whole batch and computes its part of it; from the sum of
        all parts each takes the same step.
        """
        self._part = _part(self.settings.batch_size, work)
        saved, last_step = work.load(_CHECKPOINT), self.settings.steps
        wanted, before = self.passage.execution, saved[1] if saved else {}
        self.passage = pass_gate(wanted, self._probe, what="training", before=before, work=work)
        self._prepare(self.passage.execution)
        first_step = self._restore(*saved) if saved else 0
        gradients_of = self._gradients()
        for step, rows in enumerate(self._epochs.batches(first_step, last_step), start=first_step + 1):
            gradients = gradients_of(*self._draw(rows, self._random).part(self._part).tensors())
            work.sum(gradients.summands)
            self._optimization.step(gradients.of_parameters)
            # A captured graph overwrites its loss at the next step.
            self._unread.append(gradients.loss.clone())
            if len(self._unread) == _LOSS_EVERY or step == last_step:
                self._read_loss(step)
                work.progress(step, last_step, f"loss {self.final_loss:.4f}")
            if work.due() and step < last_step:
                self._save(work, step)

    def averaged_network(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for parameter, weight in zip(network.parameters(), self._optimization.weights(), strict=True):
                parameter.copy_(weight)
        return network.eval().requires_grad_(False)

    # -- one step ---------------------------------------------------------------------------------------------------

    def _draw(self, rows: NDArray[np.int64], random: torch.Generator) -> Batch:
        n, device = len(rows), self._device
        height, width, channels = self._images.shape[1:]

        def coins(share: float) -> Tensor:
            return torch.rand(n, generator=random, device=device) < share

        return Batch(
            rows=torch.from_numpy(rows).to(device, non_blocking=True),
            timestep=torch.randint(self.settings.timesteps, (n,), generator=random, device=device),
            noise=torch.randn((n, channels, height, width), generator=random, device=device),
            flipped=coins(0.5) if self.settings.flips else None,
            untold=None if self._classes is None else coins(self.settings.label_dropout),
        )

    def _objective(self, network: nn.Module, execution: Execution, scale: Callable[[Tensor], Tensor]) -> Objective:
        return Objective(
            network=network,
            images=self._images,
            table=self._table,
            execution=execution,
            classes=self._classes,
            untold_class=self._data.n_classes,
            scale=scale,
            weight=(self._part.stop - self._part.start) / self.settings.batch_size,
        )

    def _prepare(self, execution: Execution) -> None:
        self.network = execution.place(self.network)
        self._optimization = Optimization(list(self.network.parameters()), self.settings, dtype=execution.dtype)

    def _gradients(self) -> Callable[..., Gradients]:
        """The objective, as one graph where the gate let it through."""
        execution = self.passage.execution
        objective = self._objective(self.network, execution, self._optimization.scale)
        return Captured(objective, *self._probe_batch().tensors()) if execution.captured else objective

    # -- the gate ---------------------------------------------------------------------------------------------------

    def _probe(self, execution: Execution) -> Probe:
        """Outputs and gradients of one batch, on weights that hide nothing."""
        network = execution.place(rough_copy(self.network))
        objective = self._objective(network, execution, lambda loss: loss * _PROBE_SCALE)
        drawn = self._probe_batch().tensors()
        found = (Captured(objective, *drawn) if execution.captured else objective)(*drawn)
        gradients = [gradient.float() / _PROBE_SCALE for gradient in found.of_parameters]
        return Probe(found.predicted.float(), gradients)

    def _probe_batch(self) -> Batch:
        rows = np.arange(self.settings.batch_size) % len(self._data)
        return self._draw(rows, torch.Generator(self._device).manual_seed(0)).part(self._part)

    # -- watching and saving ----------------------------------------------------------------------------------------

    def _read_loss(self, step: int) -> None:
        self.final_loss = float(torch.stack(self._unread).mean())
        self._unread.clear()
        if not math.isfinite(self.final_loss):
            self._diverged(f"the training loss became {self.final_loss} before step {step}")

    def _save(self, work: Work, step: int) -> None:
        # The losses since the last reading go along, so that the reported loss does not depend on checkpoints.
        losses = [float(loss) for loss in self._unread]
        arrays, state = self._optimization.state()
        if not (all(map(math.isfinite, losses)) and are_finite(arrays)):
            self._diverged(f"loss or weights became NaN or infinite before step {step}")
        arrays = {**arrays, "random": to_numpy(self._random.get_state())}
        self._saved_step = step
        work.save(_CHECKPOINT, arrays, {**state, **self.passage.state(), "losses": losses})

    def _restore(self, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> int:
        self._optimization.restore(arrays, state)
        self._random.set_state(torch.tensor(arrays["random"]))
        self._unread = [torch.tensor(loss, device=self._device) for loss in state["losses"]]
        self._saved_step = int(state["step"])
        return self._saved_step

    def _diverged(self, what: str) -> NoReturn:
        kept = f"The checkpoint of step {self._saved_step} is the last good one and is kept"
        raise TrainingDiverged(
            f"{what}. Lower learning_rate or clip_norm, or set precision='float32', and begin anew. "
            f"{kept if self._saved_step else 'No checkpoint had been saved yet'}."
        )


def _part(batch_size: int, work: Work) -> slice:
    """The rows of every batch that fall to this process."""
    if batch_size < work.n_processes:
        raise InputError(
            f"batch_size: expected at least one image for each of the {work.n_processes} processes, got {batch_size}. "
            "Start fewer processes."
        )
    return work.share(batch_size)
