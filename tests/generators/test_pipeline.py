"""Diffusers loads and samples what we save; we sample what Diffusers saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline
from planted import IMAGES, LABELS, SAMPLE, fitted
from planted import TRAIN as STREAM

from entropick.errors import InputError, StorageError
from entropick.generators import DDPM, Pipeline, save_pipeline

# Wide enough that no norm group has fewer than four numbers: with one or two, rounding decides what comes out.
UNET = {"network": "unet", "width": 32, "depth": 1, "steps": 8, "batch_size": 4, "learning_rate": 1e-3}
SMALL = {"sampling_steps": 10, "sampling_chunk": 6, "precision": "float32", "device": "cpu", "warmup_steps": 0}


@pytest.fixture(scope="module")
def model():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 16, 3), dtype=np.uint8)
    return DDPM(**UNET, **SMALL).fit(images, stream=STREAM)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    save_pipeline(model, folder, title="A test", facts={"training images": 20, "odd": "a|b\nc"})
    return folder


def test_diffusers_loads_the_folder_and_makes_the_images_that_we_make(model, folder):
    pipeline = DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    random = torch.Generator().manual_seed(SAMPLE.integer(0))
    made = pipeline(batch_size=6, generator=random, num_inference_steps=10, output_type="np").images
    ours = model.sample(6, stream=SAMPLE)
    assert made.shape == (6, 8, 16, 3)
    assert np.abs((made * 255).round() - ours).max() <= 1


def test_a_network_of_velocities_is_written_as_one(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 16, 3), dtype=np.uint8)
    model = DDPM(**UNET, **SMALL, predicts="velocity").fit(images, stream=STREAM)
    assert model.describe()["predicts"] == "velocity" and "predicts" not in DDPM(**UNET).describe()
    save_pipeline(model, tmp_path / "model", title="", facts={})
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "model", low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    random = torch.Generator().manual_seed(SAMPLE.integer(0))
    made = pipeline(batch_size=6, generator=random, num_inference_steps=10, output_type="np").images
    assert np.abs((made * 255).round() - model.sample(6, stream=SAMPLE)).max() <= 1
    ours = Pipeline(path=str(tmp_path / "model"), **_sampling(10)).sample(6, stream=SAMPLE)
    assert np.abs(ours.astype(int) - model.sample(6, stream=SAMPLE)).max() <= 1


def test_fewer_timesteps_have_larger_betas_in_the_folder_too(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    model = DDPM(**{**UNET, **SMALL, "timesteps": 50}).fit(images, stream=STREAM)
    save_pipeline(model, tmp_path / "model", title="", facts={})
    ours = model.sample(6, stream=SAMPLE)
    theirs = Pipeline(path=str(tmp_path / "model"), **_sampling(10)).sample(6, stream=SAMPLE)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def _sampling(steps):
    return {"sampling_steps": steps, "sampling_chunk": 6, "precision": "float32", "device": "cpu"}


def test_the_card_tells_the_facts(folder):
    card = (folder / "README.md").read_text()
    for told in (
        "# A test",
        "8 x 16 pixels with 3 channel(s)",
        "| training images | 20 |",
        "a\\|b c",
        "| `width` | 32 |",
    ):
        assert told in card


def test_nothing_in_the_folder_is_a_pickle(folder):
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".md", ".safetensors"}


@pytest.mark.parametrize("steps", [10, 5])
def test_a_pipeline_folder_is_a_generator_that_samples(model, folder, steps):
    pipeline = Pipeline(path=str(folder), **_sampling(steps))
    sampled = pipeline.sample(9, stream=SAMPLE)
    assert (sampled.shape, sampled.dtype) == ((9, 8, 16, 3), np.uint8)
    assert np.abs(pipeline.sample(3, stream=SAMPLE).astype(int) - sampled[:3]).max() <= 1
    if steps == 10:
        assert np.abs(sampled.astype(int) - model.sample(9, stream=SAMPLE)).max() <= 1


def test_a_pipeline_with_another_scheduler(folder, tmp_path):
    DDIMPipeline.from_pretrained(folder, low_cpu_mem_usage=False).save_pretrained(tmp_path / "ddim")
    sampled = Pipeline(path=str(tmp_path / "ddim"), **_sampling(6)).sample(7, stream=SAMPLE)
    assert sampled.shape == (7, 8, 16, 3)


def test_a_pipeline_is_not_trained(folder):
    pipeline = Pipeline(path=str(folder))
    for use in (lambda: pipeline.fit(IMAGES), lambda: pipeline.check_fits((8, 16, 3))):
        with pytest.raises(InputError, match="a pipeline only samples"):
            use()


def test_written_down_and_restored_it_is_the_same_folder(folder):
    pipeline = Pipeline(path=str(folder), **_sampling(5))
    arrays, state = pipeline.state()
    restored = Pipeline(**pipeline.get_params()).restore(dict(arrays), state)
    np.testing.assert_array_equal(restored.sample(3, stream=SAMPLE), pipeline.sample(3, stream=SAMPLE))


ODD_FOLDERS = {
    "no index": None,
    "no JSON": "{",
    "other parts": json.dumps(
        {"unet": ["diffusers", "UNet2DConditionModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    ),
    "code of its own": json.dumps({"unet": ["evil", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}),
    "a scheduler that scales": json.dumps(
        {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    ),
    "no weights": json.dumps({"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}),
}


@pytest.mark.parametrize("odd", ODD_FOLDERS)
def test_other_folders_are_refused(odd, tmp_path):
    if ODD_FOLDERS[odd] is not None:
        (tmp_path / "model_index.json").write_text(ODD_FOLDERS[odd])
    with pytest.raises(InputError, match="expected a"):
        Pipeline(path=str(tmp_path)).sample(1)


def test_what_a_pipeline_has_no_place_for_is_refused(tmp_path):
    unet = {**UNET, "steps": 1}
    for model, reason in (
        (fitted(), "network: expected 'unet', got 'mlp'"),
        (fitted(labels=LABELS, conditional=True, **unet), "tells a network no class"),
        (fitted(**unet), r"multiples of 4, got \(6, 6, 1\)"),
        (DDPM(), "not fitted"),
    ):
        with pytest.raises(InputError, match=reason):
            save_pipeline(model, tmp_path / "model", title="", facts={})
    assert list(tmp_path.iterdir()) == []


def test_a_network_over_patches_is_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 1), dtype=np.uint8)
    model = DDPM(**{**UNET, **SMALL, "steps": 1, "patch": 2}).fit(images, stream=STREAM)
    assert model.sample(2, stream=SAMPLE).shape == (2, 16, 16, 1)
    with pytest.raises(InputError, match=r"^patch: expected 1, got 2\. .*does not cut images into patches"):
        save_pipeline(model, tmp_path / "model", title="", facts={})


def test_a_folder_with_something_in_it_is_left_alone(model, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        save_pipeline(model, tmp_path, title="", facts={})
    with pytest.raises(StorageError, match="could not write"):
        save_pipeline(model, tmp_path / "mine.txt" / "model", title="", facts={})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
