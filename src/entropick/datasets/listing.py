"""Which images there are at a path, and their classes: a folder of image files, tar files, tables, a saved data set."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from entropick.datasets.image_tables import image_column, read_tables
from entropick.datasets.reading import ImageFile, hash_folder, is_hidden, is_image
from entropick.datasets.remote import RemotePath, is_address, local_path
from entropick.datasets.tables import CLASS_NAMES, TABLE_FILES, TableFile, label_of
from entropick.datasets.tar_files import read_tar
from entropick.errors import InputError, shown

ARRAY_FILES = (".npy", ".npz")
DATA_FILES = (*ARRAY_FILES, *TABLE_FILES, ".tar")
# What is read where it lies elsewhere.
_REMOTE_FILES = (".npy", ".parquet")
# Files beside the images of a folder that say more of them, as Hugging Face's `imagefolder` reads them.
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SHARD = re.compile(r"(.*?)[-_.](\d+)-of-(\d+)")
_SPLITS = ("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval")


@dataclass(frozen=True)
class ImageSet:
    """Images at a path, of which hardly anything is read.

    Attributes
    ----------
    path
        The folder, file, or pattern of files.
    files
        The images: files in the order of ``sorted`` of their relative POSIX paths, members and rows in their own.
    classes
        The class of each as text; None where it is not known of all. By metadata, a column or descriptions beside the
        images, else the first folder on the way to each.
    class_names
        All classes in the order of their numbers; None if they have none, and are sorted.
    are_told
        Whether classes come from elsewhere than the names of files.
    passed_over
        How many other entries there are, by the reason why they are no images.
    notes
        What is worth a line.
    """

    path: Path
    files: tuple[ImageFile, ...] = field(repr=False)
    classes: tuple[str, ...] | None = field(default=None, repr=False)
    class_names: tuple[str, ...] | None = None
    are_told: bool = False
    passed_over: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def content_hash(self, images: Sequence[bytes | None] | None = None) -> str:
        """Hash (hexadecimal) of names and bytes, whose hashes may be given, and of classes that names do not tell."""
        content = hash_folder(self.path, self.files, images)
        if not self.are_told or self.classes is None:
            return content
        return hashlib.sha256("\0".join((content, *self.classes)).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Listing:
    """What lies at a path: image files or, where there is none, files of data, all of one kind.

    Attributes
    ----------
    path
        The folder, file, or pattern of files.
    images, data
        Image files in the order of ``sorted`` of their relative POSIX paths, or files of data of one suffix, numbers
        in their names in order; one of both is empty.
    metadata
        Files beside the images that may say more of them.
    passed_over
        How many other entries there are, by reason.
    """

    path: Path
    images: tuple[Path, ...] = ()
    data: tuple[Path, ...] = ()
    metadata: tuple[Path, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """The suffix of the files of data; empty for image files."""
        return self.data[0].suffix if self.data else ""

    def notes(self) -> tuple[str, ...]:
        """Which shards are missing, by the names of the others."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for file in self.data:
            if match := _SHARD.fullmatch(file.stem):
                found[match[1], match[3]].add(int(match[2]))
        short = [f"{name}: {len(numbers)} of {int(n)}" for (name, n), numbers in found.items() if len(numbers) < int(n)]
        return tuple(f"{self.path}: not all shards of a split are there ({of})." for of in short)


