"""scikit-learn's bundled handwritten digits: offline, small, real."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from class_sensitivity.data.arrays import ImageArrays


def load(directory: str | None = None, download: bool = False) -> ImageArrays:
    """1,198 training and 599 test images of 8 x 8 x 1; the split is fixed and stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # The source counts ink from 0 to 16.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=1 / 3, stratify=labels, random_state=0)
    return ImageArrays(
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple(str(digit) for digit in digits.target_names),
    )


def digest(directory: str | None = None) -> str:
    """What tells this data set from others: the bundled file, found without importing scikit-learn for a second."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    bundled = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return hashlib.sha256(bundled.read_bytes()).hexdigest()[:16]


def class_names(directory: str | None = None) -> tuple[str, ...]:
    """The names of the classes: `0` to `9`."""
    return tuple("0123456789")
