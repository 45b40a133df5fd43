"""Exact farthest-point selection, side by side: time and peak memory of each contestant in a process of its own.

    python benchmarks/selection.py --threads 2 --out benchmarks/results/selection.json
    python benchmarks/selection.py --threads 2 --cases kinds

Rivals run the way their users would run them. One that would take minutes is timed on its first picks and scaled: its
cost per pick does not change (column "timed on"). A rival that is not installed is left out and named.
The floor is one float32 matrix product of N rows by n picks on the same threads: below it nobody gets who looks at
every row for every pick in float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
# Cases that are no table of contestants: see `run_large`, `run_released` and `run_kind`.
ALONE = ("large", "released", "kinds")
# Where the paper's filter starts, and the factor of each pass.
START, DECAY = 60.0, 0.95
# Runs of what takes a fraction of a second.
REPETITIONS = 5
# The paper's largest pool: rows, columns, picks.
LARGE = (622_592, 384, 32_768)
# Rows, columns and picks of each kind of data, and how often ours and the floor take turns.
OF_KIND, TURNS = (20_000, 384, 10_000), 3


def clustered(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A hundred clusters, as wide as they are far from the middle of all."""
    return rng.standard_normal((100, d))[rng.integers(100, size=n)] + rng.standard_normal((n, d))


