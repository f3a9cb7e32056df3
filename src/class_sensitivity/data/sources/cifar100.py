"""CIFAR-100 as torchvision knows it, with its checksums verified; 100 fine or 20 coarse classes."""

from pathlib import Path

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.sources.cifar10 import read_cifar
from class_sensitivity.errors import require

#: The published files and their MD5 sums: of training images, of test images, of names.
CHECKSUMS = (
    {"train": "16019d7e3df5f24257cddd939b257f8d"},
    {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    {"meta": "7973b15100ade9c7d40fb424638fde48"},
)

LABELS = ("fine", "coarse")


def load(directory: str | None = None, download: bool = True, labels: str = "fine") -> ImageArrays:
    """50,000 training and 10,000 test images of 32 x 32 x 3.

    Args:
        directory: The folder that holds, or will hold, `cifar-100-python`.
        download: Whether it may be fetched when that folder is absent.
        labels: `fine` for the 100 classes, `coarse` for the 20 that each comprise five of them.

    Raises:
        ConfigError: There are no such labels.
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    _check(labels)
    root, keys = Path(directory or "data"), {"labels": f"{labels}_labels", "names": f"{labels}_label_names"}
    return read_cifar("CIFAR-100", root, "cifar-100-python", CHECKSUMS, download, _fetch, **keys)


def _fetch(root: str) -> None:
    from torchvision.datasets import CIFAR100

    CIFAR100(root, download=True)


def digest(directory: str | None = None, labels: str = "fine") -> str:
    """What tells this data set from others: the checksum of the archive as published, and the labels.

    `load` refuses every file whose checksum differs.

    Raises:
        ConfigError: There are no such labels.
    """
    _check(labels)
    return f"eb9058c3a382ffc7106e4002c42a8d85-{labels}"


def _check(labels: str) -> None:
    require(labels in LABELS, "data.labels", labels, f"one of {', '.join(LABELS)}")
