"""How much the images of a class differ from each other, without any model."""

import numpy as np
from numpy.typing import NDArray

#: Pixel values that are looked at at a time.
_AT_A_TIME = 2**24


def class_variety(images: NDArray[np.uint8], labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """How far the images of each class lie from their mean image: root mean square distance, in grey levels a pixel.

    The simplest number for the spread the eye sees: 0 for identical images, and no model is needed that could itself be
    biased towards some classes.

    Args:
        images: (N, H, W, C) uint8.
        labels: (N,) in [0, K).
        num_classes: K.

    Returns:
        (K,); NaN for a class without images.

    Examples:
        >>> images = np.array([10, 10, 20, 40], np.uint8).reshape(4, 1, 1, 1)
        >>> class_variety(images, np.array([0, 0, 1, 1]), 3)
        array([ 0., 10., nan])
    """
    found = np.full(num_classes, np.nan)
    step = max(1, _AT_A_TIME // images[0].size) if len(images) else 1
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        sums, squares = np.zeros(images.shape[1:], np.int64), 0
        for start in range(0, len(members), step):
            values = images[members[start : start + step]]
            sums += values.sum(axis=0, dtype=np.int64)
            squares += int(np.square(values, dtype=np.uint16).sum(dtype=np.int64))
        # Whole numbers up to here, so that identical images differ by exactly 0.
        variance = squares * len(members) - int(np.square(sums).sum(dtype=object))
        found[label] = np.sqrt(variance / sums.size) / len(members)
    return found
