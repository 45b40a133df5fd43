"""Inception: torch-fidelity's own features, and weights that are read as tensors only."""

import os

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import some_images

from entropick.errors import InputError
from entropick.features import Inception, inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return checkpoints.write_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


def test_features_are_torch_fidelitys(weights):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    space = Inception(path=str(weights), device="cpu")
    for shape in ((9, 14, 3), (8, 8, 1)):
        images = some_images(shape, n=2)
        pixels = torch.from_numpy(np.broadcast_to(images, (2, *shape[:2], 3)).copy()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = theirs(pixels)[0].numpy()
        X = space.extract(images)
        assert X.shape == (2, 2048) and X.std() > 1e-3
        np.testing.assert_allclose(X, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_images_of_all_sizes_are_those_of_each_alone(weights):
    space = Inception(path=str(weights), device="cpu")
    prepare, extract = space.in_two_steps()
    images = [some_images(shape, n=1)[0] for shape in ((9, 14, 3), (8, 8, 1), (300, 40, 3))]
    X = extract([prepare(image) for image in images])
    np.testing.assert_array_equal(X, np.concatenate([space.extract(image[None]) for image in images]))


def test_only_the_original_weights_are_called_inception(weights, monkeypatch):
    space = Inception(path=str(weights))
    assert space.name == f"inception-{space.weights()[:8]}" and space.identity()["weights"] == space.weights()
    monkeypatch.setattr(inception, "_ORIGINAL", space.weights())
    assert space.name == "inception"


def test_without_weights_one_message_says_how_to_get_them(monkeypatch, tmp_path, weights):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for space in (Inception(), Inception(path=str(tmp_path / "gone.pth"))):
        with pytest.raises(InputError, match="Where there is a network, run\n  python -c"):
            space.check()
    (tmp_path / "checkpoints").mkdir()
    os.link(weights, tmp_path / "checkpoints" / inception._FILE)
    Inception().check()


class Trap:
    def __reduce__(self):
        return (os.system, ("touch sprung",))


def test_a_file_that_wants_to_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Trap()}, "weights.pth")
    with pytest.raises(InputError, match=r"expected torch-fidelity's weights in weights\.pth"):
        Inception(path="weights.pth", device="cpu").extract(some_images())
    assert not (tmp_path / "sprung").exists()
    torch.save({"weight": torch.zeros(2)}, "weights.pth")
    with pytest.raises(InputError, match="expected torch-fidelity's weights"):
        Inception(path="weights.pth", device="cpu").extract(some_images())
