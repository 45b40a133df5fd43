"""The contract of a tracker: it opens runs of its own, and takes points of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from entropick.component import Registry, check_known, require
from entropick.errors import ConfigError, shown
from entropick.tracking.points import Point

# Third parties add theirs through entry points of this group.
REGISTRY = Registry(
    "entropick.trackers",
    {
        "tensorboard": "entropick.tracking.tensorboard:TensorBoard",
        "trackio": "entropick.tracking.trackio:Trackio",
        "wandb": "entropick.tracking.wandb:WandB",
    },
)


class TrackerRun(ABC):
    """One run of a tracker, open to be added to."""

    keeps_at_once: ClassVar[bool] = True
    """Whether what `log` was given is kept when it returns, also if this process is killed then."""

    @abstractmethod
    def log(self, point: Point) -> None:
        """Add a point; what the tracker has of it already is left out."""

    @abstractmethod
    def finish(self) -> None:
        """Bring all that was logged to where the tracker keeps it, and close the run."""


class Tracker(ABC):
    """Where a study's points go.

    A subclass gives its `kind`, the `package` that it stands on, and the methods below. It may fail at any time with
    any exception: `StudyLog` says so once and goes on without it.

    Parameters
    ----------
    project
        What the tracker's runs have in common: the study's name.
    folder
        The study's directory.
    place
        Where the tracker keeps its files, as it was asked; None for its usual place.
    """

    kind: ClassVar[str]
    package: ClassVar[str]
    can_look: ClassVar[bool] = True
    """Whether `has` sees what was logged before, so that what somebody has deleted is logged anew."""

    def __init__(self, project: str, folder: Path, place: Path | None = None) -> None:
        self.project, self.folder, self.place = project, folder, place

    def check(self) -> None:
        """MissingDependency if the package is not there; looks at nothing else, and sends nothing."""
        require(self.package, wanted_by=f"--log {self.kind}", extra="track")

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a run of this name, of whatever study."""

    @abstractmethod
    def open(self, name: str, key: str, config: Mapping[str, Any], last: int) -> TrackerRun:
        """Begin a run, or go on with it.

        Parameters
        ----------
        name, key
            What it is called, and 16 letters that no other run has; the same whenever it goes on.
        config
            What the run was made with.
        last
            The last iteration that is known to have been logged, -1 for none.
        """

    @abstractmethod
    def where(self) -> str:
        """How to look at what was logged, on one line."""


def tracker_of(text: str, project: str, folder: Path) -> Tracker:
    """The tracker that ``NAME`` or ``NAME:DIR`` stands for.

    Raises
    ------
    ConfigError
        There is no such tracker.
    MissingDependency
        Its package is not installed; the message says how to install it.
    """
    name, colon, place = text.partition(":")
    check_known(name, tuple(REGISTRY.names()), "--log", noun="tracker ")
    if colon and not place:
        raise ConfigError(f"--log: expected {name} or {name}:DIR, got {shown(text)}.")
    made = REGISTRY.load(name)
    if not (isinstance(made, type) and issubclass(made, Tracker)):
        raise ConfigError(
            f"--log: {name!r} stands for {shown(made)}, expected a Tracker. Mend the package that brings it."
        )
    tracker = made(project, folder, Path(place).expanduser() if place else None)
    tracker.check()
    return tracker
