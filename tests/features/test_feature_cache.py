"""The cache of features: extracted once, by encoder and content, part by part; never trusted blindly."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.features import Classifier, Features, Pixels, parts
from entropick.features import cache as feature_cache
from entropick.features.cache import FeatureCache, check_encoder
from entropick.work import Work

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), dtype=np.uint8)


@dataclass(kw_only=True)
class Dear(Features):
    """Pixels that count how often an image was extracted."""

    kind: ClassVar[str] = "dear"
    extracted: ClassVar[list[int]] = []
    name = "dear"
    weights: str = "a"

    def extract(self, images):
        self.extracted.append(len(images))
        return Pixels().extract(images)


class Seen(Work):
    def __init__(self):
        self.steps = []

    def progress(self, done, total, note=""):
        self.steps.append((done, total, note))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(feature_cache, "_PART", 32)
    monkeypatch.setattr(Dear, "at_once", 10)
    Dear.extracted.clear()


def matrix(cache, *, encoder=None, images=IMAGES, work=None):
    return cache.matrix(encoder or Dear(), images, work or Work(), "features")


def test_once_for_an_encoder_and_an_image(tmp_path):
    cache, work = FeatureCache(tmp_path), Seen()
    first = matrix(cache, work=work)
    np.testing.assert_array_equal(first, IMAGES.reshape(100, -1).astype(np.float32))
    assert first.dtype == np.float32 and sum(Dear.extracted) == 100
    assert work.steps[0] == (10, 100, "features") and work.steps[-1] == (100, 100, "features")
    assert [step[0] for step in work.steps] == sorted(step[0] for step in work.steps)
    np.testing.assert_array_equal(matrix(FeatureCache(tmp_path)), first)
    assert sum(Dear.extracted) == 100
    matrix(cache, images=255 - IMAGES)
    assert sum(Dear.extracted) == 200
    matrix(cache, encoder=Dear(weights="b"))
    assert sum(Dear.extracted) == 300


def test_an_interruption_loses_one_part(tmp_path):
    class Stopping(Work):
        def progress(self, done, total, note=""):
            if done > 70:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matrix(FeatureCache(tmp_path), work=Stopping())
    before = sum(Dear.extracted)
    matrix(FeatureCache(tmp_path))
    assert sum(Dear.extracted) - before == 100 - 64


def test_a_checkpoint_is_a_moment_to_stop(tmp_path):
    class Due(Work):
        def due(self):
            return True

        def save(self, name, arrays, state):
            raise TimeoutError

    for n_kept in (32, 64, 96, 100):
        with pytest.raises(TimeoutError):
            matrix(FeatureCache(tmp_path), work=Due())
        assert sum(Dear.extracted) == n_kept
    matrix(FeatureCache(tmp_path), work=Due())
    assert sum(Dear.extracted) == 100


@pytest.mark.parametrize("damage", ["flipped", "torn", "gone", "notes"])
def test_a_damaged_part_is_made_again(tmp_path, damage):
    first = matrix(FeatureCache(tmp_path))
    part = sorted(tmp_path.rglob("*.npy"))[1]
    content = bytearray(part.read_bytes())
    content[-3] ^= 1
    {
        "flipped": lambda: part.write_bytes(content),
        "torn": lambda: part.write_bytes(content[:50]),
        "gone": part.unlink,
        "notes": lambda: part.with_suffix(".json").write_text("{"),
    }[damage]()
    np.testing.assert_array_equal(matrix(FeatureCache(tmp_path)), first)
    assert sum(Dear.extracted) == 132


def test_nothing_is_kept_of_a_cheap_space(tmp_path):
    np.testing.assert_array_equal(matrix(FeatureCache(tmp_path), encoder=Pixels()), matrix(FeatureCache(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_is_new_is_extracted(tmp_path):
    """Whatever stands beside an image, and wherever it stands."""
    cache = FeatureCache(tmp_path)
    matrix(cache, images=IMAGES[:60])
    one = np.full((1, 4, 4, 1), 7, np.uint8)
    Dear.extracted.clear()
    images = np.concatenate([IMAGES[59:30:-1], one, IMAGES[5:25]])
    np.testing.assert_array_equal(matrix(cache, images=images), Pixels().extract(images))
    assert sum(Dear.extracted) == 1


def test_equal_images_are_extracted_once(tmp_path):
    images = np.concatenate([IMAGES[:20], IMAGES[10:30], IMAGES[:5]])
    np.testing.assert_array_equal(matrix(FeatureCache(tmp_path), images=images), Pixels().extract(images))
    assert sum(Dear.extracted) == 30


def test_images_that_come_one_by_one_do_not_become_as_many_files(tmp_path, monkeypatch):
    cache, seen = FeatureCache(tmp_path), Dear()
    for n in range(1, 101):
        X = matrix(cache, images=IMAGES[:n])
    np.testing.assert_array_equal(X, Pixels().extract(IMAGES))
    assert sum(Dear.extracted) == 100 and len(list(tmp_path.rglob("*.npy"))) <= 100 // 32 + parts._LOOSE + 1
    assert len(list(tmp_path.rglob("*.npy"))) == len(list(tmp_path.rglob("*.json")))
    assert matrix(cache, encoder=seen).shape == (100, 16) and sum(Dear.extracted) == 100


def test_killed_while_parts_are_put_together_nothing_is_lost(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path)
    for n in range(1, 9):
        matrix(cache, images=IMAGES[:n])
    with monkeypatch.context() as patched:
        patched.setattr(parts, "_remove", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            matrix(cache, images=IMAGES[:9])
    np.testing.assert_array_equal(matrix(cache), Pixels().extract(IMAGES))
    assert sum(Dear.extracted) == 100
    for n in range(100):
        matrix(cache, images=255 - IMAGES[: n + 1])
    kept = [len(np.load(path)) for path in tmp_path.rglob("*.npy")]
    assert sum(kept) == 200, "rows that were there twice are there once"


def test_images_of_another_size_have_parts_of_their_own(tmp_path):
    cache, small = FeatureCache(tmp_path), IMAGES[:, :3]
    for n in range(1, 20):
        matrix(cache, images=IMAGES[:n])
        np.testing.assert_array_equal(matrix(cache, images=small[:n]), Pixels().extract(small[:n]))
    assert sum(Dear.extracted) == 38


def in_another_process(folder, queue):
    matrix(FeatureCache(folder))
    queue.put(sum(Dear.extracted))


def test_processes_share_the_work(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=in_another_process, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    queue.close()
    assert counts == [0, 100]


@pytest.fixture
def lessons(tmp_path):
    path = tmp_path / "lessons.npz"
    np.savez(path, images=IMAGES, labels=np.arange(100) % 2)
    return str(path)


def test_what_was_learned_is_kept_by_the_content_of_its_lessons(tmp_path, lessons, monkeypatch):
    cache, space = FeatureCache(tmp_path / "cache"), Classifier(path=lessons, steps=3)
    check_encoder(space)
    taught = cache.taught(space, Work())
    assert taught.fitted and not space.fitted and taught.identity() == space.identity()
    X = taught.extract(IMAGES)
    with monkeypatch.context() as patched:
        patched.setattr(Classifier, "fit", None)
        np.testing.assert_array_equal(cache.taught(Classifier(path=lessons, steps=3), Work()).extract(IMAGES), X)
        assert cache.taught(taught, Work()) is taught
    np.savez(lessons, images=IMAGES[::-1], labels=np.arange(100) % 2)
    other = Classifier(path=lessons, steps=3)
    assert other.identity() != taught.identity()
    assert not np.array_equal(cache.taught(other, Work()).extract(IMAGES), X)


def test_a_space_that_cannot_learn_is_refused_at_once(tmp_path, lessons):
    with pytest.raises(InputError, match="classifier learns from labelled images"):
        check_encoder(Classifier())
    np.savez(lessons, images=IMAGES)
    with pytest.raises(InputError, match="expected labels"):
        check_encoder(Classifier(path=lessons))
    check_encoder(Pixels())
