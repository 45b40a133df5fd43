"""A large pool in shards of float16: time and peak memory of each engine, and whether all choose the same rows.

    python benchmarks/scale.py --rows 1000000 --picks 20000 --shards 16 --engines here ray:1 ray:2 ray:3 --kills 10
    python benchmarks/scale.py --rows 1000000 --picks 20000 --shards 16 --engines here --deal 5 23
    python benchmarks/scale.py --rows 1000000 --picks 20000 --shards 16 --engines ray:2 --driver-kills 10
    python benchmarks/scale.py --rows 1000000 --picks 20000 --shards 16 --engines here --approximate 0.1 \
        --kind "ten of each"
    python benchmarks/scale.py --rows 4000000 --picks 20000 --shards 16 --engines ray:1 ray:2 --memory 3G --parquet

`here` is one process with all threads; `processes:N` and `ray:N` have N workers. With `--kills` as many of them are
ended by SIGKILL on the way, at rounds spread evenly over the picks. With `--deal` the first engine chooses from the
same rows in other numbers of files, of uneven sizes, too. With `--driver-kills` the command itself, `entropick select`
with the first engine, is ended by SIGKILL so often, each time soon after a checkpoint, and repeated; beside it stands
the command left alone. With `--approximate` the first engine chooses from core-sets too. With `--parquet` the shards
are tables, and each engine chooses by the command, whose whole time and memory is told.

Shards are made once, in a folder that stays, and stay in their files. The floor is a product of float32 matrices of all
rows by all picks, at the rate of a short one with all threads, the mean of one before and one after each run. Memory is
the peak of what all processes have together as their own (proportional shares, Linux), looked at twice a second.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import shutil
import signal
import subprocess
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
KINDS = ("normal", "clusters", "near copies", "ten of each")


def block_of(kind: str, number: int, n: int, width: int) -> np.ndarray:
    """The rows of one block, float16: the same ones for every size of a pool."""
    rng = np.random.default_rng((SEED, number))
    X = rng.standard_normal((n, width), dtype=np.float32)
    if kind == "clusters":
        centers = np.random.default_rng(SEED).standard_normal((1000, width), dtype=np.float32)
        X = centers[rng.integers(1000, size=n)] * 2 + X * 0.5
    elif kind == "near copies":
        X[n // 2 :] = X[: n - n // 2] * np.float32(1 + 1e-3)
    elif kind == "ten of each":
        X = np.repeat(X[::10], 10, axis=0)[:n] + np.float32(1e-2) * X
    return X.astype(np.float16)


def make_tables(files: list[Path]) -> list[Path]:
    """The same shards as parquet tables, with an id for each row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, first = [], 0
    place = files[0].parent.with_name(f"{files[0].parent.name}-parquet")
    place.mkdir(exist_ok=True)
    for file in files:
        X = np.load(file, mmap_mode="r")
        tables.append(place / f"{file.stem}.parquet")
        if not tables[-1].exists():
            partial = tables[-1].with_suffix(".partial")
            ids = pa.array([f"image-{row:09d}" for row in range(first, first + len(X))])
            numbers = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(X).reshape(-1)), X.shape[1])
            pq.write_table(pa.table({"id": ids, "embedding": numbers}), partial, row_group_size=BLOCK)
            partial.rename(tables[-1])
        first += len(X)
    return tables


