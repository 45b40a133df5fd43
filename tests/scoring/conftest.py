"""A score with everything in it, for the tests of its page."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from headless import HOSTILE
from PIL import Image
from sklearn.datasets import load_digits

from entropick.features import Pixels
from entropick.scoring import Condition, Score, Space
from entropick.sources import open_sources


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder: 20 planted copies among 60, hostile file names, one torn file, two spaces, two conditions."""
    place = tmp_path_factory.mktemp("scored")
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    np.save(place / "training.npy", digits[:300])
    np.save(place / "reference.npy", digits[600:800])
    generated = np.concatenate([digits[500:540], np.maximum(digits[:20], 3)])
    (place / "made").mkdir()
    for row, image in enumerate(generated):
        name = f"{row}{HOSTILE.replace('/', '')}" if row % 2 else f"{row}.png"
        Image.fromarray(image).save(place / "made" / name, format="PNG")
    (place / "made" / f"torn{HOSTILE}").write_text("no image")
    made = np.stack([np.asarray(Image.open(file)) for file in sorted((place / "made").glob("[0-9]*"))])
    every = np.concatenate([Pixels().extract(images) for images in (digits[:300], made, digits[600:800])])
    torn = np.zeros((1, 64), np.float32)
    np.save(place / "half.npy", np.concatenate([every[:360], torn, every[360:]]) / 2)
    names = {"training": "training.npy", "generated": "made", "reference": "reference.npy"}
    score = Score(
        sources=open_sources([f"{role}={place / name}" for role, name in names.items()]),
        spaces=[Space("pixels", encoder=Pixels()), Space("half", file=place / "half.npy")],
        metrics=["generalization_score", "generalization_score_ratio", "near_copy_rate", "recall"],
        conditions=[Condition.parse("near_copy_rate>0.2"), Condition.parse("recall/pixels<0.1")],
        skip_bad=True,
        with_intervals=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        # This score need not survive a power cut.
        patch.setattr(os, "fsync", lambda descriptor: None)
        score.run(place / "out")
    return place / "out"


@pytest.fixture(scope="session")
def page(scored: Path) -> Path:
    """Its page."""
    return scored / "score.html"
