"""Data reduction: which examples stay."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import require

#: The batches of the full set, without the removed examples.
MASKED = "masked"


@dataclass(frozen=True)
class Reduction:
    """Data reduction: a share of the training examples is removed.

    Attributes:
        frac: Share removed, in [0, 1).
        match_steps: Take as many optimiser steps as without reduction: True by more passes over fewer examples,
            `MASKED` by smaller batches, which are those of the full set without the removed examples.
    """

    frac: float = 0.0
    match_steps: bool | str = False

    def check(self) -> None:
        """Raises a ConfigError if the share is out of bounds, or there is no such way to match steps."""
        require(0 <= self.frac < 1, "reduction.frac", self.frac, "a share from 0 up to but not including 1")
        known = isinstance(self.match_steps, bool) or self.match_steps == MASKED
        require(known, "reduction.match_steps", self.match_steps, f"false, true or {MASKED}")


def keep_after_reduction(order: NDArray[np.int64], frac: float) -> NDArray[np.int64]:
    """The part of `order` that is left when `round(frac * n)` examples are dropped from its head.

    Args:
        order: (n,) the selection permutation.
        frac: Share of examples removed, in [0, 1].

    Returns:
        (n - round(frac * n),) positions, still in selection order.

    Raises:
        ValueError: `frac` is outside [0, 1].

    Examples:
        >>> keep_after_reduction(np.array([4, 0, 3, 1, 2]), frac=0.4)
        array([3, 1, 2])
    """
    if not 0 <= frac <= 1:
        raise ValueError(f"frac must be in [0, 1], got {frac}")
    return order[round(frac * len(order)) :]
