"""A data set held in memory."""

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How far a pixel from 0 to 1 may be from a multiple of 1/255: half precision is as exact as this.
_ROUNDING = 5e-4


class ArraysError(ValueError):
    """Arrays do not make a data set; the message says which, why and what to do."""


@dataclass(frozen=True, eq=False)  # one is equal to itself alone: comparing pixels is nobody's wish
class ImageArrays:
    """Images and labels of a data set; shared between runs, so nothing writes into them.

    A class may have no test images; its recall is then unknown. Arrays that PyTorch could not take as they are, such as
    read-only or reversed ones, are copied. Pixels and labels of another type are converted where nothing is lost: whole
    numbers of any type, and pixels that are multiples of 1/255 from 0 to 1.

    Attributes:
        train_images: (N, H, W, C) uint8.
        train_labels: (N,) int64 in [0, K), each class at least once.
        test_images: (n, H, W, C) uint8.
        test_labels: (n,) int64 in [0, K).
        class_names: The K names, 2 at least and all different; a list or an array of text becomes a tuple, without
            blanks around a name and in Unicode's form NFC.

    Raises:
        ArraysError: Shapes, types, labels or names do not fit together.

    Examples:
        >>> images = np.zeros((4, 8, 8, 1), np.uint8)
        >>> arrays = ImageArrays(images, np.array([0, 1, 1, 0]), images[:2], np.array([0, 1]), ["ant", "bee"])
        >>> arrays.num_classes, arrays.class_names
        (2, ('ant', 'bee'))
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("train_images", "test_images"):
            object.__setattr__(self, name, _without_loss(getattr(self, name), np.dtype(np.uint8)))
            _check_images(getattr(self, name), name)
        for name in ("train_labels", "test_labels"):
            object.__setattr__(self, name, _without_loss(getattr(self, name), np.dtype(np.int64)))
        object.__setattr__(self, "class_names", _checked_names(self.class_names))
        _check_labels(self.train_labels, "train_labels", len(self.train_images), self.num_classes)
        _check_labels(self.test_labels, "test_labels", len(self.test_images), self.num_classes)
        if absent := sorted(set(range(self.num_classes)) - set(self.train_labels.tolist())):
            raise ArraysError(
                f"train_labels hold no example of class {self.class_names[absent[0]]}: add some, or leave the class out"
            )
        train, test = self.train_images.shape[1:], self.test_images.shape[1:]
        if train != test:
            raise ArraysError(
                f"train_images are of {_by(train)} and test_images of {_by(test)}: bring them to one size"
            )
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            object.__setattr__(self, name, np.require(getattr(self, name), requirements=["C", "W"]))

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that follow from every image, label and class name."""
        total = hashlib.sha256(repr(self.class_names).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            total.update(repr((array.dtype.str, array.shape)).encode())
            total.update(array.data)
        return total.hexdigest()[:16]


def _without_loss(values: Any, wanted: np.dtype[Any]) -> Any:
    """Numbers as another type if that changes none but the scale of pixels from 0 to 1; else as they are."""
    if not isinstance(values, np.ndarray) or values.dtype == wanted or values.size == 0:
        return values
    if values.dtype.kind not in "iuf" and not (values.dtype == bool and wanted != np.uint8):
        return values
    low, high = values.min(), values.max()
    if not np.iinfo(wanted).min <= low <= high <= np.iinfo(wanted).max:  # nor is it NaN
        return values
    whole = values.astype(wanted)
    if np.array_equal(whole, values):
        return whole
    if wanted == np.uint8 and high <= 1:
        whole = np.rint(values * 255).astype(wanted)
        if np.allclose(whole / 255, values, rtol=0, atol=_ROUNDING):
            return whole
    return values


def _checked_names(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) and not (isinstance(given, np.ndarray) and given.ndim == 1):
        raise ArraysError(f"class_names must be a list of text, got {type(given).__name__}")
    if wrong := [name for name in given if not isinstance(name, str)]:
        raise ArraysError(f"class_names must be text, got {wrong[0]!r}: put quotes around it")
    # One form for what reads alike: é may be one letter or two. NumPy has text of its own.
    names = tuple(unicodedata.normalize("NFC", str(name)).strip() for name in given)
    if len(names) < 2:
        raise ArraysError(f"a data set must have 2 classes at least, got {len(names)}")
    if not all(names):
        raise ArraysError("class_names holds a name that is empty: name every class")
    if wrong := [name for name in names if any(unicodedata.category(letter) == "Cc" for letter in name)]:
        raise ArraysError(f"class_names holds {wrong[0]!r}, which has a control character: rename the class")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ArraysError(f"class_names holds {twice[0]!r} {names.count(twice[0])} times: every class has its own name")
    return names


def _check_images(images: object, name: str) -> None:
    if not isinstance(images, np.ndarray):
        raise ArraysError(f"{name} must be a NumPy array, got {type(images).__name__}: use numpy.asarray({name})")
    if images.dtype != np.uint8:
        raise ArraysError(f"{name} must be uint8 from 0 to 255, {_instead_of_uint8(images, name)}")
    if images.ndim == 3:
        raise ArraysError(f"{name} must be (N, H, W, C), got {images.shape}: use {name}[..., None]")
    if images.ndim != 4:
        raise ArraysError(f"{name} must be (N, H, W, C), got {images.shape}: use {name}.reshape(-1, H, W, C)")
    _, height, width, channels = images.shape
    if height <= 4 < channels:
        raise ArraysError(
            f"{name} must be (N, H, W, C), and {images.shape} looks like (N, C, H, W): use "
            f"numpy.moveaxis({name}, 1, -1)"
        )
    if len(images) == 0:
        raise ArraysError(f"{name} holds no images")
    if 0 in images.shape:
        raise ArraysError(f"{name} holds images of {_by((height, width, channels))}, which have no pixels")


def _instead_of_uint8(images: NDArray[np.generic], name: str) -> str:
    """What images are instead, and how they become uint8."""
    if images.dtype == bool:
        return f"got bool: use {name}.astype('uint8') * 255"
    if images.dtype.kind not in "iuf" or images.size == 0:
        return f"got {images.dtype}"
    low, high = float(images.min()), float(images.max())
    got = f"got {images.dtype} from {low:.4g} to {high:.4g}"
    if images.dtype.kind == "f" and 0 <= low <= high <= 1:
        return f"{got}: use ({name} * 255).round().astype('uint8')"
    if 0 <= low <= high <= 255:
        return f"{got}: use {name}.round().astype('uint8')"
    return f"{got}: undo what was done to the pixels (such as subtracting their mean), then round to uint8"


def _check_labels(labels: object, name: str, number: int, num_classes: int) -> None:
    if not isinstance(labels, np.ndarray):
        raise ArraysError(f"{name} must be a NumPy array, got {type(labels).__name__}: use numpy.asarray({name})")
    if labels.ndim == 2 and len(labels) == number:
        to_do = f"{name}.argmax(axis=1)" if labels.shape[1] > 1 else f"{name}.ravel()"
        raise ArraysError(f"{name} must hold one number for each image, got {labels.shape}: use {to_do}")
    if labels.shape != (number,):
        raise ArraysError(f"{name} must hold one number for each of {number:,} images, got {labels.shape}")
    if labels.dtype.kind not in "biuf":
        raise ArraysError(
            f"{name} must hold numbers of classes, got {labels.dtype}: use numpy.unique(..., return_inverse=True), "
            "which gives the names and the numbers"
        )
    if labels.dtype != np.int64:
        raise ArraysError(f"{name} must be int64, got {labels.dtype}: use {name}.astype('int64')")
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ArraysError(
            f"{name} must hold numbers from 0 to {num_classes - 1}, the positions in class_names, and holds {wrong}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
