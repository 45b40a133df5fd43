"""Images in tar files, such as the shards of WebDataset: read where they lie, never unpacked."""

from __future__ import annotations

import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from entropick.datasets.reading import PackedImage, image_suffixes, is_hidden
from entropick.datasets.tables import label_of
from entropick.errors import InputError, shown

# More than that is no picture, and no description of one.
_IMAGE_BYTES, _TEXT_BYTES = 1 << 30, 1 << 20
# What stands behind the end is read so many bytes at once.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TarImage(PackedImage):
    """An image in a tar file: its name there, and where its bytes lie."""

    container: Path
    name: str
    start: int
    size: int

    @property
    def place(self) -> str:
        """What stands after ``#``: the name."""
        return self.name

    def read_bytes(self) -> bytes:
        """The bytes of the image; InputError if the file has become shorter."""
        return _bytes_at(self.container, self.name, self.start, self.size)


@dataclass(frozen=True)
class TarContents:
    """The images of a tar file, the class of each as far as the file tells it, what was passed over, and whether the
    file has the mark of its end; without it, it may have been cut between two members.
    """

    images: tuple[TarImage, ...]
    classes: tuple[str | None, ...]
    passed_over: Mapping[str, int]
    has_end: bool = True


def read_tar(path: Path) -> TarContents:
    """Look through a tar file, of which only heads and descriptions are read.

    A sample of WebDataset is all members that are called alike up to the first dot of their file name. Its class is
    in ``.cls``, or in ``.json`` under ``label`` or the like. Links, devices, names that lead out of the folder, and
    what is larger than any picture are passed over.

    Raises
    ------
    InputError
        If it is compressed, torn, or no tar file, if a head is damaged, anything stands behind the end, a member claims
        more bytes than there are, or two have one name.
    """
    n_bytes, passed_over = path.stat().st_size, Counter[str]()
    members: dict[str, TarImage] = {}
    try:
        with open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                # Of a tar file of millions of members none is kept here.
                archive.members = []  # type: ignore[attr-defined]
                reason, name = _no_image(member), str(PurePosixPath(member.name))
                if member.isdir():
                    continue
                if member.isreg() and not member.issparse() and member.offset_data + member.size > n_bytes:
                    raise InputError(
                        f"{path}: expected a whole tar file, but {shown(name)} has {member.size:,} bytes by its head, "
                        f"where {max(0, n_bytes - member.offset_data):,} are left. Get the file again."
                    )
                if reason is not None:
                    passed_over[reason] += 1
                elif name in members:
                    raise InputError(f"{path}: expected members of different names, got {shown(name)} more than once.")
                else:
                    members[name] = TarImage(path, name, member.offset_data, member.size)
            has_end = _has_end(path, stream, int(archive.offset))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: expected a tar file that is not compressed, but it cannot be read ({error}). Unpack .gz and the "
            "like first, for instance by gunzip."
        ) from error
    return replace(_sorted_out(members, passed_over), has_end=has_end)


def _has_end(path: Path, stream: BinaryIO, start: int) -> bool:
    """Whether blocks of zeros, and nothing else, stand where Python has left off reading members.

    It leaves off at the first head that is damaged as at the end, and says nothing.
    """
    stream.seek(start)
    first = stream.read(tarfile.BLOCKSIZE)
    if any(first) or 0 < len(first) < tarfile.BLOCKSIZE:
        raise InputError(
            f"{path}: expected a whole tar file, but the head of a member at byte {start:,} is damaged, and what "
            "follows would be lost. Get the file again."
        )
    at = start + len(first)
    while block := stream.read(_BLOCK_BYTES):
        if rest := block.lstrip(b"\0"):
            raise InputError(
                f"{path}: expected nothing behind the end of the tar file at byte {start:,}, but there are bytes from "
                f"{at + len(block) - len(rest):,} on. Of files that were put one after the other, pack the members "
                "into one (tar --ignore-zeros unpacks them all)."
            )
        at += len(block)
    return bool(first)


def _no_image(member: tarfile.TarInfo) -> str | None:
    """Why a member is neither a picture nor a description of one, by its head."""
    parts = PurePosixPath(member.name).parts
    if not member.isreg() or member.issparse():
        return "link, device or sparse member"
    if member.name.startswith("/") or ".." in parts or not parts:
        return "name that leads out of the archive"
    if any(map(is_hidden, parts)):
        return "hidden"
    if member.size > _IMAGE_BYTES:
        return "member of more than 1 GiB"
    return None


def _sorted_out(members: Mapping[str, TarImage], passed_over: Counter[str]) -> TarContents:
    samples: dict[str, list[TarImage]] = defaultdict(list)
    for member in members.values():
        samples[_key(member.name)].append(member)
    images, classes = [], []
    for key, of_sample in samples.items():
        pictures = [of for of in of_sample if of.suffix.lower() in image_suffixes()]
        # Masks and the like, KEY.seg.png, stand beside a picture KEY.jpg.
        plain = [of for of in pictures if of.name.count(".") - key.count(".") == 1] or pictures
        described, label = [], None
        for member in of_sample:
            found = _label(member) if member.suffix in (".cls", ".json") else None
            if found is not None:
                label = found if label is None or member.suffix == ".cls" else label
                described.append(member)
            elif member not in pictures:
                passed_over[f"no image ({member.suffix.lower() or 'without a suffix'})"] += 1
        if plain:
            passed_over["further image of a sample"] += len(pictures) - len(plain)
        else:
            passed_over["description of no image"] += len(described)
        images += plain
        classes += [label] * len(plain)
    return TarContents(tuple(images), tuple(classes), {why: n for why, n in sorted(passed_over.items()) if n})


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _label(member: TarImage) -> str | None:
    """The class that a description tells; None if it tells none."""
    if member.size > _TEXT_BYTES:
        return None
    text = member.read_bytes().decode("utf-8", "replace").strip()
    if member.suffix == ".cls":
        return text or None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return label_of(found) if isinstance(found, dict) else None


def _bytes_at(path: Path, name: str, start: int, size: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(start)
        found = stream.read(size)
    if len(found) < size:
        raise InputError(f"expected {size:,} bytes of {shown(name)} in {path}, got {len(found):,}")
    return found
