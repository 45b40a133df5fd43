"""What a training step computes and leaves behind, on weights that hide nothing: what the gate compares."""

from __future__ import annotations

import torch
from torch import Tensor

from entropick.diffusion.gate import Probe, roughen
from entropick.diffusion.step import Step, TrainingSettings

# A fixed loss scale: no gradient overflows or vanishes in float16.
_SCALE = 1024.0


def tried(step: Step, settings: TrainingSettings, n_images: int, *, with_effects: bool) -> Probe:
    """Outputs and gradients of one step; with effects, also what it and a second one change.

    The first is taken where the learning rate is highest, the second near the end, where it is low.
    """
    rows = torch.arange(settings.batch_size) % n_images
    roughen(step.network)
    step.random.manual_seed(0)
    step.optimization.rescale(_SCALE)
    before = {name: [part.clone() for part in parts] for name, parts in step.optimization.parts().items()}
    first = min(settings.warmup_steps, settings.steps - 1)
    step.optimization.schedule.step.fill_(first)
    found = step(rows)
    # Gradients come back clipped. A factor that they all share would be lost in that.
    stretch = max(1.0, float(step.optimization.norm) / settings.clip_norm)
    gradients = [gradient.float() * stretch for gradient in found.of_parameters]
    predicted = found.predicted.float().clone()
    if not with_effects:
        return Probe(predicted, gradients)
    second = first + (settings.steps - 1 - first) * 3 // 4
    step.optimization.schedule.step.fill_(second)
    step(rows)
    return Probe(predicted, gradients, _effects(step, before, second))


def _effects(step: Step, before: dict[str, list[Tensor]], number: int) -> dict[str, list[Tensor]]:
    moved = {
        name: [now - then for now, then in zip(parts, before[name], strict=True)]
        for name, parts in step.optimization.parts().items()
    }
    return {
        **moved,
        "the step's number": [step.optimization.schedule.step - number],
        "the next random numbers": [torch.rand(8, generator=step.random, device=step.random.device)],
    }
