"""The numbers of docs/choosing-a-selector.md: all selectors and the guard on one pool of images.

``python benchmarks/choosing_a_selector.py mnist_train_12000.npz``: any .npz with at least 6,000 grey or RGB ``images``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import entropick as ep
from entropick.arrays import Features
from entropick.neighbors import nearest_neighbors

N = 3000
TRUSTED, POOL, NOISE, BLENDS = 2000, 4000, 100, 290


def rules() -> dict[str, ep.selectors.Selector]:
    """Every selector, Threshold Decay with three decays."""
    decays = {
        f"ThresholdDecay(decay={decay})": ep.selectors.ThresholdDecay(
            n_samples=N, threshold="auto", decay=decay, random_state=0
        )
        for decay in (0.5, 0.8, 0.95)
    }
    greedy = ep.selectors.Greedy(n_samples=N, random_state=0)
    return {"Random": ep.selectors.Random(n_samples=N, random_state=0), **decays, "Greedy": greedy}


def compare(X: Features) -> None:
    """One line per selector."""
    ep.selectors.Random(n_samples=2).fit(X[:2])  # torch is imported here
    print(f"{N} of {len(X)} rows, {X.shape[1]} features")
    print(f"{'selector':28} {'seconds':>8} {'radius':>8} {'min':>8} {'entropy':>8} {'gain':>7} {'factor':>7}")
    for name, rule in rules().items():
        started = time.perf_counter()
        rule.fit(X)
        seconds = time.perf_counter() - started
        told = ep.selection.appraise(rule, X)
        chosen, factor = told.selection, told.certificate.factor
        print(
            f"{name:28} {seconds:8.1f} {chosen.covering_radius:8.0f} {chosen.min_distance:8.0f} "
            f"{chosen.knn_entropy:8.1f} {told.entropy_gain:7.1f} {factor:7.2f}"
        )


def guard(trusted: Features, good: Features, name: str) -> None:
    """Noise among real images, kept out by a trusted source."""
    noise = np.random.default_rng(0).integers(0, 256, (NOISE, good.shape[1])).astype(np.float32)
    X = np.concatenate([trusted, good, noise])
    source = np.repeat([0, 1, 1], [len(trusted), len(good), NOISE])
    is_noise = np.arange(len(X)) >= len(X) - NOISE
    plain = ep.selectors.Greedy(n_samples=1000, random_state=0).fit(X).indices_
    print(f"{name}, {len(trusted)} trusted, plain greedy: noise {is_noise[plain[:100]].sum()} of the first 100 picks,")
    print(f"  {is_noise[plain].sum()} of 1,000")
    for factor in (1.0, 1.1, 1.2):
        aside = ep.selectors.OutlierGuard(factor=factor).fit(X, source).set_aside_
        n_noise = is_noise[aside].sum()
        print(f"  factor {factor}: {n_noise} of {NOISE} noise, {len(aside) - n_noise} of {len(good)} real set aside")


def weigh(trusted: Features, good: Features, others: Features, name: str) -> None:
    """A quarter of a pool in which there are noise and, nearer to images than that, two images in one.

    Spread: the mean distance of a chosen image to the nearest other one, beside that of as many images at random.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (NOISE, good.shape[1])).astype(np.float32)
    blends = np.maximum(*rng.permutation(others)[: 2 * BLENDS].reshape(2, -1, others.shape[1]))
    X = np.concatenate([trusted, good, noise, blends])
    counts = [len(trusted) + len(good), len(noise), len(blends)]
    kinds, source = np.repeat([0, 1, 2], counts), np.repeat([0, 1], [len(trusted), len(X) - len(trusted)])
    n = len(X) // 4
    greedy = ep.selectors.Greedy(n_samples=n, random_state=0)
    guards = [ep.selectors.OutlierGuard(), ep.selectors.OutlierGuard(quantile=0.9, factor=1.0)]
    print(f"{name}: {n} of {counts[0]} images, {counts[1]} of noise, {counts[2]} of two in one")
    print(f"{'':36} {'noise':>6} {'blends':>7} {'spread':>7}")
    chosen = {
        "Random": ep.selectors.Random(n_samples=n, random_state=0).fit(X).indices_,
        "Greedy": greedy.fit(X).indices_,
    }
    for one in guards:
        kept = one.fit(X, source).kept_
        chosen[f"Greedy, guard {one.quantile} {one.factor}"] = kept[greedy.fit(X[kept]).indices_]
    for quantile in (0.5, 0.9):
        for power in (1.0, 2.0, 4.0):
            rule = ep.selectors.DensityGreedy(n_samples=n, quantile=quantile, power=power, random_state=0)
            chosen[f"DensityGreedy, quantile {quantile} power {power}"] = rule.fit(X, source).indices_
    for label, rows in chosen.items():
        taken = rows[kinds[rows] == 0]
        alike = rng.permutation(counts[0])[: len(taken)]
        spread, usual = (nearest_neighbors(X[at], X[at], exclude_self=True).distances.mean() for at in (taken, alike))
        _, n_noise, n_blends = np.bincount(kinds[rows], minlength=3)
        print(f"{label:36} {n_noise:6} {n_blends:7} {spread / usual:7.2f}")


if __name__ == "__main__":
    features = ep.features.Pixels().extract(np.load(Path(sys.argv[1]), allow_pickle=False)["images"])
    compare(features)
    order = np.random.default_rng(0).permutation(len(features))
    for m in (500, TRUSTED):
        guard(features[order[:m]], features[order[TRUSTED : TRUSTED + POOL]], "alike")
    # scikit-learn's digits come in the order of their writers: the trusted ones wrote nothing of the rest.
    digits = load_digits().data.astype(np.float32) * np.float32(255 / 16)
    guard(digits[:597], digits[597:], "other writers")
    weigh(
        features[order[:TRUSTED]], features[order[TRUSTED : TRUSTED + POOL]], features[order[TRUSTED + POOL :]], "given"
    )
    digits = np.random.default_rng(0).permutation(digits)
    weigh(digits[:600], digits[600:1200], digits[1200:], "digits")
