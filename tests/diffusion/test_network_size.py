"""The size of a network by arithmetic is that of the network that is built."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks

from entropick.diffusion.network_size import NetworkSize, check_memory
from entropick.diffusion.networks import build_network
from entropick.errors import InputError

SIZES = st.fixed_dictionaries(
    {
        "network": st.sampled_from(["mlp", "unet"]),
        "width": st.sampled_from([16, 32]),
        "depth": st.integers(1, 3),
        "image_shape": st.tuples(st.integers(4, 40), st.integers(4, 40), st.sampled_from([1, 3])),
        "n_classes": st.sampled_from([0, 5]),
    }
)


@settings(max_examples=25, deadline=None)
@given(SIZES)
def test_weights_are_those_of_the_network(size):
    with torch.device("meta"):
        network = build_network(**size)
    assert NetworkSize.of(**size).n_weights == sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_count_as_pixels_of_more_channels(patch):
    size = {"network": "unet", "width": 16, "depth": 2, "image_shape": (16, 24, 3), "patch": patch}
    n_weights = sum(weight.numel() for weight in build_network(**size).parameters())
    assert NetworkSize.of(**size).n_weights == n_weights
    assert NetworkSize.of(**size).n_inputs <= NetworkSize.of(**{**size, "patch": 1}).n_inputs


@pytest.mark.parametrize("network", ["mlp", "unet"])
@pytest.mark.parametrize(("depth", "shape"), [(1, (8, 8, 1)), (3, (8, 8, 3)), (2, (9, 16, 1))])
def test_a_training_keeps_at_least_what_enters_products(network, depth, shape):
    size = {"network": network, "width": 16, "depth": depth, "image_shape": shape}
    built = build_network(**size)
    weights = {weight.data_ptr() for weight in built.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights and tensor.dtype == torch.float32:
            kept[tensor.data_ptr()] = tensor.clone().numel()
        return tensor

    height, width, channels = shape
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        built(torch.zeros(1, channels, height, width), torch.zeros(1, dtype=torch.int64)).sum().backward()
    least = NetworkSize.of(**size).n_inputs
    assert least <= sum(kept.values()) <= 6 * least


def test_what_cannot_fit_is_refused_with_the_larger_part_first():
    more = {"described": "a network", "with_average": True, "bytes_per_number": 4, "memory": 10**9}
    check_memory(NetworkSize(n_weights=10**6, n_inputs=10**6), batch_size=100, **more)
    with pytest.raises(InputError, match=r"^width, depth: .* 1\.0 GB .* 1,000,000,000 weights .* 20\.0 GB for them"):
        check_memory(NetworkSize(n_weights=10**9, n_inputs=1), batch_size=100, **more)
    with pytest.raises(InputError, match=re.escape("and 4.0 GB for 1,000 images at once. Lower batch_size.")):
        check_memory(NetworkSize(n_weights=1, n_inputs=10**6), batch_size=1000, **more)