def list_path(path: Path) -> Listing:
    """What lies at `path`: a file, a folder, a data set saved by `datasets`, or files that match a pattern.

    Raises
    ------
    InputError
        There is nothing, several kinds of data, several splits of a data set, or a link to nothing among them.
    """
    if isinstance(path, RemotePath):
        return _list_remote(path)
    if path.is_file():
        return Listing(path, data=(path,))
    if not path.exists() and is_pattern(path):
        return _list_pattern(path)
    if not path.is_dir():
        raise InputError(f"{path}: expected a folder of images, but there is none at {path.resolve()}.")
    if (path / "dataset_dict.json").is_file():
        parts = sorted(place.parent.name for place in path.glob("*/state.json"))
        raise InputError(
            f"{path}: expected one split of the data set that was saved there, not all of them. Give one of "
            f"{', '.join(str(path / name) for name in parts) or 'its folders'}."
        )
    if (path / "state.json").is_file():
        return Listing(path, data=tuple(_saved(path)))
    images, others, no_files, counted = _walk(path)
    if images:
        _check_is_there([file for file in no_files if file.name in _METADATA])
        counted.update(_reason(file, "no image") for file in (*others, *no_files))
        metadata = tuple(file for file in others if file.name in _METADATA)
        return Listing(path, images=tuple(images), metadata=metadata, passed_over=dict(sorted(counted.items())))
    # Whatever the case of its suffix, so that a shard is refused rather than passed over.
    data = [file for file in others if file.suffix.lower() in DATA_FILES]
    kinds = {file.suffix for file in data} or DATA_FILES
    _check_is_there([file for file in no_files if file.suffix in kinds])
    other = "of another kind" if data else "no image"
    counted.update(_reason(file, other) for file in (*others, *no_files) if file not in data)
    found = dict(sorted(counted.items()))
    if not data:
        listed = f", only {words_of(found)}" if found else ""
        raise InputError(
            f"{path}: expected image files (.png, .jpg and what else Pillow opens), embeddings or other files of data "
            f"({', '.join(DATA_FILES)}), found none{listed}."
        )
    return _of_one_kind(Listing(path, passed_over=found), data, splits_matter=True)


def _list_pattern(path: Path) -> Listing:
    """The files that match a pattern."""
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207, an absolute one
    # Of two stars after two stars a file comes as often as there are ways to it.
    matching = list(map(Path, dict.fromkeys(found)))
    files = [file for file in matching if file.is_file()]
    others = [file for file in matching if not file.is_file()]
    kinds = {file.suffix for file in files} or DATA_FILES
    _check_is_there(sorted(file for file in others if file.suffix in kinds and file.suffix))
    # All folders on the way match two stars.
    counted = Counter(_reason(file, "no file") for file in others if not (file.is_dir() and path.name == "**"))
    return _of_one_kind(Listing(path, passed_over=dict(sorted(counted.items()))), files, splits_matter=False)


def _reason(file: Path, other: str) -> str:
    """Why a file is passed over; `other` says it of one whose kind is another."""
    if not file.is_file() and file.exists():
        return "folder" if file.is_dir() else "no regular file"
    return f"{other} ({file.suffix.lower() or 'without a suffix'})"


def _check_is_there(no_files: Sequence[Path]) -> None:
    """Raise InputError for the first of what has the name of a file that is needed, and is none."""
    if not no_files:
        return
    file, more = no_files[0], f" ({len(no_files) - 1:,} more are no files either)" if len(no_files) > 1 else ""
    if file.is_dir():
        is_what = "a folder. Give its files, as a pattern if need be, or leave it out"
    elif file.exists():
        is_what = "no regular one. Leave it out"
    elif file.is_symlink():
        is_what = f"a link to {shown(str(file.readlink()))}, which is not there. Restore that, or remove the link"
    else:
        is_what = "not there any more. Repeat the command"
    raise InputError(f"{file}: expected a file, but it is {is_what}{more}.")


def _list_remote(path: RemotePath) -> Listing:
    """What lies at an address: a file, those of a folder, or those that match a pattern."""
    place = cast(Path, path)  # to all its readers it is one
    if is_pattern(place):
        return _of_one_kind(Listing(place), cast(list[Path], path.matching()), splits_matter=False)
    if path.is_file():
        return Listing(place, data=(place,))
    data, counted = list[Path](), Counter[str]()
    for file in path.below():
        if any(is_hidden(part) for part in file.relative_to(path).parts):
            counted["hidden"] += 1
        elif file.suffix.lower() in _REMOTE_FILES:
            data.append(cast(Path, file))
        else:
            counted[f"no embeddings ({file.suffix.lower() or 'without a suffix'})"] += 1
    if not data:
        only = f", only {words_of(counted)}" if counted else ""
        raise InputError(f"{path}: expected {' or '.join(_REMOTE_FILES)} files, found none{only}.")
    return _of_one_kind(Listing(place, passed_over=dict(sorted(counted.items()))), data, splits_matter=True)


