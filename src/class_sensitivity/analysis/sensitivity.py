"""From one study to what its report says: relative matrices, falls, curves, directions, costs.

No files and no pictures. Shares are in [0, 1], cells in test images; every difference is paired by
seed, and every interval covers new seeds and new test images (`statistics.estimate`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.confusion import asymmetry
from class_sensitivity.analysis.statistics import NO_KNEE, Estimate, Knee
from class_sensitivity.analysis.study import BASELINE, Condition, Study

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RelativeMatrix:
    """Condition minus baseline, in test images.

    Attributes:
        cells: Estimates of shape (K, K), [true, predicted].
        marked: (K, K) cells that differ from 0 at a false discovery rate of alpha over all cells.
        seeds: The seeds that were paired.
    """

    cells: Estimate
    marked: NDArray[np.bool_]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """A dose-response series of one kind of stress.

    Attributes:
        kind: A kind of noise, or `reduction`.
        conditions: The baseline first, then rising levels.
        levels: (L,) the share touched or removed.
        seeds: Seeds that are complete at every level; slope, ranks and knees rest on these.
        slope: Estimates of shape (K,): change of recall per unit of stress, least squares.
        ranks: (K, K), [class, rank]: probability that a class falls most (rank 0), second most, ...
            by its slope; None with fewer than two seeds.
        knees: The bend of each class's recall curve.
    """

    kind: str
    conditions: tuple[Condition, ...]
    levels: Floats
    seeds: tuple[int, ...]
    slope: Estimate
    ranks: Floats | None
    knees: tuple[Knee, ...]


@dataclass(frozen=True)
class Direction:
    """Whether a confusion has a direction, for each pair i < j, in test images.

    Attributes:
        pairs: (P, 2) class indices.
        difference: Estimates of shape (P,): C[i, j] - C[j, i].
        marked: (P,) pairs whose difference is not 0 at a false discovery rate of alpha.
        asymmetry: Overall measure in [0, 1] of the summed counts (`confusion.asymmetry`).
    """

    pairs: NDArray[np.int64]
    difference: Estimate
    marked: NDArray[np.bool_]
    asymmetry: float


@dataclass(frozen=True)
class Cost:
    """What a share of wrong labels costs against the same records being absent, in recall.

    Attributes:
        noise: The noise condition.
        control: The reduction that removes exactly the records the noise touches.
        less_data: (K,) estimates of baseline - control: the cost of not having these records.
        misled: (K,) estimates of control - noise: the further cost of being told wrong.
        overall_less_data: The same over all classes, in accuracy.
        overall_misled: The same over all classes, in accuracy.
        overall_balance: Misled minus less data, over all classes: which of the two weighs more.
        seeds: The seeds that were paired.
    """

    noise: Condition
    control: Condition
    less_data: Estimate
    misled: Estimate
    overall_less_data: Estimate
    overall_misled: Estimate
    overall_balance: Estimate
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Results:
    """Everything the report of one study shows.

    Attributes:
        study: The runs.
        alpha: 1 - coverage of intervals, and the false discovery rate of marks.
        recall: Condition -> (K,) estimates.
        accuracy: Condition -> estimate.
        fall: Condition -> (K,) estimates of baseline recall - recall.
        accuracy_fall: Condition -> estimate of baseline accuracy - accuracy.
        relative: Condition -> relative matrix; without the baseline itself.
        curves: Kind of stress -> dose-response.
        direction: Condition -> directions.
        costs: Noise against its matched-clean control, where both were run.
    """

    study: Study
    alpha: float
    recall: Mapping[str, Estimate]
    accuracy: Mapping[str, Estimate]
    fall: Mapping[str, Estimate]
    accuracy_fall: Mapping[str, Estimate]
    relative: Mapping[str, RelativeMatrix]
    curves: Mapping[str, Curve]
    direction: Mapping[str, Direction]
    costs: tuple[Cost, ...]


def analyse(study: Study, *, alpha: float = 0.05, resamples: int = 2000, seed: int = 0) -> Results:
    """Computes everything the report shows.

    Args:
        study: The runs of one recipe.
        alpha: 1 - coverage of intervals, and the false discovery rate of marks, in (0, 1).
        resamples: Bootstrap draws for ranks and knees.
        seed: Of those draws; the same runs and seed give the same numbers to the last bit.
    """
    names = [condition.name for condition in study.conditions]
    paired = [name for name in names if name != BASELINE and study.has(BASELINE) and study.common_seeds(name, BASELINE)]
    kinds = [*study.noise_kinds, "reduction"]
    curves = {}
    for kind in kinds:
        # Every series has draws of its own, so that adding runs of one kind leaves another's alone.
        rng = np.random.default_rng([seed, *kind.encode()])
        curve = _curve(study, kind, alpha, resamples, rng)
        if curve is not None:
            curves[kind] = curve
    return Results(
        study=study,
        alpha=alpha,
        recall=MappingProxyType({name: _share(contrast(study, {name: 1.0}, alpha=alpha)) for name in names}),
        accuracy=MappingProxyType(
            {name: _share(contrast(study, {name: 1.0}, alpha=alpha, overall=True)) for name in names}
        ),
        fall=MappingProxyType({name: contrast(study, {BASELINE: 1.0, name: -1.0}, alpha=alpha) for name in paired}),
        accuracy_fall=MappingProxyType(
            {name: contrast(study, {BASELINE: 1.0, name: -1.0}, alpha=alpha, overall=True) for name in paired}
        ),
        relative=MappingProxyType({name: relative_matrix(study, name, alpha=alpha) for name in paired}),
        curves=MappingProxyType(curves),
        direction=MappingProxyType({name: _direction(study, name, alpha) for name in names}),
        costs=tuple(_costs(study, alpha)),
    )


def contrast(study: Study, weights: Mapping[str, float], *, alpha: float = 0.05, overall: bool = False) -> Estimate:
    """A weighted sum of the recalls of some conditions, paired by seed and by test image.

    Args:
        study: The runs.
        weights: Condition -> weight; `{"baseline": 1, "reduction-0.2": -1}` is a fall.
        alpha: 1 - the interval's coverage.
        overall: One estimate of accuracy instead of one recall a class.

    Returns:
        Estimates of shape (K,), or () if overall; NaN for a class without test images.

    Raises:
        ValueError: No seed is complete at all the conditions.
    """
    seeds = study.common_seeds(*weights)
    if not seeds:
        raise ValueError(f"no seed is complete at all of {', '.join(weights)}")
    values = np.zeros((len(seeds), len(study.labels)))
    for name, weight in weights.items():
        values += weight * (study.preds_of(name, seeds) == study.labels)
    if overall:
        return statistics.estimate(values / len(study.labels), study.labels, alpha=alpha)
    return _stack(
        [
            statistics.estimate(values[:, inside] / inside.sum(), alpha=alpha) if inside.any() else _unknown(len(seeds))
            for inside in (study.labels == c for c in range(study.num_classes))
        ]
    )


def _share(estimate: Estimate) -> Estimate:
    """A share cannot leave [0, 1], whatever a t interval over few seeds says."""
    return replace(estimate, low=np.clip(estimate.low, 0, 1), high=np.clip(estimate.high, 0, 1))


def cell_contrast(study: Study, weights: Mapping[tuple[str, int, int], float], *, alpha: float = 0.05) -> Estimate:
    """A weighted sum of confusion counts, such as cat -> deer minus deer -> cat at the baseline.

    Args:
        study: The runs.
        weights: (condition, true class, predicted class) -> weight.
        alpha: 1 - the interval's coverage.

    Returns:
        One estimate, in test images times the weights' unit.

    Raises:
        ValueError: No seed is complete at all the conditions.
    """
    names = list(dict.fromkeys(name for name, _, _ in weights))
    seeds = study.common_seeds(*names)
    if not seeds:
        raise ValueError(f"no seed is complete at all of {', '.join(names)}")
    involved = np.isin(study.labels, [true for _, true, _ in weights])
    labels = study.labels[involved]
    preds = {name: study.preds_of(name, seeds)[:, involved] for name in names}
    values = np.zeros((len(seeds), len(labels)))
    for (name, true, predicted), weight in weights.items():
        values += weight * ((labels == true) & (preds[name] == predicted))
    return statistics.estimate(values, labels, alpha=alpha)


def _unknown(seeds: int) -> Estimate:
    nothing = np.full((), np.nan)
    return Estimate(nothing, nothing, nothing, nothing, np.full(seeds, np.nan))


def _stack(estimates: list[Estimate]) -> Estimate:
    return Estimate(
        value=np.stack([e.value for e in estimates]),
        low=np.stack([e.low for e in estimates]),
        high=np.stack([e.high for e in estimates]),
        p=np.stack([e.p for e in estimates]),
        per_seed=np.stack([e.per_seed for e in estimates], axis=1),
    )


def relative_matrix(study: Study, name: str, other: str = BASELINE, *, alpha: float = 0.05) -> RelativeMatrix:
    """Condition minus another (the baseline unless told otherwise), with an interval for each cell.

    Args:
        study: The runs.
        name: The condition.
        other: What is taken from it.
        alpha: 1 - coverage of the intervals, and the false discovery rate of the marks.

    Raises:
        ValueError: No seed is complete at both.
    """
    seeds = study.common_seeds(name, other)
    if not seeds:
        raise ValueError(f"no seed is complete at both {name} and {other}")
    mine, theirs = study.preds_of(name, seeds), study.preds_of(other, seeds)
    classes = np.arange(study.num_classes)
    rows = []
    for c in classes:
        inside = study.labels == c
        # (S, images of the class, K): +1 where the condition predicts a class, -1 where the other does
        change = (mine[:, inside, np.newaxis] == classes).astype(np.int8)
        change -= theirs[:, inside, np.newaxis] == classes
        rows.append(statistics.estimate(change, alpha=alpha))
    cells = _stack(rows)
    return RelativeMatrix(cells, statistics.discoveries(cells.p, alpha), tuple(seeds))


def _curve(study: Study, kind: str, alpha: float, resamples: int, rng: np.random.Generator) -> Curve | None:
    conditions = _levels_with_common_seeds(study, study.series(kind))
    if len(conditions) < 2:
        return None
    names = [condition.name for condition in conditions]
    seeds = study.common_seeds(*names)
    levels = np.array([c.reduction if kind == "reduction" else c.noise for c in conditions])
    weights = dict(zip(names, statistics.slope_weights(levels), strict=True))
    slope = contrast(study, weights, alpha=alpha)
    # (S, n, L) whether each image is right at each level, as a share of its class
    totals = np.bincount(study.labels, minlength=study.num_classes)[study.labels]
    right = np.stack([study.preds_of(name, seeds) == study.labels for name in names], axis=-1)
    shares = right / totals[:, np.newaxis]
    knees = []
    seed_weights = statistics.seed_weights(len(seeds), resamples, rng)
    slopes = np.full((resamples, study.num_classes), np.nan)
    for c in range(study.num_classes):
        inside = study.labels == c
        if len(seeds) < 2 or not inside.any():
            knees.append(NO_KNEE)
            continue
        draws = statistics.resample(shares[:, inside], study.labels[inside], seed_weights, rng)
        slopes[:, c] = draws @ np.array(list(weights.values()))
        curve = shares[:, inside].sum(axis=1).mean(axis=0)
        knees.append(statistics.knee(levels, curve, draws, alpha=alpha))
    # Ten curves give ten chances of a bend: a knee must stand out among the classes.
    bent = statistics.discoveries(np.array([knee.p for knee in knees]), alpha)
    knees = [knee if stands else replace(NO_KNEE, p=knee.p) for knee, stands in zip(knees, bent, strict=True)]
    ranks = statistics.rank_probabilities(-slopes) if len(seeds) > 1 else None
    return Curve(kind, tuple(conditions), levels, tuple(seeds), slope, ranks, tuple(knees))


def _levels_with_common_seeds(study: Study, series: list[Condition]) -> list[Condition]:
    """The baseline and the levels that share seeds with it and with each other, two if any do.

    A curve rests on seeds that are complete at every level. A level with too few of them is left out,
    fewest seeds first, rather than taking the seeds away from all the others.
    """
    if not series:
        return []
    shared = {condition.name: len(study.common_seeds(BASELINE, condition.name)) for condition in series[1:]}
    enough = min(2, max(shared.values()))
    kept = [condition for condition in series[1:] if shared[condition.name] >= max(1, enough)]
    while kept and len(study.common_seeds(BASELINE, *(condition.name for condition in kept))) < max(1, enough):
        kept.remove(min(reversed(kept), key=lambda condition: shared[condition.name]))
    return [series[0], *kept]


def _direction(study: Study, name: str, alpha: float) -> Direction:
    seeds = study.common_seeds(name)
    preds = study.preds_of(name, seeds)
    pairs = np.array(list(combinations(range(study.num_classes), 2)), np.int64)
    estimates = []
    for i, j in pairs:
        inside = (study.labels == i) | (study.labels == j)
        labels = study.labels[inside]
        forth = (labels == i) & (preds[:, inside] == j)
        back = (labels == j) & (preds[:, inside] == i)
        estimates.append(statistics.estimate(forth.astype(np.int8) - back, labels, alpha=alpha))
    difference = _stack(estimates)
    marked = statistics.discoveries(difference.p, alpha)
    return Direction(pairs, difference, marked, asymmetry(study.counts_of(name, seeds).sum(axis=0)))


def _costs(study: Study, alpha: float) -> list[Cost]:
    costs = []
    for kind in study.noise_kinds:
        for noise in study.series(kind)[1:]:
            for control in study.series("reduction")[1:]:
                if control.reduction != noise.noise:
                    continue
                names = (BASELINE, control.name, noise.name)
                seeds = study.common_seeds(*names)
                if not seeds:
                    continue
                # A weight of 0 keeps all three paired: both costs rest on the same seeds.
                less = dict(zip(names, (1.0, -1.0, 0.0), strict=True))
                misled = dict(zip(names, (0.0, 1.0, -1.0), strict=True))
                balance = {name: misled[name] - less[name] for name in names}
                costs.append(
                    Cost(
                        noise=noise,
                        control=control,
                        less_data=contrast(study, less, alpha=alpha),
                        misled=contrast(study, misled, alpha=alpha),
                        overall_less_data=contrast(study, less, alpha=alpha, overall=True),
                        overall_misled=contrast(study, misled, alpha=alpha, overall=True),
                        overall_balance=contrast(study, balance, alpha=alpha, overall=True),
                        seeds=tuple(seeds),
                    )
                )
    return costs
