"""What a run was made with: Python, packages, processor. Kept beside the results, never part of their identity."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from entropick.errors import RunDamaged
from entropick.run.files import read_json, write_json

ENVIRONMENT = "environment.json"
_PACKAGES = ("entropick", "numpy", "scipy", "torch", "diffusers", "scikit-learn", "pillow", "pyarrow", "safetensors")


def environment() -> dict[str, Any]:
    """Describe this process's Python, packages and machine; imports none of the packages."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def record_environment(folder: Path) -> None:
    """Add this environment to ``environment.json`` unless its newest record is the same."""
    path = folder / ENVIRONMENT
    try:
        known = list(read_json(path)["environments"]) if path.exists() else []
    except (RunDamaged, TypeError, KeyError):
        known = []  # a record, and nothing depends on it: begin anew rather than stop the run
    current = environment()
    if not known or known[-1] != current:
        write_json(path, {"environments": [*known, current]})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
