"""Which pairs of classes look alike: the most confused ones, and all of them against another map."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.separability import Separability
from class_sensitivity.figures.axes import add_legend, new_axes, shorten

Floats = NDArray[np.float64]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.55"

#: Of more pairs than these no interval is drawn, because nothing else would be seen.
_MOST_INTERVALS = 200

#: In points: the height of a name, the width of its letters, and how far it may be moved up or down.
_LINE, _LETTER = 10.0, 4.4
_SHIFTS = (0, 10, -10, 20, -20, 30, -30, 40, -40, 50, -50)


def plot_separability(found: Separability, *, top: int = 15, ax: Axes | None = None) -> Axes:
    """The pairs that look most alike, with intervals; both directions are small triangles below.

    Filled dots are confusable pairs: certainly more alike than the average pair, which is the dashed line.

    Args:
        found: Of one study.
        top: How many pairs, at most.
        ax: Where to draw; None: on a figure of its own.
    """
    pairs = found.pairs[:top]
    axes = ax or new_axes(8, 0.34 * max(3, len(pairs)) + 1.5)
    first, second = pairs.T
    places = np.arange(len(pairs))
    alike = found.symmetric[first, second].scaled(100)
    if len(found.seeds) > 1:
        ends = [alike.value - alike.low, alike.high - alike.value]
        axes.errorbar(alike.value, places, xerr=ends, fmt="none", ecolor=_BLUE, elinewidth=1.2)
    for way, marker, label in (
        ((first, second), ">", "first taken for second"),
        ((second, first), "<", "second taken for first"),
    ):
        shares = 100 * found.directed.value[way]
        axes.plot(shares, places + 0.28, marker, color=_ORANGE, markersize=4.5, markerfacecolor="none", label=label)
    stands_out = found.confusable[first, second]
    for chosen, face, label in ((stands_out, _BLUE, "confusable pair"), (~stands_out, "white", "other pair")):
        if chosen.any():
            dots = alike.value[chosen], places[chosen]
            axes.plot(*dots, "o", color=_BLUE, markerfacecolor=face, markersize=6.5, label=label)
    axes.axvline(100 * found.mean, color=_GREY, linestyle="--", linewidth=1, label="average pair")
    names = [f"{shorten(found.class_names[i])} – {shorten(found.class_names[j])}" for i, j in pairs]
    axes.yaxis.set_ticks(places, names, parse_math=False)
    axes.set_ylim(len(pairs) - 0.5, -0.5)  # the most alike on top
    axes.set_xlim(left=0)
    axes.set_xlabel("images taken for the other class, %\ndots: mean of both directions, with its interval")
    add_legend(axes, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    return axes


def plot_lookalikes(
    alike: Estimate,
    other_map: Floats,
    class_names: Sequence[str],
    *,
    other_label: str,
    distances: bool = False,
    named: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Every pair of classes as a point: how alike it looks to the model, against another map.

    Both axes show shares by their square root, so that rare confusions are not all in one corner. The pairs that look
    most alike to the model, and the first few of the other map, have their names.

    Args:
        alike: Estimates of shape (K, K): `Separability.symmetric`.
        other_map: (K, K) shares of confusion, or distances.
        class_names: The K names.
        other_label: What the other map shows.
        distances: The other map holds distances, which are shown as they are, falling to the right, so that classes
            are more alike to the right either way. Otherwise it holds shares, shown in percent.
        named: How many pairs have a name because of the model; half as many have one because of the other map.
        title: Above it, such as `RankCorrelation.text()`.
        ax: Where to draw; None: on a figure of its own.
    """
    axes = ax or new_axes(7, 5)
    i, j = np.triu_indices(len(class_names), 1)
    both = (other_map[i, j] + other_map[j, i]) / 2
    known = ~(np.isnan(alike.value[i, j]) | np.isnan(both))
    i, j, both = i[known], j[known], both[known]
    mine, theirs = alike[i, j].scaled(100), both if distances else 100 * both
    many = len(i) > _MOST_INTERVALS
    if len(alike.per_seed) > 1 and not many:
        ends = [mine.value - mine.low, mine.high - mine.value]
        axes.errorbar(theirs, mine.value, yerr=ends, fmt="none", ecolor=_GREY, elinewidth=0.7, alpha=0.7)
    axes.plot(theirs, mine.value, "o", color=_BLUE, markersize=2.5 if many else 5, alpha=0.5 if many else 1)
    for axis in ("y",) if distances else ("x", "y"):
        _scale_by_root(axes, axis)
    if distances:
        axes.invert_xaxis()
    axes.set_xlabel(other_label, parse_math=False)
    axes.set_ylabel("images taken for the other class by the model, %")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.3)
    most, most_of_others = (np.argsort(-each, kind="stable") for each in (mine.value, -both if distances else both))
    order = np.union1d(most[:named], most_of_others[: named // 2])
    words = [f"{shorten(class_names[i[k]])} – {shorten(class_names[j[k]])}" for k in order]
    shown = order if many else slice(None)
    _name_points(axes, theirs[order], mine.value[order], words, np.column_stack([theirs, mine.value])[shown])
    return axes


def _scale_by_root(axes: Axes, axis: str) -> None:
    """Percentages from 0 on, by their square root."""

    def root(values: Floats) -> Floats:
        return np.sqrt(np.maximum(values, 0))

    getattr(axes, f"set_{axis}scale")("function", functions=(root, np.square))
    highest = getattr(axes, f"get_{axis}lim")()[1]
    getattr(axes, f"set_{axis}lim")(0, max(highest, 1e-3))
    ticks = [tick for tick in (0, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 50, 100) if tick <= highest]
    getattr(axes, f"set_{axis}ticks")(ticks, [f"{tick:g}" for tick in ticks])


def _name_points(axes: Axes, x: Floats, y: Floats, words: Sequence[str], obstacles: Floats) -> None:
    """Names beside points, inside the axes, where they hide neither each other nor an obstacle, (n, 2) as x and y."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    to_points = 72 / figure.dpi
    points, hidden = (axes.transData.transform(each) * to_points for each in (np.column_stack([x, y]), obstacles))
    left, bottom, right, top = np.array(axes.bbox.extents) * to_points
    taken = [(at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3) for at in hidden]
    for k in np.argsort(-points[:, 1], kind="stable"):
        places = []
        for up, side in product(_SHIFTS, (1, -1)):
            near, middle = points[k, 0] + 9 * side, points[k, 1] + up
            far = near + side * _LETTER * len(words[k])
            box = (min(near, far), middle - _LINE / 2, max(near, far), middle + _LINE / 2)
            inside = left < box[0] and bottom < box[1] and box[2] < right and box[3] < top
            places.append((not inside or any(_overlap(box, other) for other in taken), side, up, box))
        _, side, up, box = min(places, key=lambda place: place[0])  # the first that is free, or else the first
        taken.append(box)
        axes.annotate(
            words[k],
            (x[k], y[k]),
            (9 * side, up),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=8,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": _GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
