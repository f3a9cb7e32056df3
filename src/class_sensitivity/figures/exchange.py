"""Quality against quantity: wrong labels in clean examples."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from class_sensitivity.analysis.exchange import Exchange, ExchangeRates, monotone_curve
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sideways import Sideways
from class_sensitivity.figures.axes import add_legend, finish_rows, level_colors, new_axes
from class_sensitivity.figures.many_classes import foremost, say_left_out, shown_number
from class_sensitivity.runs.condition import Condition

Floats = NDArray[np.float64]

_BLUE = "#0072B2"


def plot_exchange(results: Results, rates: Sequence[ExchangeRates], *, ax: Axes | None = None) -> Axes:
    """The clean learning curve, and every noise level at the size at which the curve is as accurate.

    Bars are intervals: of accuracy over seeds and test images, of the size from the differences, paired.

    Args:
        results: Of one study.
        rates: Of it, on one learning curve.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(10, 5)
    first = rates[0].overall
    _draw_clean(axes, results, first)
    for each, color in zip(rates, level_colors(len(rates)), strict=True):
        accuracy, size = 100 * float(results.of(each.noise).accuracy.value), each.overall.size
        axes.hlines(accuracy, size.value, size.most, color=color, linewidth=1, linestyle=":")
        low, middle, high = (float(np.clip(end, size.least, size.most)) for end in (size.low, size.value, size.high))
        axes.errorbar(
            middle, accuracy, xerr=[[middle - low], [high - middle]], fmt="o", color=color, capsize=3,
            label=f"{each.noise.label}: {size.text(',.0f', significant=3)}",
        )  # fmt: skip
        axes.plot(size.most, accuracy, "x", color=color)
    axes.set_xlabel(
        "training examples; bars: intervals\n"
        "dots: as many with right labels do as well as all with wrong ones (crosses)"
    )
    _finish(axes, first.sizes)
    return axes


def plot_sideways(results: Results, shifts: Sequence[Sideways], *, ax: Axes | None = None) -> Axes:
    """Learning curves with wrong labels, and the clean curve shifted sideways by the share that fits each best.

    Args:
        results: Of one study.
        shifts: Of it, on one learning curve.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(10, 5)
    first = shifts[0].at[0]
    at, curve = _draw_clean(axes, results, first)
    for each, color in zip(shifts, level_colors(len(shifts)), strict=True):
        values, ends = _accuracies(results, [row.noise for row in each.at])
        p = "" if each.test is None else f", p = {each.test.p:.2g}"
        label = f"{each.noise.label}: {each.share.scaled(100).text('.0f')} % of the examples{p}"
        axes.errorbar(each.sizes, values, yerr=ends, fmt="o", color=color, elinewidth=1.2, markersize=5, label=label)
        moved = at / np.clip(each.share.value, each.share.least, each.share.most)
        inside = moved <= first.sizes[0]
        axes.plot(moved[inside], curve[inside], "--", color=color, linewidth=1)
    axes.plot([], [], "--", color="0.4", linewidth=1, label="right labels, at these shares of the examples")
    axes.set_xlabel("training examples; bars: intervals\nno dot: may be worth fewer right labels than were measured")
    _finish(axes, first.sizes)
    return axes


def _draw_clean(axes: Axes, results: Results, exchange: Exchange) -> tuple[Floats, Floats]:
    """Draws the clean learning curve and what it goes through; returns many sizes, falling, and the curve there."""
    values, ends = _accuracies(results, exchange.curve)
    axes.errorbar(exchange.sizes, values, yerr=ends, fmt="s", color=_BLUE, elinewidth=1.2, label="right labels")
    at = np.geomspace(exchange.sizes[-1], exchange.sizes[0], 200)
    curve = monotone_curve(np.log(exchange.sizes), values, np.log(at))[0]
    axes.plot(at, curve, color=_BLUE)
    return at, curve


def _accuracies(results: Results, conditions: Sequence[Condition]) -> tuple[Floats, list[list[float]]]:
    """Accuracies in %, and how far their intervals reach below and above."""
    found = [results.of(condition).accuracy.scaled(100) for condition in conditions]
    values = np.array([float(each.value) for each in found])
    return values, [[float(e.value - e.low) for e in found], [float(e.high - e.value) for e in found]]


def _finish(axes: Axes, sizes: Floats) -> None:
    """A logarithmic axis that names the sizes that were measured, and the legend beside the points."""
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    add_legend(axes, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes)
    axes.tick_params(axis="x", rotation=45)


def plot_exchange_by_class(
    rates: Sequence[ExchangeRates], class_names: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Clean examples that do as well as all with wrong labels, for every class and noise level.

    An arrow stands where an interval goes on beyond what was measured. The class that loses most is on top.

    Args:
        rates: Of one study.
        class_names: The K names.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7.5, 0.5 * shown_number(len(class_names)) + 1.6)
    last = rates[-1].classes.size
    order = foremost([int(c) for c in np.argsort(last.value, kind="stable") if not np.isnan(last.value[c])])
    for each, color, shift in zip(rates, level_colors(len(rates)), np.linspace(-0.27, 0.27, len(rates)), strict=True):
        size = each.classes.size
        share = 100 / each.classes.examples
        places = np.arange(len(order)) + shift
        low, middle, high = (
            share * np.clip(end[order], size.least, size.most) for end in (size.low, size.value, size.high)
        )
        axes.hlines(places, low, high, color=color, linewidth=1.3)
        axes.plot(middle, places, "o", color=color, markersize=5, label=each.noise.label)
        for ends, beyond, marker in (
            (low, size.low[order] < size.least, "<"),
            (high, size.high[order] > size.most, ">"),
        ):
            axes.plot(ends[beyond], places[beyond], marker, color=color, markersize=5, markerfacecolor="white")
        axes.axvline(share * float(each.overall.size.value), color=color, linewidth=0.8, linestyle=":")
    axes.set_xlabel(
        "clean training examples that give the same recall, % of all\nlines: intervals; dotted: the same by accuracy"
    )
    finish_rows(axes, [class_names[c] for c in order])
    say_left_out(axes, len(order), len(class_names))
    return axes
