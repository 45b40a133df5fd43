"""What ``entropick run`` prints before it starts: what is going to be done, and what it will cost."""

from __future__ import annotations

from rich.console import Console

from entropick.cli.display import print_columns
from entropick.loop.plan import ArmPlan, plan_study
from entropick.loop.study import Study

_HEADING = ["plan", "training set", "generated", "steps", "PFLOP", "time", "disk"]
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def print_plan(study: Study, console: Console) -> None:
    """Measure a few steps and print one line per arm, over all its iterations and seeds."""
    print_columns([_HEADING, *(_line(plan) for plan in plan_study(study))], console)
    console.print(
        "Sizes at the last iteration; all iterations and seeds. Time: a few steps measured now, on one arm at a time; "
        "what arms share is computed once, so the whole takes less.",
        soft_wrap=True,
        highlight=False,
    )


def _line(plan: ArmPlan) -> list[str]:
    return [
        plan.arm,
        f"{plan.n_training:,}",
        f"{plan.n_generated:,}",
        "-" if plan.n_steps is None else f"{plan.n_steps:,}",
        "-" if plan.flops is None else f"{plan.flops / 1e15:,.3g}",
        "-" if plan.seconds is None else duration(plan.seconds),
        f"{plan.n_bytes / 1e6:,.0f} MB",
    ]


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(42.4), duration(5400), duration(200_000)
    ('42 s', '90 min', '2.3 d')
    """
    for size, name in ((_DAY, "d"), (_HOUR, "h")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds / _MINUTE:.0f} min" if seconds >= 2 * _MINUTE else f"{seconds:.0f} s"
