"""Which classes look alike, and who agrees: the images alone, people, other models; in words, figures and tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.compared_models import models_of_one_data_set, names_of
from class_sensitivity.analysis.confusable_pairs import ConfusablePair, confusable_pairs
from class_sensitivity.analysis.estimate import with_interval
from class_sensitivity.analysis.model_dependence import ModelDependence, model_dependences
from class_sensitivity.analysis.pair_agreement import RankCorrelation, pair_agreement
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.separability import Separability, separability
from class_sensitivity.analysis.study import Study
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.inspection import Inspection
from class_sensitivity.data.lookalikes import image_separation, people_confusion
from class_sensitivity.errors import DataError
from class_sensitivity.figures.model_dependence import plot_model_dependence
from class_sensitivity.figures.separability import plot_lookalikes, plot_separability
from class_sensitivity.report.parts import FigureSpec, Line
from class_sensitivity.report.tables import MOST_WHOLE
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.settings import AnalyzeSettings

#: Pairs that are named in a line.
_NAMED = 3


@dataclass(frozen=True)
class OtherMap:
    """What somebody else says of the pairs of classes.

    Attributes:
        name: Who, as a file name has it.
        label: Who, in words.
        values: (K, K) distances, or shares of confusion.
        distances: Whether large values are of classes that are far apart.
        agreement: With the study's look-alikeness.
    """

    name: str
    label: str
    values: NDArray[np.float64]
    distances: bool
    agreement: RankCorrelation

    @property
    def axis(self) -> str:
        """What an axis of it shows."""
        if self.distances:
            return f"distance between two classes by {self.label}, standard deviations"
        return f"images taken for the other class by {self.label}, %"


@dataclass(frozen=True)
class Separation:
    """How alike the classes of one study look.

    Attributes:
        found: To its model.
        maps: To others.
    """

    found: Separability
    maps: tuple[OtherMap, ...]

    @property
    def _comparable(self) -> list[OtherMap]:
        """The maps that have an order of pairs: two classes are one pair, and that has none."""
        return [each for each in self.maps if not np.isnan(each.agreement.rho)]

    def line(self) -> Line:
        """The most alike pairs and the agreements of which something is known, in one line."""
        names, alike = self.found.class_names, self.found.symmetric.scaled(100)
        pairs = [f"{names[i]} and {names[j]} ({alike[i, j].text()} %)" for i, j in self.found.pairs[:_NAMED]]
        agreements = [
            f"{each.label} {with_interval(each.agreement.rho, each.agreement.low, each.agreement.high, digits=2)}"
            for each in self._comparable
            if not each.agreement.is_open
        ]
        agree = f"; rank correlation of all pairs with {', with '.join(agreements)}" if agreements else ""
        return Line("look-alikes", f"{', '.join(pairs)}{agree}")

    def specs(self) -> Iterator[FigureSpec]:
        """The most alike pairs, and each other map against the model's."""
        yield FigureSpec(
            "separability",
            "The pairs of classes that look most alike",
            "Share of images of either class that are taken for the other at the baseline: dots are both directions "
            "averaged, with intervals over seeds and test images, triangles below are each direction. Filled dots are "
            f"certainly above the average pair (dashed), which has {100 * self.found.mean:.2f} %.",
            lambda: plot_separability(self.found),
        )
        for each in self._comparable:
            yield FigureSpec(
                f"lookalikes_{each.name}",
                f"Look-alikes: the model against {each.label}",
                "Every point is a pair of classes, vertical lines are intervals. Rank correlation "
                f"{each.agreement.text()}, by permuted classes.",
                lambda each=each: plot_lookalikes(  # type: ignore[misc]
                    self.found.symmetric,
                    each.values,
                    self.found.class_names,
                    other_label=each.axis,
                    distances=each.distances,
                ),
            )

    def table(self) -> pd.DataFrame:
        """One row per pair of classes, the most alike first."""
        names, alike, directed = np.array(self.found.class_names, object), self.found.symmetric, self.found.directed
        i, j = np.array(self.found.pairs, np.int64).reshape(-1, 2).T
        if len(names) > MOST_WHOLE:
            confused = directed.value[i, j] + directed.value[j, i] > 0
            for growth in self.found.growth.values():
                confused |= np.nan_to_num(growth.value[i, j]) != 0
            i, j = i[confused], j[confused]
        columns: dict[str, object] = {"class_a": names[i], "class_b": names[j], "seeds": len(self.found.seeds)}
        columns |= {"look_alikeness": alike.value[i, j], "low": alike.low[i, j], "high": alike.high[i, j]}
        columns |= {"a_for_b": directed.value[i, j], "b_for_a": directed.value[j, i]}
        columns["confusable"] = self.found.confusable[i, j]
        for stress, growth in self.found.growth.items():
            columns |= {f"growth_{stress}": growth.value[i, j]}
            columns |= {f"growth_{stress}_low": growth.low[i, j], f"growth_{stress}_high": growth.high[i, j]}
        return pd.DataFrame(columns | {each.name: (each.values[i, j] + each.values[j, i]) / 2 for each in self.maps})


