"""Where the weights of an encoder are: a folder that was named, or the Hugging Face cache. Never the network."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick.errors import InputError

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json``, weights in safetensors and, for transformers, ``preprocessor_config.json``."""

    folder: Path

    def config(self) -> dict[str, Any]:
        """The content of ``config.json``; InputError if it cannot be read."""
        try:
            config: dict[str, Any] = dict(json.loads((self.folder / CONFIG).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.folder / CONFIG}: expected the configuration of an encoder ({error}).") from error
        return config

    def sha256(self) -> str:
        """A hash (hexadecimal) of all that decides about the features: configuration, preprocessing, weights."""
        digest = hashlib.sha256()
        for path in sorted({*self.folder.glob("*config.json"), *self.folder.glob("*.safetensors")}):
            digest.update(f"{path.name}\0{hash_of(path)}\n".encode())
        return digest.hexdigest()


def find_checkpoint(who: str, *, repo: str, path: str | None, needed: tuple[str, ...], by_path: str) -> Checkpoint:
    """The checkpoint in the folder `path`, or else of `repo` in the Hugging Face cache.

    Parameters
    ----------
    who
        The feature space, for messages.
    repo
        ``organisation/name`` on the hub.
    needed
        Files without which it is none. ``model.safetensors`` may also be in several parts with their index.
    by_path
        How a folder is named on the command line, for messages.

    Raises
    ------
    InputError
        It is not there, or not whole; the message says which command fetches it where there is a network.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if missing := _missing(folder, needed):
            raise InputError(f"{who}: expected a folder with {_listed(needed)} at {folder}, but {missing}.")
        return Checkpoint(folder)
    cached = _cached_folder(repo)
    if cached is None or _missing(cached, needed):
        came = f"the Hugging Face cache has no {repo}" if cached is None else f"in {cached} {_missing(cached, needed)}"
        raise InputError(
            f"{who}: its weights are needed, but {came}, and nothing is downloaded without being asked for. "
            f"Where there is a network, run\n  hf download {repo} {' '.join(needed)}\n"
            f"which fills the cache. For another machine add --local-dir FOLDER, and give that folder as "
            f"--features '{by_path}'."
        )
    return Checkpoint(cached)


def check_file(who: str, path: str | None, *, expected: str, otherwise: Path | None, advice: str) -> Path:
    """The file `path`, or else `otherwise` where it exists; InputError with the advice if there is neither."""
    for file in (Path(path).expanduser() if path is not None else otherwise,):
        if file is not None and file.is_file():
            return file
    raise InputError(f"{who}: expected {expected} at {path or otherwise}, but there is none. {advice}")


def hash_of(path: Path) -> str:
    """The sha256 (hexadecimal) of a file's content; remembered while the file stays as it is."""
    status = path.stat()
    return _hash(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _hash(path: Path, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cached_folder(repo: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo, CONFIG)
    except HFValidationError as error:
        raise InputError(f"expected the name of a model on the hub, such as facebook/dinov2-small: {error}") from error
    return Path(config).parent if isinstance(config, str) else None


def _missing(folder: Path, needed: tuple[str, ...]) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    lacking = [name for name in needed if not (folder / name).is_file()]
    if WEIGHTS in lacking and (folder / _INDEX).is_file():
        lacking.remove(WEIGHTS)
        parts = set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        lacking += sorted(part for part in parts if not (folder / part).is_file())
    return f"{_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing" if lacking else ""


def _listed(names: tuple[str, ...] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
