"""Noise against the size of the training set: lines along which a model is as good."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.tri import Triangulation, TriContourSet
from numpy.typing import NDArray

from class_sensitivity.analysis.results import ConditionResult, Results
from class_sensitivity.analysis.sideways import Sideways
from class_sensitivity.figures.axes import AxesArray, figure_of, new_axes, new_panels, shorten

Floats = NDArray[np.float64]

#: Lines of one panel.
_LINES = 9


def plot_iso_accuracy(results: Results, shifts: Sequence[Sideways], *, ax: Axes | None = None) -> Axes:
    """Lines of equal accuracy over the number of examples and the share of wrong labels; numbers are what was measured.

    Args:
        results: Of one study.
        shifts: Its noise levels at several sizes of the training set, on one clean learning curve.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(8, 5)
    sizes, levels, found = _measured(results, shifts)
    values = np.array([100 * float(each.accuracy.value) for each in found])
    lines = _draw(axes, sizes, levels, values)
    if lines is not None:
        figure_of(axes).colorbar(lines, ax=axes, label="accuracy along a line, %")
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
    for x, y, value in zip(sizes, levels, values, strict=True):
        axes.annotate(f"{value:.1f}", (x, y), ha="center", va="center", fontsize=9, bbox=box)
    axes.set_xlabel("training examples\nnumbers: measured accuracy, %, mean over seeds; lines: interpolated")
    axes.set_ylabel("labels touched by noise, %")
    return axes


def plot_iso_recall(results: Results, shifts: Sequence[Sideways], classes: Sequence[int]) -> AxesArray:
    """The same of some classes' recall.

    Args:
        results: Of one study.
        shifts: As of `plot_iso_accuracy`.
        classes: Which classes.

    Returns:
        (classes,) axes.
    """
    names = [results.study.class_names[c] for c in classes]
    panels = new_panels(len(names))
    sizes, levels, found = _measured(results, shifts)
    for c, axes, name in zip(classes, panels, names, strict=True):
        values = np.array([100 * float(each.recall.value[c]) for each in found])
        if not np.isnan(values).any():  # a class without test images
            lines = _draw(axes, sizes, levels, values)
            if lines is not None:
                axes.clabel(lines, fontsize=7, fmt=lambda value: f"{value:g} %")
        axes.set_title(shorten(name), fontsize=9, parse_math=False)
    drawn = figure_of(panels)
    drawn.supxlabel("training examples")
    drawn.supylabel("labels touched by noise, %")
    return panels


def _measured(results: Results, shifts: Sequence[Sideways]) -> tuple[Floats, Floats, list[ConditionResult]]:
    """Sizes, shares of noise in percent, and what is known, of every condition of the grid."""
    study = results.study
    conditions = [*shifts[0].at[0].curve, *(each.noise for shift in shifts for each in shift.at)]
    # Beyond the smallest size with noise nothing is known of noise, and lines would only be guessed.
    least = min(size for shift in shifts for size in shift.sizes)
    sizes = np.array([study.mean_of("train_size", condition) for condition in conditions])
    kept = np.flatnonzero(sizes >= least)
    levels = np.array([100 * conditions[k].noise_frac for k in kept])
    return sizes[kept], levels, [results.of(conditions[k]) for k in kept]


def _draw(axes: Axes, sizes: Floats, levels: Floats, values: Floats) -> TriContourSet | None:
    """Draws lines of equal values and dots where they were measured; returns the lines, if values differ."""
    lines = None
    if np.ptp(values) > 0:
        # Neighbours are found on the axes as they are drawn, where a size counts by its logarithm.
        triangles = Triangulation(np.log(sizes / sizes.min()), levels / max(1.0, float(levels.max()))).triangles
        surface = Triangulation(sizes, levels, triangles)
        lines = axes.tricontour(surface, values, levels=_LINES, cmap="viridis", linewidths=1.5)
    axes.plot(sizes, levels, ".", color="0.3", markersize=4)
    axes.set_xscale("log")
    axes.set_xticks(np.unique(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", rotation=45, labelsize=8)
    axes.set_yticks(np.unique(levels))
    axes.use_sticky_edges = False
    axes.margins(0.09)
    return lines
