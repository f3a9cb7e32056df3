"""Which runs of several models are compared: the levels of a stress and the seeds that all of them have.

So slopes are comparable, and a seed touches the same examples for every model; all of them are tested on the same
images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import centred, class_contrasts, components_by_class
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import LOSS_PER_SLOPE
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ComparedModels:
    """Several models under the same levels of one stress, with the same seeds, on the same test images.

    Attributes:
        kind: Name of the series (`Condition.series`).
        models: The M names, each once; a model of several recipes has their names.
        chosen: Which of the studies that were given these are.
        studies: Of each model, the runs that all of them have.
        conditions: The baseline first, then rising levels.
        seeds: Complete at every one of the conditions for every model.
        left_out: Which models could not be compared and why, as sentences.
    """

    kind: str
    models: tuple[str, ...]
    chosen: tuple[int, ...]
    studies: tuple[Study, ...]
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K names."""
        return self.studies[0].class_names

    @property
    def label(self) -> str:
        """What this kind of stress is called, for people."""
        return self.conditions[-1].series_label

    @property
    def weights(self) -> dict[Condition, float]:
        """Condition -> weight, with which recalls add up to points of recall lost per 10 points of stress."""
        slopes = statistics.slope_weights(np.array([condition.level for condition in self.conditions]))
        return dict(zip(self.conditions, (LOSS_PER_SLOPE * slopes).tolist(), strict=True))

    @cached_property
    def values(self) -> Floats:
        """(M, S, n) what each image adds to the loss of its class, for each model and seed."""
        sizes = self.studies[0].class_sizes[self.studies[0].labels]
        values = np.zeros((len(self.studies), len(self.seeds), len(sizes)))
        for model, study in enumerate(self.studies):
            for condition, weight in self.weights.items():
                values[model] += weight * (study.preds_of(condition, self.seeds) == study.labels)
        return values / sizes

    def losses(self, *, alpha: float = 0.05) -> tuple[Estimate, ...]:
        """Of each model, estimates of shape (K,): points of recall lost per 10 points of stress."""
        return tuple(class_contrasts(study, self.weights, alpha=alpha) for study in self.studies)

    def differences(self, first: int, second: int, *, alpha: float = 0.05) -> tuple[Estimate, Estimate]:
        """By how much each class loses more under one model than under another, and the same minus its mean.

        Args:
            first: Number of the model that counts.
            second: Number of the model that is taken from it.
            alpha: 1 - coverage of the intervals.

        Returns:
            Two estimates of shape (K,), in points per 10 points of stress: the differences, and the differences
            centred over the classes. NaN for a class without test images, which has no part in the mean.
        """
        sizes = self.studies[0].class_sizes
        components = components_by_class(self.values[first] - self.values[second], self.studies[0])
        one_image = max(map(abs, self.weights.values())) / np.maximum(1, sizes)
        both = (components, centred(components, sizes))
        plain, beyond_mean = (each.estimate(alpha=alpha, one_image=one_image, moderated=True) for each in both)
        return plain, beyond_mean


def models_of_one_data_set(studies: Sequence[Study]) -> list[tuple[Study, ...]]:
    """The studies that can be compared with each other: same data set, classes and test images, several models.

    Args:
        studies: Of any recipes; of those that differ in the number of epochs alone, the largest.

    Returns:
        A tuple of studies for each data set that was learned by two models or more.
    """
    groups: dict[tuple[str, tuple[str, ...], bytes], list[Study]] = {}
    for study in _largest_of_families(studies):
        groups.setdefault((study.data, study.class_names, study.labels.tobytes()), []).append(study)
    return [tuple(group) for group in groups.values() if len({study.model for study in group}) > 1]


def _largest_of_families(studies: Sequence[Study]) -> list[Study]:
    """Of studies that differ in the number of epochs or in streams that are held, those with most runs.

    A few runs of another length would otherwise take levels and seeds from the comparison of models.
    """
    most: dict[str, int] = {}
    for study in studies:
        most[study.family] = max(study.num_runs, most.get(study.family, 0))
    return [study for study in studies if not study.family or study.num_runs == most[study.family]]


