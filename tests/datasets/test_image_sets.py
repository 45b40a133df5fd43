"""Images in what Hugging Face and WebDataset make of them: the same pixels and classes as in a folder of files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_images import some_images

from entropick.datasets import ImageFolder, open_images
from entropick.datasets import tables as tables_module
from entropick.datasets.reading import read_image, read_images, read_picture
from entropick.errors import InputError

IMAGES = some_images(12, channels=3)
LABELS = [number % 3 for number in range(12)]
NAMES = ["cat", "ant", "bee"]


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def saved_by_datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    return datasets.Dataset.from_dict(
        {"image": [Image.fromarray(of) for of in IMAGES], "label": LABELS}, features=kinds
    )


def write_tar(path, members):
    """Members are bytes under names, or whole heads."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            head = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            head.size = len(content) if isinstance(content, bytes) else head.size
            archive.addfile(head, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def write_table(path, images=IMAGES, names=None, **columns):
    content = [{"bytes": png(image), "path": None if names is None else names[i]} for i, image in enumerate(images)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(content, kind), **columns}), path)
    return path


def check_like_the_folder(found, classes):
    np.testing.assert_array_equal(read_images(found.files), IMAGES)
    assert found.classes == (None if classes is None else tuple(classes))


@pytest.mark.parametrize("form", ["one file", "shards", "pattern", "saved", "saved in shards"])
def test_what_datasets_writes_is_read_as_it_reads_it(tmp_path, monkeypatch, form):
    data, path = saved_by_datasets(monkeypatch, tmp_path), tmp_path / "data"
    if form.startswith("saved"):
        data.save_to_disk(path, num_shards=3 if "shards" in form else 1)
    else:
        path.mkdir()
        for number in range(3):
            data.shard(3, number, contiguous=True).to_parquet(path / f"train-{number:05d}-of-00003.parquet")
    if form == "one file":
        data.to_parquet(path := tmp_path / "one.parquet")
    if form == "pattern":
        path = path / "train-*.parquet"
    found = open_images(path)
    check_like_the_folder(found, [NAMES[label] for label in LABELS])
    assert found.class_names == tuple(NAMES) and found.notes == ()
    # As the library decodes and numbers them.
    np.testing.assert_array_equal(np.stack([np.asarray(row["image"]) for row in data]), IMAGES)
    loaded = ImageFolder(path=str(path), n_images=9, n_reference=3).load()
    order = [int(np.flatnonzero((image == IMAGES).all(axis=(1, 2, 3)))[0]) for image in loaded.images]
    assert loaded.labels.tolist() == [LABELS[row] for row in order]


def names_in_order(names):
    """What Hugging Face writes into a table of classes with these names."""
    kinds = {"label": {"_type": "ClassLabel", "names": names}, "image": {"_type": "Image"}}
    return {b"huggingface": json.dumps({"info": {"features": kinds}}).encode()}


def test_tables_that_number_their_classes_differently(tmp_path):
    for number, names in enumerate((["cat", "ant"], ["ant", "cat"], None)):
        path = write_table(tmp_path / f"{number}.parquet", IMAGES[4 * number : 4 * number + 4], label=[0, 1, 0, 1])
        if names:
            pq.write_table(pq.read_table(path).replace_schema_metadata(names_in_order(names)), path)
    found = open_images(tmp_path)
    assert found.classes == ("cat", "ant", "cat", "ant", "ant", "cat", "ant", "cat", "cat", "ant", "cat", "ant")
    assert found.class_names is None


