"""Pixels in grey levels."""

import numpy as np

from entropick.features import Features, Pixels


def test_grey_levels_in_row_major_order():
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) + 244
    np.testing.assert_array_equal(Pixels().extract(image)[0], np.arange(244, 256, dtype=np.float32))


def test_distances_do_not_wrap():
    black, white = Pixels().extract(np.array([[[0]], [[255]]], np.uint8))
    assert black - white == -255


def test_strided_and_mapped_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(6, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    X = Pixels().extract(mapped)
    assert type(X) is np.ndarray
    np.testing.assert_array_equal(Pixels().extract(images[::2, :, ::-1]), Pixels().extract(images[::2, :, ::-1].copy()))
    np.testing.assert_array_equal(X, images.reshape(6, -1))


def test_is_cheap_and_named():
    assert isinstance(Pixels(), Features)
    assert Pixels.cheap and Pixels().name == "pixels"
    assert Pixels().describe() == {"kind": "pixels"}


def test_the_width_of_images_that_fit_nowhere():
    assert Pixels().width((1 << 20, 1 << 20, 3)) == 3 << 40
