"""From one study to what its report says: relative matrices, falls, curves, directions, costs.

No files and no pictures. Shares are in [0, 1], cells in test images; every difference is paired by
seed, and every interval covers new seeds and new test images (`estimate.Estimate`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import (
    PairFamily,
    accuracy_contrast,
    cell_contrasts,
    centred_class_contrasts,
    class_contrasts,
    pair_contrasts,
    shared_seeds,
)
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.exchange import exchange_rates
from class_sensitivity.analysis.omnibus import OmnibusTest, SumsOverImages, omnibus_test
from class_sensitivity.analysis.results import (
    LOSS_PER_SLOPE,
    MAX_OMNIBUS_CLASSES,
    MIN_MEAN_COUNT,
    ConditionResult,
    Cost,
    Curve,
    Direction,
    RelativeMatrix,
    Results,
    Twins,
    VersusBaseline,
)
from class_sensitivity.analysis.sideways import sideways_shifts
from class_sensitivity.analysis.statistics import NO_KNEE, VarianceComponents
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import asymmetry
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.stress.noise.human import Human, HumanMatched

Floats = NDArray[np.float64]


def analyse(study: Study, *, alpha: float = 0.05, resamples: int = 2000, seed: int = 0) -> Results:
    """Computes everything the report shows.

    Args:
        study: The runs of one recipe.
        alpha: 1 - coverage of intervals, and the false discovery rate of marks, in (0, 1).
        resamples: Bootstrap draws for ranks and knees.
        seed: Of those draws; the same runs and seed give the same numbers to the last bit.

    Examples:
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (noisy, 1): [0, 1, 1, 1]}
        >>> results = analyse(Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog")))
        >>> results.of(noisy).recall.value
        array([0.5, 1. ])
        >>> cells = results.relative(noise_frac=0.2).to_pandas()
        >>> float(cells.loc["cat", "dog"])  # one more cat is taken for a dog
        1.0
    """
    curves = {}
    for kind in [*study.noise_series, *study.reduction_series]:
        # Every series has draws of its own, so that adding runs of one kind leaves another's alone.
        rng = np.random.default_rng([seed, *kind.encode()])
        curve = dose_response(study, kind, rng, alpha=alpha, resamples=resamples)
        if curve is not None:
            curves[kind] = curve
    exchange = tuple(exchange_rates(study, alpha=alpha))
    return Results(
        study=study,
        alpha=alpha,
        conditions=tuple(_condition_result(study, condition, alpha) for condition in study.conditions),
        curves=MappingProxyType(curves),
        costs=tuple(_costs(study, alpha)),
        exchange=exchange,
        sideways=tuple(sideways_shifts(study, exchange, alpha=alpha)),
        twins=tuple(_twins(study, alpha)),
    )


def _condition_result(study: Study, condition: Condition, alpha: float) -> ConditionResult:
    alone = {condition: 1.0}
    return ConditionResult(
        condition=condition,
        recall=class_contrasts(study, alone, alpha=alpha),
        accuracy=accuracy_contrast(study, alone, alpha=alpha),
        direction=_direction(study, condition, alpha),
        versus_baseline=_versus_baseline(study, condition, alpha),
    )


def _versus_baseline(study: Study, condition: Condition, alpha: float) -> VersusBaseline | None:
    if condition == BASELINE or not study.has(BASELINE) or not study.common_seeds(condition, BASELINE):
        return None
    fall = {BASELINE: 1.0, condition: -1.0}
    return VersusBaseline(
        fall=class_contrasts(study, fall, alpha=alpha),
        accuracy_fall=accuracy_contrast(study, fall, alpha=alpha),
        relative=relative_matrix(study, condition, alpha=alpha),
    )


def relative_matrix(
    study: Study, condition: Condition, other: Condition = BASELINE, *, alpha: float = 0.05
) -> RelativeMatrix:
    """A condition minus another (the baseline unless told otherwise), with an interval for each cell.

    Args:
        study: The runs.
        condition: The condition.
        other: What is taken from it.
        alpha: 1 - coverage of the intervals, and the false discovery rate of the marks.

    Raises:
        ValueError: No seed is complete at both.

    Examples:
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (noisy, 1): [0, 1, 1, 1]}
        >>> relative_matrix(Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog")), noisy).cells.value
        array([[-1.,  1.],
               [ 0.,  0.]])
    """
    seeds = shared_seeds(study, [condition, other])
    cells = cell_contrasts(study, {condition: 1.0, other: -1.0}, alpha=alpha)
    mean = (study.counts_of(condition, seeds) + study.counts_of(other, seeds)).mean(axis=0) / 2
    judged = mean >= MIN_MEAN_COUNT
    marked = statistics.benjamini_hochberg(np.where(judged, cells.p, np.nan), alpha)
    return RelativeMatrix(condition, other, study.class_names, cells, judged, marked, tuple(seeds))


def dose_response(
    study: Study, kind: str, rng: np.random.Generator, *, alpha: float = 0.05, resamples: int = 2000
) -> Curve | None:
    """The curve of one series of levels; None where no level has a seed in common with the baseline.

    Args:
        study: The runs.
        kind: Name of the series (`Condition.series`).
        rng: Draws the bootstrap of ranks and knees.
        alpha: 1 - coverage of intervals, and the false discovery rate of knees.
        resamples: Bootstrap draws.
    """
    conditions = study.paired_series(kind)
    if len(conditions) < 2:
        return None
    seeds = study.common_seeds(*conditions)
    levels = np.array([condition.level for condition in conditions])
    weights = dict(zip(conditions, statistics.slope_weights(levels), strict=True))
    slope = class_contrasts(study, weights, alpha=alpha)
    # (S, n, L) whether each image is right at each level, as a share of its class
    totals = study.class_sizes[study.labels]
    right = np.stack([study.preds_of(condition, seeds) == study.labels for condition in conditions], axis=-1)
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
        drawn = draws @ np.array(list(weights.values())) - slope.value[c]
        spread = drawn.std()
        if spread < 1e-9 * slope.error[c]:  # nothing varied, but a rounding error
            drawn, spread = rng.standard_normal(resamples), 1.0
        # The bootstrap knows each class's own seeds; the interval of the slope has borrowed strength.
        slopes[:, c] = slope.value[c] + drawn * slope.error[c] / spread
        curve = shares[:, inside].sum(axis=1).mean(axis=0)
        knees.append(statistics.knee(levels, curve, draws, alpha=alpha))
    # Ten curves give ten chances of a bend: a knee must stand out among the classes.
    bent = statistics.benjamini_hochberg(np.array([knee.p for knee in knees]), alpha)
    knees = [knee if stands else replace(NO_KNEE, p=knee.p) for knee, stands in zip(knees, bent, strict=True)]
    ranks = statistics.rank_probabilities(-slopes) if len(seeds) > 1 else None
    return Curve(
        kind=kind,
        conditions=tuple(conditions),
        levels=levels,
        seeds=tuple(seeds),
        slope=slope,
        loss_beyond_mean=centred_class_contrasts(study, weights, alpha=alpha).scaled(LOSS_PER_SLOPE),
        slope_gaps=_slope_gaps(study, weights, alpha),
        slopes_differ=_slopes_differ(shares, study, np.array(list(weights.values()))),
        not_straight=_not_straight(shares, study, levels),
        ranks=ranks,
        knees=tuple(knees),
    )


def _slope_gaps(study: Study, weights: Mapping[Condition, float], alpha: float) -> Estimate:
    steeper = {condition: (weight, 0.0) for condition, weight in weights.items()}
    flatter = {condition: (-weight, 0.0) for condition, weight in weights.items()}
    return pair_contrasts(study, steeper, flatter, shares=True, alpha=alpha).scaled(LOSS_PER_SLOPE)


def _slopes_differ(shares: Floats, study: Study, weights: Floats) -> OmnibusTest | None:
    """Tests whether the slopes of the classes differ from their mean."""
    if not _all_classes_can_be_tested(study):
        return None
    parts = _by_class(shares @ weights, study)
    centred = parts - parts.mean(axis=2, keepdims=True)
    return omnibus_test(centred, study.labels, most_seed_freedom=study.num_classes - 1)


def _not_straight(shares: Floats, study: Study, levels: Floats) -> OmnibusTest | None:
    """Tests whether the recall of any class bends with the level: whether it has a quadratic component."""
    if not _all_classes_can_be_tested(study) or len(levels) < 3:
        return None
    # One contrast a class, orthogonal to every straight line: a smooth bend is not diluted by other departures.
    bends = shares @ statistics.bend_weights(levels)
    return omnibus_test(_by_class(bends, study), study.labels, most_seed_freedom=study.num_classes - 1)


def _all_classes_can_be_tested(study: Study) -> bool:
    """Whether every class has test images, and there are not too many classes for one test."""
    return study.num_classes <= MAX_OMNIBUS_CLASSES and bool((study.class_sizes > 0).all())


def _by_class(values: Floats, study: Study) -> Floats:
    """(S, n, K) each image's (S, n) value in the column of its own class, 0 in the others."""
    own = study.labels[:, np.newaxis] == np.arange(study.num_classes)
    return np.asarray(values[:, :, np.newaxis] * own)


def _direction(study: Study, condition: Condition, alpha: float) -> Direction:
    seeds = study.common_seeds(condition)
    pairs = np.array(list(combinations(range(study.num_classes), 2)), np.int64)
    forth_minus_back = PairFamily.of(study, {condition: (0.0, 1.0)}, {condition: (0.0, -1.0)})
    difference = forth_minus_back.estimate(alpha=alpha)[tuple(pairs.T)]
    counts = study.counts_of(condition, seeds).sum(axis=0)
    confused = counts.sum() - np.trace(counts)
    new_images, these_images = _symmetry_tests(study, condition, seeds, pairs)
    return Direction(
        pairs=pairs,
        difference=difference,
        marked=statistics.benjamini_hochberg(difference.p, alpha),
        asymmetry=asymmetry(counts),
        asymmetry_by_chance=_asymmetry_by_chance(forth_minus_back.components, pairs, confused / len(seeds)),
        symmetry_new_images=new_images,
        symmetry_these_images=these_images,
    )


def _asymmetry_by_chance(components: VarianceComponents, pairs: NDArray[np.int64], confused: float) -> float:
    """The asymmetry that differences would have if chance alone made them.

    Here pairs that are hardly ever confused are most of the sum, and few are by so much that they can be told from
    chance. So no error is kept above what one image makes, as for an interval; and the variance over seeds is in each
    pair as many times its interaction as it is in all of them together.

    Args:
        components: (K, K) of the differences.
        pairs: (P, 2) class indices.
        confused: Confusions of all pairs, in the mean over seeds.

    Returns:
        In [0, 1]; NaN with one seed, or without a confusion.
    """
    if components.seeds < 2 or not confused:
        return np.nan
    of_pairs = tuple(pairs.T)
    interaction = components.interaction[of_pairs]
    seeds = components.per_seed.var(axis=0, ddof=1)[of_pairs]
    often = max(1.0, seeds.sum() / interaction.sum()) if interaction.any() else 1.0
    errors = np.sqrt(components.image_variance[of_pairs] + often * interaction / components.seeds)
    # The mean of |x| is sqrt(2 / pi) standard deviations of x.
    return float(np.minimum(1, np.sqrt(2 / np.pi) * errors.sum() / confused))


def _symmetry_tests(
    study: Study, condition: Condition, seeds: Sequence[int], pairs: NDArray[np.int64]
) -> tuple[OmnibusTest | None, OmnibusTest | None]:
    """Tests whether any pair of classes has a direction, on new images and on these."""
    if study.num_classes > MAX_OMNIBUS_CLASSES or len(seeds) < 2:
        return None, None
    # [true, predicted] -> the pair, and the sign with which it counts
    place, sign = (np.zeros((study.num_classes, study.num_classes), np.int64) for _ in range(2))
    for number, (i, j) in enumerate(pairs):
        place[i, j] = place[j, i] = number
        sign[i, j], sign[j, i] = 1, -1
    preds = study.preds_of(condition, seeds)
    signs = sign[study.labels, preds]
    values = np.zeros((*preds.shape, len(pairs)), np.int8)
    np.put_along_axis(values, place[study.labels, preds][:, :, np.newaxis], signs[:, :, np.newaxis].astype(np.int8), 2)
    # The covariances are what takes the time, and the two questions share them.
    sums, freedom = SumsOverImages.of(values, study.labels), study.num_classes - 1
    return (
        sums.test(most_seed_freedom=freedom, new_images=True),
        sums.test(most_seed_freedom=freedom, new_images=False),
    )


def _twins(study: Study, alpha: float) -> Iterator[Twins]:
    for human in study.conditions:
        matched = replace(human, noise_kind=HumanMatched.name)
        if human.noise_kind != Human.name or not study.has(matched) or not study.common_seeds(human, matched):
            continue
        difference = {human: 1.0, matched: -1.0}
        yield Twins(
            human,
            matched,
            accuracy_contrast(study, difference, alpha=alpha),
            class_contrasts(study, difference, alpha=alpha),
            relative_matrix(study, human, matched, alpha=alpha),
        )


def removes_what_is_touched(control: Condition, noise: Condition) -> bool:
    """Whether a reduction takes away exactly the examples that a noise touches, at the same seed."""
    return not noise.noise_classes and (control.level, control.stratified) == (noise.level, noise.stratified)


def _costs(study: Study, alpha: float) -> list[Cost]:
    costs = []
    controls = [control for name in study.reduction_series for control in study.series(name)[1:]]
    for kind in study.noise_series:
        for noise in study.series(kind)[1:]:
            for control in controls:
                if not removes_what_is_touched(control, noise):
                    continue
                three = (BASELINE, control, noise)
                seeds = study.common_seeds(*three)
                if not seeds:
                    continue
                # A weight of 0 keeps all three paired: both costs rest on the same seeds.
                less = dict(zip(three, (1.0, -1.0, 0.0), strict=True))
                misled = dict(zip(three, (0.0, 1.0, -1.0), strict=True))
                balance = {condition: misled[condition] - less[condition] for condition in three}
                costs.append(
                    Cost(
                        noise=noise,
                        control=control,
                        less_data=class_contrasts(study, less, alpha=alpha),
                        misled=class_contrasts(study, misled, alpha=alpha),
                        overall_less_data=accuracy_contrast(study, less, alpha=alpha),
                        overall_misled=accuracy_contrast(study, misled, alpha=alpha),
                        overall_balance=accuracy_contrast(study, balance, alpha=alpha),
                        seeds=tuple(seeds),
                    )
                )
    return costs
