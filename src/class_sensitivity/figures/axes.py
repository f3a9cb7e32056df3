"""Axes to draw on, and text on them that may hold anything: a class may be called $x$, which is no formula."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: An array of matplotlib axes.
AxesArray: TypeAlias = NDArray[np.object_]


@contextmanager
def house_style() -> Iterator[None]:
    """Goes around drawing and saving: the same input gives the same file to the byte, whoever draws it.

    It starts from matplotlib's own defaults and not from the user's matplotlibrc, which may ask for TeX.
    """
    with warnings.catch_warnings(), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "class-sensitivity"
        # A letter that no font has is drawn as a box; the page shows the name as it is.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def new_axes(width: float, height: float, **options: Any) -> Axes:
    """The axes of a figure of its own, in inches; not registered with pyplot, so nothing has to be closed."""
    return Figure(figsize=(width, height), layout="constrained", **options).subplots()


def new_panels(number: int) -> AxesArray:
    """(number,) axes with common scales on a figure of its own, at most five in a row."""
    columns = min(5, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(max(4.5, 2.3 * columns), max(3.6, 2.2 * rows + 0.9)), layout="constrained")
    panels: AxesArray = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[number:]:
        axes.set_visible(False)
    return panels[:number]


def figure_of(drawn: Axes | AxesArray) -> Figure:
    """The figure that one axes, or several, belong to."""
    first: Axes = np.ravel(np.asarray(drawn))[0]
    figure = first.get_figure(root=True)
    assert figure is not None
    return figure


def shorten(name: str, longest: int = 20) -> str:
    """A class name that leaves room for the figure.

    Examples:
        >>> shorten("airplane")
        'airplane'
        >>> shorten("a name of many words that goes on")
        'a name of many word…'
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def label_classes(axis: Axis, class_names: Sequence[str], **options: Any) -> None:
    """Ticks 0, 1, ... with class names."""
    axis.set_ticks(range(len(class_names)), [shorten(name) for name in class_names], parse_math=False, **options)


def finish_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row a name, the first on top, a grid to read values by, and the legend beside the rows."""
    label_classes(axes.yaxis, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    add_legend(axes, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)


def level_colors(levels: int) -> NDArray[np.float64]:
    """A colour for each level of a stress, the darker the more."""
    return np.asarray(matplotlib.colormaps["YlOrRd"](np.linspace(0.4, 0.95, levels)))


def add_legend(axes: Axes, **options: Any) -> None:
    """A legend without a frame, whose labels are no formulas."""
    for text in axes.legend(frameon=False, **options).get_texts():
        text.set_parse_math(False)
