"""What a longer training does to the cost of a stress: the same recipe with several numbers of epochs.

A network that trains longer comes to predict the wrong labels that it is shown (Zhang et al. 2017, Arpit et al. 2017),
so what noise costs depends on when training stops. Runs are compared over the seeds that all lengths have; a seed
touches the same examples at every length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts, components_by_class
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingLengths:
    """One condition after several lengths of training, with the same seeds at each.

    Attributes:
        condition: Which; may be the baseline.
        studies: One a length, the shortest first; each with these seeds alone.
        seeds: Complete at this condition and at the baseline, at every length.
        alpha: 1 - coverage of the intervals.
    """

    condition: Condition
    studies: tuple[Study, ...]
    seeds: tuple[int, ...]
    alpha: float

    @property
    def epochs(self) -> tuple[int, ...]:
        """Of each study, rising."""
        return tuple(study.epochs or 0 for study in self.studies)

    @cached_property
    def accuracy(self) -> tuple[Estimate, ...]:
        """After the last epoch, of each length."""
        return tuple(accuracy_contrast(study, {self.condition: 1.0}, alpha=self.alpha) for study in self.studies)

    @cached_property
    def best_minus_last(self) -> tuple[Estimate, ...]:
        """Accuracy of the best epoch minus that of the last, of each length.

        The best epoch is chosen on the test set unless examples were held out, so it is better than another test set
        would show.
        """
        return tuple(
            _over_seeds(
                study.arrays["best_accuracy"].values[study.conditions.index(self.condition)] - last.per_seed, self.alpha
            )
            for study, last in zip(self.studies, self.accuracy, strict=True)
        )

    @cached_property
    def fall(self) -> tuple[Estimate, ...] | None:
        """Accuracy of the baseline minus that of the condition, of each length; None for the baseline itself."""
        if self.condition == BASELINE:
            return None
        return tuple(accuracy_contrast(study, self._weights, alpha=self.alpha) for study in self.studies)

    @cached_property
    def class_falls(self) -> tuple[Estimate, ...] | None:
        """(K,) the same of the recalls."""
        if self.condition == BASELINE:
            return None
        return tuple(class_contrasts(study, self._weights, alpha=self.alpha) for study in self.studies)

    @cached_property
    def learnt(self) -> tuple[Estimate, ...] | None:
        """Share of the wrong labels that the network predicts after training, of each length.

        None without wrong labels, and where a record does not say.
        """
        shares = [study.arrays["learnt"].values[study.conditions.index(self.condition)] for study in self.studies]
        if np.isnan(shares).any():
            return None
        wrong = [
            study.mean_of("effective_noise", self.condition) * study.mean_of("train_size", self.condition)
            for study in self.studies
        ]
        return tuple(
            _over_seeds(share, self.alpha, share_of=number) for share, number in zip(shares, wrong, strict=True)
        )

    @cached_property
    def more(self) -> Estimate | None:
        """The fall of accuracy after the longest training minus that after the shortest; None for the baseline."""
        if self.condition == BASELINE:
            return None
        values = self._image_values / len(self.studies[0].labels)
        components = statistics.variance_components(values, self.studies[0].labels)
        return components.estimate(alpha=self.alpha, one_image=2 / values.shape[1], moderated=False)

    @cached_property
    def more_by_class(self) -> Estimate | None:
        """(K,) the same of the recalls."""
        if self.condition == BASELINE:
            return None
        study = self.studies[0]
        sizes = study.class_sizes
        components = components_by_class(self._image_values / sizes[study.labels], study)
        return components.estimate(alpha=self.alpha, one_image=2 / np.maximum(1, sizes), moderated=True)

    @property
    def _weights(self) -> dict[Condition, float]:
        return {BASELINE: 1.0, self.condition: -1.0}

    @property
    def _image_values(self) -> Floats:
        """(S, n) what each image adds to the fall after the longest training minus that after the shortest."""
        shortest, longest = (
            sum(weight * (study.preds_of(condition, self.seeds) == study.labels) for condition, weight in both)
            for study, both in ((each, self._weights.items()) for each in (self.studies[0], self.studies[-1]))
        )
        return np.asarray(longest - shortest, np.float64)


def training_lengths(studies: Sequence[Study], *, alpha: float = 0.05) -> Iterator[list[TrainingLengths]]:
    """Every recipe that was trained for several numbers of epochs.

    Args:
        studies: Of any recipes.
        alpha: 1 - coverage of the intervals.

    Yields:
        One entry a condition that all lengths have with the baseline and at least one seed, the baseline first. A
        length that shares no such condition with the others is no part of it.
    """
    families: dict[tuple[str, str, bytes], list[Study]] = {}
    for study in studies:
        if study.family and study.epochs is not None and study.has(BASELINE):
            families.setdefault((study.family, study.held, study.labels.tobytes()), []).append(study)
    for family in families.values():
        family = [study for study in family if any(_shared([study, other]) for other in family if other is not study)]
        while len(family) > 1 and not _shared(family):
            family.remove(min(family, key=lambda study: study.num_runs))
        if len(family) < 2:
            continue
        family.sort(key=lambda study: study.epochs or 0)
        found = []
        for condition, seeds in _shared(family).items():
            only = tuple(study.with_seeds(seeds) for study in family)
            found.append(TrainingLengths(condition, only, tuple(seeds), alpha))
        yield found


def _shared(studies: Sequence[Study]) -> dict[Condition, list[int]]:
    """The conditions that all have, with the seeds of each; none unless one beside the baseline is among them."""
    shared = {}
    for condition in studies[0].conditions:
        if all(study.has(condition) for study in studies):
            seeds = set.intersection(*(set(study.common_seeds(BASELINE, condition)) for study in studies))
            if seeds:
                shared[condition] = sorted(seeds)
    return shared if len(shared) > 1 else {}


def _over_seeds(values: Floats, alpha: float, *, share_of: float | None = None) -> Estimate:
    """The mean of what was measured once a seed."""
    number = len(values)
    variance = np.asarray(values.var(ddof=1) / number if number > 1 else np.nan)
    images = None if share_of is None else np.asarray(share_of)
    return Estimate(np.asarray(values.mean()), variance, np.zeros(()), number - 1.0, values, alpha, images)
