"""Confusion counts and what follows from them. Rows are the truth, columns the prediction.

Counts are summed before anything is divided; a row without examples is NaN, never 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_counts(target: ArrayLike, preds: ArrayLike, num_classes: int) -> Counts:
    """Counts each pair of (true, predicted) class.

    Args:
        target: (n,) true classes in [0, num_classes).
        preds: (n,) predicted classes in [0, num_classes).
        num_classes: K.

    Returns:
        (K, K) int64, [true, predicted].

    Raises:
        ValueError: The lengths differ or a class is out of range.

    Examples:
        >>> confusion_counts(target=[0, 0, 0, 1], preds=[0, 1, 1, 1], num_classes=2)
        array([[1, 2],
               [0, 1]])
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
        (..., K, K) float64; the row of a class without examples is NaN.

    Examples:
        >>> normalise(np.array([[3, 1], [0, 0]]))
        array([[0.75, 0.25],
               [ nan,  nan]])
    """
    totals = counts.sum(axis=-1, keepdims=True)
    shares = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def recall(counts: Counts) -> Floats:
    """Share of each class that is predicted right.

    Args:
        counts: (..., K, K), [true, predicted].

    Returns:
        (..., K) in [0, 1]; NaN for a class without examples.

    Examples:
        >>> recall(np.array([[3, 1], [2, 2]]))
        array([0.75, 0.5 ])
    """
    return np.diagonal(normalise(counts), axis1=-2, axis2=-1)


def accuracy(counts: Counts) -> Floats:
    """Share of all examples predicted right.

    Args:
        counts: (..., K, K), [true, predicted].

    Returns:
        (...) in [0, 1]; NaN without examples.

    Examples:
        >>> float(accuracy(np.array([[3, 1], [2, 2]])))
        0.625
    """
    right = np.trace(counts, axis1=-2, axis2=-1)
    total = counts.sum(axis=(-2, -1))
    share = np.full(np.shape(total), np.nan)
    np.divide(right, total, out=share, where=total > 0)
    return share


def asymmetry(counts: Counts) -> float:
    """How far confusion has a direction, in [0, 1].

    0: every pair of classes is confused equally often both ways. 1: each pair one way only. It is
    sum |C[i,j] - C[j,i]| / sum (C[i,j] + C[j,i]) over i < j; NaN where nothing is confused.

    Args:
        counts: (K, K), [true, predicted].

    Examples:
        >>> asymmetry(np.array([[90, 6], [2, 80]]))  # (6 - 2) / (6 + 2)
        0.5
    """
    upper = np.triu_indices(counts.shape[-1], k=1)
    forth, back = counts[upper], counts.T[upper]
    total = (forth + back).sum()
    return float(np.abs(forth - back).sum() / total) if total else float("nan")


def most_confused(counts: NDArray[np.number], k: int = 5) -> list[tuple[int, int, float]]:
    """The k largest cells off the diagonal as (true, predicted, count), largest first.

    Ties come in the order of (true, predicted).

    Args:
        counts: (K, K), [true, predicted].
        k: How many, at most.

    Examples:
        >>> most_confused(np.array([[90, 6, 0], [2, 80, 1], [4, 1, 70]]), k=2)
        [(0, 1, 6.0), (2, 0, 4.0)]
    """
    off = np.array(counts, np.float64)
    np.fill_diagonal(off, -np.inf)
    largest = np.argsort(-off, axis=None, kind="stable")[: min(k, off.size - len(off))]
    return [(int(i), int(j), float(off[i, j])) for i, j in zip(*np.unravel_index(largest, off.shape), strict=True)]
