"""Where a call from Python works: in the folder that it was given, or in one that is gone when it returns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from entropick.datasets.listing import expanded
from entropick.errors import InputError
from entropick.sources import FilesCommand, Say

Result = TypeVar("Result")


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
    shared = None if work is None else expanded(work)
    if out is not None:
        folder = expanded(out)
        return read(folder, command.run(folder, say=say, budget_seconds=budget_seconds, shared=shared))
    with tempfile.TemporaryDirectory(prefix="entropick-") as name:
        folder = Path(name) / "out"
        return read(folder, command.run(folder, say=say, budget_seconds=budget_seconds, shared=shared))
