"""Confusion counts and what follows from them. Rows are the truth, columns the prediction.

Counts are summed before anything is divided; a row without records is NaN, never 0.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_counts(target: NDArray[np.integer], preds: NDArray[np.integer], num_classes: int) -> Counts:
    """Counts each pair of (true, predicted) class.

    Args:
        target: (n,) true classes in [0, num_classes).
        preds: (n,) predicted classes in [0, num_classes).
        num_classes: K.

    Returns:
        (K, K) int64, [true, predicted].

    Raises:
        ValueError: The lengths differ or a class is out of range.
    """
    target = np.asarray(target, np.int64)
    preds = np.asarray(preds, np.int64)
    if target.shape != preds.shape or target.ndim != 1:
        raise ValueError(f"target and preds must be (n,) and equally long, got {target.shape} and {preds.shape}")
    for name, values in (("target", target), ("preds", preds)):
        if len(values) and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(f"{name} must be in [0, {num_classes}), got {values.min()} to {values.max()}")
    return np.bincount(target * num_classes + preds, minlength=num_classes**2).reshape(num_classes, num_classes)


def normalise(counts: Counts) -> Floats:
    """Each row divided by its sum: [..., i, j] = share of class i predicted as j, in [0, 1].

    Args:
        counts: (..., K, K).

    Returns:
        (..., K, K) float64; the row of a class without records is NaN.
    """
    totals = counts.sum(axis=-1, keepdims=True)
    shares = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def recall(counts: Counts) -> Floats:
    """Share of each class that is predicted right, (..., K) in [0, 1]; NaN for an empty class."""
    return np.diagonal(normalise(counts), axis1=-2, axis2=-1)


def accuracy(counts: Counts) -> Floats:
    """Share of all records predicted right, (...) in [0, 1]; NaN without records."""
    right = np.trace(counts, axis1=-2, axis2=-1)
    total = counts.sum(axis=(-2, -1))
    share = np.full(np.shape(total), np.nan)
    np.divide(right, total, out=share, where=total > 0)
    return share


def relative(counts: Counts, baseline: Counts) -> Floats:
    """The relative matrix: mean over seeds of (condition - baseline of the same seed).

    Args:
        counts: (S, K, K) counts at the condition, one matrix a seed.
        baseline: (S, K, K) counts of the baseline, in the same order of seeds.

    Returns:
        (K, K) float64, in test images; every row sums to 0.

    Raises:
        ValueError: The shapes differ, there is no seed, or the two were not tested on the same
            number of images of every class.
    """
    if counts.shape != baseline.shape or counts.ndim != 3 or len(counts) == 0:
        raise ValueError(f"need two equal shapes (seeds, K, K), got {counts.shape} and {baseline.shape}")
    if not np.array_equal(counts.sum(axis=-1), baseline.sum(axis=-1)):
        raise ValueError("condition and baseline were not tested on the same images: class totals differ")
    difference: Floats = (counts - baseline).mean(axis=0)
    return difference


def asymmetry(counts: Counts) -> float:
    """How far confusion has a direction, in [0, 1].

    0: every pair of classes is confused equally often both ways. 1: each pair one way only. It is
    sum |C[i,j] - C[j,i]| / sum (C[i,j] + C[j,i]) over i < j; NaN where nothing is confused.
    """
    upper = np.triu_indices(counts.shape[-1], k=1)
    forth, back = counts[upper], counts.T[upper]
    total = (forth + back).sum()
    return float(np.abs(forth - back).sum() / total) if total else float("nan")


def most_confused(counts: NDArray[np.number], k: int = 5) -> list[tuple[int, int, float]]:
    """The k largest cells off the diagonal as (true, predicted, count), largest first.

    Ties come in the order of (true, predicted).
    """
    off = np.array(counts, np.float64)
    np.fill_diagonal(off, -np.inf)
    largest = np.argsort(-off, axis=None, kind="stable")[: min(k, off.size - len(off))]
    return [(int(i), int(j), float(off[i, j])) for i, j in zip(*np.unravel_index(largest, off.shape), strict=True)]
