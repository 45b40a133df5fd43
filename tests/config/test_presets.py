import pytest

from entropick import config
from entropick.errors import ConfigError, InputError
from entropick.loop.study import Study


def _without_weights(name):
    return [("loop.features", "pixels")] if name.startswith("paper-") else []


@pytest.mark.parametrize("name", config.presets())
def test_presets_load_and_check(name, tmp_path):
    # The paper's images and encoder are not shipped; that they are there is checked with the rest.
    (tmp_path / "images.npz").touch()
    keys = ("loop.dataset.path", "loop.dataset.reference") if name.startswith("paper-") else ()
    study = config.load_study(name, [(key, str(tmp_path / "images.npz")) for key in keys] + _without_weights(name))
    assert isinstance(study, Study) and study.name == name and study.title and study.description
    study.check()


def test_the_demo_is_the_papers_six_arms():
    arms = config.load_study("digits").arms
    described = {
        name: (loop.paradigm.kind, loop.selector.kind if loop.selector else None, loop.n_generated)
        for name, loop in arms.items()
    }
    assert described == {
        "replace": ("replace", None, 1024),
        "replace+greedy": ("replace", "greedy", 2048),
        "replace+threshold-decay": ("replace", "threshold-decay", 2048),
        "accumulate-subsample": ("accumulate", "random", 1024),
        "accumulate+greedy": ("accumulate", "greedy", 1024),
        "accumulate+threshold-decay": ("accumulate", "threshold-decay", 1024),
    }
    assert all(loop.dataset.n_images == 1024 for loop in arms.values())
    assert all(loop.selector.n_samples == 1024 for loop in arms.values() if loop.selector)


def test_smoke_touches_every_part():
    loops = config.load_study("smoke").arms.values()
    assert {loop.generator.kind for loop in loops} == set(config.kinds("generator"))
    assert {"replace", "accumulate"} <= {loop.paradigm.kind for loop in loops}
    assert {loop.selector.kind for loop in loops if loop.selector} == set(config.kinds("selector"))


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(
        ConfigError, match=r"there is no preset 'digit'; known are copies, digits, paper-.*, smoke\. .*ends in \.toml"
    ):
        config.load_study("digit")


@pytest.mark.parametrize("name", ["", ".", "../presets/digits", "/etc/passwd", "digits\n", "DIGITS", "a\0b"])
def test_odd_preset_names(name):
    with pytest.raises(ConfigError, match="there is no preset"):
        config.load_study(name)


def test_presets_are_read_anew_each_time():
    config.load_study("smoke", [("n_images", 32), ("loop.generator.steps", 7)])
    loop = config.load_study("smoke").arms["replace"]
    assert loop.dataset.n_images == 128 and loop.generator.steps == 200


@pytest.mark.parametrize(("name", "n"), [("paper-cifar10", 32_768), ("paper-ffhq", 8_192), ("paper-mnist", 12_000)])
def test_the_papers_presets_have_the_papers_numbers(name, n):
    for arm, loop in config.load_study(name).arms.items():
        generator = loop.generator
        assert loop.dataset.n_images == n
        assert loop.n_generated == (2 * n if arm.startswith("replace+") else n)
        assert (generator.network, generator.width, generator.depth) == ("unet", 48, 2)
        assert (generator.steps, generator.batch_size, generator.learning_rate) == (128_000, 128, 1e-4)
        assert (generator.warmup_steps, generator.weight_decay, generator.clip_norm) == (500, 1e-6, 1.0)
        assert (generator.timesteps, generator.sampling_steps, generator.sampler) == (1000, 1000, "ddpm")
        assert (generator.ema, generator.flips) == (0.0, False)


def test_the_papers_presets_say_which_images_they_want(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cifar10\.npz: expected a file of images"):
        config.load_study("paper-cifar10", _without_weights("paper-cifar10")).check()
