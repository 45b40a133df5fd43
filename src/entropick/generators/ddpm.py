"""Denoising diffusion: the paper's generator, trained from scratch and sampled by the full ancestral walk."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from entropick.arrays import (
    Floats,
    Images,
    Integers,
    check_choice,
    check_count,
    check_flag,
    check_images,
    check_labels,
    check_real,
)
from entropick.diffusion.execution import PRECISIONS, Execution, check_precision, launching_on
from entropick.diffusion.held_out import HeldOutLoss, TrainingSet, check_enough, image_losses, least_steps
from entropick.diffusion.labels import LABEL_SHARES, Classes
from entropick.diffusion.network_size import NetworkSize, check_memory
from entropick.diffusion.networks import NETWORKS, Velocity, build_network, check_network, in_patches, unet_stages
from entropick.diffusion.process import (
    NOISE,
    PREDICTIONS,
    SAMPLERS,
    VELOCITY,
    AncestralTable,
    SchedulerWalk,
    Walk,
    preview_scheduler,
)
from entropick.diffusion.sampling import Sampling, SamplingSettings
from entropick.diffusion.step import TrainingSettings
from entropick.diffusion.training import Training
from entropick.errors import InputError, shown
from entropick.generators.base import Generator
from entropick.processes.hardware import in_gigabytes, memory_of, usable_device
from entropick.processes.ranks import n_ranks
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

# Far beyond any network that was ever trained, and well before memory or time run out for want of a digit.
_MOST = {"width": 65_536, "depth": 1_000, "patch": 1_000, "batch_size": 10_000_000, "sampling_chunk": 10_000_000}
_MOST |= {"timesteps": 1_000_000, "sampling_steps": 1_000_000}
# The least images that a network takes, (h, w, c): what does not fit for these does not fit for any.
_LEAST_IMAGE = {"unet": (4, 4, 1), "mlp": (1, 1, 1)}
# A chunk's images and their noise, in float32.
_BYTES_OF_SAMPLED_PIXEL = 8
_DEFAULT_STEPS = 128_000
AUTO = "auto"


@dataclass(kw_only=True)
class DDPM(Generator):
    """Denoising diffusion probabilistic model (Ho et al. 2020) with the settings of Shi et al. 2025, section 5.

    Linear betas, AdamW, cosine learning rate with warm-up, ancestral sampling. The defaults are the
    paper's CIFAR-10 settings; a small image set on a CPU wants ``network="mlp"`` and far fewer steps.

    Parameters
    ----------
    network
        ``"unet"``: Diffusers' `UNet2DModel` in the paper's layout; ``"mlp"``: a residual perceptron over pixels.
    width
        Channels of the U-Net's first stage, or the width of the perceptron.
    depth
        Layers per U-Net stage, or residual blocks of the perceptron.
    patch
        Pixels a side that the U-Net takes as one, of as many more channels (Luhman & Luhman 2022, arXiv 2207.04316): 2
        makes a step of 16x16 images on a processor about 3.5 times as fast; after a short training its seams are seen.
    predicts
        ``"noise"``, as in the paper; or ``"velocity"`` (Salimans & Ho 2022, arXiv 2202.00512), whose loss is that of
        the velocity: networks that are trained for a short time are far better with it on colour images.
    steps
        Gradient steps; the same budget at every training-set size, as in the paper. ``"auto"``: as many as held-out
        images ask for (early stopping). A tenth of the training set (8 to 2,048 images; copies of an image together) is
        not trained on; its denoising loss, at noise drawn once, is looked at four times per doubling of the steps. The
        weights with the least loss are kept, and the training ends when that is half of the steps ago, not before 1,000
        steps and twice the warm-up. No image beside the training set is looked at, so nothing that is measured leaks.
    max_steps
        With ``steps="auto"``, and only then: the most steps there may be. The learning rate follows them. The ledger
        has the steps of the weights that are kept, those taken, the losses, and whether the maximum ended it: then more
        might have been better.
    epochs
        Passes over the training set, instead of `steps`: a budget that grows with the set. None counts steps.
    batch_size, learning_rate, warmup_steps, weight_decay, clip_norm
        Optimisation; `clip_norm` bounds the norm of the whole gradient.
    ema
        Decay of the exponential moving average of the weights that is sampled from; 0 samples the last weights, as the
        paper does.
    flips
        Mirror each training image left to right with probability 1/2; the paper does not.
    conditional
        Learn the classes of the images, and make images of asked-for classes. Wants a label for every image.
    label_dropout
        Share of training images whose class the network is not told, so that it can be guided.
    guidance
        Weight w of classifier-free guidance, eps = (1 + w) eps(x, class) - w eps(x) (Ho & Salimans 2022, equation 6):
        0 samples the conditional model as it is; Diffusers' ``guidance_scale`` is 1 + w.
    label_shares
        Classes asked for: ``"balanced"``, each in turn, or ``"training"``, drawn as often as the training set has them.
    timesteps, sampling_steps
        Noise levels in training, and how many of them the sampler visits (all of them in the paper).
    sampler
        ``"ddpm"``, the paper's ancestral walk; ``"ddim"`` and ``"dpm-solver++"`` (Diffusers' schedulers) give a
        preview in 20 to 50 steps, drawn from another distribution.
    sampling_chunk
        Images that share one random stream; part of the result's identity, unlike the memory it takes. With
        ``precision="auto"`` a long sample on a GPU computes several chunks at once where that is faster, and one on a
        processor a chunk in pieces; rounding apart, images are the same.
    precision
        ``"float32"``, ``"bfloat16"``, ``"float16"`` (with loss scaling; CUDA alone), or ``"auto"``: from 1,000 steps
        that take more than 30 s on, the precision and memory layout that a few timed steps say are fastest, the same
        ones for all of a study; for less bfloat16 on CUDA (from Ampere on), float32 elsewhere. Two runs may choose
        otherwise: give a precision where numbers are to be repeated. Trained weights, noise and x_t are float32 always.
        What is not eager float32 is compared with it first, and not used where it differs (`gate`).
    device
        A torch device, or ``"auto"``: CUDA where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((32, 8, 8, 1), np.uint8)
    >>> model = DDPM(network="mlp", width=16, depth=1, steps=2, sampling_steps=2).fit(images)
    >>> model.sample(5).shape
    (5, 8, 8, 1)
    """

    kind: ClassVar[str] = "ddpm"
    has_losses: ClassVar[bool] = True
    divisible: ClassVar[bool] = True
    network: str = "unet"
    width: int = 48
    depth: int = 2
    patch: int = 1
    predicts: str = NOISE
    steps: int | Literal["auto"] = _DEFAULT_STEPS
    max_steps: int | None = None
    epochs: int | None = None
    batch_size: int = 128
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    weight_decay: float = 1e-6
    clip_norm: float = 1.0
    ema: float = 0.0
    flips: bool = False
    conditional: bool = False
    label_dropout: float = 0.1
    guidance: float = 0.0
    label_shares: str = "balanced"
    timesteps: int = 1000
    sampling_steps: int = 1000
    sampler: str = "ddpm"
    sampling_chunk: int = 256
    precision: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_choice(self.network, NETWORKS, name="network")
        check_choice(self.predicts, PREDICTIONS, name="predicts")
        check_choice(self.precision, PRECISIONS, name="precision")
        check_choice(self.sampler, SAMPLERS, name="sampler")
        check_choice(self.label_shares, LABEL_SHARES, name="label_shares")
        for name in ("width", "depth", "patch", "batch_size", "timesteps", "sampling_steps", "sampling_chunk"):
            check_count(getattr(self, name), name=name, maximum=_MOST[name])
        self._check_steps()
        check_count(self.warmup_steps, name="warmup_steps", minimum=0)
        for name in ("learning_rate", "clip_norm"):
            check_real(getattr(self, name), name=name, above=0.0)
        for name in ("weight_decay", "guidance"):
            check_real(getattr(self, name), name=name, minimum=0.0)
        for name in ("ema", "label_dropout"):
            check_real(getattr(self, name), name=name, minimum=0.0, below=1.0)
        for name in ("flips", "conditional"):
            check_flag(getattr(self, name), name=name)
        self._check_combinations()
        check_network(self.network, width=self.width, patch=self.patch)
        check_precision(self.precision, self._device)
        height, width, channels = _LEAST_IMAGE[self.network]
        self._check_memory((height * self.patch, width * self.patch, channels))

    def _check_steps(self) -> None:
        if isinstance(self.steps, str) and self.steps != AUTO:
            raise InputError(f"steps: expected a whole number, or 'auto', got {shown(self.steps)}.")
        is_auto = self.steps == AUTO
        check_count(1 if is_auto else self.steps, name="steps", maximum=10**9)
        if is_auto and self.max_steps is None:
            raise InputError("max_steps: steps = 'auto' expected the most steps that there may be, got none.")
        if self.max_steps is not None:
            check_count(self.max_steps, name="max_steps", maximum=10**9)
            if not is_auto:
                raise InputError(
                    f"max_steps: expected none beside steps = {self.steps}, got {self.max_steps}. It bounds steps = "
                    "'auto'."
                )

    def _check_combinations(self) -> None:
        if self.epochs is not None:
            check_count(self.epochs, name="epochs")
            if self.steps != _DEFAULT_STEPS:
                raise InputError(
                    f"epochs: expected one budget, got epochs = {self.epochs} and steps = {self.steps}. Leave out one "
                    f"of them (steps = {_DEFAULT_STEPS} counts as left out)."
                )
        if self.sampling_steps > self.timesteps:
            raise InputError(
                f"sampling_steps: expected at most timesteps = {self.timesteps}, got {self.sampling_steps}."
            )
        if self.guidance and not (self.conditional and self.label_dropout):
            raise InputError(
                f"guidance: {self.guidance} needs conditional = true and a label_dropout above 0, got conditional = "
                f"{self.conditional} and label_dropout = {self.label_dropout}."
            )

    @property
    def needs_labels(self) -> bool:
        """Whether `fit` wants a label for every image."""
        return self.conditional

    def check_fits(self, image_shape: tuple[int, int, int]) -> None:
        """Raise InputError if the network cannot take images of this shape, or a training or sample cannot fit."""
        if self.network == "unet":
            unet_stages(in_patches(image_shape, self.patch))
        self._check_memory(image_shape)

    def kept_bytes(self, image_shape: tuple[int, int, int]) -> int:
        """Bytes of a fitted model on the disk."""
        return 4 * self._network_size(image_shape).n_weights

    def _network_size(self, image_shape: tuple[int, int, int]) -> NetworkSize:
        return NetworkSize.of(
            self.network, width=self.width, depth=self.depth, image_shape=image_shape, patch=self.patch
        )

    def _check_memory(self, image_shape: tuple[int, int, int]) -> None:
        """Raise InputError unless this machine has the least memory that training and sampling can take."""
        device = self._device
        memory, n_pixels = memory_of(str(device)), math.prod(image_shape)
        is_low = any(way.dtype != torch.float32 for way in self.ways())
        check_memory(
            self._network_size(image_shape),
            described=f"network {shown(self.network)} of width {self.width:,} and depth {self.depth:,}",
            batch_size=-(-self.batch_size // n_ranks()),
            with_average=self.ema > 0,
            bytes_per_number=2 if is_low else 4,
            memory=memory,
        )
        if (needed := self.sampling_chunk * n_pixels * _BYTES_OF_SAMPLED_PIXEL) > memory:
            raise InputError(
                f"sampling_chunk: expected images that fit into the {in_gigabytes(memory)} of memory here, but "
                f"{self.sampling_chunk:,} of {n_pixels:,} numbers take at least {in_gigabytes(needed)}. Lower it."
            )

    def n_steps(self, n_images: int) -> int:
        """Gradient steps of a training on so many images, at most; the last batch of an epoch counts as one."""
        if self.epochs is not None:
            return self.epochs * -(-n_images // self.batch_size)
        return int(self.max_steps or 0) if self.steps == AUTO else int(self.steps)

    def least_steps(self, n_images: int) -> int:
        """Gradient steps of a training on so many images, at least."""
        most = self.n_steps(n_images)
        return least_steps(most, self.warmup_steps) if self.steps == AUTO else most

    def describe(self) -> dict[str, Any]:
        """The parameters as plain data; those that came later only where set: older results keep their names."""
        later = {"max_steps": None, "patch": 1, "predicts": NOISE}
        return {name: value for name, value in super().describe().items() if name not in later or value != later[name]}

    def ways(self) -> tuple[Execution, ...]:
        """How it may be computed on its device, see `Execution.ways`."""
        return Execution.ways(self._device, self.precision, self.network)

    def size(self, image_shape: tuple[int, int, int]) -> tuple[int, int]:
        """Parameters of the network, and floating-point operations of one image through it; computes nothing."""
        return _size(self.network, self.width, self.depth, self.patch, image_shape)

    def fit(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
        probe_steps: Sequence[int] = (),
    ) -> Self:
        """Train on uint8 images ``(n, h, w, c)``; see `Generator.fit`. Labels are looked at if `conditional`.

        The model as it is after each of the `probe_steps` is in `probed`; they change nothing.

        Raises
        ------
        TrainingDiverged
            The loss or a weight became NaN or infinite; the last good checkpoint is kept.
        """
        self.check()
        images = check_images(images)
        if probe_steps:
            self.check_probes(probe_steps, n_images=len(images))
        stream, work = stream or RandomStream(stage="train"), work or Work()
        known = check_labels(labels, len(images))
        data = TrainingSet(images)
        self._check_memory(images.shape[1:])
        self._begin(images.shape[1:], Classes.of(known) if self.conditional else None)
        if self.classes_ and known is not None:
            data = TrainingSet(images, self.classes_.numbers(known), len(self.classes_))
        network = self._build(stream.integer(chunk=0))
        settings, ways = self._training_settings(len(images)), self.ways()
        held_out = None
        if self.steps == AUTO:
            data, kept_back = data.split(stream)
            held_out = HeldOutLoss(
                kept_back, settings.steps, settings.warmup_steps, settings.timesteps, stream, self._device
            )
        training = Training(
            settings, network, data, stream=stream, ways=ways, held_out=held_out, probe_steps=probe_steps
        )
        with launching_on(ways[0].device):
            training.run(work)
        self.network_ = training.averaged_network()
        self.probed_: dict[int, Arrays] = {step: _arrays(then) for step, then in training.probed_networks()}
        self.final_loss_ = training.final_loss
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        self.training_values_ = {
            "n_steps": settings.steps,
            "n_parameters": n_parameters,
            "final_loss": training.final_loss,
            **(held_out.values() if held_out else {}),
            **({"n_processes": work.n_processes} if work.n_processes > 1 else {}),
            **training.passage.values(),
        }
        return self

    def sample(self, n_images: int, *, stream: RandomStream | None = None, work: Work | None = None) -> Images:
        """Walk from noise to images, of the classes that `sample_labels` tells; see `Generator.sample`."""
        self._require_fitted("network_")
        check_count(n_images, name="n_images")
        stream, work = stream or RandomStream(stage="sample"), work or Work()
        labels = self.sample_labels(n_images, stream=stream)
        classes = self.classes_.numbers(labels) if self.classes_ and labels is not None else None
        # A scheduler of Diffusers remembers its steps on the host: no graph can hold that.
        ways = [way if self.sampler == "ddpm" else way.uncaptured() for way in self.ways()]
        sampling = Sampling(self._sampling_settings(), self.network_, stream=stream, ways=ways)
        with launching_on(ways[0].device):
            images = sampling.run(n_images, work, classes)
        self.sampling_values_ = sampling.values()
        return images

    def losses(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Floats:
        """Mean squared error of the predicted noise of each image, over noise levels spread evenly over all of them.

        Every image sees the same noise. A conditional model is told the class of an image where it knows that, else
        none, which it has learned only with a `label_dropout`.
        """
        self._require_fitted("network_")
        images = check_images(images)
        known = check_labels(labels, len(images))
        stream, work = stream or RandomStream(stage="losses"), work or Work()
        data = TrainingSet(images)
        if self.classes_:
            is_known = np.zeros(len(images), bool) if known is None else np.isin(known, self.classes_.labels)
            classes = np.full(len(images), len(self.classes_), np.int64)
            if known is not None:
                classes[is_known] = self.classes_.numbers(known[is_known])
            data = TrainingSet(images, classes, len(self.classes_))
        return image_losses(self.network_, data, self.timesteps, stream=stream, device=self._device, work=work)

    def sample_labels(self, n_images: int, *, stream: RandomStream | None = None) -> Integers | None:
        """The labels of the images that `sample` makes of the same stream, int64 ``(n,)``; None if unconditional."""
        self._require_fitted("network_")
        stream = stream or RandomStream(stage="sample")
        if self.classes_ is None:
            return None
        return self.classes_.draw(n_images, shares=self.label_shares, chunk_size=self.sampling_chunk, stream=stream)

    def state(self) -> tuple[Arrays, State]:
        """The weights that are sampled from, the image shape, and the classes of a conditional model."""
        self._require_fitted("network_")
        return _arrays(self.network_), {
            "image_shape": list(self.image_shape_),
            **(self.classes_.state() if self.classes_ else {}),
        }

    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> Self:
        """Build the network and take the weights."""
        height, width, channels = state["image_shape"]
        self._begin((height, width, channels), Classes.restore(state) if "labels" in state else None)
        network = self._build(0)
        network.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()})
        self.network_ = network.to(self._device).eval().requires_grad_(False)
        return self

    def check_probes(self, probe_steps: Sequence[int], *, n_images: int | None = None) -> None:
        """Raise InputError unless these are steps of the training; with `epochs`, once the number of images is known.

        With ``steps="auto"`` nobody knows beforehand which steps there will be, and there can be no probes.
        """
        if self.steps == AUTO:
            raise InputError("probe_steps: expected generator.steps to be a number, got 'auto'.")
        steps = [check_count(step, name="probe_steps") for step in probe_steps]
        if sorted(set(steps)) != steps:
            raise InputError(f"probe_steps: expected different steps in ascending order, got {steps}.")
        if self.epochs is not None and n_images is None:
            return
        if steps and steps[-1] > (most := self.n_steps(n_images or 1)):
            of = f" on {n_images:,} images" if self.epochs is not None else ""
            raise InputError(f"probe_steps: expected at most the {most:,} steps of a training{of}, got {steps[-1]:,}.")

    def check_training(self, n_images: int, probe_steps: Sequence[int] = ()) -> None:
        """Raise InputError for too few images to hold some out (``steps="auto"``), or probes beyond the last step."""
        if self.steps == AUTO:
            check_enough(n_images)
        if probe_steps:
            self.check_probes(probe_steps, n_images=n_images)

    def probed(self) -> dict[int, Arrays]:
        """By probe step, the weights that were sampled from then."""
        self._require_fitted("network_")
        return self.probed_

    def training_values(self) -> dict[str, Any]:
        """Steps, parameters and the final loss (mean over the last steps); how it was computed, if not plainly."""
        return self.training_values_

    def sampling_values(self) -> dict[str, Any]:
        """How the last sample was computed, if not plainly."""
        self._require_fitted("network_")
        return self.sampling_values_

    @property
    def _device(self) -> torch.device:
        return torch.device(usable_device(self.device, kinds=None))

    def _begin(self, image_shape: tuple[int, int, int], classes: Classes | None) -> None:
        if self.network == "unet":
            unet_stages(in_patches(image_shape, self.patch))
        self.image_shape_ = image_shape
        self.probed_ = {}
        self.classes_ = classes
        self.sampling_values_ = {}

    def _build(self, seed: int) -> nn.Module:
        n_classes = len(self.classes_) if self.classes_ else 0
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed a caller's random numbers on GPUs as well.
            torch.default_generator.manual_seed(seed)
            return self._network(self.image_shape_, n_classes)

    def _network(self, image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
        network = build_network(
            self.network,
            width=self.width,
            depth=self.depth,
            image_shape=image_shape,
            n_classes=n_classes,
            patch=self.patch,
        )
        return Velocity(network, self.timesteps) if self.predicts == VELOCITY else network

    def _training_settings(self, n_images: int) -> TrainingSettings:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainingSettings)}
        return TrainingSettings(**{**given, "steps": self.n_steps(n_images)})

    def _sampling_settings(self) -> SamplingSettings:
        return SamplingSettings(
            image_shape=self.image_shape_,
            chunk_size=self.sampling_chunk,
            new_walk=self._new_walk(),
            guidance=self.guidance,
            untold_class=len(self.classes_) if self.classes_ else 0,
        )

    def _new_walk(self) -> Callable[[torch.Generator], Walk]:
        if self.sampler == "ddpm":
            table = AncestralTable.build(self.timesteps, self.sampling_steps, self._device)
            return lambda random: table
        return lambda random: SchedulerWalk(
            preview_scheduler(self.sampler, self.timesteps), self.sampling_steps, random
        )


def _arrays(network: nn.Module) -> Arrays:
    """The network's weights on the host, by their names."""
    return {name: value.cpu().numpy() for name, value in network.state_dict().items()}


@functools.cache
def _size(network: str, width: int, depth: int, patch: int, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """See `DDPM.size`; counting takes half a second for a U-Net."""
    height, columns, channels = image_shape
    with torch.device("meta"):
        built = build_network(network, width=width, depth=depth, image_shape=image_shape, patch=patch)
        x, timestep = torch.zeros(1, channels, height, columns), torch.zeros(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            built(x, timestep)
    return sum(parameter.numel() for parameter in built.parameters()), int(counter.get_total_flops())
