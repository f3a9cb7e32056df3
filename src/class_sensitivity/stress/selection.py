"""The one permutation from which both reduction and noise take their examples."""

import numpy as np
from numpy.typing import NDArray


def selection_order(
    labels: NDArray[np.int64], rng: np.random.Generator, *, stratified: bool = False
) -> NDArray[np.int64]:
    """A random permutation of the positions of `labels`.

    Args:
        labels: (n,) clean labels.
        rng: The selection stream.
        stratified: Spread every class evenly over the permutation, so that each head of it holds
            every class in proportion: of a class with n_c of the n examples to within
            1/2 + K n_c / (2 n) examples, which is one example where classes are balanced.

    Returns:
        (n,) positions, each once.
    """
    order = rng.permutation(len(labels))
    if not stratified:
        return order
    # The k-th of the n_c examples of class c gets the place (k + 1/2) / n_c. Sorting by place keeps
    # any head proportional, and heads nest, which separate quotas per `frac` would not guarantee.
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place[order], kind="stable")]
