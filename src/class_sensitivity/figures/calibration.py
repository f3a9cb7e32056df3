"""Confidence beside recall."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from class_sensitivity.analysis.calibration import Calibration
from class_sensitivity.figures.axes import finish_rows, level_colors, new_axes
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number

_BLUE = "#0072B2"


def plot_overconfidence(series: Sequence[Calibration], class_names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Mean confidence minus recall of every class and of all images, at the baseline and rising levels of one stress.

    Right of 0 the model is surer than it is right. The most overconfident class of the last level is on top.

    Args:
        series: The baseline first, if it was run.
        class_names: The K names.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7.5, 0.5 * shown_number(len(class_names)) + 2)
    last = series[-1].overconfidence.value[:-1]
    order = foremost([int(c) for c in np.argsort(-last, kind="stable") if not np.isnan(last[c])])
    rows = [*order, len(class_names)]
    colors = iter(level_colors(sum(not each.condition.is_baseline for each in series)))
    for each, shift in zip(series, np.linspace(-0.3, 0.3, len(series)), strict=True):
        color = _BLUE if each.condition.is_baseline else next(colors)
        found, places = each.overconfidence.scaled(100)[rows], np.arange(len(rows)) + shift
        if len(each.seeds) > 1:
            axes.hlines(places, found.low, found.high, color=color, linewidth=1.3)
        axes.plot(found.value, places, "o", color=color, markersize=5, label=each.condition.label)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.axhline(len(order) - 0.5, color="0.8", linewidth=0.8)
    axes.set_xlabel("mean confidence minus recall, points; lines: intervals")
    finish_rows(axes, [*(class_names[c] for c in order), "all images"])
    say_left_out(axes, len(order), len(class_names))
    return axes
