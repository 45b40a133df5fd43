"""The training loop of a DDPM: a pure function of (images, settings, stream), whatever interrupts it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.diffusion.execution import Execution, described, where
from entropick.diffusion.gate import Left, Passage, Probe, pass_gate, roughen, seconds_of
from entropick.diffusion.held_out import EVERY, HeldOutLoss, TrainingSet
from entropick.diffusion.optimization import are_finite, to_numpy
from entropick.diffusion.step import DeviceData, Step, TrainingSettings
from entropick.errors import InputError, TrainingDiverged
from entropick.random_stream import RandomStream
from entropick.work import Work

# Reading the loss makes a GPU wait; every so many steps is enough to watch it, and where held-out images are looked at.
_LOSS_EVERY = EVERY
_CHECKPOINT = "training"
# Chunks 0 and 1 of the stream are the first weights and the noise.
_FIRST_CHUNK = 2
# Of a trial, fixed: no gradient overflows or vanishes in float16.
_SCALE = 1024.0


@dataclass(frozen=True)
class Epochs:
    """Batches of `batch_size` rows of `n_images`, always full; each permutation is a function of its number."""

    n_images: int
    batch_size: int
    stream: RandomStream

    def batches(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        """The rows of each batch from number `first`, from 0, until before `last`."""
        epoch, row = divmod(first * self.batch_size, self.n_images)
        order = self._order(epoch)
        for _ in range(first, last):
            batch = order[row : row + self.batch_size]
            row += self.batch_size
            while len(batch) < self.batch_size:
                epoch, row = epoch + 1, self.batch_size - len(batch)
                order = self._order(epoch)
                batch = np.concatenate([batch, order[:row]])
            yield batch

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return self.stream.rng(chunk=_FIRST_CHUNK + epoch).permutation(self.n_images)


class Training:
    """One training from scratch, resumable at any step.

    With `held_out` it ends where that says so, at the latest after all steps, and its weights are those that denoised
    the held-out images best. The weights that would be sampled from after each of the `probe_steps` are remembered.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        network: nn.Module,
        data: TrainingSet,
        *,
        stream: RandomStream,
        ways: Sequence[Execution],
        held_out: HeldOutLoss | None = None,
        probe_steps: Sequence[int] = (),
    ) -> None:
        self.settings = settings
        self.network = network
        self.held_out = held_out
        self._probe_steps = frozenset(probe_steps)
        self._probed: dict[int, list[NDArray[Any]]] = {}
        self.final_loss = math.nan
        self.passage = Passage(ways[0])
        self._ways = ways
        device = ways[0].device
        classes = None if data.classes is None else torch.tensor(data.classes).to(device)
        self._data = DeviceData(torch.tensor(data.images).to(device), classes, data.n_classes)
        self._unread: list[Tensor] = []
        self._saved_step = 0
        self._epochs = Epochs(len(data), settings.batch_size, stream)
        self._seed = stream.integer(chunk=1)
        self._part = slice(0, settings.batch_size)
        self._probed_last: Step | None = None
        self._probed_as = ways[0]

    def run(self, work: Work) -> None:
        """Take all steps that are left, saving checkpoints when `work` says they are due.

        Where several processes share the work, each draws the whole batch and computes its part of it; from the sum of
        all parts each takes the same step.
        """
        self._part = _part(self.settings.batch_size, work)
        saved, last_step = work.load(_CHECKPOINT), self.settings.steps
        before = saved[1] if saved else {}
        left = Left(last_step - before.get("step", 0), self._seconds, self._described())
        self.passage = pass_gate(self._ways, self._probe, what="training", before=before, work=work, left=left)
        self._begin(self.passage.execution)
        looked_at = copy.deepcopy(self.network) if self.held_out else None
        first_step = self._restore(*saved) if saved else 0
        for step, rows in enumerate(self._epochs.batches(first_step, last_step), start=first_step + 1):
            loss = self._step(torch.from_numpy(rows), work.sum).loss
            # A captured graph overwrites its loss at the next step.
            self._unread.append(loss.clone())
            if len(self._unread) == _LOSS_EVERY or step == last_step:
                self._read_loss(step)
                work.progress(step, last_step, f"loss {self.final_loss:.4f}")
                if self.held_out and looked_at and self.held_out.is_due(step):
                    weights = self._step.optimization.weights()
                    if self.held_out.look(step, looked_at, weights, work):
                        break
            if step in self._probe_steps:
                self._probed[step] = [to_numpy(weight).copy() for weight in self._step.optimization.weights()]
            if work.due() and step < last_step:
                self._save(work, step)

    def averaged_network(self) -> nn.Module:
        """The network to sample from: the moving average where there is one, of the step that is kept."""
        weights = self.held_out.best_weights() if self.held_out else self._step.optimization.weights()
        # The last step's loss is older than its weights.
        if not all(bool(torch.isfinite(weight).all()) for weight in weights):
            self._diverged(f"a weight became NaN or infinite in the last of {self.settings.steps} steps")
        return self._with(weights)

    def probed_networks(self) -> Iterator[tuple[int, nn.Module]]:
        """Each probe step with the network to sample from as it was then."""
        for step, weights in sorted(self._probed.items()):
            yield step, self._with([torch.from_numpy(weight) for weight in weights])

    def _with(self, weights: Sequence[Tensor]) -> nn.Module:
        """A copy of the network with these weights, to sample from."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for parameter, weight in zip(network.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return network.eval().requires_grad_(False)

    # -- the step and its gate --------------------------------------------------------------------------------------

    def _begin(self, execution: Execution) -> None:
        """Have the step that is taken from now on: the very graph that came through the gate, or an uncaptured one."""
        if execution.captured and (self._probed_last is None or self._probed_as != execution):
            # Other processes have a plainer graph than the one that was tried last.
            self._probe(execution)
        probed, self._probed_last = self._probed_last if execution.captured else None, None
        self._step = probed or self._new_step(self.network, execution)
        self.network = self._step.network

    def _new_step(self, network: nn.Module, execution: Execution) -> Step:
        return Step(self.settings, network, self._data, execution=execution, part=self._part, seed=self._seed)

    def _probe(self, execution: Execution) -> Probe:
        """A trial of this way, on a copy: whatever comes of it, the training has not begun."""
        # A graph keeps its memory, and there may be none for two.
        self._probed_last, self._probed_as = None, execution
        step = self._new_step(copy.deepcopy(self.network), execution)
        if not execution.captured:
            self._probed_last = step
            return self._tried(step)
        before = copy.deepcopy(step.state())
        # The same kernels one by one: what the graph is measured against, while they are there.
        one_by_one = self._tried(step)
        step.restore(*before)
        step.capture()
        found = self._tried(step)
        step.restore(*before)
        self._probed_last = step
        return replace(found, one_by_one=one_by_one)

    def _seconds(self) -> float:
        """What a step takes that is computed as the last one that was probed."""
        step, rows = self._probed_last, torch.zeros(self.settings.batch_size, dtype=torch.int64)
        assert step is not None
        before = copy.deepcopy(step.state())

        def again() -> None:
            # A short training has fewer steps than are timed.
            step.optimization.schedule.step.zero_()
            step(rows)

        seconds = seconds_of(again, step.random.device)
        step.restore(*before)
        return seconds

    def _described(self) -> str:
        shape = " x ".join(map(str, self._data.images.shape[1:]))
        network = f"{described(self.network)}, batches of {self.settings.batch_size:,} images of {shape}"
        return f"training of {network}, {where(self.passage.execution.device)}"

    def _tried(self, step: Step) -> Probe:
        return tried(step, self.settings, len(self._data.images), with_effects=self.passage.execution.captured)

    # -- watching and saving ----------------------------------------------------------------------------------------

    def _read_loss(self, step: int) -> None:
        self.final_loss = float(torch.stack(self._unread).mean())
        self._unread.clear()
        if not math.isfinite(self.final_loss):
            self._diverged(f"the training loss became {self.final_loss} before step {step}")

    def _save(self, work: Work, step: int) -> None:
        # The losses since the last reading go along, so that the reported loss does not depend on checkpoints.
        losses = [float(loss) for loss in self._unread]
        arrays, state = self._step.state()
        if not (all(map(math.isfinite, losses)) and are_finite(arrays)):
            self._diverged(f"loss or weights became NaN or infinite before step {step}")
        self._saved_step = step
        seen, remembered = self.held_out.state() if self.held_out else ({}, {})
        probed = {f"{i}.probe-{at}": each for at, of in self._probed.items() for i, each in enumerate(of)}
        remembered |= {"probed": sorted(self._probed)} if self._probed else {}
        whole = {**state, **remembered, **self.passage.state(), "losses": losses}
        work.save(_CHECKPOINT, {**arrays, **seen, **probed}, whole)

    def _restore(self, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> int:
        self._step.restore(arrays, state)
        if self.held_out:
            self.held_out.restore(arrays, state)
        n_weights = len(self._step.optimization.weights())
        for at in state.get("probed", ()):
            self._probed[at] = [arrays[f"{i}.probe-{at}"] for i in range(n_weights)]
        self._unread = [torch.tensor(loss, device=self._data.images.device) for loss in state["losses"]]
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


def tried(step: Step, settings: TrainingSettings, n_images: int, *, with_effects: bool) -> Probe:
    """Outputs and gradients of one step; with effects, also what it and a second one change.

    The first is taken where the learning rate is highest, the second near the end, where it is low.
    """
    rows = torch.arange(settings.batch_size) % n_images
    roughen(step.network)
    step.random.manual_seed(0)
    step.optimization.rescale(_SCALE)
    before = {name: [part.clone() for part in parts] for name, parts in step.optimization.parts().items()}
    first = min(settings.warmup_steps, settings.steps - 1)
    step.optimization.schedule.step.fill_(first)
    found = step(rows)
    # Gradients come back clipped. A factor that they all share would be lost in that.
    stretch = max(1.0, float(step.optimization.norm) / settings.clip_norm)
    gradients = [gradient.float() * stretch for gradient in found.of_parameters]
    predicted = found.predicted.float().clone()
    if not with_effects:
        return Probe(predicted, gradients)
    second = first + (settings.steps - 1 - first) * 3 // 4
    step.optimization.schedule.step.fill_(second)
    step(rows)
    return Probe(predicted, gradients, _effects(step, before, second))


def _effects(step: Step, before: dict[str, list[Tensor]], number: int) -> dict[str, list[Tensor]]:
    moved = {
        name: [now - then for now, then in zip(parts, before[name], strict=True)]
        for name, parts in step.optimization.parts().items()
    }
    return {
        **moved,
        "the step's number": [step.optimization.schedule.step - number],
        "the next random numbers": [torch.rand(8, generator=step.random, device=step.random.device)],
    }
