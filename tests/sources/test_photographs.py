"""Photographs as people have them, by an encoder that has a resize of its own and by pixels; only what is new."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from entropick.datasets.reading import read_image
from entropick.errors import InputError
from entropick.features import Features, Pixels, stream
from entropick.scoring import Score
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Contents, Space, open_sources
from entropick.work import Work

sys.path.insert(0, str(Path(__file__).parents[1]))

from photographs import write_photographs

N, LARGEST = 60, 150


@dataclass(kw_only=True)
class Means(Features):
    """Mean colours of a quarter each: takes images of every size, and says how many it was given."""

    kind: ClassVar[str] = "means"
    has_resize: ClassVar[bool] = True
    extracted: ClassVar[list[tuple[int, ...]]] = []
    name = "means"

    def extract(self, images):
        self.extracted.extend(image.shape for image in images)
        halves = [np.array_split(half, 2, axis=2) for half in np.array_split(images, 2, axis=1)]
        means = [quarter.mean(axis=(1, 2)) for quarters in halves for quarter in quarters]
        return np.concatenate(means, axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def none_yet():
    Means.extracted.clear()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    broken = write_photographs(folder / "pool", N, largest=LARGEST, broken=0.05)
    return folder / "pool", broken


@pytest.fixture
def pool(written, tmp_path):
    shutil.copytree(written[0], tmp_path / "pool")
    return tmp_path / "pool"


def candidates(pool, encoder, kept, **more):
    contents = Contents.of(open_sources([f"real={pool}"]), [Space("space", encoder=encoder, **more)], Work())
    found = contents.survey(Work())
    return contents.candidates(contents.spaces[0], found, kept, Work())


def test_an_encoder_with_its_own_resize_takes_every_size(pool, written, tmp_path):
    found = candidates(pool, Means(), tmp_path / "kept")
    files = sorted(path for path in pool.rglob("*") if path.is_file())
    broken = {pool / path.relative_to(written[0]) for path in written[1]}
    assert len(broken) == 3 and {files[row] for row in found.problems[0]} == broken
    assert len(found) == N - 3 and len(set(Means.extracted)) > 20, "sizes are as they were"
    for row, X in zip(found.row, found.X, strict=True):
        np.testing.assert_array_equal(X, Means().extract(read_image(files[row], mode="rgb")[None])[0])


def test_pixels_are_compared_at_a_size_that_is_said_and_never_kept(pool, tmp_path):
    said = []
    choice = Choice(
        sources=open_sources([f"real={pool}"]),
        selector=Greedy(n_samples=20),
        space=Space("features", encoder=Pixels()),
        skip_bad=True,
    )
    told = choice.run(tmp_path / "out", say=said.append)
    assert len(told["skipped"]) == 3 and told["n_distinct"] == 20 and "compared at 32 x 32" in "\n".join(said)
    assert not list((tmp_path / "out" / "work").rglob("*.npy"))


def test_a_size_that_one_space_needs_is_not_that_of_another(pool, tmp_path):
    spaces = [Space("pixels", encoder=Pixels()), Space("means", encoder=Means())]
    sources, said = open_sources([f"{name}={pool}" for name in ("training", "generated")]), []
    Score(sources=sources, spaces=spaces, metrics=("total_variance",), allow_same=True, skip_bad=True).run(
        tmp_path / "out", say=said.append
    )
    assert [line for line in said if "compared" in line] == [
        "images are compared in pixels at 32 x 32: shorter side so long, then the centre (--resize N, resize=N)."
    ]
    assert len(set(Means.extracted)) > 20


@pytest.mark.parametrize("change", ["added", "renamed", "mended", "moved"])
def test_only_the_image_that_is_new_is_extracted(pool, tmp_path, change):
    first = candidates(pool, Means(), tmp_path / "kept")
    assert len(Means.extracted) == N - 3
    Means.extracted.clear()
    file = next(path for path in sorted(pool.rglob("*.jpg")) if path.stat().st_size > 200)
    if change == "added":
        Image.new("RGB", (20, 30), "red").save(pool / "new.png")
    elif change == "mended":
        Image.new("RGB", (20, 30), "red").save(file)
    else:
        file.rename(file.with_name("renamed.jpg") if change == "renamed" else pool / file.name)
    again = candidates(pool, Means(), tmp_path / "kept")
    assert len(Means.extracted) == (1 if change in ("added", "mended") else 0)
    assert len(again) == len(first) + (change == "added")
    np.testing.assert_array_equal(again.X, candidates(pool, Means(), tmp_path / "elsewhere").X)


def test_one_image_added_to_600_is_one_extraction(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pool").mkdir()
    for number in range(600):
        Image.fromarray(rng.integers(0, 256, (4, 4 + number % 5, 3), np.uint8)).save(tmp_path / f"pool/{number}.bmp")
    candidates(tmp_path / "pool", Means(), tmp_path / "kept")
    Means.extracted.clear()
    Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(tmp_path / "pool" / "300-new.bmp")
    assert len(candidates(tmp_path / "pool", Means(), tmp_path / "kept")) == 601
    assert Means.extracted == [(4, 4, 3)]


def test_a_bad_file_found_late_loses_nothing(pool, written, tmp_path):
    """Without --skip-bad all bad ones are named, and what was extracted is there when they are gone."""

    def choose():
        choice = Choice(
            sources=open_sources([f"real={pool}"]),
            selector=Greedy(n_samples=20),
            space=Space("features", encoder=Means()),
        )
        return choice.run(tmp_path / "out")

    # Their heads are right; that they are torn shows when they are decoded.
    for path in written[1]:
        (pool / path.relative_to(written[0])).unlink()
    torn = [path for path in sorted(pool.rglob("*.jpg"))[-3:] if path.write_bytes(path.read_bytes()[:-200])]
    with pytest.raises(InputError, match="cannot be used") as caught:
        choose()
    assert all(path.name in str(caught.value) for path in torn)
    assert sum(shape != (8, 8, 3) for shape in Means.extracted) == N - 6, "one of zeros says how wide rows are"
    for path in torn:
        path.unlink()
    Means.extracted.clear()
    assert choose()["n_samples"] == 20 and set(Means.extracted) == {(8, 8, 3)}


def test_large_images_are_a_few_at_a_time_in_memory(tmp_path, monkeypatch):
    """However many there are: by what is decoded and not yet let go."""
    alive, most = [0], [0]

    class Counted(np.ndarray):
        def __del__(self):
            if self.base is None or type(self.base) is not Counted:
                alive[0] -= 1

    class Pictures:
        def image(self, row):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            return np.zeros((1000, 1000, 3), np.uint8).view(Counted)

    monkeypatch.setattr(stream, "_IMAGE_BYTES", 12_000_000 // Means().at_once)
    n = sum(len(part.rows) for part in stream.stream(Means(), Pictures(), range(100)))
    # Twelve megabytes are a block of four, four wait beside it, and a few are under way.
    assert n == 100 and most[0] <= 4 + 4 + stream.ahead.__globals__["n_threads"]() + 2
