"""Labels of every size and balance, and what a stress makes of them, for the property tests of `stress`."""

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import NOISE_KINDS, Noise, Reduction, Stress, TrainSet, stressed_train_set

#: (labels, K).
Labelled = tuple[np.ndarray, int]

FRACS = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.floats(0, 1))
SEEDS = st.integers(0, 2**32)

#: A kind that is added to the package is tested by every test that has one of these.
every_kind = pytest.mark.parametrize("kind", sorted(NOISE_KINDS))
stratified_or_not = pytest.mark.parametrize("stratified", [False, True])

#: 3,000 examples of ten classes.
BIG: Labelled = (np.random.default_rng(0).integers(0, 10, size=3000), 10)


@st.composite
def labelled(draw: st.DrawFn, least: int = 1, most: int = 80) -> Labelled:
    """Labels of any balance, read-only.

    Args:
        draw: Given by Hypothesis.
        least: Examples of a class, at least; 0 for classes that may be absent, as long as one is not.
        most: Examples of a class, at most.
    """
    sizes = st.one_of(st.sampled_from([least, most]), st.integers(least, most))
    number = draw(st.lists(sizes, min_size=2, max_size=12).filter(any))
    labels = np.random.default_rng(draw(SEEDS)).permutation(np.repeat(np.arange(len(number)), number))
    labels.flags.writeable = False
    return labels, len(number)


def names(num_classes: int) -> tuple[str, ...]:
    """Class names that are no numbers: `class 3` is 3."""
    return tuple(f"class {number}" for number in range(num_classes))


def stressed(data: Labelled, kind: str = "shuffle", seed: int = 0, **chosen: Any) -> TrainSet:
    """The training set that a stress makes, by plain arguments.

    Args:
        data: (labels, K).
        kind: Of the noise.
        seed: Of every stream.
        chosen: `noise_frac`, `noise_classes` (numbers), `reduction_frac`, `match_steps`, `stratified`,
            `validation_frac`; `seeds` of single streams; the rest are settings of the kind.
    """
    labels, num_classes = data
    seeds = dict.fromkeys(STREAMS, seed) | chosen.pop("seeds", {})
    validation_frac = chosen.pop("validation_frac", 0.0)
    reduction = Reduction(chosen.pop("reduction_frac", 0.0), chosen.pop("match_steps", False))
    frac, stratified = chosen.pop("noise_frac", 0.0), chosen.pop("stratified", False)
    classes = [names(num_classes)[number] for number in chosen.pop("noise_classes", ())]
    stress = Stress(Noise(NOISE_KINDS[kind](**chosen), frac, classes), reduction, stratified)
    return stressed_train_set(labels, names(num_classes), stress, seeds=seeds, validation_frac=validation_frac)


def touched_examples(train_set: TrainSet) -> set[int]:
    """Positions in the data set."""
    return set(train_set.indices[train_set.touched].tolist())


def removed_examples(train_set: TrainSet, size: int) -> set[int]:
    """Positions in the data set of so many examples."""
    return set(range(size)) - set(train_set.indices.tolist())
