"""How much alike classes look without any model: from the images alone, and to people."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import DataError

#: Pixels on a side to which images are averaged: what is left is where something light, dark or coloured lies.
_SIDE = 8

#: Pixel values that are averaged at a time.
_AT_A_TIME = 2**24

#: A direction in which classes hardly vary counts as varying by this share of the one in which they vary most.
_LEAST_VARIANCE = 1e-8

#: So many standard deviations above chance lies what is no chance.
_SURE = 3.0


def image_separation(images: NDArray[np.uint8], labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Distances between the means of classes, in standard deviations within classes.

    Of pixels averaged to 8 x 8: the Mahalanobis distance under the covariance that all classes have in common, as in
    R. A. Fisher's linear discriminant (Annals of Eugenics 7, 1936), with the shrinkage of O. Ledoit and M. Wolf
    (Journal of Multivariate Analysis 88, 2004) for small data sets. Means of few images differ by chance; that much is
    taken off the squared distance, or small classes would seem to look like no other. Classes that lie close together
    look alike.

    Args:
        images: (N, H, W, C) uint8; a side of less than 8 pixels is left as it is.
        labels: (N,) in [0, K).
        num_classes: K.

    Returns:
        (K, K), symmetric, 0 on the diagonal, and 0 where classes differ by no more than chance; NaN for a class without
        images. A class of one image has a distance, as uncertain as that image is. Where no class varies at all,
        distances are in grey levels.

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
    from sklearn.covariance import ledoit_wolf
    from sklearn.metrics.pairwise import euclidean_distances

    there, sizes = np.unique(labels, return_counts=True)
    distances = np.full((num_classes, num_classes), np.nan)
    if len(there) < 2:
        return distances
    averaged = _averaged(images)
    means = np.zeros((num_classes, averaged.shape[1]), np.float32)
    for label in there:
        means[label] = averaged[labels == label].mean(axis=0)
    for start in range(0, len(averaged), 4096):  # a copy of all of them is not needed
        averaged[start : start + 4096] -= means[labels[start : start + 4096]]
    shrunk, _ = ledoit_wolf(averaged, assume_centered=True)
    variances, directions = np.linalg.eigh(shrunk.astype(np.float64))
    whitening = directions / np.sqrt(np.maximum(variances, variances[-1] * _LEAST_VARIANCE or 1.0))
    squared = euclidean_distances(means[there] @ whitening, squared=True)
    spread = np.square(averaged @ whitening.astype(np.float32)).sum(dtype=np.float64) / max(1, len(labels) - len(there))
    by_chance = spread * np.add.outer(1 / sizes, 1 / sizes)
    distances[np.ix_(there, there)] = np.sqrt(np.maximum(squared - by_chance, 0))
    return distances


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W, C) to (N, 64 C): means over 8 x 8 areas of equal size, which may cut through pixels."""
    height, width, channels = images.shape[1:]
    down, across = _areas(height), _areas(width)
    averaged = np.empty((len(images), channels, len(down), len(across)), np.float32)
    step = max(1, _AT_A_TIME // (height * width * channels))
    for start in range(0, len(images), step):
        values = images[start : start + step].astype(np.float32)
        rows = np.tensordot(values, down, axes=(1, 1))  # (n, W, C, 8)
        averaged[start : start + step] = np.tensordot(rows, across, axes=(1, 1))
    return averaged.reshape(len(images), -1)


def _areas(pixels: int) -> NDArray[np.float32]:
    """(8, pixels) the share of each area that each pixel is; fewer areas for fewer pixels."""
    edges = np.linspace(0, pixels, min(_SIDE, pixels) + 1)
    places = np.arange(pixels)
    upper, lower = np.minimum(edges[1:, np.newaxis], places + 1), np.maximum(edges[:-1, np.newaxis], places)
    shares = np.maximum(upper - lower, 0) / np.diff(edges)[:, np.newaxis]
    return np.asarray(shares, np.float32)


def people_confusion(path: str | Path, labels: NDArray[np.integer], num_classes: int) -> NDArray[np.float64]:
    """Which classes people choose for the test images, from a file such as CIFAR-10H's.

    J. C. Peterson and others, "Human uncertainty makes classification more robust", ICCV 2019.

    Args:
        path: A .npy file of (n, K) counts of choices, or shares, one row a test image in the order of the data set.
        labels: (n,) true classes of the test images.
        num_classes: K.

    Returns:
        (K, K), [true, chosen]: the mean over a class's images of the share of people that choose each class; every
        image weighs the same. Rows sum to 1; NaN for a class none of whose images anybody judged.

    Raises:
        DataError: The file cannot be read, or does not fit the data set.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "counts.npy"
        >>> np.save(path, [[4, 0], [3, 1], [0, 8]])
        >>> people_confusion(path, np.array([0, 0, 1]), 2)
        array([[0.875, 0.125],
               [0.   , 1.   ]])
        >>> folder.cleanup()
    """
    counts = _read_counts(path, len(labels), num_classes)
    judged = counts.sum(axis=1) > 0
    if not judged.any():
        raise DataError(f"{path} holds no choice at all: every row must count what people chose for one test image.")
    shares, true = counts[judged] / counts[judged].sum(axis=1, keepdims=True), np.asarray(labels)[judged]
    agreed = float(shares[np.arange(len(true)), true].mean())
    chance = float((np.bincount(true, minlength=num_classes) / len(true)) @ shares.mean(axis=0))
    # Rows in another order agree with the labels by chance; few images are given the benefit of the doubt.
    if agreed <= min(chance + _SURE * np.sqrt(chance * (1 - chance) / len(true)), (1 + chance) / 2):
        raise DataError(
            f"{path} agrees with the labels of the test images on {agreed:.1%}, where chance alone gives "
            f"{chance:.1%}: its rows must be in the order of the test images, its columns in that of the classes."
        )
    sums = np.zeros((num_classes, num_classes))
    np.add.at(sums, true, shares)
    sizes = np.bincount(true, minlength=num_classes)[:, np.newaxis]
    return np.where(sizes > 0, sums / np.maximum(1, sizes), np.nan)


def _read_counts(path: str | Path, images: int, num_classes: int) -> NDArray[np.float64]:
    wanted = f"a .npy file of ({images:,}, {num_classes}) counts or shares, one row a test image and one column a class"
    try:
        with Path(path).expanduser().open("rb") as stream:  # an archive of arrays would stay open
            read = np.load(stream, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): it must be {wanted}.") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path} is no array of numbers: it must be {wanted}.") from None
    if not isinstance(read, np.ndarray) or read.dtype.kind not in "iuf":
        what = f"an array of {read.dtype}" if isinstance(read, np.ndarray) else "an archive of several arrays"
        raise DataError(f"{path} holds {what}: it must be {wanted}.")
    if read.shape != (images, num_classes):
        raise DataError(f"{path} holds an array of shape {read.shape}: it must be {wanted}.")
    counts = read.astype(np.float64)
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise DataError(f"{path} holds numbers that are negative or not finite: counts and shares are 0 or more.")
    return counts
