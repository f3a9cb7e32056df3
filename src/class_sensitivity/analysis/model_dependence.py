"""Whether sensitivity belongs to the model or to the data: the same stress under several models.

Models are compared over the levels and seeds that all of them have, so that slopes are comparable and a seed touches
the same examples for every model; all of them are tested on the same images. Differences are taken per seed and image
before anything is averaged, as for two conditions of one model.

A weak model may lose less overall, or more. Which classes are sensitive is a question of the pattern: of a class's loss
minus the mean loss of all classes under the same model. Models disagree about a class where these differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import centred, class_contrasts, components_by_class
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.rank_agreement import RankAgreement, rank_agreement
from class_sensitivity.analysis.results import LOSS_PER_SLOPE, MAX_OMNIBUS_CLASSES
from class_sensitivity.analysis.separability import Separability
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


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models compared, class by class, in points of recall per 10 points of stress.

    Attributes:
        first: Name of the model that counts.
        second: Name of the model that is taken from it.
        difference: Estimates of shape (K,): by how much each class loses more under the first.
        centred: Estimates of shape (K,): the same minus its mean over the classes.
        marked: (K,) classes about which the two disagree: centred differences that are not 0, at a false discovery rate
            of alpha over all classes and all pairs of models.
        agreement: Rank correlation of the losses over the classes.
    """

    first: str
    second: str
    difference: Estimate
    centred: Estimate
    marked: NDArray[np.bool_]
    agreement: RankAgreement


@dataclass(frozen=True, eq=False, repr=False)
class ModelDependence:
    """Whether classes are sensitive alike under several models.

    Attributes:
        compared: Which models, over which levels and seeds, and which were left out.
        losses: Of each model, estimates of shape (K,): points of recall lost per 10 points of stress.
        pairs: Every pair of models.
        interaction: Whether the pattern over the classes differs between the models at all, all pairs and classes in
            one test; None with one seed, with a class without test images, and with more than `MAX_OMNIBUS_CLASSES`
            classes.
    """

    compared: ComparedModels
    losses: tuple[Estimate, ...]
    pairs: tuple[ModelPair, ...]
    interaction: OmnibusTest | None

    @property
    def order(self) -> NDArray[np.int64]:
        """(K,) class indices, the most sensitive in the mean over the models first; classes without images last."""
        return np.argsort(-np.mean([loss.value for loss in self.losses], axis=0), kind="stable")

    @property
    def weakest(self) -> ModelPair:
        """The pair of models whose orders agree least."""
        return min(self.pairs, key=lambda pair: np.nan_to_num(pair.agreement.rho, nan=np.inf))

    def __repr__(self) -> str:
        return (
            f"<ModelDependence of {', '.join(self.compared.models)} under {self.compared.label}: "
            f"{len(self.compared.conditions) - 1} levels, {len(self.compared.seeds)} seeds>"
        )

    def _repr_html_(self) -> str:
        names = self.compared.class_names
        columns = {
            model: [loss[i].text() for i in self.order]
            for model, loss in zip(self.compared.models, self.losses, strict=True)
        }
        tested = f"; patterns differ: {self.interaction.text()}" if self.interaction else ""
        title = f"Points of recall lost per 10 points of {self.compared.label}{tested}"
        return titled_table(title, pd.DataFrame(columns, index=[names[i] for i in self.order]))


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


def model_dependence(
    studies: Sequence[Study], kind: str, *, alpha: float = 0.05, resamples: int = 2000, seed: int = 0
) -> ModelDependence | None:
    """Whether classes are sensitive alike under several models.

    Args:
        studies: One a model; see `compare_models` for what is compared and `models_of_one_data_set` for a choice.
        kind: Name of the series, such as `shuffle` or `reduction`.
        alpha: 1 - coverage of the intervals, and the false discovery rate of marks.
        resamples: Bootstrap draws for the rank correlations.
        seed: Of those draws.

    Returns:
        None where no two models share the baseline, a level and a seed. With one seed in common there are values and no
        intervals.

    Examples:
        >>> from class_sensitivity.runs.condition import BASELINE
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> labels, names = [0, 0, 1, 1], ("cat", "dog")
        >>> right, cats_lost, dogs_lost = [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 0]
        >>> one = Study.of_preds(labels, {(BASELINE, 1): right, (noisy, 1): cats_lost}, names, model="lenet")
        >>> other = Study.of_preds(labels, {(BASELINE, 1): right, (noisy, 1): dogs_lost}, names, model="resnet18")
        >>> found = model_dependence([one, other], "shuffle")
        >>> found.losses[0].value, found.pairs[0].centred.value
        (array([25.,  0.]), array([ 25., -25.]))
    """
    compared = compare_models(studies, kind)
    if compared is None:
        return None
    losses = compared.losses(alpha=alpha)
    numbers = list(combinations(range(len(losses)), 2))
    differences = [compared.differences(*pair, alpha=alpha) for pair in numbers]
    marked = statistics.benjamini_hochberg(np.stack([centred.p for _, centred in differences]), alpha)
    draws = _draws(compared, losses, resamples, np.random.default_rng([seed, *b"models", *kind.encode()]))
    agreements = [
        rank_agreement(losses[first].value, losses[second].value, draws[first], draws[second], alpha=alpha)
        for first, second in numbers
    ]
    pairs = [
        ModelPair(compared.models[first], compared.models[second], *both, marks, agreement)
        for (first, second), both, marks, agreement in zip(numbers, differences, marked, agreements, strict=True)
    ]
    return ModelDependence(compared, losses, tuple(pairs), _interaction(compared))


