"""Recall against stress, sensitivities, and orders of classes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from class_sensitivity.analysis.results import Cost, Curve, Results
from class_sensitivity.figures.axes import (
    AxesArray,
    add_legend,
    figure_of,
    label_classes,
    new_axes,
    new_panels,
    shorten,
)
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number
from class_sensitivity.runs.condition import Condition

#: Of a class that stands higher, as high, or lower than before.
_MOVES = {1: "#0072B2", 0: "0.6", -1: "#D55E00"}

#: Colour, marker and line.
_Style: TypeAlias = tuple[str, str, str | tuple[int, tuple[int, ...]]]

#: Of each kind of stress (Okabe and Ito's colour-blind safe palette).
STYLES: dict[str, _Style] = {
    "shuffle": ("#D55E00", "o", "-"),
    "symmetric": ("#CC79A7", "^", "-."),
    "pair": ("#E69F00", "v", ":"),
    "reduction": ("#0072B2", "s", "--"),
    "reduction-matched-steps": ("#009E73", "D", (0, (6, 2))),
    "reduction-masked-steps": ("#56B4E9", "P", (0, (3, 1, 1, 1))),
}
#: Of further kinds, in turn.
_OTHERS = (("#000000", "X", "-"), ("#F0E442", "p", "--"), ("#999999", "<", ":"), ("#8B4513", ">", "-."))

_STRESS = "labels touched, or examples removed, %"


def _styles(kinds: Iterable[str]) -> dict[str, _Style]:
    """Colour, marker and line of each kind of stress."""
    others = cycle(_OTHERS)
    return {kind: STYLES[kind] if kind in STYLES else next(others) for kind in kinds}


def most_affected(curves: Mapping[str, Curve]) -> list[int]:
    """The classes that fall most under the first kind of stress, as many as a figure shows; in the order of classes.

    Args:
        curves: Kind of stress -> dose-response; at least one.
    """
    first = next(iter(curves.values()))
    return sorted(foremost(np.argsort(first.slope.value, kind="stable")))


def plot_cells(results: Results, cells: Sequence[tuple[int, int]]) -> AxesArray:
    """Some cells of the relative matrix against each kind of stress: figure 8 for the diagonal.

    Points are seeds, lines their mean, bands the interval of each level. On the diagonal a vertical
    line is a knee.

    Args:
        results: Of one study.
        cells: (true, predicted) class indices.

    Returns:
        (cells,) axes.
    """
    names = results.study.class_names
    panels = new_panels(len(cells))
    compared, styles = results.compared, _styles(results.curves)
    for axes, cell in zip(panels, cells, strict=True):
        for kind, curve in results.curves.items():
            color, marker, line = styles[kind]
            stressed = [condition for condition in curve.conditions if condition in compared]
            levels = [0.0] + [100 * condition.level for condition in stressed]
            changes = [compared[condition].relative.cells[cell] for condition in stressed]
            middle = [0.0] + [float(change.value) for change in changes]
            low = [0.0] + [float(change.low) for change in changes]
            high = [0.0] + [float(change.high) for change in changes]
            axes.plot(levels, middle, linestyle=line, color=color, label=curve.label)
            axes.fill_between(levels, low, high, color=color, alpha=0.15, linewidth=0)
            for level, change in zip(levels[1:], changes, strict=True):
                seeds = change.per_seed
                axes.plot([level] * len(seeds), seeds, marker, color=color, markersize=2.5, alpha=0.7)
            knee = curve.knees[cell[0]].level
            if cell[0] == cell[1] and not np.isnan(knee):
                axes.axvline(100 * knee, color=color, linestyle=line, linewidth=0.7)
        axes.axhline(0, color="0.6", linewidth=0.6)
        true, predicted = (shorten(names[index]) for index in cell)
        title = f"{true} taken for {predicted}" if cell[0] != cell[1] else true
        axes.set_title(title, fontsize=9, parse_math=False)
    figure = figure_of(panels)
    figure.supxlabel(f"{_STRESS}\ndots: seeds; vertical line, if any: a knee", fontsize=10)
    figure.supylabel("test images, condition minus baseline", fontsize=10)
    entries = panels[0].get_legend_handles_labels()
    widest = 0.5 + 0.068 * max(len(curve.label) for curve in results.curves.values())  # in inches, about
    ncols = max(1, int(figure.get_figwidth() / widest))
    for text in figure.legend(*entries, loc="outside upper center", ncols=ncols, fontsize=9, frameon=False).get_texts():
        text.set_parse_math(False)
    return panels


def plot_accuracy(results: Results, *, ax: Axes | None = None) -> Axes:
    """Overall accuracy against each kind of stress; every seed is a point, bands are intervals.

    Args:
        results: Of one study.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7, 4.5)
    styles = _styles(results.curves)
    for kind, curve in results.curves.items():
        color, marker, line = styles[kind]
        estimates = [results.of(condition).accuracy.scaled(100) for condition in curve.conditions]
        levels = (100 * curve.levels).tolist()
        axes.plot(levels, [float(e.value) for e in estimates], linestyle=line, color=color, label=curve.label)
        low, high = [float(e.low) for e in estimates], [float(e.high) for e in estimates]
        axes.fill_between(levels, low, high, color=color, alpha=0.15, linewidth=0)
        for level, e in zip(levels, estimates, strict=True):
            axes.plot([level] * len(e.per_seed), e.per_seed, marker, color=color, markersize=3, alpha=0.8)
    axes.set_xlabel(_STRESS)
    axes.set_ylabel("test accuracy, %")
    add_legend(axes)
    axes.grid(alpha=0.3)
    return axes


