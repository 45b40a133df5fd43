"""Datasets: where the real images of a loop come from, and the one reader of image files and array files.

`base.py` opens the room with the contract and the split; `digits.py` and `files.py` have the datasets. `reading.py`
looks at, decodes and hashes images for all of the package, `listing.py` finds them in folders and in what
`tar_files.py` and `image_tables.py` open; `tables.py` reads parquet and Arrow.
"""

from entropick.datasets.array_files import read_array_file
from entropick.datasets.base import Dataset, RealData, split
from entropick.datasets.digits import Digits
from entropick.datasets.files import ArrayFile, ImageFolder
from entropick.datasets.listing import ImageSet, image_files, open_images
from entropick.datasets.reading import read_images

__all__ = [
    "ArrayFile",
    "Dataset",
    "Digits",
    "ImageFolder",
    "ImageSet",
    "RealData",
    "image_files",
    "open_images",
    "read_array_file",
    "read_images",
    "split",
]
