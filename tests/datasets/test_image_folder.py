import io

import numpy as np
import pytest
from PIL import Image
from tiny_images import some_images, write_folder

from entropick.datasets import ImageFolder, image_files, read_images
from entropick.errors import InputError
from entropick.work import Work


def load(folder, **params):
    return ImageFolder(path=str(folder), **params).load()


def png(array, mode=None):
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, "png")
    return stream.getvalue()


def test_pixels_come_back(tmp_path):
    images = some_images(12, channels=3)
    write_folder(tmp_path / "f", images)
    np.testing.assert_array_equal(read_images(image_files(tmp_path / "f")), images)


def test_subfolders_name_the_classes(tmp_path):
    images = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None], (12, 4, 4, 1))
    data = load(write_folder(tmp_path / "f", images, n_classes=3))
    assert data.labels.tolist() == [int(image[0, 0, 0]) % 3 for image in data.images]


def test_a_flat_folder_has_no_classes(tmp_path):
    assert load(write_folder(tmp_path / "f", some_images(10))).labels is None


def test_images_beside_subfolders_have_no_classes(folder):
    (folder / "loose.png").write_bytes(png(some_images(1)[0, ..., 0]))
    assert load(folder).labels is None


def test_other_files_and_letter_case(tmp_path):
    write_folder(tmp_path / "f", some_images(4))
    (tmp_path / "f" / "notes.txt").write_text("not an image, and not said to be one")
    (tmp_path / "f" / "LAST.PNG").write_bytes(png(some_images(1)[0, ..., 0]))
    assert [path.name for path in image_files(tmp_path / "f")] == [
        "000.png",
        "001.png",
        "002.png",
        "003.png",
        "LAST.PNG",
    ]


def test_progress_is_told(folder):
    class Heard(Work):
        def __init__(self):
            self.told = []

        def progress(self, done, total, note=""):
            self.told.append((done, total))

    heard = Heard()
    ImageFolder(path=str(folder)).load(work=heard)
    assert heard.told[0] == (1, 20) and heard.told[-1] == (20, 20)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="gone: expected a folder of images, but there is none"):
        ImageFolder(path=str(tmp_path / "gone")).check()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match="f: expected a folder of images"):
        ImageFolder(path=str(tmp_path / "f")).check()


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"expected image files \(\.png, .*\), found none"):
        ImageFolder(path=str(tmp_path)).check()


def test_empty_reference_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: expected image files"):
        ImageFolder(path=str(folder), reference=str(tmp_path / "empty")).check()


def test_unknown_mode(folder):
    with pytest.raises(InputError, match="mode: expected one of as-is, grey, rgb, got 'gray'"):
        ImageFolder(path=str(folder), mode="gray").check()


def test_images_of_different_sizes(folder):
    for name, size in (("a.png", (9, 9)), ("b.png", (5, 6))):
        (folder / "class-0" / name).write_bytes(png(np.zeros(size, np.uint8)))
    with pytest.raises(InputError) as caught:
        load(folder)
    message = str(caught.value)
    assert "expected images of one size" in message and "20 have shape (6, 5)" in message
    assert "a.png: (9, 9)" in message and "b.png: (5, 6)" in message and "000.png" not in message
    assert message.endswith("\nSet the dataset's resize to a number of pixels, or leave the odd ones out.")


@pytest.mark.parametrize("mode", ["as-is", "rgb"])
def test_images_of_different_sizes_are_brought_to_one(folder, mode):
    shown = np.random.default_rng(0).integers(0, 256, (12, 8), np.uint8)
    (folder / "class-0" / "a.png").write_bytes(png(shown))
    data = load(folder, resize=4, mode=mode)
    images = np.concatenate([data.images, data.reference])
    assert images.shape[1:] == (4, 4, 3 if mode == "rgb" else 1)
    # Each pixel is one of about 2 x 2 of the square in the middle.
    means = shown[2:10].reshape(4, 2, 4, 2).mean(axis=(1, 3))
    away = np.abs(images[..., 0] - means).mean(axis=(1, 2))
    assert away.min() < 15 and sorted(away)[1] > 25
    for bad in (0, 2.5):
        with pytest.raises(InputError, match="resize: expected"):
            ImageFolder(path=str(folder), resize=bad).check()


