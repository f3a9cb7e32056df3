"""From one study to what its report says: relative matrices, falls, curves, directions, costs.

No files and no pictures. Shares are in [0, 1], cells in test images; every difference is paired by
seed, and every interval covers new seeds and new test images (`statistics.estimate`).
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
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.statistics import NO_KNEE, Estimate, Knee
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import asymmetry
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class RelativeMatrix:
    """A condition minus another, the baseline as a rule, in test images.

    Attributes:
        condition: The condition.
        other: What is taken from it.
        class_names: The K names.
        cells: Estimates of shape (K, K), [true, predicted].
        marked: (K, K) cells that differ from 0 at a false discovery rate of alpha over all cells.
        seeds: The seeds that were paired.
    """

    condition: Condition
    other: Condition
    class_names: tuple[str, ...]
    cells: Estimate
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
    """

    pairs: NDArray[np.int64]
    difference: Estimate
    marked: NDArray[np.bool_]
    asymmetry: float


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
        recall=_share(contrast(study, alone, alpha=alpha)),
        accuracy=_share(contrast(study, alone, alpha=alpha, overall=True)),
        direction=_direction(study, condition, alpha),
        versus_baseline=_versus_baseline(study, condition, alpha),
    )


def _versus_baseline(study: Study, condition: Condition, alpha: float) -> VersusBaseline | None:
    if condition == BASELINE or not study.has(BASELINE) or not study.common_seeds(condition, BASELINE):
        return None
    fall = {BASELINE: 1.0, condition: -1.0}
    return VersusBaseline(
        fall=contrast(study, fall, alpha=alpha),
        accuracy_fall=contrast(study, fall, alpha=alpha, overall=True),
        relative=relative_matrix(study, condition, alpha=alpha),
    )


def _shared_seeds(study: Study, conditions: Sequence[Condition]) -> list[int]:
    """Seeds that are complete at all the conditions; a ValueError if there is none."""
    seeds = study.common_seeds(*conditions)
    if not seeds:
        raise ValueError(f"no seed is complete at all of {', '.join(condition.name for condition in conditions)}")
    return seeds


def contrast(
    study: Study, weights: Mapping[Condition, float], *, alpha: float = 0.05, overall: bool = False
) -> Estimate:
    """A weighted sum of the recalls of some conditions, paired by seed and by test image.

    Args:
        study: The runs.
        weights: Condition -> weight; `{BASELINE: 1, condition: -1}` is a fall.
        alpha: 1 - the interval's coverage.
        overall: One estimate of accuracy instead of one recall a class.

    Returns:
        Estimates of shape (K,), or () if overall; NaN for a class without test images.

    Raises:
        ValueError: No seed is complete at all the conditions.

    Examples:
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (noisy, 1): [0, 1, 1, 1]}
        >>> study = Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog"))
        >>> contrast(study, {BASELINE: 1, noisy: -1}).value
        array([0.5, 0. ])
    """
    seeds = _shared_seeds(study, list(weights))
    values = np.zeros((len(seeds), len(study.labels)))
    for condition, weight in weights.items():
        values += weight * (study.preds_of(condition, seeds) == study.labels)
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


