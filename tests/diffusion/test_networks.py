"""The U-Net is the paper's; both networks take the images that come."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DModel

from entropick.diffusion.gate import relative_error
from entropick.diffusion.networks import build_network, unet_stages
from entropick.errors import InputError
from entropick.generators import DDPM
from entropick.generators.pipeline import as_diffusers


def papers_unet(width):
    """The layout of the released code of Shi et al. 2025, for 32x32 colour images."""
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(width, width, 2 * width, 2 * width, 4 * width, 4 * width),
        down_block_types=(*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
        norm_num_groups=16,
    )


def built(network, shape, *, width=16, depth=1):
    torch.manual_seed(0)
    return build_network(network, width=width, depth=depth, image_shape=shape).eval().requires_grad_(False)


def test_at_32_pixels_the_unet_is_the_papers():
    ours = built("unet", (32, 32, 3), depth=2)
    theirs = papers_unet(16).eval()
    theirs.load_state_dict(ours.unet.state_dict())
    x, timestep = torch.randn(2, 3, 32, 32), torch.tensor([3, 800])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, timestep), theirs(x, timestep).sample, rtol=0, atol=1e-5)


def test_weights_are_drawn_and_gradients_added_up_as_diffusers_does_it():
    """To the last bit: in both layouts that images come in, in training."""
    for x in (torch.randn(3, 3, 32, 32), torch.randn(3, 32, 32, 3).permute(0, 3, 1, 2)):
        torch.manual_seed(0)
        ours = build_network("unet", width=16, depth=2, image_shape=(32, 32, 3)).unet
        torch.manual_seed(0)
        theirs = papers_unet(16).train()
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
        timestep = torch.tensor([3, 800, 0])
        found, expected = ours(x, timestep), theirs(x, timestep).sample
        assert torch.equal(found, expected)
        found.square().mean().backward()
        expected.square().mean().backward()
        for here, there in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(here, there) and torch.equal(here.grad, there.grad)


@pytest.mark.parametrize("n_classes", [0, 3])
def test_products_that_share_their_input_may_be_one(n_classes):
    torch.manual_seed(0)
    network = build_network("unet", width=16, depth=1, image_shape=(16, 16, 3), n_classes=n_classes)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, timestep, classes = torch.randn(4, 3, 16, 16), torch.tensor([0, 9, 99, 999]), torch.tensor([0, 1, 2, 3])
    given = (x, timestep, classes if n_classes else None)
    plain = torch.autograd.grad(network(*given).square().mean(), list(network.parameters()))
    network.unet.fuse()
    fused = torch.autograd.grad(network(*given).square().mean(), list(network.parameters()))
    assert relative_error(fused, plain) < 1e-4


def test_at_width_48_it_has_the_papers_16_million_parameters():
    with torch.device("meta"):
        ours = build_network("unet", width=48, depth=2, image_shape=(32, 32, 3))
        theirs = papers_unet(48)
        exported = as_diffusers(ours.unet, (32, 32))
    config = {**exported.config, "sample_size": 32}
    assert all(config[name] == value for name, value in theirs.config.items() if not name.startswith("_"))
    n_parameters = sum(parameter.numel() for parameter in ours.parameters())
    assert n_parameters == sum(parameter.numel() for parameter in theirs.parameters())
    assert round(n_parameters / 1e6, 1) == 16.0


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (4, 4, 1), (7, 13, 3), (32, 24, 3)])
@pytest.mark.parametrize("network", ["unet", "mlp"])
def test_images_of_any_size_come_out_as_they_went_in(network, shape):
    height, width, channels = shape
    model = built(network, shape)
    x = torch.randn(2, channels, height, width)
    predicted = model(x, torch.tensor([0, 999]))
    assert predicted.shape == x.shape
    assert predicted.isfinite().all()


@pytest.mark.parametrize("patch", [2, 4])
def test_patches_are_pixels_of_more_channels(patch):
    torch.manual_seed(0)
    network = build_network("unet", width=16, depth=1, image_shape=(16, 32, 3), patch=patch).eval()
    assert network.unet.conv_in.in_channels == network.unet.conv_out.out_channels == 3 * patch**2
    x, timestep = torch.randn(2, 3, 16, 32), torch.tensor([5, 900])
    cut = x.unfold(2, patch, patch).unfold(3, patch, patch).permute(0, 1, 4, 5, 2, 3)
    of_patches = network.unet(cut.reshape(2, 3 * patch**2, 16 // patch, 32 // patch), timestep)
    laid_out = of_patches.view(2, 3, patch, patch, 16 // patch, 32 // patch).permute(0, 1, 4, 2, 5, 3)
    assert torch.equal(network(x, timestep), laid_out.reshape(2, 3, 16, 32))


def test_patches_must_leave_enough_of_an_image():
    DDPM(network="unet", width=16, patch=4).check_fits((13, 16, 1))
    with pytest.raises(InputError, match=r"at least 4x4 pixels, or patches, got \(2, 2, 16\).*smaller patch"):
        DDPM(network="unet", width=16, patch=4).check_fits((8, 8, 1))
    with pytest.raises(InputError, match="patch: expected 1 for network='mlp'"):
        DDPM(network="mlp", patch=2).check()


@pytest.mark.parametrize(("side", "stages"), [(4, 3), (7, 3), (8, 4), (16, 5), (28, 5), (32, 6), (256, 6)])
def test_small_images_get_fewer_stages(side, stages):
    assert unet_stages((side, 2 * side, 3)) == stages


def test_images_too_small_for_a_unet_are_refused_with_a_way_out():
    with pytest.raises(InputError, match=r"at least 4x4.*\(3, 8, 1\).*network='mlp'"):
        DDPM(network="unet", width=16).check_fits((3, 8, 1))
    DDPM(network="mlp").check_fits((3, 8, 1))


def test_a_single_image_may_be_as_small_as_a_unet_takes():
    assert built("unet", (4, 4, 1))(torch.randn(1, 1, 4, 4), torch.tensor([3])).shape == (1, 1, 4, 4)


@pytest.mark.parametrize("network", ["unet", "mlp"])
def test_what_is_predicted_depends_on_the_timestep_of_each_image_alone(network):
    model = built(network, (8, 8, 1))
    # The last layer of a fresh perceptron is zero: give it something to say.
    for parameter in model.parameters():
        parameter.normal_(std=0.2)
    x = torch.randn(1, 1, 8, 8).expand(3, -1, -1, -1)
    early, late, again = model(x, torch.tensor([10, 900, 10]))
    assert torch.allclose(early, again, atol=1e-5)
    assert (early - late).abs().max() > 1e-2


def test_a_width_that_the_norm_groups_do_not_divide_is_refused():
    with pytest.raises(InputError, match=r"multiple of 16.*got 40"):
        DDPM(network="unet", width=40).check()
    DDPM(network="mlp", width=40).check()
