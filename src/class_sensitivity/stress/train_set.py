"""The training set of a run: which examples, with which labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.seeding import generator
from class_sensitivity.stress.audit import NoiseAudit, audit
from class_sensitivity.stress.noise import Examples, Noise, touched_positions
from class_sensitivity.stress.reduction import Reduction, keep_after_reduction
from class_sensitivity.stress.selection import selection_order


@dataclass(frozen=True)
class Stress:
    """What is done to a training set: reduction, then noise.

    Attributes:
        noise: Label noise.
        reduction: Data reduction.
        stratified: Take examples in proportion from every class, for either.
    """

    noise: Noise = field(default_factory=Noise)
    reduction: Reduction = field(default_factory=Reduction)
    stratified: bool = False

    def check(self) -> None:
        """Raises a ConfigError if a share is out of bounds."""
        self.noise.check()
        self.reduction.check()


@dataclass(frozen=True)
class TrainSet:
    """n examples to train on, out of the N of the data set, sorted by index.

    Attributes:
        indices: (n,) int64 positions in the data set.
        labels: (n,) int64 labels as given to the model.
        touched: (n,) bool, selected by the noise.
        audit: The realised noise.
        pool: (p,) int64 positions in the data set that n of them were kept of, sorted. The order of an epoch is drawn
            over the pool, so that the kept examples follow one another as they would without reduction.
        visits: Examples visited in an epoch, repeats counted: n, or p if more passes match the number of steps.
        paced_by: The number of examples that sets the number of steps: n, or p if steps are matched.
        held_out: (v,) int64 positions that were held out for validation before any stress, sorted.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    touched: NDArray[np.bool_]
    audit: NoiseAudit
    pool: NDArray[np.int64]
    visits: int
    paced_by: int
    held_out: NDArray[np.int64]


def stressed_train_set(
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    stress: Stress,
    *,
    seeds: Mapping[str, int],
    validation_frac: float = 0.0,
    images: NDArray[np.uint8] | None = None,
) -> TrainSet:
    """Holds examples out for validation, then applies reduction, then noise to the rest.

    Args:
        labels: (N,) clean labels of the data set's training examples; not changed.
        class_names: The K class names.
        stress: What is done.
        seeds: The seed of every stream; `validation`, `selection` and `labels` are drawn from.
        validation_frac: Share held out, in [0, 1).
        images: (N, H, W, C) uint8, the data set's training images, for a kind of noise that looks at them.

    Raises:
        ConfigError: A class that the noise names does not exist, a file that it names does not fit, or no example of
            some class would be left.
        DataError: The data set has no training example of some class.

    Examples:
        >>> seeds = {"validation": 1, "selection": 1, "labels": 1}
        >>> clean = np.arange(10) % 2
        >>> stress = Stress(Noise(frac=0.2), Reduction(frac=0.5))
        >>> train_set = stressed_train_set(clean, ("cat", "dog"), stress, seeds=seeds)
        >>> len(train_set.indices), int(train_set.touched.sum())
        (5, 1)
    """
    # Settings of a noise that touches nothing have no effect, and are no part of the run: its baseline is everyone's.
    noise = stress.noise if stress.noise.frac != 0 else Noise()
    noise.check_classes(class_names)
    held_out, trainable = _split(len(labels), validation_frac, seeds["validation"])
    rng = generator(seeds["selection"], "selection")
    order = trainable[selection_order(labels[trainable], rng, stratified=stress.stratified)]
    kept = keep_after_reduction(order, stress.reduction.frac)
    _refuse_empty(labels, trainable, kept, class_names, stress, validation_frac)
    eligible = [class_names.index(name) for name in noise.classes]
    touched = touched_positions(labels, kept, noise.frac, eligible)
    given = labels.copy()
    if len(touched):
        examples = Examples(touched, labels, class_names, images)
        given[touched] = noise.kind.apply(examples, generator(seeds["labels"], "labels"))
    indices = np.sort(kept)
    is_touched = np.zeros(len(labels), bool)
    is_touched[touched] = True
    return TrainSet(
        indices=indices,
        labels=given[indices],
        touched=is_touched[indices],
        audit=audit(labels[indices], given[indices], is_touched[indices], len(class_names)),
        pool=trainable,
        visits=len(trainable) if stress.reduction.match_steps is True else len(indices),
        paced_by=len(trainable) if stress.reduction.match_steps else len(indices),
        held_out=held_out,
    )


def refuse_idle_noise(train_set: TrainSet, stress: Stress) -> None:
    """Raises a ConfigError if there is noise and no label is wrong: such a run would be a baseline by another name."""
    noise, touched = stress.noise, int(train_set.touched.sum())
    if noise.frac == 0 or train_set.audit.effective > 0:
        return
    asked = f"noise.frac={noise.frac}" + f" with noise.classes={noise.classes}" * bool(noise.classes)
    if touched:
        what = f"the noise ({noise.kind.name}) leaves each of the {touched:,} labels that it touches as it is"
        remedy = "choose a larger share, more classes or another noise.kind"
    else:
        what, remedy = f"the share touches none of the {len(train_set.indices):,} examples", "choose a larger one"
    raise ConfigError(f"{asked} makes no label wrong: {what}; {remedy}.")


def _split(size: int, validation_frac: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(held-out, trainable) positions, each sorted."""
    shuffled = generator(seed, "validation").permutation(np.arange(size))
    number = round(validation_frac * size)
    return np.sort(shuffled[:number]), np.sort(shuffled[number:])


def _refuse_empty(
    labels: NDArray[np.int64],
    trainable: NDArray[np.int64],
    kept: NDArray[np.int64],
    class_names: tuple[str, ...],
    stress: Stress,
    validation_frac: float,
) -> None:
    """Names what leaves some class without a training example: the data, what is held out, or reduction."""
    steps = (
        ("", labels),
        (f"training.validation_frac={validation_frac}", labels[trainable]),
        (f"reduction.frac={stress.reduction.frac}", labels[kept]),
    )
    for setting, left in steps:
        counts = np.bincount(left, minlength=len(class_names))
        if counts.all():
            continue
        what = f"class {class_names[int(np.argmin(counts))]}" if counts.any() else "any class"
        if not setting:
            raise DataError(f"The data set has no training example of {what}: add some, or leave that class out.")
        raise ConfigError(f"{setting} is too high: it leaves no training example of {what}; choose a smaller share.")
