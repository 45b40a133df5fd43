"""Datasets: where the real images of a loop come from, and the one reader of image files and array files.

`base.py` opens the room with the contract and the split; `digits.py` and `files.py` have the datasets; `reading.py`
lists, looks at, decodes and hashes files for all of the package.
"""

from entropick.datasets.base import Dataset, RealData, split
from entropick.datasets.digits import Digits
from entropick.datasets.files import ArrayFile, ImageFolder
from entropick.datasets.reading import image_files, read_array_file, read_images

__all__ = [
    "ArrayFile",
    "Dataset",
    "Digits",
    "ImageFolder",
    "RealData",
    "image_files",
    "read_array_file",
    "read_images",
    "split",
]
