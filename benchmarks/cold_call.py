"""What a first selection in a process costs beside a second one, once torch is there.

    python benchmarks/cold_call.py --threads 2
    python benchmarks/cold_call.py --threads 1 --processor-time

Each case is a process of its own: torch is imported, then entropick, then a small pool is selected from twice. The
import and what the first call takes beside the second are what a user waits for without getting anything: imports,
the measurement of how fast products are here, products that are compiled for shapes that are new. Processor time is for
a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

# Rows, columns, picks.
CASES = ((2_000, 384, 200), (20_000, 384, 2_000), (5_000, 768, 500), (4_000, 3_072, 400))


def one(n_rows: int, width: int, n_picks: int, threads: int, clock: Callable[[], float]) -> dict[str, float]:
    """Import, first call and second call in this process, in seconds of a clock."""
    import torch

    torch.set_num_threads(threads)
    # Torch's own first product is no cost of ours.
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    X = np.random.default_rng(0).standard_normal((n_rows, width), dtype=np.float32)
    started = clock()
    from entropick.selectors import Greedy

    imported = clock()
    Greedy(n_samples=n_picks, initial=[0]).fit(X)
    first = clock()
    Greedy(n_samples=n_picks, initial=[0]).fit(X)
    return {"import": imported - started, "first": first - imported, "second": clock() - first}


def main() -> None:
    """A table of all cases, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(
            json.dumps(one(*asked.one, asked.threads, time.process_time if asked.processor_time else time.perf_counter))
        )
        return
    print("| pool | import, s | first call, s | second call, s | import and what the first costs more, s |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    for case in CASES:
        command = [sys.executable, __file__, "--threads", str(asked.threads), "--one", *map(str, case)]
        command += ["--processor-time"] if asked.processor_time else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        cold = found["import"] + found["first"] - found["second"]
        n_rows, width, n_picks = case
        times = " | ".join(f"{found[name]:.2f}" for name in ("import", "first", "second"))
        print(f"| {n_picks:,} of {n_rows:,} x {width:,} | {times} | {cold:.2f} |", flush=True)


if __name__ == "__main__":
    main()
