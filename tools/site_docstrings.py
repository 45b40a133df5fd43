"""Docstrings as Markdown shows them well: an extension of Griffe, named in mkdocs.yml.

They are written to be read in the source and by doctest. Three of its manners mean something else in Markdown: `::`
before an indented block, examples outside of a section of that name, and several parameters over one description.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Module, Object

LITERAL = re.compile(r"(?m)^::\n\n|(?<=\w):(?=:$)")
EXAMPLE = re.compile(r"(?m)^>>> (?:.+\n?)+")
NAMES = re.compile(r"(?m)^(\w+(?:, \w+)+)\n((?: {4}.*\n?|\n(?= {4}))+)")
SECTION = re.compile(r"(?m)^(?=\w+(?: \w+)?\n-{3,}$)")


def as_markdown(text: str) -> str:
    """The docstring, changed where Markdown would show it otherwise than it is meant.

    >>> print(as_markdown("Two steps.\\n\\n::\\n\\n    a = b\\n"))
    Two steps.
    <BLANKLINE>
        a = b
    >>> print(as_markdown("Adds.\\n\\nParameters\\n----------\\na, b\\n    Numbers.\\n"))
    Adds.
    <BLANKLINE>
    Parameters
    ----------
    a
        Numbers.
    b
        Numbers.
    """
    first, *sections = SECTION.split(f"{text}\n")
    first = EXAMPLE.sub(lambda match: f"```pycon\n{match.group().rstrip()}\n```\n", LITERAL.sub("", first))
    return "".join([first, *(NAMES.sub(_each, section) for section in sections)]).rstrip() + "\n"


def _each(match: re.Match[str]) -> str:
    names, description = match.groups()
    return "".join(f"{name}\n{description.rstrip()}\n" for name in names.split(", "))


class Docstrings(Extension):
    """Changes every docstring as it is collected."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Called by Griffe for the package."""
        self.on_object(obj=pkg)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by Griffe for each module in it, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
