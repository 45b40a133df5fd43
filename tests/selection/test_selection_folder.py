"""What a selection leaves is opened by others: absolute paths, the order of files, Hugging Face, FiftyOne, lists."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from entropick.errors import InputError
from entropick.features import Pixels
from entropick.run import verify
from entropick.selection import Choice
from entropick.selectors import Greedy
from entropick.sources import Space, open_sources

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)


def make(folder: Path, rows: range, *, classes: bool = True) -> None:
    for row in rows:
        name = folder / f"class {row % 2}" / f"{row:02d}.png" if classes else folder / f"{row:02d}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS[row]).save(name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "real", range(30))
    make(tmp_path / "flat", range(30, 40), classes=False)
    np.save("made.npy", DIGITS[40:60])
    return tmp_path


def choose(*sources: str, n: int = 9, **more: Any) -> dict[str, Any]:
    space = Space("pixels", encoder=Pixels())
    wanted = {"space": space, "selector": Greedy(n_samples=n, random_state=0), **more}
    return Choice(sources=open_sources(sources), **wanted).run(Path("out"))


def table(name: str) -> list[dict[str, str]]:
    with open(f"out/{name}", newline="") as file:
        return list(csv.DictReader(file))


def test_manifests_lead_to_the_files_from_anywhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = choose("real=real", "made=made.npy")
    monkeypatch.chdir("/")
    with open(place / "out" / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(Path(row["path"]).is_absolute() and Path(row["path"]).is_file() for row in rows)
    assert all(Path(row["base"], row["file_name"]) == Path(row["path"]) for row in rows)
    assert result["bases"] == {"real": str(place / "real"), "made": str(place)}
    of_parquet = pq.read_table(place / "out" / "manifest.parquet").to_pylist()
    assert [row["path"] for row in of_parquet] == [row["path"] for row in rows]


def test_sources_that_moved_are_only_written_down_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose("real=real")
    before = (place / "out" / "selection.json").read_bytes()
    moved = place.parent / f"{place.name}-moved"
    shutil.move(place, moved)
    monkeypatch.chdir(moved)
    monkeypatch.setattr("entropick.selection.stages.appraise", None)
    choose("real=real")
    assert all(row["path"].startswith(f"{moved}/real/") and Path(row["path"]).is_file() for row in table(MANIFEST))
    assert before != Path("out/selection.json").read_bytes() and not verify(Path("out"))[0].damages


MANIFEST = "manifest.csv"


def test_the_order_of_files_is_told(place: Path) -> None:
    (place / "real" / "class 0" / "torn.png").write_text("no image")
    choose("real=real", "made=made.npy", "flat=flat", skip_bad=True)
    rows = table("order.csv")
    sources = open_sources(("real=real", "flat=flat"))
    expected = [
        {"source": of.name, "row": str(row), "path": str(place / file), "file_name": str(file.relative_to(of.path))}
        for of in sources
        for row, file in enumerate(of.files)
    ]
    # What is skipped has its row as well: embeddings of others may have it.
    assert rows == expected and any(row["file_name"] == "class 0/torn.png" for row in rows)


def test_no_list_of_files_where_there_are_none(place: Path) -> None:
    choose("made=made.npy")
    names = {path.name for path in Path("out").iterdir()}
    assert not names & {"order.csv", "fiftyone.csv", "filenames.txt", "metadata.jsonl", "selected"}
    assert "order.csv" not in Path("out/selection.html").read_text()


def test_the_page_names_the_order_of_files_where_there_is_one(place: Path) -> None:
    choose("made=made.npy", "flat=flat")
    assert "<code>order.csv</code>" in Path("out/selection.html").read_text()


def test_names_of_files_one_per_line(place: Path) -> None:
    (place / "real" / "class 0" / "a\nb.png").write_bytes((place / "real" / "class 0" / "00.png").read_bytes())
    choose("real=real", n=31)
    lines = Path("out/filenames.txt").read_text().splitlines()
    assert len(lines) == 31 and lines == [row["file_name"].replace("\n", "\\n") for row in table(MANIFEST)]


def test_names_of_files_of_several_sources_can_be_told_apart(place: Path) -> None:
    make(place / "other", range(40, 70), classes=False)
    for row in range(30, 40):
        (place / "other" / f"{row + 10}.png").rename(place / "other" / f"{row}.png")
    choose("flat=flat", "other=other", n=30)
    lines = Path("out/filenames.txt").read_text().splitlines()
    assert lines == [f"{row['source']}/{row['file_name']}" for row in table("manifest.csv")]
    assert len({*lines}) == 30 > len({line.partition("/")[2] for line in lines})


def test_names_of_files_of_one_source_beside_others_stay_short(place: Path) -> None:
    """What is given is in no list, and an array has no files."""
    choose("flat=flat", "made=made.npy", "real=real", given=("real",), n=20)
    chosen = [row for row in table("manifest.csv") if row["source"] == "flat"]
    assert Path("out/filenames.txt").read_text().splitlines() == [row["file_name"] for row in chosen]


def test_ids_are_listed_where_every_row_has_one(place: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 3))
    columns = {f"x{column}": rows[:, column] for column in range(3)}
    pq.write_table(pa.table({"key": [f"row {row}" for row in range(20)], **columns}), "named.parquet")
    np.save("unnamed.npy", rows + 1)

    def choose_rows(*sources: str) -> None:
        shutil.rmtree("out", ignore_errors=True)
        rule, space = Greedy(n_samples=9, random_state=0), Space("embeddings")
        Choice(sources=open_sources(sources), selector=rule, space=space).run(Path("out"))

    choose_rows("named=named.parquet")
    assert Path("out/ids.txt").read_text().splitlines() == [row["name"] for row in table("manifest.csv")]
    choose_rows("named=named.parquet", "unnamed=unnamed.npy")
    assert not Path("out/ids.txt").exists() and {row["name"] for row in table("manifest.csv")} > {""}


def test_fiftyone_reads_its_columns(place: Path) -> None:
    """As its CSVDatasetImporter documents them: a header, absolute media paths in ``filepath``, empty for none."""
    choose("real=real", "flat=flat", "made=made.npy", n=40)
    rows = table("fiftyone.csv")
    assert list(rows[0]) == ["filepath", "source", "rank", "distance", "label"]
    assert all(Path(row["filepath"]).is_absolute() and Path(row["filepath"]).is_file() for row in rows)
    assert {row["source"] for row in rows} == {"real", "flat"} and not {"id", "tags", "metadata"} & rows[0].keys()
    parsed = [
        {key: parse(row[key]) for key, parse in {"rank": int, "distance": float}.items() if row[key]} for row in rows
    ]
    assert sum("distance" not in row for row in parsed) == (table(MANIFEST)[0]["source"] != "made")
    assert {row["label"] for row in rows} == {"class 0", "class 1", ""}


def test_one_name_that_is_no_text_does_not_end_the_import(place: Path) -> None:
    """FiftyOne reads the whole file as UTF-8."""
    (place / "flat" / "30.png").rename(os.fsdecode(os.fsencode(place / "flat") + b"/\xff.png"))
    choose("flat=flat", n=10)
    listed = Path("out/fiftyone.csv").read_text(encoding="utf-8")
    assert listed.count("\n") == 10 and "manifest" not in listed
    assert b"\xff.png" in Path("out/manifest.csv").read_bytes()


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of the real library: offline, its cache in a folder of the test."""
    datasets = pytest.importorskip("datasets", reason="no datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def load(*arguments: Any, **more: Any) -> Any:
        return datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **more)

    return load


