"""What `select` and `score` say that they will take, beside what they then took, for several kinds of pools.

    python benchmarks/forecasts.py
    python benchmarks/forecasts.py --engines processes:1 processes:2 ray:2

Both are processor time on one thread, so that other work on the machine does not count; a forecast times a few products
here and now. Rows are embeddings in memory or in a file: reading and encoding images is not part of a forecast.
With `--engines` choices by workers stand beside what these have measured side by side beforehand, both in seconds that
pass: for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from entropick.cli import main
from entropick.metrics.suite import MEASURES
from entropick.neighbors import search
from entropick.processes.engine import Engine
from entropick.scoring.measuring import measure_space
from entropick.selectors import Greedy
from entropick.selectors.workers import dealt
from entropick.sources import cost
from entropick.work import Work

KINDS = ("normal", "low rank", "pixels")
# Rows of training, generated and reference, columns, kind.
SCORES = (
    (1_000, 1_000, 0, 49_152, "pixels"),
    (1_500, 600, 500, 12_288, "pixels"),
    (2_000, 2_000, 2_000, 3_072, "pixels"),
    (3_000, 3_000, 3_000, 784, "pixels"),
    (5_000, 5_000, 5_000, 384, "low rank"),
    (5_000, 5_000, 5_000, 384, "normal"),
    (20_000, 20_000, 10_000, 128, "low rank"),
)
# Rows, columns, how many are chosen, kind, method.
SELECTIONS = (
    (10_000, 384, 1_000, "low rank", "greedy"),
    (10_000, 384, 5_000, "normal", "greedy"),
    (10_000, 384, 1_000, "low rank", "random"),
    (2_000, 3_072, 1_000, "pixels", "greedy"),
    (500, 49_152, 250, "pixels", "greedy"),
    (40_000, 128, 4_000, "normal", "greedy"),
    (4_000, 384, 2_000, "low rank", "threshold-decay"),
)


# The same of choices by workers: greedy.
DEALT = (
    (100_000, 384, 2_000, "normal"),
    (100_000, 384, 10_000, "normal"),
    (100_000, 384, 10_000, "low rank"),
    (200_000, 128, 5_000, "normal"),
)


def rows(n: int, width: int, kind: str, seed: int) -> np.ndarray:
    """Features (n, width), float32."""
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return rng.standard_normal((n, width), dtype=np.float32)
    axes = np.random.default_rng(7).standard_normal((20, width), dtype=np.float32)
    X = np.empty((n, width), np.float32)
    for start in range(0, n, 500):
        part = X[start : start + 500]
        part[:] = rng.standard_normal((len(part), 20), dtype=np.float32) @ axes
        part += 0.2 * rng.standard_normal(part.shape, dtype=np.float32)
    return np.clip(np.rint(X * 20 + 128), 0, 255) if kind == "pixels" else X


def told(what: str, seconds: float, started: float) -> None:
    """Print a line of the table."""
    took = time.process_time() - started
    print(f"| {what} | {seconds:.2f} | {took:.2f} | {seconds / took:.2f} |", flush=True)


def score(n_training: int, n_generated: int, n_reference: int, width: int, kind: str) -> None:
    """Forecast and measure one score with all measures."""
    sizes = {"training": n_training, "generated": n_generated, "reference": n_reference}
    sets = {role: rows(n, width, kind, i) for i, (role, n) in enumerate(sizes.items()) if n}
    names = [name for name in MEASURES if set(MEASURES[name].roles) <= set(sets)]
    forecast = cost.score_forecast({role: len(X) for role, X in sets.items()}, width, names)
    started = time.process_time()
    measure_space(sets, names, "features", None, Work())
    told(f"score of {n_training:,} / {n_generated:,} / {n_reference:,} x {width:,}, {kind}", forecast.seconds, started)


def select(n: int, width: int, n_samples: int, kind: str, method: str) -> None:
    """Forecast and make one selection, its page included."""
    X = rows(n, width, kind, 0)
    forecast = cost.selection_forecast(n, width, n_samples, method=method)
    with tempfile.TemporaryDirectory() as folder:
        pool, out = Path(folder, "pool.npy"), Path(folder, "out")
        np.save(pool, X)
        started = time.process_time()
        main(["select", f"pool={pool}", "--n", str(n_samples), "--method", method, "--out", str(out), "--quiet"])
        told(f"{method}, {n_samples:,} of {n:,} x {width:,}, {kind}", forecast.seconds, started)


def choose(n: int, width: int, n_samples: int, kind: str, engine: str) -> None:
    """Forecast and make one choice by the workers of an engine."""
    X = rows(n, width, kind, 0)
    with tempfile.TemporaryDirectory() as folder, dealt(X, as_engine(engine), Path(folder, "pool.rows")) as pool:
        sizes = [len(part.numbers) for part in pool.parts]
        speeds, _ = zip(*pool.carrier.call("condition"), strict=True)
        forecast, started = cost.workers_seconds(speeds, sizes, n_samples), time.perf_counter()
        Greedy(n_samples=n_samples, initial=[0]).fit(pool)
        took = time.perf_counter() - started
    what = f"greedy with {engine}, {n_samples:,} of {n:,} x {width:,}, {kind}"
    print(f"| {what} | {forecast:.2f} | {took:.2f} | {forecast / took:.2f} |", flush=True)


def as_engine(text: str) -> Engine:
    """The engine with so many workers, such as processes:2 or ray:2."""
    kind, _, workers = text.partition(":")
    return Engine(kind, int(workers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="*", default=[])
    asked = parser.parse_args()
    if asked.engines:
        print("| what | forecast, s | took, s | ratio |\n| --- | ---: | ---: | ---: |", flush=True)
        for of_engine in asked.engines:
            for sizes_and_kind in DEALT:
                choose(*sizes_and_kind, of_engine)
        sys.exit()
    torch.set_num_threads(1)
    search.time.perf_counter = cost.time.perf_counter = time.process_time  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        # The first one imports what pages are drawn with.
        np.save(Path(folder, "pool.npy"), rows(50, 8, "normal", 0))
        main(["select", f"pool={folder}/pool.npy", "--n", "5", "--out", f"{folder}/out", "--quiet"])
    print("| what | forecast, s | took, s | ratio |\n| --- | ---: | ---: | ---: |", flush=True)
    for one in SCORES:
        score(*one)
    for other in SELECTIONS:
        select(*other)
