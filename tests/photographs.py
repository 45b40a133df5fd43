"""A folder of photographs as people have them: many sizes, formats and orientations, nested, some of them broken.

They are cut from the two photographs of scikit-learn, each in its own way. By hand:
``python tests/photographs.py FOLDER --n 3000``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

N_SIZES = 40
_RATIOS = (1.0, 4 / 3, 3 / 2, 16 / 9)
_SMALLEST = 48
# What a camera, a phone, a web page and a scanner write; how often.
_FORMATS = {"JPEG": ".jpg", "WEBP": ".webp", "PNG": ".png", "TIFF": ".tif", "GIF": ".gif"}
_SHARES = (0.7, 0.1, 0.1, 0.05, 0.05)
_ORIENTATION = 0x0112


def write_photographs(folder: Path, n: int, *, largest: int = 3000, broken: float = 0.01, seed: int = 0) -> list[Path]:
    """Write `n` photographs, a share of them broken, which are returned; the shorter sides go up to `largest`."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    originals = [Image.fromarray(image) for image in load_sample_images().images]
    sides = np.geomspace(_SMALLEST, largest, N_SIZES // len(_RATIOS)).round().astype(int)
    sizes = [(round(side * ratio), int(side)) for side in sides for ratio in _RATIOS]
    unreadable = set(rng.permutation(n)[: round(broken * n)].tolist())
    paths = []
    for number in range(n):
        size = sizes[number % len(sizes)]
        # Large images come from cameras.
        file_format = str(rng.choice(list(_FORMATS), p=_SHARES)) if min(size) < 600 else "JPEG"
        place = folder / f"{rng.integers(2020, 2027)}" / ("" if number % 3 else f"trip {number % 7}/raw")
        path = place / f"IMG_{number:05d}{_FORMATS[file_format]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _encoded(_photograph(originals, size, rng), file_format, rng)
        if number in unreadable:
            content = (content[: len(content) // 2], b"", b"no image at all")[number % 3]
            paths.append(path)
        path.write_bytes(content)
    return paths


def _photograph(originals: list[Image.Image], size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A part of one of the originals, of this size, in light of its own."""
    original = originals[rng.integers(len(originals))]
    width, height = (round(side * rng.uniform(0.3, 1)) for side in original.size)
    left, top = rng.integers(0, original.width - width + 1), rng.integers(0, original.height - height + 1)
    light, shift = rng.uniform(0.5, 1.2), rng.uniform(-20, 40)
    part = original.crop((left, top, left + width, top + height)).point(lambda level: level * light + shift)
    return part.resize(size, Image.Resampling.BILINEAR)


def _encoded(image: Image.Image, file_format: str, rng: np.random.Generator) -> bytes:
    stream, options = io.BytesIO(), {}
    if file_format in ("JPEG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[_ORIENTATION] = int(rng.integers(1, 9))
        options["exif"] = exif
    if rng.random() < 0.1:
        image = image.convert("L")
    elif file_format == "PNG" and rng.random() < 0.5:
        image = image.convert("RGBA" if rng.random() < 0.5 else "P")
    image.save(stream, file_format, **options)
    return stream.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--largest", type=int, default=3000, help="the longest of the shorter sides, in pixels")
    arguments = parser.parse_args()
    found = write_photographs(arguments.folder, arguments.n, largest=arguments.largest)
    print(f"{arguments.n} photographs, {len(found)} of them broken, in {arguments.folder}")
