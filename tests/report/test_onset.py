"""The onset of copying: where it lies, which slope it has, and what is said of runs without one."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from entropick import Loop, Replace, Study
from entropick.datasets import Digits
from entropick.generators import DDPM
from entropick.report import read_table

SCRIPT = Path(__file__).parents[2] / "experiments" / "onset.py"


@pytest.fixture(scope="module")
def onset():
    spec = importlib.util.spec_from_file_location("onset", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["onset"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["onset"]


def test_the_last_crossing_counts(onset):
    values = {100: 0.4, 200: 0.6, 400: 0.5, 800: 0.1}
    assert onset.crossing(values) == (pytest.approx(400.0), "")
    assert onset.crossing({10: 0.4, 20: 0.2}) == (None, "below 0.5 from the first probe on, 10 steps")
    assert onset.crossing({}) == (None, "no value")


def made_up(onset, slope, *, noise=0.0, seeds=3):
    rng = np.random.default_rng(0)
    return [
        onset.Onset("replace", size, seed, 7 * size**slope * math.exp(noise * rng.normal()))
        for size in (64, 256, 1024)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("slope", [0.0, 1.0, 1.7])
def test_a_power_is_found_again(onset, slope):
    estimate, low, high = onset.slope(made_up(onset, slope))
    assert [estimate, low, high] == pytest.approx([slope] * 3, abs=1e-9)


def test_the_interval_is_as_wide_as_the_runs_differ_and_holds_the_truth(onset):
    estimate, low, high = onset.slope(made_up(onset, 1.0, noise=0.2))
    assert low < 1.0 < high and low < estimate < high and 0.02 < high - low < 0.5


def test_runs_without_an_onset_are_counted_and_left_out(onset):
    found = [*made_up(onset, 1.0), onset.Onset("replace", 4096, 0, None, "not below 0.5 at 9 steps")]
    said = onset.lines(found)
    assert "| replace | 4,096 | 0 | not below 0.5 at 9 steps |" in said
    assert said[-1] == "replace: slope 1.00 [1.00, 1.00], predicted 1; 1 of 10 runs have no onset and are left out."
    assert "no interval" in onset.lines(made_up(onset, 1.0, seeds=1))[-1]
    assert "no slope" in onset.lines(found[-1:])[-1]


def test_it_is_read_off_the_ledgers_of_a_probed_study(onset, tmp_path):
    model = DDPM(network="mlp", width=8, depth=1, steps=4, sampling_steps=2, precision="float32", device="cpu")
    loop = Loop(dataset=Digits(n_images=32, n_reference=64), generator=model, paradigm=Replace(), n_iterations=1)
    loop = dataclasses.replace(loop, probe_steps=(2, 4))
    Study(name="tiny", arms={"replace": loop}, sizes=(16, 32)).run(tmp_path)
    found = onset.onsets(read_table(tmp_path))
    assert [(one.size, one.steps) for one in found] == [(16, None), (32, None)]
    assert all(one.reason == "not below 0.5 at 4 steps" for one in found)


def test_a_run_that_is_not_finished_has_no_onset_yet(onset, tmp_path, monkeypatch, capsys):
    model = DDPM(network="mlp", width=8, depth=1, steps=4, sampling_steps=2, precision="float32", device="cpu")
    data = Digits(n_images=32, n_reference=64)
    loop = Loop(dataset=data, generator=model, paradigm=Replace(), n_iterations=1, probe_steps=(2, 4))
    Study(name="tiny", arms={"replace": loop, "replace+more": loop}).run(tmp_path)
    ledger = tmp_path / "arms" / "replace" / "seed-0" / "ledger.jsonl"
    # Without the second probe, the sample and its measures.
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-3]))
    found = onset.onsets(read_table(tmp_path))
    # Arms that differ in more than their size are no seeds of one another.
    assert [(one.arm, one.reason) for one in found] == [
        ("replace", "not finished: 1 of 2 probes"),
        ("replace+more", "not below 0.5 at 4 steps"),
    ]
    said = run_script(onset, monkeypatch, tmp_path)
    assert said is None
    assert "Not finished: 1 run, first replace, seed 0: 0 of 1" in capsys.readouterr().out
    for arm in ("replace", "replace+more"):
        (tmp_path / "arms" / arm / "seed-0" / "ledger.jsonl").unlink()
    assert run_script(onset, monkeypatch, tmp_path) == 2
    assert "Not finished: 2 runs, first replace, seed 0: not started" in capsys.readouterr().err


def run_script(onset, monkeypatch, *arguments):
    """What `main` leaves with; None where it ends as it should."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.setattr(sys, "argv", ["onset.py", *map(str, arguments)])
    try:
        onset.main()
    except SystemExit as leaving:
        return leaving.code
    return None


