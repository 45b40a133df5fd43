"""A selection with everything in it, for the tests of its page."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from headless import HOSTILE
from PIL import Image
from sklearn.datasets import load_digits

from entropick.features import Pixels
from entropick.selection import Choice
from entropick.selectors import Greedy, OutlierGuard
from entropick.sources import Space, open_sources


@pytest.fixture(scope="session")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder: 200 digits under hostile names, one of them torn, 150 more, of which 20 repeat others, and 10
    of noise, 20 that are given; a guard."""
    place = tmp_path_factory.mktemp("selected")
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    for row, image in enumerate(digits[:200]):
        name = f"{row:03d}{HOSTILE.replace('/', '')}" if row % 2 else f"{row:03d}.png"
        folder = place / "real" / f"class <b>{row % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name, format="PNG")
    (folder / f"torn{HOSTILE}").write_text("no image")
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    made = [digits[200:320], digits[:10], np.maximum(digits[10:20], 3), noise]
    np.save(place / "made.npy", np.concatenate(made))
    np.save(place / "done.npy", digits[500:520])
    choice = Choice(
        sources=open_sources([f"{name}={place / file}" for name, file in FILES.items()]),
        selector=Greedy(n_samples=70, random_state=0),
        space=Space("features", encoder=Pixels()),
        guard=OutlierGuard(trusted=0),
        given=("done",),
        skip_bad=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        # This selection need not survive a power cut.
        patch.setattr(os, "fsync", lambda descriptor: None)
        choice.run(place / "out")
    return place / "out"


FILES = {"<i>real</i>".replace("/", ""): "real", "made": "made.npy", "done": "done.npy"}


@pytest.fixture(scope="session")
def page(selected: Path) -> Path:
    """Its page."""
    return selected / "selection.html"
