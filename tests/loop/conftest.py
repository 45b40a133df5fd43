"""Real images for loops that take a fraction of a second."""

from __future__ import annotations

import signal

import loop_parts
import pytest

from entropick.processes.hardware import limited_threads


@pytest.fixture
def images(tmp_path):
    return loop_parts.write_images(tmp_path / "images.npz")


@pytest.fixture
def one_thread():
    """As a study with threads = 1 computes."""
    with limited_threads(1):
        yield


@pytest.fixture
def within_a_minute():
    """Ends a test that would wait for ever."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("still waiting after a minute"))
    signal.alarm(60)
    yield
    signal.alarm(0)
