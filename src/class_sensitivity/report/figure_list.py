"""Which figures a report holds, with their captions."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.exchange import ExchangeRates
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import RunError
from class_sensitivity.figures import curves, exchange, grid, images, matrices
from class_sensitivity.figures.axes import AxesArray, shorten
from class_sensitivity.figures.many_classes import which_of
from class_sensitivity.report.findings import frequent_confusions
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.report.variety import Variety, class_index
from class_sensitivity.runs.condition import BASELINE, Condition, path_part
from class_sensitivity.runs.directory import read_record
from class_sensitivity.settings import AnalyzeSettings, MistakenSettings

#: Suspects that are shown; the table has all.
_MOST_SUSPECTS = 24


def figure_specs(
    results: Results,
    arrays: ImageArrays | None,
    settings: AnalyzeSettings,
    *,
    focus: Focus,
    suspects: Sequence[Suspect] = (),
    variety: Variety | None = None,
) -> Iterator[FigureSpec]:
    """All figures that the runs allow, in the order of the report.

    Args:
        results: Of one study.
        arrays: The data set's images, if they can be had.
        settings: Which cells and classes were asked for.
        focus: Which cells, classes and conditions to look at, where none were asked for.
        suspects: Test images that look mislabelled.
        variety: Of the training images, if they can be had.

    Raises:
        ConfigError: A class that is asked for does not exist.
    """
    yield from _overview(results, focus)
    yield from _cells(results, settings.cells, focus)
    yield from _baseline(results, focus)
    if arrays is not None:
        yield from _mistaken(results, arrays, settings.mistaken, focus)
        yield from _suspects(results, arrays, suspects)
    yield from _levels(results, focus)
    yield from _side_by_side(results, focus)
    yield from _twins(results)
    if variety is not None:
        yield variety.spec(settings.variety, focus)
    yield from _orders(results, focus)


def _overview(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    if not results.curves:
        return
    names = results.study.class_names
    yield FigureSpec(
        "sensitivity",
        "Sensitivity of every class",
        "Recall lost per 10 points of stress (least-squares slope over the levels in the legend), most sensitive on "
        "top. Bars are intervals over seeds and test images, open circles single seeds. Curves bend, so slopes up to "
        "another level stand in another panel, and do not compare.",
        lambda: curves.plot_slopes(results.curves, names),
    )
    yield FigureSpec(
        "accuracy",
        "Accuracy against stress",
        "Every point is one run; lines join means, bands are intervals over seeds and test images.",
        lambda: curves.plot_accuracy(results),
    )
    affected = curves.most_affected(results.curves)
    yield FigureSpec(
        "fig8_diagonal",
        focus.titled("fig8_diagonal", "Diagonal cells against stress"),
        "How many test images of a class are right beyond the baseline. Lines join means, points are seeds, bands "
        f"intervals; a vertical line is a knee.{which_of(len(affected), len(names), 'that fall most')}",
        lambda: curves.plot_cells(results, [(c, c) for c in affected]),
    )
    for cost in results.costs:
        control = "" if cost.control.is_default_series else f"_{cost.control.series}"
        yield FigureSpec(
            f"cost_{cost.noise.name}{control}",
            f"Misled, or just short of data? {cost.noise.label}",
            f"The control, {cost.control.label}, removes exactly the examples that the noise touches. Baseline minus "
            "control is the cost of less data; control minus noise is the further cost of being misled. Thin lines are "
            "intervals, dots seeds.",
            lambda cost=cost: curves.plot_cost(cost, names),  # type: ignore[misc]
        )
    yield from _exchange(results)
    for kind, curve in results.curves.items():
        if curve.ranks is not None:
            yield FigureSpec(
                f"ranks_{path_part(kind)}",
                f"How sure is the order? {curve.label}",
                "Probability of each rank of sensitivity, from a bootstrap over seeds and test images.",
                lambda curve=curve: curves.plot_ranks(curve, names),  # type: ignore[misc]
            )


def _exchange(results: Results) -> Iterator[FigureSpec]:
    for series in results.study.noise_series:
        rates = [each for each in results.exchange if each.noise.series == series]
        if rates:  # levels of one figure stand on one learning curve
            yield from _exchange_of([each for each in rates if each.overall.curve == rates[-1].overall.curve], results)
    affected = curves.most_affected(results.curves)
    for curve, shifts in groupby(results.sideways, key=lambda each: each.at[0].curve):
        of_curve = list(shifts)
        steps = "" if curve[-1].is_default_series else f"_{curve[-1].series}"
        yield FigureSpec(
            f"sideways{steps}",
            f"Does noise shift the learning curve sideways? {of_curve[0].noise.series_label}",
            "Dots: accuracy with wrong labels, by the number of examples, with intervals. Dashed: the clean curve at a "
            "fixed share of the examples, the one that fits best. p: whether the dots lie on it. A level has no dot at "
            "so few examples that the clean curve may not go on far enough.",
            lambda of_curve=of_curve: exchange.plot_sideways(results, of_curve),  # type: ignore[misc]
        )
        known = "Along a line it is the same: so much less noise is worth so many examples."
        yield FigureSpec(
            f"iso_accuracy{steps}",
            f"Which noise and which size give the same accuracy? {of_curve[0].noise.series_label}",
            f"Accuracy over the number of training examples and the share of noise. {known} Numbers were "
            "measured, each at its middle; lines are interpolated.",
            lambda of_curve=of_curve: grid.plot_iso_accuracy(results, of_curve),  # type: ignore[misc]
        )
        yield FigureSpec(
            f"iso_recall{steps}",
            f"Which noise and which size give the same recall? {of_curve[0].noise.series_label}",
            f"The same for every class. {known} Dots were measured."
            f"{which_of(len(affected), results.study.num_classes, 'that fall most')}",
            lambda of_curve=of_curve: grid.plot_iso_recall(results, of_curve, affected),  # type: ignore[misc]
        )


def _exchange_of(rates: list[ExchangeRates], results: Results) -> Iterator[FigureSpec]:
    noise = rates[0].noise
    kind = "" if noise.is_default_series else f"_{noise.series}"
    steps = "" if rates[0].overall.matched_steps else " Smaller sets took fewer optimiser steps."
    yield FigureSpec(
        f"exchange{kind}",
        f"Quality against quantity: {noise.series_label}",
        "Squares: accuracy with fewer examples, all labelled right. Each noise level stands where that curve is as "
        "accurate: as many clean examples (dot) do as well as all with wrong labels (cross). Bars are intervals."
        f"{steps}",
        lambda: exchange.plot_exchange(results, rates),
    )
    if np.isnan(rates[-1].classes.size.value).all():
        return
    yield FigureSpec(
        f"exchange_classes{kind}",
        f"Quality against quantity, by class: {noise.series_label}",
        "The share of clean examples that gives a class the recall that it has with all examples and wrong labels, "
        "with its interval. Arrow: it goes on beyond what was measured. Dotted: the share that gives the same "
        f"accuracy over all classes.{steps}",
        lambda: exchange.plot_exchange_by_class(rates, results.study.class_names),
    )


def _cells(results: Results, chosen: list[list[str]], focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    if not results.compared or not results.curves:
        return
    if not chosen and {name for cell in focus.cells for name in cell} <= set(study.class_names):
        chosen = [list(cell) for cell in focus.cells]
    cells = [(class_index(study, "cells", true), class_index(study, "cells", got)) for true, got in chosen]
    if not cells:
        cells = [(i, j) for i, j, _ in frequent_confusions(study.counts_of(BASELINE), 5)]
    if cells:
        yield FigureSpec(
            "cells",
            "Cells of interest against stress",
            "How many more or fewer test images of the first class are taken for the second than at the baseline. "
            "Lines join means, points are seeds, bands intervals.",
            lambda: curves.plot_cells(results, cells),
        )


def _mild(results: Results, focus: Focus) -> Condition | None:
    """The mild noise of the focus, or else the mildest that was run."""
    study = results.study
    for kind in study.noise_series:
        if levels := study.series(kind)[1:]:
            return min(levels, key=lambda condition: (condition.level != focus.mild_noise, condition.level))
    return None


def _baseline(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    if not study.has(BASELINE):
        return
    shown = [BASELINE]
    if mild := _mild(results, focus):
        shown.append(mild)
    counts = [study.counts_of(condition) for condition in shown]
    titles = [_with_seeds(condition.label, len(each)) for condition, each in zip(shown, counts, strict=True)]
    yield FigureSpec(
        "fig2_confusion",
        focus.titled("fig2_confusion", "Mean confusion matrices"),
        "Truth along the bottom, prediction up the left side: a column says what became of the images of one class.",
        lambda: matrices.plot_mean_matrices(counts, titles, study.class_names),
    )
    if len(counts[0]) > 1:
        yield FigureSpec(
            "fig2_confusion_sd",
            "The same with standard deviations",
            "Below each mean, the standard deviation over seeds.",
            lambda: matrices.plot_mean_matrices(counts, titles, study.class_names, spread=True),
        )


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


def _mistaken(results: Results, arrays: ImageArrays, chosen: MistakenSettings, focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    condition = _mild(results, focus) or study.conditions[0]
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
            lambda: images.plot_mistaken(arrays.test_images[picked], confidence[picked], title),
        )


def _suspects(results: Results, arrays: ImageArrays, suspects: Sequence[Suspect]) -> Iterator[FigureSpec]:
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
        lambda: images.plot_captioned(arrays.test_images[[each.index for each in shown]], captions),
    )


def _levels(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    for kind, curve in results.curves.items():
        shown = [condition for condition in study.series(kind) if condition in results.compared]
        name = f"fig{'5' if kind in study.reduction_series else '4'}_{path_part(kind)}"
        yield FigureSpec(
            name,
            focus.titled(name, f"Every level of {curve.label}, relative to the baseline"),
            _reading(results),
            lambda shown=shown: _relatives(results, shown),  # type: ignore[misc]
        )
        yield FigureSpec(
            f"{name}_means",
            focus.titled(name, f"Every level of {curve.label}, mean confusion matrices"),
            "Test images, mean over the seeds. A column says what became of the images of one class.",
            lambda shown=shown: matrices.plot_mean_matrices(  # type: ignore[misc]
                [study.counts_of(condition) for condition in shown],
                [_with_seeds(condition.label, len(study.counts_of(condition))) for condition in shown],
                study.class_names,
            ),
        )


def _reading(results: Results) -> str:
    """How to read relative matrices."""
    return (
        "Test images more (red) or fewer (blue) than at the baseline of the same seeds, mean over the seeds. A column "
        "says what became of the images of one class. Framed bold cells differ from 0 at a false discovery rate of "
        f"{results.alpha:g}; grey numbers are of cells with too few images to be judged. All panels have one scale."
    )


def _with_seeds(label: str, seeds: int) -> str:
    return f"{label}, {seeds} {'seed' if seeds == 1 else 'seeds'}"


def _relatives(results: Results, conditions: Sequence[Condition]) -> AxesArray:
    shown = [results.compared[condition].relative for condition in conditions]
    return matrices.plot_relatives(
        [matrix.cells.value for matrix in shown],
        [matrix.marked for matrix in shown],
        [_with_seeds(each.label, len(matrix.seeds)) for each, matrix in zip(conditions, shown, strict=True)],
        results.study.class_names,
        judged=[matrix.judged for matrix in shown],
    )


def _twins(results: Results) -> Iterator[FigureSpec]:
    if results.twins:
        yield FigureSpec(
            "twins",
            "Labels of people against blind ones",
            "Test images more or fewer with labels that people gave than with as many from each class to each "
            "on other images: what depends on the single image. Framed cells differ from 0.",
            lambda: matrices.plot_relatives(
                [twins.relative.cells.value for twins in results.twins],
                [twins.relative.marked for twins in results.twins],
                [twins.human.label for twins in results.twins],
                results.study.class_names,
                judged=[twins.relative.judged for twins in results.twins],
            ),
        )


def _side_by_side(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    for name, pair in focus.side_by_side.items():
        if all(condition in results.compared for condition in pair):
            yield FigureSpec(
                name,
                focus.titled(name, " against ".join(condition.label for condition in pair)),
                _reading(results),
                lambda pair=pair: _relatives(results, pair),  # type: ignore[misc]
            )


def _orders(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    if not study.has(BASELINE):
        return
    shown = [BASELINE]
    wanted = [(kind, focus.strong_noise) for kind in study.noise_series[:1]]
    wanted += [(kind, focus.strong_reduction) for kind in study.reduction_series[:1]]
    for kind, level in wanted:
        if levels := study.series(kind)[1:]:
            shown.append(next((condition for condition in levels if condition.level == level), levels[-1]))
    if len(shown) > 1:
        yield FigureSpec(
            "fig10_order",
            focus.titled("fig10_order", "Classes sorted by accuracy"),
            "One column an experiment, least accurate at the bottom, with recall; lines follow each class. Blue: it "
            "stands higher in the last column than in the first. Orange: lower. Grey: as high.",
            lambda: curves.plot_order(results, shown),
        )
