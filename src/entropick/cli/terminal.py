"""Where the commands print."""

from __future__ import annotations

import sys

from rich.console import Console


class Terminal(Console):
    """A console that leaves it to `main` what happens when its reader has gone; rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Leave by the error that it is."""
        raise BrokenPipeError


def print_anything() -> None:
    """Let names that the terminal's encoding does not have be printed as escapes, where they would be an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
