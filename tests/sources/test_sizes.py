"""Images of different sizes are compared at one, and it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entropick.datasets.reading import read_image, resized
from entropick.errors import InputError
from entropick.features import Pixels
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Space, open_sources


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Thirty photographs of as many sizes."""
    monkeypatch.chdir(tmp_path)
    Path("real").mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 256, (40 + number, 90 - number, 3), np.uint8)
        Image.fromarray(pixels).save(f"real/{number:02d}.png")
    return tmp_path


def chosen(*sources, n=30, resize=None, **more):
    said, space = [], Space("pixels", encoder=Pixels(), resize=resize)
    choice = Choice(sources=open_sources(sources), selector=Greedy(n_samples=n), space=space, **more)
    return choice.run(Path("out"), say=said.append), "\n".join(said)


def test_photographs_of_many_sizes_are_compared_at_32(place):
    told, said = chosen("a=real")
    assert told["skipped"] == [] and told["n_distinct"] == 30
    assert "compared at 32 x 32" in said and "with 3,072 features" in said


def test_broken_files_are_not_buried(place):
    Path("real/torn.png").write_bytes(Path("real/00.png").read_bytes()[:-400])
    with pytest.raises(InputError) as caught:
        chosen("a=real")
    assert len(str(caught.value).splitlines()) == 2 and "torn.png" in str(caught.value)
    assert [bad["path"] for bad in chosen("a=real", skip_bad=True)[0]["skipped"]] == ["real/torn.png"]


def test_a_size_that_is_asked_for(place):
    np.save("made.npy", np.random.default_rng(1).integers(0, 256, (5, 20, 24, 3), np.uint8))
    told, said = chosen("a=real", "b=made.npy", n=35, resize=16)
    assert "compared at 16 x 16" in said and "with 768 features" in said and told["n_distinct"] == 35
    with pytest.raises(InputError, match="resize: expected a whole number of at least 1, got 0"):
        chosen("a=real", resize=0)
    with pytest.raises(InputError, match="resize: expected a whole number of at most 9,459, got 100000"):
        chosen("a=real", resize=100_000)


def test_the_centre_of_the_shorter_side(tmp_path):
    pixels = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (40, 1))
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    small = read_image(tmp_path / "wide.png", mode="grey", side=10)
    np.testing.assert_allclose(small, pixels[:, 30:70].reshape(10, 4, 10, 4).mean(axis=(1, 3)), atol=1)
    np.testing.assert_array_equal(resized(pixels[None, ..., None], 10)[0, ..., 0], small)
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png", mode="grey", side=40), pixels[:, 30:70])
