"""From one study to what its report says: relative matrices, falls, curves, directions, costs.

No files and no pictures. Shares are in [0, 1], cells in test images; every difference is paired by
seed, and every interval covers new seeds and new test images (`estimate.Estimate`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import (
    accuracy_contrast,
    cell_contrasts,
    class_contrasts,
    pair_contrasts,
    shared_seeds,
)
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.statistics import NO_KNEE, Knee
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import asymmetry
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]

#: A cell is judged if it holds at least so many images in the mean of condition and baseline: in emptier ones marks
#: are false too often (docs/statistics.md).
MIN_MEAN_COUNT = 5.0

#: Most classes for which omnibus tests over pairs are made: their covariance grows with the fourth power of K.
MAX_OMNIBUS_CLASSES = 30


@dataclass(frozen=True, eq=False, repr=False)
class RelativeMatrix:
    """A condition minus another, the baseline as a rule, in test images.

    Attributes:
        condition: The condition.
        other: What is taken from it.
        class_names: The K names.
        cells: Estimates of shape (K, K), [true, predicted].
        judged: (K, K) cells that hold enough images for a mark to mean anything (`MIN_MEAN_COUNT`).
        marked: (K, K) judged cells that differ from 0 at a false discovery rate of alpha over all judged cells.
        seeds: The seeds that were paired.
    """

    condition: Condition
    other: Condition
    class_names: tuple[str, ...]
    cells: Estimate
    judged: NDArray[np.bool_]
    marked: NDArray[np.bool_]
    seeds: tuple[int, ...]

    def to_pandas(self) -> pd.DataFrame:
        """The differences, true class x predicted class, in test images; every row sums to 0."""
        names = list(self.class_names)
        return pd.DataFrame(
            self.cells.value, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted")
        )

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.condition.label} minus {self.other.label}"

    def __repr__(self) -> str:
        return f"<RelativeMatrix: {self.title}, {len(self.seeds)} seeds>"

    def _repr_html_(self) -> str:
        cells = self.to_pandas().map("{:+.1f}".format)
        cells = cells.where(~self.marked, cells + " *")
        title = f"{self.title}, in test images, mean of {len(self.seeds)} seeds; * differs from 0"
        return titled_table(title, cells)


@dataclass(frozen=True)
class Curve:
    """A dose-response series of one kind of stress.

    Attributes:
        kind: A kind of noise, or `reduction`.
        conditions: The baseline first, then rising levels.
        levels: (L,) the share touched or removed.
        seeds: Seeds that are complete at every level; slope, ranks and knees rest on these.
        slope: Estimates of shape (K,): change of recall per unit of stress, least squares.
        slope_gaps: Estimates of shape (K, K), [steeper, flatter]: points that one class loses more than another per 10
            points of stress; NaN on the diagonal.
        slopes_differ: Whether the classes differ in slope at all; None with fewer than two seeds.
        not_straight: Whether any class's curve bends; None with fewer than two seeds or three levels.
        ranks: (K, K), [class, rank]: probability that a class falls most (rank 0), second most, ...
            by its slope; None with fewer than two seeds.
        knees: The bend of each class's recall curve.
    """

    kind: str
    conditions: tuple[Condition, ...]
    levels: Floats
    seeds: tuple[int, ...]
    slope: Estimate
    slope_gaps: Estimate
    slopes_differ: OmnibusTest | None
    not_straight: OmnibusTest | None
    ranks: Floats | None
    knees: tuple[Knee, ...]

    @property
    def label(self) -> str:
        """What this kind of stress is called, for people."""
        return "data reduction" if self.kind == "reduction" else f"label noise ({self.kind})"

    @property
    def loss(self) -> Estimate:
        """Estimates of shape (K,): points of recall lost per 10 points of stress."""
        return self.slope.scaled(LOSS_PER_SLOPE)


#: From change of recall per unit of stress to points of recall lost per 10 points of stress.
LOSS_PER_SLOPE = -10.0


@dataclass(frozen=True)
class Direction:
    """Whether a confusion has a direction, for each pair i < j, in test images.

    Attributes:
        pairs: (P, 2) class indices.
        difference: Estimates of shape (P,): C[i, j] - C[j, i].
        marked: (P,) pairs whose difference is not 0 at a false discovery rate of alpha.
        asymmetry: Overall measure in [0, 1] of the summed counts (`confusion.asymmetry`).
        asymmetry_by_chance: What it would be about if no pair had a direction: differences are never exactly 0.
        symmetry_new_images: Whether any pair has a direction, asked of new images.
        symmetry_these_images: The same, asked of these test images alone; each None with fewer than two seeds or
            more than `MAX_OMNIBUS_CLASSES` classes.
    """

    pairs: NDArray[np.int64]
    difference: Estimate
    marked: NDArray[np.bool_]
    asymmetry: float
    asymmetry_by_chance: float
    symmetry_new_images: OmnibusTest | None
    symmetry_these_images: OmnibusTest | None


@dataclass(frozen=True)
class Cost:
    """What a share of wrong labels costs against the same examples being absent, in recall.

    Attributes:
        noise: The noise condition.
        control: The reduction that removes exactly the examples the noise touches.
        less_data: (K,) estimates of baseline - control: the cost of not having these examples.
        misled: (K,) estimates of control - noise: the further cost of their wrong labels.
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
class VersusBaseline:
    """A condition compared with the baseline, over the seeds that both have.

    Attributes:
        fall: (K,) estimates of baseline recall - recall.
        accuracy_fall: Estimate of baseline accuracy - accuracy.
        relative: The relative matrix.
    """

    fall: Estimate
    accuracy_fall: Estimate
    relative: RelativeMatrix