def separation_of(
    results: Results, arrays: ImageArrays | None, inspection: Inspection | None, settings: AnalyzeSettings
) -> Separation | None:
    """How alike the classes of a study look, to whom there is something known of; None without a baseline.

    Args:
        results: Of the study.
        arrays: The data set's images, if they can be had.
        inspection: What an inspection saw, if there was one.
        settings: Where people's choices are.

    Raises:
        DataError: These cannot be read, or do not fit.
    """
    study = results.study
    if not study.has(BASELINE):
        return None
    maps = []
    if arrays is not None or inspection is not None:
        known = inspection.distances if inspection is not None else None
        if known is None and arrays is not None:
            known = image_separation(arrays.train_images, arrays.train_labels, study.num_classes)
        assert known is not None
        maps.append(_map(study, "images", "the images alone", known, settings, distances=True))
    if settings.people is not None:
        chosen = people_confusion(settings.people, study.labels, study.num_classes)
        maps.append(_map(study, "people", "people", chosen, settings, distances=False))
    return Separation(separability(study, alpha=settings.alpha), tuple(maps))


def check_people(studies: Sequence[Study], settings: AnalyzeSettings) -> None:
    """Looks at people's choices before anything is computed.

    Raises:
        DataError: The file cannot be read, or does not fit the test images of every study.
    """
    fits: dict[str, DataError | None] = {}
    for study in studies if settings.people is not None else ():
        try:
            people_confusion(str(settings.people), study.labels, study.num_classes)
            fits.setdefault(study.data)
        except DataError as error:
            fits[study.data] = error
    wrong = [error for error in fits.values() if error is not None]
    if wrong and len(wrong) < len(fits):
        names = " or ".join(name for name, error in fits.items() if error is None)
        raise DataError(f"people={settings.people} fits some of {', '.join(fits)}: add only.data={names}.")
    if wrong:
        raise wrong[0]


def _map(
    study: Study,
    name: str,
    label: str,
    values: NDArray[np.float64],
    settings: AnalyzeSettings,
    *,
    distances: bool,
) -> OtherMap:
    agreement = pair_agreement(
        study,
        -values if distances else values,
        alpha=settings.alpha,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return OtherMap(name, label, values, distances, agreement)


@dataclass(frozen=True)
class ModelsCompared:
    """What several models on one data set have in common.

    Attributes:
        data: The data set.
        name: For the file of its figure; two data sets may be called the same.
        found: For each stress that they share.
        pairs: Pairs of classes that some model confuses.
        models: Their names; a model of several recipes has theirs.
    """

    data: str
    name: str
    found: list[ModelDependence]
    pairs: list[ConfusablePair]
    models: tuple[str, ...]

    @property
    def title(self) -> str:
        """The question, and of what."""
        return f"The model or the data? {self.data}, {', '.join(self.models)}"

    def lines(self) -> Iterator[Line]:
        """What is known, in a few lines."""
        for each in self.found:
            weakest, names = each.weakest, each.compared.class_names
            test = "" if each.interaction is None else f"; whether their patterns differ: p = {each.interaction.p:.2g}"
            yield Line(
                each.compared.label,
                f"the orders of sensitivity of {weakest.first} and {weakest.second} agree least, rank correlation "
                f"{weakest.agreement.text()}{test}",
            )
            disagreed = [
                f"{names[c]} ({pair.first} {pair.centred[c].text(1, signed=True)} against {pair.second})"
                for pair in each.pairs
                for c in np.flatnonzero(pair.marked)
            ]
            if disagreed:
                yield Line("they disagree on", ", ".join(disagreed))
            yield from (Line("left out", sentence) for sentence in each.compared.left_out)
        for whose, words in (("data", "confused by every model"), ("model", "by some models, certainly not by others")):
            listed = [f"{pair.first} and {pair.second}" for pair in self.pairs if pair.belongs_to == whose]
            if listed:
                yield Line(words, ", ".join(listed))

    def specs(self) -> Iterator[FigureSpec]:
        """What every class loses under every model."""
        if self.found:
            yield FigureSpec(
                self.name,
                f"The model or the data? {self.data}",
                "Points of recall that each class loses per 10 points of stress, under each model, with intervals over "
                "seeds and test images; an arrow stands where one goes on. What all models share belongs to the data.",
                lambda: plot_model_dependence(self.found),
            )


def compared_models(
    all_results: Sequence[Results], separations: Mapping[str, Separation], settings: AnalyzeSettings
) -> list[ModelsCompared]:
    """Every data set on which several models were trained, if there is something to say of it.

    Args:
        all_results: One a study.
        separations: Recipe of a study -> its separation.
        settings: Coverage, draws and their seed.
    """
    compared = []
    for studies in models_of_one_data_set([results.study for results in all_results]):
        found = model_dependences(studies, alpha=settings.alpha, resamples=settings.resamples, seed=settings.seed)
        names = names_of(studies)
        known = {
            name: separations[study.recipe].found
            for name, study in zip(names, studies, strict=True)
            if study.recipe in separations and len(separations[study.recipe].found.seeds) > 1
        }
        pairs = confusable_pairs(known, alpha=settings.alpha) if len(known) > 1 else []
        compared.append(ModelsCompared(studies[0].data, f"models_{studies[0].recipe}", found, pairs, tuple(names)))
    return [each for each in compared if any(each.lines())]
