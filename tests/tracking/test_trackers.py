"""What the real trackers have of a study, read back by their own readers; those that are not installed are skipped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from fresh_python import SRC

from entropick.run import History

STUDY = """
name = "tiny"
n_images = 32

[loop]
n_iterations = 6
dataset = "digits"
metrics = ["generalization_score", "total_variance"]

[loop.generator]
kind = "kde"
bandwidth = 4

[arms.replace]
paradigm = "replace"

[arms."accumulate+random"]
selector = "random"
"""
ARMS = ("replace", "accumulate+random")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


def command(place, *arguments, **more):
    """The command line in a process of its own, where no tracker finds a key or a server."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "TRACKIO", "HF_"))
    }
    environment |= {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "HOME": str(place), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "entropick", *map(str, arguments)],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **more,
    )


def run(place, *arguments):
    process = command(place, "run", "tiny.toml", "--out", "run", "--workers", "1", *arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def killed(place, *arguments):
    """The run, killed by SIGKILL when some iterations are finished and others are not."""
    process = command(place, "run", "tiny.toml", "--out", "run", "--workers", "1", *arguments)
    ledger = place / "run" / "arms" / "accumulate+random" / "seed-0" / "ledger.jsonl"
    try:
        while process.poll() is None and (not ledger.exists() or ledger.read_text().count('"measure"') < 3):
            time.sleep(0.002)
        assert process.poll() is None, "it ended too soon to be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    n_lines = len(ledger.read_text().splitlines())
    assert 0 < n_lines < 27
    return n_lines


def of_tensorboard(folder):
    """Tag -> how often it has each step, as TensorBoard's own reader finds them; and the values of one."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    steps = {tag: Counter(event.step for event in found.Scalars(tag)) for tag in found.Tags()["scalars"]}
    images = {tag: Counter(event.step for event in found.Images(tag)) for tag in found.Tags()["images"]}
    return steps, images, {event.step: event.value for event in found.Scalars("generalization_score/pixels")}


def values(place, arm):
    """Iteration -> generalization score, as the ledger has it."""
    history = History(place / "run" / "arms" / arm / "seed-0")
    real = history.values(0, "baseline")["metrics"]
    return {of["iteration"]: of["generalization_score/pixels"] for of in [{"iteration": 0, **real}, *history.metrics]}


def check_tensorboard(place, root):
    for arm in ARMS:
        steps, images, found = of_tensorboard(root / arm / "seed-0")
        assert steps["generalization_score/pixels"] == Counter(range(7))
        assert all(set(of.values()) == {1} for of in (*steps.values(), *images.values()))
        assert images["images"] == Counter(range(7)) and images["pairs"] == Counter(range(1, 7))
        expected = values(place, arm)
        np.testing.assert_allclose([found[n] for n in range(7)], [expected[n] for n in range(7)], rtol=1e-6)
        assert "seconds/train" in steps and "selection/real_share" in steps


def test_tensorboard_killed_and_resumed_is_one_history(place):
    pytest.importorskip("tensorboard")
    killed(place, "--log", "tensorboard")
    said = run(place, "--log", "tensorboard")
    assert "tensorboard: tensorboard --logdir run/tensorboard" in said
    check_tensorboard(place, place / "run" / "tensorboard")
    files = sorted((place / "run" / "tensorboard").rglob("events*"))
    run(place, "--log", "tensorboard")
    assert sorted((place / "run" / "tensorboard").rglob("events*")) == files, "nothing was left to be logged"


def test_a_finished_study_is_logged_afterwards(place):
    pytest.importorskip("tensorboard")
    run(place)
    process = command(place, "report", "run", "--log", "tensorboard:boards")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "tensorboard: tensorboard --logdir boards/tiny" in said
    check_tensorboard(place, place / "boards" / "tiny")


def test_trackio_killed_and_resumed_is_one_history(place):
    pytest.importorskip("trackio")
    killed(place, "--log", "trackio:tracks")
    said = run(place, "--log", "trackio:tracks")
    assert "trackio show --project 'tiny'" in said and "Trackio project initialized" not in said
    code = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as s;"
        "print(json.dumps({r: s.get_logs('tiny', r) for r in s.get_runs('tiny')}))"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(place / "tracks"), "HF_HUB_OFFLINE": "1"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(told.stdout.splitlines()[-1])
    assert found.keys() == {f"{arm}/seed-0" for arm in ARMS}
    for arm in ARMS:
        logs = found[f"{arm}/seed-0"]
        assert [line["step"] for line in logs] == list(range(7))
        assert {line["step"]: line["generalization_score/pixels"] for line in logs} == values(place, arm)
        assert all(line["images"]["_type"] == "trackio.image" for line in logs)


def of_wandb(place):
    """Of each run, the steps in the order in which W&B's offline files have them."""
    from wandb.proto.wandb_internal_pb2 import Record

    steps = {}
    for file in sorted(place.glob("run/wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns):
        of_run = steps.setdefault(re.search("-([0-9a-f]{16})$", file.parent.name)[1], [])
        for raw in leveldb_records(file.read_bytes()[7:]):
            record = Record.FromString(raw)
            if record.HasField("history"):
                of_run.append(record.history.step.num)
    return steps


def leveldb_records(content):
    """The records of a log in LevelDB's format: blocks of 32 KiB, chunks with a head of 7 bytes; W&B has its own head,
    which counts for the first block."""
    place, record = 0, b""
    while place + 7 <= len(content):
        left = 32768 - (place + 7) % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def test_wandb_offline_killed_and_resumed_is_one_history(place):
    pytest.importorskip("wandb")
    killed(place, "--log", "wandb")
    said = run(place, "--log", "wandb")
    assert "wandb: wandb sync run/wandb/offline-run-*" in said
    found = of_wandb(place)
    assert len(found) == 2 and all(steps == list(range(7)) for steps in found.values()), found


def test_a_tracker_that_is_not_installed_is_said_at_once(place):
    blocked = (
        "import sys; sys.modules['tensorboard'] = None; from entropick.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked, "run", "tiny.toml", "--out", "run", "--log", "tensorboard"],
        cwd=place, env={**os.environ, "PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (
        done.returncode == 2
        and "In a checkout of entropick run: pip install '.[track]'" in done.stderr
        and not (place / "run").exists()
    )
