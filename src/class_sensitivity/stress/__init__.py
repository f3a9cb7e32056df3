"""Label noise and data reduction: pure functions from (labels, seed) to the training set of a run.

A training set of n examples is given by `order`, one random permutation of its positions. Reduction
drops the head of `order`; noise touches the head of what is left. Hence sets are nested in `frac`,
and at the same selection seed `reduction.frac=x` removes exactly the examples that `noise.frac=x`
touches.
"""

from class_sensitivity.stress.audit import NoiseAudit, audit
from class_sensitivity.stress.noise import NOISE_KINDS, Examples, Noise, NoiseKind, make_noise_kind, touched_positions
from class_sensitivity.stress.reduction import Reduction, keep_after_reduction
from class_sensitivity.stress.selection import selection_order
from class_sensitivity.stress.train_set import Stress, TrainSet, refuse_idle_noise, stressed_train_set

__all__ = [
    "NOISE_KINDS",
    "Examples",
    "Noise",
    "NoiseAudit",
    "NoiseKind",
    "Reduction",
    "Stress",
    "TrainSet",
    "audit",
    "keep_after_reduction",
    "make_noise_kind",
    "refuse_idle_noise",
    "selection_order",
    "stressed_train_set",
    "touched_positions",
]