@pytest.mark.parametrize("files", ["link", "copy"])
def test_hugging_face_opens_the_chosen_files(place: Path, load_dataset: Any, files: str) -> None:
    choose("real=real", "flat=flat", n=12, files=files)
    rows = table(MANIFEST)
    for opened in (
        load_dataset("imagefolder", data_dir="out/selected", split="train"),
        load_dataset(str(place / "out" / "selected"), split="train"),
    ):
        assert opened.column_names == ["image", "source", "rank", "distance", "label"]
        assert opened["rank"][:] == list(range(12))
        assert opened["source"][:] == [row["source"] for row in rows]
        assert opened["label"][:] == [row["class"] or None for row in rows]
        assert opened["distance"][:] == [None] + [float(row["distance"]) for row in rows[1:]]
        for image, row in zip(opened["image"], rows, strict=True):
            assert np.array_equal(np.asarray(image), np.asarray(Image.open(row["path"])))


def test_a_source_that_is_called_train_stays_whole(place: Path, load_dataset: Any) -> None:
    choose("train=real", "test=flat", n=12, files="copy")
    opened = load_dataset(str(place / "out" / "selected"))
    assert list(opened) == ["train"] and set(opened["train"]["source"]) == {"train", "test"}


def test_where_files_stay_where_they_are_a_table_leads_to_them(place: Path, load_dataset: Any) -> None:
    import datasets

    choose("real=real", n=5)
    opened = load_dataset("json", data_files="out/metadata.jsonl", split="train")
    pictures = opened.cast_column("file_name", datasets.Image())
    first = np.asarray(Image.open(table(MANIFEST)[0]["path"]))
    assert np.array_equal(np.asarray(pictures[0]["file_name"]), first)
    assert not Path("out/selected").exists()


