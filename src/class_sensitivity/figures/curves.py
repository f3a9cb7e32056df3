"""Recall against stress, sensitivities, and orders of classes."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from class_sensitivity.figures.matrices import shorten
from class_sensitivity.analysis.sensitivity import Cost, Curve, Results
from class_sensitivity.analysis.study import Condition

#: Colour, marker and line of each kind of stress (Okabe and Ito's colour-blind safe palette).
STYLES = {
    "shuffle": ("#D55E00", "o", "-"),
    "symmetric": ("#CC79A7", "^", "-."),
    "pair": ("#E69F00", "v", ":"),
    "reduction": ("#0072B2", "s", "--"),
}
_OTHER = ("#009E73", "D", "-")


def stress_name(kind: str) -> str:
    """What a kind of stress is called in a legend."""
    return "data reduction" if kind == "reduction" else f"label noise ({kind})"


def describe(condition: Condition) -> str:
    """A condition in words, for titles."""
    parts = []
    if condition.noise:
        parts.append(f"{100 * condition.noise:.3g} % noise ({condition.kind})")
    if condition.reduction:
        parts.append(f"{100 * condition.reduction:.3g} % of the data removed")
    return ", ".join(parts) or "baseline"


def cells_figure(results: Results, cells: Sequence[tuple[int, int]]) -> Figure:
    """Some cells of the relative matrix against each kind of stress: figure 8 for the diagonal.

    Points are seeds, lines their mean, bands the interval of each level. On the diagonal a vertical
    line is a knee.

    Args:
        results: Of one study.
        cells: (true, predicted) class indices.
    """
    names = results.study.class_names
    columns = min(5, len(cells))
    rows = -(-len(cells) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.6 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, cell in zip(panels, cells, strict=False):
        for kind, curve in results.curves.items():
            color, marker, line = STYLES.get(kind, _OTHER)
            stressed = [condition for condition in curve.conditions if condition.name in results.relative]
            levels = [0.0] + [_level(curve, condition) for condition in stressed]
            changes = [results.relative[condition.name].cells[cell] for condition in stressed]
            middle = [0.0] + [float(change.value) for change in changes]
            low = [0.0] + [float(change.low) for change in changes]
            high = [0.0] + [float(change.high) for change in changes]
            axes.plot(levels, middle, line, color=color, label=stress_name(kind))
            axes.fill_between(levels, low, high, color=color, alpha=0.15, linewidth=0)
            for level, change in zip(levels[1:], changes, strict=True):
                seeds = change.per_seed
                axes.plot([level] * len(seeds), seeds, marker, color=color, markersize=2.5, alpha=0.7)
            knee = curve.knees[cell[0]].level
            if cell[0] == cell[1] and not np.isnan(knee):
                axes.axvline(knee, color=color, linestyle=line, linewidth=0.7)
        axes.axhline(0, color="0.6", linewidth=0.6)
        axes.set_title("{" + ", ".join(shorten(names[index]) for index in cell) + "}", fontsize=9)
    for axes in panels[len(cells) :]:
        axes.set_visible(False)
    figure.supxlabel("share of labels touched, or of records removed")
    figure.supylabel("test images, condition - baseline")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _level(curve: Curve, condition: Condition) -> float:
    return condition.reduction if curve.kind == "reduction" else condition.noise


def accuracy_figure(results: Results) -> Figure:
    """Overall accuracy against each kind of stress; every seed is a point, bands are intervals."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, curve in results.curves.items():
        color, marker, line = STYLES.get(kind, _OTHER)
        estimates = [results.accuracy[condition.name] for condition in curve.conditions]
        levels = [_level(curve, condition) for condition in curve.conditions]
        axes.plot(levels, [float(e.value) for e in estimates], line, color=color, label=stress_name(kind))
        low, high = [float(e.low) for e in estimates], [float(e.high) for e in estimates]
        axes.fill_between(levels, low, high, color=color, alpha=0.15, linewidth=0)
        for level, e in zip(levels, estimates, strict=True):
            axes.plot([level] * len(e.per_seed), e.per_seed, marker, color=color, markersize=3, alpha=0.8)
    axes.set_xlabel("share of labels touched, or of records removed")
    axes.set_ylabel("test accuracy")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def slopes_figure(curves: Mapping[str, Curve], class_names: Sequence[str]) -> Figure:
    """Sensitivity of every class: recall lost per 10 points of stress, with intervals and seeds."""
    figure = Figure(figsize=(7, 0.42 * len(class_names) + 1.4), layout="constrained")
    axes = figure.subplots()
    first = next(iter(curves.values()))
    order = np.argsort(-first.slope.value)  # the most sensitive on top
    for offset, (kind, curve) in zip(np.linspace(-0.18, 0.18, len(curves)), curves.items(), strict=True):
        color, marker, _ = STYLES.get(kind, _OTHER)
        value = -curve.slope.value[order] * 10  # points of recall lost per 0.1 of stress
        low, high = -curve.slope.high[order] * 10, -curve.slope.low[order] * 10
        places = np.arange(len(order)) - offset
        if len(curve.seeds) > 1:
            axes.errorbar(value, places, xerr=[value - low, high - value], fmt="none", ecolor=color, elinewidth=1.2)
        axes.plot(value, places, marker, color=color, label=stress_name(kind))
        seeds = -curve.slope.per_seed[:, order] * 10
        axes.plot(
            seeds,
            np.broadcast_to(places, seeds.shape),
            ".",
            color=color,
            markersize=4,
            markerfacecolor="white",
            markeredgewidth=0.7,
        )
    axes.axvline(0, color="0.6", linewidth=0.6)
    axes.set_yticks(range(len(order)), [shorten(class_names[i]) for i in order])
    axes.set_xlabel("points of recall lost per 10 points of stress")
    axes.legend(frameon=False)
    axes.grid(axis="x", alpha=0.3)
    return figure


