"""DINOv2 and any encoder: the values are those of the library's own path, one image at a time."""

import re
import shutil

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import some_images
from PIL import Image

from entropick.errors import EntropickWarning, InputError, MissingDependency
from entropick.features import DINOv2, Encoder, network

SHAPES = [(13, 8, 3), (31, 3, 3), (3, 40, 3), (9, 17, 1), (64, 64, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    checkpoints.write_dinov2(folder / "dinov2")
    checkpoints.write_vit(folder / "with-pooler", pooler=True)
    checkpoints.write_vit(folder / "without-pooler", pooler=False)
    checkpoints.write_clip(folder / "clip")
    checkpoints.write_timm(folder / "timm")
    checkpoints.write_masking(folder / "masking")
    return folder


def pictures(images):
    """As Pillow has them, RGB."""
    return [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB") for image in images]


def by_transformers(folder, images, pick):
    """The library's documented use: a processor and a model, one picture at a time."""
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [pick(model, processor(images=picture, return_tensors="pt")) for picture in pictures(images)]
    return torch.cat(rows).numpy()


def class_token(model, inputs):
    return model(**inputs).last_hidden_state[:, 0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dinov2_is_the_class_token_of_transformers(folder, shape):
    images = some_images(shape)
    X = DINOv2(path=str(folder / "dinov2"), device="cpu").extract(images)
    assert X.shape == (6, 384)
    np.testing.assert_allclose(X, by_transformers(folder / "dinov2", images, class_token), rtol=1e-5, atol=1e-5)
    pooled = by_transformers(folder / "dinov2", images, lambda model, inputs: model(**inputs).pooler_output)
    np.testing.assert_allclose(X, pooled, rtol=1e-5, atol=1e-5)


def test_torchvisions_processor_prepares_nearly_the_same(folder):
    """The library's other way of resizing rounds differently; a wrong size, crop or scale would be far off."""
    from transformers import AutoImageProcessor

    images = some_images((13, 8, 3))
    ours, theirs = (
        AutoImageProcessor.from_pretrained(folder / "dinov2", backend=backend)(images=pictures(images))["pixel_values"]
        for backend in ("pil", "torchvision")
    )
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < 0.05


OUTPUTS = {
    "with-pooler": lambda model, inputs: model(**inputs).pooler_output,
    "without-pooler": class_token,
    "clip": lambda model, inputs: model.get_image_features(**inputs).pooler_output,
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_encoders_of_transformers(folder, name, shape):
    images = some_images(shape)
    space = Encoder(model=str(folder / name), device="cpu")
    assert space.name == name
    expected = by_transformers(folder / name, images, OUTPUTS[name])
    np.testing.assert_allclose(space.extract(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_encoders_of_timm(folder, shape):
    import timm

    images = some_images(shape)
    model = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model), is_training=False)
    with torch.inference_mode():
        expected = torch.cat([model(transform(picture)[None]) for picture in pictures(images)]).numpy()
    X = Encoder(model=str(folder / "timm"), library="timm", device="cpu").extract(images)
    np.testing.assert_allclose(X, expected, rtol=1e-4, atol=1e-5)


def test_more_images_than_a_batch_and_what_surrounds_them(folder, monkeypatch):
    """Batches of another size, an autocast and a lower precision around: float32 all the same."""
    images = some_images(n=11)
    space = DINOv2(path=str(folder / "dinov2"), device="cpu")
    X = space.extract(images)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(space.extract(images), X)
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_array_equal(space.extract(images), X)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    monkeypatch.setitem(network._PASS, "cpu", 7)
    np.testing.assert_allclose(space.extract(images), X, rtol=1e-5, atol=1e-5)


SWITCHES = {
    "convolutions": [(torch.backends.cudnn.conv, "tf32"), (torch.backends.mkldnn.conv, "bf16")],
    "convolutions, off": [(torch.backends.cudnn.conv, "ieee")],
    "everything": [(torch.backends, "tf32"), (torch.backends.cudnn.conv, "none")],
}


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_callers_who_use_the_newer_switches(switches):
    def of_convolutions():
        return [backend.conv.fp32_precision for backend in (torch.backends.cudnn, torch.backends.mkldnn)]

    before = [switch.fp32_precision for switch, _ in switches]
    try:
        for switch, precision in switches:
            switch.fp32_precision = precision
        allowed = of_convolutions()
        with network.exact_arithmetic("cpu"), network.exact_arithmetic("cpu"):
            assert of_convolutions() == ["ieee", "ieee"] and torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert of_convolutions() == allowed and not torch.backends.cudnn.deterministic
    finally:
        for (switch, _), precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def test_a_pass_that_does_not_fit_into_memory_is_halved_and_said(folder, monkeypatch):
    images = some_images(n=23)
    space = DINOv2(path=str(folder / "dinov2"), device="cpu")
    X = space.extract(images)
    real, sizes = space._network(torch.device("cpu")), []

    def forward(batch):
        sizes.append(len(batch))
        if len(batch) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real.forward(batch)

    monkeypatch.setattr(network, "_smaller", {})
    monkeypatch.setattr(DINOv2, "_network", lambda space, device: network.Network(real.prepare, forward))
    with pytest.warns(
        EntropickWarning, match="out of memory on cpu; [84] images go through the network at once"
    ) as said:
        found = space.extract(images)
    np.testing.assert_allclose(found, X, rtol=1e-5, atol=1e-5)
    # No pass is tried again that did not fit.
    assert sizes == [16, 8, *[4] * 6] and len(said) == 2
    space.extract(images[:3])
    assert sizes[-1] == 4 and len(sizes) == 9


def test_a_gpu_is_given_more_at_once(folder, monkeypatch):
    space = DINOv2(path=str(folder / "dinov2"), device="auto")
    monkeypatch.setattr(network, "usable_device", lambda device: "cuda")
    assert space.at_once == 256
    monkeypatch.setattr(network, "usable_device", lambda device: "cpu")
    assert space.at_once == 64


@pytest.mark.parametrize("name", ["dinov2", "timm", "clip"])
def test_bfloat16_is_another_space_nearby_whose_rows_depend_on_their_image_alone(folder, name):
    images = some_images(n=21)
    spaces = [
        DINOv2(path=str(folder / name), device="cpu", precision=precision)
        if name == "dinov2"
        else Encoder(model=str(folder / name), device="cpu", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    X, coarse = (space.extract(images) for space in spaces)
    assert spaces[0].identity() != spaces[1].identity() and not np.array_equal(X, coarse)
    assert coarse.dtype == np.float32 and np.linalg.norm(X - coarse) < 0.03 * np.linalg.norm(X)
    order = np.random.default_rng(0).permutation(21)[:17]
    np.testing.assert_array_equal(spaces[1].extract(images[order]), coarse[order])
    np.testing.assert_array_equal(spaces[1].extract(images[3:4]), coarse[3:4])


def test_images_of_all_sizes_are_those_of_each_alone(folder):
    """In one pass, prepared one by one: the bits that each has by itself."""
    for space in (DINOv2(path=str(folder / "dinov2"), device="cpu"), Encoder(model=str(folder / "timm"), device="cpu")):
        prepare, extract = space.in_two_steps()
        images = [some_images(shape, n=1)[0] for shape in SHAPES for _ in range(2)]
        X = extract([prepare(image) for image in images])
        np.testing.assert_array_equal(X, np.concatenate([space.extract(image[None]) for image in images]))


def test_a_model_that_takes_images_as_large_as_they_are_needs_one_size(folder, tmp_path):
    shutil.copytree(folder / "dinov2", tmp_path / "any-size")
    config = tmp_path / "any-size" / "preprocessor_config.json"
    config.write_text(re.sub('"do_(resize|center_crop)": true', r'"do_\1": false', config.read_text()))
    space = Encoder(model=str(tmp_path / "any-size"), device="cpu")
    prepare, extract = space.in_two_steps()
    with pytest.raises(InputError, match=r"brings all images to one size, but they came as .*--resize"):
        extract([prepare(np.zeros((28, side, 3), np.uint8)) for side in (28, 42)])


def test_other_weights_or_preprocessing_are_another_identity(folder, tmp_path):
    one = shutil.copytree(folder / "dinov2", tmp_path / "one")
    space = DINOv2(path=str(one), device="cpu")
    before, X = space.identity(), space.extract(some_images())
    assert before == DINOv2(path=str(one), device="cpu").identity()
    checkpoints.write_dinov2(one, seed=1)
    other = space.identity()
    assert other["weights"] != before["weights"] and space.describe() == {k: before[k] for k in space.describe()}
    assert np.abs(space.extract(some_images()) - X).max() > 0.1, "the weights in memory are those of before"
    config = one / "preprocessor_config.json"
    config.write_text(config.read_text().replace("0.485", "0.5"))
    assert space.identity()["weights"] not in (before["weights"], other["weights"])


def test_a_model_that_masks_at_random_is_refused(folder):
    with pytest.raises(InputError, match="the same features for the same image"):
        Encoder(model=str(folder / "masking"), device="cpu").extract(some_images())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and a way to put a folder into it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repo, folder):
        place = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("abc")
        shutil.copytree(folder, place / "snapshots" / "abc")
        return place / "snapshots" / "abc"

    return put


def test_from_the_cache(folder, hub):
    hub("facebook/dinov2-small", folder / "dinov2")
    hub("timm/tiny_net.random", folder / "timm")
    hub("someone/vit", folder / "with-pooler")
    images = some_images()
    X = DINOv2("small", path=str(folder / "dinov2"), device="cpu").extract(images)
    np.testing.assert_array_equal(DINOv2("small", device="cpu").extract(images), X)
    for name, local in {
        "tiny_net.random": "timm",
        "timm/tiny_net.random": "timm",
        "someone/vit": "with-pooler",
    }.items():
        space = Encoder(model=name, device="cpu")
        space.check()
        assert space.name == name.rpartition("/")[2]
        np.testing.assert_array_equal(
            space.extract(images), Encoder(model=str(folder / local), device="cpu").extract(images)
        )


@pytest.mark.parametrize(
    ("space", "command"),
    [
        (DINOv2("base"), "hf download facebook/dinov2-base config.json preprocessor_config.json model.safetensors"),
        (Encoder(model="resnet50"), "hf download timm/resnet50.a1_in1k config.json model.safetensors"),
        (Encoder(model="vit_tiny.x"), "hf download timm/vit_tiny.x config.json model.safetensors"),
        (Encoder(model="a/b"), "hf download a/b config.json preprocessor_config.json model.safetensors"),
    ],
)
def test_without_weights_one_message_says_how_to_get_them(hub, space, command):
    for call in (space.check, space.identity, lambda: space.extract(some_images())):
        with pytest.raises(InputError, match="Where there is a network, run") as caught:
            call()
        assert f"\n  {command}\n" in str(caught.value) and "--local-dir" in str(caught.value)


def test_half_a_checkpoint_is_told_from_none(hub, folder, tmp_path):
    cached = hub("facebook/dinov2-small", folder / "dinov2")
    (cached / "model.safetensors").rename(cached / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors is missing.*(?s:.)*hf download"):
        DINOv2().check()
    with pytest.raises(InputError, match="there is no such folder"):
        DINOv2(path=str(tmp_path / "gone")).check()
    with pytest.raises(InputError, match="there is no such folder"):
        Encoder(model="./gone").check()
    shutil.copytree(folder / "dinov2", tmp_path / "torn")
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="cannot load the model"):
        DINOv2(path=str(tmp_path / "torn"), device="cpu").extract(some_images())


def test_a_checkpoint_of_another_kind(folder, tmp_path):
    with pytest.raises(InputError, match=r"type 'dinov2' with 768 features.* with 384"):
        DINOv2("base", path=str(folder / "dinov2")).check()
    with pytest.raises(InputError, match="got type 'vit'"):
        DINOv2(path=str(folder / "with-pooler")).check()
    with pytest.raises(InputError, match=r"expected the configuration of a timm model.*got one of transformers"):
        Encoder(model=str(folder / "clip"), library="timm").check()
    with pytest.raises(InputError, match="got one of neither"):
        Encoder(model=str(checkpoints.write_config(tmp_path / "odd", words=3))).check()
    (tmp_path / "odd" / "config.json").write_text("{")
    with pytest.raises(InputError, match="expected the configuration of an encoder"):
        Encoder(model=str(tmp_path / "odd")).check()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (DINOv2("tiny"), "size: expected one of small, base, large, giant, got 'tiny'"),
        (DINOv2(precision="float16"), "precision: expected one of float32, bfloat16, got 'float16'"),
        (DINOv2(device="tpu"), "device: expected one of auto, cpu, cuda"),
        (Encoder(model="a/b", library="keras"), "library: expected one of timm, transformers"),
        (Encoder(model=""), "model: expected a name"),
        (Encoder(model="resnet5O"), "timm knows no 'resnet5O'.*Did you mean 'resnet50'"),
        (Encoder(model="a/b/c"), "expected the name of a model on the hub"),
    ],
)
def test_unusable_parameters(space, message):
    with pytest.raises(InputError, match=message):
        space.check()


def test_a_missing_package_is_named_with_its_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match=r"expected the package timm.*pip install '\.\[timm\]'"):
        Encoder(model=str(folder / "timm")).check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder):
    with pytest.raises(InputError, match="expected a GPU for 'cuda'"):
        DINOv2(path=str(folder / "dinov2"), device="cuda").extract(some_images())


@pytest.mark.cuda
def test_on_a_gpu(folder):
    images, on = some_images(n=100), {d: DINOv2(path=str(folder / "dinov2"), device=d) for d in ("cpu", "cuda")}
    X = on["cuda"].extract(images)
    np.testing.assert_allclose(X, on["cpu"].extract(images), rtol=1e-4, atol=1e-4)
    order = np.random.default_rng(0).permutation(100)[:70]
    np.testing.assert_array_equal(on["cuda"].extract(images[order]), X[order])
