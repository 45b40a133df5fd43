"""When a training is to stop: as soon as images that were kept from it are denoised as well as they ever will be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.arrays import Floats, Images, Integers
from entropick.diffusion.optimization import to_numpy
from entropick.diffusion.process import NoiseTable
from entropick.errors import InputError
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

# A tenth of the training set, so few that it is hardly missed; and so many that one odd image does not decide.
_SHARE = 10
_LEAST, _MOST = 8, 2048
# A loss over 1,024 draws is known to about 1 %; a look at it costs as much as three steps of 128 images.
_DRAWS = 1024
_CHUNK = 256
# Noise levels at which a single image's loss is looked at.
_LEVELS = 16
# Looks are at multiples of this, four to a doubling.
EVERY = 50
_PER_DOUBLING = 4
# A loss that has not fallen since half the steps is not going to. The first steps say nothing about that.
_LEAST_STEPS = 1000
_STREAM = "held-out"


@dataclass(frozen=True)
class TrainingSet:
    """uint8 images ``(n, h, w, c)`` and, for a conditional network, their class numbers below `n_classes`."""

    images: Images
    classes: Integers | None = None
    n_classes: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Integers) -> TrainingSet:
        """Some of the images, with their classes."""
        return replace(self, images=self.images[rows], classes=None if self.classes is None else self.classes[rows])

    def split(self, stream: RandomStream) -> tuple[TrainingSet, TrainingSet]:
        """What is trained on, and a tenth that is held out (8 images at least, 2,048 at most), in their order.

        Copies of an image are on the same side: one that is trained on is not held out. InputError where there are
        too few different images.
        """
        n_held_out = min(max(len(self) // _SHARE, _LEAST), _MOST)
        same = [hashlib.sha256(image.tobytes()).digest() for image in np.ascontiguousarray(self.images)]
        _, image_of = np.unique(np.array(same), return_inverse=True)
        order = replace(stream, stage=_STREAM).rng().permutation(image_of.max() + 1)
        # Whole groups of copies, in a random order, until there are enough.
        sizes = np.bincount(image_of)[order]
        held_out = np.isin(image_of, order[: np.searchsorted(np.cumsum(sizes), n_held_out) + 1])
        if (n_left := int(np.count_nonzero(~held_out))) < _LEAST:
            raise InputError(
                f"steps: 'auto' expected at least {_LEAST} images to train on beside {_LEAST} that are held out, got "
                f"{len(self)} with {len(sizes)} different ones, which leaves {n_left}. Give steps as a number."
            )
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))


def check_enough(n_images: int) -> None:
    """Raise InputError for fewer images than are needed to train on some and hold out others."""
    if n_images < 2 * _LEAST:
        raise InputError(
            f"steps: 'auto' expected training sets of at least {2 * _LEAST} images, {_LEAST} to train on and {_LEAST} "
            f"that are held out, got {n_images}. Give steps as a number, or more images."
        )


@torch.no_grad()
def image_losses(
    network: nn.Module,
    data: TrainingSet,
    timesteps: int,
    *,
    stream: RandomStream,
    device: torch.device,
    work: Work,
) -> Floats:
    """Mean squared error of the predicted noise of each image (n,), over noise levels spread evenly over all of them.

    At each level every image sees the same noise, drawn on the host, so that images differ by themselves alone. In
    float32, whatever the training computed in.
    """
    table, n_levels = NoiseTable.build(timesteps, device), min(_LEVELS, timesteps)
    levels = (2 * np.arange(n_levels) + 1) * timesteps // (2 * n_levels)
    height, width, channels = data.images.shape[1:]
    noises = []
    for level in range(n_levels):
        random = torch.Generator().manual_seed(replace(stream, stage=f"{stream.stage}/losses").integer(chunk=level))
        noises.append(torch.randn((1, channels, height, width), generator=random).to(device))
    found = np.zeros(len(data))
    for start in range(0, len(data), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(data)))
        images = torch.from_numpy(np.ascontiguousarray(data.images[part])).to(device)
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        classes = None if data.classes is None else torch.from_numpy(data.classes[part]).to(device)
        for level, noise in zip(levels.tolist(), noises, strict=True):
            timestep = torch.full((len(x),), level, dtype=torch.int64, device=device)
            drawn = noise.expand_as(x)
            predicted = network(table.add_noise(x, drawn, timestep), timestep, classes)
            found[part] += to_numpy((predicted - drawn).square().mean(dim=(1, 2, 3))).astype(np.float64) / n_levels
        work.progress(part.stop, len(data), "denoising losses")
    return found


def looks(max_steps: int) -> list[int]:
    """The steps after which the held-out loss is looked at: multiples of 50, four to a doubling, and the last one.

    >>> looks(1000)
    [50, 100, 150, 200, 250, 300, 400, 500, 600, 750, 900, 1000]
    """
    found = [EVERY]
    while found[-1] < max_steps:
        further = math.ceil(found[-1] * 2 ** (1 / _PER_DOUBLING) / EVERY) * EVERY
        found.append(max(further, found[-1] + EVERY))
    return [*(step for step in found if step < max_steps), max_steps]


def least_steps(max_steps: int, warmup_steps: int) -> int:
    """How many steps are taken in any case: 1,000, and twice the warm-up, or all that there may be."""
    return next(step for step in looks(max_steps) if step >= min(max_steps, max(_LEAST_STEPS, 2 * warmup_steps)))


@dataclass
class HeldOutLoss:
    """Looks at the loss of held-out images, remembers the best weights, and tells when to stop.

    Every look sees the same noise at the same noise levels, which are drawn once: what changes is the network alone. It
    is computed in float32, whatever the training computes in.

    Attributes
    ----------
    data
        The held-out images.
    max_steps, warmup_steps, timesteps
        As in `TrainingSettings`.
    stream
        Of the training.
    device
        Where it is computed.
    losses
        (step, loss) of every look so far.
    """

    data: TrainingSet
    max_steps: int
    warmup_steps: int
    timesteps: int
    stream: RandomStream
    device: torch.device
    losses: list[tuple[int, float]] = field(default_factory=list, init=False)
    _best: list[Tensor] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._looks = frozenset(looks(self.max_steps))
        self._least_steps = least_steps(self.max_steps, self.warmup_steps)
        self._table = NoiseTable.build(self.timesteps, self.device)
        self._draws = self._drawn()

    @property
    def best(self) -> tuple[int, float]:
        """The step whose weights have the least loss, the earliest of equals, and that loss."""
        return min(self.losses, key=lambda look: look[1])

    def is_due(self, step: int) -> bool:
        """Whether there is a look after this step."""
        return step in self._looks

    def look(self, step: int, network: nn.Module, weights: Sequence[Tensor], work: Work) -> bool:
        """Look at `weights`, a copy of which is put into `network`; return whether the training is to stop here."""
        with torch.no_grad():
            for parameter, weight in zip(network.parameters(), weights, strict=True):
                parameter.copy_(weight)
        loss = self._loss(network.eval(), work)
        if not self.losses or loss < self.best[1]:
            self._best = [weight.detach().clone() for weight in weights]
        self.losses.append((step, loss))
        return step >= self._least_steps and step >= 2 * self.best[0]

    def best_weights(self) -> list[Tensor]:
        """The weights with the least loss, parameter by parameter."""
        return self._best

    def values(self) -> dict[str, Any]:
        """For the ledger: the steps behind the weights that are kept, those taken, and what was seen of the loss."""
        taken, (best, loss) = self.losses[-1][0], self.best
        return {
            "n_steps": best,
            "n_steps_taken": taken,
            "n_held_out": len(self.data),
            "held_out_loss": loss,
            "held_out_losses": [[step, round(loss, 6)] for step, loss in self.losses],
            # Where the maximum ended it, more steps might have been better.
            "stopped_by": "held-out loss" if taken >= 2 * best and taken >= self._least_steps else "max_steps",
        }

    def state(self) -> tuple[Arrays, State]:
        """All that is remembered, for a checkpoint."""
        arrays = {f"{index}.best": to_numpy(weight) for index, weight in enumerate(self._best)}
        return arrays, {"held_out_losses": [list(look) for look in self.losses]}

    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> None:
        """Become what `state` described."""
        self.losses = [(int(step), float(loss)) for step, loss in state["held_out_losses"]]
        n_weights = sum(name.endswith(".best") for name in arrays)
        self._best = [torch.tensor(arrays[f"{index}.best"], device=self.device) for index in range(n_weights)]

    def _drawn(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of images, each as often as any other, and noise levels spread evenly over all of them."""
        n_draws = -(-_DRAWS // len(self.data)) * len(self.data)
        levels = (np.arange(n_draws) * self.timesteps + self.timesteps // 2) // n_draws
        rng = replace(self.stream, stage=_STREAM).rng(chunk=1)
        return np.arange(n_draws) % len(self.data), rng.permutation(levels).astype(np.int64)

    @torch.no_grad()
    def _loss(self, network: nn.Module, work: Work) -> float:
        """Mean squared error of the predicted noise; processes that share the work take chunks of the draws each."""
        starts = range(0, len(self._draws[0]), _CHUNK)
        own = [self._errors(network, start) for start in starts[work.share(len(starts))]]
        errors = np.concatenate([chunk for part in work.gather(own) for chunk in part])
        return float(errors.mean())

    def _errors(self, network: nn.Module, start: int) -> NDArray[np.float64]:
        rows, levels = (draws[start : start + _CHUNK] for draws in self._draws)
        images = torch.from_numpy(self.data.images[rows]).to(self.device)
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        timestep = torch.from_numpy(levels).to(self.device)
        # Drawn on the host: the same on every machine.
        random = torch.Generator().manual_seed(replace(self.stream, stage=_STREAM).integer(chunk=2 + start))
        noise = torch.randn(x.shape, generator=random).to(self.device)
        classes = None if self.data.classes is None else torch.from_numpy(self.data.classes[rows]).to(self.device)
        predicted = network(self._table.add_noise(x, noise, timestep), timestep, classes)
        return to_numpy((predicted - noise).square().mean(dim=(1, 2, 3))).astype(np.float64)
