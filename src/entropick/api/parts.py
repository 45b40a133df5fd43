"""The parts of a selection or a score by the names that callers give them, from Python and on the command line.

Here are the usual values: which selector draws random numbers, how images are compared where nothing is said, and what
is a name of an encoder and what a file of embeddings. `where` is what messages begin with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entropick.arrays import check_count, check_flag, check_real, package_of
from entropick.config import build, component_class, is_known
from entropick.datasets.listing import expanded, path_or_address
from entropick.datasets.reading import base_of
from entropick.datasets.remote import is_address
from entropick.errors import InputError, shown
from entropick.features.base import Features
from entropick.processes import engine as engines
from entropick.selectors.base import Guard
from entropick.sources import (
    EMBEDDING_FILES,
    Source,
    Space,
    check_columns,
    embeddings_of_images,
    readable,
    source_number,
)


def selector_table(
    sources: Sequence[Source],
    method: str,
    n: int,
    *,
    seed: int,
    device: str,
    trusted: str | None,
    approximate: float | None = None,
    prefix: str = "",
) -> dict[str, Any]:
    """Kind and parameters of a selector; `prefix` is ``--`` where they were flags."""
    component_class("selector", method, f"{prefix}method")
    if approximate is not None:
        check_real(approximate, name=f"{prefix}approximate", above=0, below=1)
        if method not in ("greedy", "approximate-greedy"):
            raise InputError(
                f"{prefix}approximate: expected the method greedy, got {shown(method)}, of which there is no "
                f"approximation. Leave {prefix}approximate or {prefix}method out."
            )
        method = "approximate-greedy"
    names = component_class("selector", method, f"{prefix}method").parameter_names()
    # Not every selector draws random numbers or computes on a device.
    common = {"random_state": seed, "device": device}
    table: dict[str, Any] = {"kind": method, "n_samples": n}
    table |= {name: value for name, value in common.items() if name in names}
    if approximate is not None:
        table["eps"] = float(approximate)
    if method == "threshold-decay":
        table["threshold"] = "auto"
    if trusted is not None:
        if "trusted" not in names:
            raise InputError(
                f"{prefix}trusted: expected a method that trusts a source (density-greedy, gist, latent-space-filter), "
                f"got {shown(method)}. Leave {prefix}trusted out, or give {prefix}guard to set garbage aside."
            )
        table["trusted"] = source_number(sources, trusted, role=f"{prefix}trusted")
    return table


def guard_table(sources: Sequence[Source], trusted: str, *, where: str) -> dict[str, Any]:
    """The guard that trusts a source."""
    return {"kind": "outlier-guard", "trusted": source_number(sources, trusted, role=where)}


def guard_of(sources: Sequence[Source], given: str | Guard | None) -> Guard | None:
    """A guard, by the name of the source to trust."""
    if not isinstance(given, str | Guard | None):
        raise InputError(f"guard: expected the name of a source to trust, or a Guard, got {shown(given)}.")
    if not isinstance(given, str):
        return given
    made: Guard = build("guard", guard_table(sources, given, where="guard"), where="guard")
    return made


def engine_of(engine: str | None, workers: int | None, *, prefix: str = "") -> engines.Engine | None:
    """The engine of this name; None for this process. `prefix` is ``--`` where they were flags."""
    if engine is None and workers is not None:
        raise InputError(f"{prefix}workers: expected an engine whose workers they are, got none. Give {prefix}engine.")
    if not isinstance(engine, str | None):
        raise InputError(f"{prefix}engine: expected processes[:N], ray[:ADDRESS] or None, got {shown(engine)}.")
    return None if engine is None else engines.engine(engine, workers)


def is_path(given: Any) -> bool:
    """Whether this names embeddings in files, and no encoder.

    A path object does, and text that ends in ``.npy`` or ``.parquet``, has ``*`` in it, is an address, or is a folder,
    unless an encoder is called so.
    """
    if not isinstance(given, str) or given.lstrip().startswith("{"):
        return isinstance(given, os.PathLike)
    if given.endswith(EMBEDDING_FILES) or "*" in given or is_address(given):
        return True
    is_name = not given or is_known("features", given)
    return not is_name and os.path.isdir(expanded(given))  # noqa: PTH112, what can be no path is none


def space_of(given: Any, sources: Sequence[Source], *, columns: Sequence[str] = (), **options: Any) -> Space:
    """Where sources are compared: by an encoder or its name or table, a path of embeddings, embeddings in memory, or,
    where nothing is given, in pixels or as the embeddings that they are."""
    space = _space_of(given, sources, columns=columns, **options)
    check_columns(columns, sources, [space])
    return space


def spaces_of(given: Any, sources: Sequence[Source], *, columns: Sequence[str] = (), **options: Any) -> list[Space]:
    """As `space_of`, of one or of several in a list."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    spaces = [_space_of(one, sources, columns=columns, **options) for one in several or [None]]
    check_columns(columns, sources, spaces)
    return spaces


def _space_of(
    given: Any,
    sources: Sequence[Source],
    *,
    columns: Sequence[str],
    resize: int | None = None,
    normalize: bool = False,
    where: str = "features",
) -> Space:
    resize = None if resize is None else check_count(resize, name="resize")
    normalize = check_flag(normalize, name="normalize")
    if given is None and sources[0].kind == "embeddings":
        return Space("embeddings", resize=resize, normalize=normalize)
    if is_path(given):
        file = path_or_address(given)
        if isinstance(file, Path) and (file / "config.json").is_file():
            table = {"kind": "encoder", "model": str(file)}
            raise InputError(
                f"{where}: expected embeddings, but {file} holds an encoder (config.json). To compare by it: "
                f'--features \'{{kind = "encoder", model = "{file}"}}\' (features={table}).'
            )
        name = readable(base_of(file).stem) or "embeddings"
        return Space(name, file=file, columns=tuple(columns), resize=resize, normalize=normalize)
    if given is None or isinstance(given, str | Mapping | Features) or package_of(given) == "builtins":
        encoder = (
            given
            if isinstance(given, Features)
            else build("features", "pixels" if given is None else given, where=where)
        )
        return Space(encoder.name, encoder=encoder, resize=resize, normalize=normalize)
    memory = embeddings_of_images(given, tuple(columns))
    return Space("embeddings", memory=memory, columns=tuple(columns), resize=resize, normalize=normalize)
