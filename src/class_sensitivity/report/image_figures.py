"""Figures of test images: what one class is taken for another, and what looks mislabelled."""

from collections.abc import Iterator, Sequence

import numpy as np

from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import ConfigError, RunError
from class_sensitivity.figures.axes import shorten
from class_sensitivity.figures.images import plot_captioned, plot_mistaken
from class_sensitivity.report.findings import frequent_confusions
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.runs.condition import Condition
from class_sensitivity.runs.directory import read_record
from class_sensitivity.settings import MistakenSettings

#: Suspects that are shown; the table has all.
_MOST_SUSPECTS = 24


def class_index(study: Study, key: str, name: str) -> int:
    """The number of a class that a setting names.

    Raises:
        ConfigError: There is no such class.
    """
    if name not in study.class_names:
        raise ConfigError(
            f"{key}={name} is not a class of {study.data}: it must be one of {', '.join(study.class_names)}."
        )
    return study.class_names.index(name)


def _mistaken_pair(
    results: Results, condition: Condition, chosen: MistakenSettings, focus: Focus
) -> tuple[int, int] | None:
    """The (true, predicted) classes to show: those asked for, the focus's, or the most frequent confusion."""
    names, counts = results.study.class_names, results.study.counts_of(condition)
    pair = next(((i, j) for i, j, _ in frequent_confusions(counts, 1)), None)
    if focus.mistaken and set(focus.mistaken) <= set(names):
        pair = names.index(focus.mistaken[0]), names.index(focus.mistaken[1])
    if chosen.true_class is not None:
        true = class_index(results.study, "mistaken.true_class", chosen.true_class)
        row = np.where(np.arange(len(names)) == true, -1, counts.sum(axis=0)[true])
        pair = true, int(row.argmax())
    if chosen.predicted_class is not None:
        predicted = class_index(results.study, "mistaken.predicted_class", chosen.predicted_class)
        if pair is None:
            column = np.where(np.arange(len(names)) == predicted, -1, counts.sum(axis=0)[:, predicted])
            pair = int(column.argmax()), predicted
        pair = pair[0], predicted
    return pair


def mistaken_images(
    results: Results, arrays: ImageArrays, chosen: MistakenSettings, focus: Focus
) -> Iterator[FigureSpec]:
    """Images of one class that one run takes for another, where there are any.

    Raises:
        ConfigError: A class that is asked for does not exist.
    """
    study = results.study
    condition = focus.mild(study) or study.conditions[0]
    pair = _mistaken_pair(results, condition, chosen, focus)
    if pair is None:
        return
    true, predicted = pair
    seed = study.common_seeds(condition)[0]
    try:
        record = read_record(study.directories[condition, seed], arrays=("test_probabilities",))
    except RunError:  # a packed copy has no probabilities
        return
    confidence = record.arrays["test_probabilities"][:, predicted].astype(np.float32)
    taken = np.flatnonzero((study.labels == true) & (study.preds_of(condition, [seed])[0] == predicted))
    picked = taken[np.argsort(-confidence[taken], kind="stable")][:18]
    names = study.class_names
    title = f"{names[true]} taken for {names[predicted]}: {condition.label}, seed {seed}"
    if len(picked):
        yield FigureSpec(
            "fig3_mistaken",
            focus.titled("fig3_mistaken", f"Images of {names[true]} taken for {names[predicted]}"),
            f"The {len(picked)} of {len(taken)} that one run is most sure of, with the probability it gives to "
            f"{names[predicted]} under each.",
            lambda: plot_mistaken(arrays.test_images[picked], confidence[picked], title),
        )


def mislabelled_images(results: Results, arrays: ImageArrays, suspects: Sequence[Suspect]) -> Iterator[FigureSpec]:
    """Test images that look mislabelled, where there are any."""
    if not suspects:
        return
    names, shown = results.study.class_names, suspects[:_MOST_SUSPECTS]
    captions = [f"{shorten(names[each.label], 12)}: {shorten(names[each.predicted], 12)}?" for each in shown]
    yield FigureSpec(
        "suspects",
        "Test images that look mislabelled",
        f"The first {len(shown)} of {len(suspects)} test images that every network of the baseline is sure to be of "
        "one other class, those least like their label first. Under each its label, and what it is taken for. Some are "
        "hard and labelled right: look before you change one.",
        lambda: plot_captioned(arrays.test_images[[each.index for each in shown]], captions),
    )
