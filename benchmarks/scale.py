"""A large pool in shards of float16: time and peak memory of each engine, and whether all choose the same rows.

    python benchmarks/scale.py --rows 1000000 --picks 20000 --shards 16 --engines here ray:1 ray:2 ray:3 --kills 10
    python benchmarks/scale.py --rows 4000000 --picks 20000 --shards 16 --engines here ray:2 --memory 3G

`here` is one process with all threads; `processes:N` and `ray:N` have N workers. With `--kills` as many of them are
ended by SIGKILL on the way, at rounds spread evenly over the picks. Shards are made once, in a folder that stays, and
stay in their files. The floor is a product of float32 matrices of all rows by all picks, at the rate of a short one
measured beforehand with all threads. Memory is the peak of what all processes have together as their own
(proportional shares, Linux), looked at twice a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
# Rows that are made, and multiplied for the floor, at once.
BLOCK = 50_000
KINDS = ("normal", "clusters", "near copies")


def block_of(kind: str, number: int, n: int, width: int) -> np.ndarray:
    """The rows of one block, float16: the same ones for every size of a pool."""
    rng = np.random.default_rng((SEED, number))
    X = rng.standard_normal((n, width), dtype=np.float32)
    if kind == "clusters":
        centers = np.random.default_rng(SEED).standard_normal((1000, width), dtype=np.float32)
        X = centers[rng.integers(1000, size=n)] * 2 + X * 0.5
    elif kind == "near copies":
        X[n // 2 :] = X[: n - n // 2] * np.float32(1 + 1e-3)
    return X.astype(np.float16)


def make_shards(folder: Path, kind: str, rows: int, width: int, shards: int) -> list[Path]:
    """The files of the pool, made where they are not there yet."""
    place = folder / f"{kind.replace(' ', '-')}-{rows}x{width}-in-{shards}"
    place.mkdir(parents=True, exist_ok=True)
    ends = np.linspace(0, rows, shards + 1).astype(int).tolist()
    files = [place / f"part-{number:04d}.npy" for number in range(shards)]
    for file, start, stop in zip(files, ends[:-1], ends[1:], strict=True):
        if file.exists():
            continue
        partial = file.with_suffix(".partial")
        out = np.lib.format.open_memmap(partial, "w+", np.float16, (stop - start, width))
        at = start
        while at < stop:
            number, inside = divmod(at, BLOCK)
            n = min(BLOCK - inside, stop - at)
            out[at - start : at - start + n] = block_of(kind, number, BLOCK, width)[inside : inside + n]
            at += n
        out.flush()
        del out
        partial.rename(file)
    return files


def floor_seconds(rows: int, width: int, picks: int) -> float:
    """What the float32 product of all rows by all picks takes here."""
    import torch

    a, b = torch.randn(BLOCK, width), torch.randn(1000, width)
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(a, b.T)
        best = min(best, time.perf_counter() - started)
    return float(best) * rows / BLOCK * picks / 1000


@contextlib.contextmanager
def watched() -> Iterator[list[int]]:
    """The peak, in bytes, of the memory of this process and all that come from it."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], sum(map(own_bytes, family())))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def family() -> list[int]:
    """The numbers of this process and of all its descendants."""
    parents = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def own_bytes(pid: int) -> int:
    """What a process has, of what it shares its share."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def choose(files: list[Path], picks: int, engine: str, kills: int, memory: int | None) -> dict[str, Any]:
    """One selection: the rows, seconds with and without the start of workers, and the peak of memory."""
    from entropick.arrays import FileRows
    from entropick.processes.engine import Engine
    from entropick.processes.hardware import limited_memory
    from entropick.selectors import Greedy
    from entropick.selectors.workers import dealt
    from entropick.work import Work

    class Killing(Work):
        """Ends one worker after another."""

        def __init__(self, carrier: Any) -> None:
            self.carrier, self.killed = carrier, 0

        def progress(self, done: int, total: int, note: str = "") -> None:
            if self.killed < kills and done >= (self.killed + 1) * total / (kills + 1):
                pids = self.carrier.pids
                os.kill(pids[self.killed % len(pids)], signal.SIGKILL)
                self.killed += 1

    kind, _, workers = engine.partition(":")
    X = FileRows([np.load(file, mmap_mode="r") for file in files])
    started = time.perf_counter()
    with limited_memory(memory), watched() as peak, contextlib.ExitStack() as stack:
        rows: Any = X
        work = Work()
        if kind != "here":
            rows = stack.enter_context(dealt(X, Engine(kind, int(workers)), Path("unused")))
            work = Killing(rows.carrier)
        ready = time.perf_counter()
        selector = Greedy(n_samples=picks, initial=[0]).fit(rows, work=work)
        ended = time.perf_counter()
    return {
        "engine": engine,
        "killed": getattr(work, "killed", 0),
        "seconds": ended - ready,
        "seconds with the start": ended - started,
        "peak bytes": peak[0],
        "covering radius": selector.covering_radius_,
        "rows": selector.indices_,
    }


def main() -> None:
    """Run and print what is asked for."""
    from entropick.cli.flags import parse_bytes

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--picks", type=int, default=2_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--kind", choices=KINDS, default="normal")
    parser.add_argument("--engines", nargs="+", default=["here", "processes:2", "ray:2"])
    parser.add_argument("--kills", type=int, default=0, help="workers that are killed on the way")
    parser.add_argument("--memory", help="what all processes together may use, for instance 3G")
    parser.add_argument("--folder", type=Path, default=Path("shards"), help="where the pool lies")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    asked = parser.parse_args()
    files = make_shards(asked.folder, asked.kind, asked.rows, asked.width, asked.shards)
    floor = floor_seconds(asked.rows, asked.width, asked.picks)
    size = asked.rows * asked.width * 2
    print(f"{asked.rows:,} x {asked.width} ({asked.kind}, {size / 1e9:.1f} GB of float16) -> {asked.picks:,}")
    print(f"floor: {floor:.1f} s", flush=True)
    results = []
    for engine in asked.engines:
        memory = None if asked.memory is None else parse_bytes(asked.memory)
        found = choose(files, asked.picks, engine, asked.kills, memory)
        found["same rows"] = not results or bool(np.array_equal(found["rows"], results[0]["rows"]))
        results.append(found)
        print(
            f"{engine:12} {found['seconds']:8.1f} s  {found['seconds'] / floor:5.2f} x floor"
            f"  {found['peak bytes'] / 2**30:5.2f} GiB  {found['killed']} killed"
            f"  {'same rows' if found['same rows'] else 'OTHER ROWS'}",
            flush=True,
        )
    if asked.out is not None:
        plain = [{key: value for key, value in found.items() if key != "rows"} for found in results]
        about = {**vars(asked), "folder": str(asked.folder), "out": str(asked.out)}
        about |= {"floor seconds": floor, "machine": platform.processor(), "cores": os.cpu_count()}
        asked.out.write_text(json.dumps({"asked": about, "results": plain}, indent=1) + "\n")
    sys.exit(0 if all(found["same rows"] for found in results) else 1)


if __name__ == "__main__":
    main()
