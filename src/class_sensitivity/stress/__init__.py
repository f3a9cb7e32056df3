"""Label noise and data reduction: pure functions from (labels, seed) to the training set of a run.

A training set of n records is given by `order`, one random permutation of its positions. Reduction
drops the head of `order`; noise touches the head of what is left. Hence sets are nested in `frac`,
and at the same selection seed `reduction.frac=x` removes exactly the records that `noise.frac=x`
lies about.
"""

from class_sensitivity.stress.audit import NoiseAudit, audit
from class_sensitivity.stress.noise import NOISE_KINDS, apply_noise, touched_positions
from class_sensitivity.stress.reduction import keep_after_reduction
from class_sensitivity.stress.selection import selection_order
from class_sensitivity.stress.train_set import TrainSet, stressed_train_set

__all__ = [
    "NOISE_KINDS",
    "NoiseAudit",
    "TrainSet",
    "apply_noise",
    "audit",
    "keep_after_reduction",
    "selection_order",
    "stressed_train_set",
    "touched_positions",
]
