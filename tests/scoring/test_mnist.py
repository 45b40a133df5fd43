"""What a check-up must show on real images: held-out digits are new, noisy training digits are copies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropick.features import Pixels
from entropick.scoring import Score, Space, judge
from entropick.sources import open_sources

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no shared data beside the repository")
METRICS = ("generalization_score_ratio", "near_copy_rate")


@pytest.fixture(scope="module")
def sets() -> dict[str, np.ndarray[Any, Any]]:
    training = np.load(DATA / "mnist_train_12000.npz")["images"][:3000]
    held_out = np.load(DATA / "mnist_test_2000.npz")["images"]
    rng = np.random.default_rng(0)
    rows = rng.choice(len(training), 300, replace=False)
    copies = np.clip(training[rows] + rng.integers(-4, 5, (300, 28, 28)), 0, 255).astype(np.uint8)
    mix = np.concatenate([held_out[1000:1150], copies[:150]])
    return {
        "training": training,
        "reference": held_out[:1000],
        "held out": held_out[1000:1500],
        "copies": copies,
        "half": mix[rng.permutation(300)],
    }


def score(place: Path, sets: dict[str, Any], generated: str) -> dict[str, Any]:
    roles = {"training": sets["training"], "generated": sets[generated], "reference": sets["reference"]}
    for role, images in roles.items():
        np.savez(place / f"{role}.npz", images=images)
    sources = open_sources([f"{role}={place / role}.npz" for role in roles])
    told = Score(sources=sources, spaces=[Space("pixels", encoder=Pixels())], metrics=METRICS).run(place / "out")
    return {**told, **{name: told["values"][f"{name}/pixels"] for name in METRICS}}


def test_held_out_digits_are_as_new_as_fresh_ones(tmp_path: Path, sets: dict[str, Any]) -> None:
    told = score(tmp_path, sets, "held out")
    assert told["generalization_score_ratio"] == pytest.approx(1, abs=0.05)
    assert told["near_copy_rate"] < 0.03 and judge(told)[0].level == "new"


def test_noisy_training_digits_are_copies(tmp_path: Path, sets: dict[str, Any]) -> None:
    told = score(tmp_path, sets, "copies")
    assert told["generalization_score_ratio"] < 0.1
    assert told["near_copy_rate"] == 1 and judge(told)[0].level == "copies"


def test_half_and_half_lies_between_and_the_page_shows_the_copies_first(tmp_path: Path, sets: dict[str, Any]) -> None:
    told = score(tmp_path, sets, "half")
    assert told["generalization_score_ratio"] == pytest.approx(0.5, abs=0.1)
    assert told["near_copy_rate"] == pytest.approx(0.5, abs=0.03) and judge(told)[0].level == "some"
    planted = {row for row, image in enumerate(sets["half"]) if any((image == copy).all() for copy in sets["copies"])}
    text = (tmp_path / "out" / "score.html").read_text()
    shown = [int(row.replace(",", "")) for row in re.findall(r"generated</b> row ([\d,]+)", text)]
    # Copies first, then the nearest of those that are none.
    kinds = "".join("c" if row in planted else "-" for row in shown)
    assert len(planted) == 150 and len(shown) == 48 and kinds.startswith("c" * 16) and kinds.endswith("-" * 8), kinds
    assert json.loads((tmp_path / "out" / "score.json").read_text())["spaces"]["pixels"]["nearest"]["row"] == shown
