"""A pool that is dealt to workers gives the rows of the whole pool, for every rule that asks shards."""

import importlib.util
import os
import pickle
import signal
from pathlib import Path

import clouds
import numpy as np
import pytest
from fresh_python import run_python

from entropick.arrays import FileRows
from entropick.errors import InputError
from entropick.processes.engine import engine
from entropick.selectors import DensityGreedy, Greedy, Random, ThresholdDecay
from entropick.selectors import greedy as greedy_module
from entropick.selectors import threshold_decay as threshold_decay_module
from entropick.selectors.dealt import Dealt
from entropick.selectors.shards import InProcess, Part, Shard
from entropick.selectors.workers import dealt
from entropick.work import Work

pytestmark = pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")
HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(greedy_module, "_WIDTH", (8, 4, 16))
    monkeypatch.setattr(threshold_decay_module, "_WIDTH", (16, 32))


def in_thirds(X):
    of = np.arange(len(X)) % 3
    numbers = [np.flatnonzero(of == number) for number in range(3)]
    return Dealt(X, InProcess([Shard(X[rows]) for rows in numbers]), list(map(Part, numbers)))


RULES = {
    "greedy": Greedy(n_samples=60, random_state=0),
    "initial": Greedy(n_samples=60, initial=[5, 90, 6]),
    "quota": Greedy(n_samples=60, random_state=0, minimum={1: 0.5}),
    "balanced": Greedy(n_samples=60, random_state=0, minimum="balanced", initial=[5]),
    "density": DensityGreedy(n_samples=60, k=3, random_state=0),
    "density and quota": DensityGreedy(n_samples=60, k=3, random_state=0, minimum={1: 0.5, 2: 0.1}),
    "threshold": ThresholdDecay(n_samples=60, threshold="auto", decay=0.8, random_state=0),
    "threshold, initial": ThresholdDecay(n_samples=60, threshold=9.0, decay=0.6, random_state=0, initial=[90, 5]),
    "threshold, quota": ThresholdDecay(n_samples=60, threshold="auto", random_state=1, minimum={1: 0.5, 2: 0.1}),
    "random": Random(n_samples=60, random_state=0),
}


@pytest.mark.parametrize("name", ["normal", "near copies", "copies", "outliers", "sorted line"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_equals_the_whole_pool(rule, name):
    X, y = clouds.cloud(name, 120, 5), np.repeat([0, 1, 2], [70, 35, 15])
    expected = type(rule)(**rule.get_params()).fit(X, y)
    found = type(rule)(**rule.get_params()).fit(in_thirds(X), y)
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)
    assert found.facts_ == expected.facts_


class Killing(Work):
    """Kills a process of the engine at every third round."""

    def __init__(self, carrier):
        self.carrier, self.n_rounds, self.n_killed = carrier, 0, 0

    def progress(self, done, total, note=""):
        self.n_rounds += 1
        if self.n_rounds % 3 == 0 and self.n_killed < 3:
            os.kill(self.carrier.pids[self.n_killed % 2], signal.SIGKILL)
            self.n_killed += 1


def test_processes_that_are_killed(tmp_path):
    X = clouds.cloud("near copies", 120, 20)
    expected = Greedy(n_samples=60, random_state=0).fit(X)
    with dealt(X, engine("processes:2"), tmp_path / "pool.rows") as rows:
        work = Killing(rows.carrier)
        found = Greedy(n_samples=60, random_state=0).fit(rows, work=work)
    assert work.n_killed == 3
    np.testing.assert_array_equal(found.indices_, expected.indices_)
    np.testing.assert_array_equal(found.distances_, expected.distances_)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_map_are_read_where_they_lie(tmp_path):
    X = clouds.cloud("normal", 120, 20)
    np.save(tmp_path / "X.npy", X)
    whole = np.load(tmp_path / "X.npy", mmap_mode="r")
    with dealt(whole[10:], engine("processes:2"), tmp_path / "pool.rows") as rows:
        assert [path.name for path in tmp_path.iterdir()] == ["X.npy"]
        found = Greedy(n_samples=60, random_state=0).fit(rows)
        np.save(tmp_path / "X.npy", X[:50])
        with pytest.raises(InputError, match=r"X.npy: expected a file that stays as it is, but it changed"):
            os.kill(rows.carrier.pids[0], signal.SIGKILL)
            rows.carrier.call("extent")
    np.testing.assert_array_equal(found.indices_, Greedy(n_samples=60, random_state=0).fit(X[10:]).indices_)


def test_rows_in_files_are_read_as_float32(tmp_path):
    X = clouds.cloud("normal", 30, 4).astype(np.float16)
    maps = []
    for number, part in enumerate((X[:7], X[7:8], X[8:])):
        np.save(tmp_path / f"{number}.npy", part.astype(np.float64 if number == 1 else np.float16))
        maps.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    rows, expected = FileRows(maps), X.astype(np.float32)
    for asked in (slice(None), slice(3, 20, 4), np.array([29, 0, 7, 7]), expected[:, 0] > 0, slice(-3, None)):
        assert rows[asked].dtype == np.float32
        np.testing.assert_array_equal(rows[asked], expected[asked])
    np.testing.assert_array_equal(rows[8], expected[8])
    np.testing.assert_array_equal(rows.take([9, 7]), expected[[9, 7]])
    part = pickle.loads(pickle.dumps(rows.part(5, 12)))
    assert part.shape == (7, 4)
    np.testing.assert_array_equal(part[:], expected[5:12])
    np.testing.assert_array_equal(
        Greedy(n_samples=9, random_state=0).fit(rows).indices_,
        Greedy(n_samples=9, random_state=0).fit(expected).indices_,
    )


@pytest.mark.skipif(not HAS_RAY, reason="needs the package ray")
def test_actors_of_ray_that_are_killed(tmp_path):
    run_python(str(Path(__file__).with_name("on_ray.py")), str(tmp_path))
    expected = Greedy(n_samples=1500, initial=[7]).fit(clouds.cloud("near copies", 3000, 24))
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected.indices_)
    np.testing.assert_array_equal(np.load(tmp_path / "distances.npy"), expected.distances_)


@pytest.mark.skipif(not HAS_RAY, reason="needs the package ray")
def test_an_address_where_nothing_answers():
    with (
        pytest.raises(InputError, match=r"Ray cluster at 127.0.0.1:1, but nothing answers there"),
        engine("ray:127.0.0.1:1").connected(),
    ):
        pass
