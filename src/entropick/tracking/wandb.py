"""Weights & Biases: online where there is a key, and into files that ``wandb sync`` sends where there is none."""

from __future__ import annotations

import contextlib
import netrc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from entropick.tracking.points import Point
from entropick.tracking.tracker import Tracker, TrackerRun

_MODE = "WANDB_MODE"
# Of LevelDB's logs: bytes of a block, kinds of chunks that end a record, and of those that do not.
_BLOCK, _WHOLE, _PARTS = 32_768, (1, 4), (2, 3)


class WandB(Tracker):
    """A run of W&B for each run of the study, below ``wandb`` in the study's directory, or in the given one.

    ``WANDB_MODE`` decides whether something is sent. Where it is not set, runs are online if a key of W&B is on this
    machine, else offline; nobody is asked for one.
    """

    kind: ClassVar[str] = "wandb"
    package: ClassVar[str] = "wandb"
    can_look: ClassVar[bool] = False

    def has(self, name: str) -> bool:
        """Not known, and no matter: W&B tells runs apart by their keys."""
        return False

    def open(self, name: str, key: str, config: Mapping[str, Any], last: int) -> TrackerRun:
        """The run with the key; one that was online goes on as W&B has it."""
        import wandb

        is_online = self._mode == "online"
        self._root.mkdir(parents=True, exist_ok=True)
        # What was still in the memory of W&B's own process when all was killed is in none of its files.
        kept = max(_steps_of(self._root, key), default=-1)
        settings = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        run = wandb.init(
            project=self.project,
            id=key,
            name=name,
            group=str(config.get("arm", "")) or None,
            config=dict(config),
            dir=str(self._root),
            mode=self._mode,
            # A run that is offline has nothing to be asked for.
            resume="allow" if is_online else None,
            reinit="create_new",
            settings=settings,
        )
        return _Run(run, max(last, int(run.step) - 1 if is_online else kept))

    def where(self) -> str:
        """How to see it, or to send it."""
        if self._mode == "online":
            return f"W&B project {self.project!r}"
        return f"wandb sync {self._root / 'wandb'}/offline-run-*"

    @property
    def _root(self) -> Path:
        return self.folder if self.place is None else self.place

    @property
    def _mode(self) -> Any:
        given = os.environ.get(_MODE, "").strip().lower()
        if given in ("online", "offline", "disabled", "shared"):
            return given
        if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
            return "disabled"
        return "online" if _has_key() else "offline"


class _Run(TrackerRun):
    # A process of W&B's writes, or sends, when it likes.
    keeps_at_once = False

    def __init__(self, run: Any, last: int) -> None:
        self._run, self._last = run, last

    def log(self, point: Point) -> None:
        if point.iteration <= self._last:
            return
        import wandb

        images = {name: wandb.Image(image) for name, image in point.images.items()}
        # Committed at once: an open step is kept in memory until the next one begins.
        self._run.log({**point.values, **images}, step=point.iteration, commit=True)
        self._last = point.iteration

    def finish(self) -> None:
        self._run.finish()


def _steps_of(root: Path, key: str) -> Iterator[int]:
    """The steps of a run that W&B's offline files have; files that were sent and removed have none."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    for file in root.glob(f"wandb/offline-run-*-{key}/*.wandb"):
        for raw in _records(file.read_bytes()):
            with contextlib.suppress(DecodeError):
                if (record := Record.FromString(raw)).HasField("history"):
                    yield int(record.history.step.num)


def _records(content: bytes) -> Iterator[bytes]:
    """The whole records of a log in LevelDB's format, which begins with W&B's own 7 bytes; a torn end is left out.

    It has blocks of 32 KiB of chunks: 4 bytes of checksum, 2 of length, 1 of kind (whole, first, middle, last).
    """
    place, record = 7, b""
    while place + 7 <= len(content):
        if (left := _BLOCK - place % _BLOCK) < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        chunk = content[place + 7 : place + 7 + length]
        if kind not in _WHOLE + _PARTS or len(chunk) < length:
            return
        record, place = record + chunk, place + 7 + length
        if kind in _WHOLE:
            yield record
            record = b""


def _has_key() -> bool:
    """Whether W&B would find out who is asking, without asking."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    names = [os.environ["NETRC"]] if os.environ.get("NETRC") else [str(Path.home() / of) for of in (".netrc", "_netrc")]
    for name in names:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if netrc.netrc(name).authenticators(host):
                return True
    return False
