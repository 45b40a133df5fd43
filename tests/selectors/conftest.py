"""Small blocks, so that little data crosses many borders."""

from __future__ import annotations

import pytest

from entropick import neighbors


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbors, "_POINT_ROWS", 7)
    monkeypatch.setattr(neighbors, "_BATCH_ROWS", 11)
    monkeypatch.setattr(neighbors, "_BATCH_COLUMNS", 5)
    monkeypatch.setattr(neighbors, "_CROWD_ROWS", 20)
