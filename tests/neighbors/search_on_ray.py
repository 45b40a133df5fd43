"""A search and an extraction by two actors of a real Ray cluster, which are killed on the way.

search_on_ray.py FOLDER    ends with 0 if the numbers are those of this process
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from entropick.arrays import FileRows
from entropick.features import Features, Pixels
from entropick.features.cache import FeatureCache
from entropick.neighbors import nearest_neighbors, search
from entropick.processes.dealing import dealing
from entropick.processes.engine import engine
from entropick.work import Work


@dataclass(kw_only=True)
class Dear(Features):
    """Pixels that are kept, with the process that made them."""

    kind: ClassVar[str] = "dear"
    name = "dear"

    def extract(self, images):
        pids = np.full((len(images), 1), os.getpid(), np.float32)
        return np.concatenate([Pixels().extract(images), pids], axis=1)


class Killing(Work):
    """Kills both workers, one after another."""

    def __init__(self):
        self.dealt, self.n_killed = None, 0

    def progress(self, done, total, note=""):
        if self.n_killed < 2:
            os.kill(self.dealt._workers.pids[self.n_killed], signal.SIGKILL)
            self.n_killed += 1


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    search._HELD_BYTES = 0
    X = np.random.default_rng(0).normal(size=(5000, 24)).astype(np.float32)
    X[4000:4100] = X[:100]
    np.save(folder / "X.npy", X)
    images = np.random.default_rng(0).integers(0, 256, (1200, 4, 4, 1), dtype=np.uint8)
    rows, work = FileRows([np.load(folder / "X.npy", mmap_mode="r")]), Killing()
    with dealing(work, engine("ray", 2), folder / "rows") as dealt:
        work.dealt = dealt
        found = nearest_neighbors(rows, rows, k=3, exclude_self=True, work=dealt)
        features = FeatureCache(folder / "cache").matrix(Dear(), images, dealt, "features")
    assert work.n_killed == 2
    expected = nearest_neighbors(X, X, k=3, exclude_self=True)
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(features[:, :16], Pixels().extract(images))
    assert len(set(features[:, 16])) == 2 and os.getpid() not in set(features[:, 16])
