"""One model trained and sampled by several processes: milliseconds per step and per timestep, whatever their number.

    python benchmarks/processes.py
    torchrun --standalone --nproc-per-node=2 benchmarks/processes.py

One thread per process; compare the two on an otherwise idle machine. The global batch is the same in both.
"""

from __future__ import annotations

import numpy as np
import torch

from entropick.generators import DDPM
from entropick.generators.cost import Stopwatch
from entropick.processes.ranks import Ranks, joined
from entropick.work import Work

FIRST, LAST, TIMESTEPS = 4, 14, 10
# Name -> network, image shape, batch of training, images of a sample.
CASES = {
    "unet-48": (DDPM(network="unet", width=48), (32, 32, 3), 16, 16),
    "mlp-1024": (DDPM(network="mlp", width=1024), (28, 28, 1), 128, 512),
    "mlp-256": (DDPM(network="mlp", width=256), (8, 8, 1), 128, 512),
}


def made(name: str, n_chunks: int, *, work: Work) -> None:
    """Train for a few steps and sample: `n_chunks` chunks, and those again."""
    model, shape, batch, n_images = CASES[name]
    model.set_params(steps=LAST, batch_size=batch, sampling_steps=TIMESTEPS, sampling_chunk=n_images // n_chunks)
    model.set_params(precision="float32", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (512, *shape), dtype=np.uint8)
    model.fit(images, work=work).sample(2 * n_images, work=work)


class TwoWatches(Stopwatch):
    """Times training steps from `FIRST` to `LAST` - 1, and the second half of the sample."""

    def __init__(self) -> None:
        super().__init__(FIRST, LAST - 1)
        self._marks = (FIRST, LAST - 1, LAST + 1, LAST + 2)

    def shown(self) -> str:
        """Milliseconds of a step, and of a timestep of all images."""
        step, sample = (self._times[i + 1] - self._times[i] for i in (0, 2))
        return f"{1e3 * step / (LAST - 1 - FIRST):.1f} ms a step, {1e3 * sample / TIMESTEPS:.2f} ms a timestep"


def lead(ranks: Ranks) -> None:
    """Time every case; each process has one chunk of every half of the sample."""
    for name in CASES:
        watch = TwoWatches()
        ranks.sharing(watch).together(made, name, ranks.size)
        print(f"{name}, {ranks.size} process{'es' if ranks.size > 1 else ''}: {watch.shown()}", flush=True)
    ranks.dismiss(0)


def main() -> None:
    """Lead, or help."""
    torch.set_num_threads(1)
    with joined() as ranks:
        if ranks.rank:
            ranks.follow()
        else:
            lead(ranks)
    ranks.leave(0)


if __name__ == "__main__":
    main()
