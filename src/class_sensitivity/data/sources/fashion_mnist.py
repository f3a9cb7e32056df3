"""Fashion-MNIST as torchvision knows it, with its checksums verified."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.published import read_verified

#: The published files and their MD5 sums.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def load(directory: str | None = None, download: bool = True) -> ImageArrays:
    """60,000 training and 10,000 test images of 28 x 28 x 1, in 10 classes.

    Args:
        directory: The folder that holds, or will hold, `FashionMNIST/raw` with the four published `.gz` files.
        download: Whether they may be fetched when that folder is absent.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    root = Path(directory or "data")
    train_images, train_labels, test_images, test_labels = read_verified(
        "Fashion-MNIST",
        root,
        "FashionMNIST/raw",
        CHECKSUMS,
        _values,
        download=download,
        fetch=lambda: _fetch(str(root)),
    )
    return ImageArrays(
        train_images=train_images[..., np.newaxis],
        train_labels=train_labels.astype(np.int64),
        test_images=test_images[..., np.newaxis],
        test_labels=test_labels.astype(np.int64),
        class_names=CLASS_NAMES,
    )


def _fetch(root: str) -> None:
    from torchvision.datasets import FashionMNIST

    FashionMNIST(root, download=True)


def digest(directory: str | None = None) -> str:
    """What tells this data set from others: a digest of the published checksums.

    `load` refuses every file whose checksum differs.
    """
    return hashlib.sha256("".join(CHECKSUMS.values()).encode()).hexdigest()[:16]


def class_names(directory: str | None = None) -> tuple[str, ...]:
    """The names of the classes, as torchvision has them."""
    return CLASS_NAMES


def _values(content: bytes) -> NDArray[np.uint8]:
    """The array in a file in the IDX format of MNIST: two zeros, type, rank, the shape in 32 bits each, the values."""
    raw = gzip.decompress(content)
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
