"""Noise with exact counts: how many examples of each class get each label, and which ones by chance."""

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.stress.noise.kind import Labels

Counts = NDArray[np.int64]


def exact_counts(totals: NDArray[np.int64], shares: NDArray[np.float64]) -> Counts:
    """Whole numbers nearest to shares of totals, by the method of the largest remainder.

    Each row first gets the whole part of its quotas; what is left of its total goes, one each, to the cells with the
    largest remainders, of equal ones to the lower class. So a cell is off its quota by less than 1, and rows are exact.

    Args:
        totals: (K,) examples of each class.
        shares: (K, K) with rows that sum to 1, [clean, given].

    Returns:
        (K, K) int64 with rows that sum to `totals`.

    Examples:
        >>> exact_counts(np.array([5, 10]), np.array([[0.7, 0.3], [0.25, 0.75]]))
        array([[4, 1],
               [3, 7]])
    """
    quotas = np.round(totals[:, np.newaxis] * shares, 9)
    counts = np.floor(quotas).astype(np.int64)
    # Remainders of 1 / 3 and 4 / 3 are equal, whatever the last digits are.
    order = np.argsort(-np.round(quotas - counts, 8), axis=1, kind="stable")
    left = totals - counts.sum(axis=1)
    rank = np.argsort(order, axis=1, kind="stable")
    counts += rank < left[:, np.newaxis]
    return counts


def deal(labels: Labels, counts: Counts, rng: np.random.Generator) -> Labels:
    """Gives exactly `counts[i, j]` of the examples of class i the label j; which ones is drawn.

    Args:
        labels: (m,) clean labels.
        counts: (K, K) whose rows sum to the number of examples of each class.
        rng: The labels stream.
    """
    given = labels.copy()
    for label, row in enumerate(counts):
        given[labels == label] = rng.permutation(np.repeat(np.arange(len(row)), row))
    return given
