"""Diffusers, imported when it is needed: it takes seconds, and a loop over a perceptron never needs it."""

from __future__ import annotations

from typing import Any


def load_diffusers() -> Any:
    """The package `diffusers`."""
    import diffusers

    return diffusers
