"""The one reader of image files and array files: heads and pixels agree, reasons do not repeat the path."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh_python import SRC
from PIL import Image, ImageOps, PngImagePlugin

from entropick.datasets.array_files import map_array, read_array_file
from entropick.datasets.listing import class_folders, find_images, image_files
from entropick.datasets.reading import (
    hash_folder,
    hash_image,
    hash_images,
    image_head,
    read_image,
    read_images,
    read_picture,
)
from entropick.datasets.tables import TableFile
from entropick.errors import InputError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_head_says_what_decoding_finds(tmp_path, mode):
    file = tmp_path / "image.tif"
    # Compressed: Pillow before 13 cannot read its own YCbCr files back otherwise.
    Image.fromarray(GREY).convert("RGB").convert(mode).save(file, compression="tiff_lzw")
    head = image_head(file)
    assert head.size == (3, 4) and head.n_frames == 1 and head.bits == 8 and head.is_grey == (mode in ("1", "L", "LA"))
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
    allowed = {"Image.open(": {"datasets/reading.py"}, "np.load(": {"datasets/array_files.py", "run/files.py"}}
    for call, files in allowed.items():
        found = {path for path in (SRC / "entropick").rglob("*.py") if call in path.read_text(encoding="utf-8")}
        assert {str(path.relative_to(SRC / "entropick")) for path in found} == files


def write(place, *names):
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY).save(place / name, "PNG")


def names_in(place):
    files, passed_over = find_images(place)
    return [str(file.relative_to(place)) for file in files], passed_over


def test_the_order_of_files_is_that_of_sorted_paths(tmp_path):
    write(tmp_path, "a/1.png", "a-b/2.png", "a.png", "B/1.png", "a/10.png", "a/9.png")
    names, _ = names_in(tmp_path)
    assert names == sorted(names) and names.index("a-b/2.png") < names.index("a.png") < names.index("a/1.png")
    assert names == sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.glob("**/*.png"))


def test_hidden_and_system_folders_are_no_candidates_and_no_classes(tmp_path):
    write(tmp_path, "cats/1.png", "dogs/1.png")
    write(
        tmp_path, ".ipynb_checkpoints/1.png", "cats/.thumbnails/1.png", "@eaDir/1.png", "__MACOSX/1.png", "cats/._1.png"
    )
    names, passed_over = names_in(tmp_path)
    assert names == ["cats/1.png", "dogs/1.png"] and passed_over == {"hidden": 5}
    assert class_folders(tmp_path, image_files(tmp_path)) == ("cats", "dogs")


def test_a_hidden_folder_that_is_named_is_searched(tmp_path):
    write(tmp_path / ".cache", "1.png")
    assert names_in(tmp_path / ".cache") == (["1.png"], {})


def test_links_to_folders_are_followed_and_each_real_folder_once(tmp_path):
    write(tmp_path, "elsewhere/1.png", "pool/dogs/2.png")
    (tmp_path / "pool/cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pool/again").symlink_to(tmp_path / "pool/dogs")
    (tmp_path / "pool/dogs/circle").symlink_to(tmp_path / "pool")
    (tmp_path / "pool/self").symlink_to(tmp_path / "pool/self")
    names, passed_over = names_in(tmp_path / "pool")
    assert names == ["cats/1.png", "dogs/2.png"]
    assert passed_over == {"link to a folder that is there already": 2, "no image (without a suffix)": 1}


def test_a_pipe_is_never_opened(tmp_path):
    write(tmp_path, "1.png")
    os.mkfifo(tmp_path / "2.png")
    os.mkfifo(tmp_path / "pipe")
    assert names_in(tmp_path) == (["1.png"], {"no regular file": 2})


def test_a_folder_that_may_not_be_read_is_counted(tmp_path, monkeypatch):
    write(tmp_path, "1.png", "secret/2.png")
    scandir = os.scandir

    def refused(place):
        if place.name == "secret":
            raise PermissionError
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refused)
    assert names_in(tmp_path) == (["1.png"], {"unreadable folder": 1})


def test_what_pillow_opens_is_an_image_by_suffix_or_content(tmp_path):
    write(tmp_path, "photo", "photo.unknown", "1.jfif")
    Image.fromarray(GREY).convert("RGB").save(tmp_path / "2.avif")
    for name in ("notes.txt", "more.TXT", "LICENSE", "x.heic", "table.csv", "drawing.eps"):
        (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n" if name.endswith("eps") else "no image")
    names, passed_over = names_in(tmp_path)
    assert names == ["1.jfif", "2.avif", "photo", "photo.unknown"]
    assert passed_over.pop("no image (.txt)") == 2
    assert set(passed_over) == {f"no image ({of})" for of in ("without a suffix", ".heic", ".csv", ".eps")}


CORNER = np.zeros((4, 6, 3), np.uint8)
CORNER[:2, :3] = 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_turns_pixels_sizes_and_pictures(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(np.kron(CORNER, np.ones((8, 8, 1), np.uint8))).save(file, exif=exif, quality=95)
    with Image.open(file) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert shown.shape[:2] == ((32, 48) if orientation < 5 else (48, 32)) == image_head(file).size
    np.testing.assert_array_equal(read_image(file), shown)
    np.testing.assert_array_equal(np.asarray(read_picture(file)), shown)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "tRNS"])
def test_what_lies_under_transparent_pixels_does_not_count(tmp_path, mode):
    left = np.full((4, 4), 10, np.uint8)
    seen = []
    for number, under in enumerate((0, 117)):
        grey = np.where(np.arange(4) < 2, left, np.uint8(under))
        alpha = np.where(np.arange(4) < 2, np.uint8(255), np.uint8(0)) * np.ones_like(left)
        file = tmp_path / f"{number}.png"
        if mode in ("RGBA", "LA"):
            Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).convert(mode).save(file)
        else:
            Image.fromarray(grey).convert("L" if mode == "tRNS" else "P").save(file, transparency=under)
        seen += [
            read_image(file, mode="grey"),
            read_image(file, mode="rgb")[..., 1],
            np.asarray(read_picture(file))[..., 2],
        ]
    for pixels in seen:
        np.testing.assert_array_equal(pixels, np.where(np.arange(4) < 2, left, np.uint8(255)))


def test_half_of_black_on_white_is_grey(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert np.unique(read_image(tmp_path / "half.png", mode="rgb")).tolist() == [127]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_frames_are_counted(tmp_path, suffix):
    frames = [Image.fromarray(GREY + number).convert("RGB") for number in range(3)]
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert image_head(tmp_path / f"moving.{suffix}").n_frames == 3
    np.testing.assert_array_equal(read_image(tmp_path / f"moving.{suffix}", mode="rgb")[..., 0], GREY)


def test_a_png_with_much_text(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (3 << 20), zip=True)
    Image.fromarray(GREY).save(tmp_path / "comfy.png", pnginfo=text)
    np.testing.assert_array_equal(read_image(tmp_path / "comfy.png"), GREY)
    assert image_head(tmp_path / "comfy.png").size == (3, 4)


@pytest.mark.parametrize(("channels", "kind"), [(1, "grey"), (2, "grey, half transparent"), (3, "RGB"), (4, "RGBA")])
def test_one_image_in_an_array_is_not_many_grey_ones(tmp_path, channels, kind):
    np.save(tmp_path / "one.npy", np.zeros((30, 40, channels), np.uint8))
    with pytest.raises(InputError, match=rf"one\.npy.*\(30, 40, {channels}\).*one {kind} image.*images\[None\]"):
        read_array_file(tmp_path / "one.npy")


def test_tiny_grey_images_are_several(tmp_path):
    np.save(tmp_path / "tiny.npy", np.zeros((30, 4, 4), np.uint8))
    assert read_array_file(tmp_path / "tiny.npy")[0].shape == (30, 4, 4, 1)


def test_a_link_to_nothing_is_called_that(tmp_path):
    (tmp_path / "dead.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"^is a link to a file that is not there$"):
        read_image(tmp_path / "dead.png")
    with pytest.raises(InputError, match=r"^is not there any more$"):
        read_image(tmp_path / "gone.png")


def test_a_table_in_a_folder_that_is_called_like_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    pq.write_table(pa.table({"e": [1.0, 2.0]}), tmp_path / "~" / "e.parquet")
    assert TableFile(Path("~/e.parquet")).column("e") == [1.0, 2.0]


def test_a_jpeg_that_becomes_much_smaller_is_decoded_smaller(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: decoded.append(image.size) or load(image))
    for name, side, expected in (("a.jpg", 30, (80, 60)), ("a.jpg", 61, (320, 240)), ("a.jpg", 121, (640, 480))):
        smooth.save(tmp_path / name, quality=95)
        smooth.save(tmp_path / "whole.png")
        decoded.clear()
        small = read_image(tmp_path / name, mode="rgb", side=side)
        assert decoded[0] == expected and small.shape == (side, side, 3)
        whole = read_image(tmp_path / "whole.png", mode="rgb", side=side)
        assert np.abs(small.astype(int) - whole).mean() < 2
    decoded.clear()
    assert read_image(tmp_path / "a.jpg", mode="rgb").shape == (480, 640, 3) and decoded[0] == (640, 480)


def test_a_picture_that_is_shown_small_is_decoded_smaller_and_turned_alike(tmp_path):
    wide = Image.fromarray(np.tile(np.arange(0, 240, dtype=np.uint8)[:, None], (2, 640)))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole, small = read_picture(tmp_path / "a.jpg"), read_picture(tmp_path / "a.jpg", side=40)
    assert (whole.size, small.size) == ((480, 640), (120, 160))
    assert np.abs(np.asarray(whole.resize(small.size)).astype(int) - np.asarray(small)).mean() < 2
    wide.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png", side=40).size == (480, 640)


def test_long_texts_are_read_on_several_threads_at_once(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (3 << 20), zip=True)
    Image.fromarray(GREY).save(tmp_path / "comfy.png", pnginfo=text)
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    assert len(read_images([tmp_path / "comfy.png"] * 50)) == 50
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_the_content_of_files_is_known_by_their_bytes(tmp_path):
    write(tmp_path, "1.png", "2.png")
    files = [tmp_path / "1.png", tmp_path / "2.png", tmp_path / "gone.png"]
    one, two, none = hash_images(files)
    assert one == two == hash_image(files[0]) == hashlib.sha256(files[0].read_bytes()).digest() and none is None
    assert hash_folder(tmp_path, files[:1]) == hash_folder(tmp_path, files[:1], [one]) != hash_folder(tmp_path, files)
