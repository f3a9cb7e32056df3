"""CIFAR-10 as torchvision knows it, with its checksums verified."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.published import read_verified

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
    *batches, last = read_verified(
        title,
        root,
        folder,
        {**train, **test, **meta},
        # Unpickling runs whatever a file says; these are the files as published, to the byte. Python 2 wrote them, to
        # which text was bytes.
        lambda content: pickle.loads(content, encoding="bytes"),
        download=download,
        fetch=lambda: fetch(str(root)),
    )

    def split(batches: Sequence[Mapping[bytes, Any]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images = np.empty((sum(len(batch[b"data"]) for batch in batches), 32, 32, 3), np.uint8)
        start = 0
        for batch in batches:
            planes = batch[b"data"].reshape(-1, 3, 32, 32)
            for channel in range(3):  # one after the other: many times as fast as all at once
                images[start : start + len(planes), ..., channel] = planes[:, channel]
            start += len(planes)
        return images, np.concatenate([np.array(batch[labels.encode()], np.int64) for batch in batches])

    class_names = tuple(name.decode() for name in last[names.encode()])
    return ImageArrays(*split(batches[: len(train)]), *split(batches[len(train) :]), class_names)
