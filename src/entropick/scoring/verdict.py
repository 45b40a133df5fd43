"""What a score says: in words, each sentence with its numbers, and whether conditions such as ``--fail-if`` hold."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from entropick.errors import InputError, shown
from entropick.metrics.near_copies import FALSE_ALARMS, RARELY, most_by_chance, near_copy_rank
from entropick.metrics.suite import check_measures
from entropick.page.words import AS_NEW, is_noise, number, percent, words

# Above this share of copies it no longer copies in part.
_MOSTLY = 0.75
# Below this share of the training set's variance images contract, above the other they are spread wider.
_AS_WIDE = (0.8, 1.25)
# Why a score over spacing may be infinite.
_NO_SPACING = "the training images are alike in pairs, so that there is no spacing between them"
# From the most to the least alarming: of several spaces the first speaks for all.
_LEVELS = ("copies", "some", "noise", "near", "far", "new", "open")
_GRAMMAR = 'NAME<NUMBER or NAME/SPACE<NUMBER, with <, <=, > or >=, for instance "generalization_score_ratio<0.8"'
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:/\s*([^<>=]*[^<>=\s]))?\s*(<=|>=|<|>)\s*([^<>=\s]+)\s*")


@dataclass(frozen=True)
class Verdict:
    """The judgement in one space.

    Attributes
    ----------
    level
        "copies" and "some" (near copies), "noise", "near" (to the training set, without near copies), "far", "new" (as
        fresh data), "open" (no reference, no judgement).
    short
        A few words for a table.
    headline
        One sentence.
    sentences
        What it rests on.
    """

    space: str
    level: str
    short: str
    headline: str
    sentences: tuple[str, ...]

    @property
    def is_alarming(self) -> bool:
        """Whether images are copied."""
        return self.level in ("copies", "some")


@dataclass(frozen=True)
class Chance:
    """How many near copies would be among so many fresh real images, beside so many held-out ones."""

    n_generated: int
    n_reference: int

    @classmethod
    def of(cls, score: Mapping[str, Any], space: str) -> Self:
        """That of a space which has a reference."""
        summary = score["spaces"][space]
        # An older release took all spaces to use the same images.
        used = summary.get("used", {}).get("reference", score["sizes"]["reference"]["used"])
        shared = 0 if score["config"]["allow_same"] else summary["n_reference_in_training"]
        return cls(summary["n_generated"], used - shared)

    @property
    def n_farther(self) -> int:
        """How many of the held-out images are at least as far as every near copy that is not exact."""
        return self.n_reference - near_copy_rank(self.n_reference) + 1

    @property
    def most(self) -> int:
        """What more than is not chance; see `most_by_chance`."""
        return most_by_chance(self.n_generated, self.n_reference)

    @property
    def most_exact(self) -> int:
        """The same of exact copies, for which it does not matter where the bound of near copies lies."""
        from scipy.stats import binom

        return int(binom.isf(RARELY, self.n_generated, FALSE_ALARMS))

    @property
    def told(self) -> str:
        """`most` as a share of the generated images."""
        return f"up to {percent(self.most / self.n_generated, 2)} may be chance"


def judge(score: Mapping[str, Any]) -> list[Verdict]:
    """The verdict in each space of a ``score.json``, the most alarming first."""
    verdicts = [_judge_space(score, space) for space in score["spaces"]]
    return sorted(verdicts, key=lambda verdict: _LEVELS.index(verdict.level))


def _judge_space(score: Mapping[str, Any], space: str) -> Verdict:
    summary = score["spaces"][space]
    ratio = summary["ratio"]
    if summary["near_copy_distance"] is None:
        level, short, headline = _without_reference(summary["n_exact_copies"], summary["n_generated"])
    else:
        n_near, n_exact = summary["n_near_copies"], summary["n_exact_copies"]
        level, short, headline = _with_reference(ratio, n_near, n_exact, Chance.of(score, space))
    among = [score["values"].get(f"{name}/{space}") for name in ("precision", "coverage")]
    if is_noise(ratio, *among) and level == "far":
        level, short = "noise", "noise"
        headline = "Noise, or images of another kind: none lies among the real ones, so its novelty is no merit."
    return Verdict(space, level, short, headline, tuple(_sentences(score, space, ratio)))


def _without_reference(n_exact: int, n: int) -> tuple[str, str, str]:
    if n_exact:
        level = "copies" if n_exact > _MOSTLY * n else "some"
        return level, "copies", f"{percent(n_exact / n)} of the generated images are exact copies of training images."
    headline = "No exact copies. Whether images are near copies is open: give held-out ones (--reference, reference=)."
    return "open", "no reference", headline


def _with_reference(ratio: float | None, n_near: int, n_exact: int, chance: Chance) -> tuple[str, str, str]:
    if n_near > chance.most or n_exact > chance.most_exact:
        share = n_near / chance.n_generated
        if share > _MOSTLY:
            return "copies", "copies", f"It copies: {percent(share)} of the generated images are near copies."
        return "some", "some copies", f"It copies in part: {percent(share)} of the generated images are near copies."
    if ratio is None:
        return "open", "no baseline", "The reference repeats training images, so there is nothing to judge by."
    if ratio < AS_NEW[0]:
        return "near", "close", "Hardly any near copies, but closer to the training set than fresh real images are."
    if ratio > AS_NEW[1]:
        return "far", "far", "New images, farther from the training set than fresh real ones: are they realistic?"
    return "new", "as new", "No sign of copying: the generated images are as new as fresh real ones."


def _sentences(score: Mapping[str, Any], space: str, ratio: float | None) -> list[str]:
    summary = score["spaces"][space]
    n, n_near, n_exact = (summary[name] for name in ("n_generated", "n_near_copies", "n_exact_copies"))
    lines = []
    if ratio is not None:
        lines.append(
            f"On average a generated image is {ratio:.2f} times as far from its nearest training image as a "
            f"fresh real image is (1 is as new as fresh data, 0 is a copy)."
        )
        if ratio and (spaced := score["values"].get(f"spacing_ratio/{space}")) is not None:
            lines.append(
                f"In units of the training set's spacing (the mean distance of its images to the nearest other one) "
                f"generated images are {spaced:.2f} away from it, fresh real ones {spaced / ratio:.2f}."
            )
    if score["values"].get(f"spacing_ratio/{space}", 0.0) is None:
        lines.append(f"{_NO_SPACING[:1].upper()}{_NO_SPACING[1:]}: distances cannot be told in units of it.")
    if summary["near_copy_distance"] is not None:
        chance = Chance.of(score, space)
        lines.append(
            f"{n_near:,} of {n:,} generated images are near copies, {n_exact:,} of them exact: nearer to a training "
            f"image ({number(summary['near_copy_distance'])} or less) than {chance.n_farther:,} of "
            f"{chance.n_reference:,} held-out images are. Of fresh images more than {chance.most:,} would be once in a "
            f"thousand times."
        )
        if chance.n_reference + 1 < 1 / FALSE_ALARMS:
            lines.append(
                f"{chance.n_reference:,} held-out images are few: copies that are fewer than {chance.most + 1:,} in "
                f"{n:,} cannot be told from chance. Hold out some hundreds, best a thousand."
            )
    if (kept := score["values"].get(f"variance_ratio/{space}")) is not None:
        lines.append(f"Their variance is {percent(kept)} of the training set's: {_width(kept)}.")
    if shared := summary["n_reference_in_training"]:
        kept = "too low" if score["config"]["allow_same"] else "of the others alone: they were left out"
        lines.append(f"{shared:,} reference images are in the training set as well; the baseline is {kept}.")
    return lines


def _width(kept: float) -> str:
    if kept < _AS_WIDE[0]:
        return "the images contract, which lowers a score as copies do"
    return "they are spread wider, as by noise" if kept > _AS_WIDE[1] else "they do not contract"


def meaning(score: Mapping[str, Any], name: str, space: str) -> str:
    """A value in a few words: the verdict where there is one, else which direction is which."""
    value = score["values"][f"{name}/{space}"]
    if value is None:
        return f"not finite{f': {_NO_SPACING}' if name == 'spacing_ratio' else ''}"
    if name == "generalization_score_ratio":
        found = next(verdict for verdict in judge(score) if verdict.space == space)
        return f"{value:.2f} of fresh data: {found.short}"
    if name == "variance_ratio":
        return _width(value)
    if name == "near_copy_rate":
        return f"{percent(value)} near copies, {Chance.of(score, space).told}"
    return words(name).reads


def notes(score: Mapping[str, Any]) -> list[str]:
    """What to know before the numbers are compared with others."""
    used = {role: of["used"] for role, of in score["sizes"].items()}
    lines = []
    for space, of in score["spaces"].items():
        if more := {role: n for role, n in of.get("used", used).items() if n != used[role]}:
            told = ", ".join(f"{n:,} {role} images" for role, n in more.items())
            lines.append(f"In {space} {told} could be used; another space could not use all of these.")
    if score["left_out"]:
        lines.append(f"Left out without a reference: {_listed(score['left_out'])}.")
    measured = dict.fromkeys(key.partition("/")[0] for key in score["values"])
    sized = [name for name in measured if {"generated", "reference"} & set(words(name).moves_with)]
    if "reference" in used and used["reference"] != used["generated"] and sized:
        lines.append(
            f"{used['generated']:,} generated images stand against {used['reference']:,} reference images. The ratio "
            f"does not mind, and the verdict on near copies counts both. Compare {_listed(sized)} only with scores of "
            "the same sizes."
        )
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


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
            raise InputError(f"fail-if: expected {_GRAMMAR}, got {shown(text)}.")
        check_measures([form[1]], "fail-if")
        return cls(text, form[1], form[2], form[3], bound)

    def check(self, spaces: Sequence[str]) -> None:
        """Raise InputError if the condition names a space that is not among those measured."""
        if self.space is not None and self.space not in spaces:
            raise InputError(
                f"fail-if: {shown(self.text)}: there is no space {shown(self.space)}; known are {', '.join(spaces)}."
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
