"""Which figures a report holds, with their captions."""

from collections.abc import Iterator, Sequence

from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.figures import curves, matrices
from class_sensitivity.figures.axes import AxesArray
from class_sensitivity.figures.many_classes import which_of
from class_sensitivity.report.exchange import ExchangeOfStudy
from class_sensitivity.report.findings import frequent_confusions
from class_sensitivity.report.image_figures import class_index, mislabelled_images, mistaken_images
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.report.variety import Variety
from class_sensitivity.runs.condition import BASELINE, Condition, path_part
from class_sensitivity.settings import AnalyzeSettings


def figure_specs(
    results: Results,
    arrays: ImageArrays | None,
    settings: AnalyzeSettings,
    *,
    limit: float,
    focus: Focus,
    suspects: Sequence[Suspect] = (),
    variety: Variety | None = None,
) -> Iterator[FigureSpec]:
    """All figures that the runs allow, in the order of the report.

    Args:
        results: Of one study.
        arrays: The data set's images, if they can be had.
        settings: Which cells and classes were asked for.
        limit: The largest cell of any relative matrix of the report, which ends their one scale.
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
        yield from mistaken_images(results, arrays, settings.mistaken, focus)
        yield from mislabelled_images(results, arrays, suspects)
    yield from _levels(results, focus, limit)
    yield from _side_by_side(results, focus, limit)
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
    yield from ExchangeOfStudy(results).specs()
    for kind, curve in results.curves.items():
        if curve.ranks is not None:
            yield FigureSpec(
                f"ranks_{path_part(kind)}",
                f"How sure is the order? {curve.label}",
                "Probability of each rank of sensitivity, from a bootstrap over seeds and test images.",
                lambda curve=curve: curves.plot_ranks(curve, names),  # type: ignore[misc]
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


def _baseline(results: Results, focus: Focus) -> Iterator[FigureSpec]:
    study = results.study
    if not study.has(BASELINE):
        return
    shown = [BASELINE]
    if mild := focus.mild(study):
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


def _levels(results: Results, focus: Focus, limit: float) -> Iterator[FigureSpec]:
    study = results.study
    for kind, curve in results.curves.items():
        shown = [condition for condition in study.series(kind) if condition in results.compared]
        name = f"fig{'5' if kind in study.reduction_series else '4'}_{path_part(kind)}"
        yield FigureSpec(
            name,
            focus.titled(name, f"Every level of {curve.label}, relative to the baseline"),
            _reading(results),
            lambda shown=shown: _relatives(results, shown, limit),  # type: ignore[misc]
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
        f"{results.alpha:g}; grey numbers are of cells with too few images to be judged. All "
        "relative matrices of a report have one scale."
    )


def _with_seeds(label: str, seeds: int) -> str:
    return f"{label}, {seeds} {'seed' if seeds == 1 else 'seeds'}"


def _relatives(results: Results, conditions: Sequence[Condition], limit: float) -> AxesArray:
    shown = [results.compared[condition].relative for condition in conditions]
    return matrices.plot_relatives(
        [matrix.cells.value for matrix in shown],
        [matrix.marked for matrix in shown],
        [_with_seeds(each.label, len(matrix.seeds)) for each, matrix in zip(conditions, shown, strict=True)],
        results.study.class_names,
        limit=limit,
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


def _side_by_side(results: Results, focus: Focus, limit: float) -> Iterator[FigureSpec]:
    for name, pair in focus.side_by_side.items():
        if all(condition in results.compared for condition in pair):
            yield FigureSpec(
                name,
                focus.titled(name, " against ".join(condition.label for condition in pair)),
                _reading(results),
                lambda pair=pair: _relatives(results, pair, limit),  # type: ignore[misc]
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
