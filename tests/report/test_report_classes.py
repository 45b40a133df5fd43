"""What became of each class, drawn where a loop counted them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from entropick import Accumulate, Loop, Study
from entropick.datasets import ArrayFile
from entropick.generators import KDE
from entropick.report.classes import classes
from entropick.report.figure import Look
from entropick.report.table import read_table
from entropick.selectors import Random


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two arms, two seeds, of three classes of noise."""
    place = tmp_path_factory.mktemp("classes")
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images = np.clip(40 + 80 * labels[:, None, None, None] + rng.normal(0, 9, (60, 4, 4, 1)), 0, 255).astype(np.uint8)
    np.savez(place / "images.npz", images=images, labels=labels)
    dataset = ArrayFile(path=str(place / "images.npz"), n_images=40)
    common = {"dataset": dataset, "generator": KDE(), "paradigm": Accumulate(), "n_iterations": 2, "by_class": True}
    arms = {
        "accumulate": Loop(selector=Random(n_samples=40, stratify=True), **common),
        "accumulate+random": Loop(selector=Random(n_samples=40), **common),
    }
    Study(name="classes", arms=arms, seeds=(0, 1)).run(place / "run")
    return place / "run"


def test_a_line_per_arm_and_a_panel_of_shares(folder):
    table = read_table(folder)
    figures = {figure.name: figure for figure in classes(table, Look(table.study))}
    assert list(figures) == ["generated-classes", "generated-dispersion", "class-shares"]
    arm = table.study.arms[0]
    mean = table.over_seeds(arm, 2, "generated_classes/pixels", "classes").mean
    assert 2 < mean <= 3 and figures["generated-classes"].cells[1][2].startswith(f"{mean:.1f}")
    (bars, _) = figures["class-shares"].panels
    assert bars.title == "accumulate"
    (text,) = [of["values"] for of in [bars.chart.to_dict(validate=False)["data"]] if "values" in of] or [
        next(iter(bars.chart.to_dict(validate=False)["datasets"].values()))
    ]
    rows = json.loads(text)
    assert {row["class"] for row in rows} == {"0", "1", "2"}
    assert sum(row["share"] for row in rows if row["iteration"] == 1) == pytest.approx(1)


def test_nothing_is_drawn_where_nothing_was_counted(study):
    table = read_table(study)
    assert list(classes(table, Look(table.study))) == []
