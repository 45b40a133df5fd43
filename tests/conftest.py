"""What all rooms share: one thread per process, so that times and float sums are those of the checked machine; and the
browser."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import headless
import pytest

# Started in the background of a shell, pytest and all that its tests start would not hear of Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Let `pytest -m cuda` look only into files with such tests: a bare machine may lack what others import."""
    if config.option.markexpr == "cuda" and config.args_source is config.ArgsSource.TESTPATHS:
        files = [file for file in Path(__file__).parent.rglob("test_*.py") if "mark.cuda" in file.read_text()]
        # Last those of diffusion, whose kernels are compiled first.
        config.args = sorted(map(str, files), reverse=True)


def pytest_collection_modifyitems(items):
    """Leave out what needs a CUDA device where there is none."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of pages; not for all of a session, whose other tests have event loops of their own."""
    with headless.chromium() as started:
        yield started
