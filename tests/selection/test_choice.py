"""A choice from Python, as the command makes it; the forecast has the right order."""

from __future__ import annotations

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.features import Pixels
from entropick.processes.engine import engine
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Space, open_sources
from entropick.sources.cost import selection_forecast

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def test_the_same_from_python(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    sources = open_sources([f"a={tmp_path / 'images.npz'}"])
    said = []
    choice = Choice(
        sources=sources, selector=Greedy(n_samples=5, random_state=0), space=Space("features", encoder=Pixels())
    )
    result = choice.run(tmp_path / "out", say=said.append)
    assert result["n_samples"] == 5 and said[0].startswith("greedy: 5 of 30 rows with 16 features. Forecast")
    assert choice.run(tmp_path / "out", say=said.append) == result and said[-1].endswith(
        "out is complete already; nothing was computed."
    )


def test_the_same_from_workers_of_which_the_result_says_nothing(tmp_path):
    rows = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float64)
    np.save(tmp_path / "X.npy", rows)
    of = {"sources": open_sources([f"a={tmp_path / 'X.npy'}"]), "selector": Greedy(n_samples=9, random_state=0)}
    expected = Choice(**of).run(tmp_path / "here")
    assert Choice(**of, engine=engine("processes:2")).run(tmp_path / "there") == expected
    assert list((tmp_path / "there" / "work").glob("*.rows")) == []


def test_another_run_is_not_written_into(tmp_path):
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"n_iterations": 3}')
    choice = Choice(sources=open_sources([f"a={tmp_path / 'X.npy'}"]), selector=Greedy(n_samples=5))
    with pytest.raises(InputError, match="holds other files"):
        choice.run(tmp_path / "run")


def test_a_larger_selection_is_forecast_to_cost_more():
    small, large = (selection_forecast(n, 64, n // 2, method="greedy") for n in (1_000, 100_000))
    assert 0 < small.seconds < large.seconds and 0 < small.bytes < large.bytes
    assert large.bytes > 2 * 100_000 * 64 * 4
