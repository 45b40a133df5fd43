"""What a training and a sample will cost, before they begin: counted operations, and seconds from a short warm-up."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from entropick.diffusion.gate import WORTH_TIMING
from entropick.generators.ddpm import DDPM
from entropick.processes.hardware import usable_device
from entropick.random_stream import RandomStream
from entropick.work import Work

# Forward, and twice that for the gradients of weights and of activations.
_TRAINING_FACTOR = 3
# So many are timed, or where these take less than so many seconds as many more as that takes, up to a bound.
_LEAST_TIMED, _TIMED_SECONDS, _MOST_TIMED = 2, 0.3, 64
_TIMESTEPS = 2
# A processor is busy with this many images; a GPU is measured with the whole chunk.
_MOST_ON_PROCESSOR = 32


# Seconds of a training step and of a sampling timestep, by what computes alike.
Paces = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Cost:
    """One iteration's training and sampling.

    Attributes
    ----------
    n_steps, least_steps
        Gradient steps, and how few there may be: they differ for ``steps="auto"``.
    n_parameters
        Weights of the network.
    training_flops, sampling_flops
        Floating-point operations of matrix products and convolutions, a multiply-add counting as two.
    seconds, least_seconds
        Estimated time of both, from a few measured steps on this machine.
    """

    n_steps: int
    least_steps: int
    n_parameters: int
    training_flops: int
    sampling_flops: int
    seconds: float
    least_seconds: float


def estimate_cost(
    model: DDPM, *, image_shape: tuple[int, int, int], n_training: int, n_generated: int, paces: Paces | None = None
) -> Cost:
    """What one iteration of `model` costs: `n_training` images in, `n_generated` out.

    What was measured is added to `paces`, and taken from there for every model that computes alike.
    """
    model.check()
    paces = {} if paces is None else paces
    labels = np.arange(n_training) % 2 if model.conditional else None
    n_parameters, flops = model.size(image_shape)
    n_steps, least_steps, batch_size = model.n_steps(n_training), model.least_steps(n_training), model.batch_size
    chunk_size = min(model.sampling_chunk, n_generated)
    if torch.device(usable_device(model.device, kinds=None)).type == "cpu":
        chunk_size = min(chunk_size, _MOST_ON_PROCESSOR)
    calls_per_image = model.sampling_steps * (2 if model.guidance else 1)
    images = np.zeros((n_training, *image_shape), np.uint8)
    n_known, precisions = len(paces), dict.fromkeys(str(way.dtype).removeprefix("torch.") for way in model.ways())
    tried = [
        _pace(dataclasses.replace(model, precision=precision), images, labels, chunk_size, paces)
        for precision in (precisions if n_steps >= WORTH_TIMING else (model.precision,))
    ]
    if len(paces) > n_known:
        # Arms may run in other processes of the same GPU, which memory kept for later tensors is lost to.
        gc.collect()
        torch.cuda.empty_cache()
    # A long training takes what is fastest.
    step_seconds, timestep_seconds = (min(seconds) for seconds in zip(*tried, strict=True))
    sampling_seconds = n_generated / chunk_size * model.sampling_steps * timestep_seconds
    return Cost(
        n_steps=n_steps,
        least_steps=least_steps,
        n_parameters=n_parameters,
        training_flops=_TRAINING_FACTOR * flops * n_steps * batch_size,
        sampling_flops=flops * calls_per_image * n_generated,
        seconds=n_steps * step_seconds + sampling_seconds,
        least_seconds=least_steps * step_seconds + sampling_seconds,
    )


def _pace(
    model: DDPM, images: np.ndarray, labels: np.ndarray | None, chunk_size: int, paces: Paces
) -> tuple[float, float]:
    """Seconds of a training step, and of a sampling timestep of one chunk."""
    short = dataclasses.replace(
        model,
        steps=_MOST_TIMED,
        max_steps=None,
        epochs=None,
        sampling_steps=min(_TIMESTEPS, model.timesteps),
        sampling_chunk=chunk_size,
    )
    key = repr((short.describe(), images.shape[1:], min(len(images), short.batch_size)))
    if key not in paces:
        stream = RandomStream(stage="plan")

        def train(n_steps: int, work: Work) -> None:
            short.set_params(steps=n_steps).fit(images, labels, stream=stream, work=work)

        def sample(n_chunks: int, work: Work) -> None:
            short.sample(n_chunks * chunk_size, stream=stream, work=work)

        paces[key] = _seconds_of_one(train, after=2), _seconds_of_one(sample, after=1) / short.sampling_steps
    return paces[key]


def _seconds_of_one(run: Callable[[int, Work], None], *, after: int) -> float:
    """What one of the steps or chunks takes that `run` computes a number of, but for those that warm up."""

    def timed(n: int) -> float:
        watch = Stopwatch(after, after + n)
        run(after + n, watch)
        return watch.seconds

    few = timed(_LEAST_TIMED)
    enough = min(int(_TIMED_SECONDS / few), _MOST_TIMED)
    return timed(enough) if enough > _LEAST_TIMED else few


class Stopwatch(Work):
    """Counts the looks at it, one per training step or sampled chunk, and times those from `first` to `last`."""

    def __init__(self, first: int, last: int) -> None:
        self._marks = (first, last)
        self._count = 0
        self._times: list[float] = []

    def due(self) -> bool:
        """Never; but time passes."""
        self._count += 1
        if self._count in self._marks:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._times.append(time.perf_counter())
        return False

    @property
    def seconds(self) -> float:
        """Of one step or chunk."""
        return (self._times[1] - self._times[0]) / (self._marks[1] - self._marks[0])
