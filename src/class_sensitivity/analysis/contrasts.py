"""Weighted sums of recalls and of confusion counts, paired by seed and by test image, each over its whole family.

A family is what is asked of one class, of one cell or of one pair of classes, asked of all of them. The members borrow
strength from each other (`moderation`), so a single one is always taken out of its family.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.statistics import VarianceComponents, stacked
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import Condition

Floats = NDArray[np.float64]

#: Condition -> (weight of the images that are predicted as their own class, of those predicted as the other class).
PairWeights = Mapping[Condition, tuple[float, float]]

#: Condition -> weight of the recall of every class, or (K,) the weight of each.
ClassWeights = Mapping[Condition, float | Floats]


def shared_seeds(study: Study, conditions: Sequence[Condition]) -> list[int]:
    """Seeds that are complete at all the conditions.

    Raises:
        ValueError: There is none.
    """
    seeds = study.common_seeds(*conditions)
    if not seeds:
        raise ValueError(f"no seed is complete at all of {', '.join(condition.name for condition in conditions)}")
    return seeds


def class_contrasts(study: Study, weights: ClassWeights, *, alpha: float = 0.05) -> Estimate:
    """A weighted sum of the recalls of some conditions, for every class.

    Args:
        study: The runs.
        weights: Condition -> weight, one or (K,); `{BASELINE: 1, condition: -1}` is a fall.
        alpha: 1 - the interval's coverage.

    Returns:
        Estimates of shape (K,); NaN for a class without test images.

    Raises:
        ValueError: No seed is complete at all the conditions.

    Examples:
        >>> from class_sensitivity.runs.condition import BASELINE
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (noisy, 1): [0, 1, 1, 1]}
        >>> study = Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog"))
        >>> class_contrasts(study, {BASELINE: 1, noisy: -1}).value
        array([0.5, 0. ])
    """
    sizes = study.class_sizes
    return _class_components(study, weights).estimate(
        alpha=alpha,
        one_image=_largest(weights.values()) / np.maximum(1, sizes),
        moderated=True,
        share_of=_share_of(weights, sizes.astype(np.float64)),
    )


def centred_class_contrasts(study: Study, weights: ClassWeights, *, alpha: float = 0.05) -> Estimate:
    """The same minus its mean over the classes: by how much a class stands out.

    Args:
        study: The runs.
        weights: Condition -> weight.
        alpha: 1 - the interval's coverage.

    Returns:
        Estimates of shape (K,); NaN for a class without test images, which has no part in the mean.

    Raises:
        ValueError: No seed is complete at all the conditions.

    Examples:
        >>> from class_sensitivity.runs.condition import BASELINE
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (noisy, 1): [0, 1, 1, 1]}
        >>> study = Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog"))
        >>> centred_class_contrasts(study, {BASELINE: 1, noisy: -1}).value
        array([ 0.25, -0.25])
    """
    sizes = study.class_sizes
    one_image = _largest(weights.values()) / np.maximum(1, sizes)
    return centred(_class_components(study, weights), sizes).estimate(alpha=alpha, one_image=one_image, moderated=True)


def _class_components(study: Study, weights: ClassWeights) -> VarianceComponents:
    """(K,) components of a weighted sum of recalls."""
    right = _right(study, weights, shared_seeds(study, list(weights)))
    return components_by_class(right / study.class_sizes[study.labels], study)


def components_by_class(values: Floats, study: Study) -> VarianceComponents:
    """(K,) components of the sums of values over the images of each class; NaN of a class without images.

    Args:
        values: (S, n), for every seed and test image.
        study: Whose test images they are.
    """
    return stacked(
        [_components(values[:, study.labels == c], empty=size == 0) for c, size in enumerate(study.class_sizes)]
    )


def centred(components: VarianceComponents, class_sizes: NDArray[np.int64]) -> VarianceComponents:
    """Components by class minus their mean over the classes that have images; NaN of the others.

    Args:
        components: (K,), of `components_by_class`.
        class_sizes: (K,) test images of each class.
    """
    there = np.flatnonzero(class_sizes)
    # Images belong to one class each, so the variances that they make add up.
    centring = np.eye(len(there)) - 1 / len(there)

    def spread(values: Floats, matrix: Floats) -> Floats:
        out = np.full(values.shape, np.nan)
        out[..., there] = values[..., there] @ matrix.T
        return out

    return replace(
        components,
        total=spread(components.total, centring),
        per_seed=spread(components.per_seed, centring),
        interaction=spread(components.interaction, centring**2),
        image_variance=spread(components.image_variance, centring**2),
    )


def accuracy_contrast(study: Study, weights: Mapping[Condition, float], *, alpha: float = 0.05) -> Estimate:
    """A weighted sum of the accuracies of some conditions.

    Args:
        study: The runs.
        weights: Condition -> weight.
        alpha: 1 - the interval's coverage.

    Returns:
        One estimate.

    Raises:
        ValueError: No seed is complete at all the conditions.
    """
    seeds, images = shared_seeds(study, list(weights)), len(study.labels)
    components = statistics.variance_components(_right(study, weights, seeds) / images, study.labels)
    return components.estimate(
        alpha=alpha,
        one_image=_largest(weights.values()) / images,
        moderated=False,
        share_of=_share_of(weights, np.array(images, np.float64)),
    )


def cell_contrasts(study: Study, weights: Mapping[Condition, float], *, alpha: float = 0.05) -> Estimate:
    """A weighted sum of confusion matrices, cell by cell; `{condition: 1, BASELINE: -1}` is a relative matrix.

    Args:
        study: The runs.
        weights: Condition -> weight.
        alpha: 1 - the interval's coverage.

    Returns:
        Estimates of shape (K, K), [true, predicted], in test images.

    Raises:
        ValueError: No seed is complete at all the conditions.
    """
    seeds = shared_seeds(study, list(weights))
    members = []
    for c in range(study.num_classes):
        inside = study.labels == c
        values = np.zeros((len(seeds), int(inside.sum()), study.num_classes))
        for condition, weight in weights.items():
            values += weight * _one_hot(study, condition, seeds, inside)
        members.append(_components(values))
    return stacked(members).estimate(alpha=alpha, one_image=_largest(weights.values()), moderated=True)


def pair_contrasts(
    study: Study, first: PairWeights, second: PairWeights, *, shares: bool = False, alpha: float = 0.05
) -> Estimate:
    """A weighted sum of confusion counts of two classes, for every ordered pair of classes.

    Args:
        study: The runs.
        first: How the images of the first class count: {BASELINE: (0, 1)} is the count of first -> second.
        second: How those of the second class do: {BASELINE: (0, -1)} takes away second -> first.
        shares: Count in shares of a class instead of images, so that {c: (1, 0)} and {c: (-1, 0)} are a difference
            of recalls.
        alpha: 1 - the interval's coverage.

    Returns:
        Estimates of shape (K, K), [first, second]; NaN on the diagonal, and with `shares` for a class without images.
        The family are all ordered pairs, or all pairs where [second, first] is [first, second] or its negative.

    Raises:
        ValueError: No seed is complete at all the conditions.

    Examples:
        >>> from class_sensitivity.runs.condition import BASELINE
        >>> study = Study.of_preds([0, 0, 1, 1], {(BASELINE, 1): [0, 1, 1, 1]}, ("cat", "dog"))
        >>> forth_minus_back = pair_contrasts(study, {BASELINE: (0, 1)}, {BASELINE: (0, -1)})
        >>> forth_minus_back.value
        array([[nan,  1.],
               [-1., nan]])
    """
    return PairFamily.of(study, first, second, shares=shares).estimate(alpha=alpha)


@dataclass(frozen=True)
class PairFamily:
    """What `pair_contrasts` measures, before its errors are taken from it.

    Attributes:
        components: Of shape (K, K), [first, second].
        turned: (K, K) pairs that stand for their mirror image, and have its variances.
        one_image: By how much one image can change each, an array or one number.
    """

    components: VarianceComponents
    turned: NDArray[np.bool_]
    one_image: Floats | float

    @classmethod
    def of(cls, study: Study, first: PairWeights, second: PairWeights, *, shares: bool = False) -> "PairFamily":
        """The family of a sum over pairs; arguments and errors are those of `pair_contrasts`."""
        seeds = shared_seeds(study, list({**first, **second}))
        one, other = (_pair_members(study, weights, seeds, shares) for weights in (first, second))
        both = VarianceComponents(
            total=one.total + other.total.T,
            per_seed=one.per_seed + other.per_seed.swapaxes(1, 2),
            interaction=one.interaction + other.interaction.T,
            image_variance=one.image_variance + other.image_variance.T,
            image_effects=one.image_effects,
        )
        np.fill_diagonal(both.total, np.nan)
        np.fill_diagonal(both.interaction, 0)  # a class beside itself is no member of the family
        turned = np.tri(study.num_classes, dtype=bool) & _same_both_ways(first, second)
        both.interaction[turned] = 0  # each pair is one measurement, and counts once
        largest = _largest(weight for weights in (first, second) for pair in weights.values() for weight in pair)
        smallest = np.maximum(1, np.minimum.outer(study.class_sizes, study.class_sizes)) if shares else 1
        return cls(both, turned, largest / smallest)

    def estimate(self, *, alpha: float = 0.05) -> Estimate:
        """Estimates of shape (K, K), whose intervals cover 1 - alpha."""
        found = self.components.estimate(alpha=alpha, one_image=self.one_image, moderated=True)
        return replace(
            found,
            seed_variance=np.where(self.turned, found.seed_variance.T, found.seed_variance),
            image_variance=np.where(self.turned, found.image_variance.T, found.image_variance),
        )


def _same_both_ways(first: PairWeights, second: PairWeights) -> bool:
    """Whether a pair and the same pair the other way round are one measurement, or one and its negative."""
    return any(
        dict(second) == {condition: (sign * own, sign * other) for condition, (own, other) in first.items()}
        for sign in (1, -1)
    )


def _pair_members(study: Study, weights: PairWeights, seeds: Sequence[int], shares: bool) -> VarianceComponents:
    """(K, K) components of [class of the images, other class]."""
    members = []
    for c, size in enumerate(study.class_sizes):
        inside = study.labels == c
        values = np.zeros((len(seeds), int(size), study.num_classes))
        for condition, (own, confused) in weights.items():
            if confused:
                values += confused * _one_hot(study, condition, seeds, inside)
            if own:
                values += own * (study.preds_of(condition, seeds)[:, inside] == c)[:, :, np.newaxis]
        members.append(_components(values / max(1, size) if shares else values, empty=shares and size == 0))
    return stacked(members)


def _components(values: NDArray[np.number], *, empty: bool = False) -> VarianceComponents:
    """Of the images of one class; NaN of a share of no images."""
    components = statistics.variance_components(values)
    if empty:
        components.total[...] = components.per_seed[...] = np.nan
    return components


def _right(study: Study, weights: ClassWeights, seeds: Sequence[int]) -> Floats:
    """(S, n) weighted sum of whether each image is predicted right."""
    right = np.zeros((len(seeds), len(study.labels)))
    for condition, weight in weights.items():
        of_image = np.asarray(weight)[study.labels] if np.ndim(weight) else weight
        right += of_image * (study.preds_of(condition, seeds) == study.labels)
    return right


def _one_hot(study: Study, condition: Condition, seeds: Sequence[int], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S, images inside, K) which class each image is predicted as."""
    return np.asarray(study.preds_of(condition, seeds)[:, inside, np.newaxis] == np.arange(study.num_classes))


def _share_of(weights: ClassWeights, images: Floats) -> Floats | None:
    """The recall of one condition is a share; a difference is not."""
    only, *others = weights.values()
    return images if not others and np.array_equal(only, 1.0) else None


def _largest(weights: Iterable[float | Floats]) -> float:
    return max(float(np.nanmax(np.abs(weight))) for weight in weights)
