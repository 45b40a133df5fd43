"""``entropick select``: a subset of images or embeddings, from files into files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from entropick.api.parts import engine_of, guard_table, is_path, selector_table, space_of
from entropick.cli.flags import Ended, FilesFlags, assignments, says
from entropick.cli.terminal import print_columns
from entropick.component import check_known
from entropick.config import build, component_class, parse_value, set_parameter
from entropick.errors import ConfigError, InputError, shown
from entropick.selection import Choice
from entropick.selection.appraisal import core_set_in_words
from entropick.sources import Source, open_sources


@dataclass(kw_only=True)
class Select(FilesFlags):
    """Choose a diverse subset of images or embeddings.

    Writes manifest.parquet and manifest.csv, selection.json, a page to look at
    and lists for other tools into DIR. The same command resumes; a random choice
    of the same size is always measured beside the selection.
    """

    sources: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="NAME=PATH ...", help_behavior_hint="(at least one)"),
    ]
    """Named as you like: images (folder, .tar, .npy, .npz, parquet, saved data set) or embeddings (.npy, .parquet)."""
    n: int
    """How many to choose."""
    method: str = "greedy"
    """greedy, threshold-decay, density-greedy, gist, latent-space-filter, random, or one of an installed package."""
    features: Annotated[str | None, says("pixels, or the sources if they are embeddings", metavar="NAME|PATH")] = None
    """How images are compared: pixels, dinov2, inception, encoder or classifier;
    or embeddings of them (.npy, .parquet, a folder of either), in order or by name."""
    threshold: Annotated[str | None, says("auto", metavar="X|auto")] = None
    """First threshold of threshold-decay, in units of the features."""
    decay: Annotated[float | None, says("0.95")] = None
    """Factor between thresholds of threshold-decay."""
    trusted: Annotated[str | None, says("the first source", metavar="NAME")] = None
    """The source that density-greedy and gist want rows to be like, and that latent-space-filter learns from."""
    power: Annotated[float | None, says("2")] = None
    """How much density-greedy wants rows to be like the trusted ones; 0 is greedy."""
    guard: Annotated[str | None, says("no guard", metavar="NAME")] = None
    """Trust this source, and set aside first what is extremely far from it."""
    quota: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=SHARE", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Least share of a source, for instance real=0.5."""
    approximate: Annotated[float | None, says("exact", metavar="EPS")] = None
    """Greedy among rows that stand for their near copies, EPS below 1.
    The covering radius is proven to be at most 2 + EPS times the smallest possible; that of greedy, 2 times."""
    device: Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda")] = "auto"
    """Where distances are computed; auto takes a GPU if there is one."""
    engine: Annotated[str | None, says("this process", metavar="processes[:N]|ray[:ADDRESS]")] = None
    """Workers that read and compare: processes of this machine, or on Ray.
    For greedy, threshold-decay, density-greedy; the rows chosen are the same."""
    given: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Rows of this source are picked already: choose N more, far from them too; they count for no share."""
    balance: bool = False
    """All classes get equally many places, as far as they have rows: folders below a folder, labels of a file."""
    link: bool = False
    """Link the chosen image files into DIR/selected (hard links: an edit there edits the original), or copy them."""
    copy: bool = False
    """Copy the chosen image files into DIR/selected, byte for byte."""
    set: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Any other parameter of selector, guard or features, for instance guard.k=3 or features.size=base."""

    def execute(self) -> Ended:
        """Choose, and say what came out."""
        result, console = self.run(self._choice)
        _print_result(result, self.out, console)
        return Ended({"out": str(self.out), **result})

    def _choice(self) -> Choice:
        if self.link and self.copy:
            raise ConfigError("--link and --copy: expected one of them.")
        workers = engine_of(self.engine, self.workers, prefix="--")
        sources = open_sources(self.sources, columns=self.columns, bit_depth=self.bit_depth)
        files: Literal["none", "link", "copy"] = "link" if self.link else "copy" if self.copy else "none"
        compared: Any = self.features
        if compared is not None and not is_path(compared):
            compared = parse_value(compared)
        parts: dict[str, Any] = {"selector": self._selector(sources)}
        if not is_path(compared) and (compared is not None or sources[0].kind != "embeddings"):
            parts["features"] = "pixels" if compared is None else compared
        if self.guard is not None:
            parts["guard"] = guard_table(sources, self.guard, where="--guard")
        typed: dict[str, dict[str, str]] = {"selector": dict(_OWN_FLAGS), "guard": {}, "features": {}}
        for key, value in assignments(self.set, example="guard.k=3"):
            section, _, parameter = key.partition(".")
            check_known(section, ("selector", "guard", "features"), "--set")
            if not parameter:
                raise ConfigError(f"--set: expected {section}.PARAMETER=VALUE, got {shown(key)} without a parameter.")
            if key in _FLAGS:
                raise ConfigError(f"--set: expected a parameter that no flag gives, got {key!r}. Use {_FLAGS[key]}.")
            if section not in parts:
                raise ConfigError(f"--set {key}: {_WITHOUT[section]}")
            set_parameter({"--set": parts}, key, value, prefix="--set ")
            typed[section][parameter] = key
        selector, encoder, guard = (
            _built(section, parts.get(section), flag=flag, typed=typed[section])
            for section, flag in (("selector", "--method"), ("features", "--features"), ("guard", "--guard"))
        )
        return Choice(
            sources=sources,
            selector=selector,
            space=space_of(
                encoder or compared,
                sources,
                columns=self.columns,
                resize=self.resize,
                normalize=self.normalize,
                where="--features",
            ),
            guard=guard,
            quotas=_quotas(self.quota),
            balance=self.balance,
            given=tuple(self.given),
            files=files,
            engine=workers,
            skip_bad=self.skip_bad,
            seed=self.seed,
        )

    def _selector(self, sources: Sequence[Source]) -> dict[str, Any]:
        table = selector_table(
            sources,
            self.method,
            self.n,
            seed=self.seed,
            device=self.device,
            trusted=self.trusted,
            approximate=self.approximate,
            prefix="--",
        )
        known = component_class("selector", table["kind"], "--method").parameter_names()
        for name, flag in _OWN_FLAGS.items():
            if (value := getattr(self, name)) is None:
                continue
            if name not in known:
                raise ConfigError(
                    f"{flag}: expected a method that has it ({_FITS[name]}), got {shown(self.method)}. Leave {flag} "
                    f"out, or give --method {_FITS[name]}."
                )
            table[name] = parse_value(value) if isinstance(value, str) else value
        return table