def cell_contrast(
    study: Study, weights: Mapping[tuple[Condition, int, int], float], *, alpha: float = 0.05
) -> Estimate:
    """A weighted sum of confusion counts, such as cat -> deer minus deer -> cat at the baseline.

    Args:
        study: The runs.
        weights: (condition, true class, predicted class) -> weight.
        alpha: 1 - the interval's coverage.

    Returns:
        One estimate, in test images times the weights' unit.

    Raises:
        ValueError: No seed is complete at all the conditions.

    Examples:
        >>> preds = {(BASELINE, 1): [0, 1, 1, 0], (BASELINE, 2): [1, 1, 1, 1]}
        >>> study = Study.of_preds([0, 0, 1, 1], preds, ("cat", "dog"))
        >>> cell_contrast(study, {(BASELINE, 0, 1): 1, (BASELINE, 1, 0): -1}).per_seed  # cat -> dog minus dog -> cat
        array([0., 2.])
    """
    conditions = list(dict.fromkeys(condition for condition, _, _ in weights))
    seeds = _shared_seeds(study, conditions)
    involved = np.isin(study.labels, [true for _, true, _ in weights])
    labels = study.labels[involved]
    preds = {condition: study.preds_of(condition, seeds)[:, involved] for condition in conditions}
    values = np.zeros((len(seeds), len(labels)))
    for (condition, true, predicted), weight in weights.items():
        values += weight * ((labels == true) & (preds[condition] == predicted))
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
    seeds = _shared_seeds(study, [condition, other])
    mine, theirs = study.preds_of(condition, seeds), study.preds_of(other, seeds)
    classes = np.arange(study.num_classes)
    rows = []
    for c in classes:
        inside = study.labels == c
        # (S, images of the class, K): +1 where the condition predicts a class, -1 where the other does
        change = (mine[:, inside, np.newaxis] == classes).astype(np.int8)
        change -= theirs[:, inside, np.newaxis] == classes
        rows.append(statistics.estimate(change, alpha=alpha))
    cells = _stack(rows)
    marked = statistics.benjamini_hochberg(cells.p, alpha)
    return RelativeMatrix(condition, other, study.class_names, cells, marked, tuple(seeds))


def _curve(study: Study, kind: str, alpha: float, resamples: int, rng: np.random.Generator) -> Curve | None:
    conditions = _levels_with_common_seeds(study, study.series(kind))
    if len(conditions) < 2:
        return None
    seeds = study.common_seeds(*conditions)
    levels = np.array([condition.level for condition in conditions])
    weights = dict(zip(conditions, statistics.slope_weights(levels), strict=True))
    slope = contrast(study, weights, alpha=alpha)
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
        slopes[:, c] = draws @ np.array(list(weights.values()))
        curve = shares[:, inside].sum(axis=1).mean(axis=0)
        knees.append(statistics.knee(levels, curve, draws, alpha=alpha))
    # Ten curves give ten chances of a bend: a knee must stand out among the classes.
    bent = statistics.benjamini_hochberg(np.array([knee.p for knee in knees]), alpha)
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
    shared = {condition: len(study.common_seeds(BASELINE, condition)) for condition in series[1:]}
    enough = max(1, min(2, max(shared.values())))
    kept = [condition for condition in series[1:] if shared[condition] >= enough]
    while kept and len(study.common_seeds(BASELINE, *kept)) < enough:
        kept.remove(min(reversed(kept), key=lambda condition: shared[condition]))
    return [series[0], *kept]


def _direction(study: Study, condition: Condition, alpha: float) -> Direction:
    seeds = study.common_seeds(condition)
    preds = study.preds_of(condition, seeds)
    pairs = np.array(list(combinations(range(study.num_classes), 2)), np.int64)
    estimates = []
    for i, j in pairs:
        inside = (study.labels == i) | (study.labels == j)
        labels = study.labels[inside]
        forth = (labels == i) & (preds[:, inside] == j)
        back = (labels == j) & (preds[:, inside] == i)
        estimates.append(statistics.estimate(forth.astype(np.int8) - back, labels, alpha=alpha))
    difference = _stack(estimates)
    marked = statistics.benjamini_hochberg(difference.p, alpha)
    return Direction(pairs, difference, marked, asymmetry(study.counts_of(condition, seeds).sum(axis=0)))


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
                        less_data=contrast(study, less, alpha=alpha),
                        misled=contrast(study, misled, alpha=alpha),
                        overall_less_data=contrast(study, less, alpha=alpha, overall=True),
                        overall_misled=contrast(study, misled, alpha=alpha, overall=True),
                        overall_balance=contrast(study, balance, alpha=alpha, overall=True),
                        seeds=tuple(seeds),
                    )
                )
    return costs
