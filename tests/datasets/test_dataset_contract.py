"""What every dataset promises, also one that a third party adds."""

import inspect
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from entropick import config, datasets
from entropick.datasets import Dataset, RealData
from entropick.datasets.base import load_checked
from entropick.errors import InputError
from entropick.work import Work

# Kind -> parameters of a small one; "FILE" and "FOLDER" stand for the fixtures.
EXAMPLES = {
    "digits": {"n_images": 100},
    "array-file": {"path": "FILE"},
    "image-folder": {"path": "FOLDER"},
}


@pytest.fixture(params=sorted(EXAMPLES))
def dataset(request, array_file, folder):
    places = {"FILE": str(array_file), "FOLDER": str(folder)}
    params = {name: places.get(value, value) for name, value in EXAMPLES[request.param].items()}
    return config.build("dataset", {"kind": request.param, **params}, where="test")


def rows(images):
    return {image.tobytes() for image in images}


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(config.kinds("dataset"))


def test_every_dataset_of_the_room_has_a_kind():
    classes = {cls for _, cls in inspect.getmembers(datasets, inspect.isclass) if issubclass(cls, datasets.Dataset)}
    assert {cls.kind for cls in classes if not inspect.isabstract(cls)} == set(EXAMPLES)


def test_images_and_reference_are_regular(dataset):
    data = dataset.load()
    assert isinstance(data, RealData)
    for images in (data.images, data.reference):
        assert images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3) and len(images) > 0
    assert data.images.shape[1:] == data.reference.shape[1:]


def test_labels_belong_to_their_images(dataset):
    data = dataset.load()
    assert data.labels.shape == (len(data.images),) and data.labels.dtype == np.int64
    assert len(set(data.labels.tolist())) > 1


def test_the_reference_is_held_out(dataset):
    data = dataset.load()
    assert not rows(data.images) & rows(data.reference)


def test_the_split_is_always_the_same(dataset):
    first, second = dataset.load(), clone(dataset).load()
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.reference, second.reference)


def test_the_split_does_not_follow_global_random_state(dataset):
    np.random.seed(1)
    first = dataset.load().images
    np.random.seed(2)
    np.testing.assert_array_equal(first, dataset.load().images)


def test_n_images_is_honoured(dataset):
    assert len(dataset.set_params(n_images=9).load().images) == 9


@pytest.mark.parametrize("n_images", [0, -1, 1.5, True, "all"])
def test_unusable_n_images(dataset, n_images):
    with pytest.raises(InputError, match="n_images: expected a whole number"):
        dataset.set_params(n_images=n_images).check()


def test_too_many_images_asked_for(dataset):
    with pytest.raises(InputError, match=r"n_images: .*\d"):
        dataset.set_params(n_images=100_000).load()


def test_the_fingerprint_stays(dataset):
    assert dataset.fingerprint() == dataset.fingerprint() == clone(dataset).fingerprint()
    assert len(dataset.fingerprint()) == 64 and int(dataset.fingerprint(), 16) >= 0


def test_clone_and_parameters(dataset):
    copy = clone(dataset)
    assert copy == dataset and copy is not dataset
    assert copy.get_params() == dataset.get_params()
    assert dataset.describe()["kind"] == type(dataset).kind
    with pytest.raises(TypeError):
        type(dataset)("positional")


def test_the_fingerprint_does_not_depend_on_where_the_images_lie(array_file, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.copy(array_file, tmp_path / "other.npz")
    for kind, old, new in (
        (datasets.ImageFolder, folder, tmp_path / "elsewhere"),
        (datasets.ArrayFile, array_file, tmp_path / "other.npz"),
    ):
        assert kind(path=str(old)).fingerprint() == kind(path=str(new)).fingerprint()


def test_the_fingerprint_follows_the_content(array_file, folder):
    in_file, in_folder = datasets.ArrayFile(path=str(array_file)), datasets.ImageFolder(path=str(folder))
    before = in_file.fingerprint(), in_folder.fingerprint()
    content = dict(np.load(array_file))
    content["images"][3, 0, 0, 0] ^= 1
    np.savez(array_file, **content)
    shutil.copy(folder / "class-0" / "000.png", folder / "class-0" / "002.png")
    assert in_file.fingerprint() != before[0] and in_folder.fingerprint() != before[1]


def test_the_fingerprint_follows_names_and_reference(folder, tmp_path):
    dataset = datasets.ImageFolder(path=str(folder))
    before = dataset.fingerprint()
    # Still the first of all: the bytes and their order stay, only a class gets another name.
    (folder / "class-0").rename(folder / "class")
    moved = dataset.fingerprint()
    assert moved != before
    assert datasets.ImageFolder(path=str(folder), reference=str(folder)).fingerprint() != moved


def test_another_split_is_of_the_same_images_and_the_default_is_the_first(dataset):
    first, second = dataset.load(), clone(dataset).set_params(split_seed=1).load()
    assert rows(first.images) != rows(second.images)
    assert first.images.shape == second.images.shape and first.reference.shape == second.reference.shape
    assert not rows(second.images) & rows(second.reference)
    np.testing.assert_array_equal(clone(dataset).set_params(split_seed=0).load().images, first.images)


def test_a_split_by_seed_is_that_of_the_loops_seed(dataset):
    by_seed = clone(dataset).set_params(split_seed="seed")
    assert by_seed.at_seed(3) == clone(dataset).set_params(split_seed=3)
    assert dataset.at_seed(3) == dataset
    assert by_seed.describe()["split_seed"] == "seed" and "split_seed" not in dataset.describe()
    np.testing.assert_array_equal(by_seed.load().images, dataset.load().images)


@pytest.mark.parametrize("split_seed", [-1, 0.5, "other"])
def test_unusable_split_seeds(dataset, split_seed):
    with pytest.raises(InputError, match="split_seed: expected a whole number"):
        dataset.set_params(split_seed=split_seed).check()


@dataclass(kw_only=True)
class Given(Dataset):
    """Has what it is given."""

    real: Any = None

    def load(self, *, work=None):
        return self.real

    def fingerprint(self):
        return "f" * 64


IMAGES = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1)


def test_images_of_a_dataset_of_others_are_made_regular():
    flat = RealData(IMAGES[..., 0], [0, 1, 2, 3], IMAGES[..., 0], IMAGES[:0])
    loaded = load_checked(Given(real=flat), Work())
    assert (loaded.images == IMAGES).all() and (loaded.reference == IMAGES).all()
    assert loaded.labels.dtype == np.int64 and len(loaded.stock) == 0


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (IMAGES, "expected RealData from its `load`"),
        (RealData(IMAGES, None, None), "expected held-out images as the reference, got None"),
        (RealData(IMAGES.tolist(), None, IMAGES), "images: expected uint8"),
        (RealData(IMAGES, [0], IMAGES), "labels: expected 4 integers"),
        (
            RealData(IMAGES, None, IMAGES[:, :4]),
            r"a reference of the shape of its images, \(8, 8, 1\), got \(4, 8, 1\)",
        ),
        (RealData(IMAGES, None, IMAGES, IMAGES[:, :4]), "a stock of the shape of its images"),
        (RealData(IMAGES / 255, None, IMAGES), "images: expected uint8"),
    ],
)
def test_a_dataset_of_others_is_held_to_its_contract(real, expected):
    with pytest.raises(InputError, match=f"dataset 'Given'.*{expected}"):
        load_checked(Given(real=real), Work())
