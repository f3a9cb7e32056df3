"""What is known of a study once it is analysed: one result a condition, dose-response curves, costs.

Shares are in [0, 1], cells in test images; every difference is paired by seed, and every interval covers new seeds and
new test images (`estimate.Estimate`). `sensitivity.analyse` computes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.exchange import ExchangeRates
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.omnibus import OmnibusTest
from class_sensitivity.analysis.sideways import Sideways
from class_sensitivity.analysis.statistics import Knee, adjusted_p
from class_sensitivity.analysis.study import Study
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

    @property
    def adjusted_p(self) -> Floats:
        """(K, K) p-values adjusted for the number of judged cells (Benjamini-Hochberg); NaN of a cell not judged."""
        return adjusted_p(np.where(self.judged, self.cells.p, np.nan))

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
        kind: Name of the series (`Condition.series`), such as `shuffle` or `reduction`.
        conditions: The baseline first, then rising levels.
        levels: (L,) the share touched or removed.
        seeds: Seeds that are complete at every level; slope, ranks and knees rest on these.
        slope: Estimates of shape (K,): change of recall per unit of stress, least squares.
        loss_beyond_mean: Estimates of shape (K,): points of recall lost per 10 points of stress, minus their mean over
            the classes.
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
    loss_beyond_mean: Estimate
    slope_gaps: Estimate
    slopes_differ: OmnibusTest | None
    not_straight: OmnibusTest | None
    ranks: Floats | None
    knees: tuple[Knee, ...]

    @property
    def label(self) -> str:
        """What this kind of stress is called, for people."""
        return self.conditions[-1].series_label

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
class Twins:
    """Labels that people gave against noise with the same counts, which is blind to the single image.

    Attributes:
        human: The condition with the labels of people.
        matched: The one with the same number of wrong labels from each class to each.
        accuracy: Estimate of the accuracy with labels of people, minus that with blind ones.
        recall: (K,) estimates of the same of recalls.
        relative: The relative matrix, people minus blind.
    """

    human: Condition
    matched: Condition
    accuracy: Estimate
    recall: Estimate
    relative: RelativeMatrix


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
        exchange: Noise against the clean learning curve, where both were run.
        twins: Labels of people against blind ones, where both were run.
        sideways: Whether noise shifts the learning curve, where it was run at several sizes of the training set.
    """

    study: Study
    alpha: float
    conditions: tuple[ConditionResult, ...]
    curves: Mapping[str, Curve]
    costs: tuple[Cost, ...]
    exchange: tuple[ExchangeRates, ...]
    sideways: tuple[Sideways, ...]
    twins: tuple[Twins, ...]

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
        title = f"{self.study.title}: accuracy {reference.accuracy.scaled(100).text(unit='%')}"
        return titled_table(title, pd.DataFrame(texts, index=list(self.study.class_names)))
