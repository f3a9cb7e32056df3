"""What a report is put together from: lines, sentences with what shows them, figures that are still to be drawn."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes

from class_sensitivity.figures.axes import AxesArray
from class_sensitivity.runs.condition import Condition


@dataclass(frozen=True)
class Line:
    """One line of what can be read at a glance: what it is about, and what is known."""

    about: str
    text: str


@dataclass(frozen=True)
class Finding:
    """One sentence of what was found, and what shows it.

    Attributes:
        sentence: What was found.
        condition: The condition that it is about; None for the baseline, or for a whole curve.
        other: What that is compared with; None for the baseline.
        classes: The classes that it is about, the first one first: two are a pair, true and predicted.
        curve: Name of the series that it is about.
        figure: Name of the figure that shows it, where the explorer does not.
    """

    sentence: str
    condition: Condition | None = None
    other: Condition | None = None
    classes: tuple[int, ...] = ()
    curve: str = ""
    figure: str = ""


@dataclass(frozen=True)
class FigureSpec:
    """A figure that is drawn when it is its turn.

    Attributes:
        name: File name without ending.
        title: Heading.
        caption: What it shows and how to read it.
        draw: Makes the figure; returns its axes.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Axes | AxesArray]
