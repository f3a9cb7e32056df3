"""What a longer training does to the cost of a stress."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.training_length import TrainingLengths
from class_sensitivity.figures.axes import AxesArray, add_legend, finish_rows, level_colors, new_axes
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number
from class_sensitivity.runs.condition import BASELINE, Condition

#: From here on a gain of accuracy is shown: a tenth of a point.
_VISIBLE = 0.001


def plot_training_lengths(found: Sequence[TrainingLengths]) -> AxesArray:
    """Against the number of epochs: cost in accuracy, wrong labels learnt, and what the best epoch had over the last.

    A panel in which no condition has anything to show is left out; the last one, where the best epoch is never
    better than the last by `_VISIBLE`.

    Args:
        found: Conditions of one recipe.

    Returns:
        (panels,) axes.
    """
    series: dict[str, list[tuple[Estimate, ...] | None]] = {
        "cost: fall of accuracy, points": [each.fall for each in found],
        "wrong labels that the network predicts, %": [each.learnt for each in found],
        "accuracy of the best epoch minus the last, points": [each.best_minus_last for each in found],
    }
    *others, best = series
    gains = [float(gain.value) for each in found for gain in each.best_minus_last]
    shown = [label for label in others if any(series[label])]
    shown += [best] * (not shown or max(gains) >= _VISIBLE)
    figure = Figure(figsize=(4.0 * len(shown) + 2.0, 4.2), layout="constrained")
    panels: AxesArray = figure.subplots(1, len(shown), squeeze=False)[0]
    colors = _colors([each.condition for each in found])
    for axes, label in zip(panels, shown, strict=True):
        for each, estimates, color in zip(found, series[label], colors, strict=True):
            if estimates is not None:
                _draw(axes, each.epochs, estimates, color, each.condition.label)
        axes.set(xlabel="epochs", ylabel=label, xscale="log")
        axes.set_xticks(found[0].epochs, [str(number) for number in found[0].epochs])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    drawn = {str(line.get_label()): line for axes in panels for line in axes.lines}
    add_legend(panels[-1], handles=list(drawn.values()), loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return panels


def _colors(conditions: Sequence[Condition]) -> list[tuple[float, ...]]:
    """Warm for noise, cold for what is removed, the darker the more; black for the baseline."""
    maps = {True: matplotlib.colormaps["YlOrRd"], False: matplotlib.colormaps["Blues"]}
    colors: list[tuple[float, ...]] = []
    for condition in conditions:
        alike = [each for each in conditions if each != BASELINE and each.is_noisy == condition.is_noisy]
        if condition == BASELINE:
            colors.append((0.0, 0.0, 0.0))
        else:
            colors.append(maps[condition.is_noisy](0.35 + 0.6 * (alike.index(condition) + 1) / len(alike)))
    return colors


def _draw(
    axes: Axes, epochs: Sequence[int], estimates: Sequence[Estimate], color: tuple[float, ...], label: str
) -> None:
    shown = [estimate.scaled(100) for estimate in estimates]
    values = np.array([float(each.value) for each in shown])
    axes.plot(epochs, values, "o-", color=color, markersize=4, label=label)
    low, high = (np.array([float(getattr(each, end)) for each in shown]) for end in ("low", "high"))
    axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)


def plot_class_falls_by_length(each: TrainingLengths, *, ax: Axes | None = None) -> Axes:
    """What one condition costs every class after each length of training; most after the longest on top.

    Args:
        each: A condition other than the baseline.
        ax: Where to draw; None: on a figure of its own.
    """
    names, falls = each.studies[0].class_names, each.class_falls
    assert falls is not None
    axes = ax or new_axes(7.5, 0.45 * shown_number(len(names)) + 1.6)
    last = falls[-1].value
    order = foremost([int(c) for c in np.argsort(-last, kind="stable") if not np.isnan(last[c])])
    shifts = np.linspace(-0.25, 0.25, len(falls))
    for epochs, fall, color, shift in zip(each.epochs, falls, level_colors(len(falls)), shifts, strict=True):
        shown = fall.scaled(100)
        places = np.arange(len(order)) + shift
        if not np.isnan(shown.low).all():
            axes.hlines(places, shown.low[order], shown.high[order], color=color, linewidth=1.3)
        axes.plot(shown.value[order], places, "o", color=color, markersize=5, label=f"{epochs} epochs")
    axes.axvline(0, color="0.6", linewidth=0.6)
    axes.set_xlabel(f"fall of recall at {each.condition.label}, points")
    finish_rows(axes, [names[c] for c in order])
    say_left_out(axes, len(order), len(names))
    return axes
