import numpy as np
import pytest
from tiny_images import some_images, write_folder


@pytest.fixture
def folder(tmp_path):
    """Twenty grey images in two classes."""
    return write_folder(tmp_path / "folder", some_images(20), n_classes=2)


@pytest.fixture
def array_file(tmp_path):
    """Twenty RGB images with labels."""
    path = tmp_path / "images.npz"
    np.savez(path, images=some_images(20, channels=3), labels=np.arange(20) % 4)
    return path