def test_what_is_read_of_an_image_in_a_table(tmp_path):
    path = write_table(tmp_path / "a.parquet", names=["x/../1.png", "2.png", None, "2.png", *map(str, range(8))])
    found = open_images(path)
    assert [str(file) for file in found.files[:2]] == [f"{path}#0", f"{path}#1"]
    assert [file.name for file in found.files[:4]] == ["1.png", "01-2.png", "02.png", "03-2.png"]
    assert [str(file.relative_to(path)) for file in found.files[:1]] == ["1.png"]
    assert str(found.files[0].relative_to(tmp_path)) == "a.parquet/1.png"
    assert found.files[3].read_bytes() == png(IMAGES[3])
    np.testing.assert_array_equal(np.asarray(read_picture(found.files[3])), IMAGES[3])
    # In any order, over groups of rows and batches in them.
    pq.write_table(pq.read_table(path), path, row_group_size=5)
    again = open_images(path)
    for row in np.random.default_rng(0).permutation(12):
        np.testing.assert_array_equal(read_image(again.files[row]), IMAGES[row])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # A name that stays is none that another row is given.
        (["a.png", "a.png", "0-a.png", "b.png"], ["0-a.png", "1-a.png", "2-0-a.png", "b.png"]),
        ([None, "0.PNG", "1-0.png", "2-1-0.png"], ["0.png", "1-0.PNG", "2-1-0.png", "3-2-1-0.png"]),
        # The end of one that no disk has.
        (["x" * 300 + ".png", "é" * 200 + ".png"], [f"0-{'x' * 249}.png", f"1-{'é' * 124}.png"]),
        (["x" * 253, "x" * 254], ["x" * 253, f"1-{'x' * 253}"]),
    ],
)
def test_names_in_a_table_are_names_of_as_many_files(tmp_path, names, expected):
    found = open_images(write_table(tmp_path / "a.parquet", IMAGES[: len(names)], names=names))
    assert [file.name for file in found.files] == expected
    assert [file.key for file in found.files] == names
    for file in found.files:
        (tmp_path / file.name).write_bytes(file.read_bytes())


def test_images_without_names_have_the_suffix_of_the_first_that_is_one(tmp_path):
    content = [None, {"bytes": b"x", "path": None}, {"bytes": png(IMAGES[0]), "path": None}]
    pq.write_table(pa.table({"image": content}), tmp_path / "a.parquet")
    assert [file.name for file in open_images(tmp_path / "a.parquet").files] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("n_bytes", [1, 300, 10_000])
def test_cells_are_decoded_in_batches(tmp_path, monkeypatch, n_bytes):
    monkeypatch.setattr(tables_module, "_BATCH_BYTES", n_bytes)
    path = write_table(tmp_path / "a.parquet")
    for row in [*range(12), *range(11, -1, -1), 5, 0, 11]:
        assert tables_module.cell(path, "image", row)["bytes"] == png(IMAGES[row])


def test_a_plain_column_of_bytes(tmp_path):
    content = [png(image) for image in IMAGES]
    pq.write_table(
        pa.table({"jpg": content, "key": [f"k{i}" for i in range(12)], "cls": LABELS}), tmp_path / "a.parquet"
    )
    found = open_images(tmp_path / "a.parquet")
    check_like_the_folder(found, map(str, LABELS))
    assert found.files[7].name == "k7"


def test_another_column_of_images(tmp_path):
    mask = [{"bytes": png(image[::-1]), "path": None} for image in IMAGES]
    path = write_table(tmp_path / "a.parquet", mask=mask, caption=["x"] * 12)
    found = open_images(path)
    np.testing.assert_array_equal(read_images(found.files), IMAGES)
    assert found.notes == (f"{path}: columns that are not used: mask, caption; --columns (columns=) says otherwise.",)
    np.testing.assert_array_equal(read_images(open_images(path, ["mask"]).files), IMAGES[:, ::-1])


def test_classes_that_are_missing_are_told(tmp_path):
    path = write_table(tmp_path / "a.parquet", label=[None, *LABELS[1:]])
    found = open_images(path)
    assert found.classes is None
    assert found.notes == (f"{path}: 1 of 12 images have no class, so classes are not used.",)


