"""Images that are dealt to workers: the same features, kept alike, whoever is lost on the way."""

import os
import signal

import numpy as np
import pytest
from checkpoints import some_images, write_dinov2
from PIL import Image
from spaces_of_workers import Dear, Elsewhere

from entropick.datasets import reading
from entropick.errors import BudgetSpent, InputError
from entropick.features import DINOv2, Pixels, stream
from entropick.features import cache as feature_cache
from entropick.features.cache import FeatureCache, Rows
from entropick.features.stream import ImageFiles
from entropick.processes.dealing import dealing
from entropick.processes.engine import engine
from entropick.work import Work

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), dtype=np.uint8)


class Killing(Work):
    """Kills the workers one after another."""

    def __init__(self):
        self.dealt, self.steps, self.n_killed = None, [], 0

    def progress(self, done, total, note=""):
        self.steps.append((done, total, note))
        if self.n_killed < 2:
            os.kill(self.dealt._workers.pids[self.n_killed], signal.SIGKILL)
            self.n_killed += 1


class Two(Work):
    """Two workers, both of them this process."""

    n_workers = 2


class Due(Two):
    """Spends its budget at the first checkpoint."""

    def due(self):
        return True

    def save(self, name, arrays, state):
        raise BudgetSpent


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(feature_cache, "_PART", 32)
    monkeypatch.setattr(stream, "_DEALT", 20)


def by_two(tmp_path, work, encoder, images=IMAGES):
    with dealing(work, engine("processes:2"), tmp_path / "rows") as work.dealt:
        return FeatureCache(tmp_path / "cache").matrix(encoder, images, work.dealt, "features")


def test_each_worker_has_its_share_and_is_made_anew(tmp_path):
    work = Killing()
    found = by_two(tmp_path, work, Dear())
    np.testing.assert_array_equal(found[:, :16], Pixels().extract(IMAGES))
    assert len(set(found[:, 16])) == 4 and os.getpid() not in set(found[:, 16]), "two, killed once each"
    assert work.n_killed == 2 and work.steps[-1] == (100, 100, "features")
    assert [done for done, _, _ in work.steps] == sorted(done for done, _, _ in work.steps)
    kept = sorted(len(np.load(path)) for path in (tmp_path / "cache").rglob("*.npy"))
    assert kept == [4, 32, 32, 32]
    # Whoever comes next finds them, with workers or without.
    np.testing.assert_array_equal(FeatureCache(tmp_path / "cache").matrix(Dear(), IMAGES, Work(), "features"), found)


def test_a_budget_ends_with_what_is_kept(tmp_path):
    with pytest.raises(BudgetSpent):
        FeatureCache(tmp_path / "cache").matrix(Dear(), IMAGES, Due(), "features")
    assert sum(len(np.load(path)) for path in (tmp_path / "cache").rglob("*.npy")) == 64


def test_files_that_cannot_be_used_are_named_in_their_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = []
    for row, image in enumerate(IMAGES[:60, ..., 0]):
        Image.fromarray(image).save(f"{row:02d}.png")
        files.append(tmp_path.relative_to(tmp_path) / f"{row:02d}.png")
    for row in (3, 41):
        files[row].write_bytes(files[row].read_bytes()[:60])
    pictures = ImageFiles(files, [reading.hash_image(file) for file in files], "grey")
    rows = Rows(60)
    problems = FeatureCache(tmp_path / "cache").fill(rows.put, Dear(), pictures, Two(), "features")
    expected = Rows(60)
    assert problems == FeatureCache(tmp_path / "other").fill(expected.put, Dear(), pictures, Work(), "features")
    assert sorted(problems) == [3, 41]
    good = np.setdiff1d(np.arange(60), [3, 41])
    np.testing.assert_array_equal(rows.matrix()[good, :16], Pixels().extract(IMAGES[good]))


def test_other_weights_elsewhere(tmp_path):
    with pytest.raises(InputError, match="expected the weights of dear that the command itself has"):
        by_two(tmp_path, Work(), Elsewhere())


def test_the_same_bits_of_a_network(tmp_path):
    space = DINOv2(path=str(write_dinov2(tmp_path / "weights")), device="cpu")
    images = some_images(n=70)
    found = by_two(tmp_path, Work(), space, images)
    np.testing.assert_array_equal(found, space.extract(images))
