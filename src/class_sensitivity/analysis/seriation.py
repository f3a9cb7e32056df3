"""An order of classes in which those that are confused with each other stand side by side."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from class_sensitivity.confusion import normalise

#: With more classes than this the order within the tree is not the best one: finding that takes too long.
_MOST_ORDERED = 200


def lookalike_order(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Classes by how often they are confused: the leaves of a tree of average links, neighbours as alike as can be.

    The order of the leaves is that of Z. Bar-Joseph, D. K. Gifford and T. S. Jaakkola, "Fast optimal leaf ordering for
    hierarchical clustering", Bioinformatics 17 (2001).

    Args:
        counts: (K, K) confusion counts, [true, predicted].

    Returns:
        (K,) the classes in their new order. A class without images counts as confused with none.

    Examples:
        >>> lookalike_order(np.array([[90, 0, 9, 0], [0, 90, 4, 9], [9, 4, 90, 0], [0, 9, 0, 90]])).tolist()
        [0, 2, 1, 3]
    """
    shares = np.nan_to_num(normalise(np.asarray(counts, np.int64)))
    alike = (shares + shares.T) / 2
    np.fill_diagonal(alike, 0)
    distances = 1 - alike / max(float(alike.max()), 1e-12)
    np.fill_diagonal(distances, 0)
    if len(distances) < 3:
        return np.arange(len(distances))
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=len(distances) <= _MOST_ORDERED)
    order = np.asarray(leaves_list(tree), np.int64)
    # A tree can be read from either end: the class that comes first by name stands in the first half.
    return order if int(np.argmin(order)) <= (len(order) - 1) / 2 else order[::-1].copy()