def test_a_row_without_bytes_is_a_problem_of_that_row(tmp_path):
    path = write_table(tmp_path / "a.parquet")
    column = pa.array([{"bytes": png(IMAGES[0])}, None, {"bytes": None, "path": "x.png"}])
    pq.write_table(pa.table({"image": column}), path)
    files = open_images(path).files
    np.testing.assert_array_equal(read_image(files[0]), IMAGES[0])
    for row, came in ((1, "got nothing"), (2, "got only the path 'x.png'")):
        with pytest.raises(InputError, match=f"expected the bytes of an image in column 'image', {came}"):
            read_image(files[row])


@pytest.mark.parametrize("damage", ["torn", "no table", "wrong column", "no rows", "no images", "two names"])
@pytest.mark.parametrize("place", ["first", "second"])
def test_tables_that_cannot_be_used(tmp_path, damage, place):
    paths = [write_table(tmp_path / f"part-{number}.parquet") for number in (1, 2)]
    bad = paths[place == "second"]
    message = "expected columns 'image'"
    if damage == "torn":
        bad.write_bytes(bad.read_bytes()[:-100])
        message = "expected a parquet file, but it cannot be read"
    elif damage == "no table":
        bad.write_bytes(b"PAR1 nothing")
        message = "expected a parquet file, but it cannot be read"
    elif damage == "no rows":
        write_table(bad, images=[])
        message = "expected rows, got none"
    elif damage == "two names":
        table = pq.read_table(bad)
        pq.write_table(pa.Table.from_arrays([table.column(0)] * 2, names=["image", "image"]), bad)
        message = "expected columns of different names"
    else:
        pq.write_table(pa.table({"photo" if damage == "no images" else "x": [1.0]}), bad)
    if (damage, place) in (("wrong column", "first"), ("no images", "first")):
        message = r"part-1.parquet: expected columns 'image', as in"
    with pytest.raises(InputError, match=message) as caught:
        open_images(tmp_path)
    assert bad.name in str(caught.value) and "\n" not in str(caught.value)


def test_torn_pages_are_problems_of_their_rows(tmp_path):
    path = write_table(tmp_path / "a.parquet")
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"12 of 12 image files cannot be used|does not decode|cannot be read"):
        read_images(open_images(path).files)


def test_several_splits_are_not_mixed(tmp_path):
    for split in ("train", "test"):
        write_table(tmp_path / f"{split}-00000-of-00002.parquet")
    with pytest.raises(InputError, match=r"one split, found test, train\. Give one, for instance '.*/test\*\.parquet'"):
        open_images(tmp_path)
    found = open_images(tmp_path / "train*.parquet")
    assert len(found.files) == 12
    assert found.notes == (f"{tmp_path}/train*.parquet: not all shards of a split are there (train: 1 of 2).",)


def test_a_saved_dictionary_names_its_splits(tmp_path, monkeypatch):
    data = saved_by_datasets(monkeypatch, tmp_path)
    from datasets import DatasetDict

    DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match=r"both: expected one split .* Give one of .*/both/test, .*/both/train"):
        open_images(tmp_path / "both")
    check_like_the_folder(open_images(tmp_path / "both" / "train"), [NAMES[label] for label in LABELS])


@pytest.mark.parametrize(
    "state", ["", "{}", "[" * 200_000, '{"_data_files": []}', '{"_data_files": [{"filename": "../x.arrow"}]}']
)
def test_a_saved_data_set_that_is_none(tmp_path, state):
    (tmp_path / "state.json").write_text(state)
    (tmp_path.parent / "x.arrow").write_bytes(b"")
    with pytest.raises(InputError, match=r"state\.json: expected"):
        open_images(tmp_path)


