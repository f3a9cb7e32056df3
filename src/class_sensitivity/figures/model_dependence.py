"""Sensitivity of every class under several models, one panel for each kind of stress."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from class_sensitivity.analysis.model_dependence import ModelDependence
from class_sensitivity.figures.axes import AxesArray, label_classes, shorten

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

_DISAGREE = "models disagree about the class"

#: How much of a class's row its dots take.
_SPREAD = 0.64


def plot_model_dependence(found: Sequence[ModelDependence]) -> AxesArray:
    """Points of recall lost per 10 points of stress: one row a class, one dot with its interval a model.

    The classes that are most sensitive in the mean over the models, under the first stress, are on top. Below each
    panel's name stands whether the pattern over the classes differs between the models; a class about which two models
    certainly disagree has a star.

    Args:
        found: One for each kind of stress, of the same classes; at least one. Models may differ.

    Returns:
        (stresses,) axes.
    """
    names = list(dict.fromkeys(model for each in found for model in each.compared.models))
    classes, order = found[0].compared.class_names, found[0].order
    height = (0.26 + 0.1 * len(names)) * len(classes) + 1.8
    figure = Figure(figsize=(5.2 * len(found) + 1.2, height), layout="constrained")
    panels: AxesArray = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, each in zip(panels, found, strict=True):
        _panel(axes, each, names, order)
    label_classes(panels[0].yaxis, [classes[i] for i in order])
    panels[0].set_ylim(len(classes) - 0.5, -0.5)
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = sorted(entries, key=[*(shorten(name, _LONGEST) for name in names), _DISAGREE].index)
    legend = figure.legend(
        [entries[label] for label in labels], labels, loc="outside upper center", ncols=5, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return panels


def _panel(axes: Axes, found: ModelDependence, names: Sequence[str], order: np.ndarray) -> None:
    compared = found.compared
    for shaded in range(0, len(order), 2):
        axes.axhspan(shaded - 0.5, shaded + 0.5, color="0.95", zorder=0)
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(names)) if len(names) > 1 else np.zeros(1)
    for model, loss in zip(compared.models, found.losses, strict=True):
        number = names.index(model)
        color, marker = _STYLES[number % len(_STYLES)]
        shown, places = loss[order], np.arange(len(order)) + offsets[number]
        if len(compared.seeds) > 1:
            ends = [shown.value - shown.low, shown.high - shown.value]
            axes.errorbar(shown.value, places, xerr=ends, fmt="none", ecolor=color, elinewidth=1.2)
        axes.plot(shown.value, places, marker, color=color, markersize=5.5, label=shorten(model, _LONGEST))
    disagree = np.flatnonzero(np.any([pair.marked for pair in found.pairs], axis=0)[order])
    if disagree.size:
        right = np.full(disagree.size, 0.985)
        stars = axes.get_yaxis_transform()
        axes.plot(right, disagree, "*", color="black", markersize=8, transform=stars, label=_DISAGREE)
    axes.axvline(0, color="0.6", linewidth=0.6)
    tested = f"do patterns differ? {found.interaction.text()}" if found.interaction else "patterns not tested"
    axes.set_title(f"{compared.label}\n{tested}", fontsize=10, parse_math=False)
    axes.set_xlabel("points of recall lost per 10 points of stress")
    axes.grid(axis="x", alpha=0.3)
