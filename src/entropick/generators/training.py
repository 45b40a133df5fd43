"""The training loop of a DDPM: a pure function of (images, settings, stream), whatever interrupts it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from entropick.errors import TrainingDiverged
from entropick.generators.diffusion import NoiseTable
from entropick.random_stream import RandomStream
from entropick.work import Work

if TYPE_CHECKING:
    from entropick.generators.ddpm import DDPM

_BETAS = (0.95, 0.999)
# Reading the loss makes a GPU wait; every so many steps is enough to watch it.
_LOSS_EVERY = 50
_CHECKPOINT = "training"


class Training:
    """One training from scratch, resumable at any step.

    Batches are consecutive pieces of an endless row of permutations, each a function of its number; timesteps and noise
    come from one torch generator whose state is part of the checkpoint.
    """

    def __init__(
        self, settings: DDPM, network: nn.Module, images: Tensor, *, stream: RandomStream, autocast: torch.autocast
    ) -> None:
        self.settings = settings
        self.network = network.train()
        self.images = images
        self.final_loss = math.nan
        self._unread: list[Tensor] = []
        self._stream = stream
        self._autocast = autocast
        self._table = NoiseTable.build(settings.timesteps, images.device)
        self._random = torch.Generator(images.device).manual_seed(stream.integer(chunk=1))
        self._parameters = list(network.parameters())
        self._average = [parameter.detach().clone() for parameter in self._parameters] if settings.ema else []
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=settings.learning_rate,
            betas=_BETAS,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def run(self, work: Work) -> None:
        """Take all steps that are left, saving checkpoints when `work` says they are due."""
        first_step = self._resume(work)
        for step, rows in enumerate(self._batches(first_step), start=first_step + 1):
            self._unread.append(self._step(step, rows))
            if len(self._unread) == _LOSS_EVERY or step == self.settings.steps:
                self._read_loss(step)
                work.progress(step, self.settings.steps, f"loss {self.final_loss:.4f}")
            if work.due() and step < self.settings.steps:
                self._save(work, step)

    def averaged_network(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for parameter, average in zip(network.parameters(), self._average, strict=False):
                parameter.copy_(average)
        return network.eval().requires_grad_(False)

    def _step(self, step: int, rows: NDArray[np.int64]) -> Tensor:
        self._optimizer.param_groups[0]["lr"] = self._learning_rate(step - 1)
        x = self.images[torch.from_numpy(rows).to(self.images.device)].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        timestep = torch.randint(self.settings.timesteps, (len(x),), generator=self._random, device=x.device)
        noise = torch.randn(x.shape, generator=self._random, device=x.device)
        with self._autocast:
            predicted = self.network(self._table.add_noise(x, noise, timestep), timestep)
        loss = functional.mse_loss(predicted.float(), noise)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, self.settings.clip_norm)
        self._optimizer.step()
        if self._average:
            # A young average leans on the newest weights, or it would remember the random start.
            decay = min(self.settings.ema, step / (step + 10))
            torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1.0 - decay)
        return loss.detach()

    def _batches(self, first_step: int) -> Iterator[NDArray[np.int64]]:
        """The rows of each batch from `first_step` on."""
        n, size = len(self.images), self.settings.batch_size
        epoch, row = divmod(first_step * size, n)
        order = self._order(epoch)
        for _ in range(first_step, self.settings.steps):
            batch = order[row : row + size]
            row += size
            while len(batch) < size:
                epoch, row = epoch + 1, size - len(batch)
                order = self._order(epoch)
                batch = np.concatenate([batch, order[:row]])
            yield batch

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return self._stream.rng(chunk=2 + epoch).permutation(len(self.images))

    def _learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to 0 (the paper's schedule, as in Diffusers)."""
        warmup = self.settings.warmup_steps
        if step < warmup:
            return self.settings.learning_rate * step / warmup
        share = (step - warmup) / max(1, self.settings.steps - warmup)
        return self.settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))

    def _read_loss(self, step: int) -> None:
        self.final_loss = float(torch.stack(self._unread).mean())
        self._unread.clear()
        if not math.isfinite(self.final_loss):
            raise TrainingDiverged(
                f"the training loss became {self.final_loss} before step {step}. Lower learning_rate or clip_norm, or "
                "set precision='float32'; the last good checkpoint is kept."
            )

    def _save(self, work: Work, step: int) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        for index, parameter in enumerate(self._parameters):
            moments = self._optimizer.state[parameter]
            arrays[f"{index}.weight"] = _numpy(parameter)
            arrays[f"{index}.first_moment"] = _numpy(moments["exp_avg"])
            arrays[f"{index}.second_moment"] = _numpy(moments["exp_avg_sq"])
        arrays |= {f"{index}.average": _numpy(average) for index, average in enumerate(self._average)}
        arrays["random"] = _numpy(self._random.get_state())
        # The losses since the last reading go along, so that the reported loss does not depend on checkpoints.
        losses = [float(loss) for loss in self._unread]
        if not all(map(math.isfinite, losses)):
            return  # never keep a diverged state; the next reading of the loss ends the training
        work.save(_CHECKPOINT, arrays, {"step": step, "losses": losses})

    @torch.no_grad()
    def _resume(self, work: Work) -> int:
        saved = work.load(_CHECKPOINT)
        if saved is None:
            return 0
        arrays, state = saved
        for index, parameter in enumerate(self._parameters):
            parameter.copy_(torch.tensor(arrays[f"{index}.weight"]))
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"]), device=parameter.device),
                "exp_avg": torch.tensor(arrays[f"{index}.first_moment"]).to(parameter.device),
                "exp_avg_sq": torch.tensor(arrays[f"{index}.second_moment"]).to(parameter.device),
            }
        for index, average in enumerate(self._average):
            average.copy_(torch.tensor(arrays[f"{index}.average"]))
        self._random.set_state(torch.tensor(arrays["random"]))
        self._unread = [torch.tensor(loss, device=self.images.device) for loss in state["losses"]]
        return int(state["step"])


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
