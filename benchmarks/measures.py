"""The neighbour kernel, side by side with scikit-learn's brute force: time and peak memory, each in its own process.

    python benchmarks/measures.py --threads 2 --out benchmarks/results/measures.json

The floor is one float32 matrix product of all queries by all points, in tiles, on the same threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
# Queries, points and columns; the pixels are the first images of a file.
CASES = {"features": (32_768, 32_768, 384), "pixels": (8_192, 8_192, 3_072)}
PIXELS = "cifar10_train_32768.npz"


def load(case: str, data: Path) -> tuple[Array, Array]:
    """Queries and points, float32."""
    n, m, d = CASES[case]
    if case == "features":
        X = np.random.default_rng(0).standard_normal((n + m, d), dtype=np.float32)
    else:
        X = np.load(data / PIXELS, allow_pickle=False)["images"][: n + m].reshape(n + m, -1).astype(np.float32)
    return X[:n], X[n:]


def entropick(queries: Array, points: Array) -> Array:
    """This package: exact, as in float64."""
    from entropick.neighbors import nearest_neighbors

    return nearest_neighbors(queries, points).indices[:, 0]


def scikit_learn(queries: Array, points: Array) -> Array:
    """scikit-learn's brute force on float32."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points).kneighbors(queries)
    return found[1][:, 0]


def matrix_product(queries: Array, points: Array) -> None:
    """The floor."""
    import torch

    a, b = torch.from_numpy(queries), torch.from_numpy(points)
    tile = torch.empty(2048, 4096)
    for row in range(0, len(a), 2048):
        for column in range(0, len(b), 4096):
            torch.mm(a[row : row + 2048], b[column : column + 4096].T, out=tile)


CONTESTANTS = {"entropick": entropick, "scikit-learn": scikit_learn, "matrix product (floor)": matrix_product}


def run_one(case: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one contestant in this process, the best of two, and check a few of its neighbours in float64."""
    import torch
    from scipy.spatial.distance import cdist

    torch.set_num_threads(arguments.threads)
    queries, points = load(case, arguments.data)
    CONTESTANTS[name](queries[:2048], points[:4096])
    before, seconds = _peak(), []
    for _ in range(2):
        started = time.perf_counter()
        found = CONTESTANTS[name](queries, points)
        seconds.append(time.perf_counter() - started)
    extra = _peak() - before
    wrong = None if found is None else int((found[:64] != cdist(queries[:64], points).argmin(axis=1)).sum())
    return {"seconds": min(seconds), "extra_bytes": extra, "wrong_of_64": wrong}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_in_process(case: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one contestant in a process of its own."""
    command = [sys.executable, __file__, "--one", case, name, "--threads", str(arguments.threads)]
    threads = {key: str(arguments.threads) for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [*command, "--data", str(arguments.data)], capture_output=True, text=True, env={**os.environ, **threads}
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| | | seconds | times the floor | extra memory |", "| --- | --- | ---: | ---: | ---: |"]
    for case, rows in results.items():
        n, m, d = CASES[case]
        floor = rows["matrix product (floor)"]["seconds"]
        for name, row in rows.items():
            memory = f"{row['extra_bytes'] / 1e6:,.0f} MB"
            size = f"{n:,} in {m:,} x {d:,}"
            lines.append(f"| {size} | {name} | {row['seconds']:.2f} | {row['seconds'] / floor:.2f} | {memory} |")
    return "\n".join(lines)


def main() -> None:
    """Run every contestant on every case, or one of them when asked by the parent process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(*arguments.one, arguments)))
        return
    present = [case for case in CASES if case == "features" or (arguments.data / PIXELS).exists()]
    results = {case: {name: run_in_process(case, name, arguments) for name in CONTESTANTS} for case in present}
    print(table(results))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"threads": arguments.threads, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
