"""What ``torchrun`` starts: each rank; the leader trains and samples models together with the others.

engine.py FOLDER    writes NAME.npz for each of `MODELS`: its weights, images, and numbers of its training
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from entropick.errors import BudgetSpent
from entropick.generators import DDPM
from entropick.processes.ranks import ALONE, joined
from entropick.random_stream import RandomStream
from entropick.work import Work

TRAIN, SAMPLE = RandomStream(1, 2, "train"), RandomStream(1, 2, "sample")
IMAGES = np.random.default_rng(0).integers(0, 256, (31, 6, 6, 1), dtype=np.uint8)
LABELS = np.arange(31) % 3
# Neither the batch nor the images divide by 2 and 3, and the last chunk is incomplete.
N_SAMPLED, STOPS = 37, (1, 20, 41)
TINY = {"width": 16, "depth": 1, "steps": 40, "batch_size": 13, "warmup_steps": 5, "learning_rate": 1e-3}
TINY |= {"sampling_steps": 6, "sampling_chunk": 8, "precision": "float32", "device": "cpu"}
CLASSES = {"conditional": True, "guidance": 1.5, "label_dropout": 0.3, "label_shares": "training"}
MODELS = {
    "mlp": DDPM(network="mlp", **TINY),
    "everything": DDPM(network="mlp", flips=True, ema=0.9, **TINY, **CLASSES),
    "bfloat16": DDPM(network="mlp", **{**TINY, "precision": "bfloat16"}),
    "unet": DDPM(network="unet", **{**TINY, "steps": 4, "batch_size": 5}),
}


class Stopping(Work):
    """Keeps checkpoints, asks for one at every chance, and stops at some."""

    def __init__(self, *stops):
        self.kept, self.stops, self.n_saved = {}, stops, 0

    def due(self):
        return True

    def save(self, name, arrays, state):
        self.kept[name] = (dict(arrays), state)
        self.n_saved += 1
        if self.n_saved in self.stops:
            raise BudgetSpent

    def load(self, name):
        return self.kept.get(name)


def fitted(model, *, work):
    return DDPM(**model.get_params()).fit(IMAGES, LABELS, stream=TRAIN, work=work)


def sampled(model, arrays, state, n, *, work):
    return DDPM(**model.get_params()).restore(arrays, state).sample(n, stream=SAMPLE, work=work)


def through(work, function, *args):
    """The function's result, called again after every stop."""
    while True:
        try:
            return work.together(function, *args)
        except BudgetSpent:
            continue


def made(model, ranks=ALONE, stops=()):
    """A trained model's weights and state, its images, and the numbers of its training."""
    work = ranks.sharing(Stopping(*stops))
    trained = through(work, fitted, model)
    weights, state = trained.state()
    images = through(work, sampled, model, weights, state, N_SAMPLED)
    return weights, state, images, trained.training_values()


def main():
    with joined() as ranks:
        if ranks.rank:
            ranks.follow()
        else:
            make_all(Path(sys.argv[1]), ranks)
            ranks.dismiss(0)
    ranks.leave(0)


def make_all(folder, ranks):
    for name, model in MODELS.items():
        for stops in ((), STOPS):
            weights, _, images, numbers = made(model, ranks, stops)
            path = folder / f"{name}{'-stopped' if stops else ''}.npz"
            np.savez(path, **weights, images=images, numbers=str(numbers))


if __name__ == "__main__":
    main()