def is_pattern(path: Path) -> bool:
    """Whether a path stands for all that match it, such as ``part-*.parquet``."""
    return glob.has_magic(str(path))


def _of_one_kind(listing: Listing, files: Sequence[Path], *, splits_matter: bool) -> Listing:
    kinds = sorted({file.suffix for file in files})
    if len(kinds) != 1:
        only = f", only {words_of(listing.passed_over)}" if listing.passed_over else ""
        came = f"{', '.join(kind or 'some without a suffix' for kind in kinds)}" or f"none: no file matches{only}"
        raise InputError(f"{listing.path}: expected files of one kind, for instance {DATA_FILES[2]}, got {came}.")
    splits = sorted({name for file in files if (name := _split_of(listing.path, file))})
    if splits_matter and len(splits) > 1:
        raise InputError(
            f"{listing.path}: expected the files of one split, found {', '.join(splits)}. Give one, for instance "
            f"'{_pattern(listing.path, files, splits)}', or all by '{listing.path}/**/*{kinds[0]}'."
        )
    return replace(listing, data=tuple(sorted(files, key=_by_number)))


def _by_number(file: Path) -> list[tuple[bool, int, str]]:
    """A key by which numbers in names are sorted as numbers."""
    parts = re.split(r"(\d+)", file.as_posix())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _split_of(folder: Path, file: Path) -> str | None:
    """The split that a file belongs to by a part of its path, as repositories of data sets are laid out."""
    below = file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)
    for part in (*below.parts[:-1], re.split(r"[-_.]", below.name)[0]):
        if part.lower() in _SPLITS:
            return part
    return None


def _pattern(folder: Path, files: Sequence[Path], splits: Sequence[str]) -> str:
    first = next(file for file in files if _split_of(folder, file) == splits[0])
    if splits[0] in first.parts[:-1]:
        return str(first.with_name(f"*{first.suffix}"))
    return str(first.with_name(f"{splits[0]}*{first.suffix}"))


def _saved(folder: Path) -> Iterator[Path]:
    """The files of a data set that `datasets.Dataset.save_to_disk` has written, in its order."""
    state = folder / "state.json"
    try:
        names = [of["filename"] for of in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{state}: expected the files of a saved data set, but it cannot be read ({error})."
        ) from error
    if not names:
        raise InputError(f"{state}: expected files of a saved data set, found none.")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise InputError(f"{state}: expected a file of its folder that is there, got {shown(name)}.")
        yield folder / name


def open_images(found: Listing | Path, columns: Sequence[str] = ()) -> ImageSet:
    """The images of a listing or path; `columns` says which column of a table has them.

    Raises
    ------
    InputError
        Where there is none, a file is torn or of another kind, or descriptions contradict each other.
    """
    listing = list_path(found) if isinstance(found, Path) else found
    if listing.images:
        return _of_folder(listing)
    if listing.suffix == ".tar":
        return _of_tars(listing)
    if listing.suffix in TABLE_FILES:
        return _of_tables(listing, [TableFile(file) for file in listing.data], columns)
    raise InputError(
        f"{listing.path}: expected a folder of images, .tar files, or tables with a column of images, got a "
        f"{listing.suffix or 'suffixless'} file."
    )


def holds_images(listing: Listing, columns: Sequence[str] = ()) -> bool:
    """Whether `open_images` would find images, and not numbers."""
    if listing.suffix in TABLE_FILES:
        return image_column(TableFile(listing.data[0]), columns) is not None
    return listing.suffix in ("", ".tar")


