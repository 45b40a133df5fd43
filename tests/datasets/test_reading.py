"""The one reader of image files and array files: heads and pixels agree, reasons do not repeat the path."""

import numpy as np
import pytest
from fresh_python import SRC
from PIL import Image

from entropick.datasets.reading import image_head, map_array, read_image, read_picture
from entropick.errors import InputError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_head_says_what_decoding_finds(tmp_path, mode):
    file = tmp_path / "image.tif"
    Image.fromarray(GREY).convert("RGB").convert(mode).save(file)
    size, is_grey = image_head(file)
    assert size == (3, 4) and is_grey == (mode in ("1", "L", "LA"))
    assert read_image(file, mode="rgb").shape == (3, 4, 3) and read_image(file, mode="grey").shape == (3, 4)
    assert np.array_equal(np.asarray(read_picture(file)), read_image(file, mode="rgb"))


@pytest.mark.parametrize("read", [image_head, read_image])
def test_the_reason_does_not_repeat_the_path(tmp_path, read):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"^does not decode \(UnidentifiedImageError\)$"):
        read(tmp_path / "text.png")
    Image.fromarray(GREY.astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"^expected .*8.*, got Pillow mode .I;16."):
        read(tmp_path / "deep.png")


def test_an_array_is_mapped_not_read(tmp_path):
    np.save(tmp_path / "X.npy", GREY)
    assert isinstance(map_array(tmp_path / "X.npy"), np.memmap)


def test_nobody_else_opens_image_files_or_array_files():
    allowed = {"Image.open(": {"datasets/reading.py"}, "np.load(": {"datasets/reading.py", "run/files.py"}}
    for call, files in allowed.items():
        found = {path for path in (SRC / "entropick").rglob("*.py") if call in path.read_text(encoding="utf-8")}
        assert {str(path.relative_to(SRC / "entropick")) for path in found} == files
