"""TensorBoard: event files in a folder for each run, by the writer of torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from entropick.tracking.points import Point
from entropick.tracking.tracker import Tracker, TrackerRun


class TensorBoard(Tracker):
    """Event files below ``tensorboard`` in the study's directory, or below the given one."""

    kind: ClassVar[str] = "tensorboard"
    package: ClassVar[str] = "tensorboard"

    def has(self, name: str) -> bool:
        """Whether there is a folder of the name."""
        return (self._root / name).exists()

    def open(self, name: str, key: str, config: Mapping[str, Any], last: int) -> TrackerRun:
        """A further event file beside those that are there; readers take them together."""
        return _EventFiles(self._root / name, config)

    def where(self) -> str:
        """The command that shows it."""
        return f"tensorboard --logdir {self._root}"

    @property
    def _root(self) -> Path:
        # What is shared by several studies has a folder for each.
        return self.folder / "tensorboard" if self.place is None else self.place / self.project


class _EventFiles(TrackerRun):
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # A run that was killed may have written part of a point: what is there is read, not remembered.
        self._known = _read_steps(folder)
        self._writer: Any = SummaryWriter(str(folder))
        if not self._known:
            self._writer.add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```", 0)

    def log(self, point: Point) -> None:
        for name, value in point.values.items():
            if point.iteration not in self._known[name]:
                self._writer.add_scalar(name, value, point.iteration)
        for name, image in point.images.items():
            if point.iteration not in self._known[name]:
                self._writer.add_image(name, image, point.iteration, dataformats="HWC")
        for name in (*point.values, *point.images):
            self._known[name].add(point.iteration)
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


def _read_steps(folder: Path) -> dict[str, set[int]]:
    """Of each tag in event files, the steps that it has; a torn end of a file is what a kill leaves."""
    known: dict[str, set[int]] = defaultdict(set)
    if not folder.exists():
        return known
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    tags = found.Tags()
    for kind, read in (("scalars", found.Scalars), ("images", found.Images), ("tensors", found.Tensors)):
        for tag in tags[kind]:
            known[tag].update(event.step for event in read(tag))
    return known
