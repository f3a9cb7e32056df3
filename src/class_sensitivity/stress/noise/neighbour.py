"""Noise between images that look alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.stress.noise.kind import Examples, Labels, NoiseKind, noise_kind

#: Areas along each side of an image.
_SIDE = 8
#: Images that are averaged, and examples that are compared with all images, at once.
_AVERAGED, _COMPARED = 4096, 256


@noise_kind
@dataclass(frozen=True)
class Neighbour(NoiseKind):
    """Gives each touched example the class of the training image of another class that is nearest to its own.

    Near by the Euclidean distance between means over 8 x 8 areas, in whole grey levels; of images equally near the
    first in the data set. Which examples are touched does not depend on their images, so the matched control holds;
    and the label that an example gets depends on nothing but the data set: nothing is drawn. All training images are
    looked at, those too that a reduction removes. Effective rate = nominal rate.
    """

    name: str = "neighbour"

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        assert examples.images is not None, "there is nothing to compare"
        points = _averaged(examples.images)
        half_squares = np.square(points).sum(axis=1) / 2
        labels, given = examples.labels, examples.labels.copy()
        for label in np.unique(labels):
            others = np.flatnonzero(examples.train_labels != label)
            candidates, half = np.ascontiguousarray(points[others].T), half_squares[others]
            members = np.flatnonzero(labels == label)
            for start in range(0, len(members), _COMPARED):
                part = members[start : start + _COMPARED]
                # |x - y|^2 is least where x.y - |y|^2 / 2 is largest.
                nearness = points[examples.indices[part]] @ candidates
                nearness -= half
                given[part] = examples.train_labels[others[nearness.argmax(axis=1)]]
        return given


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """(N, H, W, C) to (N, 64 C): means over 8 x 8 areas, as whole numbers; fewer areas of smaller images.

    Products of whole numbers are exact, so that neither threads nor processor decide between near images. Up to
    4 channels, 64 * 4 * 255^2 < 2^24, 32 bits hold them.
    """
    height, width, channels = images.shape[1:]
    rows, columns = (np.linspace(0, size, min(_SIDE, size) + 1).astype(int) for size in (height, width))
    areas = np.outer(np.diff(rows), np.diff(columns))[..., np.newaxis]
    averaged = np.empty((len(images), *areas.shape[:2], channels), np.float32 if channels <= 4 else np.float64)
    for start in range(0, len(images), _AVERAGED):
        part = images[start : start + _AVERAGED]
        sums = np.add.reduceat(part, rows[:-1], axis=1, dtype=np.uint32)
        averaged[start : start + _AVERAGED] = np.rint(np.add.reduceat(sums, columns[:-1], axis=2) / areas)
    return averaged.reshape(len(images), -1)