def test_what_was_kept_of_a_study_is_read_as_the_study_is(onset, monkeypatch, tmp_path, capsys):
    kept, drawing = SCRIPT.parents[1] / "results" / "memorization-onset", tmp_path / "new" / "onset.svg"
    assert run_script(onset, monkeypatch, kept, "--figure", drawing) is None
    assert "replace: slope 1.12 [1.10, 1.15], predicted 1; 3 of 15 runs" in capsys.readouterr().out
    assert drawing.read_bytes() == (kept / "figures" / "onset.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: expected a study or run directory"),
        ([SCRIPT], "onset.py: expected a study or run directory"),
        (["nowhere", "--figure", "onset.png"], "--figure: expected a file that ends in .svg, got onset.png"),
        ([SCRIPT.parents[1] / "results" / "digits-tau"], "expected a study that looks into its trainings"),
        (
            [SCRIPT.parents[1] / "results" / "mnist-onset-large", "--figure", "onset.svg"],
            "expected onsets at two sizes",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(onset, monkeypatch, capsys, arguments, said):
    assert run_script(onset, monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err


def test_each_arm_has_a_slope_of_its_own_in_the_figure(onset):
    of_two = made_up(onset, 1.5) + [dataclasses.replace(one, arm="other") for one in made_up(onset, 0.5)]
    drawn = onset.drawn(of_two, onset.slopes_of(of_two)).panels[0].chart.to_dict()
    rows = [json.loads(drawn["datasets"][layer["data"]["name"]]) for layer in drawn["layer"]]
    assert [len(of) for of in rows] == [4, 9, 4, 9]
    assert [of[0]["line"] for of in rows[::2]] == ["replace: slope 1.50, fitted", "other: slope 0.50, fitted"]
    runs = [layer["mark"]["color"] for layer in drawn["layer"][1::2]]
    scale = drawn["layer"][0]["encoding"]["color"]["scale"]
    assert runs == scale["range"][:2] and runs[0] != runs[1] and scale["domain"][-1] == "slope 1, predicted"


def test_arms_of_a_family_may_have_sizes_of_their_own(onset, tmp_path):
    """As where the learning rate's course is in proportion to the number of images."""
    model = DDPM(network="mlp", width=8, depth=1, steps=4, sampling_steps=2, precision="float32", device="cpu")
    arms = {
        f"proportional+{n}": Loop(
            dataset=Digits(n_images=n, n_reference=64),
            generator=dataclasses.replace(model, steps=n // 8),
            paradigm=Replace(),
            n_iterations=1,
            probe_steps=(n // 8,),
        )
        for n in (16, 32)
    }
    Study(name="tiny", arms=arms).run(tmp_path)
    found = onset.onsets(read_table(tmp_path))
    assert [(one.arm, one.size, one.reason) for one in found] == [
        ("proportional", 16, "not below 0.5 at 2 steps"),
        ("proportional", 32, "not below 0.5 at 4 steps"),
    ]


def test_the_figure_shows_every_onset_and_both_slopes(onset):
    found = [*made_up(onset, 1.5), onset.Onset("replace", 4096, 0, None, "not below 0.5 at 9 steps")]
    drawn = onset.drawn(found, onset.slopes_of(found)).panels[0].chart.to_dict()
    lines, runs = (json.loads(drawn["datasets"][layer["data"]["name"]]) for layer in drawn["layer"])
    assert len(runs) == 9
    ends = {}
    for row in lines:
        ends.setdefault(row["line"], []).append(math.log(row["steps"] / row["size"] ** 1.0))
    assert list(ends) == ["slope 1.50, fitted", "slope 1, predicted"]
    assert ends["slope 1, predicted"][0] == pytest.approx(ends["slope 1, predicted"][1])
    rise = ends["slope 1.50, fitted"][1] - ends["slope 1.50, fitted"][0]
    assert rise == pytest.approx(0.5 * math.log(1024 / 64))
