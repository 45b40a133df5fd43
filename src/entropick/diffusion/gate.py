"""The gate: no fast path is used before it has computed, on this machine, what eager float32 computes.

Compiled and captured kernels have been silently wrong in several releases of torch, and low precision can be too low
for a network. So before training and before sampling the same probe goes through both paths. The first path whose
outputs and gradients agree is used; every one that does not is warned of and written down.

A graph holds more than outputs and gradients: the update of weights and images, and random numbers. What it leaves
behind is compared with what the same kernels leave behind when they are launched one by one.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
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
# Seconds that all steps together must take before a network is compiled, which takes a minute or two.
WORTH_COMPILING = 300.0
_TIMED = 10


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
    """

    predicted: Tensor
    gradients: Sequence[Tensor] = ()
    effects: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """The path that came through the gate, and a sentence on each that did not."""

    execution: Execution
    refused: tuple[str, ...] = ()

    def values(self) -> State:
        """For the ledger; nothing where the plain path was wanted and used."""
        return {} if self.execution.is_plain and not self.refused else self.state()

    def state(self) -> State:
        """For a checkpoint."""
        return {"execution": self.execution.name, "refused": list(self.refused)}


@dataclass(frozen=True)
class Left:
    """How many steps are to be taken, and what measures the seconds of one, of the graph that was built last."""

    steps: int
    seconds: Callable[[], float]


def pass_gate(
    wanted: Execution,
    compute: Callable[[Execution], Probe],
    *,
    what: str,
    before: State,
    work: Work,
    left: Left | None = None,
) -> Passage:
    """Compare `wanted`, then ever plainer paths, with eager float32; return the first that agrees.

    A path that cannot be built at all (no memory for its graph, an operator that cannot be captured) has not agreed.
    With the `state` of the passage before an interruption, the path that was used then is the first to be tried. Where
    several processes share the `work`, all take the plainest of their paths.

    What is left decides whether a captured network is compiled too: where that may save much, both are measured.
    """
    ways = list(wanted.fallbacks())
    alone = work.n_processes == 1
    known = [dataclasses.replace(wanted, compiled=True), *ways] if alone else ways
    passage = _own_passage(known, wanted, compute, what=what, before=before, left=left if alone else None)
    found = work.gather((0 if passage.execution.compiled else ways.index(passage.execution), passage.refused))
    refused = dict.fromkeys(reason for _, reasons in found for reason in reasons)
    plainest = max(number for number, _ in found)
    return Passage(ways[plainest] if plainest else passage.execution, tuple(refused))


def _own_passage(
    ways: Sequence[Execution],
    wanted: Execution,
    compute: Callable[[Execution], Probe],
    *,
    what: str,
    before: State,
    left: Left | None,
) -> Passage:
    refused = list(before.get("refused", ()))
    wanted = next((way for way in ways if way.name == before.get("execution")), wanted)
    if wanted.is_plain:
        return Passage(wanted, tuple(refused))
    expected = compute(wanted.plain())
    for execution in wanted.fallbacks():
        reason = None if execution.is_plain else _disagreement(execution, compute, expected)
        if reason is None:
            if left is not None and execution.may_compile and not before.get("execution"):
                execution = _compiled_if_it_pays(execution, compute, expected, left, refused, what)
            return Passage(execution, tuple(refused))
        _refuse(refused, execution, reason, what)
    raise AssertionError("the plain path agrees with itself")


def _compiled_if_it_pays(
    execution: Execution,
    compute: Callable[[Execution], Probe],
    expected: Probe,
    left: Left,
    refused: list[str],
    what: str,
) -> Execution:
    seconds = left.seconds()
    if seconds * left.steps < WORTH_COMPILING:
        return execution
    compiled = dataclasses.replace(execution, compiled=True)
    reason = _disagreement(compiled, compute, expected)
    if reason is None and left.seconds() < seconds:
        return compiled
    if reason is not None:
        _refuse(refused, compiled, reason, what)
    # Its graph has taken the other one's place.
    compute(execution)
    return execution


def _refuse(refused: list[str], execution: Execution, reason: str, what: str) -> None:
    refused.append(f"{execution.name}: {reason}")
    warnings.warn(f"{what}: not computed as {refused[-1]}. A plainer path is used.", EntropickWarning, stacklevel=2)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, over several in a row after one that is not counted."""
    step()
    _wait(device)
    started = time.perf_counter()
    for _ in range(_TIMED):
        step()
    _wait(device)
    return (time.perf_counter() - started) / _TIMED


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
            reason = _difference_of_effects(found, expected if uncaptured.is_plain else compute(uncaptured))
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
