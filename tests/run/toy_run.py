"""A run of no machine learning: stages that write a few numbers, and ways to hurt what they wrote."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from entropick.run import Inputs, Ledger, Outcome, Run

CONFIG = {"name": "toy", "n_iterations": 3}
CONTENTS = {
    "array.npy": np.arange(60_000, dtype=np.int32),
    "arrays.safetensors": {"weight": np.ones((300, 300), np.float32)},
    "table.parquet": {"rank": np.random.default_rng(0).permutation(40_000)},
    "numbers.json": {"list": list(range(30_000))},
}


def counted(i: int) -> Outcome:
    return Outcome({"count.npy": np.arange(i + 3)}, {"count": i})


def write_run(folder: Path, n: int = 4, **options: Any) -> list[int]:
    """Pass `n` stages through `Run.stage`; return the numbers of those that were computed now."""
    computed: list[int] = []

    def compute(i: int) -> Outcome:
        computed.append(i)
        return counted(i)

    with Run.open(folder, CONFIG, **options) as run:
        for i in range(n):
            run.stage(i, "count", Inputs(settings={"i": i}), lambda given, work: compute(given["i"]))
    return computed


def flat_run(folder: Path, **options: Any) -> list[str]:
    """A run of a command without iterations: its files lie in its folder itself."""
    computed = []

    def choose(given, work):
        computed.append("choose")
        work.save("choosing", {"x": np.arange(2)}, {})
        return Outcome({"chosen.csv": "row\n3\n", "sheets/1.png": b"\x89PNG", "rows.npy": np.array([3])}, {"n": 1})

    def measure(given, work):
        computed.append("measure")
        return Outcome({"told.json": {"rows": given.load("rows").tolist()}})

    with Run.open(folder, {"seed": 0}, by_iteration=False, **options) as run:
        chosen = run.stage(0, "choose", Inputs(settings={"seed": 0}), choose)
        run.stage(0, "measure", Inputs(files={"rows": (chosen, "rows.npy")}), measure)
        assert run.load(chosen, "chosen.csv") == b"row\n3\n"
    return computed


def seal(folder: Path) -> str:
    return Ledger(folder).seal


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def partial_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


def other_bytes(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_size(path):
    path.write_bytes(path.read_bytes() + b"x")


def missing(path):
    path.unlink()


@contextlib.contextmanager
def no_file_longer_than(n_bytes: int) -> Iterator[None]:
    """Let the operating system refuse every byte after the first `n_bytes` of a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