def _of_tables(listing: Listing, tables: Sequence[TableFile], columns: Sequence[str]) -> ImageSet:
    contents = read_tables(tables, columns)
    notes = [*listing.notes()]
    if contents.unused:
        notes.append(
            f"{listing.path}: columns that are not used: {_listed(contents.unused)}; --columns (columns=) says "
            "otherwise."
        )
    classes, said = known_classes(contents.classes, listing.path)
    made = ImageSet(listing.path, contents.images, classes, contents.class_names, True, listing.passed_over)
    return replace(made, notes=(*notes, *said))


def _of_tars(listing: Listing) -> ImageSet:
    images: list[ImageFile] = []
    told: list[str | None] = []
    passed_over, notes = Counter(listing.passed_over), [*listing.notes()]
    for path in listing.data:
        contents = read_tar(path)
        images += contents.images
        told += contents.classes
        passed_over.update(contents.passed_over)
        if not contents.images:
            only = f", only {words_of(contents.passed_over)}" if contents.passed_over else ""
            raise InputError(f"{path}: expected images in the tar file, found none{only}.")
        if not contents.has_end:
            notes.append(
                f"{path}: the tar file lacks the mark of its end; it may have been cut, and images be missing."
            )
    counted = dict(sorted(passed_over.items()))
    if not any(name is not None for name in told):
        # Of a folder that was packed, folders are the classes.
        parts = [PurePosixPath(file.name).parts for file in images]
        classes = None if any(len(of) == 1 for of in parts) else tuple(of[0] for of in parts)
        return ImageSet(listing.path, tuple(images), classes, passed_over=counted, notes=tuple(notes))
    classes, said = known_classes(told, listing.path)
    return ImageSet(listing.path, tuple(images), classes, None, True, counted, (*notes, *said))


def _of_folder(listing: Listing) -> ImageSet:
    by_folder = class_folders(listing.path, listing.images)
    described: dict[Path, str | None] = {}
    passed_over, notes = Counter(listing.passed_over), []
    known = set(listing.images)
    # The file that lies nearest to an image has the last word.
    for file in sorted(listing.metadata, key=lambda file: (len(file.parts), file.as_posix())):
        rows = list(_metadata(file))
        if not rows:
            continue
        passed_over[f"no image ({file.suffix.lower()})"] -= 1
        labels: dict[Path, str | None] = {}
        for name, label in rows:
            if (image := Path(os.path.normpath(file.parent / name))) in labels:
                raise InputError(f"{file}: expected one row for each file, got {shown(name)} more than once.")
            labels[image] = label
        if strays := [image.name for image in labels if image not in known]:
            told = "row is" if len(strays) == 1 else "rows are"
            notes.append(f"{file}: {len(strays):,} {told} of no image: {_listed(strays)}.")
        described |= {image: label for image, label in labels.items() if image in known and label is not None}
    counted = {why: n for why, n in passed_over.items() if n}
    if not described:
        made = ImageSet(listing.path, listing.images, by_folder, passed_over=counted)
        return replace(made, notes=tuple(notes))
    classes, said = known_classes([described.get(file) for file in listing.images], listing.path)
    return ImageSet(listing.path, listing.images, classes, None, True, counted, (*notes, *said))


def _metadata(file: Path) -> Iterator[tuple[str, str | None]]:
    """The names of files, and the class of each, that are in a file of metadata."""
    try:
        for row in _described(file):
            if isinstance(name := row.get("file_name"), str) and name:
                yield name, label_of(row)
    except InputError:
        raise
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise InputError(f"{file}: expected rows with a column file_name, but it cannot be read ({error}).") from error