def order_figure(results: Results, conditions: Sequence[Condition]) -> Figure:
    """Figure 10: classes sorted by accuracy, one column a condition, a line following each class.

    The worst class is at the bottom. Lines join the same class in neighbouring columns.
    """
    names = results.study.class_names
    figure = Figure(figsize=(2.7 * len(conditions) + 0.6, 0.4 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    heights = np.empty((len(conditions), len(names)))
    colors = _class_colors(len(names))
    for column, condition in enumerate(conditions):
        recall = results.recall[condition.name]
        order = np.argsort(recall.value, kind="stable")
        heights[column, order] = np.arange(len(names))
        for index in range(len(names)):
            axes.text(
                column,
                heights[column, index],
                f"{shorten(names[index])}  {recall.value[index]:.1%}",
                ha="center",
                va="center",
                fontsize=9,
                bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colors[index], "linewidth": 1.6},
            )
    for index in range(len(names)):
        axes.plot(range(len(conditions)), heights[:, index], color=colors[index], linewidth=1.6, zorder=0)
    axes.set_xticks(range(len(conditions)), [describe(condition) for condition in conditions])
    axes.xaxis.tick_top()
    axes.set_yticks([0, len(names) - 1], ["least\naccurate", "most\naccurate"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    return figure


def _class_colors(number: int) -> list[tuple[float, float, float, float]]:
    # cividis runs from dark to light with even steps, for every kind of sight.
    return [matplotlib.colormaps["cividis"](value) for value in np.linspace(0, 0.9, number)]


def cost_figure(cost: Cost, class_names: Sequence[str]) -> Figure:
    """What wrong labels cost each class: the part that absent records would cost, and the rest."""
    figure = Figure(figsize=(7, 0.42 * len(class_names) + 1.4), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(cost.less_data.value + cost.misled.value)
    parts = ((cost.less_data, "reduction", "cost of less data"), (cost.misled, "shuffle", "cost of being misled"))
    for offset, (part, style, label) in zip((0.16, -0.16), parts, strict=True):
        color, marker, _ = STYLES[style]
        value, places = 100 * part.value[order], np.arange(len(order)) + offset
        axes.barh(places, value, height=0.3, color=color, alpha=0.5, label=label)
        if len(cost.seeds) > 1:
            error = [value - 100 * part.low[order], 100 * part.high[order] - value]
            axes.errorbar(value, places, xerr=error, fmt="none", ecolor="black", elinewidth=0.9)
        seeds = 100 * part.per_seed[:, order]
        axes.plot(seeds, np.broadcast_to(places, seeds.shape), marker, color=color, markersize=2.5)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(order)), [shorten(class_names[i]) for i in order])
    axes.set_xlabel("points of recall lost")
    axes.set_title(f"{describe(cost.noise)} against {describe(cost.control)}", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    return figure


def rank_figure(curve: Curve, class_names: Sequence[str]) -> Figure:
    """Probability of each rank of sensitivity; the most sensitive classes on top."""
    assert curve.ranks is not None
    size = 1.5 + 0.42 * len(class_names)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(curve.ranks @ np.arange(len(class_names)), kind="stable")
    shown = curve.ranks[order]
    image = axes.imshow(shown, cmap="Greys", vmin=0, vmax=1)
    for row, column in np.ndindex(shown.shape):
        if shown[row, column] >= 0.005:
            ink = "white" if shown[row, column] > 0.5 else "black"
            axes.text(column, row, f"{shown[row, column]:.0%}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_yticks(range(len(order)), [shorten(class_names[i]) for i in order])
    axes.set_xticks(range(len(order)), [str(rank + 1) for rank in range(len(order))])
    axes.set_xlabel(f"rank of sensitivity to {stress_name(curve.kind)} (1 = falls most)")
    figure.colorbar(image, ax=axes, shrink=0.8, label="probability")
    return figure
