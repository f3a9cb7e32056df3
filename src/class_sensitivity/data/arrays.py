"""A data set held in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)  # one is equal to itself alone: comparing pixels is nobody's wish
class ImageArrays:
    """Images and labels of a data set; shared between runs, so nothing writes into them.

    Attributes:
        train_images: (N, H, W, C) uint8.
        train_labels: (N,) int64 in [0, K).
        test_images: (n, H, W, C) uint8.
        test_labels: (n,) int64 in [0, K).
        class_names: The K names.

    Raises:
        ValueError: Shapes, dtypes or labels do not fit together.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError(f"{part}_images must be uint8 (N, H, W, C), got {images.dtype} {images.shape}")
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                raise ValueError(f"{part}_labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")
            if len(labels) == 0 or labels.min() < 0 or labels.max() >= self.num_classes:
                raise ValueError(f"{part}_labels must hold classes from 0 to {self.num_classes - 1}")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError("train and test images differ in size")

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
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()[:16]
