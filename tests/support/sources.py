"""Data sets of a user's own, and small ones with the layout of published ones."""

import gzip
import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from class_sensitivity.data.sources import cifar100, fashion_mnist
from support.pictures import write_pictures

#: `data/sources/mine.py`, as a user would write it; it has a setting of its own.
SOURCE = """
from pathlib import Path

import numpy as np

from class_sensitivity.data.arrays import ImageArrays


def load(directory=None, download=False, shift=0):
    stored = np.load(Path(directory) / "images.npy") + np.uint8(shift)
    labels = np.arange(len(stored)) % 2
    return ImageArrays(stored[8:], labels[8:], stored[:8], labels[:8], ("even", "odd"))
"""

#: `conf/data/mine.yaml`.
YAML = """
name: mine
dir: null
download: false
flip: false
crop_padding: 0
shift: 0
"""


def write_source(folder: Path) -> Path:
    """Writes the source file and `conf/data/mine.yaml` below a folder; returns the folder of the source."""
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "data" / "mine.yaml").write_text(YAML)
    (folder / "sources").mkdir()
    (folder / "sources" / "mine.py").write_text(SOURCE)
    return folder / "sources"


def write_images(folder: Path, seed: int = 0) -> Path:
    """Writes 40 images of 8 x 8 into a folder, the same for the same seed; returns the folder."""
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(seed).integers(0, 200, (40, 8, 8, 1), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    return folder


# Arrays


def stored_arrays(**replaced: Any) -> dict[str, Any]:
    """What an `.npz` file holds: 40 training and 20 test images of 12 x 10 x 3 in two classes, the first one darker.

    Args:
        replaced: Key -> another value, or None to leave it out.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = (rng.integers(0, 100, (60, 12, 10, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    arrays = {
        "train_images": images[:40],
        "train_labels": labels[:40],
        "test_images": images[40:],
        "test_labels": labels[40:],
        "class_names": np.array(["ant", "bee"]),
    }
    return {key: value for key, value in (arrays | replaced).items() if value is not None}


def write_npz(path: Path, **replaced: Any) -> Path:
    """Writes such a file; returns its path."""
    with path.open("wb") as stream:
        np.savez(stream, **stored_arrays(**replaced))
    return path


#: A module as a user would write it; its arrays are those of `stored_arrays`.
MODULE = """
from support.sources import stored_arrays

from class_sensitivity.data.arrays import ImageArrays


def load(directory, download, shift=0):
    arrays = stored_arrays()
    arrays["train_images"] = arrays["train_images"] + shift
    return ImageArrays(**arrays)
"""


# Published data sets


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text as Python 2 did, with which CIFAR was published: as bytes."""

    def _save_text(self, text: str | bytes) -> None:
        content = text.encode() if isinstance(text, str) else text
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)

    dispatch = pickle._Pickler.dispatch | {str: _save_text, bytes: _save_text}  # type: ignore[attr-defined]


def write_cifar100(root: Path, patch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Writes 200 training and 100 test images with the layout of CIFAR-100, whose checksums are taken to be right.

    Returns:
        What was written: `train`, `test` and `meta`.
    """
    from torchvision.datasets import CIFAR100

    rng = np.random.default_rng(0)
    written: dict[str, dict[str, Any]] = {
        "meta": {
            "fine_label_names": [f"fine {number}" for number in range(100)],
            "coarse_label_names": [f"coarse {number}" for number in range(20)],
        }
    }
    for name, size in (("train", 200), ("test", 100)):
        fine = rng.permutation(np.arange(size) % 100)
        written[name] = {
            "data": rng.integers(0, 256, (size, 3072)).astype(np.uint8),
            "fine_labels": fine.tolist(),
            "coarse_labels": (fine // 5).tolist(),
        }
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, content in written.items():
        with (folder / name).open("wb") as stream:
            _Python2Pickler(stream, protocol=2).dump(content)
    sums = tuple({name: _md5(folder / name)} for name in ("train", "test", "meta"))
    patch.setattr(cifar100, "CHECKSUMS", sums)
    patch.setattr(CIFAR100, "train_list", [["train", _md5(folder / "train")]])
    patch.setattr(CIFAR100, "test_list", [["test", _md5(folder / "test")]])
    patch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": _md5(folder / "meta")})
    return written


def write_fashion_mnist(root: Path, patch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Writes 40 training and 20 test images with the layout of Fashion-MNIST, whose checksums are taken to be right.

    Returns:
        File -> what was written.
    """
    rng = np.random.default_rng(0)
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    written = {}
    for name in fashion_mnist.CHECKSUMS:
        size = 40 if name.startswith("train") else 20
        array = rng.permutation(np.arange(size) % 10) if "labels" in name else rng.integers(0, 256, (size, 28, 28))
        written[name] = array.astype(np.uint8)
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + written[name].tobytes()))
    patch.setattr(fashion_mnist, "CHECKSUMS", {name: _md5(folder / name) for name in written})
    return written


def what_it_needs(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Sequence[str]:
    """Settings with which a data set of `conf/data/` can be trained on in a moment; makes what it reads in a folder.

    Args:
        name: Of the data set; not `cifar10`, which is real or absent.
        folder: Where its files go.
        patch: Takes the checksums of small files to be right, and lets a module be found.
    """
    if name == "image_folder":
        return [f"data.dir={write_pictures(folder / 'pictures')}", f"data.cache_dir={folder / 'cache'}"]
    if name == "npz":
        return [f"data.file={write_npz(folder / 'arrays.npz')}"]
    if name == "module":
        (folder / "pets_of_a_test.py").write_text(MODULE)
        patch.syspath_prepend(folder)
        return ["data.module=pets_of_a_test"]
    if name == "cifar100":
        write_cifar100(folder, patch)
    if name == "fashion_mnist":
        write_fashion_mnist(folder, patch)
    return [f"data.dir={folder}"] if name in ("cifar100", "fashion_mnist") else []
