"""How much planted garbage training sets have, beside their pools."""

from __future__ import annotations

import numpy as np
import pytest

from entropick import Accumulate, Loop, Study
from entropick.datasets import ArrayFile
from entropick.generators import KDE
from entropick.report.figure import Look
from entropick.report.findings import findings
from entropick.report.sources import garbage, sources
from entropick.report.table import read_table
from entropick.run.history import History, find_runs
from entropick.selectors import Greedy, Random


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three arms, two seeds, of grey images; white noise is planted into two of them."""
    place = tmp_path_factory.mktemp("garbage")
    images = np.clip(np.random.default_rng(0).normal(120, 9, (60, 4, 4, 1)), 0, 255).astype(np.uint8)
    np.save(place / "images.npy", images)
    common = {"generator": KDE(), "paradigm": Accumulate(), "n_iterations": 3, "n_generated": 50}
    common["dataset"] = ArrayFile(path=str(place / "images.npy"), n_images=40)
    arms = {
        "clean": Loop(selector=Random(n_samples=40), **common),
        "random": Loop(selector=Random(n_samples=40), garbage_share=0.1, **common),
        "greedy": Loop(selector=Greedy(n_samples=40), garbage_share=0.1, **common),
    }
    Study(name="garbage", arms=arms, seeds=(0, 1)).run(place / "run")
    return place / "run"


def test_shares_of_training_sets_and_pools(folder):
    """A pool has 40 real images and 50 + 5 of each generation; what was picked is counted from the tables of picks."""
    table = read_table(folder)
    arms = {arm.name: arm for arm in table.study.arms}
    assert garbage(table, arms["clean"]) == {}
    for name in ("random", "greedy"):
        picked = {n: [] for n in (1, 2, 3)}
        for run in map(History, find_runs(folder / "arms" / name)):
            for n, shares in picked.items():
                chosen = run.load(n, "selection.parquet")
                shares.append(np.mean((np.asarray(chosen["source"]) > 0) & (np.asarray(chosen["row"]) >= 50)))
        assert garbage(table, arms[name]) == pytest.approx({n: np.mean(shares) for n, shares in picked.items()})
        pools = [table.over_seeds(arms[name], n, "pool", "garbage").mean for n in (1, 2, 3)]
        assert pools == pytest.approx([0, 5 / 95, 10 / 150])
    # Greedy picks all there is at first.
    assert garbage(table, arms["greedy"])[2] == pytest.approx(5 / 40)


def test_it_is_drawn_and_said(folder):
    table = read_table(folder)
    figures = {figure.name: figure for figure in sources(table, Look(table.study))}
    assert list(figures) == ["real-shares", "garbage-shares", "source-shares"]
    head, pool, *arms = figures["garbage-shares"].cells
    assert head == ("arm", "iteration 1", "iteration 2", "iteration 3")
    assert pool[1:] == ("0 %", "5.26 %", "6.67 %") and arms[1][:3] == ("greedy", "0 %", "12.5 %")
    assert [arm for arm, *_ in arms] == ["random", "greedy"]
    (said,) = [finding for finding in findings(table) if finding.startswith("Planted garbage")]
    assert "of the pool 6.67 %" in said and f"greedy {arms[1][3]}" in said and "clean" not in said


def test_nothing_is_said_where_none_was_planted(study):
    table = read_table(study)
    assert "garbage-shares" not in {figure.name for figure in sources(table, Look(table.study))}
    assert not any("garbage" in finding for finding in findings(table))
