"""Scores by the workers of an engine, and of sets that take much of memory: the same values."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh_python import SRC
from PIL import Image

import entropick as ep
from entropick.arrays import BlockRows
from entropick.errors import InputError
from entropick.neighbors import search
from entropick.scoring import score as scoring
from entropick.sources import scratch

RNG = np.random.default_rng(0)
TRAINING = RNG.standard_normal((300, 20)).astype(np.float16)
TRAINING[200:220] = TRAINING[:20]
SETS = {
    "t": TRAINING,
    "g": np.concatenate([RNG.standard_normal((60, 20)), TRAINING[:30] + 0.01, TRAINING[:5]]).astype(np.float16),
    "r": np.concatenate([RNG.standard_normal((120, 20)), TRAINING[:3]]).astype(np.float16),
}
LINE = ["score", "--training", "t", "--generated", "g.npy", "--reference", "r.parquet"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three sets with copies in and between them: in shards, in an array, in a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    for number, part in enumerate((TRAINING[:90], TRAINING[90:91], TRAINING[91:])):
        np.save(f"t/{number}.npy", part)
    np.save("g.npy", SETS["g"])
    pq.write_table(pa.table({"e": pa.FixedSizeListArray.from_arrays(pa.array(SETS["r"].ravel()), 20)}), "r.parquet")
    return tmp_path


def found(folder):
    return json.loads((folder / "score.json").read_text()), (folder / "nearest-embeddings.csv").read_text()


@pytest.fixture
def little_memory(monkeypatch):
    """Everything is large, and cut into parts; the matrices that were measured are kept in a list."""
    monkeypatch.setattr(scratch, "LARGE", 0.0)
    monkeypatch.setattr(search, "_HELD_BYTES", 0)
    seen, measure = [], scoring.measure_space
    monkeypatch.setattr(
        scoring, "measure_space", lambda sets, *rest, **more: seen.append(sets) or measure(sets, *rest, **more)
    )
    return seen


@pytest.mark.parametrize("more", ["", "--memory 1G", "--engine processes:2", "--engine processes:2 --interval"])
def test_the_same_score(cli, place, more, request):
    interval = ["--interval", "--metrics", "knn_entropy", "coverage"] if "--interval" in more else []
    assert cli(*LINE, "--out", place / "expected", *interval).code == 0
    seen = request.getfixturevalue("little_memory")
    ended = cli(*LINE, "--out", place / "found", *more.replace("--interval", "").split(), *interval)
    assert ended.code == 0, ended.err
    assert all(isinstance(X, BlockRows) for X in seen[0].values())
    assert found(place / "found") == found(place / "expected")
    said = "processes:2: 2 workers read images and look for neighbours; this process alone computes duplicate_share"
    assert (said in ended.out) == (more == "--engine processes:2")
    assert not (place / "found" / ".rows").exists() and not (place / "found" / "work" / "rows").exists()


def workers_of(pid):
    """The numbers of the workers of a process; none once it has ended."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def ends(pid):
    """Whether a process is gone, or dead, within a while."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_command_that_is_killed_leaves_no_worker_and_goes_on(cli, place):
    X = np.random.default_rng(1).standard_normal((20_000, 32)).astype(np.float32)
    np.save("g.npy", X)
    np.save("t.npy", X[::-1] + np.float32(0.3))
    line = ["score", "--training", "t.npy", "--generated", "g.npy", "--metrics", "generalization_score", "knn_entropy"]
    assert cli(*line, "--out", "expected").code == 0
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-m", "entropick", *line, "--out", "out", "--engine", "processes:2"]
    for how, code in {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}.items():
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as started:
            while not (workers := workers_of(started.pid)) and started.poll() is None:
                time.sleep(0.01)
            time.sleep(0.5)
            started.send_signal(how)
        assert started.returncode == code, "the sets are large enough to be within the search"
        assert all(map(ends, workers))
    assert cli(*line, "--out", "out").code == 0
    assert found(place / "out") == found(place / "expected")
    assert not (place / "out" / "work" / "rows").exists()


def test_images_from_python(place):
    for name, n in {"training": 40, "generated": 30}.items():
        (place / name).mkdir()
        for row in range(n):
            image = np.random.default_rng(n + row).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(image).save(place / name / f"{row}.png")
    expected = ep.score(training="training", generated="generated")
    assert ep.score(training="training", generated="generated", engine="processes", workers=2).values == expected.values
    with pytest.raises(InputError, match="workers: expected an engine"):
        ep.score(training="training", generated="generated", workers=2)


@pytest.mark.parametrize(
    ("flags", "says"),
    {
        "--engine spark": "engine: expected processes, processes:N, ray or ray:ADDRESS, got 'spark'",
        "--workers 2": "--workers: expected an engine whose workers they are, got none",
        "--engine processes:2 --workers 3": "workers: expected the 2 of processes:2, got 3",
        "--engine ray:127.0.0.1:1": "nothing answers there",
        "--engine processes:3 --memory 1G": "engine: expected at least 0.4 GiB for each of 3 workers, which look for",
        "--memory much": "--memory: expected a size such as 3G or 512M, got 'much'",
        "--memory 10M": "--memory: expected at least 384M, which Python and torch take by themselves, got '10M'",
        "--memory 384M": "allow more memory (a larger --memory, where one was given), give fewer images",
    }.items(),
)
def test_what_is_refused(cli, place, flags, says):
    ended = cli(*LINE, "--out", "out", *flags.split())
    assert ended.code == 2 and says in ended.err, ended.err
    assert ended.err.count("\n") == 1
    assert not (place / "out" / "score.json").exists()
