"""What ``entropick status`` shows, as lines of cells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from entropick.run import LEDGER, STUDY, History, Place, find_runs, is_locked, places, read_study_file

Lines = list[list[str]]


def run_lines(folder: Path) -> Lines:
    """One line per run, those that have not begun last."""
    planned = [folder / place.path for place in _places(folder)]
    waiting = [path for path in planned if not (path / LEDGER).is_file()]
    runs = [] if waiting and not any(folder.rglob(LEDGER)) else find_runs(folder)
    lines = [_run_line(path, path.relative_to(folder)) for path in runs]
    lines += [[str(path.relative_to(folder)), "0", "waiting", "-", "-"] for path in waiting]
    return [["run", "done", "state", "last stage", "at (UTC)"], *lines]


def grid(folder: Path) -> tuple[Lines, str]:
    """A line per arm and size, a column per seed; and how many runs are in which state."""
    states = {place: _state(folder / place.path) for place in _places(folder)}
    seeds = list(dict.fromkeys(place.seed for place in states))
    rows = list(dict.fromkeys((place.arm, place.size) for place in states))
    has_sizes = any(size is not None for _, size in rows)
    lines = [["arm", *(["size"] if has_sizes else []), *(f"seed {seed}" for seed in seeds)]]
    for arm, size in rows:
        cells = [" ".join(states[Place(arm, size, seed)]) for seed in seeds]
        lines.append([arm, *([str(size)] if has_sizes else []), *cells])
    counts = Counter(state for _, state in states.values())
    return lines, f"{len(states)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}"


def cost_lines(folder: Path) -> Lines:
    """A line per arm: what its results took, and what of it was computed for it."""
    from entropick.page.words import duration
    from entropick.report import read_table
    from entropick.report.study import STAGES

    head = ["arm", "runs", "steps", "images", *STAGES, "all", "own work", "shared"]
    lines = [
        [
            *(cost.arm.name, str(cost.n_runs), f"{cost.steps:,}", f"{cost.images:,}"),
            *(duration(cost.seconds[stage]) for stage in STAGES),
            *(duration(cost.total_seconds), duration(cost.own_seconds), str(cost.n_shared)),
        ]
        for cost in read_table(folder).costs()
    ]
    return [head, *lines]


def _places(folder: Path) -> list[Place]:
    return places(read_study_file(folder)) if (folder / STUDY).exists() else []


def _state(path: Path) -> tuple[str, str]:
    """How much of a run is done, and what it is doing."""
    if not (path / LEDGER).is_file():
        return "0", "waiting"
    history = History(path)
    state = "done" if history.is_finished else "running" if is_locked(path) else "stopped"
    planned = "" if history.n_planned is None else f"/{history.n_planned}"
    return f"{history.n_done}{planned}", state


def _run_line(path: Path, name: Path) -> list[str]:
    entries = History(path).entries
    last = entries[-1] if entries else None
    return [
        str(name) if name.parts else path.resolve().name,
        *_state(path),
        f"{last.iteration} {last.stage}" if last else "-",
        # Month, day, hour and minute of an ISO time, which the ledger has in UTC.
        str(last.timing.get("finished", "-"))[5:16].replace("T", " ") if last else "-",
    ]
