"""Small blocks, so that little data crosses many borders."""

from __future__ import annotations

from pathlib import Path

import pytest

from entropick.neighbors import growing_set, precision


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(precision, "BLOCK_ELEMENTS", 50)
    monkeypatch.setattr(growing_set, "_TILE_ROWS", 11)
    monkeypatch.setattr(growing_set, "_TILE_COLUMNS", 5)
    monkeypatch.setattr(growing_set, "_CROWD_PAIRS", 3)


@pytest.fixture(params=["none", "bfloat16", "int8"])
def screened(request, monkeypatch):
    """Each kind of coarse product goes first, whatever this machine would choose."""
    monkeypatch.setattr(precision, "_forced", request.param)


def pytest_collection_modifyitems(items):
    """In most of the clouds what is trusted is like nothing else; what is said of that has tests of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning"))
