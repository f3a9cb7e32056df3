"""Pairs of classes that are confused, and whether that belongs to the data or to a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.separability import Separability


@dataclass(frozen=True)
class ConfusablePair:
    """A pair of classes that some model confuses certainly more than the average pair, at the baseline.

    Attributes:
        first: Name of a class.
        second: Name of the other.
        confused_by: Models under which the pair is confusable (`Separability.confusable`).
        not_by: Models under which it certainly is no more alike than the average pair. Under the models that are in
            neither list nothing is certain.
        alike: (M,) estimates of the look-alikeness of the pair under each model, shares in [0, 1].
    """

    first: str
    second: str
    confused_by: tuple[str, ...]
    not_by: tuple[str, ...]
    alike: tuple[Estimate, ...] = field(repr=False)

    @property
    def belongs_to(self) -> str:
        """`data`: every model confuses it; `model`: some do, and the others certainly do not; else `undecided`."""
        unknown = len(self.alike) - len(self.confused_by) - len(self.not_by)
        if len(self.confused_by) == len(self.alike):
            return "data"
        return "undecided" if unknown else "model"


def confusable_pairs(found: Mapping[str, Separability], *, alpha: float = 0.05) -> list[ConfusablePair]:
    """Pairs of classes that are confusable under one model or more, and whether that belongs to the data.

    Args:
        found: Name of a model -> its separability, of the same classes and test images.
        alpha: False discovery rate of the pairs that are certainly no more alike than the average pair.

    Returns:
        The pairs that most models confuse first, and of those the most alike.
    """
    each = list(found.values())
    first, second = np.triu_indices(len(each[0].class_names), 1)
    confused = np.stack([one.confusable[first, second] for one in each])
    # One model's own average pair is its yardstick: a weak one confuses every pair more often.
    below = np.stack(
        [
            statistics.benjamini_hochberg(one.symmetric[first, second].p_below(one.mean), alpha)
            if len(one.seeds) > 1
            else np.zeros(len(first), bool)
            for one in each
        ]
    )
    names, models = each[0].class_names, np.array(list(found))
    pairs = [
        ConfusablePair(
            names[first[pair]],
            names[second[pair]],
            tuple(models[confused[:, pair]].tolist()),
            tuple(models[below[:, pair]].tolist()),
            tuple(one.symmetric[first[pair], second[pair]] for one in each),
        )
        for pair in np.flatnonzero(confused.any(axis=0))
    ]
    return sorted(
        pairs, key=lambda pair: (-len(pair.confused_by), -float(np.mean([float(alike.value) for alike in pair.alike])))
    )
