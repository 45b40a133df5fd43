"""Small blocks, so that little data crosses many borders."""

from __future__ import annotations

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
