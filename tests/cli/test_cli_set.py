"""``entropick select --set KEY=VALUE``: parameters of the components, with the checks and messages of ``run --set``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
LINE = ["select", "real=real.npy", "made=made.npy", "--n", "8", "--out", "out"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", DIGITS[:40])
    np.save("made.npy", DIGITS[40:60])
    np.save("embeddings.npy", np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32))
    return tmp_path


def sets(*pairs):
    return [part for pair in pairs for part in ("--set", pair)]


def test_parameters_reach_their_components(cli, place):
    line = [*LINE, "--method", "threshold-decay", "--guard", "made"]
    ended = cli(*line, "--threshold", "300", "--decay", "0.5", *sets("guard.k=3", "guard.quantile=0.9"))
    assert ended.code == 0 and not ended.err
    config = json.loads((place / "out" / "selection.json").read_text())["config"]
    assert (config["selector"]["threshold"], config["selector"]["decay"]) == (300.0, 0.5)
    assert (config["guard"]["k"], config["guard"]["quantile"], config["guard"]["trusted"]) == (3, 0.9, 1)


def test_what_is_set_stands_beside_flags(cli, place):
    line = [*LINE, "--method", "density-greedy", "--power", "3"]
    assert cli(*line, *sets("selector.k = 2")).code == 0
    told = json.loads((place / "out" / "selection.json").read_text())["config"]["selector"]
    assert (told["power"], told["k"]) == (3, 2)


MISTAKES = {
    ("threshold-decay", "selector.threshold"): "--set: expected KEY=VALUE, for instance guard.k=3, got",
    ("greedy", "=3"): "--set: expected KEY=VALUE",
    ("greedy", "selector=random"): "--set: expected selector.PARAMETER=VALUE, got 'selector' without a parameter",
    ("greedy", "generator.steps=3"): "--set: there is no 'generator'; known are selector, guard, features",
    ("greedy", "selector.quantile=0.5"): "--set selector: there is no 'quantile'; known are n_samples, initial",
    ("density-greedy", "selector.quantil=0.5"): "Did you mean 'quantile'?",
    ("density-greedy", "selector.quantile=high"): "error: selector.quantile: expected a number, got 'high'",
    ("density-greedy", "selector.quantile=2"): "error: selector.quantile: expected a number between 0 and 1",
    ("density-greedy", "selector.k=0"): "error: selector.k: expected a whole number of at least 1, got 0",
    ("greedy", "guard.k=3"): "--set guard.k: there is no guard. Give --guard NAME.",
    ("greedy", "features.size=base"): "--set features: there is no 'size'; known are none",
}


@pytest.mark.parametrize(("method", "text"), MISTAKES)
def test_a_wrong_one_is_said_in_one_message(cli, place, method, text):
    ended = cli(*LINE, "--method", method, *sets(text))
    assert ended.code == 2 and MISTAKES[method, text] in ended.err and "Traceback" not in ended.err
    assert not (place / "out").exists()


def test_a_parameter_of_a_short_name(cli, place):
    ended = cli(*LINE, "--features", "dinov2-small", *sets("features.size=base"))
    assert ended.code == 2 and "hf download facebook/dinov2-base" in ended.err


def test_a_file_of_embeddings_has_no_parameters(cli, place):
    ended = cli(*LINE, "--features", "embeddings.npy", *sets("features.size=base"))
    assert ended.code == 2 and "--set features.size: embeddings have no parameters. Leave it out, or" in ended.err


def test_without_a_guard_it_has_no_parameters(cli, place):
    ended = cli(*LINE, *sets("guard.k=3"))
    assert ended.code == 2 and "--set guard.k: there is no guard. Give --guard NAME." in ended.err


def test_another_guard_by_its_kind(cli, place):
    ended = cli(*LINE, "--guard", "real", *sets("guard.kind=no-such-guard"))
    assert ended.code == 2 and "--guard: there is no kind 'no-such-guard'; known are outlier-guard" in ended.err


FLAGS = {
    "selector.n_samples=3": "--n",
    "guard.trusted=1": "--guard",
    "selector.minimum=[1]": "--quota or --balance",
    "selector.threshold=5": "--threshold",
    "selector.decay=0.5": "--decay",
    "selector.power=1": "--power",
}


@pytest.mark.parametrize("text", FLAGS)
def test_what_a_flag_gives_is_not_set_beside_it(cli, place, text):
    ended = cli(*LINE, "--guard", "real", *sets(text))
    assert ended.code == 2 and f"Use {FLAGS[text]}." in ended.err and not (place / "out").exists()


def test_a_wrong_parameter_is_named_as_it_was_set(cli, place):
    ended = cli(*LINE, "--guard", "real", *sets("guard.k=many"))
    assert ended.code == 2 and "error: guard.k: expected a whole number, got 'many'" in " ".join(ended.err.split())
    ended = cli(*LINE, "--guard", "real", *sets("guard.k=0"))
    assert ended.code == 2 and "error: guard.k: expected a whole number of at least 1" in " ".join(ended.err.split())
