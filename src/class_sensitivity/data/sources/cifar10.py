"""CIFAR-10 as torchvision knows it, with its checksums verified."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.published import verified_files

#: The published files and their MD5 sums: of training images, of test images, of names.
CHECKSUMS = (
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    {"test_batch": "40351d587109b95175f43aff81a1287e"},
    {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
)

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load(directory: str | None = None, download: bool = True) -> ImageArrays:
    """50,000 training and 10,000 test images of 32 x 32 x 3.

    Args:
        directory: The folder that holds, or will hold, `cifar-10-batches-py`.
        download: Whether it may be fetched when that folder is absent.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    root = Path(directory or "data")
    return read_cifar(
        "CIFAR-10", root, "cifar-10-batches-py", CHECKSUMS, download, _fetch, labels="labels", names="label_names"
    )


def _fetch(root: str) -> None:
    from torchvision.datasets import CIFAR10  # late: it brings PyTorch, which reading does not need

    CIFAR10(root, download=True)


def digest(directory: str | None = None) -> str:
    """What tells this data set from others: the checksum of the archive as published.

    `load` refuses every file whose checksum differs, so that two folders that load hold the same data set.
    """
    return "c58f30108f718f92721af3b95e74349a"


def class_names(directory: str | None = None) -> tuple[str, ...]:
    """The names of the classes, as published."""
    return CLASS_NAMES


def read_cifar(
    title: str,
    root: Path,
    folder: str,
    checksums: tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]],
    download: bool,
    fetch: Callable[[str], None],
    *,
    labels: str,
    names: str,
) -> ImageArrays:
    """Reads CIFAR-10 or CIFAR-100.

    Args:
        title: What the data set is called.
        root: `data.dir`.
        folder: Of its files, below the root.
        checksums: File -> MD5 sum, of the training images, of the test images and of the names.
        download: Whether it may be fetched when it is absent.
        fetch: Fetches it into the root.
        labels: The key of the labels in a file of images.
        names: The key of their names in the file of names.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    train, test, meta = checksums
    files = verified_files(
        title, root, folder, {**train, **test, **meta}, download=download, fetch=lambda: fetch(str(root))
    )

    # Unpickling runs whatever a file says; these are the files as published, to the byte.
    def content(name: str) -> dict[str, Any]:
        entries: dict[str, Any] = pickle.loads(files[name].read_bytes(), encoding="latin1")
        return entries

    def split(batches: Mapping[str, str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images, classes = [], []
        for name in batches:
            batch = content(name)
            images.append(np.ascontiguousarray(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)))
            classes.append(np.array(batch[labels], np.int64))
        return np.concatenate(images), np.concatenate(classes)

    return ImageArrays(*split(train), *split(test), content(*meta)[names])
