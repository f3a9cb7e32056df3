"""The training set of a run: which records, with which labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.seeding import generator
from class_sensitivity.stress.audit import NoiseAudit, audit
from class_sensitivity.stress.noise import apply_noise, touched_positions
from class_sensitivity.stress.reduction import keep_after_reduction
from class_sensitivity.stress.selection import selection_order


@dataclass(frozen=True)
class TrainSet:
    """n records to train on, out of the N of the data set, sorted by index.

    Attributes:
        indices: (n,) int64 positions in the data set.
        labels: (n,) int64 labels as given to the model.
        touched: (n,) bool, selected by the noise.
        audit: The realised noise.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    touched: NDArray[np.bool_]
    audit: NoiseAudit


def stressed_train_set(
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    noise_kind: str = "shuffle",
    noise_frac: float = 0.0,
    noise_classes: Sequence[int] = (),
    noise_partner: Sequence[int] | None = None,
    reduction_frac: float = 0.0,
    stratified: bool = False,
    selection_seed: int,
    labels_seed: int,
) -> TrainSet:
    """Applies reduction, then noise.

    Args:
        labels: (n,) clean labels of the records that may be trained on; not changed.
        num_classes: K.
        noise_kind: A key of `NOISE_KINDS`.
        noise_frac: Share of the kept (and eligible) records to touch, in [0, 1].
        noise_classes: Lie about these classes only; empty means all.
        noise_partner: (K,) partners for the kind `pair`.
        reduction_frac: Share of the records to remove, in [0, 1].
        stratified: Select in proportion from every class.
        selection_seed: Seed of the stream that decides which records.
        labels_seed: Seed of the stream that decides which labels.

    Returns:
        The training set; its indices are positions in `labels`.

    Raises:
        ValueError: A share is outside [0, 1], or no record is left.
    """
    order = selection_order(labels, generator(selection_seed, "selection"), stratified=stratified)
    kept = keep_after_reduction(order, reduction_frac)
    if len(kept) == 0:
        raise ValueError(f"reduction_frac={reduction_frac} leaves none of {len(labels)} records")
    touched = touched_positions(labels, kept, noise_frac, noise_classes)
    given = apply_noise(labels, touched, noise_kind, num_classes, generator(labels_seed, "labels"), noise_partner)
    indices = np.sort(kept)
    is_touched = np.zeros(len(labels), bool)
    is_touched[touched] = True
    return TrainSet(
        indices=indices,
        labels=given[indices],
        touched=is_touched[indices],
        audit=audit(labels[indices], given[indices], is_touched[indices], num_classes),
    )
