"""The gate: no fast path is used before it has computed, on this machine, what eager float32 computes.

Compiled and captured kernels have been silently wrong in several releases of torch, and low precision can be too low
for a network. So before training and before sampling the same probe goes through both paths. The first path whose
outputs and gradients agree is used; every one that does not is warned of and written down.

A graph holds more than outputs and gradients: the update of weights and images, and random numbers. What it leaves
behind is compared with what the same kernels leave behind when they are launched one by one.

Where there is much to compute, all ways that may be fastest are timed, and the fastest that agrees is taken: in the
whole study, so that no arm is computed otherwise than another one.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from entropick.diffusion.execution import Execution
from entropick.errors import EntropickWarning
from entropick.work import State, Work

# Relative errors (L2 norm) of honest kernels are below a third of these for the networks of this package; a wrong
# kernel is off by far more. float32 leaves room for TF32 matrix units.
TOLERANCE = {torch.float32: 5e-3, torch.bfloat16: 6e-2, torch.float16: 2e-2}
# A single tensor's gradient is a small sum of large terms: it is allowed this many times as much, and what is smaller
# than this share of the whole gradient is measured against that share.
_PER_TENSOR = 4.0
_NEGLIGIBLE = 1e-3
# Of what a graph leaves behind. The first steps of Adam are signs of gradients: noise of 0.4 % on every product, as
# much as bfloat16 rounds, leaves a U-Net's weights a fifth off. A graph that forgets a part of a step is off by half.
_EFFECTS = 0.35
_PROBE_SPREAD = 0.02
# Steps that must be left before ways are timed, which takes some twenty steps of each.
WORTH_TIMING = 1000
# Seconds that all of them together must take before others are tried, and before a network is compiled, which takes a
# minute or two.
WORTH_TRYING = 30.0
WORTH_COMPILING = 300.0
# Of the time of a way, for another one to be taken: less is noise.
_CLEARLY = 0.95
# A timing is the least of so many rounds, each of so many steps at most and of about so many seconds.
_ROUNDS, _TIMED, _ROUND_SECONDS = 3, 10, 0.3


@dataclass(frozen=True)
class Probe:
    """What a path computed.

    Attributes
    ----------
    predicted
        The predicted noise.
    gradients
        Of every parameter; none when sampling.
    effects
        What steps left behind, by name, where a graph is asked for.
    one_by_one
        What the kernels of a graph computed when they were launched one by one, where that is known.
    """

    predicted: Tensor
    gradients: Sequence[Tensor] = ()
    effects: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    one_by_one: Probe | None = None


@dataclass(frozen=True)
class Passage:
    """The path that came through the gate, a sentence on each that did not, and seconds of a step of those timed."""

    execution: Execution
    refused: tuple[str, ...] = ()
    timed: Mapping[str, float] = field(default_factory=dict)

    def values(self) -> State:
        """For the ledger; nothing where the plain path was wanted and used."""
        return {} if self.execution.is_plain and not (self.refused or self.timed) else self.state()

    def state(self) -> State:
        """For a checkpoint."""
        timed = {"step_seconds": dict(self.timed)} if self.timed else {}
        return {"execution": self.execution.name, "refused": list(self.refused), **timed}


@dataclass(frozen=True)
class Left:
    """What is left to compute.

    Attributes
    ----------
    steps
        How many.
    seconds
        Measures those of one, computed in the way that was probed last.
    of
        In words, what is computed, and on what: what was found fastest for it once is taken again in the same study.
    """

    steps: int
    seconds: Callable[[], float]
    of: str = ""

    @property
    def is_long(self) -> bool:
        """Whether timing a step in several ways would take but a small part of it."""
        return self.steps >= WORTH_TIMING

    def is_much(self, seconds: float) -> bool:
        """Whether steps of so many seconds take so long together that others are worth a trial."""
        return seconds * self.steps >= WORTH_TRYING


def pass_gate(
    ways: Sequence[Execution],
    compute: Callable[[Execution], Probe],
    *,
    what: str,
    before: State,
    work: Work,
    left: Left | None = None,
) -> Passage:
    """Compare the first of the `ways`, then ever plainer paths, with eager float32; return the first that agrees.

    A path that cannot be built at all (no memory for its graph, an operator that cannot be captured) has not agreed.
    With the `state` of the passage before an interruption, the path that was used then is the first to be tried. Where
    several processes share the `work`, all take the plainest of their paths.

    Where much is `left`, the other ways are timed too, and what is clearly faster is taken; a captured network is also
    compiled where that may save much. What one has chosen, all who share the study take.
    """
    if work.n_processes == 1:
        return _own_passage(ways, compute, what=what, before=before, work=work, left=left)
    plainer = list(ways[0].fallbacks())
    passage = _own_passage(ways[:1], compute, what=what, before=before, work=work, left=None)
    found = work.gather((plainer.index(passage.execution), passage.refused))
    refused = dict.fromkeys(reason for _, reasons in found for reason in reasons)
    return Passage(plainer[max(number for number, _ in found)], tuple(refused))


def _own_passage(
    ways: Sequence[Execution],
    compute: Callable[[Execution], Probe],
    *,
    what: str,
    before: State,
    work: Work,
    left: Left | None,
) -> Passage:
    refused, timed = list(before.get("refused", ())), dict(before.get("step_seconds", {}))
    known = {way.name: way for first in ways for way in (first.as_compiled(), *first.fallbacks())}
    is_long = left is not None and left.is_long and (len(ways) > 1 or ways[0].may_compile)
    chosen = before.get("execution") or (work.choice(left.of) if left is not None and is_long else None)
    wanted, is_open = known.get(chosen or "", ways[0]), is_long and not chosen
    if wanted.is_plain and not is_open:
        return Passage(wanted, tuple(refused), timed)
    expected = compute(wanted.plain())
    execution = _agreeing(wanted, compute, expected, refused, what)
    if left is not None and is_open:
        if execution != wanted:
            # What is timed is what was built last.
            compute(execution)
        execution, timed = _fastest(execution, ways, compute, expected, left, refused, what)
        # Where nothing else was tried, longer work of the same kind is free to.
        chosen = work.choose(left.of, execution.name) if timed else execution.name
        if chosen != execution.name and chosen in known:
            execution = _agreeing(known[chosen], compute, expected, refused, what)
    return Passage(execution, tuple(refused), timed)


def _agreeing(
    wanted: Execution, compute: Callable[[Execution], Probe], expected: Probe, refused: list[str], what: str
) -> Execution:
    """The first of a way and its fallbacks that agrees."""
    for execution in wanted.fallbacks():
        reason = None if execution.is_plain else _disagreement(execution, compute, expected)
        if reason is None:
            return execution
        _refuse(refused, execution, reason, what)
    raise AssertionError("the plain path agrees with itself")


def _fastest(
    first: Execution,
    ways: Sequence[Execution],
    compute: Callable[[Execution], Probe],
    expected: Probe,
    left: Left,
    refused: list[str],
    what: str,
) -> tuple[Execution, dict[str, float]]:
    """What is clearly fastest of a way that agrees and its rivals that do, and seconds of each if any was tried."""
    seconds = {first: left.seconds()}
    latest = first

    def best() -> Execution:
        found = first
        for way, taken in seconds.items():
            found = way if is_clearly_less(taken, seconds[found]) else found
        return found

    def rivals() -> Iterator[Execution]:
        if left.is_much(seconds[first]):
            yield from (way for way in ways if way not in seconds)
        if best().may_compile and seconds[best()] * left.steps >= WORTH_COMPILING:
            yield best().as_compiled()

    tried = {reason.partition(": ")[0] for reason in refused}
    for rival in rivals():
        if rival.name in tried:
            continue
        latest = rival
        reason = None if rival.is_plain else _disagreement(rival, compute, expected)
        if reason is not None:
            _refuse(refused, rival, reason, what)
        else:
            if rival.is_plain:
                compute(rival)
            seconds[rival] = left.seconds()
    if best() != latest:
        # What is used is what was built last.
        compute(best())
    return best(), {way.name: taken for way, taken in seconds.items()} if latest != first else {}


def _refuse(refused: list[str], execution: Execution, reason: str, what: str) -> None:
    refused.append(f"{execution.name}: {reason}")
    warnings.warn(f"{what}: not computed as {refused[-1]}. A plainer path is used.", EntropickWarning, stacklevel=2)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def is_clearly_less(seconds: float, than: float) -> bool:
    """Whether a time is less than another one by more than noise."""
    return seconds < _CLEARLY * than


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call: the least of a few rounds, after calls that are not counted."""

    def of_round(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            step()
        _wait(device)
        return (time.perf_counter() - started) / n

    step()
    _wait(device)
    n = max(1, min(_TIMED, int(_ROUND_SECONDS / max(of_round(1), 1e-9))))
    return min(of_round(n) for _ in range(_ROUNDS))


@torch.no_grad()
def roughen(network: nn.Module, seed: int = 0) -> None:
    """Put noise on the weights: layers that begin at zero would hide what lies behind them."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=rng).to(parameter.device), alpha=_PROBE_SPREAD)


def _disagreement(execution: Execution, compute: Callable[[Execution], Probe], expected: Probe) -> str | None:
    try:
        found = compute(execution)
        reason = _difference(found, expected, TOLERANCE[execution.dtype])
        if reason is None and execution.captured:
            uncaptured = execution.uncaptured()
            alone = expected if uncaptured.is_plain else found.one_by_one or compute(uncaptured)
            reason = _difference_of_effects(found, alone)
    except Exception as error:  # Whatever it be: there is a plainer path.
        return f"it could not be built ({(str(error) or type(error).__name__).splitlines()[0]})"
    return reason


def _difference(found: Probe, expected: Probe, tolerance: float) -> str | None:
    errors = {
        "outputs differ": relative_error([found.predicted], [expected.predicted]),
        "gradients differ": relative_error(found.gradients, expected.gradients),
        "the gradient of one tensor differs": _worst_tensor(found.gradients, expected.gradients) / _PER_TENSOR,
    }
    reason, worst = max(errors.items(), key=lambda item: item[1])
    return f"{reason} by {worst:.2g} from eager float32, {tolerance:g} is allowed" if worst > tolerance else None


def _difference_of_effects(found: Probe, expected: Probe) -> str | None:
    errors = {name: relative_error(found.effects[name], effect) for name, effect in expected.effects.items()}
    name, worst = max(errors.items(), key=lambda item: item[1], default=("", 0.0))
    if worst <= _EFFECTS:
        return None
    return f"two steps leave {name} {worst:.2g} off from where uncaptured kernels do, {_EFFECTS:g} is allowed"


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """L2 norm of the difference over the L2 norm of what was expected, over all tensors; infinite for NaN."""
    difference = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(found, expected, strict=True))
    return _ratio(difference, sum(float(b.double().square().sum()) for b in expected))


def _worst_tensor(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    sizes = [float(b.double().square().sum()) for b in expected]
    least = sum(sizes) * _NEGLIGIBLE
    pairs = zip(found, expected, sizes, strict=True)
    return max(
        (_ratio(float((a.double() - b.double()).square().sum()), max(size, least)) for a, b, size in pairs), default=0.0
    )


def _ratio(difference: float, size: float) -> float:
    if not math.isfinite(difference):
        return math.inf
    return math.sqrt(difference / size) if size > 0 else math.inf if difference > 0 else 0.0
