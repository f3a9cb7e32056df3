"""Figures of look-alikes: numbers where they belong, names that hide nothing, any class name, any number of classes."""

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from support.confusables import Population

from class_sensitivity.analysis.pair_agreement import RankCorrelation
from class_sensitivity.analysis.separability import Separability, separability
from class_sensitivity.analysis.study import Study
from class_sensitivity.figures.axes import figure_of, new_axes
from class_sensitivity.figures.separability import plot_lookalikes, plot_separability
from class_sensitivity.report.separation import OtherMap, Separation
from class_sensitivity.runs.condition import BASELINE


def found_of(num_classes: int, seeds: int = 3, per_class: int = 50) -> Separability:
    population = Population.random(np.random.default_rng(1), num_classes)
    return separability(population.study(np.random.default_rng(2), seeds, per_class))


@pytest.fixture(scope="module")
def found() -> Separability:
    return found_of(7)


def map_of(num_classes: int) -> np.ndarray:
    values = np.random.default_rng(3).uniform(0.001, 0.1, (num_classes, num_classes))
    return (values + values.T) / 2


def points(axes: Axes, label: str) -> np.ndarray:
    """(n, 2) of what a legend calls by this name."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.column_stack(line.get_data())


def drawn(axes: Axes) -> Axes:
    """Drawn for real, which lays everything out."""
    FigureCanvasAgg(figure_of(axes)).draw()
    return axes


# The pairs that look most alike


def test_pairs_come_in_their_order_with_both_directions(found):
    axes = drawn(plot_separability(found, top=9))
    pairs = found.pairs[:9]
    names = [f"class {i} – class {j}" for i, j in pairs]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.yaxis.get_inverted()
    for way, label in ((pairs, "first taken for second"), (pairs[:, ::-1], "second taken for first")):
        np.testing.assert_allclose(
            points(axes, label), np.column_stack([100 * found.directed.value[tuple(way.T)], np.arange(9) + 0.28])
        )
    dots = np.vstack([points(axes, label) for label in ("confusable pair", "other pair")])
    dots = dots[dots[:, 1].argsort()]
    np.testing.assert_allclose(dots[:, 0], 100 * found.symmetric.value[tuple(pairs.T)])
    filled = points(axes, "confusable pair")[:, 1].astype(int)
    np.testing.assert_array_equal(found.confusable[tuple(pairs[filled].T)], True)
    np.testing.assert_allclose(points(axes, "average pair")[:, 0], 100 * found.mean)
    (bars,) = axes.collections
    ends = [segment[:, 0] for segment in bars.get_segments()]
    expected = found.symmetric[tuple(pairs.T)].scaled(100)
    np.testing.assert_allclose(ends, np.column_stack([expected.low, expected.high]))
    assert axes.get_xlim()[0] == 0


@pytest.mark.parametrize(("num_classes", "seeds", "rows"), [(2, 2, 1), (3, 1, 3), (100, 2, 15)])
def test_any_number_of_classes_and_seeds_can_be_drawn(num_classes, seeds, rows):
    found = found_of(num_classes, seeds, 12)
    axes = drawn(plot_separability(found))
    assert len(axes.get_yticks()) == rows
    assert len(axes.collections) == (seeds > 1), "one seed has no intervals"
    for distances in (False, True):
        other = map_of(num_classes)
        drawn(plot_lookalikes(found.symmetric, other, found.class_names, other_label="", distances=distances))


# Two maps


def test_every_pair_is_a_point_in_percent(found):
    other = map_of(7)
    other[0, 1] += 0.02  # both directions are averaged
    axes = drawn(plot_lookalikes(found.symmetric, other, found.class_names, other_label="people, %", title="title"))
    i, j = np.triu_indices(7, 1)
    (line,) = axes.lines
    x, y = line.get_data()
    np.testing.assert_allclose(x, 50 * (other[i, j] + other[j, i]))
    np.testing.assert_allclose(y, 100 * found.symmetric.value[i, j])
    assert (axes.get_xlabel(), axes.get_title()) == ("people, %", "title")
    assert axes.get_xlim()[0] == axes.get_ylim()[0] == 0


def test_distances_fall_to_the_right(found):
    distances = 1 / map_of(7)
    images = OtherMap("images", "the images alone", distances, True, RankCorrelation(0.5, 0.1, 0.9, 0.01, 21))
    (spec,) = (each for each in Separation(found, (images,)).specs() if each.name == "lookalikes_images")
    axes = drawn(spec.draw())
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_xdata(), distances[np.triu_indices(7, 1)])
    assert axes.xaxis.get_inverted()
    assert min(axes.get_xlim()) > 0


def test_the_strongest_pairs_are_named_at_their_points(found):
    axes = plot_lookalikes(found.symmetric, map_of(7), found.class_names, other_label="", named=5)
    others = sorted(found.pairs.tolist(), key=lambda pair: -map_of(7)[*pair])[:2]
    named = {tuple(pair) for pair in [*found.pairs[:5].tolist(), *others]}
    assert len(named) > 5, "a pair that looks alike to the other map alone"
    assert {text.get_text() for text in axes.texts} == {f"class {i} – class {j}" for i, j in named}
    for text in axes.texts:
        i, j = (int(word.split()[1]) for word in text.get_text().split(" – "))
        np.testing.assert_allclose(text.xy, (100 * map_of(7)[i, j], 100 * found.symmetric.value[i, j]))


def test_names_hide_neither_each_other_nor_a_point_and_stay_inside():
    found = found_of(10, 5, 200)
    axes = drawn(plot_lookalikes(found.symmetric, map_of(10), found.class_names, other_label="x"))
    boxes = [Text.get_window_extent(text).get_points().ravel() for text in axes.texts]  # without their lines
    inside = axes.get_window_extent().get_points().ravel()
    dots = axes.transData.transform(np.column_stack(axes.lines[0].get_data()))
    for place, (left, bottom, right, top) in enumerate(boxes):
        assert inside[0] < left < right < inside[2]
        assert inside[1] < bottom < top < inside[3]
        for other in boxes[:place]:
            assert right <= other[0] or other[2] <= left or top <= other[1] + 2 or other[3] <= bottom + 2
        hidden = (dots[:, 0] > left) & (dots[:, 0] < right) & (dots[:, 1] > bottom + 1) & (dots[:, 1] < top - 1)
        assert not hidden.any()


def test_pairs_of_which_one_map_knows_nothing_are_no_points():
    study = Study.of_preds([0, 0, 1, 1, 2, 2] * 9, {(BASELINE, s): [0, 1, 1, 2, 2, 2] * 9 for s in (1, 2)}, "abcd")
    other = map_of(4)
    other[1] = other[:, 1] = np.nan
    axes = drawn(plot_lookalikes(separability(study).symmetric, other, study.class_names, other_label=""))
    assert len(axes.lines[0].get_xdata()) == 1
    assert [text.get_text() for text in axes.texts] == ["a – c"]


# Names and settings


def test_any_name_can_be_drawn(found):
    names = ("$x^2$", "$", "<b>&", "line\nbreak", "日本", "é" * 300, "{}%")
    strange = replace(found, class_names=names)
    for axes in (
        plot_separability(strange),
        plot_lookalikes(found.symmetric, map_of(7), names, other_label="$", title="$a", named=21),
    ):
        with matplotlib.rc_context({"font.family": ["DejaVu Sans"]}), pytest.warns(UserWarning, match="Glyph"):
            figure_of(axes).savefig(io.BytesIO(), format="png", dpi=40)
        shown = [text for text in (*axes.texts, *axes.get_yticklabels()) if "$" in text.get_text()]
        assert all(not text.get_parse_math() for text in shown)


def test_what_is_drawn_goes_where_it_is_asked_for_and_settings_stay(found):
    before = dict(matplotlib.rcParams)
    ax = new_axes(5, 4)
    assert plot_separability(found, ax=ax) is ax
    ax = new_axes(5, 4)
    assert plot_lookalikes(found.symmetric, map_of(7), found.class_names, other_label="", ax=ax) is ax
    assert dict(matplotlib.rcParams) == before
