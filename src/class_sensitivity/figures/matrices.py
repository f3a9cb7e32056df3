"""Confusion matrices and relative matrices; of many classes the most affected ones, and the others as one.

Stored matrices are [true, predicted]. Figures show the article's view, truth along the bottom and
prediction up the left side; this file alone transposes, and it labels the axes itself.
"""

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from class_sensitivity.figures.axes import AxesArray, figure_of, label_classes, new_axes
from class_sensitivity.figures.many_classes import ShownClasses

COUNTS = "Blues"
#: Blue: fewer than at the baseline. Red: more. Centred at zero; distinguishable to the colour-blind.
DIFFERENCES = "RdBu_r"

#: Classes of a matrix of which three stand side by side, at most.
_MOST_OF_THREE = 12

Matrix = NDArray[np.number]


def draw_matrix(
    axes: Axes,
    matrix: Matrix,
    class_names: Sequence[str],
    *,
    cmap: str,
    norm: Normalize,
    text: Callable[[float], str],
    spread: Matrix | None = None,
    marked: NDArray[np.bool_] | None = None,
    judged: NDArray[np.bool_] | None = None,
) -> AxesImage:
    """Draws one (K, K) matrix [true, predicted] in the article's view, with the value in each cell.

    Args:
        axes: Where to draw.
        matrix: (K, K).
        class_names: The K names.
        cmap: A matplotlib colour map.
        norm: From values to the map's colours.
        text: What to write into a cell of this value.
        spread: (K, K) standard deviations, written below the values.
        marked: (K, K) cells to frame.
        judged: (K, K) cells that could have been framed; the numbers of the others are grey. None: all.
    """
    view = np.asarray(matrix, np.float64).T  # [predicted, true]: rows up the left side
    image = axes.imshow(view, cmap=cmap, norm=norm, origin="lower")
    label_classes(axes.xaxis, class_names, rotation=45, ha="right", rotation_mode="anchor")
    label_classes(axes.yaxis, class_names)
    axes.set_xlabel("true class")
    axes.set_ylabel("predicted class")
    axes.spines[:].set_visible(False)
    # Shade decides the ink: dark text on light cells and the other way round.
    red, green, blue = np.moveaxis(np.asarray(image.cmap(image.norm(view)))[..., :3], -1, 0)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    for row, column in np.ndindex(view.shape):
        value = float(view[row, column])
        words = "-" if np.isnan(value) else text(value)
        if spread is not None:
            words += f"\n±{spread[column, row]:.0f}"
        is_marked = marked is not None and bool(marked[column, row])
        ink = "white" if dark[row, column] else "black"
        if judged is not None and not judged[column, row]:
            ink = "0.55"
        cell = axes.text(
            column,
            row,
            words,
            ha="center",
            va="center",
            fontsize=7 if spread is None else 5.5,
            fontweight="bold" if is_marked else "normal",
            color=ink,
        )
        cell.set_in_layout(False)  # it never leaves its axes, and measuring all cells would take as long as drawing
        if is_marked:
            axes.add_patch(_frame(column, row))
    return image


def _count(value: float) -> str:
    return f"{value:.0f}"


def _difference(value: float) -> str:
    # "+0" and "-0" would look like findings.
    return f"{value:+.0f}" if round(value) else "0"


def _difference_norm(limit: float) -> Normalize:
    """From -limit to limit, centred at zero, by the square root: one scale for a report that holds both 10 % noise
    and 90 % reduction, on which the milder of the two is not all white.
    """

    def root(values: Matrix) -> Matrix:
        return np.sign(values) * np.sqrt(np.abs(values))

    def square(values: Matrix) -> Matrix:
        return np.sign(values) * np.square(values)

    return FuncNorm((root, square), -limit, limit)


def _difference_bar(image: AxesImage, panels: Any, limit: float, **place: Any) -> None:
    label = "test images more or fewer (colour: square root)"
    ticks = [sign * share * limit for sign in (-1, 1) for share in (1.0, 0.5, 0.2, 0.05)]
    figure = np.ravel(panels)[0].get_figure()
    bar = figure.colorbar(image, ax=panels, label=label, ticks=sorted([0.0, *ticks]), **place)
    bar.ax.yaxis.set_major_formatter(lambda value, _: _difference(value))


def _frame(column: int, row: int) -> Rectangle:
    return Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor="black", linewidth=0.9)


def _relatives_of(
    shown: ShownClasses,
    matrices: Sequence[Matrix],
    marked: Sequence[NDArray[np.bool_]],
    judged: Sequence[NDArray[np.bool_]] | None,
) -> tuple[list[Matrix], list[NDArray[np.bool_]], list[NDArray[np.bool_] | None]]:
    """Relative matrices, their frames and what could have been framed, of the classes that are shown."""
    known: Sequence[NDArray[np.bool_] | None] = judged or [None] * len(matrices)
    return (
        [shown.matrix(matrix) for matrix in matrices],
        [shown.cells(frames, others=False) for frames in marked],
        [None if cells is None else shown.cells(cells, others=False) for cells in known],
    )


def _size(num_classes: int) -> float:
    return max(4.0, 1.5 + 0.45 * num_classes)