def test_a_torn_file_of_arrow(tmp_path, monkeypatch):
    saved_by_datasets(monkeypatch, tmp_path).save_to_disk(tmp_path / "saved")
    file = next((tmp_path / "saved").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(InputError, match=rf"{file.name}: expected a stream of Arrow"):
        open_images(tmp_path / "saved")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("nested", [False, True])
def test_metadata_beside_images_has_their_classes(tmp_path, form, nested):
    folder = tmp_path / "train" if nested else tmp_path
    (folder / "deep").mkdir(parents=True)
    names = [f"deep/{i:02d}.png" if i % 2 else f"{i:02d}.png" for i in range(12)]
    for name, image in zip(names, IMAGES, strict=True):
        (folder / name).write_bytes(png(image))
    rows = [{"file_name": name, "label": NAMES[label]} for name, label in zip(names, LABELS, strict=True)]
    file = folder / f"metadata.{form}"
    if form == "csv":
        file.write_text("file_name,label,text\n" + "".join(f"{of['file_name']},{of['label']},x\n" for of in rows[::-1]))
    elif form == "jsonl":
        file.write_text("".join(json.dumps(of) + "\n" for of in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    found = open_images(tmp_path)
    expected = {name: NAMES[label] for name, label in zip(names, LABELS, strict=True)}
    assert found.classes == tuple(expected[of.relative_to(folder).as_posix()] for of in found.files)
    assert found.passed_over == {} and found.notes == ()
    # What is told elsewhere is part of the content.
    before = found.content_hash()
    file.unlink()
    assert open_images(tmp_path).content_hash() != before


def test_metadata_of_other_files_and_without_all(tmp_path):
    (tmp_path / "1.png").write_bytes(png(IMAGES[0]))
    (tmp_path / "2.png").write_bytes(png(IMAGES[1]))
    (tmp_path / "metadata.csv").write_text("file_name,label\n1.png,a\n../../2.png,b\n/etc/passwd,c\n")
    found = open_images(tmp_path)
    assert found.classes is None
    assert [note.removeprefix(str(tmp_path)) for note in found.notes] == [
        "/metadata.csv: 2 rows are of no image: 2.png, passwd.",
        ": 1 of 2 images have no class, so classes are not used.",
    ]
    (tmp_path / "metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n1.png,b\n")
    with pytest.raises(InputError, match=r"metadata\.csv: expected one row for each file, got '1\.png' more than once"):
        open_images(tmp_path)
    (tmp_path / "metadata.csv").write_text("path,label\n1.png,a\n")
    assert open_images(tmp_path).passed_over == {"no image (.csv)": 1}


@pytest.mark.parametrize("content", [b"{", b"[1]\n", b"\xff\xfe\x00"])
def test_metadata_that_cannot_be_read(tmp_path, content):
    (tmp_path / "1.png").write_bytes(png(IMAGES[0]))
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"metadata\.jsonl: expected rows with a column file_name"):
        open_images(tmp_path)


def test_a_description_or_shard_that_is_a_link_to_nothing(tmp_path):
    """Images of a folder keep theirs, which is told of each; classes would go without a word."""
    (tmp_path / "0.png").write_bytes(png(IMAGES[0]))
    (tmp_path / "notes.csv").symlink_to("nowhere")
    assert open_images(tmp_path).passed_over == {"no image (.csv)": 1}
    (tmp_path / "metadata.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"metadata\.csv: expected a file, but it is a link to 'nowhere'"):
        open_images(tmp_path)
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars/0.tar", {"0.png": png(IMAGES[0])})
    (tmp_path / "tars/1.tar").symlink_to("2.tar")
    for place in (tmp_path / "tars", tmp_path / "tars/*.tar"):
        with pytest.raises(InputError, match=r"1\.tar: expected a file, but it is a link to '2\.tar'"):
            open_images(place)


@pytest.mark.parametrize("described", ["cls", "json", "both"])
def test_shards_of_webdataset(tmp_path, described):
    for shard, rows in enumerate((range(5), range(5, 12))):
        members = {}
        for row in rows:
            members[f"{row:06d}.jpg.png" if row < 0 else f"{row:06d}.png"] = png(IMAGES[row])
            if described != "json":
                members[f"{row:06d}.cls"] = str(LABELS[row]).encode()
            if described != "cls":
                members[f"{row:06d}.json"] = json.dumps({"label": LABELS[row], "caption": "x"}).encode()
            members[f"{row:06d}.txt"] = b"a caption"
        write_tar(tmp_path / f"shard-{shard}.tar", members)
    found = open_images(tmp_path)
    check_like_the_folder(found, map(str, LABELS))
    assert found.passed_over == {"no image (.txt)": 12}
    assert str(found.files[5]) == f"{tmp_path}/shard-1.tar#000005.png"
    assert str(found.files[5].relative_to(tmp_path)) == "shard-1.tar/000005.png"
    loaded = ImageFolder(path=str(tmp_path), n_images=9, n_reference=3).load()
    assert set(loaded.labels.tolist()) <= {0, 1, 2}


def test_shards_are_sorted_by_number(tmp_path):
    for row in (10, 9, 2):
        write_tar(tmp_path / f"part-{row}.tar", {f"{row}.png": png(IMAGES[row])})
    assert [file.name for file in open_images(tmp_path / "part-*.tar").files] == ["2.png", "9.png", "10.png"]


def test_a_packed_folder_has_its_folders_as_classes(tmp_path):
    members = {f"./{NAMES[label]}/{row}.png": png(IMAGES[row]) for row, label in enumerate(LABELS)}
    check_like_the_folder(open_images(write_tar(tmp_path / "a.tar", members)), [NAMES[label] for label in LABELS])


def test_masks_beside_a_picture_are_no_pictures(tmp_path):
    members = {
        "1.png": png(IMAGES[0]),
        "1.seg.png": png(IMAGES[1]),
        "2.x.png": png(IMAGES[2]),
        "3.json": b'{"label": 3}',
    }
    found = open_images(write_tar(tmp_path / "a.tar", members))
    assert [file.name for file in found.files] == ["1.png", "2.x.png"]
    assert found.passed_over == {"description of no image": 1, "further image of a sample": 1}


def head(name, kind=tarfile.REGTYPE, **more):
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def test_hostile_members_are_left_out_and_counted(tmp_path):
    members = {
        "good.png": png(IMAGES[0]),
        "/etc/x.png": png(IMAGES[1]),
        "../../x.png": png(IMAGES[1]),
        "._good.png": png(IMAGES[1]),
        "link.png": head("link.png", tarfile.SYMTYPE, linkname="/etc/passwd"),
        "hard.png": head("hard.png", tarfile.LNKTYPE, linkname="good.png"),
        "pipe.png": head("pipe.png", tarfile.FIFOTYPE),
        "device.png": head("device.png", tarfile.CHRTYPE),
        "folder": head("folder", tarfile.DIRTYPE),
    }
    found = open_images(write_tar(tmp_path / "a.tar", members))
    assert [file.name for file in found.files] == ["good.png"]
    expected = {"hidden": 1, "link, device or sparse member": 4, "name that leads out of the archive": 2}
    assert found.passed_over == expected
    assert sorted(of.name for of in tmp_path.iterdir()) == ["a.tar"]


@pytest.mark.parametrize(
    "damage",
    ["lying size", "torn", "twice", "gzip", "no tar", "empty", "no image", "head", "torn head", "two in one"],
)
def test_tar_files_that_cannot_be_used(tmp_path, damage):
    path = write_tar(tmp_path / "a.tar", {f"{row}.png": png(IMAGES[row]) for row in range(3)})
    message = {
        "lying size": "by its head, where",
        "torn": "expected a whole tar file, but '2.png' has",
        "twice": "expected members of different names, got '1.png' more than once",
        "gzip": "expected a tar file that is not compressed.*gunzip",
        "no tar": "expected a tar file that is not compressed",
        "empty": "expected a tar file that is not compressed",
        "no image": r"expected images in the tar file, found none, only 1 no image \(.txt\)",
        "head": "expected a whole tar file, but the head of a member at byte 1,024 is damaged",
        "torn head": "expected a whole tar file, but the head of a member at byte 1,024 is damaged",
        "two in one": "expected nothing behind the end of the tar file at byte 3,072.* there are bytes from 10,240 on",
    }[damage]
    if damage == "lying size":
        block = head("liar.png", size=8 << 40).tobuf(tarfile.GNU_FORMAT)
        path.write_bytes(path.read_bytes()[:512] + png(IMAGES[0]).ljust(1024, b"\0")[:512] + block + bytes(1024))
        content = png(IMAGES[0])
        padded = content.ljust(-(-len(content) // 512) * 512, b"\0")
        path.write_bytes(head("0.png", size=len(content)).tobuf() + padded + block + bytes(1024))
    elif damage == "torn":
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"IEND") - 20])
    elif damage == "twice":
        with tarfile.open(path, "a") as archive:
            again = head("1.png", size=3)
            archive.addfile(again, io.BytesIO(b"abc"))
    elif damage == "gzip":
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(head("1.png", size=3), io.BytesIO(b"abc"))
    elif damage == "no image":
        write_tar(path, {"a.txt": b"x"})
    elif damage == "head":
        # Python takes a damaged head for the end, and one bit of 512 bytes damages it.
        content = bytearray(path.read_bytes())
        content[1024 + 300] ^= 1
        path.write_bytes(content)
    elif damage == "torn head":
        path.write_bytes(path.read_bytes()[: 1024 + 100])
    elif damage == "two in one":
        path.write_bytes(path.read_bytes() * 2)
    else:
        path.write_bytes(b"" if damage == "empty" else b"no tar at all" * 100)
    with pytest.raises(InputError, match=message) as caught:
        open_images(path)
    assert "a.tar" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["binary", "string"])
def test_offsets_that_lead_nowhere_do_not_end_the_process(tmp_path, kind):
    """Where values begin and end in a stream of Arrow is believed by Arrow, unless one asks."""
    values = pa.array([b"x" * 1111, b"y" * 1111], getattr(pa, kind)())
    good = pa.array([png(IMAGES[0]), png(IMAGES[1])])
    table = pa.table({"image": values} if kind == "binary" else {"image": good, "path": values})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    offsets = np.array([0, 1111, 2222], np.int32).tobytes()
    damaged = sink.getvalue().replace(offsets, np.array([0, 1111, 1 << 30], np.int32).tobytes())
    assert damaged != sink.getvalue()
    (tmp_path / "a.arrow").write_bytes(damaged)
    with pytest.raises(InputError, match=r"a\.arrow: expected a stream of Arrow, but it cannot be read"):
        open_images(tmp_path / "a.arrow")


def test_a_tar_file_without_its_end_is_told(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"{row}.png": png(IMAGES[row]) for row in range(3)})
    path.write_bytes(path.read_bytes()[:2048])
    found = open_images(path)
    assert len(found.files) == 2
    assert found.notes == (
        f"{path}: the tar file lacks the mark of its end; it may have been cut, and images be missing.",
    )


def test_halves_of_letters_in_classes(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.png": png(IMAGES[0]), "0.json": b'{"label": "\\ud800"}'})
    found = open_images(tmp_path / "a.tar")
    assert found.classes == ("\\ud800",)
    assert found.content_hash()


def test_several_kinds_in_a_folder(tmp_path):
    write_table(tmp_path / "a.parquet")
    write_tar(tmp_path / "b.tar", {"1.png": png(IMAGES[0])})
    with pytest.raises(InputError, match=r"expected files of one kind.*got \.parquet, \.tar"):
        open_images(tmp_path)
    with pytest.raises(InputError, match=r"expected files of one kind.*got none"):
        open_images(Path(tmp_path, "x*.parquet"))