def make_shards(folder: Path, kind: str, rows: int, width: int, shards: int, *, uneven: bool = False) -> list[Path]:
    """The files of the pool, made where they are not there yet."""
    place = folder / f"{kind.replace(' ', '-')}-{rows}x{width}-in-{shards}{'-uneven' if uneven else ''}"
    place.mkdir(parents=True, exist_ok=True)
    ends = np.linspace(0, rows, shards + 1).astype(int).tolist()
    if uneven:
        cuts = np.random.default_rng(shards).choice(np.arange(1, rows), shards - 1, replace=False)
        ends = [0, *sorted(cuts.tolist()), rows]
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
def watched(*, children_only: bool = False) -> Iterator[list[int]]:
    """The peak, in bytes, of the memory of this process and all that come from it, or of these alone."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], sum(map(own_bytes, family()[children_only:])))

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


def choose(
    files: list[Path], picks: int, engine: str, *, kills: int = 0, memory: int | None = None, eps: float | None = None
) -> dict[str, Any]:
    """One selection: the rows, seconds with and without the start of workers, and the peak of memory."""
    from entropick.arrays import FileRows
    from entropick.processes.engine import Engine
    from entropick.processes.hardware import limited_memory
    from entropick.selectors import ApproximateGreedy, Greedy
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
        rule = Greedy(n_samples=picks, initial=[0])
        if eps is not None:
            rule = ApproximateGreedy(n_samples=picks, initial=[0], eps=eps)
        selector = rule.fit(rows, work=work)
        ended = time.perf_counter()
    return {
        "engine": engine if eps is None else f"{engine} ~{eps:g}",
        "killed": getattr(work, "killed", 0),
        "seconds": ended - ready,
        "seconds with the start": ended - started,
        "peak bytes": peak[0],
        "covering radius": selector.covering_radius_,
        "facts": selector.facts_,
        "rows": selector.indices_,
    }


def choose_by_command(files: list[Path], picks: int, engine: str, memory: str | None) -> dict[str, Any]:
    """The same by the command, from the start of its process to its end."""
    out = files[0].parent.with_name("out-command")
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    with watched(children_only=True) as peak:
        subprocess.run(command(files, picks, engine, memory, out, 20.0), check=True)
    took = time.perf_counter() - started
    with (out / "manifest.csv").open(newline="") as stream:
        rows = np.array([int(line["row"]) for line in csv.DictReader(stream)])
    radius = json.loads((out / "selection.json").read_text())["selection"]["covering_radius"]
    return {
        "engine": engine,
        "killed": 0,
        "seconds": took,
        "seconds with the start": took,
        "peak bytes": peak[0],
        "covering radius": radius,
        "rows": rows,
    }


def command(files: list[Path], picks: int, engine: str, memory: str | None, out: Path, every: float) -> list[str]:
    """The command that selects from the files, with a checkpoint every so many seconds."""
    kind, _, workers = engine.partition(":")
    flags = ["select", f"pool={files[0].parent}", "--n", str(picks), "--out", str(out), "--quiet"]
    flags += [] if kind == "here" else ["--engine", kind, "--workers", workers]
    flags += [] if memory is None else ["--memory", memory]
    code = "import sys; from entropick.sources import output; output._SECONDS = float(sys.argv[1]); "
    code += "from entropick.cli import main; sys.exit(main(sys.argv[2:]))"
    return [sys.executable, "-c", code, str(every), *flags]


def kill_drivers(files: list[Path], picks: int, engine: str, memory: str | None, kills: int, folder: Path) -> bool:
    """The command left alone, and the same one ended soon after a checkpoint, so often, and repeated: whether both
    choose the same rows."""
    places = {name: folder / f"out-{name}" for name in ("alone", "killed")}
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(command(files, picks, engine, memory, places["alone"], 20.0), check=True)
    alone = time.perf_counter() - started
    n_killed, rng, started = 0, np.random.default_rng(SEED), time.perf_counter()
    while True:
        every = max(0.5, alone / (3 * kills))
        process = subprocess.Popen(command(files, picks, engine, memory, places["killed"], every))
        seen = checkpoints(places["killed"])
        while process.poll() is None:
            if n_killed < kills and checkpoints(places["killed"]) - seen:
                time.sleep(rng.uniform(0, every))
                process.kill()
                process.wait()
                n_killed += 1
            time.sleep(0.05)
        if process.returncode != -signal.SIGKILL:
            break
    took = time.perf_counter() - started
    rows = [(place / "manifest.csv").read_text().splitlines()[1:] for place in places.values()]
    is_same = process.returncode == 0 and rows[0] == rows[1]
    print(
        f"the command with {engine}: {alone:.1f} s alone; killed {n_killed} times and repeated {took:.1f} s"
        f"  {'same rows' if is_same else 'OTHER ROWS'}",
        flush=True,
    )
    return is_same


def checkpoints(out: Path) -> set[str]:
    """Names of the checkpoints that a command has written so far."""
    return {path.name for path in out.glob("work/**/*.safetensors")}


def told(found: dict[str, Any], floor: float, expected: str) -> None:
    """Print a line of the table."""
    print(
        f"{found['engine']:16} {found['seconds']:8.1f} s  {found['seconds'] / floor:5.2f} x floor ({floor:.1f} s)"
        f"  {found['peak bytes'] / 2**30:5.2f} GiB  {found['killed']} killed  {expected}",
        flush=True,
    )


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
    parser.add_argument("--deal", nargs="*", type=int, default=[], help="other numbers of files, of uneven sizes")
    parser.add_argument("--driver-kills", type=int, default=0, help="times that the command itself is killed")
    parser.add_argument("--approximate", nargs="*", type=float, default=[], help="EPS of core-sets")
    parser.add_argument("--parquet", action="store_true", help="shards as tables, each engine by the command")
    parser.add_argument("--memory", help="what all processes together may use, for instance 3G")
    parser.add_argument("--folder", type=Path, default=Path("shards"), help="where the pool lies")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    asked = parser.parse_args()
    if asked.parquet and (asked.kills or asked.deal or asked.approximate):
        parser.error(
            "--parquet: expected none of --kills, --deal and --approximate beside it, which are for .npy files."
        )
    pool = (asked.folder, asked.kind, asked.rows, asked.width)
    files = make_shards(*pool, asked.shards)
    files = make_tables(files) if asked.parquet else files
    memory = None if asked.memory is None else parse_bytes(asked.memory)
    size = asked.rows * asked.width * 2
    print(
        f"{asked.rows:,} x {asked.width} ({asked.kind}, {size / 1e9:.1f} GB of float16) -> {asked.picks:,}", flush=True
    )
    runs = [(files, engine, {"kills": asked.kills}) for engine in asked.engines]
    runs += [(make_shards(*pool, n, uneven=True), asked.engines[0], {}) for n in asked.deal]
    runs += [(files, asked.engines[0], {"eps": eps}) for eps in asked.approximate]
    results, is_right, before = [], True, floor_seconds(asked.rows, asked.width, asked.picks)
    for of, engine, more in runs:
        if asked.parquet:
            found = choose_by_command(of, asked.picks, engine, asked.memory)
        else:
            found = choose(of, asked.picks, engine, memory=memory, **more)
        after = floor_seconds(asked.rows, asked.width, asked.picks)
        found |= {"floor seconds": (before + after) / 2, "files": len(of)}
        before, radius = after, (results or [found])[0]["covering radius"]
        results.append(found)
        if "eps" in more:
            facts = found["facts"]
            expected = (
                f"core-set of {facts['core_rows']:,}; radius {found['covering radius']:.6g}, certified at most "
                f"{facts['radius_at_most']:.6g} and {facts['factor_at_most']:.4g} x the best; exact {radius:.6g}"
            )
        else:
            is_same = bool(np.array_equal(found["rows"], results[0]["rows"]))
            expected = f"{len(of)} files, {'same rows' if is_same else 'OTHER ROWS'}"
            is_right &= is_same
        told(found, found["floor seconds"], expected)
    if asked.driver_kills:
        is_right &= kill_drivers(files, asked.picks, asked.engines[0], asked.memory, asked.driver_kills, asked.folder)
    if asked.out is not None:
        plain = [{key: value for key, value in found.items() if key != "rows"} for found in results]
        about = {**vars(asked), "folder": str(asked.folder), "out": str(asked.out)}
        about |= {"machine": platform.processor(), "cores": os.cpu_count()}
        asked.out.write_text(json.dumps({"asked": about, "results": plain}, indent=1) + "\n")
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
