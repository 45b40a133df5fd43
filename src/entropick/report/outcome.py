"""What came of a study: in a title, in three sentences, and in the two arms that show it."""

from __future__ import annotations

from dataclasses import dataclass

from entropick.errors import counted
from entropick.metrics.near_copies import most_by_chance
from entropick.page import words
from entropick.page.words import are_unlike, is_noise, number, percent
from entropick.report.intervals import CONTROLS
from entropick.report.study import ArmRecord
from entropick.report.table import Table

# The measures of contraction and of copying.
ACROSS, UPWARDS = "variance_ratio_real", "spacing_ratio"
# Below this share of what fresh real images have, the variance counts as contracted, the distance as copying.
LITTLE = 0.8
# From this share on most images are near copies.
_MOST = 0.5
# Another arm shows a rescue only where it stands so much nearer to the real data.
_CLEARLY = 1.1
_NOVELTY, _NEAR = "generalization_score_ratio", "near_copy_rate"


@dataclass(frozen=True)
class State:
    """Where an arm stands, in the space of the overview; None where that is not known.

    Attributes
    ----------
    kept
        The variance of its images over that of the real data.
    spaced
        Their score over spacing, over that of fresh real images.
    novelty
        Their score over that of fresh real images.
    is_noise
        Whether they are noise, and none of these numbers praises them.
    copies
        Whether the mean image is a near copy.
    near_copies, by_chance
        The share of near copies among them, and the largest that chance may bring (`most_by_chance`). A set that was
        chosen for distance is spaced wide, so that `spaced` alone takes its images for nearer to copies than they are.
    is_unlike
        Whether next to none of them lie among the real ones.
    """

    kept: float | None
    spaced: float | None
    novelty: float | None
    is_noise: bool
    copies: bool
    near_copies: float | None = None
    by_chance: float | None = None
    is_unlike: bool = False

    @property
    def nearness(self) -> float:
        """How near to real data: the least of the three, 1 at most; 0 for noise and what else is unlike real data."""
        found = [value for value in (self.kept, self.spaced, self.novelty) if value is not None]
        found += [1 / self.kept] if self.kept else []
        return 0.0 if self.is_noise or self.is_unlike or not found else min(1.0, *found)

    @property
    def fate(self) -> str:
        """What became of the arm, as the rest of a sentence: "contracts to 30 % of the real variance, ..."."""
        if self.is_noise:
            return "ends in noise"
        if self.kept is None or self.spaced is None:
            if self.novelty is None:
                return "has no score beside fresh images"
            falls = "falls to" if self.novelty < LITTLE else "stays at"
            return f"{falls} {self.novelty:.2f} of the novelty of fresh images"
        also = [word for word in (self._copying, "makes images unlike real ones" if self.is_unlike else "") if word]
        if self._is_as_wide:
            is_new = self.novelty is None or self.novelty >= LITTLE
            closer = f"keeps its width and {self.novelty or 0:.2f} of the novelty of fresh images"
            return ", and ".join(also) or ("stays about as wide and as new as real data" if is_new else closer)
        way = f"{'contracts' if self.kept < LITTLE else 'spreads'} to {percent(self.kept, 2)} of the real variance"
        return f"{way} and {' and '.join(also)}" if also else f"{way}, without copying"

    @property
    def _is_as_wide(self) -> bool:
        """Whether its images are about as wide as the real data."""
        return self.kept is not None and LITTLE <= self.kept <= 1 / LITTLE

    @property
    def _copying(self) -> str:
        """What it does of copying; empty where it does not."""
        if self.copies:
            return "copies"
        near, by_chance = self.near_copies, self.by_chance
        is_close = self.spaced is not None and self.spaced < LITTLE
        # Images of a set that shrinks are near to each other by that alone, and so to what they were trained on.
        if self.spaced is None or not (is_close or self._is_as_wide):
            return ""
        if near is None or by_chance is None:
            return "draws near to copies" if is_close else ""
        if near <= by_chance:
            return ""
        return "makes mostly near copies" if near >= _MOST else "draws near to copies" if is_close else "copies in part"


