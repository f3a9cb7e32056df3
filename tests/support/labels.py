"""Labels of every size and balance, and what a stress makes of them, for the property tests of `stress`."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import NOISE_KINDS, Noise, NoiseKind, Reduction, Stress, TrainSet, stressed_train_set

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


#: Where the files are that some kinds need.
_FILES = tempfile.TemporaryDirectory()


def ready_kind(kind: str, data: Labelled, **settings: Any) -> NoiseKind:
    """A kind of noise with what it cannot do without: a file that follows from the data."""
    labels, num_classes = data
    rng = np.random.default_rng([num_classes, len(labels)])
    if kind == "matrix":
        made, needed = rng.dirichlet(np.full(num_classes, 0.5), num_classes), "matrix"
    elif kind.startswith("human"):
        made, needed = rng.integers(0, num_classes, len(labels)), "file"
    elif kind == "confusable":
        return NOISE_KINDS[kind](**{"confusion": rng.integers(0, 9, (num_classes, num_classes)).tolist()} | settings)
    else:
        return NOISE_KINDS[kind](**settings)
    path = Path(_FILES.name) / f"{needed}-{num_classes}-{len(labels)}.npy"
    if not path.exists():
        np.save(path, made)
    return NOISE_KINDS[kind](**{needed: str(path)} | settings)


def images_of(labels: np.ndarray) -> np.ndarray:
    """(N, 3, 2, 1) made-up images."""
    return np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 3, 2, 1)).astype(np.uint8)


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
    made = ready_kind(kind, data, **chosen) if frac != 0 else NOISE_KINDS[kind](**chosen)
    stress = Stress(Noise(made, frac, classes), reduction, stratified)
    return stressed_train_set(
        labels,
        names(num_classes),
        stress,
        seeds=seeds,
        validation_frac=validation_frac,
        images=images_of(labels),
    )


def touched_examples(train_set: TrainSet) -> set[int]:
    """Positions in the data set."""
    return set(train_set.indices[train_set.touched].tolist())


def removed_examples(train_set: TrainSet, size: int) -> set[int]:
    """Positions in the data set of so many examples."""
    return set(range(size)) - set(train_set.indices.tolist())
