"""Which figures a report holds, with their captions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from class_sensitivity.runs import directory as runs
from class_sensitivity.confusion import most_confused
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import ConfigError
from class_sensitivity.figures import curves, images, matrices
from class_sensitivity.figures.curves import describe, stress_name
from class_sensitivity.analysis.sensitivity import Results
from class_sensitivity.analysis.study import BASELINE, Condition


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn when it is its turn.

    Attributes:
        name: File name without ending.
        title: Heading.
        caption: What it shows and how to read it.
        draw: Makes the figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


def relative_limit(all_results: list[Results]) -> float:
    """The largest cell of any relative matrix of a report: all of them share one scale."""
    return max(
        (float(np.abs(matrix.cells.value).max()) for results in all_results for matrix in results.relative.values()),
        default=1.0,
    )


def pictures(results: Results, arrays: ImageArrays | None, settings: dict[str, Any], limit: float) -> Iterator[Picture]:
    """All figures that the runs allow, in the order of the report.

    Args:
        results: Of one study.
        arrays: The data set's images, if they can be had.
        settings: The checked settings of `conf/analyze.yaml`.
        limit: Of the diverging scale.

    Raises:
        ConfigError: A class that is asked for does not exist.
    """
    yield from _overview(results)
    yield from _cells(results, settings["cells"])
    yield from _baseline(results)
    if arrays is not None:
        yield from _mistaken(results, arrays, settings["mistaken"])
    yield from _levels(results, limit)
    yield from _side_by_side(results, limit)
    if arrays is not None and results.curves:
        yield from _variety(results, arrays, settings["variety"])
    yield from _orders(results)


def _overview(results: Results) -> Iterator[Picture]:
    if not results.curves:
        return
    names = results.study.class_names
    yield Picture(
        "sensitivity",
        "Sensitivity of every class",
        "Recall lost per 10 points of stress (least-squares slope), most sensitive on top. Bars are intervals over "
        "seeds and test images, small points single seeds.",
        lambda: curves.slopes_figure(results.curves, names),
    )
    yield Picture(
        "accuracy",
        "Accuracy against stress",
        "Every point is one run; lines join means, bands are intervals over seeds and test images.",
        lambda: curves.accuracy_figure(results),
    )
    yield Picture(
        "fig8_diagonal",
        "Diagonal cells against stress (the article's figure 8, for every class)",
        "How many test images of a class are right beyond the baseline. Points are seeds, bands intervals; a vertical "
        "line is a knee.",
        lambda: curves.cells_figure(results, [(c, c) for c in range(len(names))]),
    )
    for cost in results.costs:
        yield Picture(
            f"cost_{cost.noise.name}",
            f"Misled, or just short of data? {describe(cost.noise)}",
            "The control removes exactly the records that the noise lies about. Baseline minus control is the cost of "
            "less data; control minus noise is the further cost of being misled.",
            lambda cost=cost: curves.cost_figure(cost, names),  # type: ignore[misc]
        )
    for kind, curve in results.curves.items():
        if curve.ranks is not None:
            yield Picture(
                f"ranks_{kind}",
                f"How sure is the order? {stress_name(kind)}",
                "Probability of each rank of sensitivity, from a bootstrap over seeds and test images.",
                lambda curve=curve: curves.rank_figure(curve, names),  # type: ignore[misc]
            )


def _cells(results: Results, chosen: list[list[str]]) -> Iterator[Picture]:
    study = results.study
    if not results.relative or not results.curves:
        return
    article = [["cat", "dog"], ["dog", "frog"], ["cat", "deer"], ["deer", "cat"], ["cat", "frog"]]
    if not chosen and {"cat", "deer", "dog", "frog"} <= set(study.class_names):
        chosen = article
    cells = [(_class_index(results, "cells", true), _class_index(results, "cells", got)) for true, got in chosen]
    if not cells:
        cells = [(i, j) for i, j, _ in most_confused(study.counts_of(BASELINE).sum(axis=0), 5)]
    yield Picture(
        "cells",
        "Cells of interest against stress",
        "How many more or fewer test images of the first class are taken for the second than at the baseline. Points "
        "are seeds, bands intervals.",
        lambda: curves.cells_figure(results, cells),
    )


def _mild(results: Results) -> Condition | None:
    """10 % noise, as in the article, or else the mildest noise there is."""
    study = results.study
    for kind in study.noise_kinds:
        for condition in sorted(study.series(kind)[1:], key=lambda c: (c.noise != 0.1, c.noise)):
            return condition
    return None


def _baseline(results: Results) -> Iterator[Picture]:
    study = results.study
    if not study.has(BASELINE):
        return
    shown = [study.condition(BASELINE)]
    if mild := _mild(results):
        shown.append(mild)
    counts = [study.counts_of(condition.name) for condition in shown]
    titles = [f"{describe(c)}, n = {len(m)} seeds" for c, m in zip(shown, counts, strict=True)]
    yield Picture(
        "fig2_confusion",
        "Mean confusion matrices (figure 2)",
        "Truth along the bottom, prediction up the left side: a column says what became of the images of one class.",
        lambda: matrices.mean_matrices_figure(counts, titles, study.class_names),
    )
    if len(counts[0]) > 1:
        yield Picture(
            "fig2_confusion_sd",
            "The same with standard deviations",
            "Below each mean, the standard deviation over seeds.",
            lambda: matrices.mean_matrices_figure(counts, titles, study.class_names, spread=True),
        )


def _class_index(results: Results, key: str, name: str) -> int:
    names = results.study.class_names
    if name not in names:
        raise ConfigError(f"{key}={name} is not a class of {results.study.data}: it must be one of {', '.join(names)}.")
    return names.index(name)


def _mistaken(results: Results, arrays: ImageArrays, chosen: dict[str, str | None]) -> Iterator[Picture]:
    study = results.study
    condition = _mild(results) or study.conditions[0]
    seed = study.common_seeds(condition.name)[0]
    counts = study.counts_of(condition.name).sum(axis=0)
    true, predicted = most_confused(counts, 1)[0][:2]
    if {"cat", "frog"} <= set(study.class_names):
        true, predicted = study.class_names.index("cat"), study.class_names.index("frog")  # the article's pair
    if chosen["true_class"] is not None:
        true = _class_index(results, "mistaken.true_class", chosen["true_class"])
        row = np.where(np.arange(study.num_classes) == true, -1, counts[true])
        predicted = int(row.argmax())
    if chosen["predicted_class"] is not None:
        predicted = _class_index(results, "mistaken.predicted_class", chosen["predicted_class"])
    record = runs.read(study.paths[condition.name, seed], arrays=("test_probabilities",))
    confidence = record.arrays["test_probabilities"][:, predicted].astype(np.float32)
    taken = np.flatnonzero((study.labels == true) & (study.preds_of(condition.name, [seed])[0] == predicted))
    picked = taken[np.argsort(-confidence[taken], kind="stable")][:18]
    names = study.class_names
    title = f"{names[true]} taken for {names[predicted]}: {describe(condition)}, seed {seed}"
    if len(picked):
        yield Picture(
            "fig3_mistaken",
            f"Images of {names[true]} taken for {names[predicted]} (figure 3)",
            f"The {len(picked)} of {len(taken)} that one run is most sure of, with the probability it gives to "
            f"{names[predicted]} under each.",
            lambda: images.mistaken_figure(arrays.test_images[picked], confidence[picked], title),
        )


def _levels(results: Results, limit: float) -> Iterator[Picture]:
    study = results.study
    for kind in results.curves:
        shown = [condition for condition in study.series(kind) if condition.name in results.relative]
        article = {"shuffle": " (figure 4)", "reduction": " (figure 5)"}.get(kind, "")
        yield Picture(
            f"fig{'5' if kind == 'reduction' else '4'}_{kind}",
            f"Every level of {stress_name(kind)}{article}",
            "Left the mean confusion matrix, right the same minus the baseline of the same seeds. Framed cells differ "
            f"from 0 at a false discovery rate of {results.alpha:g}.",
            lambda shown=shown: matrices.levels_figure(  # type: ignore[misc]
                [study.counts_of(condition.name) for condition in shown],
                [results.relative[condition.name].cells.value for condition in shown],
                [results.relative[condition.name].marked for condition in shown],
                [describe(condition) for condition in shown],
                study.class_names,
                limit=limit,
            ),
        )


def _side_by_side(results: Results, limit: float) -> Iterator[Picture]:
    study = results.study
    for figure, reduction in (("fig6", 0.6), ("fig9", 0.2)):
        names = ["noise-shuffle-0.2", f"reduction-{reduction!r}"]
        if not all(name in results.relative for name in names):
            continue
        shown = [results.relative[name] for name in names]
        titles = [describe(study.condition(name)) for name in names]
        yield Picture(
            f"{figure}_noise_against_reduction",
            f"{titles[0]} against {titles[1]} (figure {figure.removeprefix('fig')})",
            "Both relative to the baseline, on the report's one scale.",
            lambda shown=shown, titles=titles: matrices.relative_figure(  # type: ignore[misc]
                [matrix.cells.value for matrix in shown],
                [matrix.marked for matrix in shown],
                titles,
                study.class_names,
                limit=limit,
            ),
        )


def _variety(results: Results, arrays: ImageArrays, chosen: list[str]) -> Iterator[Picture]:
    names = results.study.class_names
    curve = next(iter(results.curves.values()))
    order = np.argsort(curve.slope.value)
    picked = [_class_index(results, "variety", name) for name in chosen]
    if not picked:
        article = ("bird", "truck")
        known = all(name in names for name in article)
        picked = [names.index(name) for name in article] if known else [int(order[0]), int(order[-1])]
    spread = np.array([images.variety(arrays.train_images[arrays.train_labels == c]) for c in range(len(names))])
    agreement = stats.spearmanr(spread, -curve.slope.value)
    members = [arrays.train_images[np.flatnonzero(arrays.train_labels == c)[:30]] for c in picked]
    titles = [f"{names[c]}: variety {spread[c]:.1f}" for c in picked]
    ranked = ", ".join(f"{names[c]} {spread[c]:.1f}" for c in np.argsort(-spread))
    yield Picture(
        "fig7_variety",
        f"Training images of {' and '.join(names[c] for c in picked)} (figure 7)",
        "The first training images of each class. Variety is the root mean square distance of a class's training "
        f"images from their mean image, in grey levels a pixel: {ranked}. Its rank correlation with sensitivity to "
        f"{stress_name(curve.kind)} is {agreement.statistic:+.2f} (p = {agreement.pvalue:.2f}, {len(names)} classes).",
        lambda: images.variety_figure(members, titles),
    )


def _orders(results: Results) -> Iterator[Picture]:
    study = results.study
    if not study.has(BASELINE):
        return
    shown = [study.condition(BASELINE)]
    for kind, wanted in [*((kind, "noise") for kind in study.noise_kinds[:1]), ("reduction", "reduction")]:
        levels = study.series(kind)[1:]
        article = f"noise-{kind}-0.3" if wanted == "noise" else "reduction-0.9"
        if levels:
            shown.append(next((c for c in levels if c.name == article), levels[-1]))
    if len(shown) > 1:
        yield Picture(
            "fig10_order",
            "Classes sorted by accuracy (figure 10)",
            "One column an experiment, least accurate at the bottom; lines follow each class.",
            lambda: curves.order_figure(results, shown),
        )
