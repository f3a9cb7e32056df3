"""Whether sensitivity belongs to the model or to the data: the same stress under several models.

Differences are taken per seed and image before anything is averaged, as for two conditions of one model, over the
runs that `compared_models` chooses.

A weak model may lose less overall, or more. Which classes are sensitive is a question of the pattern: of a class's loss
minus the mean loss of all classes under the same model. Models disagree about a class where these differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.compared_models import ComparedModels, compare_models
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.rank_agreement import RankAgreement, rank_agreement
from class_sensitivity.analysis.results import MAX_OMNIBUS_CLASSES
from class_sensitivity.analysis.study import Study

Floats = NDArray[np.float64]


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
        >>> from class_sensitivity.runs.condition import BASELINE, Condition
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
