"""When an arm will be copying, by the early warning of its own ledgers; drawn on the curve of its novelty."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from entropick.metrics.early_warning import Forecast, early_warning
from entropick.page.words import number
from entropick.report.figures import Rows, data
from entropick.report.look import Look, faded
from entropick.report.record import ArmRecord, StudyRecord, finite
from entropick.report.summary import Spread, metric_over_seeds

NOVELTY = "generalization_score_ratio"


@dataclass(frozen=True)
class ArmForecast:
    """What is said of one arm, from its means over seeds; `level` is the novelty that counts as copying."""

    arm: ArmRecord
    level: float
    last: int
    novelty: float
    found: Forecast

    @property
    def told(self) -> str:
        """The forecast, or why there is none, in a few words."""
        if self.found.iteration is None or self.found.low is None or self.found.high is None:
            return self.found.reason
        interval = f"{number(self.found.low, 3)} to {number(self.found.high, 3)}"
        return f"copies from about iteration {number(self.found.iteration, 3)} on (95 %: {interval})"


def forecasts(study: StudyRecord, space: str) -> list[ArmForecast]:
    """The forecast of every arm that has been measured; of a study at one size."""
    found = [_forecast(arm, f"{NOVELTY}/{space}", space) for arm in study.arms]
    return [forecast for forecast in found if forecast]


def forecast_layers(found: list[ArmForecast], look: Look, x: alt.X, y: alt.Y, *, legend: bool) -> list[alt.Chart]:
    """The way from the last measured novelty down to copying, and the interval in which it gets there, as far as the
    axis goes.

    `legend` says whether the drawing has one: a layer that declines it would take it from all.
    """
    arrivals = [one for one in found if one.found.iteration is not None]
    if not arrivals:
        return []
    ways: Rows = []
    spans: Rows = []
    for one in arrivals:
        named = {"arm": one.arm.name, "label": look.label(one.arm)}
        ways.append({**named, "iteration": one.last, "mean": one.novelty})
        ways.append({**named, "iteration": one.found.iteration, "mean": one.level})
        spans.append(
            {**named, "iteration": one.found.low, "until": one.found.high, "mean": one.level, "told": one.told}
        )
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("told:N", title="forecast")]
    color = look.color(legend=legend)
    way = alt.Chart(data(ways)).mark_line(strokeDash=[2, 4], strokeWidth=1.5, clip=True)
    span = alt.Chart(data(spans)).mark_rule(strokeWidth=4, strokeCap="round", clip=True)
    return [
        way.encode(x=x, y=y, color=color, opacity=faded(0.9), detail="arm:N"),
        span.encode(x=x, x2="until:Q", y=y, color=color, opacity=faded(0.6), tooltip=tooltip),
    ]


def reach(found: list[ArmForecast], last: int) -> int:
    """The iteration to which an axis must go to show the forecasts, at most twice as far as was measured."""
    ends = [one.found.high for one in found if one.found.high is not None]
    return min(max([last, *(int(end) + 1 for end in ends)]), 2 * last)


def _forecast(arm: ArmRecord, key: str, space: str) -> ArmForecast | None:
    levels = [run.values(0, "baseline").get("copying_ratio", {}).get(space) for run in arm.runs]
    level = Spread.of(finite(value) for value in levels)
    spreads = {n: metric_over_seeds(arm, n, key) for n in arm.iterations}
    rows = [{"iteration": float(n), key: spread.mean} for n, spread in spreads.items() if spread]
    if level is None or level.mean <= 0 or not rows:
        return None
    found = early_warning(rows, copying_ratio=level.mean, space=space).forecast
    return ArmForecast(arm, level.mean, int(rows[-1]["iteration"]), rows[-1][key], found)