@dataclass(frozen=True)
class ConditionResult:
    """Everything known of one condition.

    Attributes:
        condition: Which.
        recall: (K,) estimates.
        accuracy: Estimate.
        direction: Which confusions have a direction.
        versus_baseline: The comparison; None for the baseline itself, and without a seed in common.
    """

    condition: Condition
    recall: Estimate
    accuracy: Estimate
    direction: Direction
    versus_baseline: VersusBaseline | None


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """Everything the report of one study shows.

    Attributes:
        study: The runs.
        alpha: 1 - coverage of intervals, and the false discovery rate of marks.
        conditions: One result a condition, in the order of the study.
        curves: Kind of stress -> dose-response.
        costs: Noise against its matched-clean control, where both were run.
    """

    study: Study
    alpha: float
    conditions: tuple[ConditionResult, ...]
    curves: Mapping[str, Curve]
    costs: tuple[Cost, ...]

    def of(self, condition: Condition) -> ConditionResult:
        """The result of a condition.

        Raises:
            LookupError: It was not run.
        """
        for result in self.conditions:
            if result.condition == condition:
                return result
        there = ", ".join(result.condition.name for result in self.conditions)
        raise LookupError(f"{condition.name} was not run; there is {there}.")

    @property
    def baseline(self) -> ConditionResult | None:
        """The result of the baseline, or None if it was not run."""
        return self.of(BASELINE) if self.study.has(BASELINE) else None

    @property
    def reference(self) -> ConditionResult:
        """The result of the baseline, or of the first condition where there is no baseline."""
        return self.baseline or self.conditions[0]

    @property
    def compared(self) -> dict[Condition, VersusBaseline]:
        """Every condition that can be compared with the baseline, with its comparison."""
        return {
            result.condition: result.versus_baseline for result in self.conditions if result.versus_baseline is not None
        }

    def relative(self, **values: Any) -> RelativeMatrix:
        """The relative matrix of a condition, found by its values.

        Args:
            **values: As for `Study.find`, such as `noise_frac=0.2`.

        Raises:
            LookupError: There is no such condition, or it cannot be compared with the baseline.
        """
        condition = self.study.find(**values)
        versus = self.of(condition).versus_baseline
        if versus is None:
            reason = "it is the baseline" if condition.is_baseline else "it has no seed in common with the baseline"
            raise LookupError(f"{condition.name} cannot be compared with the baseline: {reason}.")
        return versus.relative

    def __repr__(self) -> str:
        return f"<Results of {self.study!r}>"

    def _repr_html_(self) -> str:
        reference = self.reference
        columns = {f"recall at {reference.condition.label}, %": reference.recall.scaled(100)}
        columns |= {f"points lost per 10 points of {curve.label}": curve.loss for curve in self.curves.values()}
        texts = {
            name: [each[index].text() for index in range(self.study.num_classes)] for name, each in columns.items()
        }
        title = f"{self.study.data}, {self.study.model}: accuracy {reference.accuracy.scaled(100).text(unit='%')}"
        return titled_table(title, pd.DataFrame(texts, index=list(self.study.class_names)))


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
    for kind in [*study.noise_kinds, "reduction"]:
        # Every series has draws of its own, so that adding runs of one kind leaves another's alone.
        rng = np.random.default_rng([seed, *kind.encode()])
        curve = _curve(study, kind, alpha, resamples, rng)
        if curve is not None:
            curves[kind] = curve
    return Results(
        study=study,
        alpha=alpha,
        conditions=tuple(_condition_result(study, condition, alpha) for condition in study.conditions),
        curves=MappingProxyType(curves),
        costs=tuple(_costs(study, alpha)),
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


def _curve(study: Study, kind: str, alpha: float, resamples: int, rng: np.random.Generator) -> Curve | None:
    conditions = _levels_with_common_seeds(study, study.series(kind))
    if len(conditions) < 2:
        return None
    seeds = study.common_seeds(*conditions)
    levels = np.array([condition.level for condition in conditions])
    weights = dict(zip(conditions, statistics.slope_weights(levels), strict=True))
    slope = class_contrasts(study, weights, alpha=alpha)
    # (S, n, L) whether each image is right at each level, as a share of its class
    totals = np.bincount(study.labels, minlength=study.num_classes)[study.labels]
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
    classes = np.arange(study.num_classes)
    if study.num_classes > MAX_OMNIBUS_CLASSES or (study.class_sizes == 0).any():
        return None
    # (S, n, K): an image's part of the slope of its own class
    parts = (shares @ weights)[:, :, np.newaxis] * (study.labels[:, np.newaxis] == classes)
    centred = parts - parts.mean(axis=2, keepdims=True)
    return omnibus_test(centred, study.labels, most_seed_freedom=study.num_classes - 1)


def _not_straight(shares: Floats, study: Study, levels: Floats) -> OmnibusTest | None:
    """Tests whether the recall of any class bends with the level: whether it has a quadratic component."""
    if study.num_classes > MAX_OMNIBUS_CLASSES or len(levels) < 3 or (study.class_sizes == 0).any():
        return None
    # One contrast a class, orthogonal to every straight line: a smooth bend is not diluted by other departures.
    bend = np.linalg.qr(np.vander(levels, 3, increasing=True))[0][:, 2]
    own = study.labels[:, np.newaxis] == np.arange(study.num_classes)
    parts = (shares @ bend)[:, :, np.newaxis] * own
    return omnibus_test(parts, study.labels, most_seed_freedom=study.num_classes - 1)


def _levels_with_common_seeds(study: Study, series: list[Condition]) -> list[Condition]:
    """The baseline and the levels that share seeds with it and with each other, two if any do.

    A curve rests on seeds that are complete at every level. A level with too few of them is left out,
    fewest seeds first, rather than taking the seeds away from all the others.
    """
    if not series:
        return []
    shared = {condition: len(study.common_seeds(BASELINE, condition)) for condition in series[1:]}
    enough = max(1, min(2, max(shared.values())))
    kept = [condition for condition in series[1:] if shared[condition] >= enough]
    while kept and len(study.common_seeds(BASELINE, *kept)) < enough:
        kept.remove(min(reversed(kept), key=lambda condition: shared[condition]))
    return [series[0], *kept]


def _direction(study: Study, condition: Condition, alpha: float) -> Direction:
    seeds = study.common_seeds(condition)
    pairs = np.array(list(combinations(range(study.num_classes), 2)), np.int64)
    forth_minus_back = pair_contrasts(study, {condition: (0.0, 1.0)}, {condition: (0.0, -1.0)}, alpha=alpha)
    difference = forth_minus_back[tuple(pairs.T)]
    counts = study.counts_of(condition, seeds).sum(axis=0)
    confused = counts.sum() - np.trace(counts)
    # The mean of |x| is sqrt(2 / pi) standard deviations of x.
    chance = np.sqrt(2 / np.pi) * len(seeds) * difference.error.sum() / confused if confused else np.nan
    new_images, these_images = _symmetry_tests(study, condition, seeds, pairs)
    return Direction(
        pairs=pairs,
        difference=difference,
        marked=statistics.benjamini_hochberg(difference.p, alpha),
        asymmetry=asymmetry(counts),
        asymmetry_by_chance=float(np.minimum(chance, 1)),
        symmetry_new_images=new_images,
        symmetry_these_images=these_images,
    )


def _symmetry_tests(
    study: Study, condition: Condition, seeds: Sequence[int], pairs: NDArray[np.int64]
) -> tuple[OmnibusTest | None, OmnibusTest | None]:
    """Tests whether any pair of classes has a direction, on new images and on these."""
    if study.num_classes > MAX_OMNIBUS_CLASSES:
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
    freedom = study.num_classes - 1
    return (
        omnibus_test(values, study.labels, most_seed_freedom=freedom),
        omnibus_test(values, study.labels, most_seed_freedom=freedom, new_images=False),
    )


def _costs(study: Study, alpha: float) -> list[Cost]:
    costs = []
    for kind in study.noise_kinds:
        for noise in study.series(kind)[1:]:
            for control in study.series("reduction")[1:]:
                if control.level != noise.level:
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
