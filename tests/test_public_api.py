"""What others may count on: names, signatures, words."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import entropick
from entropick import metrics, selectors

FOUND = list(pkgutil.iter_modules(entropick.__path__, "entropick."))
ROOMS = ["entropick", *(found.name for found in FOUND if found.ispkg and found.name != "entropick.cli")]
PLAIN_MODULES = [found.name for found in FOUND if not found.ispkg and "__" not in found.name]


def public_names(module):
    """What a module offers: its ``__all__``, else the classes and functions that are its own."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def public_things():
    """(module.name, object) of every public class and function."""
    for module_name in (*ROOMS, *PLAIN_MODULES):
        module = importlib.import_module(module_name)
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module_name}.{name}", value


THINGS = dict(public_things())


def own_methods(cls):
    """The public functions that a class of the package defines itself, unwrapped."""
    for name, value in vars(cls).items():
        function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_sorted_and_true(room):
    module = importlib.import_module(room)
    assert module.__all__ == sorted(module.__all__) or module.__all__ == sorted(module.__all__, key=_ruff_order)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def _ruff_order(name):
    # CONSTANTS, then Classes, then functions.
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_complete(room):
    module = importlib.import_module(room)
    rooms = {found.name for found in pkgutil.iter_modules(module.__path__)}
    found = {name for name, value in vars(module).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert found - set(module.__all__) - rooms - {"Any", "TYPE_CHECKING", "import_module"} == set()


def test_the_front_door():
    assert {"Accumulate", "Loop", "Pool", "Replace", "Study"} < set(entropick.__all__) <= set(dir(entropick))
    assert entropick.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        entropick.nonsense  # noqa: B018


@pytest.mark.parametrize("name", THINGS)
def test_every_public_name_has_a_docstring(name):
    thing = THINGS[name]
    assert (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__ or "").strip()
    if inspect.isclass(thing):
        assert [method for method, function in own_methods(thing) if not (function.__doc__ or "").strip()] == []


@pytest.mark.parametrize("name", THINGS)
def test_every_parameter_is_annotated(name):
    thing = THINGS[name]
    functions = dict(own_methods(thing)) if inspect.isclass(thing) else {name: thing}
    for called, function in functions.items():
        signature = inspect.signature(function)
        bare = [
            p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
        ]
        assert not bare, f"{called}: {bare}"
        assert signature.return_annotation is not signature.empty, called


def parameters(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


REQUIRED = inspect.Parameter.empty


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (selectors.Greedy, {"n_samples": REQUIRED, "initial": None, "random_state": None}),
        (
            selectors.ThresholdDecay,
            {"n_samples": REQUIRED, "threshold": 60.0, "decay": 0.95, "random_state": None},
        ),
        (selectors.Random, {"n_samples": REQUIRED, "stratify": False, "random_state": None}),
        (metrics.knn_entropy, {"X": REQUIRED, "k": 1}),
        (metrics.total_variance, {"X": REQUIRED}),
        (metrics.generalization_score, {"generated": REQUIRED, "training": REQUIRED}),
        (metrics.frechet_distance, {"generated": REQUIRED, "reference": REQUIRED}),
        (metrics.precision, {"generated": REQUIRED, "reference": REQUIRED}),
        (metrics.recall, {"generated": REQUIRED, "reference": REQUIRED}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_names_fixed_from_the_start(function, expected):
    found = parameters(function)
    assert found.items() >= expected.items()
    assert all(default is not REQUIRED for name, default in found.items() if name not in expected)


@pytest.mark.parametrize("function", [metrics.generalization_score, metrics.frechet_distance, metrics.recall])
def test_roles_are_given_by_name(function):
    with pytest.raises(TypeError, match="positional"):
        function(np.zeros((5, 2)), np.ones((5, 2)))


def test_every_exception_is_in_the_tree():
    errors = {name: value for name, value in vars(entropick.errors).items() if inspect.isclass(value)}
    roots = (entropick.errors.EntropickError, entropick.errors.EntropickWarning)
    assert errors and all(issubclass(value, roots) for value in errors.values())
    assert all(name in entropick.errors.__doc__ for name in errors)
