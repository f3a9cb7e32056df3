"""How well classes are told apart: how often images of one are taken for the other, and how that grows under stress.

The look-alikeness of two classes is the mean of two shares at the baseline: of the images of the one that are taken for
the other, and the other way round. The look-alikeness of one class is the mean of this over all other classes. Both are
sums over test images, so they have intervals like any recall (`statistics`), for new seeds and new test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.contrasts import pair_contrasts, shared_seeds
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.statistics import (
    VarianceComponents,
    benjamini_hochberg,
    slope_weights,
    stacked,
    variance_components,
)
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE

Floats = NDArray[np.float64]

#: Growth is counted per 10 points of stress.
_TEN_POINTS = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Separability:
    """How alike the classes of a study look to its model; shares in [0, 1], NaN for a class without test images.

    Attributes:
        class_names: The K names.
        seeds: The seeds of the baseline that it rests on.
        directed: Estimates of shape (K, K), [true, predicted]: share of the images of a class that are taken for
            another; NaN on the diagonal.
        symmetric: Estimates of shape (K, K): the look-alikeness of each pair, the mean of both directions.
        mean: The look-alikeness of the average pair.
        confusable: (K, K) pairs that certainly look more alike than the average pair: one-sided, at a false discovery
            rate of alpha over all pairs.
        growth: Name of a series (`Condition.series`) -> estimates of shape (K, K): what 10 points of that stress add to
            the look-alikeness, least squares over its levels.
        per_class: Estimates of shape (K,): the look-alikeness of each class, the mean over its pairs.
    """

    class_names: tuple[str, ...]
    seeds: tuple[int, ...]
    directed: Estimate
    symmetric: Estimate
    mean: float
    confusable: NDArray[np.bool_]
    growth: Mapping[str, Estimate]
    per_class: Estimate

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(P, 2) class indices i < j, the pairs that look most alike first; without pairs of which nothing is known."""
        first, second = np.triu_indices(len(self.class_names), 1)
        value = self.symmetric.value[first, second]
        order = np.argsort(-value, kind="stable")[: int((~np.isnan(value)).sum())]
        return np.stack([first[order], second[order]], axis=1)

    def __repr__(self) -> str:
        confusable = int(self.confusable.sum()) // 2
        classes, seeds = len(self.class_names), len(self.seeds)
        return f"<Separability of {classes} classes: {confusable} confusable pairs, {seeds} seeds>"

    def _repr_html_(self) -> str:
        rows = {}
        for i, j in self.pairs[:15]:
            grown = {name: each[i, j].scaled(100).text(2, signed=True) for name, each in self.growth.items()}
            rows[f"{self.class_names[i]}, {self.class_names[j]}"] = {
                "look-alikeness, %": self.symmetric[i, j].scaled(100).text(),
                "confusable": "yes" if self.confusable[i, j] else "",
                **{f"growth, {name}": text for name, text in grown.items()},
            }
        title = (
            f"Pairs that look most alike (the average pair: {100 * self.mean:.1f} %); growth in points per 10 of stress"
        )
        return titled_table(title, pd.DataFrame.from_dict(rows, orient="index"))


def separability(study: Study, *, alpha: float = 0.05) -> Separability:
    """How often each pair of classes is confused, how that grows under stress, and which pairs stand out.

    Shares have Korn and Graubard's interval (`estimate.Estimate`): that of a pair which no seed ever confuses starts at
    0 and has a width, because that nothing happened is no proof that nothing can.

    Args:
        study: With runs of the baseline.
        alpha: 1 - coverage of the intervals, and the false discovery rate of confusable pairs.

    Raises:
        LookupError: The baseline was not run.

    Examples:
        >>> preds = {(BASELINE, seed): [0, 1, 1, 1, 2, 2] for seed in (1, 2)}
        >>> found = separability(Study.of_preds([0, 0, 1, 1, 2, 2], preds, ("cat", "dog", "ship")))
        >>> found.symmetric.value
        array([[ nan, 0.25, 0.  ],
               [0.25,  nan, 0.  ],
               [0.  , 0.  ,  nan]])
        >>> found.per_class.value
        array([0.125, 0.125, 0.   ])
    """
    seeds = shared_seeds(study, [BASELINE])
    taken = stacked([variance_components(each) for each in _taken_for(study, seeds)])
    i, j = np.triu_indices(study.num_classes, 1)
    pairs = _symmetric(study, taken, alpha)
    known = ~np.isnan(pairs.value)
    confusable = np.zeros((study.num_classes, study.num_classes), bool)
    mean = float(pairs.value[known].mean()) if known.any() else float("nan")
    if known.sum() > 1:  # a single pair would be compared with itself
        # The average pair rests on all images and varies with each pair, so its own errors may be left out.
        confusable[i, j] = benjamini_hochberg(pairs.p_above(mean), alpha)
    growth = {}
    for name in [*study.noise_series, *study.reduction_series]:
        conditions = study.paired_series(name)
        if len(conditions) > 1:
            weights = _TEN_POINTS * slope_weights(np.array([condition.level for condition in conditions]))
            half = {
                condition: (0.0, weight / 2) for condition, weight in zip(conditions, weights.tolist(), strict=True)
            }
            growth[name] = pair_contrasts(study, half, half, shares=True, alpha=alpha)
    return Separability(
        class_names=study.class_names,
        seeds=tuple(seeds),
        directed=_directed(study, taken, alpha),
        symmetric=_as_matrix(pairs, study.num_classes),
        mean=mean,
        confusable=confusable | confusable.T,
        growth=MappingProxyType(growth),
        per_class=_per_class(study, seeds, taken, alpha),
    )