def plot_confusion(
    counts: NDArray[np.integer], class_names: Sequence[str], title: str = "", *, ax: Axes | None = None
) -> Axes:
    """One confusion matrix, in the article's view.

    Args:
        counts: (K, K), [true, predicted].
        class_names: The K names.
        title: Above it.
        ax: Where to draw; None: on a figure of its own.
    """
    shown = ShownClasses.of([counts * ~np.eye(len(counts), dtype=bool)])
    counts, class_names = shown.matrix(counts), shown.names(class_names)
    size = _size(len(class_names))
    axes = ax or new_axes(size, size, dpi=80)
    norm = Normalize(0, max(1, int(counts.max())))
    draw_matrix(axes, counts, class_names, cmap=COUNTS, norm=norm, text=_count)
    axes.set_title(title, parse_math=False)
    return axes


def plot_relative(
    matrix: Matrix,
    marked: NDArray[np.bool_],
    class_names: Sequence[str],
    title: str = "",
    *,
    judged: NDArray[np.bool_] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One relative matrix, in the article's view; framed cells are marked.

    Args:
        matrix: (K, K) condition minus baseline, [true, predicted], in test images.
        marked: (K, K) cells to frame.
        class_names: The K names.
        title: Above it.
        judged: (K, K) cells that could have been framed; None: all.
        limit: The scale runs from -limit to limit; None: to the largest cell.
        ax: Where to draw; None: on a figure of its own.
    """
    shown = ShownClasses.of([matrix])
    (matrix,), (marked,), (judged,) = _relatives_of(shown, [matrix], [marked], None if judged is None else [judged])
    class_names = shown.names(class_names)
    size = _size(len(class_names))
    axes = ax or new_axes(size, size)
    limit = limit or float(np.abs(matrix).max()) or 1.0
    norm = _difference_norm(limit)
    image = draw_matrix(
        axes, matrix, class_names, cmap=DIFFERENCES, norm=norm, text=_difference, marked=marked, judged=judged
    )
    axes.set_title(title, parse_math=False)
    _difference_bar(image, axes, limit, shrink=0.8)
    return axes


def plot_mean_matrices(
    matrices: Sequence[NDArray[np.integer]], titles: Sequence[str], class_names: Sequence[str], *, spread: bool = False
) -> AxesArray:
    """Mean confusion matrices side by side, on one scale.

    Args:
        matrices: For each panel (S, K, K) counts, one matrix a seed.
        titles: One a panel.
        class_names: The K names.
        spread: Write the standard deviation over seeds below each mean.

    Returns:
        (panels,) axes.
    """
    shown = ShownClasses.of([each * ~np.eye(len(class_names), dtype=bool) for each in matrices])
    matrices, class_names = [shown.matrix(each) for each in matrices], shown.names(class_names)
    panels = _panels(titles, len(class_names))
    norm = Normalize(0, max(float(m.mean(axis=0).max()) for m in matrices))
    for axes, counts in zip(panels, matrices, strict=True):
        deviation = counts.std(axis=0, ddof=1) if spread and len(counts) > 1 else None
        image = draw_matrix(
            axes, counts.mean(axis=0), class_names, cmap=COUNTS, norm=norm, text=_count, spread=deviation
        )
    figure_of(panels).colorbar(image, ax=panels, label="test images, mean over seeds")
    _fit(panels)
    return panels


def plot_relatives(
    matrices: Sequence[Matrix],
    marked: Sequence[NDArray[np.bool_]],
    titles: Sequence[str],
    class_names: Sequence[str],
    *,
    limit: float | None = None,
    judged: Sequence[NDArray[np.bool_]] | None = None,
) -> AxesArray:
    """Relative matrices side by side, on one scale.

    Args:
        matrices: (K, K) condition minus baseline, in test images.
        marked: (K, K) cells to frame, for each matrix.
        titles: One a panel.
        class_names: The K names.
        limit: The scale runs from -limit to limit; None: to the largest cell of these matrices.
        judged: (K, K) cells that could have been framed, for each matrix; None: all.

    Returns:
        (panels,) axes.
    """
    shown = ShownClasses.of(matrices)
    matrices, marked, could = _relatives_of(shown, matrices, marked, judged)
    class_names = shown.names(class_names)
    panels = _panels(titles, len(class_names))
    limit = limit or max(float(np.abs(matrix).max()) for matrix in matrices) or 1.0
    norm = _difference_norm(limit)
    for axes, matrix, frames, known in zip(panels, matrices, marked, could, strict=True):
        image = draw_matrix(
            axes, matrix, class_names, cmap=DIFFERENCES, norm=norm, text=_difference, marked=frames, judged=known
        )
    _difference_bar(image, panels, limit)
    _fit(panels)
    return panels


def _panels(titles: Sequence[str], num_classes: int) -> AxesArray:
    """(panels,) axes on a figure of its own, with titles; their numbers can be read at the width of a page."""
    number = len(titles)
    columns = min(number, 3 if number not in (2, 4) and num_classes <= _MOST_OF_THREE else 2)
    rows = -(-number // columns)
    side = max(3.0, 0.2 + (0.3 if columns == 3 else 0.41) * num_classes)
    figure = Figure(figsize=(side * columns + 1.9, (side + 0.3) * rows + 0.9), layout="compressed")
    panels: AxesArray = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[number:]:
        axes.remove()
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(fill(title, round(11 * side)), fontsize=10, parse_math=False)
    return panels[:number]


def _fit(panels: AxesArray) -> None:
    """Names the classes at the outer panels only, and cuts what square panels leave blank above and below."""
    columns = panels[0].get_gridspec().ncols
    for place, axes in enumerate(panels):
        if place % columns:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
        if place + columns < len(panels):
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
    figure = figure_of(panels)
    figure.draw_without_rendering()
    figure.set_figheight(figure.get_tightbbox().height + 0.1)
