"""Bars on a terminal, lines elsewhere."""

import io

import pytest
from rich.console import Console

from entropick.cli.display import Display
from entropick.cli.terminal import print_columns
from entropick.config import load_study
from entropick.loop.study import ArmEvent
from entropick.run import Event, Place

EVENTS = [
    Event(0, "data", status="done"),
    Event(1, "select", status="done"),
    Event(1, "train", 50, 200, "loss 0.12"),
    Event(1, "train", status="done"),
    Event(1, "sample", status="linked"),
    Event(1, "measure", status="kept"),
    Event(1, "iteration", 1, 3, status="done"),
]


def shown(*, terminal, events=EVENTS):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    with Display(load_study("smoke", arms=("replace",)), console) as display:
        for event in events:
            display(ArmEvent(Place("replace", None, 0), event))
    return console.file.getvalue()


def test_plain_lines_tell_what_is_finished():
    lines = shown(terminal=False).splitlines()
    assert [line.partition("] ")[2] for line in lines] == [
        "replace seed 0 iteration 1/3 select: done",
        "replace seed 0 iteration 1/3 train: done",
        "replace seed 0 iteration 1/3 sample: shared with another arm",
    ]
    assert all(line.startswith("[") and " s] " in line for line in lines)


def test_bars_tell_where_the_work_is():
    text = shown(terminal=True, events=EVENTS[:3])
    last = text.splitlines()[-2:]
    assert "study, iterations" in text and "0/3" in text
    assert any("replace" in line and "iteration 1/3" in line and "train" in line and "50/200" in line for line in last)


def test_a_stage_without_steps_does_not_inherit_those_of_the_one_before():
    last = shown(terminal=True, events=[*EVENTS[:3], Event(1, "measure")]).splitlines()[-2:]
    assert "measure" in "".join(last) and "/200" not in "".join(last)


def test_the_bar_of_a_finished_arm_goes():
    last = [Event(3, "train", 1, 2), Event(3, "iteration", 3, 3, status="done")]
    after = shown(terminal=True, events=last).splitlines()
    assert "study, iterations" in "".join(after[-2:]) and "replace · seed" not in after[-1]


def test_bars_are_taken_down_after_an_error():
    console = Console(file=io.StringIO(), force_terminal=True)
    display = Display(load_study("smoke"), console)
    with pytest.raises(RuntimeError, match="stop"), display:
        raise RuntimeError("stop")
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is back


def test_columns_are_never_cut():
    console = Console(file=io.StringIO(), width=20)
    print_columns([["name", "n"], ["[bold]" + "x" * 60, "10"], ["y", "2"]], console)
    assert console.file.getvalue().splitlines() == [
        f"name{' ' * 62}   n",
        f"[bold]{'x' * 60}  10",
        f"y{' ' * 65}   2",
    ]