def test_one_colour_image_among_grey_ones(folder):
    (folder / "class-0" / "colour.png").write_bytes(png(np.zeros((6, 5, 3), np.uint8)))
    with pytest.raises(InputError, match=r"(?s)colour\.png: \(6, 5, 3\).Set the dataset's mode to 'grey' or 'rgb', or"):
        load(folder)
    assert load(folder, mode="rgb").images.shape[1:] == (6, 5, 3)
    assert load(folder, mode="grey").images.shape[1:] == (6, 5, 1)


UNREADABLE = {
    "truncated.png": png(np.random.default_rng(0).integers(0, 256, (6, 5), np.uint8))[:-25],
    "empty.png": b"",
    "text.png": b"this is not an image\n",
}


def test_all_unreadable_files_are_listed(folder):
    for name, content in UNREADABLE.items():
        (folder / "class-1" / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith("3 of 23 image files cannot be used")
    assert all(f"class-1/{name}: does not decode" in message for name in UNREADABLE)
    assert len(message.splitlines()) == 4


MIXED = {
    "alpha.png": ("RGBA", png(np.zeros((6, 5, 4), np.uint8))),
    "grey-alpha.png": ("LA", png(np.zeros((6, 5), np.uint8), "LA")),
    "palette.png": ("P", png(np.zeros((6, 5, 3), np.uint8), "P")),
    "bits.png": ("1", png(np.zeros((6, 5), np.uint8), "1")),
    "deep.png": ("I;16", png(np.zeros((6, 5), np.uint16))),
}


def test_all_odd_modes_are_listed(folder):
    for name, (_, content) in MIXED.items():
        (folder / "class-0" / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith("5 of 25 image files cannot be used")
    for name, (mode, _) in MIXED.items():
        assert f"{name}: expected 8-bit grey or RGB, got Pillow mode '{mode}'" in message


@pytest.mark.parametrize("name", sorted(MIXED))
@pytest.mark.parametrize(("mode", "channels"), [("grey", 1), ("rgb", 3)])
def test_a_mode_converts_what_has_eight_bits(folder, name, mode, channels):
    (folder / "class-0" / name).write_bytes(MIXED[name][1])
    if name == "deep.png":
        with pytest.raises(InputError, match=r"1 of 21(.|\n)*deep\.png: expected 8-bit grey or RGB, got .*I;16"):
            load(folder, mode=mode)
    else:
        assert load(folder, mode=mode).images.shape[1:] == (6, 5, channels)


def test_a_long_list_is_cut_after_ten(tmp_path):
    for i in range(14):
        (tmp_path / f"{i:02d}.png").write_bytes(b"")
    with pytest.raises(InputError, match="14 of 14") as caught:
        load(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and "09.png" in lines[10] and lines[11].strip() == "… and 4 more"


def test_reference_of_another_size(folder, tmp_path):
    write_folder(tmp_path / "held", some_images(5, size=(7, 7)))
    with pytest.raises(InputError, match=r"reference: expected images of shape \(6, 5, 1\), got \(7, 7, 1\)"):
        load(folder, reference=str(tmp_path / "held"))


def test_a_broken_reference_is_named(folder, tmp_path):
    write_folder(tmp_path / "held", some_images(5))
    (tmp_path / "held" / "000.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 of 5(.|\n)*held/000\.png"):
        load(folder, reference=str(tmp_path / "held"))


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    write_folder(tmp_path / "f", some_images(3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="3 of 3 image files cannot be used"):
        load(tmp_path / "f")
