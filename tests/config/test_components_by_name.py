"""Every name that a study file can use, those of the package and those of others."""

import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

from entropick import component, config
from entropick.datasets import Dataset
from entropick.errors import ConfigError
from entropick.features import Features
from entropick.generators import KDE
from entropick.paradigms import Paradigm
from entropick.selectors import Greedy, Random
from entropick.selectors.guards import OutlierGuard

SECTIONS = ("dataset", "paradigm", "selector", "guard", "features", "generator")
# What a kind cannot do without, and some parameters that are not the defaults.
PARAMETERS = {
    "array-file": [{"path": "a.npz"}, {"path": "b.npy", "reference": "c.npz", "n_images": 3, "n_reference": 2}],
    "image-folder": [{"path": "folder"}, {"path": "folder", "mode": "grey"}],
    "random": [{"n_samples": 5}, {"n_samples": 5, "stratify": True, "random_state": 3}],
    "greedy": [{"n_samples": 5}, {"n_samples": 5, "initial": [0, 1]}],
    "threshold-decay": [{"n_samples": 5}, {"n_samples": 5, "threshold": 9.0, "decay": 0.5}],
    "density-greedy": [{"n_samples": 5}, {"n_samples": 5, "power": 1.5, "trusted": 1}],
    "approximate-greedy": [{"n_samples": 5}, {"n_samples": 5, "eps": 0.3}],
    "gist": [{"n_samples": 5}, {"n_samples": 5, "utility": "uniform", "diversity": 0.5}],
    "latent-space-filter": [{"n_samples": 5}, {"n_samples": 5, "n_classes": 3, "penalty": 0.1}],
    "denoising-loss": [{"n_samples": 5}, {"n_samples": 5, "prefer": "high"}],
    "fresh-data": [{"n_fresh": 3}, {"n_fresh": 3, "keep": "newest"}],
    "fixed-real-share": [{"share": 0.5}, {"share": 0.25, "keep": "newest"}],
    "outlier-guard": [{}, {"k": 3, "trusted": 1}],
    "dinov2": [{}, {"size": "large", "path": "folder", "device": "cpu"}],
    "inception": [{}, {"path": "weights.pth"}],
    "encoder": [{"model": "vit_small_patch16_224.dino"}, {"model": "folder", "library": "timm"}],
    "classifier": [{}, {"path": "digits.npz", "steps": 5, "seed": 3}],
    "ddpm": [{}, {"network": "mlp", "steps": 5, "learning_rate": 0.1, "device": "cpu"}],
}
CASES = [
    pytest.param(section, kind, params, id=f"{kind}-{i}")
    for section in SECTIONS
    for kind in config.kinds(section)
    for i, params in enumerate(PARAMETERS.get(kind, [{}]))
]


@pytest.mark.parametrize(("section", "kind", "params"), CASES)
def test_a_description_builds_an_equal_component(section, kind, params):
    component = config.build(section, {"kind": kind, **params}, where="test")
    assert type(component).kind == kind
    assert component.get_params().items() >= params.items()
    again = config.build(section, component.describe(), where="test")
    assert type(again) is type(component) and again == component and again is not component
    assert again.describe() == component.describe()


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_kind_lists_the_known(section):
    with pytest.raises(ConfigError, match=r"here: there is no kind 'nonsense'; known are \w+") as caught:
        config.build(section, "nonsense", where="here")
    assert all(kind in str(caught.value) for kind in config.kinds(section))


@pytest.mark.parametrize("size", ["small", "base", "large", "giant"])
def test_a_short_name_is_a_kind_with_a_parameter(size):
    space = config.build("features", f"dinov2-{size}", where="test")
    assert space.describe()["kind"] == "dinov2" and space.size == size and space.name == f"dinov2-{size}"
    assert config.build("features", {"kind": f"dinov2-{size}", "device": "cpu"}, where="test").device == "cpu"
    with pytest.raises(ConfigError, match=f"known are .*pixels.*dinov2-{size}"):
        config.build("features", "dinov3", where="here")


def test_a_parameter_of_a_short_name_can_be_set(tmp_path):
    (tmp_path / "s.toml").write_text('n_images = 20\n[loop]\ndataset = "digits"\ngenerator = "kde"\n[arms.one]\n')
    overrides = [("loop.selector", "random"), ("loop.features", "dinov2-base"), ("loop.features.device", "cpu")]
    (loop,) = config.load_study(str(tmp_path / "s.toml"), overrides).arms.values()
    assert (loop.features.size, loop.features.device) == ("base", "cpu")


