"""Where a call from Python works: in the folder that it was given, or in one that is gone when it returns."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from entropick.arrays import check_real
from entropick.datasets.listing import expanded
from entropick.errors import InputError, shown
from entropick.run.folder import working_in
from entropick.sources import FilesCommand, Say
from entropick.sources.scratch import spilled_into

Result = TypeVar("Result")
Given = ParamSpec("Given")


def with_rows_in_files(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A call that holds its folder `out` from the beginning, and whose large embeddings come into files below it, or
    into a temporary folder, until it returns."""

    @functools.wraps(function)
    def call(*args: Given.args, **named: Given.kwargs) -> Result:
        out: Any = named.get("out")
        for name in ("out", "work"):
            if not isinstance(given := named.get(name), str | os.PathLike | None):
                raise InputError(f"{name}: expected the path of a folder, or None, got {shown(given)}.")
        with contextlib.ExitStack() as stack:
            if out is not None:
                stack.enter_context(working_in(expanded(out)))
            stack.enter_context(spilled_into(None if out is None else expanded(out) / ".rows"))
            return function(*args, **named)

    return call


def call(
    command: FilesCommand,
    read: Callable[[Path, dict[str, Any]], Result],
    *,
    out: str | os.PathLike[str] | None,
    work: str | os.PathLike[str] | None,
    budget_seconds: float | None,
    say: Say,
) -> Result:
    """Run a command, and `read` what it left in its folder, given that and its result."""
    if out is None and budget_seconds is not None and work is None:
        raise InputError("budget_seconds: expected out= or work=, where what was finished is kept, got neither.")
    if budget_seconds is not None:
        budget_seconds = check_real(budget_seconds, name="budget_seconds", minimum=0)
    shared = None if work is None else expanded(work)
    if out is not None:
        folder = expanded(out)
        return read(folder, command.run(folder, say=say, budget_seconds=budget_seconds, shared=shared))
    with tempfile.TemporaryDirectory(prefix="entropick-") as name:
        folder = Path(name) / "out"
        return read(folder, command.run(folder, say=say, budget_seconds=budget_seconds, shared=shared))
