"""Where the runs of a study lie in its directory, and what its study.json says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from entropick.errors import RunDamaged
from entropick.run.files import read_json

STUDY = "study.json"


class Place(NamedTuple):
    """One run of a study: its arm, its size (None where the study has none), its seed."""

    arm: str
    size: int | None
    seed: int

    @property
    def path(self) -> str:
        """Its run directory, relative to the study's."""
        size = "" if self.size is None else f"size-{self.size}/"
        return f"arms/{self.arm}/{size}seed-{self.seed}"


def read_study_file(folder: Path) -> dict[str, Any]:
    """What a study directory is about; RunDamaged if its study.json is not what a study writes."""
    path = folder / STUDY
    study = read_json(path)
    kinds = {"arms": dict, "seeds": list, "sizes": list, "threads": int}
    if isinstance(study, dict):
        study.setdefault("sizes", [])
    if not isinstance(study, dict) or any(not isinstance(study.get(name), kind) for name, kind in kinds.items()):
        raise RunDamaged(
            f"{path}: expected arms, seeds and threads of a study. Remove it: the run command writes it anew."
        )
    return study


def places(study: Mapping[str, Any]) -> list[Place]:
    """All runs of a described study: arm by arm, size by size, seed by seed."""
    return [
        Place(str(arm), size, seed)
        for arm in study["arms"]
        for size in study["sizes"] or [None]
        for seed in study["seeds"]
    ]