def third_party(monkeypatch, section, name, value):
    """Install a package that offers a component through an entry point."""
    group = {"features": "entropick.features"}.get(section, f"entropick.{section}s")
    point = EntryPoint(name=name, value=value, group=group)
    monkeypatch.setattr(component, "entry_points", lambda *, group: [point] if group == point.group else [])


@dataclass(kw_only=True)
class Faces(Dataset):
    kind: ClassVar[str] = "their-dataset"
    n_images: int = 3

    def load(self, *, work=None): ...

    def fingerprint(self):
        return "f"


@dataclass(kw_only=True)
class Latest(Paradigm):
    kind: ClassVar[str] = "their-paradigm"

    def sources(self, iteration):
        return [0]


@dataclass(kw_only=True)
class First(Random):
    kind: ClassVar[str] = "their-selector"


@dataclass(kw_only=True)
class Doorman(OutlierGuard):
    kind: ClassVar[str] = "their-guard"


@dataclass(kw_only=True)
class Means(Features):
    kind: ClassVar[str] = "their-features"
    name = "means"

    def extract(self, images):
        return np.asarray(images, np.float32).mean(axis=(1, 2))


@dataclass(kw_only=True)
class Copier(KDE):
    kind: ClassVar[str] = "their-generator"


@pytest.fixture(autouse=True)
def their_package(monkeypatch):
    module = types.ModuleType("their_package")
    vars(module).update({cls.__name__: cls for cls in (Faces, Latest, First, Doorman, Means, Copier)})
    monkeypatch.setitem(sys.modules, "their_package", module)


@pytest.mark.parametrize(
    ("section", "cls"), list(zip(SECTIONS, (Faces, Latest, First, Doorman, Means, Copier), strict=True)), ids=SECTIONS
)
def test_others_can_add_components(monkeypatch, tmp_path, section, cls):
    third_party(monkeypatch, section, cls.kind, f"their_package:{cls.__name__}")
    assert cls.kind in config.kinds(section)
    overrides = [("loop.selector", "random"), (f"loop.{section}", cls.kind)]
    if section != "dataset":
        overrides.append(("loop.dataset", "digits"))
    (tmp_path / "study.toml").write_text('n_images = 20\n[loop]\ngenerator = "kde"\n[arms.one]\n')
    study = config.load_study(str(tmp_path / "study.toml"), overrides)
    study.check()
    assert type(getattr(study.arms["one"], section)) is cls
    assert study.describe()["arms"]["one"][section]["kind"] == cls.kind


def test_others_cannot_redefine_what_the_package_calls_by_a_name(monkeypatch):
    third_party(monkeypatch, "selector", "greedy", "their_package:First")
    assert type(config.build("selector", {"kind": "greedy", "n_samples": 3}, where="test")) is Greedy


@pytest.mark.parametrize("value", ["no_such_package_anywhere:Thing", "their_package:Gone", "their_package"])
def test_a_broken_package_of_others_is_named(monkeypatch, value):
    third_party(monkeypatch, "selector", "theirs", value)
    with pytest.raises(ConfigError, match=f"here: kind 'theirs' stands for {value}, which cannot be imported"):
        config.build("selector", "theirs", where="here")


def test_code_of_others_that_fails_at_import_is_named(monkeypatch, tmp_path):
    (tmp_path / "kaboom.py").write_text("raise RuntimeError('kaboom at import')\n")
    monkeypatch.syspath_prepend(tmp_path)
    third_party(monkeypatch, "selector", "boom", "kaboom:Thing")
    with pytest.raises(ConfigError, match=r"selector: kind 'boom' stands for kaboom:Thing.*kaboom at import"):
        config.build("selector", "boom", where="selector")


def test_what_is_no_component_is_named(monkeypatch, tmp_path):
    (tmp_path / "number_three.py").write_text("THREE = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    third_party(monkeypatch, "selector", "three", "number_three:THREE")
    with pytest.raises(ConfigError, match="kind 'three' stands for number_three:THREE, expected a class of component"):
        config.build("selector", "three", where="selector")
