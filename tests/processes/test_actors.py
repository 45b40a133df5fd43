"""Actors answer side by side, are made anew when their processes are lost, and end with whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fresh_python import SRC
from toys import Counter, unmakeable

from entropick.errors import InputError, ProcessLost, StudyFailed
from entropick.processes import ray_actors
from entropick.processes.engine import engine

TOYS = Path(__file__).with_name("toys.py")


@pytest.fixture(scope="module")
def actors():
    with engine("processes", 2).connected() as place, place.start(Counter, [("a",), ("b",)]) as started:
        yield started


def test_gpus_are_shared_out(monkeypatch):
    """Processes that all take the first one, each most of its memory, leave no room for one another."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with engine("processes", 3).connected() as place, place.start(Counter, [("a",), ("b",), ("c",)]) as started:
        assert started.call("gpus") == [("4", [0.5]), ("7", [0.5]), ("4", [0.5])]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_is_asked_the_same(actors):
    first, second = actors.call("pid")
    assert len({first, second, os.getpid()}) == 3
    [(name, before), _] = actors.call("add", [0, 0])
    assert actors.call("add", [1, 2])[0] == (name, before + 1)


def test_a_killed_one_is_made_anew_and_asked_again(actors):
    actors.call("add", [5, 5])
    _, (_, of_other) = actors.call("add", [0, 0])
    killed, other = actors.call("pid")
    os.kill(killed, signal.SIGKILL)
    assert actors.call("add", [7, 0]) == [("a", 7), ("b", of_other)]
    assert actors.call("pid")[1] == other


def test_errors_are_answers_and_the_process_goes_on(actors):
    pids = actors.call("pid")
    with pytest.raises(InputError, match="something else"):
        actors.call("refuse")
    with pytest.raises(StudyFailed, match="ZeroDivisionError"):
        actors.call("fail")
    assert actors.call("pid") == pids


def test_one_that_dies_whenever_it_is_asked():
    with engine("processes", 1).connected() as place, place.start(Counter, [("a",)]) as actors:
        with pytest.raises(ProcessLost, match="it was killed 4 times"):
            actors.call("die")
        assert actors.call("add", [1]) == [("a", 1)]


def test_one_that_cannot_be_made():
    with (
        engine("processes", 1).connected() as place,
        place.start(unmakeable, [("x.npy",)]) as actors,
        pytest.raises(InputError, match=r"x.npy: expected a file, but there is none\."),
    ):
        actors.call("add", [1])


def test_they_end_with_a_killed_starter():
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    starter = subprocess.Popen([sys.executable, TOYS, "processes"], stdout=subprocess.PIPE, text=True, env=environment)
    with starter:
        pids = list(map(int, starter.stdout.readline().split()))
        assert len(pids) == 2 and all(map(alive, pids))
        starter.kill()
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, pids))


@pytest.mark.parametrize(
    ("text", "workers", "says"),
    [
        ("spark", None, r"expected processes, processes:N, ray or ray:ADDRESS, got 'spark'"),
        ("ray:", None, "got 'ray:'"),
        ("processes:0", None, "expected a number of processes of at least 1"),
        ("processes:two", None, "expected a number of processes"),
        ("processes:2", 3, "expected the 2 of processes:2, got 3"),
        ("ray", 0, "workers: expected a whole number of at least 1, got 0"),
    ],
)
def test_what_is_no_engine(text, workers, says):
    with pytest.raises(InputError, match=says):
        engine(text, workers)


def test_by_default_one_per_core():
    with engine("processes").connected() as place:
        assert place.workers == len(os.sched_getaffinity(0))


def test_a_ray_cluster_without_its_head_is_left_before_ray_ends_the_process(monkeypatch):
    """Ray would end it after a minute, from a thread of its own."""
    monkeypatch.setattr(ray_actors, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(ray_actors, "_SECONDS_WITHOUT_HEAD", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = ray_actors._Head(address)
        head.check()
    assert head._silent_since is None

    class Silent(Exception):
        pass

    def get(asked, timeout):
        raise Silent

    ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(GetTimeoutError=Silent, RayError=Silent))
    actor = SimpleNamespace(ask=SimpleNamespace(remote=lambda method: method))
    with pytest.raises(ProcessLost, match=rf"head of the Ray cluster at {address} to answer.*What was finished is ke"):
        ray_actors._OnRay(ray, [actor, actor], head).call("condition")
    assert head.is_gone


def test_a_head_that_answers_again_is_none_that_is_gone(monkeypatch):
    monkeypatch.setattr(ray_actors, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(ray_actors, "_SECONDS_WITHOUT_HEAD", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    head = ray_actors._Head(f"127.0.0.1:{port}")
    head.check()
    assert head._silent_since is not None
    with socket.create_server(("127.0.0.1", port)):
        head.check()
    assert head._silent_since is None and not head.is_gone