@dataclass(frozen=True)
class Outcome:
    """The arm that shows the collapse, one that shows a rescue if there is any, and what to say of both.

    Attributes
    ----------
    title
        What came out, in one sentence without a full stop.
    sentences
        Three at most.
    """

    collapsed: ArmRecord
    rescued: ArmRecord | None
    title: str
    sentences: tuple[str, ...]


def level(table: Table, space: str = "") -> float | None:
    """The score over spacing at which the mean image is a near copy, in a space, else that of the overview; None where
    not known."""
    space = space or table.space
    real = table.real(f"{UPWARDS}/{space}")
    ratios = [table.over_seeds(arm, 0, f"copying_ratio/{space}", "stages") for arm in table.study.arms]
    ratio = next((spread for spread in ratios if spread), None)
    return ratio.mean * real.mean if ratio and real else None


def state(table: Table, arm: ArmRecord, iteration: int) -> State:
    """Where an arm stands at an iteration; of a study at one size."""

    def mean(name: str, n: int = iteration, part: str = "metrics") -> float | None:
        found = table.over_seeds(arm, n, f"{name}/{table.space}", part)
        return found.mean if found else None

    spaced, fresh, border = mean(UPWARDS), mean(UPWARDS, 0), level(table)
    novelty = mean(_NOVELTY)
    return State(
        kept=mean(ACROSS),
        spaced=spaced / fresh if spaced is not None and fresh else spaced,
        novelty=novelty,
        is_noise=is_noise(novelty, mean("precision"), mean("coverage")),
        copies=spaced is not None and border is not None and spaced <= border,
        near_copies=mean(_NEAR),
        by_chance=_near_copies_by_chance(arm, iteration),
        is_unlike=are_unlike(mean("precision"), mean("coverage")),
    )


def _near_copies_by_chance(arm: ArmRecord, iteration: int) -> float | None:
    """The largest share of near copies that chance may bring in one run of an arm; None where it was not measured."""
    sizes = [run.values(iteration, "measure") for run in arm.runs]
    numbers = {(of.get("n_generated"), of.get("n_reference")) for of in sizes}
    shares = [most_by_chance(made, held_out) / made for made, held_out in numbers if made and held_out]
    return max(shares, default=None)


def outcome(table: Table) -> Outcome | None:
    """What came of the study, at its largest size; None before a second iteration is measured."""
    table = table.by_size()[0]
    states = {
        arm.name: state(table, arm, arm.last)
        for arm in table.study.arms
        if arm.last is not None and arm.last > arm.iterations[0]
    }
    arms = [arm for arm in table.study.arms if arm.name in states]
    if not arms:
        return None
    # A plain loop before a random control.
    plain = next((of for name in CONTROLS if (of := [arm for arm in arms if arm.method == name])), arms)
    collapsed = min(plain, key=lambda arm: states[arm.name].nearness)
    rescued = _rescued(table, arms, collapsed)
    title = f"{collapsed.name} {states[collapsed.name].fate}"
    if rescued is not None:
        when = f" after {counted(rescued.last or 0, 'iteration')}" if rescued.last != collapsed.last else ""
        title += f"; {rescued.name} {_beside(states[rescued.name])}{when}"
    sentences = [_told(table, collapsed, states), *([_told(table, rescued, states)] if rescued else [])]
    sentences.append(_price(table, rescued, collapsed) if rescued else _unrescued(table, arms, collapsed, states))
    return Outcome(collapsed, rescued, title, tuple(sentence for sentence in sentences if sentence))


def _rescued(table: Table, arms: list[ArmRecord], collapsed: ArmRecord) -> ArmRecord | None:
    """The arm that stands nearest to the real data, of the same family if one of that is clearly nearer: nearer than
    the collapsed one was when it had come as far."""
    # Where no name tells a method, every arm may be the one that helps.
    able = [arm for arm in arms if arm.method not in CONTROLS] or arms
    found: dict[str, float] = {}
    for arm in able:
        n = min(arm.last or 0, collapsed.last or 0)
        ours, theirs = (state(table, of, n).nearness for of in (arm, collapsed))
        if ours > theirs * _CLEARLY:
            found[arm.name] = ours
    nearer = [arm for arm in able if arm.name in found]
    own = [arm for arm in nearer if arm.family == collapsed.family]
    return max(own or nearer, key=lambda arm: found[arm.name], default=None)


