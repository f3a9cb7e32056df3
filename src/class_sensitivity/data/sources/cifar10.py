"""CIFAR-10 through torchvision, with its checksums verified."""

from pathlib import Path

import numpy as np

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import DataError


def load(directory: str | None = None, download: bool = True) -> ImageArrays:
    """50,000 training and 10,000 test images of 32 x 32 x 3.

    Args:
        directory: The folder that holds, or will hold, `cifar-10-batches-py`.
        download: Whether it may be fetched when that folder is absent.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is damaged.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    root = Path(directory or "data")
    folder = root / CIFAR10.base_folder
    try:
        if not folder.is_dir():
            _fetch(root, download)
        meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
        for name, checksum in [*CIFAR10.train_list, *CIFAR10.test_list, meta]:
            path = folder / name
            if not path.is_file():
                raise DataError(f"{path} is missing; remove {folder} to have CIFAR-10 fetched again, or set data.dir.")
            if not check_integrity(str(path), checksum):
                raise DataError(
                    f"{path} is damaged (its MD5 sum is not {checksum}); "
                    f"remove {folder} to have CIFAR-10 fetched again, or set data.dir."
                )
        # Nothing was unpickled before every checksum was right.
        train, test = CIFAR10(str(root), train=True), CIFAR10(str(root), train=False)
    except OSError as error:
        raise DataError(f"CIFAR-10 in {root} cannot be read ({error}); set data.dir to a readable folder.") from None
    return ImageArrays(
        train_images=np.ascontiguousarray(train.data),
        train_labels=np.array(train.targets, np.int64),
        test_images=np.ascontiguousarray(test.data),
        test_labels=np.array(test.targets, np.int64),
        class_names=tuple(train.classes),
    )


def _fetch(root: Path, download: bool) -> None:
    from torchvision.datasets import CIFAR10

    offline = (
        "set data.dir (or CLASS_SENSITIVITY_DATA) to a folder that holds cifar-10-batches-py, "
        "or use data=digits, which works offline"
    )
    if not download:
        raise DataError(f"CIFAR-10 is not in {root} and data.download is false; {offline}.")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"CIFAR-10 cannot be stored in {root} ({error.strerror})"
        raise DataError(f"{why}; set data.dir to a writable folder, or use data=digits.") from None
    try:
        CIFAR10(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"CIFAR-10 is not in {root} and cannot be downloaded ({error}); {offline}.") from None


def digest(directory: str | None = None) -> str:
    """What tells this data set from others: the checksum of the archive as published.

    `load` refuses every file whose checksum differs, so that two folders that load hold the same data set.
    """
    return "c58f30108f718f92721af3b95e74349a"
