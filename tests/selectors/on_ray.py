"""Greedy Selection with two actors of a real Ray cluster, one of which is killed at some of the rounds.

on_ray.py FOLDER    writes rows.npy and distances.npy
"""

import os
import signal
import sys
from pathlib import Path

import clouds
import numpy as np

from entropick.processes.engine import engine
from entropick.selectors import Greedy
from entropick.selectors.workers import dealt
from entropick.work import Work


class Killing(Work):
    """Kills one of the processes, in turn, at some rounds."""

    def __init__(self, carrier):
        self.carrier, self.n_rounds, self.n_killed = carrier, 0, 0

    def progress(self, done, total, note=""):
        self.n_rounds += 1
        if self.n_rounds % 4 == 0 and self.n_killed < 3:
            pids = self.carrier.pids
            os.kill(pids[self.n_killed % 2], signal.SIGKILL)
            self.n_killed += 1


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    X = clouds.cloud("near copies", 3000, 24)
    with dealt(X, engine("ray", 2), folder / "pool.rows") as rows:
        work = Killing(rows.carrier)
        fitted = Greedy(n_samples=1500, initial=[7]).fit(rows, work=work)
    assert work.n_killed == 3, work.n_rounds
    assert not (folder / "pool.rows").exists()
    np.save(folder / "rows.npy", fitted.indices_)
    np.save(folder / "distances.npy", fitted.distances_)
