from pathlib import Path

import numpy as np
import pytest
from tiny_images import some_images

from entropick.datasets import ArrayFile
from entropick.errors import InputError

REAL_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def save(path, **arrays):
    np.savez(path, **arrays)
    return ArrayFile(path=str(path))


def test_npy_without_labels(tmp_path):
    np.save(tmp_path / "a.npy", some_images(10)[..., 0])
    data = ArrayFile(path=str(tmp_path / "a.npy")).load()
    assert data.images.shape == (8, 6, 5, 1) and data.reference.shape == (2, 6, 5, 1) and data.labels is None


def test_labels_go_with_their_images(tmp_path):
    images = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None], (30, 4, 4))
    data = save(tmp_path / "a.npz", images=images, labels=np.arange(30)).load()
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist()


def test_a_reference_of_its_own_leaves_all_images(array_file, tmp_path):
    np.save(tmp_path / "held.npy", some_images(7, channels=3, seed=1))
    data = ArrayFile(path=str(array_file), reference=str(tmp_path / "held.npy")).load()
    assert len(data.images) == 20
    np.testing.assert_array_equal(data.reference, some_images(7, channels=3, seed=1))
    fewer = ArrayFile(path=str(array_file), reference=str(tmp_path / "held.npy"), n_images=5, n_reference=3).load()
    assert len(fewer.images) == 5 and len(fewer.reference) == 3


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"gone\.npy: expected a file of images, but there is none"):
        ArrayFile(path=str(tmp_path / "gone.npy")).check()


def test_missing_reference(array_file, tmp_path):
    with pytest.raises(InputError, match=r"gone\.npz: expected a file"):
        ArrayFile(path=str(array_file), reference=str(tmp_path / "gone.npz")).check()


def test_other_suffix(tmp_path):
    with pytest.raises(InputError, match=r"images\.png: expected a \.npy or \.npz file"):
        ArrayFile(path=str(tmp_path / "images.png")).check()


def test_folder_named_like_a_file(tmp_path):
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(InputError, match="expected a file of images"):
        ArrayFile(path=str(tmp_path / "a.npy")).check()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("content", [b"", b"not an array at all\n", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"])
def test_not_a_numpy_file(tmp_path, suffix, content):
    path = tmp_path / f"text.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"text\.{suffix}: expected a NumPy file"):
        ArrayFile(path=str(path)).load()


def test_truncated_file(array_file):
    array_file.write_bytes(array_file.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"images\.npz: expected .*NumPy file"):
        ArrayFile(path=str(array_file)).load()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickles_are_refused(tmp_path, suffix):
    path, images = tmp_path / f"a.{suffix}", np.array([{"an": "object"}, None], object)
    if suffix == "npy":
        np.save(path, images, allow_pickle=True)
    else:
        np.savez(path, images=images, allow_pickle=True)
    with pytest.raises(InputError, match=r"without pickles, but it holds Python objects\. Save an array of numbers\.$"):
        ArrayFile(path=str(path)).load()


def test_no_array_named_images(tmp_path):
    with pytest.raises(InputError, match="expected an array named 'images', found pixels, y"):
        save(tmp_path / "a.npz", pixels=some_images(9), y=np.arange(9)).load()


@pytest.mark.parametrize(
    ("images", "came"),
    [
        (np.zeros((9, 6, 5)), "float64"),
        (np.zeros((9, 6, 5), np.uint16), "uint16"),
        (np.zeros((9, 6), np.uint8), r"\(9, 6\)"),
        (np.zeros((9, 3, 6, 5), np.uint8), r"\(9, 3, 6, 5\)"),
        (np.zeros((9, 6, 5, 4), np.uint8), r"\(9, 6, 5, 4\)"),
        (np.zeros((0, 6, 5), np.uint8), r"\(0, 6, 5, 1\)"),
        (np.uint8(3), r"\(\)"),
        (np.zeros((9, 6)), r"\(9, 6\), dtype float64. Embeddings are a matrix"),
    ],
)
def test_wrong_images(tmp_path, images, came):
    with pytest.raises(InputError, match=rf"a\.npz: images: expected .*{came}"):
        save(tmp_path / "a.npz", images=images).load()


@pytest.mark.parametrize("labels", [np.arange(8), np.arange(9.0), np.zeros((9, 2), int), np.array(["a"] * 9)])
def test_wrong_labels(tmp_path, labels):
    with pytest.raises(InputError, match=r"a\.npz: labels: expected 9 integers"):
        save(tmp_path / "a.npz", images=some_images(9), labels=labels).load()


@pytest.mark.parametrize("n_images", [20, 21])
def test_nothing_left_for_the_reference(array_file, n_images):
    with pytest.raises(
        InputError, match=rf"n_images: {n_images} were asked for, but .*images\.npz has 20 images, some of.*Lower n_im"
    ):
        ArrayFile(path=str(array_file), n_images=n_images).load()


def test_a_single_image_cannot_be_split(tmp_path):
    with pytest.raises(InputError, match=r"a\.npz has 1 image, some"):
        save(tmp_path / "a.npz", images=some_images(1)).load()


def test_more_reference_than_there_is(array_file):
    expected = (
        r"n_reference: 5 were asked for, but .*leaves 4 images for it\. Lower n_reference, or n_images \(--images\)"
    )
    with pytest.raises(InputError, match=expected):
        ArrayFile(path=str(array_file), n_reference=5).load()


def test_reference_of_another_shape(array_file, tmp_path):
    np.save(tmp_path / "grey.npy", some_images(7))
    with pytest.raises(InputError, match=r"reference: expected images of shape \(6, 5, 3\), got \(6, 5, 1\)"):
        ArrayFile(path=str(array_file), reference=str(tmp_path / "grey.npy")).load()


@pytest.mark.parametrize(
    ("train", "test", "shape"),
    [
        ("mnist_train_12000", "mnist_test_2000", (28, 28, 1)),
        ("cifar10_train_32768", "cifar10_test_9977", (32, 32, 3)),
    ],
)
def test_real_data(train, test, shape):
    paths = [REAL_DATA / f"{name}.npz" for name in (train, test)]
    if not all(path.is_file() for path in paths):
        pytest.skip("the real data is not on this machine")
    data = ArrayFile(path=str(paths[0]), reference=str(paths[1]), n_images=1000, n_reference=500).load()
    assert data.images.shape == (1000, *shape) and data.reference.shape == (500, *shape)
    assert set(data.labels.tolist()) == set(range(10))
    assert 20 < data.images.mean() < 150
