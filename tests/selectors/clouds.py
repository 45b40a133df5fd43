"""Point clouds that are hard on a selector, float32 (n, d) each."""

from __future__ import annotations

import numpy as np


def near_copies(rng, n, d):
    half = rng.normal(size=(n // 2 + 1, d)) * 3
    return rng.permutation(np.concatenate([half, half + rng.normal(size=half.shape) * 1e-4]))[:n]


def clusters(rng, n, d):
    return rng.normal(size=(4, d))[rng.integers(4, size=n)] * 50 + rng.normal(size=(n, d)) * 1e-2


def outliers(rng, n, d):
    X = rng.normal(size=(n, d))
    X[:: max(1, n // 4)] *= 1e4
    return X


def constant_columns(rng, n, d):
    X = np.full((n, d), 7.5)
    X[:, 0] = rng.normal(size=n)
    return X


MAKERS = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "offset": lambda rng, n, d: rng.normal(size=(n, d)) + 1e3,
    "near copies": near_copies,
    "near copies, offset": lambda rng, n, d: near_copies(rng, n, d) + 1e3,
    "copies": lambda rng, n, d: rng.normal(size=(n, d))[rng.integers(max(1, n // 3), size=n)],
    "clusters": clusters,
    "outliers": outliers,
    "constant columns": constant_columns,
    "all the same": lambda rng, n, d: np.full((n, d), 0.1),
    "integer grid": lambda rng, n, d: rng.integers(0, 4, size=(n, min(d, 3))),
    "one-hot": lambda rng, n, d: np.eye(n),
    "sorted line": lambda rng, n, d: np.arange(n)[:, None] * np.ones(d),
    "mirrored": lambda rng, n, d: np.concatenate([a := rng.normal(size=(n // 2 + 1, d)), -a])[:n],
    "far to near": lambda rng, n, d: 0.9 ** np.arange(n)[:, None] * rng.normal(size=(n, d)),
    "huge": lambda rng, n, d: rng.normal(size=(n, d)) * 5e37,
    "tiny": lambda rng, n, d: rng.normal(size=(n, d)) * 1e-40,
}


def cloud(name, n, d, seed=0):
    return MAKERS[name](np.random.default_rng(seed), n, d).astype(np.float32)