# Parameters that have flags of their own, where names of sources and all rows of a pool are known.
_FLAGS = {
    "selector.kind": "--method",
    "selector.n_samples": "--n",
    "selector.random_state": "--seed",
    "selector.device": "--device",
    "selector.minimum": "--quota or --balance",
    "selector.trusted": "--trusted",
    "selector.eps": "--approximate",
    "selector.threshold": "--threshold",
    "selector.decay": "--decay",
    "selector.power": "--power",
    "guard.trusted": "--guard",
}
# Parameters of some methods alone, by the names of their flags; and which of the package's own methods that is.
_OWN_FLAGS = {name: f"--{name}" for name in ("threshold", "decay", "power")}
_FITS = {"threshold": "threshold-decay", "decay": "threshold-decay", "power": "density-greedy"}
# What is said of parameters of a part that there is not.
_WITHOUT = {
    "guard": "there is no guard. Give --guard NAME.",
    "features": "embeddings have no parameters. Leave it out, or give --features NAME.",
}


def _built(section: str, value: Any, *, flag: str, typed: Mapping[str, str]) -> Any:
    """A component, None for none; what is wrong with its kind is said of the flag, of a parameter as it was `typed`."""
    if value is None:
        return None
    kind = value.get("kind") if isinstance(value, dict) else value
    if isinstance(kind, str):
        component_class(section, kind, flag)
    try:
        made = build(section, value, where=section if isinstance(kind, str) else flag)
    except ConfigError as error:
        raise _as_typed(error, section, typed) or error from error
    try:
        made.check()
    except InputError as error:
        # Whatever else is wrong is said where all names that users know are known.
        if told := _as_typed(error, section, typed):
            raise told from error
    return made


def _as_typed(error: InputError, section: str, typed: Mapping[str, str]) -> ConfigError | None:
    """What is wrong with a parameter, said of what was typed for it; None if it is of no such one."""
    text = str(error).removeprefix(f"{section}.")
    name = re.split(r"\W", text, maxsplit=1)[0]
    return ConfigError(f"{typed[name]}{text.removeprefix(name)}") if name in typed else None


def _quotas(texts: Sequence[str]) -> dict[str, float]:
    quotas: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.rpartition("=")
        value = parse_value(share)
        if not equals or isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(
                f"--quota: expected NAME=SHARE with a share from 0 to 1, for instance real=0.5, got {shown(text)}."
            )
        quotas[name] = float(value)
    if len(quotas) < len(texts):
        raise ConfigError(f"--quota: expected every source once, got {', '.join(texts)}.")
    return quotas


def _print_result(result: dict[str, Any], out: Path, console: Console) -> None:
    rows = {"entropy (nats)": "knn_entropy", "covering radius": "covering_radius", "min. distance": "min_distance"}
    lines = [[label, *(_number(result[of][key]) for of in ("selection", "control"))] for label, key in rows.items()]
    print_columns([["", "selection", "random"], *lines], console)
    for line in core_set_in_words(result):
        console.print(line)
    for what, counts in (("source", result["sources"]), ("class", result["classes"] or {})):
        if counts:
            heading = [what, *(key.replace("_", " ") for key in next(iter(counts.values())))]
            print_columns([heading, *([name, *map(str, of.values())] for name, of in counts.items())], console)
    classes = (result["classes"] or {}).items()
    # An older release did not count what was set aside.
    if short := [name for name, of in classes if of["candidates"] - of.get("set_aside", 0) == of["chosen"]]:
        kept = " that were kept" if any(of.get("set_aside") for _, of in classes) else ""
        told = f"all candidates of {', '.join(short)}{kept} are taken"
        console.print(f"{told}; the other classes share the remaining places.")
    if result["n_distinct"] < result["n_samples"]:
        of = "given and chosen" if result["n_given"] else "chosen"
        console.print(f"only {result['n_distinct']:,} of the {of} rows are distinct; the others are copies of them.")
    found = result["duplicates"]
    if repeats := found["rows"] - found["groups"]:
        told = "row of the pool repeats" if repeats == 1 else "rows of the pool repeat"
        console.print(f"{repeats:,} {told} others: {out / 'duplicates.csv'}")
    console.print(f"manifest: {out / 'manifest.csv'}")
    console.print(f"page: {out / 'selection.html'}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if 1e2 <= abs(value) < 1e9 else f"{value:,.4g}"
