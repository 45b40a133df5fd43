"""The numbers of docs/what-do-the-numbers-mean.md.

``python benchmarks/what_the_numbers_mean.py mnist_train_12000.npz mnist_test_2000.npz``: .npz files with ``images``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from entropick.arrays import Features
from entropick.metrics import authpct, copying, knn_entropy
from entropick.neighbors import nearest_neighbors

N_POINTS = 2000
SPLITS = 60
NOISE = (1, 3, 10, 20, 30, 40)


def bias() -> None:
    """Estimate minus truth on a Gaussian and on a cube, k = 1, mean of three draws."""
    print(f"entropy estimate minus truth, {N_POINTS} points, k = 1, nats")
    for d in (1, 2, 4, 8, 16, 32, 64, 384, 3072):
        draws = [np.random.default_rng([d, seed]) for seed in range(3)]
        gauss = np.mean([knn_entropy(rng.normal(size=(N_POINTS, d))) for rng in draws])
        cube = np.mean([knn_entropy(rng.uniform(size=(N_POINTS, d))) for rng in draws])
        print(f"  d = {d:5}: Gaussian {gauss - d / 2 * math.log(2 * math.pi * math.e):8.1f}, cube {cube:8.1f}")


def rules(G: Features, training: Features, reference: Features) -> dict[str, float]:
    """The share that each rule calls copies; the last two are alternatives from the literature."""
    found = copying(generated=G, training=training, reference=reference)
    near = nearest_neighbors(G, training, k=50).distances
    return {
        "ratio": found.ratio,
        "near_copy_rate": found.near_copy_rate,
        "1 - authpct": 1 - authpct(generated=G, training=training),
        "Carlini, 50 neighbours, 0.5": float(np.mean(near[:, 0] < 0.5 * near.mean(axis=1))),
        "below baseline / 2": float(np.mean(found.distances < found.baseline / 2)),
    }


def copies(name: str, training: Features, reference: Features, fresh: Features) -> None:
    """What the rules say of fresh images and of training images with noise added."""
    print(f"{name}: {len(training)} training, {len(reference)} reference images")
    show("fresh images", rules(fresh, training, reference))
    rng = np.random.default_rng(0)
    for sd in NOISE:
        noisy = training[:500] + rng.normal(scale=sd, size=(500, training.shape[1]))
        show(f"noise of {sd} levels", rules(np.clip(np.rint(noisy), 0, 255).astype(np.float32), training, reference))


def show(what: str, values: dict[str, float]) -> None:
    """One line."""
    print(f"  {what:20}" + "  ".join(f"{name} {value:.3f}" for name, value in values.items()))


def false_alarms(split: Callable[[int], tuple[Features, Features, Features]]) -> None:
    """The rate of near copies among fresh images over many splits."""
    rates = []
    for seed in range(SPLITS):
        training, reference, fresh = split(seed)
        rates.append(copying(generated=fresh, training=training, reference=reference).near_copy_rate)
    print(f"  false alarms over {SPLITS} splits: mean {np.mean(rates):.4f}, largest {max(rates):.4f}")


def images(path: str) -> Features:
    """The images of a file as rows, 0..255."""
    pixels: NDArray[np.uint8] = np.load(path, allow_pickle=False)["images"]
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def digits(seed: int) -> tuple[Features, Features, Features]:
    """scikit-learn's 8x8 digits in random order: 900 training images, 450 reference images, the rest fresh."""
    rows = np.rint(load_digits().data * 255 / 16).astype(np.float32)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    return rows[:900], rows[900:1350], rows[1350:]


if __name__ == "__main__":
    train, test = (images(path) for path in sys.argv[1:3])
    bias()
    copies("first file and second", train[:3000], train[3000:4000], test[:1000])
    copies("digits", *digits(0))
    false_alarms(digits)
