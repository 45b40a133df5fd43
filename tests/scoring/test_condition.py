"""Conditions: one grammar, and never a guess where a value is missing."""

from __future__ import annotations

import pytest

from entropick.errors import InputError
from entropick.scoring import Condition

VALUES = {"recall/a": 0.5, "recall/b": 0.9, "density/a": None, "density/b": 1.0}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("recall<0.5", False),
        ("recall<=0.5", True),
        (" recall > 0.8 ", True),
        ("recall/a > 0.8", False),
        ("recall/b>=0.9", True),
        ("recall>9e-1", False),
        ("recall>-1", True),
        ("density/a<2", None),
        ("density<0.5", None),
        ("density<2", True),
    ],
)
def test_holds(text: str, holds: bool | None) -> None:
    assert Condition.parse(text).judge(VALUES, ["a", "b"])["holds"] is holds


def test_what_was_found_is_told() -> None:
    judged = Condition.parse("recall<0.6").judge(VALUES, ["a", "b"])
    assert judged == {"condition": "recall<0.6", "holds": True, "found": {"recall/a": 0.5, "recall/b": 0.9}}


def test_an_unknown_measure_is_said_of_the_condition() -> None:
    with pytest.raises(InputError, match=r"fail-if: there is no 'recal'; known are .*Did you mean 'recall'"):
        Condition.parse("recal<0.5")


@pytest.mark.parametrize("text", ["", "recall", "recall<", "<0.5", "recall==0.5", "recall<0.5<1", "recall/<0.5", "1<2"])
def test_another_form_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME<NUMBER or NAME/SPACE<NUMBER"):
        Condition.parse(text)
