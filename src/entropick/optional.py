"""Packages that only some need: imported when they are needed, with one message where they are missing."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from entropick.errors import MissingDependency

# The operators whose shapes torchvision declares in Python, at import, although they live in its compiled part.
_TORCHVISION_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def require(package: str, *, extra: str, wanted_by: str) -> ModuleType:
    """Import an optional package.

    Raises
    ------
    MissingDependency
        It is not installed, or does not fit the others; the message says what installs it.
    """
    settle_torchvision()
    try:
        return importlib.import_module(package)
    except Exception as error:
        is_there = importlib.util.find_spec(package.partition(".")[0]) is not None
        came = f"it cannot be imported ({error})" if is_there else "it is not installed"
        raise MissingDependency(
            f"{wanted_by}: expected the package {package.partition('.')[0]}, but {came}. "
            f"Run: pip install 'entropick[{extra}]'"
        ) from error


@functools.cache
def settle_torchvision() -> Any:
    """Let torchvision be imported where its compiled part does not fit this torch; nothing to do elsewhere.

    PyPI's torchvision beside a CPU build of torch wants CUDA libraries that are not there. Its import then fails, and
    with it that of diffusers, transformers and timm, which need none of its compiled operators. Declared, but without
    an implementation, they stay out of the way; who calls one gets torch's error.
    """
    spec = importlib.util.find_spec("torchvision")
    if "torchvision" in sys.modules or spec is None or spec.origin is None:
        return None
    import torch

    try:
        for library in Path(spec.origin).parent.glob("_C.*"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        return None
    except OSError:
        declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in _TORCHVISION_OPERATORS:
            declared.define(f"{name}{_SIGNATURE}")  # type: ignore[no-untyped-call]
        return declared  # kept by the cache: the declarations live as long as this object
