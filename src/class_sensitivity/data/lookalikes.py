"""How much alike classes look, from the images alone, before anything is trained on them."""

import numpy as np
from numpy.typing import NDArray

#: Pixels on a side to which images are averaged: what is left is where something light, dark or coloured lies.
_SIDE = 8

#: Images that are averaged at a time.
_AT_A_TIME = 4096


def image_separation(images: NDArray[np.uint8], labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Distances between the means of classes, in standard deviations within classes.

    Of pixels averaged to 8 x 8: the Mahalanobis distance under the covariance that all classes have in common, as in
    R. A. Fisher's linear discriminant (Annals of Eugenics 7, 1936), with the shrinkage of O. Ledoit and M. Wolf (Journal
    of Multivariate Analysis 88, 2004) for small data sets. Classes that lie close together look alike.

    Args:
        images: (N, H, W, C) uint8.
        labels: (N,) in [0, K).
        num_classes: K.

    Returns:
        (K, K), symmetric, 0 on the diagonal; NaN for a class without images.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> light = np.array([100, 110, 200])[labels]
        >>> images = rng.normal(light, 10, (8, 8, 1, 150)).transpose(3, 0, 1, 2).round().astype(np.uint8)
        >>> image_separation(images, labels, 3).round().astype(int)
        array([[ 0,  8, 81],
               [ 8,  0, 73],
               [81, 73,  0]])
    """
    from scipy.spatial.distance import pdist, squareform
    from sklearn.covariance import ledoit_wolf

    there = np.unique(labels)
    distances = np.full((num_classes, num_classes), np.nan)
    if len(there) < 2:
        return distances
    averaged = np.concatenate([_averaged(images[at : at + _AT_A_TIME]) for at in range(0, len(images), _AT_A_TIME)])
    means = np.zeros((num_classes, averaged.shape[1]), np.float32)
    for label in there:
        means[label] = averaged[labels == label].mean(axis=0)
    averaged -= means[labels]
    covariance, _ = ledoit_wolf(averaged, assume_centered=True)
    variances, directions = np.linalg.eigh(covariance.astype(np.float64))
    varies = variances > variances[-1] * 1e-10  # a direction in which no class varies has no scale
    whitened = means[there] @ directions[:, varies] / np.sqrt(variances[varies])
    distances[np.ix_(there, there)] = squareform(pdist(whitened))
    return distances


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, H, W, C) to (n, 64 C): means over 8 x 8 areas of nearly equal size."""
    values = images.astype(np.float32)
    for axis in (1, 2):
        edges = np.linspace(0, values.shape[axis], min(_SIDE, values.shape[axis]) + 1).round().astype(int)
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        sizes = np.diff(edges).reshape([-1 if d == axis else 1 for d in range(4)])
        values = sums / sizes
    return values.reshape(len(values), -1)
