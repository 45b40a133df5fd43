"""Tiny checkpoints with random weights, in the formats and by the code of the libraries that read them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
)
from transformers.utils import logging

logging.disable_progress_bar()

_TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def some_images(shape=(13, 8, 3), n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_dinov2(folder: Path, seed: int = 0, hidden_size: int = 384) -> Path:
    """One layer as wide as DINOv2-small; images to 32 pixels, the centre 28 x 28, in patches of 14."""
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=hidden_size, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    BitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=mean, image_std=std
    ).save_pretrained(folder)
    return folder


def write_vit(folder: Path, *, pooler: bool) -> Path:
    torch.manual_seed(0)
    ViTModel(ViTConfig(**_TINY, image_size=16, patch_size=8), add_pooling_layer=pooler).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_masking(folder: Path) -> Path:
    """A masked autoencoder: its encoder leaves patches out at random."""
    torch.manual_seed(0)
    ViTMAEModel(ViTMAEConfig(**_TINY, image_size=16, patch_size=4)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    text = {**_TINY, "vocab_size": 64, "max_position_embeddings": 8}
    CLIPModel(
        CLIPConfig(text_config=text, vision_config={**_TINY, "image_size": 16, "patch_size": 8}, projection_dim=8)
    ).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_timm(folder: Path) -> Path:
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=0, block_args={}, channels=(8, 8, 16, 16), stem_width=8)
    folder.mkdir(parents=True)
    save_for_hf(
        model,
        folder,
        model_args={"channels": [8, 8, 16, 16], "stem_width": 8},
        safe_serialization=True,
    )
    return folder


def write_inception(path: Path, seed: int = 0) -> Path:
    """All tensors of torch-fidelity's extractor, scaled so that the signal reaches the last layer."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_): ...

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.manual_seed(seed)
    network = Unloaded("inception", ["2048"], feature_extractor_weights_path=empty)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


def write_config(folder: Path, **config) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
