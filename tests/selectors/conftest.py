"""Small blocks, so that little data crosses many borders."""

from __future__ import annotations

import pytest

from entropick.neighbors import cloud, precision


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(precision, "BLOCK_ROWS", 7)
    monkeypatch.setattr(cloud, "BLOCK_ROWS", 7)
    monkeypatch.setattr(cloud, "_TILE_ROWS", 11)
    monkeypatch.setattr(cloud, "_TILE_COLUMNS", 5)
    monkeypatch.setattr(cloud, "_CROWD_PAIRS", 3)