def test_names_that_are_no_text_are_left_out_and_counted(place: Path) -> None:
    odd = place / "real" / "class 0" / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes((place / "real" / "class 0" / "00.png").read_bytes())
    choose("real=real", n=31, files="copy")
    lines = Path("out/selected/metadata.jsonl").read_text().splitlines()
    assert len(lines) == 30 and all(json.loads(line)["file_name"].isascii() for line in lines)
    assert "1 file whose name is no UTF-8 is here, and not in" in Path("out/selected/README.md").read_text()
    found = verify(Path("out"))[0]
    assert not found.damages
    Path("out/selected/real/class 0", odd.name).write_text("spoilt")
    assert "is damaged" in verify(Path("out"))[0].damages[0]


@pytest.mark.parametrize("files", ["link", "copy"])
@pytest.mark.parametrize("name", ["real/class 1/*.png", "metadata.jsonl", "README.md"])
def test_damage_among_the_chosen_files_is_named_and_mended(
    place: Path, files: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("real=real", n=12, files=files)
    (found,) = verify(Path("out"))
    assert not found.damages and found.n_files > 12
    one = sorted(Path("out/selected").glob(name))[0]
    content = one.read_bytes()
    one.unlink()
    one.write_bytes(content[:-1])
    (found,) = verify(Path("out"))
    assert len(found.damages) == 1 and f"{one} is damaged" in found.damages[0]
    # Nothing is chosen again.
    monkeypatch.setattr("entropick.selection.stages.appraise", None)
    choose("real=real", n=12, files=files)
    assert one.read_bytes() == content and not verify(Path("out"))[0].damages


@pytest.mark.parametrize("name", ["metadata.jsonl", "README.md"])
def test_a_source_in_the_way_of_a_table(place: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\(--copy\): expected another name for the source"):
        choose(f"{name}=real", files="copy")


@pytest.mark.parametrize("source", ["real", "real.tar"])
def test_an_image_that_changes_before_it_is_copied_is_refused(place: Path, source: str) -> None:
    with tarfile.open("real.tar", "w") as archive:
        archive.add("real", "real")

    def say(line: str) -> None:
        if line.startswith("writing"):
            for path in Path("real").rglob("*.png") if source == "real" else [Path(source)]:
                path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDaT"))

    space = Space("pixels", encoder=Pixels())
    choice = Choice(
        sources=open_sources([f"a={source}"]), space=space, selector=Greedy(n_samples=9, random_state=0), files="copy"
    )
    with pytest.raises(InputError, match=r"real.*\.png: expected a file that stays as it is, but it changed"):
        choice.run(Path("out"), say=say)
    assert not Path("out/selected").exists() and not Path("out/selection.json").exists()
