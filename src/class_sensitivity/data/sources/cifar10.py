"""CIFAR-10 as torchvision knows it, with its checksums verified."""

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.published import verified_files

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load(directory: str | None = None, download: bool = True) -> ImageArrays:
    """50,000 training and 10,000 test images of 32 x 32 x 3.

    Args:
        directory: The folder that holds, or will hold, `cifar-10-batches-py`.
        download: Whether it may be fetched when that folder is absent.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    from torchvision.datasets import CIFAR10

    return read_cifar(CIFAR10, "CIFAR-10", directory, download, labels="labels", names="label_names")


def digest(directory: str | None = None) -> str:
    """What tells this data set from others: the checksum of the archive as published.

    `load` refuses every file whose checksum differs, so that two folders that load hold the same data set.
    """
    return "c58f30108f718f92721af3b95e74349a"


def class_names(directory: str | None = None) -> tuple[str, ...]:
    """The names of the classes, as published."""
    return CLASS_NAMES


def read_cifar(
    published: "type[CIFAR10]", title: str, directory: str | None, download: bool, *, labels: str, names: str
) -> ImageArrays:
    """Reads CIFAR-10 or CIFAR-100.

    Args:
        published: torchvision's class, which knows files and checksums.
        title: What the data set is called.
        directory: `data.dir`.
        download: Whether it may be fetched when it is absent.
        labels: The key of the labels in a file of images.
        names: The key of their names in the file of names.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    root = Path(directory or "data")
    meta = str(published.meta["filename"])
    checksums = dict(map(tuple, [*published.train_list, *published.test_list, (meta, published.meta["md5"])]))
    files = verified_files(
        title,
        root,
        published.base_folder,
        checksums,
        download=download,
        fetch=lambda: published(str(root), download=True),
    )

    # Unpickling runs whatever a file says; these are the files as published, to the byte.
    def content(name: str) -> dict[str, Any]:
        entries: dict[str, Any] = pickle.loads(files[name].read_bytes(), encoding="latin1")
        return entries

    def split(batches: Iterable[Sequence[str]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images, classes = [], []
        for name, _ in batches:
            batch = content(name)
            images.append(np.ascontiguousarray(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)))
            classes.append(np.array(batch[labels], np.int64))
        return np.concatenate(images), np.concatenate(classes)

    return ImageArrays(*split(published.train_list), *split(published.test_list), content(meta)[names])