def plot_slopes(curves: Mapping[str, Curve], class_names: Sequence[str]) -> AxesArray:
    """Sensitivity of every class: recall lost per 10 points of stress, with intervals and seeds.

    Most curves bend, so slopes of a mild and of a strong stress do not compare: each panel holds the kinds of stress
    that have the same highest level.

    Args:
        curves: Kind of stress -> dose-response; the first one decides the order of the classes.
        class_names: The K names.

    Returns:
        (highest levels,) axes, in the order of the curves.
    """
    first = next(iter(curves.values()))
    order = foremost(np.argsort(first.slope.value, kind="stable"))[::-1]  # the most sensitive on top, where the last is
    styles = _styles(curves)
    groups: dict[float, list[str]] = defaultdict(list)
    for kind, curve in curves.items():
        groups[float(curve.levels[-1])].append(kind)
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    height = 0.42 * len(order) + 0.8 + 0.2 * max(map(len, groups.values()))
    figure = Figure(figsize=(max(6.0, 4.4 * columns + 0.8), rows * height + 0.6), layout="constrained")
    every: AxesArray = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in every[len(groups) :]:
        axes.remove()
    panels = every[: len(groups)]
    for axes, kinds in zip(panels, groups.values(), strict=True):
        for offset, kind in zip(np.linspace(-0.18, 0.18, len(kinds)), kinds, strict=True):
            _draw_slopes(axes, curves[kind], styles[kind], order, offset)
        axes.axvline(0, color="0.6", linewidth=0.6)
        axes.grid(axis="x", alpha=0.3)
        add_legend(axes, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    for axes in panels[::columns]:
        label_classes(axes.yaxis, [class_names[i] for i in order])
        say_left_out(axes, len(order), len(class_names))
    apart = "; does not compare across panels, whose levels differ" if len(groups) > 1 else ""
    figure.supxlabel(
        f"points of recall lost per 10 points of stress{apart}\nfilled: mean, with its interval; open circles: seeds",
        fontsize=10,
    )
    return panels


def levels_in_words(conditions: Sequence[Condition]) -> str:
    """Over which levels a slope was taken, such as `10 to 30 %`.

    Args:
        conditions: The baseline first, then rising levels.

    Examples:
        >>> levels_in_words([Condition(), Condition(reduction_frac=0.2), Condition(reduction_frac=0.9)])
        '20 to 90 %'
        >>> levels_in_words([Condition(), Condition(reduction_frac=0.2)])
        '20 %'
    """
    levels = [f"{100 * condition.level:g}" for condition in conditions[1:]]
    return " to ".join(dict.fromkeys([levels[0], levels[-1]])) + " %"


def _draw_slopes(axes: Axes, curve: Curve, style: _Style, order: Sequence[int], offset: float) -> None:
    color, marker, _ = style
    loss, places = curve.loss[list(order)], np.arange(len(order)) - offset
    if len(curve.seeds) > 1:
        error = [loss.value - loss.low, loss.high - loss.value]
        axes.errorbar(loss.value, places, xerr=error, fmt="none", ecolor=color, elinewidth=1.2)
    label = fill(f"{curve.label}, {levels_in_words(curve.conditions)}", 44)
    axes.plot(loss.value, places, marker, color=color, label=label)
    axes.plot(
        loss.per_seed,
        np.broadcast_to(places, loss.per_seed.shape),
        ".",
        color=color,
        markersize=4,
        markerfacecolor="white",
        markeredgewidth=0.7,
    )


def plot_order(results: Results, conditions: Sequence[Condition], *, ax: Axes | None = None) -> Axes:
    """Figure 10: classes sorted by accuracy, one column a condition, a line following each class.

    The worst class is at the bottom. Lines join the same class in neighbouring columns; a class that stands higher in
    the last column than in the first is blue, one that stands lower orange.

    Args:
        results: Of one study.
        conditions: One a column.
        ax: Where to draw; None: on a figure of its own.
    """
    shown = sorted(foremost(np.argsort(results.of(conditions[0]).recall.value, kind="stable")))
    names = [results.study.class_names[c] for c in shown]
    axes = ax or new_axes(2.7 * len(conditions) + 0.6, 0.4 * len(names) + 1.2)
    say_left_out(axes, len(names), results.study.num_classes)
    recalls = np.array([results.of(condition).recall.value[shown] for condition in conditions])
    heights = np.argsort(np.argsort(recalls, kind="stable"), kind="stable")
    colors = [_MOVES[int(np.sign(after - before))] for before, after in zip(heights[0], heights[-1], strict=True)]
    for column, recall in enumerate(recalls):
        for index in range(len(names)):
            axes.text(
                column,
                heights[column, index],
                f"{shorten(names[index])}  {100 * recall[index]:.1f} %",
                ha="center",
                va="center",
                fontsize=9,
                parse_math=False,
                bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colors[index], "linewidth": 1.6},
            )
    for index in range(len(names)):
        axes.plot(range(len(conditions)), heights[:, index], color=colors[index], linewidth=1.6, zorder=0)
    axes.set_xticks(range(len(conditions)), [condition.label for condition in conditions], parse_math=False)
    axes.xaxis.tick_top()
    axes.set_yticks([0, len(names) - 1], ["least\naccurate", "most\naccurate"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    return axes


def plot_cost(cost: Cost, class_names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """What wrong labels cost each class: the part that absent examples would cost, and the rest.

    Args:
        cost: Of one share of noise.
        class_names: The K names.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7, 0.42 * shown_number(len(class_names)) + 1.4)
    # The costliest on top, where the last row is.
    order = foremost(np.argsort(-(cost.less_data.value + cost.misled.value), kind="stable"))[::-1]
    parts = ((cost.less_data, "reduction", "cost of less data"), (cost.misled, "shuffle", "cost of being misled"))
    for offset, (part, style, label) in zip((0.16, -0.16), parts, strict=True):
        color, marker, _ = STYLES[style]
        points, places = part[order].scaled(100), np.arange(len(order)) + offset
        axes.barh(places, points.value, height=0.3, color=color, alpha=0.5, label=label)
        if len(cost.seeds) > 1:
            error = [points.value - points.low, points.high - points.value]
            axes.errorbar(points.value, places, xerr=error, fmt="none", ecolor="black", elinewidth=0.9)
        seeds = points.per_seed
        axes.plot(seeds, np.broadcast_to(places, seeds.shape), marker, color=color, markersize=2.5)
    axes.axvline(0, color="0.3", linewidth=0.8)
    label_classes(axes.yaxis, [class_names[i] for i in order])
    say_left_out(axes, len(order), len(class_names))
    axes.set_xlabel("points of recall lost; lines: intervals, dots: seeds")
    axes.set_title(f"{cost.noise.label} against {cost.control.label}", fontsize=10, parse_math=False)
    add_legend(axes, loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    return axes


def plot_ranks(curve: Curve, class_names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Probability of each rank of sensitivity; the most sensitive classes on top.

    Args:
        curve: With ranks, which takes two seeds.
        class_names: The K names.
        ax: Where to draw; None: on a figure of its own.

    Raises:
        ValueError: The curve has no ranks.
    """
    if curve.ranks is None:
        raise ValueError(f"the curve of {curve.label} has no ranks: they take two seeds")
    size = 1.5 + 0.42 * shown_number(len(class_names))
    axes = ax or new_axes(size + 1.2, size)
    order = foremost(np.argsort(curve.ranks @ np.arange(len(class_names)), kind="stable"))
    shown = 100 * curve.ranks[order][:, : len(order)]
    image = axes.imshow(shown, cmap="Greys", vmin=0, vmax=100)
    for row, column in np.ndindex(shown.shape):
        if shown[row, column] >= 0.5:
            ink = "white" if shown[row, column] > 50 else "black"
            axes.text(column, row, f"{shown[row, column]:.0f}", ha="center", va="center", fontsize=7, color=ink)
    label_classes(axes.yaxis, [class_names[i] for i in order])
    say_left_out(axes, len(order), len(class_names))
    axes.set_xticks(range(len(order)), [str(rank + 1) for rank in range(len(order))])
    axes.set_xlabel(f"rank of sensitivity to {curve.label} (1 = falls most)", parse_math=False)
    figure_of(axes).colorbar(image, ax=axes, shrink=0.8, label="probability, %")
    return axes