def _taken_for(study: Study, seeds: Sequence[int]) -> Iterator[Floats]:
    """For each class (S, images of it, K): what each image adds to the share that is taken for each other class."""
    classes = np.arange(study.num_classes)
    for c, size in enumerate(study.class_sizes):
        predicted = study.preds_of(BASELINE, seeds)[:, study.labels == c, np.newaxis]
        yield ((predicted == classes) & (classes != c)) / max(1, size)


def _directed(study: Study, taken: VarianceComponents, alpha: float) -> Estimate:
    """(K, K) shares of each class that are taken for each other class."""
    sizes = study.class_sizes[:, np.newaxis]
    unknown = np.eye(study.num_classes, dtype=bool) | (sizes == 0)
    components = replace(
        taken,
        total=np.where(unknown, np.nan, taken.total),
        per_seed=np.where(unknown, np.nan, taken.per_seed),
    )
    share_of = np.broadcast_to(sizes.astype(np.float64), unknown.shape)
    return components.estimate(alpha=alpha, one_image=1 / np.maximum(1, sizes), moderated=True, share_of=share_of)


def _symmetric(study: Study, taken: VarianceComponents, alpha: float) -> Estimate:
    """(P,) the mean of both directions, for each pair i < j."""
    i, j = np.triu_indices(study.num_classes, 1)
    one, other = study.class_sizes[i], study.class_sizes[j]
    components = VarianceComponents(
        total=np.where(one * other > 0, taken.total[i, j] + taken.total[j, i], np.nan) / 2,
        per_seed=np.where(one * other > 0, taken.per_seed[:, i, j] + taken.per_seed[:, j, i], np.nan) / 2,
        interaction=(taken.interaction[i, j] + taken.interaction[j, i]) / 4,
        image_variance=(taken.image_variance[i, j] + taken.image_variance[j, i]) / 4,
        image_effects=np.zeros((0, len(i))),
    )
    # As many images as have the variance of the mean of two equal shares.
    share_of = 4.0 * one * other / np.maximum(1, one + other)
    one_image = 0.5 / np.maximum(1, np.minimum(one, other))
    return components.estimate(alpha=alpha, one_image=one_image, moderated=True, share_of=share_of)


def _as_matrix(pairs: Estimate, num_classes: int) -> Estimate:
    """(P,) estimates of pairs i < j as (K, K); NaN on the diagonal."""
    number = np.zeros((num_classes, num_classes), np.int64)
    number[np.triu_indices(num_classes, 1)] = np.arange(len(pairs.value))
    matrix, own = pairs[number + number.T], np.eye(num_classes, dtype=bool)
    return replace(matrix, value=np.where(own, np.nan, matrix.value), per_seed=np.where(own, np.nan, matrix.per_seed))


def _per_class(study: Study, seeds: Sequence[int], taken: VarianceComponents, alpha: float) -> Estimate:
    """(K,) the mean look-alikeness of each class's pairs."""
    there = study.class_sizes > 0
    weight = np.where(there & (there.sum() > 1), 0.5 / max(1, there.sum() - 1), np.nan)
    lost = stacked([variance_components(each @ there) for each in _taken_for(study, seeds)])
    components = VarianceComponents(
        total=weight * (lost.total + taken.total.sum(axis=0)),
        per_seed=weight * (lost.per_seed + taken.per_seed.sum(axis=1)),
        interaction=weight**2 * (lost.interaction + taken.interaction.sum(axis=0)),
        image_variance=weight**2 * (lost.image_variance + taken.image_variance.sum(axis=0)),
        image_effects=np.zeros((0, len(there))),
    )
    return components.estimate(alpha=alpha, one_image=weight / np.maximum(1, study.class_sizes), moderated=True)
