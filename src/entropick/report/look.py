"""Colours, shapes and the theme: one way for a thing to look in every figure."""

from __future__ import annotations

import altair as alt

from entropick.report.record import ArmRecord, StudyRecord

# Okabe and Ito's colours without black and yellow: told apart with any colour vision, legible on light and dark.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
REAL_COLOR = "#8A8F98"
# Pixels between a drawing and its legend: a rule's label stands there.
LEGEND_OFFSET = 52

PANEL_WIDTH = 250


class Look:
    """How the arms of a study are told apart.

    Few arms share one panel and have a colour each. Where there are more arms than colours, and their names fall into
    families ("replace", "replace+greedy", ...), each family has a panel of its own, and what arms of different families
    have in common, their method, has one colour.
    """

    def __init__(self, study: StudyRecord) -> None:
        families = list(dict.fromkeys(arm.family for arm in study.arms))
        methods = list(dict.fromkeys(arm.method for arm in study.arms))
        self.in_panels = len(study.arms) > len(COLORS) and 1 < len(families) < len(study.arms) and len(methods) > 1
        self.labels = methods if self.in_panels else [arm.name for arm in study.arms]
        self.families = families if self.in_panels else [""]

    def label(self, arm: ArmRecord) -> str:
        """What stands for the arm in a legend."""
        return arm.method if self.in_panels else arm.name

    def panel(self, arm: ArmRecord) -> str:
        """The heading of the panel that the arm is drawn in; empty where there is only one."""
        return arm.family if self.in_panels else ""

    def style(self, label: str) -> tuple[str, str]:
        """The colour and the shape that stand for a label."""
        return style_at(self.labels.index(label))

    def color(self, *, legend: bool) -> alt.Color:
        """The colour channel of rows that have a ``label``."""
        scale = alt.Scale(domain=self.labels, range=[self.style(label)[0] for label in self.labels])
        return alt.Color("label:N", title=None, scale=scale, legend=_legend() if legend else None)

    def shape(self, *, legend: bool) -> alt.Shape:
        """The shape channel of rows that have a ``label``."""
        scale = alt.Scale(domain=self.labels, range=[self.style(label)[1] for label in self.labels])
        return alt.Shape("label:N", title=None, scale=scale, legend=_legend() if legend else None)


def style_at(index: int) -> tuple[str, str]:
    """The colour and the shape at `index`, the same in every figure; shapes differ where colours repeat."""
    return COLORS[index % len(COLORS)], SHAPES[index % len(SHAPES)]


def ramp(position: float) -> str:
    """A blue from light (0, early or few) to dark (1, late or many), both distinct from white and from near-black."""
    early, late = (0xA9, 0xD3, 0xF2), (0x1F, 0x5A, 0x9A)
    mixed = (round(a + (b - a) * position) for a, b in zip(early, late, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def highlight() -> alt.Parameter:
    """The labels that stand out, an empty list for all alike; the page sets it in all figures at once."""
    return alt.param(name="highlight", value=[])


def faded(opacity: float) -> alt.OpacityValue:
    """An opacity that falls for what is not highlighted."""
    chosen = "length(highlight) == 0 || indexof(highlight, datum.label) >= 0"
    return alt.OpacityValue(opacity / 8, condition={"test": chosen, "value": opacity})


def iteration_axis(last: int, *, first: int = 1) -> alt.X:
    """Whole iterations from the first to the last, about ten of them labelled."""
    ticks = list(range(first, max(last, first + 1) + 1, -(-(last - first + 1) // 10) or 1))
    scale = alt.Scale(domain=[first, max(last, first + 1)], nice=False, zero=False, padding=10)
    return alt.X("iteration:Q", title="iteration", axis=alt.Axis(format="d", values=ticks, grid=False), scale=scale)


def _legend() -> alt.Legend:
    return alt.Legend(orient="right", columns=1, offset=LEGEND_OFFSET)
