"""A component is its configuration until it is fitted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.base import clone

from entropick.component import Component, require
from entropick.errors import InputError, MissingDependency


@dataclass(kw_only=True)
class Thing(Component):
    kind: ClassVar[str] = "thing"
    a: int
    b: Any = "x"


@dataclass(kw_only=True)
class Nameless(Component):
    c: float = 0.5


def test_parameters_in_and_out():
    thing = Thing(a=1)
    assert Thing.parameter_names() == ("a", "b")
    assert thing.get_params() == thing.get_params(deep=False) == {"a": 1, "b": "x"}
    assert thing.set_params(a=2, b=None) is thing and (thing.a, thing.b) == (2, None)
    thing.check()


def test_the_constructor_only_stores():
    value = [object()]
    assert Thing(a="nonsense", b=value).b is value


def test_an_unknown_parameter_is_named():
    with pytest.raises(InputError, match="Thing has no parameter 'kind'; it has a, b"):
        Thing(a=1).set_params(kind=3)


def test_nothing_is_set_when_one_parameter_is_unknown():
    thing = Thing(a=1)
    with pytest.raises(InputError):
        thing.set_params(a=2, nonsense=3)
    assert thing.a == 1


def test_clone_leaves_fitted_state_behind():
    thing = Thing(a=1, b=(1, 2))
    thing.fitted_ = 5
    copy = clone(thing)
    assert copy == thing and copy is not thing and not hasattr(copy, "fitted_")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Path("a/b"), "a/b"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(4), 4),
        (np.array([1, 2]), [1, 2]),
        ([np.int64(1)], [1]),
        (None, None),
        ("text", "text"),
    ],
)
def test_a_description_is_plain_data(value, plain):
    described = Thing(a=1, b=value).describe()
    assert described == {"kind": "thing", "a": 1, "b": plain}
    assert json.loads(json.dumps(described)) == described


def test_a_component_without_a_kind_is_described_by_its_class():
    assert Nameless().describe() == {"kind": f"{__name__}:Nameless", "c": 0.5}


@pytest.mark.parametrize("extra", ["", "timm"])
def test_a_package_that_is_not_installed_is_named_with_what_installs_it(extra):
    install = r"\.\[timm\]" if extra else r"\."
    with pytest.raises(MissingDependency, match=f"here: expected .* gone, but it is not .*pip install '{install}'"):
        require("gone.part", wanted_by="here", extra=extra)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "import gone",
            r"cannot be imported \(No module named 'gone'\). In a checkout of entropick run: pip install '\.\[timm\]'",
        ),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision that was built for the inst"),
    ],
)
def test_a_package_that_does_not_fit_the_others(tmp_path, monkeypatch, content, message):
    (tmp_path / "unfit.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match=message):
        require("unfit", wanted_by="here", extra="timm")


def test_a_package_that_is_there_comes_back():
    assert require("json", wanted_by="here") is json