def unit_length(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Directions, as of embeddings that are compared by cosines."""
    X = rng.standard_normal((n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def low_rank(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Twenty directions, and a tenth of their spread in all others."""
    return rng.standard_normal((n, 20)) @ rng.standard_normal((20, d)) + 0.1 * rng.standard_normal((n, d))


def near_copies(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Half of the rows, and each again with noise of a thousandth of the spread."""
    half = rng.standard_normal((n // 2, d))
    return rng.permutation(np.concatenate([half, half + 1e-3 * rng.standard_normal(half.shape)]))


KINDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "clustered": clustered,
    "unit length": unit_length,
    "heavy tails": lambda rng, n, d: rng.standard_t(3, size=(n, d)),
    "low rank": low_rank,
    "near copies": near_copies,
}


@dataclass(frozen=True)
class Case:
    """Choose `n_picks` of `n_rows` rows with `n_features` features; from a file where `file` names one."""

    n_rows: int
    n_features: int
    n_picks: int
    file: str = ""

    def load(self, data: Path) -> Array:
        """The rows, float32."""
        if not self.file:
            return np.random.default_rng(0).standard_normal((self.n_rows, self.n_features), dtype=np.float32)
        images = np.load(data / self.file, allow_pickle=False)["images"][: self.n_rows]
        return images.reshape(len(images), -1).astype(np.float32)


CASES = {
    "synthetic": Case(20_000, 384, 10_000),
    "threshold-decay": Case(8_000, 384, 4_000),
    "mnist": Case(12_000, 784, 6_000, "mnist_train_12000.npz"),
    "cifar10": Case(16_384, 3_072, 4_096, "cifar10_train_32768.npz"),
}


def entropick(X: Array, n: int) -> Any:
    """This package."""
    from entropick.selectors import Greedy

    return Greedy(n_samples=n, initial=[0]).fit(X).indices_


def threshold_decay(X: Array, n: int) -> Any:
    """This package's threshold decay, from its own start on."""
    from entropick.selectors import ThresholdDecay

    return ThresholdDecay(n_samples=n, threshold="auto", random_state=0).fit(X).indices_


def released_filter(X: Array, order: Array, n: int, seconds: float = math.inf) -> tuple[list[int], float]:
    """Algorithm 2 the plain way: each candidate against all accepted rows, gathered anew, pass by pass from 60 by 0.95.

    Stops after `seconds`; returns the rows accepted until then, and the time it took.
    """
    accepted, waiting, threshold = [int(order[0])], order[1:].tolist(), START
    started = time.perf_counter()
    while len(accepted) < n:
        left = []
        for row in waiting:
            if len(accepted) == n or time.perf_counter() - started > seconds:
                return accepted, time.perf_counter() - started
            if (np.linalg.norm(X[accepted] - X[row], axis=1) > threshold).all():
                accepted.append(row)
            else:
                left.append(row)
        waiting, threshold = left, threshold * DECAY
    return accepted, time.perf_counter() - started


def plain_torch(X: Array, n: int) -> list[int]:
    """One distance sweep per pick, as in the paper's released code."""
    import torch

    rows = torch.from_numpy(X)
    nearest = torch.full((len(rows),), float("inf"))
    picks = [0]
    while len(picks) < n:
        nearest = torch.minimum(nearest, torch.cdist(rows, rows[picks[-1]][None])[:, 0])
        picks.append(int(nearest.argmax()))
    return picks


def fpsample(X: Array, n: int) -> Any:
    """fpsample's general algorithm; its k-d tree variants refuse more than 8 features."""
    import fpsample

    return fpsample.fps_sampling(X, n, start_idx=0)


def scikit_matter(X: Array, n: int) -> Any:
    """scikit-matter's FPS."""
    from skmatter.sample_selection import FPS

    return FPS(initialize=0, n_to_select=n).fit(X).selected_idx_


def lightly_mundig(X: Array, n: int) -> Any:
    """lightly-mundig's diversifying strategy."""
    from lightly_mundig import Selection

    selection = Selection()
    selection.add_diversifying_strategy(X, 1.0)
    return selection.run_selection([0], len(X), n)


def matrix_product(X: Array, n: int) -> Any:
    """The floor: one product of all rows with n of them, in tiles that a cache-friendly selection would use."""
    import torch

    rows = torch.from_numpy(X)
    tile = torch.empty(len(rows), 1024)
    for start in range(0, n, 1024):
        torch.mm(rows, rows[start : min(start + 1024, n)].T, out=tile[:, : min(1024, n - start)])
    return tile


@dataclass(frozen=True)
class Contestant:
    """Who runs, and on how many picks it is timed (None: all of them)."""

    run: Callable[[Array, int], Any]
    prefix: int | None = None


CONTESTANTS = {
    "entropick": Contestant(entropick),
    "entropick, threshold decay": Contestant(threshold_decay),
    "matrix product (floor)": Contestant(matrix_product),
    "lightly-mundig": Contestant(lightly_mundig, 200),
    "scikit-matter": Contestant(scikit_matter, 200),
    "fpsample": Contestant(fpsample, 200),
    "plain torch loop": Contestant(plain_torch, 200),
}


def run_one(case: Case, contestant: Contestant, data: Path, threads: int) -> dict[str, Any]:
    """Time one contestant in this process."""
    import torch

    torch.set_num_threads(threads)
    X = case.load(data)
    n = min(case.n_picks, contestant.prefix or case.n_picks)
    contestant.run(X[:500].copy(), 50)  # imports, thread pools and the like are not what is compared
    before = _peak()
    started = time.perf_counter()
    contestant.run(X, n)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds * case.n_picks / n,
        "timed_on": n,
        "extra_bytes": _peak() - before,
        "data_bytes": X.nbytes,
    }


def run_large(threads: int) -> dict[str, float]:
    """Choose from the paper's largest pool, a memory map on the disk, in this process."""
    import torch

    from entropick.selectors import Greedy

    torch.set_num_threads(threads)
    n, d, picks = LARGE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
        rng = np.random.default_rng(0)
        for start in range(0, n, 8192):
            X[start : start + 8192] = rng.standard_normal(X[start : start + 8192].shape, dtype=np.float32)
        X.flush()
        del X
        started = time.perf_counter()
        Greedy(n_samples=picks, initial=[0]).fit(np.load(path, mmap_mode="r"))
        return {"seconds": time.perf_counter() - started, "peak_bytes": _peak(), "feature_bytes": 4 * n * d}


def run_released(data: Path, threads: int, seconds: float = math.inf) -> dict[str, float]:
    """The plain filter beside ours, in this process, from the same order; ours to as many rows as it got to in time.

    The filter runs once, it takes long enough; ours is the median of a few runs, the first of them included.
    """
    import torch

    from entropick.selectors import ThresholdDecay

    torch.set_num_threads(threads)
    case = CASES["threshold-decay"]
    X = case.load(data)
    order = np.random.default_rng(0).permutation(len(X))
    accepted, released = released_filter(X, order, case.n_picks, seconds)

    def ours(n: int) -> tuple[Array, float]:
        times = []
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            rows = ThresholdDecay(n_samples=n, threshold=START, decay=DECAY, random_state=0).fit(X).indices_
            times.append(time.perf_counter() - started)
        return rows, float(np.median(times))

    rows, prefix = ours(len(accepted))
    facts = {"released": released, "accepted": len(accepted), "ours": prefix, "ratio": released / prefix}
    return {**facts, "same_rows": float((rows == accepted).all()), "ours_all": ours(case.n_picks)[1]}


def run_kind(kind: str, threads: int) -> dict[str, float]:
    """Ours and the floor in turn on one kind of data, medians, and the plain loop on its first picks, in this process.

    The first turn, in which products of new shapes are compiled, counts as the others do.
    """
    import torch

    torch.set_num_threads(threads)
    n_rows, width, n_picks = OF_KIND
    X = KINDS[kind](np.random.default_rng(0), n_rows, width).astype(np.float32)
    entropick(X[:500].copy(), 50)
    matrix_product(X[:500].copy(), 50)
    ours, floor = [], []
    for _ in range(TURNS):
        for run, times in ((matrix_product, floor), (entropick, ours)):
            started = time.perf_counter()
            run(X, n_picks)
            times.append(time.perf_counter() - started)
    prefix = CONTESTANTS["plain torch loop"].prefix or n_picks
    started = time.perf_counter()
    plain_torch(X, prefix)
    plain = (time.perf_counter() - started) * n_picks / prefix
    return {"entropick": float(np.median(ours)), "floor": float(np.median(floor)), "plain loop": plain}


def run_kinds(threads: int) -> dict[str, dict[str, float]]:
    """All kinds, each in a process of its own, as a table."""
    found: dict[str, dict[str, float]] = {}
    told = "| kind | entropick, s | floor, s | times the floor | plain loop, s | times as fast as the plain loop |"
    print(f"{told}\n| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for kind in KINDS:
        command = [sys.executable, __file__, "--kind", kind, "--threads", str(threads)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **_limits(threads)}
        )
        of = found[kind] = json.loads(done.stdout.splitlines()[-1])
        ours, floor, plain = (of[name] for name in ("entropick", "floor", "plain loop"))
        print(
            f"| {kind} | {ours:.2f} | {floor:.2f} | {ours / floor:.2f} | {plain:.0f} | {plain / ours:.0f} |", flush=True
        )
    times = [of["entropick"] / of["floor"] for of in found.values()]
    print(f"times the floor: {max(times):.2f} at worst, {np.mean(times):.2f} on average", flush=True)
    return found


def _limits(threads: int) -> dict[str, str]:
    return {key: str(threads) for key in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "MKL_NUM_THREADS")}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_in_process(case: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one contestant in a process of its own; a failure is part of the result."""
    command = [sys.executable, __file__, "--one", case, name, "--threads", str(arguments.threads)]
    done = subprocess.run(
        [*command, "--data", str(arguments.data)],
        capture_output=True,
        text=True,
        env={**os.environ, **_limits(arguments.threads)},
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = []
    for case_name, rows in results.items():
        case, ours = CASES[case_name], rows["entropick"]["seconds"]
        lines += [f"\n**{case_name}**: {case.n_picks:,} of {case.n_rows:,} x {case.n_features}\n"]
        lines += ["| | seconds | ratio to ours | timed on | extra memory |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, row in rows.items():
            if "failed" in row:
                lines.append(f"| {name} | not run: {row['failed']} | | | |")
                continue
            picks = "all" if row["timed_on"] == case.n_picks else f"{row['timed_on']} picks"
            memory = f"{row['extra_bytes'] / 1e6:,.0f} MB"
            lines.append(f"| {name} | {row['seconds']:.2f} | {row['seconds'] / ours:.2f} | {picks} | {memory} |")
    return "\n".join(lines)


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """A chart of seconds per contestant, one panel per case, on a logarithmic scale."""
    import altair as alt

    values = [
        {"case": f"{case}: {CASES[case].n_picks:,} of {CASES[case].n_rows:,}", "name": name, "seconds": row["seconds"]}
        for case, rows in results.items()
        for name, row in rows.items()
        if "seconds" in row
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("seconds:Q", scale=alt.Scale(type="log"), title="seconds (logarithmic)"),
        y=alt.Y("name:N", sort="x", title=None),
    )
    text = base.mark_text(align="left", dx=4).encode(text=alt.Text("seconds:Q", format=",.2~f"))
    chart = (base.mark_point(filled=True, size=70) + text).properties(width=420, height=150)
    chart.facet(row=alt.Row("case:N", title=None, sort=None)).resolve_scale(y="independent").save(path)


def main() -> None:
    """Run every contestant on every case, or one of them when asked by the parent process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--cases", nargs="+", choices=[*CASES, *ALONE], default=[*CASES, *ALONE])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--chart", type=Path, help="an .svg or .png file to draw")
    parser.add_argument("--alone", choices=ALONE, help="one of these, and nothing else")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.kind:
        print(json.dumps(run_kind(arguments.kind, arguments.threads)))
        return
    runs: dict[str, Callable[[], Any]] = {"large": lambda: run_large(arguments.threads)}
    runs["kinds"] = lambda: run_kinds(arguments.threads)
    runs["released"] = lambda: run_released(arguments.data, arguments.threads)
    if arguments.alone:
        print(json.dumps(runs[arguments.alone]()))
        return
    if arguments.one:
        case, name = arguments.one
        print(json.dumps(run_one(CASES[case], CONTESTANTS[name], arguments.data, arguments.threads)))
        return
    cases = [name for name in arguments.cases if name in CASES]
    present = [name for name in cases if not CASES[name].file or (arguments.data / CASES[name].file).exists()]
    results = {case: {name: run_in_process(case, name, arguments) for name in CONTESTANTS} for case in present}
    print(f"{platform.platform()}, {arguments.threads} threads, numpy {np.__version__}", flush=True)
    print(table(results), flush=True)
    for alone in (name for name in arguments.cases if name in runs):
        command = [sys.executable, __file__, "--alone", alone, "--threads", str(arguments.threads)]
        subprocess.run([*command, "--data", str(arguments.data)], check=True)
    if arguments.chart:
        draw(results, arguments.chart)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"threads": arguments.threads, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