def model_dependences(
    studies: Sequence[Study], *, alpha: float = 0.05, resamples: int = 2000, seed: int = 0
) -> list[ModelDependence]:
    """The comparison for every stress that two of the models share, noise before reduction.

    Args:
        studies: As for `model_dependence`.
        alpha: As for `model_dependence`.
        resamples: As for `model_dependence`.
        seed: As for `model_dependence`.
    """
    names = [name for study in studies for name in study.noise_series]
    names += [name for study in studies for name in study.reduction_series]
    found = (
        model_dependence(studies, kind, alpha=alpha, resamples=resamples, seed=seed) for kind in dict.fromkeys(names)
    )
    return [each for each in found if each is not None]


@dataclass(frozen=True)
class ConfusablePair:
    """A pair of classes that some model confuses certainly more than the average pair, at the baseline.

    Attributes:
        first: Name of a class.
        second: Name of the other.
        confused_by: Models under which the pair is confusable (`Separability.confusable`).
        not_by: Models under which it certainly is no more alike than the average pair. Under the models that are in
            neither list nothing is certain.
        alike: (M,) estimates of the look-alikeness of the pair under each model, shares in [0, 1].
    """

    first: str
    second: str
    confused_by: tuple[str, ...]
    not_by: tuple[str, ...]
    alike: tuple[Estimate, ...] = field(repr=False)

    @property
    def belongs_to(self) -> str:
        """`data`: every model confuses it; `model`: some do, and the others certainly do not; else `undecided`."""
        unknown = len(self.alike) - len(self.confused_by) - len(self.not_by)
        if len(self.confused_by) == len(self.alike):
            return "data"
        return "undecided" if unknown else "model"


def confusable_pairs(found: Mapping[str, Separability], *, alpha: float = 0.05) -> list[ConfusablePair]:
    """Pairs of classes that are confusable under one model or more, and whether that belongs to the data.

    Args:
        found: Name of a model -> its separability, of the same classes and test images.
        alpha: False discovery rate of the pairs that are certainly no more alike than the average pair.

    Returns:
        The pairs that most models confuse first, and of those the most alike.
    """
    each = list(found.values())
    first, second = np.triu_indices(len(each[0].class_names), 1)
    confused = np.stack([one.confusable[first, second] for one in each])
    # One model's own average pair is its yardstick: a weak one confuses every pair more often.
    below = np.stack(
        [
            statistics.benjamini_hochberg(one.symmetric[first, second].p_below(one.mean), alpha)
            if len(one.seeds) > 1
            else np.zeros(len(first), bool)
            for one in each
        ]
    )
    names, models = each[0].class_names, np.array(list(found))
    pairs = [
        ConfusablePair(
            names[first[pair]],
            names[second[pair]],
            tuple(models[confused[:, pair]].tolist()),
            tuple(models[below[:, pair]].tolist()),
            tuple(one.symmetric[first[pair], second[pair]] for one in each),
        )
        for pair in np.flatnonzero(confused.any(axis=0))
    ]
    return sorted(
        pairs, key=lambda pair: (-len(pair.confused_by), -float(np.mean([float(alike.value) for alike in pair.alike])))
    )


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


def _draws(
    compared: ComparedModels, losses: Sequence[Estimate], resamples: int, rng: np.random.Generator
) -> list[Floats]:
    """Of each model (B, K) losses as they would come out with other seeds and images, the same ones for every model.

    One seed says nothing of others: no draws.
    """
    labels = compared.studies[0].labels
    if len(compared.seeds) < 2:
        return [np.zeros((0, len(compared.class_names)))] * len(losses)
    weights = statistics.seed_weights(len(compared.seeds), resamples, rng)
    draws = np.full((len(losses), resamples, len(compared.class_names)), np.nan)
    for c in np.unique(labels):
        inside = labels == c
        loss = np.array([float(each.value[c]) for each in losses])
        errors = np.array([float(each.error[c]) for each in losses])
        drawn = statistics.resample(np.moveaxis(compared.values[:, :, inside], 0, -1), labels[inside], weights, rng)
        drawn -= loss
        spread = drawn.std(axis=0)
        still = spread < 1e-9 * errors  # nothing varied, but a rounding error
        drawn[:, still] = rng.standard_normal((resamples, 1))
        # The bootstrap knows each class's own seeds; the interval has borrowed strength.
        draws[:, :, c] = (loss + drawn * errors / np.where(still, 1.0, spread)).T
    return list(draws)


def _interaction(compared: ComparedModels) -> OmnibusTest | None:
    """Tests whether classes and models interact: losses minus the mean of the class and the mean of the model."""
    study, (models, seeds, images) = compared.studies[0], compared.values.shape
    classes = study.num_classes
    if classes > MAX_OMNIBUS_CLASSES or (study.class_sizes == 0).any():
        return None
    of_models = np.moveaxis(compared.values - compared.values.mean(axis=0), 0, -1)
    of_classes = (study.labels[:, np.newaxis] == np.arange(classes)) - 1 / classes
    values = (of_models[:, :, :, np.newaxis] * of_classes[:, np.newaxis]).reshape(seeds, images, models * classes)
    return omnibus_test(values, study.labels, most_seed_freedom=(models - 1) * (classes - 1))
