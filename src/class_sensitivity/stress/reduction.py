"""Data reduction: which records stay."""

import numpy as np
from numpy.typing import NDArray


def keep_after_reduction(order: NDArray[np.int64], frac: float) -> NDArray[np.int64]:
    """The part of `order` that is left when `round(frac * n)` records are dropped from its head.

    Args:
        order: (n,) the selection permutation.
        frac: Share of records removed, in [0, 1].

    Returns:
        (n - round(frac * n),) positions, still in selection order.

    Raises:
        ValueError: `frac` is outside [0, 1].
    """
    if not 0 <= frac <= 1:
        raise ValueError(f"frac must be in [0, 1], got {frac}")
    return order[round(frac * len(order)) :]
