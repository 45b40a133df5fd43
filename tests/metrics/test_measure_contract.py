"""What every record in the registry promises, that of another package too."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from entropick import Loop, component, metrics
from entropick.datasets import Digits
from entropick.errors import ConfigError, InputError
from entropick.generators import KDE
from entropick.metrics import MEASURES, Measure, Roles, measure
from entropick.metrics.suite import LOOP_MEASURES, REGISTRY
from entropick.neighbors import Speed
from entropick.page.words import words
from entropick.scoring import Condition, Score, Space
from entropick.sources import open_sources
from entropick.sources.cost import score_forecast

ROLES = ("training", "generated", "reference", "real")


def gap(X):
    if len(X) < 2:
        raise InputError("X: expected at least 2 rows, so that there is a gap between them.")
    return float(np.sort(np.linalg.norm(X[:, None] - X, axis=2))[:, 1].mean())


GAP = Measure(
    name="gap",
    roles=("training",),
    function=lambda roles: gap(roles.training),
    label="Gap in the training set",
    meaning="Mean distance of an image to its nearest other one.",
    trap="One far image is enough.",
    reads="high is wide",
    unit="grey levels",
    range=(0.0, None),
    better=1,
    is_main=True,
    moves_with=("training",),
    least_rows={"training": 2},
    searches=(("training", "training"),),
)


def install(monkeypatch, **records):
    """Packages that bring measures, each in a module of its own."""
    for name, record in records.items():
        monkeypatch.setitem(sys.modules, f"their_{name}", types.SimpleNamespace(RECORD=record))
    points = [EntryPoint(name, f"their_{name}:RECORD", "entropick.metrics") for name in records]
    monkeypatch.setattr(component, "entry_points", lambda *, group: [p for p in points if p.group == group])


@pytest.fixture(autouse=True)
def their_package(monkeypatch):
    install(monkeypatch, gap=GAP)


every = pytest.mark.parametrize("name", [*MEASURES, "gap"])


def sets(seed=0, n=60, d=3):
    rng = np.random.default_rng(seed)
    return {role: rng.normal(size=(n - 5 * i, d)).astype(np.float32) for i, role in enumerate(ROLES[:3])}


def value(name, found):
    """The measure, of the sets that it says it needs and no others; what is real is the training set."""
    found = {"real": found["training"], **found}
    value = MEASURES[name].function(Roles(**{role: found[role] for role in MEASURES[name].roles}))
    assert isinstance(value, float) and math.isfinite(value)
    return value


@every
def test_it_has_words(name):
    record = MEASURES[name]
    assert record.name == name and words(f"{name}/pixels") is record
    assert record.reads and all(text.endswith(".") for text in (record.meaning, record.trap))
    assert record.label[0].isupper() and not record.label.endswith(".")
    assert record.roles and set(record.roles) <= set(ROLES)
    assert {*record.least_rows, *record.moves_with} <= set(record.roles)
    assert {role for search in (*record.searches, *record.products) for role in search} <= set(record.roles)
    assert record.better in (-1, 0, 1) and not (record.summary and not record.is_main)


@every
def test_the_order_of_rows_does_not_matter(name):
    found, rng = sets(), np.random.default_rng(1)
    shuffled = {role: X[rng.permutation(len(X))] for role, X in found.items()}
    assert value(name, shuffled) == pytest.approx(value(name, found), rel=1e-11)


@every
def test_as_many_rows_as_it_says_are_enough_and_no_fewer(name):
    record, found = MEASURES[name], {**sets(), "real": sets(9)["training"]}
    for role in {*record.roles} - {"real"}:
        least = record.least_rows.get(role, 1)
        # Without real images, so that the training set alone is real.
        given = {of: X for of, X in found.items() if of != "real" or "real" in record.roles}
        assert measure(Roles(**given | {role: found[role][:least]}), [name], space="s")
        with pytest.raises(InputError):
            measure(Roles(**given | {role: found[role][: least - 1]}), [name], space="s")


def worse(name):
    """Sets as the measure is there to find them: copies, images unlike the real ones, or a collapsed training set."""
    found, record = sets(), MEASURES[name]
    if record.of_copying:
        return {**found, "generated": found["training"][:40] + np.float32(1e-4)}
    if "generated" in record.roles:
        return {**found, "generated": found["generated"] * np.float32(0.1) + np.float32(9)}
    few = np.repeat(found["training"][:4], 15, axis=0)
    few[::2] += np.random.default_rng(0).normal(0, 1e-3, few[::2].shape)
    return {**found, "training": few * np.float32([0.1, 0.01, 0.01])}


@every
def test_better_is_better(name):
    found, better = value(name, worse(name)), MEASURES[name].better
    assert better == 0 or np.sign(value(name, sets()) - found) == better


@every
def test_values_lie_in_its_range(name):
    low, high = MEASURES[name].range
    generated = sets()["training"].copy()
    for found in (sets(), worse(name), {**sets(), "generated": generated}, {**sets(), "reference": generated + 99}):
        assert (low is None or value(name, found) >= low) and (high is None or value(name, found) <= high)


N, HALF, DRAWS = 199, 99, 12


def drawn(seed):
    """Sets to see a measure move on: of many dimensions, of few different images, of copies beside coarse real ones."""
    rng = np.random.default_rng(seed)

    def normal(d):
        return {role: rng.normal(size=(N, d)) for role in ROLES[:3]}

    yield normal(8)
    yield {role: np.round(X * 4) / 4 for role, X in normal(2).items()}
    found = normal(3)
    copied = found["training"][rng.integers(HALF, size=N)]
    yield {**found, "generated": copied + 0.2 * found["generated"], "reference": np.round(found["reference"])}


@every
def test_it_moves_with_the_sizes_that_it_says_and_with_no_others(name):
    record = MEASURES[name]
    steps = {role: np.zeros((DRAWS, 3)) for role in record.roles}
    for seed in range(DRAWS):
        for kind, found in enumerate(drawn(seed)):
            found = {role: X.astype(np.float32) for role, X in found.items()}
            whole = value(name, found)
            for role in record.roles:
                cut = "training" if role == "real" else role
                steps[role][seed, kind] = whole - value(name, found | {cut: found[cut][:HALF]})
    for role, found in steps.items():
        errors = found.std(axis=0, ddof=1) / math.sqrt(DRAWS)
        # The mean step in standard errors, where it steps most.
        surely = (np.abs(found.mean(axis=0)) / np.where(errors > 0, errors, 1)).max()
        assert bool(surely > 4) == (role in record.moves_with), f"{role}: {surely:.1f}"


@every
def test_its_cost_is_in_the_forecast(name, monkeypatch):
    speed = Speed(1e-9, 1e-9, 0.0, 1e-9, 1e-9, choice=1e-12, width=8, query_rows=2048)
    monkeypatch.setattr(Speed, "measured", lambda width: speed)
    monkeypatch.setattr("entropick.sources.cost.seconds_per_spectrum", lambda width: 1.0)
    record, sizes = MEASURES[name], dict.fromkeys(ROLES, 10_000)
    costs = {*record.searches} - {("generated", "training")} or record.products or record.n_spectra
    more = score_forecast(sizes, 8, [name]).seconds - score_forecast(sizes, 8, []).seconds
    # Beside what it searches a measure reads its rows.
    assert more > 0.1 if costs else 0 < more < 0.01


def test_that_of_another_package_is_in_scores_and_on_their_pages(tmp_path):
    found = sets()
    for role, X in found.items():
        np.save(tmp_path / f"{role}.npy", X)
    sources = open_sources([f"{role}={tmp_path / role}.npy" for role in found])
    told = Score(sources=sources, spaces=[Space("mine")], conditions=[Condition.parse("gap>99")]).run(tmp_path / "out")
    without_real = [name for name in MEASURES if "real" not in MEASURES[name].roles]
    assert told["values"]["gap/mine"] == gap(found["training"]) and len(told["values"]) == len(without_real)
    page = (tmp_path / "out" / "score.html").read_text()
    assert all(text in page for text in ("Gap in the training set (grey levels)", GAP.trap, GAP.reads))


def test_that_of_another_package_is_in_loops_where_it_is_asked_for(tmp_path):
    assert "gap" not in LOOP_MEASURES
    loop = Loop(dataset=Digits(n_images=40), generator=KDE(), n_iterations=1, n_generated=40, metrics=("gap",))
    assert loop.run(tmp_path).metrics[0]["gap/pixels"] > 0


@pytest.mark.parametrize(("record", "told"), [(GAP, "'gap'"), (gap, "<function gap")])
def test_a_broken_record_of_another_package_is_named(monkeypatch, record, told):
    install(monkeypatch, theirs=record)
    with pytest.raises(ConfigError, match=f"their_theirs:RECORD is a Measure with the name 'theirs', got {told}.*Mend"):
        measure(Roles(), ["theirs"], space="s")
    assert words("theirs/pixels").label == "Theirs"


def fails(roles):
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (fails, r"theirs failed \(ZeroDivisionError\('oops'\)\)"),
        (lambda roles: "high", "a number from theirs, got 'high'"),
        (lambda roles: np.ones(3), "a number from theirs, got array"),
    ],
)
def test_a_measure_that_gives_no_number_is_named(monkeypatch, function, came):
    install(monkeypatch, theirs=dataclasses.replace(GAP, name="theirs", function=function))
    with pytest.raises(InputError, match=came):
        measure(Roles(training=np.ones((3, 1))), ["theirs"], space="s")


def test_the_words_of_a_package_that_is_gone():
    assert words("their_own/pixels").label == "Their own" and not words("their_own").meaning


def test_every_record_of_the_package_is_in_the_registry():
    files = [importlib.import_module(f"entropick.metrics.{f.name}") for f in pkgutil.iter_modules(metrics.__path__)]
    records = {thing.name for file in files for thing in vars(file).values() if isinstance(thing, Measure)}
    assert records == set(REGISTRY.built_in)
