"""Conditions under which a score counts as failed, as in ``--fail-if "generalization_score_ratio<0.8"``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from entropick.errors import InputError
from entropick.metrics.suite import check_measures

GRAMMAR = 'NAME<NUMBER or NAME/SPACE<NUMBER, with <, <=, > or >=, for instance "generalization_score_ratio<0.8"'
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:/\s*([^<>=]*[^<>=\s]))?\s*(<=|>=|<|>)\s*([^<>=\s]+)\s*")


@dataclass(frozen=True)
class Condition:
    """A measure beside a bound.

    Attributes
    ----------
    text
        As it was given.
    metric, space
        What is compared; without a space, in any space.
    comparison, bound
        "<", "<=", ">" or ">=", and with what.
    """

    text: str
    metric: str
    space: str | None
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition.

        Raises
        ------
        InputError
            For another form, with the grammar, or a measure that does not exist, with those that do.

        Examples
        --------
        >>> Condition.parse("recall/pixels <= 0.5").bound
        0.5
        """
        form = _FORM.fullmatch(text)
        if form is None or (bound := _number(form[4])) is None:
            raise InputError(f"fail-if: expected {GRAMMAR}, got {text!r}.")
        check_measures([form[1]])
        return cls(text, form[1], form[2], form[3], bound)

    def check(self, spaces: Sequence[str]) -> None:
        """Raise InputError if the condition names a space that is not among those measured."""
        if self.space is not None and self.space not in spaces:
            raise InputError(
                f"fail-if: {self.text!r}: there is no space {self.space!r}; known are {', '.join(spaces)}."
            )

    def judge(self, values: Mapping[str, float | None], spaces: Sequence[str]) -> dict[str, Any]:
        """Whether it holds, in any of its spaces, as plain data; None where a missing value leaves it open."""
        keys = [f"{self.metric}/{space}" for space in ([self.space] if self.space else spaces)]
        found = {key: values[key] for key in keys}
        holds = [None if value is None else self._holds(value) for value in found.values()]
        return {"condition": self.text, "holds": any(holds) or (None if None in holds else False), "found": found}

    def _holds(self, value: float) -> bool:
        return _OPERATORS[self.comparison](value, self.bound)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