def compare_models(studies: Sequence[Study], kind: str) -> ComparedModels | None:
    """Chooses what can be compared: the levels of a stress and the seeds that all models have.

    A model that shares too few runs with the others is left out rather than taking levels and seeds away from all of
    them: as long as there are not a level and two seeds in common, the one that shares fewest runs goes.

    Args:
        studies: One a model (or a recipe); the first one says which classes and test images all must have.
        kind: Name of the series, such as `shuffle` or `reduction`.

    Returns:
        None where no two models share the baseline, a level and a seed.
    """
    names = names_of(studies)
    there, left_out = [], []
    for number, (name, study) in enumerate(zip(names, studies, strict=True)):
        if study.class_names != studies[0].class_names or not np.array_equal(study.labels, studies[0].labels):
            left_out.append(f"{name} is not compared: it was tested on other classes or images.")
        elif not study.series(kind):
            left_out.append(f"{name} is not compared: it has no baseline or no level of this stress.")
        else:
            there.append(number)
    for enough in (2, 1):
        chosen, dropped = list(there), list[str]()
        while len(chosen) > 1:
            conditions, seeds = _in_common([studies[number] for number in chosen], kind)
            if len(seeds) >= enough:
                return ComparedModels(
                    kind=kind,
                    models=tuple(names[number] for number in chosen),
                    chosen=tuple(chosen),
                    studies=tuple(_only(studies[number], product(conditions, seeds)) for number in chosen),
                    conditions=tuple(conditions),
                    seeds=tuple(seeds),
                    left_out=(*left_out, *dropped),
                )
            shared = {
                one: sum(_shared(studies[one], studies[other], kind) for other in chosen if other != one)
                for one in chosen
            }
            fewest = min(reversed(chosen), key=shared.__getitem__)
            chosen.remove(fewest)
            dropped.append(f"{names[fewest]} is not compared: it shares too few levels and seeds with the others.")
    return None


def names_of(studies: Sequence[Study]) -> list[str]:
    """What each study is called: by its model, with what sets it apart where a model has several."""
    models = [study.model for study in studies]
    apart = [f"{study.model}, {study.setting}" if study.setting else study.recipe for study in studies]
    return [
        study.model if models.count(study.model) == 1 else name or f"{study.model} {number + 1}"
        for number, (study, name) in enumerate(zip(studies, apart, strict=True))
    ]


def _runs(study: Study, kind: str) -> set[tuple[Condition, int]]:
    """The complete runs of a series."""
    return {(condition, seed) for condition in study.series(kind) for seed in study.common_seeds(condition)}


def _runs_of_all(studies: Sequence[Study], kind: str) -> set[tuple[Condition, int]]:
    return set.intersection(*(_runs(study, kind) for study in studies))


def _in_common(studies: Sequence[Study], kind: str) -> tuple[list[Condition], list[int]]:
    """The baseline and the levels that all studies have with the same seeds, and these seeds; both may be empty."""
    runs = _runs_of_all(studies, kind)
    both = _only(studies[0], runs) if runs else None
    conditions = both.paired_series(kind) if both else []
    return (conditions, both.common_seeds(*conditions)) if both and len(conditions) > 1 else ([], [])


def _shared(one: Study, other: Study, kind: str) -> int:
    """How many runs of a stress two studies share; the baseline alone is no comparison."""
    return sum(not condition.is_baseline for condition, _ in _runs_of_all([one, other], kind))


def _only(study: Study, runs: Iterable[tuple[Condition, int]]) -> Study:
    """A study with some of its runs alone."""
    preds = {(condition, seed): study.preds_of(condition, [seed])[0] for condition, seed in runs}
    return Study.of_preds(
        study.labels, preds, study.class_names, recipe=study.recipe, data=study.data, model=study.model
    )
