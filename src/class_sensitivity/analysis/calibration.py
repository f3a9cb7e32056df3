"""Whether a model knows what it does not know: its confidence beside its recall, for every class and condition.

A class may keep its recall under wrong labels and lose its honesty. Confidence is the probability of the class that is
predicted. All measurements are of the images of one true class:

- overconfidence: mean confidence minus recall; negative where the model doubts what it has right;
- calibration error: the same within 15 bins of confidence, without sign, weighted by the images in each (C. Guo et al.,
  "On calibration of modern neural networks", ICML 2017);
- confidence when wrong: mean confidence of the images that are predicted wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.statistics import VarianceComponents, stacked, variance_components
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]

#: Bins of confidence, of equal width.
BINS = 15

#: (condition, seed) -> (n, K) probabilities of the test images.
Probabilities = Callable[[Condition, int], NDArray[np.floating]]


@dataclass(frozen=True)
class Calibration:
    """How well confidence fits at one condition; a member of each for every class, and a last one for all images.

    Attributes:
        condition: Which.
        seeds: The seeds behind it.
        overconfidence: Estimates of shape (K + 1,).
        wrong_confidence: Estimates of shape (K + 1,); NaN where no image is predicted wrong.
        error: Estimates of shape (K + 1,) of the calibration error, over seeds on these images: from few images it is
            too large, so compare it among conditions alone.
        change: Overconfidence minus that of the baseline, paired; None for the baseline and without seeds in common.
    """

    condition: Condition
    seeds: tuple[int, ...]
    overconfidence: Estimate
    wrong_confidence: Estimate
    error: Estimate
    change: Estimate | None


def calibrations(study: Study, probabilities: Probabilities, *, alpha: float = 0.05) -> Iterator[Calibration]:
    """The calibration at every condition.

    Args:
        study: The runs of one recipe.
        probabilities: Where those of a run are found.
        alpha: 1 - coverage of the intervals.
    """
    baseline: dict[int, Floats] = {}
    for condition in study.conditions:
        seeds = study.common_seeds(condition)
        confidences = [_confidence(probabilities(condition, seed), study, condition, seed) for seed in seeds]
        confidence = np.array(confidences, np.float64)
        right = study.preds_of(condition, seeds) == study.labels
        gaps = confidence - right
        change = None
        if condition == BASELINE:
            baseline = dict(zip(seeds, gaps, strict=True))
        elif shared := [seed for seed in seeds if seed in baseline]:
            own = gaps[[seeds.index(seed) for seed in shared]]
            change = _means(own - np.array([baseline[seed] for seed in shared]), study, alpha)
        yield Calibration(
            condition=condition,
            seeds=tuple(seeds),
            overconfidence=_means(gaps, study, alpha),
            wrong_confidence=_wrong_confidence(confidence, ~right, study, alpha),
            error=_errors(confidence, right, study, alpha),
            change=change,
        )


def _confidence(values: NDArray[np.floating], study: Study, condition: Condition, seed: int) -> Floats:
    """(n,) the probability of what is predicted."""
    preds = study.preds_of(condition, [seed])[0]
    return np.asarray(np.take_along_axis(values, preds[:, np.newaxis].astype(np.int64), axis=1)[:, 0], np.float64)


def _members(study: Study) -> Iterator[NDArray[np.bool_]]:
    """(n,) which images belong to each class, then all of them."""
    for c in range(study.num_classes):
        yield study.labels == c
    yield np.ones(len(study.labels), bool)


def _means(values: Floats, study: Study, alpha: float) -> Estimate:
    """(K + 1,) means of (S, n) values over the images of each class, then over all."""
    sizes = np.append(study.class_sizes, len(study.labels))
    parts = [
        variance_components(values[:, inside] / max(1, size), study.labels[inside])
        for inside, size in zip(_members(study), sizes, strict=True)
    ]
    return _estimate(parts, sizes, alpha)


def _estimate(parts: Sequence[VarianceComponents], sizes: NDArray[np.integer], alpha: float) -> Estimate:
    together = stacked(parts)
    together.total[sizes == 0] = np.nan
    together.per_seed[:, sizes == 0] = np.nan
    return together.estimate(alpha=alpha, one_image=1 / np.maximum(1, sizes), moderated=False)


def _wrong_confidence(confidence: Floats, wrong: NDArray[np.bool_], study: Study, alpha: float) -> Estimate:
    """A ratio of two means; its error is that of its linear part."""
    parts, values, sizes = [], [], []
    for inside in _members(study):
        own, mistakes = confidence[:, inside], wrong[:, inside]
        number = mistakes.sum(axis=1).mean()
        ratio = (own * mistakes).sum() / mistakes.sum() if number else np.nan
        linear = (own - ratio) * mistakes / number if number else np.zeros(own.shape)
        parts.append(variance_components(linear, study.labels[inside]))
        values.append(ratio)
        sizes.append(int(mistakes.any(axis=0).sum()))
    found, ratios = _estimate(parts, np.array(sizes), alpha), np.array(values)
    return replace(found, value=ratios, per_seed=found.per_seed + ratios)


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Mean over images of how far confidence and accuracy of their bin are apart; NaN without images.

    Args:
        confidence: (n,) in [0, 1].
        right: (n,) whether each is predicted right.

    Examples:
        >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])), 3)
        0.4
    """
    if not len(confidence):
        return np.nan
    # A confidence on the edge of two bins belongs to the lower one.
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _errors(confidence: Floats, right: NDArray[np.bool_], study: Study, alpha: float) -> Estimate:
    members = list(_members(study))
    per_seed = np.array(
        [
            [calibration_error(c[inside], r[inside]) for inside in members]
            for c, r in zip(confidence, right, strict=True)
        ]
    )
    number = len(per_seed)
    seed_variance = per_seed.var(axis=0, ddof=1) / number if number > 1 else np.full(per_seed.shape[1:], np.nan)
    none = np.zeros_like(seed_variance)
    return Estimate(per_seed.mean(axis=0), seed_variance, none, number - 1.0, per_seed, alpha)