def _described(file: Path) -> Iterator[Mapping[str, Any]]:
    if file.suffix == ".csv":
        with open(file, encoding="utf-8-sig", newline="") as stream:
            yield from csv.DictReader(stream)
    elif file.suffix == ".jsonl":
        with open(file, encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    if not isinstance(row := json.loads(line), dict):
                        raise ValueError(f"line {number} is no object")
                    yield row
    else:
        table = TableFile(file)
        columns = [name for name in ("file_name", *CLASS_NAMES) if name in table.schema.names]
        for batch in table.batches(columns) if columns else ():
            yield from batch.to_pylist()


def known_classes(classes: Sequence[str | None] | None, path: Path) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Classes that are known of all images, or none, and then why."""
    if classes is None:
        return None, ()
    known = [name for name in classes if name is not None]
    if len(known) == len(classes):
        return tuple(known), ()
    missing = len(classes) - len(known)
    return None, (f"{path}: {missing:,} of {len(classes):,} images have no class, so classes are not used.",)


def _listed(names: Sequence[str]) -> str:
    shown = [name if name.isprintable() else ascii(name) for name in names[:10]]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose ``~`` stands for the home of a user, where there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def path_or_address(text: str | os.PathLike[str]) -> Path:
    """As `expanded`; an address, such as ``s3://bucket/pool``, becomes what is a path to its readers."""
    if not isinstance(text, str) or not is_address(text):
        return expanded(text)
    local = local_path(text)
    return cast(Path, RemotePath(text)) if local is None else Path(local)


def image_files(folder: Path) -> list[Path]:
    """All image files at and below `folder`, in the order of `find_images`; InputError if there is none."""
    return find_images(folder)[0]


def find_images(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """The image files at and below `folder`, and how many other entries were passed over, by reason.

    Files are in the order of ``sorted`` of their relative POSIX paths. An image is what the installed Pillow opens, by
    suffix or by content. Hidden files and the folders of systems are none. Links are followed, and each real folder is
    searched once, under its own path where that is below `folder`; what is no regular file is never opened.

    Raises
    ------
    InputError
        There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, but there is none at {folder.resolve()}.")
    files, others, no_files, passed_over = _walk(folder)
    passed_over.update(_reason(file, "no image") for file in (*others, *no_files))
    if not files:
        found = f", only {words_of(passed_over)}" if passed_over else ""
        raise InputError(f"{folder}: expected image files (.png, .jpg and what else Pillow opens), found none{found}.")
    return files, dict(sorted(passed_over.items()))


def _walk(folder: Path) -> tuple[list[Path], list[Path], list[Path], Counter[str]]:
    """Image files, other files, what is no file (links to nothing, devices), and how much else is passed over."""
    files: list[Path] = []
    others: list[Path] = []
    no_files: list[Path] = []
    passed_over: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    # Links last, so that a folder that is there twice has its own path.
    folders, links = [folder], list[Path]()
    while folders or links:
        place = folders.pop() if folders else links.pop(links.index(min(links)))
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            status = place.stat()
        except OSError:
            passed_over["unreadable folder"] += 1
            continue
        if (status.st_dev, status.st_ino) in seen:
            passed_over["link to a folder that is there already"] += 1
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            path = place / entry.name
            if is_hidden(entry.name):
                passed_over["hidden"] += 1
            elif _is_directory(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif path.exists() and not path.is_file():
                no_files.append(path)
            elif path.suffix not in DATA_FILES and is_image(path):
                files.append(path)
            elif path.exists():
                others.append(path)
            else:
                no_files.append(path)
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix()), others, no_files, passed_over


def words_of(passed_over: Mapping[str, int]) -> str:
    """Reasons and their numbers on one line.

    Examples
    --------
    >>> words_of({"hidden": 2, "no image (.txt)": 1})
    '2 hidden, 1 no image (.txt)'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in passed_over.items())


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def class_folders(folder: Path, files: Sequence[Path]) -> tuple[str, ...] | None:
    """The class of each file, which is the first folder below `folder` on its way; None if one lies in `folder`."""
    parts = [file.relative_to(folder).parts for file in files]
    return None if any(len(of_file) == 1 for of_file in parts) else tuple(of_file[0] for of_file in parts)
