"""Images that cannot be used: all of them named, or gone on without and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entropick.errors import InputError
from entropick.sources.source import Source, on_one_line, readable

Problems = Sequence[dict[int, str]]


def check_problems(sources: Sequence[Source], problems: Problems, *, skip_bad: bool) -> None:
    """Raise InputError with all `problems` (of each source, row -> reason), unless they are to be skipped."""
    if skip_bad or not any(problems):
        return
    lines = listing(sources, problems)
    images, them = ("1 image", "it") if len(lines) == 1 else (f"{len(lines)} images", "them")
    raise InputError("\n  ".join([f"{images} cannot be used. Mend or remove {them}, or give --skip-bad:", *lines]))


def listing(sources: Sequence[Source], problems: Problems) -> list[str]:
    """A line for each of them."""
    return [
        f"{on_one_line(source.place(row))}: {on_one_line(reason)}"
        for source, of in zip(sources, problems, strict=True)
        for row, reason in sorted(of.items())
    ]


def skipped(sources: Sequence[Source], problems: Problems) -> list[dict[str, Any]]:
    """What was skipped, as plain data."""
    return [
        {"source": source.name, "path": readable(source.place(row)), "row": row, "reason": readable(reason)}
        for source, bad in zip(sources, problems, strict=True)
        for row, reason in sorted(bad.items())
    ]