def _beside(found: State) -> str:
    if found.kept is not None and found.kept < LITTLE and not found.copies:
        return f"keeps {percent(found.kept, 2)}"
    if found.kept is None and found.novelty is not None and not found.is_noise:
        return f"keeps {found.novelty:.2f}"
    return found.fate


def _told(table: Table, arm: ArmRecord, states: dict[str, State]) -> str:
    """An arm's fate with its numbers."""
    found, n = states[arm.name], arm.last
    parts = [] if found.novelty is None else [f"{found.novelty:.2f} of the score of fresh images"]
    if found.kept is not None:
        parts.append(f"{percent(found.kept, 2)} of the variance of the real data")
    if found.spaced is not None:
        parts.append(f"{found.spaced:.2f} of a fresh draw's distance, in units of the training set's spacing")
    more = "" if found.spaced is not None else "; whether it contracts or copies, its ledgers do not tell"
    near, fresh = (table.over_seeds(arm, at, f"{_NEAR}/{table.space}") for at in (n or 0, 0))
    if near and fresh:
        near_copies = f"{percent(near.mean, 2)} are near copies by the distances of real images"
        more += f"; {near_copies} (fresh ones: {percent(fresh.mean, 2)})"
    numbers = f": after {n} iterations its images have {words.listed(parts)}" if parts else ""
    return f"{arm.name} {found.fate}{numbers}{more}."


def _price(table: Table, rescued: ArmRecord, collapsed: ArmRecord) -> str:
    """What the rescued arm lacks of real data all the same, and what is worse in it than in the collapsed one."""
    worse, better = _compared(table, rescued, collapsed)
    if worse:
        return f"The price: {rescued.name} is worse in {words.listed(worse)}."
    return f"{rescued.name} is better in {words.listed(better[:2])} as well." if better else ""


def _compared(table: Table, arm: ArmRecord, collapsed: ArmRecord) -> tuple[list[str], list[str]]:
    """In what an arm's images are worse, and in what better, than those of the collapsed one."""
    worse, better = list[str](), list[str]()
    n = min(arm.last or 0, collapsed.last or 0)
    when = f", at iteration {n}" if arm.last != collapsed.last else ""
    for name in ("frechet_distance", "precision", "recall", "coverage"):
        key = f"{name}/{table.space}"
        known = words.words(key)
        if "generated" in known.moves_with and _n_generated(arm, n) != _n_generated(collapsed, n):
            continue
        ours, theirs = (table.over_seeds(of, n, key) for of in (arm, collapsed))
        if ours and theirs and ours.mean != theirs.mean:
            real = table.real(key)
            values = [number(ours.mean, 3), f"{collapsed.name} {number(theirs.mean, 3)}"]
            values += [f"real data {number(real.mean, 3)}"] if real else []
            text = f"{words.in_sentence(known.label)} ({', '.join(values)}{when})"
            is_better = (ours.mean - theirs.mean) * known.better > 0
            # Precision above the real data's own is no merit that could be lost.
            is_merit = not (name == "precision" and real and theirs.mean > real.mean)
            if is_better or is_merit:
                (better if is_better else worse).append(text)
    return worse, better


def _n_generated(arm: ArmRecord, n: int) -> set[int | None]:
    """How many images were measured at an iteration, in the runs of an arm."""
    return {run.values(n, "measure").get("n_generated") for run in arm.runs}


def _unrescued(table: Table, arms: list[ArmRecord], collapsed: ArmRecord, states: dict[str, State]) -> str:
    others = [arm for arm in arms if arm.method not in CONTROLS and arm is not collapsed]
    if not others:
        return ""
    best = max(others, key=lambda arm: states[arm.name].nearness)
    _, better = _compared(table, best, collapsed)
    but = f" {best.name} is better in {words.listed(better)}." if better else ""
    return (
        "In variance, spacing and novelty together no selection keeps the images clearly nearer to the real data: not "
        f"{words.listed([arm.name for arm in others])}.{but}"
    )
