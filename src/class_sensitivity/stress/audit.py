"""What the noise really did, counted from the labels and not from what was asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.confusion import confusion_counts, normalise


@dataclass(frozen=True)
class NoiseAudit:
    """The realised noise of one training set of n examples and K classes.

    Attributes:
        nominal: Touched share of the examples, in [0, 1].
        effective: Share whose label is wrong, in [0, 1].
        counts: (K, K) int64, [clean, given].
        noise_matrix: (K, K), [i, j] = share of clean class i that was given label j; NaN in the row
            of a class without examples.
        touched_per_class: (K,) int64, touched examples by clean class.
    """

    nominal: float
    effective: float
    counts: NDArray[np.int64]
    noise_matrix: NDArray[np.float64]
    touched_per_class: NDArray[np.int64]


def audit(
    clean: NDArray[np.int64], given: NDArray[np.int64], touched: NDArray[np.bool_], num_classes: int
) -> NoiseAudit:
    """Compares given with clean labels.

    Args:
        clean: (n,) true labels of the examples that are trained on; n > 0.
        given: (n,) the labels they carry.
        touched: (n,) which of them were selected, whether or not their label changed.
        num_classes: K.
    """
    counts = confusion_counts(clean, given, num_classes)
    return NoiseAudit(
        nominal=float(np.mean(touched)),
        effective=float(np.mean(clean != given)),
        counts=counts,
        noise_matrix=normalise(counts),
        touched_per_class=np.bincount(clean[touched], minlength=num_classes),
    )
