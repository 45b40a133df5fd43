"""Tiny images, in memory and on the disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def some_images(n, *, channels=1, seed=0, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *size, channels), dtype=np.uint8)


def write_folder(folder: Path, images, *, n_classes=0) -> Path:
    for i, image in enumerate(images):
        place = folder / f"class-{i % n_classes}" if n_classes else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(place / f"{i:03d}.png")
    return folder
