"""Labelled arrays to matplotlib figures.

Stored matrices are [true, predicted]. Figures show the article's view, truth along the bottom and
prediction up the left side; this file alone transposes, and it labels the axes itself.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray


def draw_matrix(
    axes: Axes,
    matrix: NDArray[np.number],
    class_names: Sequence[str],
    *,
    cmap: str,
    vmin: float,
    vmax: float,
    text: str,
) -> AxesImage:
    """Draws one (K, K) matrix [true, predicted] in the article's view, with the value in each cell.

    Args:
        axes: Where to draw.
        matrix: (K, K).
        class_names: The K names.
        cmap: A matplotlib colour map.
        vmin: Value of the map's first colour.
        vmax: Value of the map's last colour.
        text: Format of a cell, such as `{:.0f}`.
    """
    view = np.asarray(matrix, np.float64).T  # [predicted, true]: rows up the left side
    image = axes.imshow(view, cmap=cmap, vmin=vmin, vmax=vmax, origin="lower")
    axes.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set_xlabel("true class")
    axes.set_ylabel("predicted class")
    axes.spines[:].set_visible(False)
    # Shade decides the ink: dark text on light cells and the other way round.
    red, green, blue = np.moveaxis(np.asarray(image.cmap(image.norm(view)))[..., :3], -1, 0)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    for row, column in np.ndindex(view.shape):
        value = view[row, column]
        axes.text(
            column,
            row,
            "-" if np.isnan(value) else text.format(value),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark[row, column] else "black",
        )
    return image


def confusion_figure(counts: NDArray[np.integer], class_names: Sequence[str], title: str) -> Figure:
    """One confusion matrix; (K, K) counts [true, predicted], drawn in the article's view."""
    size = max(4.0, 1.5 + 0.45 * len(class_names))
    figure = Figure(figsize=(size, size), layout="constrained", dpi=80)
    axes = figure.subplots()
    draw_matrix(axes, counts, class_names, cmap="Blues", vmin=0, vmax=max(1, int(counts.max())), text="{:.0f}")
    axes.set_title(title)
    return figure
