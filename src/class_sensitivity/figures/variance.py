"""Where the variance of a fall comes from."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from class_sensitivity.analysis.variance_split import FallVariance, VarianceSplit
from class_sensitivity.figures.axes import finish_rows, new_axes
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number
from class_sensitivity.seeding import STREAMS


def plot_variance_split(split: VarianceSplit, class_names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Standard deviation of every class's fall when one source of chance varies, and when all do (grey bars).

    Args:
        split: Of one condition.
        class_names: The K names.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7.5, 0.42 * shown_number(len(class_names)) + 1.6)
    every = [*split.streams.values(), *([split.together] if split.together else [])]
    order = foremost(np.argsort(-np.nan_to_num(every[-1].classes), kind="stable"))
    places = np.arange(len(order) + 1)
    if split.together is not None:
        axes.barh(places, _deviations(split.together, order), color="0.85", label="all together (plain seeds)")
    colors = matplotlib.colormaps["tab10"](np.arange(len(split.streams)))
    for (stream, variance), color, shift in zip(
        split.streams.items(), colors, np.linspace(-0.25, 0.25, len(split.streams)), strict=True
    ):
        label = STREAMS[stream]
        axes.plot(_deviations(variance, order), places + shift, "o", color=color, markersize=5, label=label)
    axes.set_xlim(left=0)
    axes.axhline(len(order) - 0.5, color="0.8", linewidth=0.8)
    axes.set_xlabel(f"standard deviation of the fall at {split.condition.label}, points")
    finish_rows(axes, [*(class_names[c] for c in order), "accuracy"])
    say_left_out(axes, len(order), len(class_names))
    return axes


def _deviations(variance: FallVariance, order: list[int]) -> NDArray[np.float64]:
    return np.asarray(100 * np.sqrt(np.append(variance.classes[order], variance.accuracy)))
