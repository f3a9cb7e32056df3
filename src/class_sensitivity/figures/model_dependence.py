"""Sensitivity of every class under several models, one panel for each kind of stress."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from class_sensitivity.analysis.model_dependence import ModelDependence
from class_sensitivity.figures.axes import AxesArray, label_classes, shorten
from class_sensitivity.figures.curves import levels_in_words
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number

#: Colour and marker of each model (Okabe and Ito's colour-blind safe palette); of more models they start again.
_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "D"),
    ("#CC79A7", "^"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)

#: Letters of a model's name; the name of a recipe ends in what sets it apart.
_LONGEST = 40

#: How much of a class's row its dots take.
_SPREAD = 0.64


def plot_model_dependence(found: Sequence[ModelDependence]) -> AxesArray:
    """Points of recall lost per 10 points of stress: one row a class, one dot with its interval a model.

    The classes that are most sensitive in the mean over the models, under the first stress, are on top. Below each
    panel's name stands whether the pattern over the classes differs between the models; a class about which two models
    certainly disagree has a star. Intervals that go far beyond all dots end in an arrow at the edge: a model that
    sometimes learns nothing must not make the others a line.

    Args:
        found: One for each kind of stress, of the same classes; at least one. Models may differ.

    Returns:
        (stresses,) axes.
    """
    names = list(dict.fromkeys(model for each in found for model in each.compared.models))
    classes = found[0].compared.class_names
    order = np.array(foremost(found[0].order))
    height = (0.26 + 0.1 * len(names)) * shown_number(len(classes)) + 1.8
    figure = Figure(figsize=(5.2 * len(found) + 1.2, height), layout="constrained")
    panels: AxesArray = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, each in zip(panels, found, strict=True):
        _panel(axes, each, names, order)
    label_classes(panels[0].yaxis, [classes[i] for i in order])
    panels[0].set_ylim(len(order) - 0.5, -0.5)
    say_left_out(panels[0], len(order), len(classes))
    styles = map(_style, range(len(names)))
    handles = [Line2D([], [], color=color, marker=marker, linestyle="") for color, marker in styles]
    labels = [shorten(name, _LONGEST) for name in names]
    if any(_disagreed(each).any() for each in found):
        handles.append(Line2D([], [], color="black", marker="*", linestyle=""))
        labels.append("models disagree about the class")
    if any(line.get_marker() in "<>" for axes in panels for line in axes.lines):
        handles.append(Line2D([], [], color="0.4", marker=">", linestyle="-", markerfacecolor="white"))
        labels.append("interval goes on")
    legend = figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return panels


def _panel(axes: Axes, found: ModelDependence, names: Sequence[str], order: NDArray[np.int64]) -> None:
    compared = found.compared
    left, right = _limits(found)
    for shaded in range(0, len(order), 2):
        axes.axhspan(shaded - 0.5, shaded + 0.5, color="0.95", zorder=0)
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(names)) if len(names) > 1 else np.zeros(1)
    for model, loss in zip(compared.models, found.losses, strict=True):
        number = names.index(model)
        color, marker = _style(number)
        shown, places = loss[order], np.arange(len(order)) + offsets[number]
        if len(compared.seeds) > 1:
            ends = [shown.value - shown.low, shown.high - shown.value]
            axes.errorbar(shown.value, places, xerr=ends, fmt="none", ecolor=color, elinewidth=1.2)
            for edge, beyond, arrow in ((left, shown.low < left, "<"), (right, shown.high > right, ">")):
                if beyond.any():
                    at = np.full(int(beyond.sum()), edge), places[beyond]
                    axes.plot(*at, arrow, color=color, markersize=5, markerfacecolor="white", clip_on=False)
        axes.plot(shown.value, places, marker, color=color, markersize=5.5, label=model)
    disagreed = np.flatnonzero(_disagreed(found)[order])
    at_the_edge = np.full(len(disagreed), 0.985), disagreed
    axes.plot(*at_the_edge, "*", color="black", markersize=8, transform=axes.get_yaxis_transform())
    axes.axvline(0, color="0.6", linewidth=0.6)
    axes.set_xlim(left, right)
    tested = f"do patterns differ? {found.interaction.text()}" if found.interaction else "patterns not tested"
    levels = levels_in_words(compared.conditions)
    axes.set_title(f"{compared.label}, {levels}\n{tested}", fontsize=10, parse_math=False)
    axes.set_xlabel("points of recall lost per 10 points of stress")
    axes.grid(axis="x", alpha=0.3)


def _style(number: int) -> tuple[str, str]:
    return _STYLES[number % len(_STYLES)]


def _disagreed(found: ModelDependence) -> NDArray[np.bool_]:
    """(K,) classes about which two models certainly disagree."""
    return np.asarray(np.any([pair.marked for pair in found.pairs], axis=0))


def _limits(found: ModelDependence) -> tuple[float, float]:
    """Room for all dots and intervals, but beyond the dots no more than the range that they take."""
    values, low, high = (np.stack([getattr(loss, end) for loss in found.losses]) for end in ("value", "low", "high"))
    first, last = float(np.nanmin(values)), float(np.nanmax(values))
    most = last - first or 1.0
    left = max(float(np.nanmin(np.fmin(low, values))), first - most)
    right = min(float(np.nanmax(np.fmax(high, values))), last + most)
    pad = 0.05 * (right - left) or 1.0
    return left - pad, right + pad
