"""A search that is dealt to workers finds what a float64 brute force finds, whichever way the points are dealt."""

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from fresh_python import run_python
from test_neighbors import CASES, Notebook, StopEarlyError, brute_force

from entropick.arrays import FileRows, SomeRows
from entropick.errors import InputError
from entropick.neighbors import count_balls, nearest_neighbors, search
from entropick.processes.dealing import dealing
from entropick.processes.engine import engine
from entropick.work import Work

HAS_RAY = importlib.util.find_spec("ray") is not None


class Some(Work):
    """So many workers, all of them this process."""

    def __init__(self, n):
        self._n = n

    @property
    def n_workers(self):
        return self._n


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "_QUERY_ROWS", 32)
    monkeypatch.setattr(search, "_POINT_ROWS", 37)
    monkeypatch.setattr(search, "_BALL_COLUMNS", 16)


@pytest.fixture(params=["all points", "parts of the points"])
def dealt(request, monkeypatch):
    if request.param.startswith("parts"):
        monkeypatch.setattr(search, "_HELD_BYTES", 0)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("k", "d", "n_workers"), [(1, 1, 3), (5, 40, 2), (30, 2, 100)])
@pytest.mark.parametrize("case", CASES)
def test_equals_brute_force(case, k, d, n_workers, exclude_self):
    X = CASES[case](np.random.default_rng(0), 100, d).astype(np.float32)
    queries = X if exclude_self else np.concatenate([X[::3], X[:20] + np.float32(0.3)])
    found = nearest_neighbors(queries, X, k=k, exclude_self=exclude_self, work=Some(n_workers))
    distances, indices = brute_force(queries, X, k, exclude_self)
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("case", ["normal", "exact copies", "integer grid", "near copies"])
def test_balls(case):
    X = CASES[case](np.random.default_rng(0), 60, 3).astype(np.float32)
    centers, radii = X[::2], brute_force(X[::2], X[::2], 3, True)[0][:, -1]
    distances = np.sqrt(((X[:, None].astype(np.float64) - centers) ** 2).sum(axis=2))
    for n in (0, 1, 3, 100):
        np.testing.assert_array_equal(
            count_balls(X, centers=centers, radii=radii, work=Some(n)), (distances <= radii).sum(axis=1)
        )


@pytest.mark.parametrize("n_workers", [1, 3, 5])
def test_every_row_is_asked_of_once(n_workers):
    for n in (1, 4, 5, 90, 200):
        rounds = search._rounds(0, n, 32, n_workers)
        rows = [row for blocks in rounds for block in blocks for row in range(block.start, block.stop)]
        assert rows == list(range(n))
        assert all(len(blocks) <= n_workers and 0 < of.stop - of.start <= 32 for blocks in rounds for of in blocks)


class Killing(Work):
    """Kills one of two workers, in turn, after some of the rounds; keeps what it is given."""

    def __init__(self):
        self.dealt, self.heard, self.n_killed = None, [], 0

    def progress(self, done, total, note=""):
        self.heard.append(done)
        if len(self.heard) % 2 == 1 and self.n_killed < 2:
            os.kill(self.dealt._workers.pids[self.n_killed % 2], signal.SIGKILL)
            self.n_killed += 1


@pytest.fixture
def shards(tmp_path):
    """Rows with copies, far apart and near, in three files, and as float32."""
    X = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float16)
    X[200:220], X[250:255] = X[:20], X[0]
    maps = []
    for number, part in enumerate((X[:90], X[90:91], X[91:])):
        np.save(tmp_path / f"{number}.npy", part)
        maps.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    return FileRows(maps), X.astype(np.float32)


@pytest.mark.usefixtures("dealt")
def test_processes_that_are_killed(shards, tmp_path):
    rows, X = shards
    work = Killing()
    with dealing(work, engine("processes:2"), tmp_path / "rows") as dealt:
        work.dealt = dealt
        found = nearest_neighbors(rows, rows, k=4, exclude_self=True, work=dealt)
        of_some = nearest_neighbors(X[:50] + np.float32(0.1), SomeRows(rows, np.arange(5, 300, 2)), work=dealt)
    assert work.n_killed == 2
    distances, indices = brute_force(X, X, 4, True)
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(of_some.indices, brute_force(X[:50] + np.float32(0.1), X[5::2], 1, False)[1])


def test_a_file_that_changes_is_named(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_HELD_BYTES", 0)
    rows, X = shards

    class Changing(Work):
        def progress(self, done, total, note=""):
            np.save(tmp_path / "1.npy", X[:2])
            os.kill(dealt._workers.pids[1], signal.SIGKILL)

    with (
        dealing(Changing(), engine("processes:2"), tmp_path / "rows") as dealt,
        pytest.raises(InputError, match=r"1.npy: expected a file that stays as it is, but it changed"),
    ):
        nearest_neighbors(rows, rows, exclude_self=True, work=dealt)


@pytest.mark.usefixtures("dealt")
def test_goes_on_with_another_number_of_workers(shards, monkeypatch):
    _, X = shards
    work, others = Notebook(), []
    for n in (3, 0, 2):
        monkeypatch.setattr(Notebook, "n_workers", n)
        try:
            found = nearest_neighbors(X, X, k=2, exclude_self=True, work=work)
        except StopEarlyError:
            others.append(work.heard[-1])
    assert len(others) == 1 and others[0] < 300
    np.testing.assert_array_equal(found.indices, brute_force(X, X, 2, True)[1])


@pytest.mark.skipif(not HAS_RAY, reason="needs the package ray")
def test_actors_of_ray_that_are_killed(tmp_path):
    run_python(str(Path(__file__).with_name("search_on_ray.py")), str(tmp_path))
