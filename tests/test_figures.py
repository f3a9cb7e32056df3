"""Figures: truth along the bottom and prediction up the side, every number where it belongs, and any class name."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from support.plans import load_one
from support.synthetic import THREE, World, shares, write_study

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.statistics import Knee
from class_sensitivity.data.variety import class_variety
from class_sensitivity.figures import curves, images, matrices
from class_sensitivity.figures.axes import AxesArray, figure_of
from class_sensitivity.runs.condition import BASELINE, Condition

#: Every cell another number, so that no mix-up of rows and columns goes unseen.
COUNTS = np.array([[90, 7, 3], [11, 80, 9], [25, 15, 60]])
CHANGE = np.array([[-21.0, 13.0, 8.0], [4.0, -6.0, 2.0], [31.0, 5.0, -36.0]])
MARKED = np.array([[True, False, False], [False, False, True], [True, False, False]])


def words_at(axes: Axes) -> dict[tuple[int, int], str]:
    """(x, y) -> what is written there."""
    return {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in axes.texts}


def frames_at(axes: Axes) -> set[tuple[float, float]]:
    """Centres of the frames."""
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(f.get_x() + f.get_width() / 2, f.get_y() + f.get_height() / 2) for f in frames}


def labels(axes: Axes) -> tuple[list[str], list[str]]:
    return [t.get_text() for t in axes.get_xticklabels()], [t.get_text() for t in axes.get_yticklabels()]


def assert_article_view(axes: Axes, matrix: NDArray, text: Callable[[float], str], first_line: bool = False) -> None:
    """Truth along the bottom, prediction up the left side, named at outer panels; in every cell the stored number."""
    place, panels = axes.get_subplotspec(), [each for each in figure_of(axes).axes if each.images]
    is_left = place.colspan.start == 0
    is_lowest = not any(
        each.get_subplotspec().rowspan.start > place.rowspan.start
        and each.get_subplotspec().colspan.start == place.colspan.start
        for each in panels
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true class" * is_lowest, "predicted class" * is_left)
    assert labels(axes) == (list(THREE) * is_lowest, list(THREE) * is_left)
    np.testing.assert_array_equal(axes.get_xticks(), range(3))
    np.testing.assert_array_equal(axes.get_yticks(), range(3))
    words = words_at(axes)
    assert len(words) == 9
    (image,) = axes.images
    for true in range(3):
        for predicted in range(3):
            word = words[true, predicted]
            assert (word.split("\n")[0] if first_line else word) == text(matrix[true, predicted])
            assert image.get_array()[predicted, true] == pytest.approx(matrix[true, predicted])
    # Upwards is further along the list of classes, and so is to the right.
    assert image.origin == "lower"
    assert not axes.yaxis.get_inverted()
    assert not axes.xaxis.get_inverted()
    left, right, bottom, top = image.get_extent()
    assert left < right
    assert bottom < top


def count(value: float) -> str:
    return f"{value:.0f}"


def signed(value: float) -> str:
    return f"{value:+.0f}"


# Matrices


def test_a_confusion_matrix_is_drawn_in_the_article_view():
    axes = matrices.plot_confusion(COUNTS, THREE, "title")
    assert_article_view(axes, COUNTS, count)
    assert axes.get_title() == "title"
    # 25 cows were taken for ants: above cow, at the height of ant.
    assert words_at(axes)[THREE.index("cow"), THREE.index("ant")] == "25"


def test_what_is_seen_is_what_is_meant():
    # From the pixels: the darkest cell is where the largest count is, also after matplotlib's own turns.
    counts = np.ones((3, 3), int)
    counts[2, 0] = 50  # cow taken for ant: bottom right
    axes = matrices.plot_confusion(counts, THREE)
    for text in axes.texts:
        text.set_visible(False)
    canvas = FigureCanvasAgg(figure_of(axes))
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int).sum(axis=-1)
    height = len(pixels)
    seen = {}
    for x in range(3):
        for y in range(3):
            column, row = axes.transData.transform((x, y))
            seen[x, y] = int(pixels[height - 1 - round(row), round(column)])
    assert min(seen, key=seen.get) == (2, 0)


def test_mean_matrices_share_a_scale_and_show_means_over_seeds():
    first = np.stack([COUNTS - 2, COUNTS + 2])
    second = np.stack([3 * COUNTS, 3 * COUNTS])
    left, right = matrices.plot_mean_matrices([first, second], ["one", "other"], THREE)
    assert_article_view(left, COUNTS, count)
    assert_article_view(right, 3 * COUNTS, count)
    assert [axes.get_title() for axes in (left, right)] == ["one", "other"]
    for axes in (left, right):
        norm = axes.images[0].norm
        assert (norm.vmin, norm.vmax) == (0, 270)


def test_deviations_stand_below_the_means():
    spread = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    counts = np.stack([COUNTS - spread, COUNTS, COUNTS + spread])
    (axes,) = matrices.plot_mean_matrices([counts], [""], THREE, spread=True)
    assert_article_view(axes, COUNTS, count, first_line=True)
    for (true, predicted), word in words_at(axes).items():
        assert word.split("\n")[1] == f"±{spread[true, predicted]}"
    (alone,) = matrices.plot_mean_matrices([counts[:1]], [""], THREE, spread=True)
    assert "±" not in "".join(words_at(alone).values()), "one seed has no deviation"


def assert_relative(axes: Axes, change: NDArray, marked: NDArray, limit: float) -> None:
    assert_article_view(axes, change, signed)
    assert frames_at(axes) == {(true, predicted) for true, predicted in np.argwhere(marked)}
    bold = {at for at, text in zip(words_at(axes), axes.texts, strict=True) if text.get_fontweight() == "bold"}
    assert bold == frames_at(axes), "a mark is seen without its frame too"
    (image,) = axes.images
    assert (image.norm.vmin, image.norm.vmax) == (-limit, limit)
    # Zero is the palest; more is red, less is blue, as strong on either side.
    for value in (0.1 * limit, limit):
        assert image.norm(value) - 0.5 == pytest.approx(0.5 - image.norm(-value))
        assert image.norm(value) > 0.5
    assert image.norm(0.0) == pytest.approx(0.5)
    red, _, blue, _ = image.cmap(image.norm(limit))
    assert red > blue
    red, _, blue, _ = image.cmap(image.norm(-limit))
    assert blue > red


def test_relative_matrices_have_one_symmetric_scale_and_frames_at_their_cells():
    one, other = matrices.plot_relatives([CHANGE, 2 * CHANGE.T], [MARKED, MARKED.T], ["one", "other"], THREE)
    assert_relative(one, CHANGE, MARKED, 72)
    assert_relative(other, 2 * CHANGE.T, MARKED.T, 72)


def test_figures_of_one_report_can_share_a_scale():
    scales = [
        matrices.plot_relatives([change], [MARKED], [""], THREE, limit=90.0)[0].images[0].norm
        for change in (CHANGE, 2 * CHANGE)
    ]
    assert [(norm.vmin, norm.vmax) for norm in scales] == [(-90, 90)] * 2


@pytest.mark.parametrize(("number", "rows"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (9, [3, 3, 3])])
def test_panels_stand_in_rows_that_leave_nothing_blank(number, rows):
    titles = [str(k) for k in range(number)]
    panels = matrices.plot_relatives([k * CHANGE for k in range(number)], [MARKED] * number, titles, THREE)
    for k, axes in enumerate(panels):
        assert_relative(axes, k * CHANGE, MARKED, 36 * max(1, number - 1)) if k else None
    assert [axes.get_title() for axes in panels] == titles
    figure = figure_of(panels)
    figure.draw_without_rendering()
    tops = [round(axes.get_position().y1, 2) for axes in panels]
    assert [tops.count(top) for top in sorted(set(tops), reverse=True)] == rows
    assert figure.get_figheight() - figure.get_tightbbox().height < 0.2


def test_numbers_of_cells_that_were_not_judged_are_grey():
    judged = np.array([[True, True, False], [False, True, True], [True, False, True]])
    every = np.ones((3, 3), bool)

    def grey(axes: Axes) -> set[tuple[int, int]]:
        return {at for at, text in zip(words_at(axes), axes.texts, strict=True) if text.get_color() == "0.55"}

    expected = {(true, predicted) for true, predicted in np.argwhere(~judged)}
    assert grey(matrices.plot_relative(CHANGE, MARKED & judged, THREE, judged=judged)) == expected
    one, other = matrices.plot_relatives([CHANGE] * 2, [MARKED & judged] * 2, ["", ""], THREE, judged=[judged, every])
    assert [grey(axes) for axes in (one, other)] == [expected, set()]
    assert grey(matrices.plot_relative(CHANGE, MARKED, THREE)) == set()


def test_a_change_of_less_than_half_an_image_has_no_sign():
    change = np.array([[0.4, -0.4, 0.0], [-0.6, 0.6, -0.5], [1.4, -1.4, 0.5]])
    (axes,) = matrices.plot_relatives([change], [np.zeros((3, 3), bool)], [""], THREE)
    shown = words_at(axes)
    assert [shown[at] for at in ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2))] == ["0"] * 5
    assert (shown[1, 0], shown[2, 0], shown[2, 1]) == ("-1", "+1", "-1")


def test_a_matrix_in_which_nothing_changed_can_be_drawn():
    nothing = np.zeros((3, 3))
    (axes,) = matrices.plot_relatives([nothing], [nothing.astype(bool)], [""], THREE)
    assert set(words_at(axes).values()) <= {"0", "+0"}
    rendered(axes)
    rendered(matrices.plot_relative(nothing, nothing.astype(bool), THREE))
    empty = np.zeros((1, 3, 3), int)
    rendered(matrices.plot_mean_matrices([empty], [""], THREE))


def test_the_cells_of_a_class_without_images_are_dashes():
    shown = np.array([[0.9, 0.1, 0.0], [np.nan] * 3, [0.2, 0.3, 0.5]])
    axes = Figure().subplots()
    norm = matplotlib.colors.Normalize(0, 1)
    matrices.draw_matrix(axes, shown, THREE, cmap="Blues", norm=norm, text=lambda value: f"{value:.1f}")
    words = words_at(axes)
    assert [words[1, j] for j in range(3)] == ["-"] * 3
    assert words[2, 1] == "0.3"
    rendered(axes)


def test_ink_stands_out_from_its_cell():
    (axes,) = matrices.plot_relatives([CHANGE], [MARKED], [""], THREE)
    (image,) = axes.images
    for text in axes.texts:
        x, y = map(round, text.get_position())
        red, green, blue, _ = image.cmap(image.norm(CHANGE[x, y]))
        shade = 0.299 * red + 0.587 * green + 0.114 * blue
        assert (text.get_color() == "white") == (shade < 0.5)


# Curves, from made-up runs


def plan(size: int) -> dict[Condition, NDArray]:
    """Recalls that differ between classes, levels and kinds of stress."""
    base = np.linspace(0.9, 0.7, size)
    cost = np.roll(np.linspace(0.2, 1.2, size), 1)
    noisy = {noise(x): shares(base - cost * x) for x in (0.1, 0.2, 0.3)}
    reduced = {reduction(r): shares(base - 0.4 * cost[::-1] * r) for r in (0.2, 0.6)}
    return {BASELINE: shares(base)} | noisy | reduced


def analysed(root: Path, names: tuple[str, ...], seeds: int = 3, per_class: int = 40) -> Results:
    write_study(root, World(names, per_class), plan(len(names)), range(seeds))
    return analyse(load_one(root), resamples=100)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    """Three classes; ant's curve under noise has a knee, entered by hand."""
    found = analysed(tmp_path_factory.mktemp("three"), THREE)
    curve = found.curves["shuffle"]
    bend = Knee(0.17, 0.1, 0.2, -0.1, -1.0, 0.01)
    knees = (bend, curve.knees[1], curve.knees[2])
    return replace(found, curves={**found.curves, "shuffle": replace(curve, knees=knees)})


def lines_of(axes: Axes, kind: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_color() == curves.STYLES[kind][0]]


LEVELS = {"shuffle": [0.1, 0.2, 0.3], "reduction": [0.2, 0.6]}


def stressed(kind: str, level: float) -> Condition:
    return reduction(level) if kind == "reduction" else noise(level, kind)


def cell(results: Results, kind: str, level: float, at: tuple[int, int]) -> Estimate:
    return results.compared[stressed(kind, level)].relative.cells[at]


def test_diagonal_cells_against_stress(results):
    panels = curves.plot_cells(results, [(0, 0), (1, 1), (2, 2)])
    assert [axes.get_title() for axes in panels] == list(THREE)
    for index, axes in enumerate(panels):
        for kind, levels in LEVELS.items():
            mean, *rest = lines_of(axes, kind)
            cells = [cell(results, kind, x, (index, index)) for x in levels]
            np.testing.assert_allclose(mean.get_xdata(), [0, *np.multiply(levels, 100)])
            np.testing.assert_allclose(mean.get_ydata(), [0, *(each.value for each in cells)], atol=1e-9)
            for points, level, each in zip(rest, levels, cells, strict=False):
                np.testing.assert_allclose(points.get_xdata(), 100 * level)
                np.testing.assert_allclose(sorted(points.get_ydata()), sorted(each.per_seed), atol=1e-9)
            knees = rest[len(levels) :]
            assert len(knees) == (index == 0 and kind == "shuffle")
            assert all(set(line.get_xdata()) == {17} for line in knees)
        bands = axes.collections
        assert len(bands) == 2
        for band, (kind, levels) in zip(bands, LEVELS.items(), strict=True):
            ends = [cell(results, kind, x, (index, index)) for x in levels]
            corners = {(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices}
            for level, each in zip(levels, ends, strict=True):
                assert {(100 * level, round(float(end), 6)) for end in (each.low, each.high)} <= corners
    legend = [text.get_text() for text in figure_of(panels).legends[0].get_texts()]
    assert legend == ["label noise (shuffle)", "data reduction"]


def test_a_cell_off_the_diagonal_against_stress(results):
    (axes,) = curves.plot_cells(results, [(2, 1)])
    assert axes.get_title() == "cow taken for bee"
    for kind, levels in LEVELS.items():
        cells = [cell(results, kind, x, (2, 1)).value for x in levels]
        np.testing.assert_allclose(lines_of(axes, kind)[0].get_ydata(), [0, *cells], atol=1e-9)
        assert len(lines_of(axes, kind)) == 1 + len(levels), "a knee is one of the diagonal"


def test_accuracy_against_stress(results):
    axes = curves.plot_accuracy(results)
    for kind, levels in LEVELS.items():
        mean, *points = lines_of(axes, kind)
        shown = [results.of(BASELINE), *(results.of(stressed(kind, x)) for x in levels)]
        np.testing.assert_allclose(mean.get_xdata(), [0, *np.multiply(levels, 100)])
        np.testing.assert_allclose(mean.get_ydata(), [100 * result.accuracy.value for result in shown])
        for line, result in zip(points, shown, strict=True):
            np.testing.assert_allclose(line.get_ydata(), 100 * result.accuracy.per_seed)
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines if line.get_linestyle() != "None"}
    assert len({style for _, style in styles}) == 2, "lines differ in more than their colour"


def test_sensitivities_with_the_most_sensitive_on_top(results):
    panels = curves.plot_slopes(results.curves, THREE)
    assert [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels] == [
        ["label noise (shuffle), 10 to 30 %"], ["data reduction, 20 to 60 %"],
    ]  # fmt: skip
    lost = {name: -10 * results.curves["shuffle"].slope.value[i] for i, name in enumerate(THREE)}
    _, names = labels(panels[0])
    assert names == sorted(lost, key=lost.get), "upwards, so the largest loss is last"
    for axes, (kind, curve) in zip(panels, results.curves.items(), strict=True):
        means, seeds = [line for line in lines_of(axes, kind) if len(line.get_xdata())][:2]
        expected = [-10 * curve.slope.value[THREE.index(name)] for name in names]
        np.testing.assert_allclose(means.get_xdata(), expected)
        np.testing.assert_allclose(np.round(means.get_ydata()), range(3))
        all_seeds = np.concatenate([line.get_xdata() for line in lines_of(axes, kind)[1:]])
        np.testing.assert_allclose(sorted(all_seeds), sorted(-10 * curve.slope.per_seed.ravel()))
        assert len(seeds.get_xdata()) == 3
    bars = [bar for axes in panels for bar in axes.collections if hasattr(bar, "get_segments")]
    for bar, curve in zip(bars, results.curves.values(), strict=True):
        ends = [sorted(x for x, _ in segment) for segment in bar.get_segments()]
        order = [THREE.index(name) for name in names]
        np.testing.assert_allclose(
            ends, np.transpose([-10 * curve.slope.high[order], -10 * curve.slope.low[order]]), atol=1e-9
        )


def test_slopes_over_the_same_levels_share_a_panel(results):
    noisy, reduced = results.curves["shuffle"], results.curves["reduction"]
    alike = {"pair": noisy, "reduction": replace(reduced, levels=np.array([0.0, 0.2, 0.3]))}
    (axes,) = curves.plot_slopes(alike, THREE)
    assert len(axes.get_legend().get_texts()) == 2
    assert "panels" not in figure_of(axes).get_supxlabel()
    assert "panels" in figure_of(curves.plot_slopes(results.curves, THREE)).get_supxlabel()


def test_classes_in_the_order_of_their_accuracy(results):
    conditions = [BASELINE, noise(0.3), reduction(0.6)]
    axes = curves.plot_order(results, conditions)
    written = words_at(axes)
    for column, condition in enumerate(conditions):
        recall = results.of(condition).recall.value
        for height, index in enumerate(np.argsort(recall, kind="stable")):
            assert written[column, height] == f"{THREE[index]}  {100 * recall[index]:.1f} %"
    heights = {tuple(line.get_ydata()) for line in axes.lines}
    ranks = [np.argsort(np.argsort(results.of(c).recall.value, kind="stable")) for c in conditions]
    assert heights == {tuple(int(rank[index]) for rank in ranks) for index in range(3)}
    for line in axes.lines:
        first, *_, last = line.get_ydata()
        assert line.get_color() == ("0.6" if last == first else "#0072B2" if last > first else "#D55E00")
    assert labels(axes)[0] == ["baseline", "30 % noise (shuffle)", "60 % of the data removed"]
    assert [word.split("\n")[0] for word in labels(axes)[1]] == ["least", "most"]


def test_costs_are_two_parts_of_one_fall(results):
    (cost,) = results.costs
    axes = curves.plot_cost(cost, THREE)
    total = cost.less_data.value + cost.misled.value
    order = np.argsort(total)
    assert labels(axes)[1] == [THREE[i] for i in order]
    groups = [group for group in axes.containers if isinstance(group, BarContainer)]
    less, misled = ([bar.get_width() for bar in group] for group in groups)
    np.testing.assert_allclose(less, 100 * cost.less_data.value[order])
    np.testing.assert_allclose(misled, 100 * cost.misled.value[order])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cost of less data", "cost of being misled"]
    assert axes.get_title() == "20 % noise (shuffle) against 20 % of the data removed"


def test_probabilities_of_ranks(results):
    curve = replace(results.curves["shuffle"], ranks=np.array([[0.0, 0.3, 0.7], [0.8, 0.2, 0.0], [0.2, 0.5, 0.3]]))
    axes = curves.plot_ranks(curve, THREE)
    assert labels(axes) == (["1", "2", "3"], ["bee", "cow", "ant"])
    assert words_at(axes) == {
        (0, 0): "80", (1, 0): "20", (0, 1): "20", (1, 1): "50", (2, 1): "30", (1, 2): "30", (2, 2): "70",
    }  # fmt: skip
    bottom, top = axes.get_ylim()
    assert bottom > top, "the first row, the most sensitive class, is on top"
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * curve.ranks[[1, 2, 0]])


def test_one_seed_is_drawn_without_intervals(tmp_path):
    alone = analysed(tmp_path, THREE, seeds=1)
    for drawn in (
        curves.plot_cells(alone, [(0, 0), (2, 1)]),
        curves.plot_accuracy(alone),
        curves.plot_slopes(alone.curves, THREE),
        curves.plot_cost(alone.costs[0], THREE),
    ):
        rendered(drawn)
    panels = curves.plot_slopes(alone.curves, THREE)
    assert not [bar for axes in panels for bar in axes.collections if hasattr(bar, "get_segments")]


def test_one_seed_has_no_ranks_to_draw(tmp_path):
    alone = analysed(tmp_path, THREE, seeds=1)
    with pytest.raises(ValueError, match="no ranks"):
        curves.plot_ranks(alone.curves["shuffle"], THREE)


def test_further_kinds_of_stress_differ_too(results):
    noisy = results.curves["shuffle"]
    (axes,) = curves.plot_slopes(dict.fromkeys(("shuffle", "human", "mine", "yours"), noisy), THREE)
    handles = axes.get_legend_handles_labels()[0]
    assert len({(line.get_color(), line.get_marker()) for line in handles}) == 4


def test_kinds_of_stress_differ_in_colour_marker_and_line():
    for part in zip(*curves.STYLES.values(), strict=True):
        assert len(set(part)) == len(curves.STYLES)
    assert len({to_hex(style[0]) for style in curves.STYLES.values()}) == len(curves.STYLES)


# Images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("number", [1, 6, 7])
def test_mistaken_images_with_the_confidence_under_each(number, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (number, 8, 8, channels), np.uint8)
    confidence = np.linspace(0.99, 0.4, number)
    shown = images.plot_mistaken(pixels, confidence, "cat taken for frog")
    assert [axes.get_title() for axes in shown] == [f"{value:.3f}" for value in confidence]
    for axes, image in zip(shown, pixels, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image.squeeze())
    figure = figure_of(shown)
    assert [axes for axes in figure.axes if axes.images] == list(shown)
    assert figure.get_suptitle() == "cat taken for frog"
    rendered(shown)


def test_training_images_of_two_classes_stand_in_two_blocks():
    rng = np.random.default_rng(1)
    members = [rng.integers(0, 256, (8, 4, 4, 3), np.uint8) for _ in range(2)]
    drawn = images.plot_variety(members, ["bird", "truck"])
    assert drawn.shape == (2, 8)
    blocks = figure_of(drawn).subfigs
    assert [block.get_suptitle() for block in blocks] == ["bird", "truck"]
    for row, block, pixels in zip(drawn, blocks, members, strict=True):
        assert [axes for axes in block.axes if axes.images] == list(row)
        np.testing.assert_array_equal([axes.images[0].get_array() for axes in row], pixels)
    rendered(drawn)


def test_variety_is_the_distance_from_the_mean_image():
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    squares = [(float(x) - float(np.mean(pixels[(slice(None), *at)]))) ** 2 for at in np.ndindex(4, 4, 3)
               for x in pixels[(slice(None), *at)]]  # fmt: skip
    all_pixels = np.concatenate([pixels, np.repeat(pixels[:1], 5, axis=0)])
    found = class_variety(all_pixels, np.repeat([1, 2], [20, 5]), 3)
    np.testing.assert_allclose(found, [np.nan, np.sqrt(np.mean(squares)), 0], rtol=1e-12)


# Any class name


def rendered(drawn: Axes | AxesArray, dpi: int = 50) -> tuple[bytes, bytes]:
    """PNG and SVG of what was drawn, both checked to be what they claim."""
    figure = figure_of(drawn)
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    figure.set_layout_engine("none")  # found once, as in a report
    figure.savefig(svg, format="svg", metadata={"Date": None})
    with Image.open(png) as image:
        assert min(image.size) > 50
    tree = ElementTree.fromstring(svg.getvalue())
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [node for node in tree.iter() if "script" in node.tag]
    return png.getvalue(), svg.getvalue()


def everything(results: Results) -> Iterator[Axes | AxesArray]:
    study = results.study
    names = study.class_names
    counts = study.counts_of(BASELINE)
    relative = results.relative(noise_frac=0.3)
    cells, title = relative.cells.value, f"{names[0]} taken for {names[1]}"
    yield matrices.plot_confusion(counts[0], names, title)
    yield matrices.plot_relative(cells, relative.marked, names, title)
    yield matrices.plot_mean_matrices([counts, counts], [title, "b"], names, spread=True)
    yield matrices.plot_relatives([cells] * 3, [relative.marked] * 3, [title] * 3, names)
    yield curves.plot_cells(results, [(0, 0), (0, 1), (1, 0)])
    yield curves.plot_accuracy(results)
    yield curves.plot_slopes(results.curves, names)
    yield curves.plot_order(results, study.conditions[:2])
    yield curves.plot_cost(results.costs[0], names)
    yield curves.plot_ranks(results.curves["shuffle"], names)
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    yield images.plot_mistaken(pixels, np.array([0.5, 0.4]), title)
    yield images.plot_variety([pixels, pixels], [f"{name}: variety 3.1" for name in names[:2]])


NAMES: dict[str, tuple[str, ...]] = {
    "two": ("no", "yes"),
    "signs, letters and lengths": (
        *("$", "$5 and $6", r"$\frac{$ \alpha", "<script>alert(1)</script> a & b", '"quoted" --> {x} [/bold]'),
        *(r"a/b c\d", " e  f g_h^i%d", "čtyři кошка", "γάτα قطة", "-1", "x" * 60),
        "a name of many words that someone gave to a folder of images",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_figure_can_be_drawn_whatever_the_classes_are_called(tmp_path, kind):
    # Warnings are errors here: a collapsed layout or a missing glyph would be one.
    results = analysed(tmp_path, NAMES[kind], per_class=12)
    for drawn in everything(results):
        rendered(drawn)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_letters_that_no_font_has_are_boxes_and_no_error(tmp_path):
    results = analysed(tmp_path, ("猫", "🐈", "고양이"), per_class=12)
    for drawn in everything(results):
        rendered(drawn)


def texts(axes: Axes) -> Iterator[Text]:
    """Everything that is written on and around axes."""
    figure = axes.get_figure()
    for artist in (axes, figure, figure_of(axes)):
        yield from (text for text in artist.findobj(Text) if text.get_text())


def test_a_dollar_is_a_dollar_and_no_formula(tmp_path):
    names = ("$5 and $6", "$x$", "$")
    results = analysed(tmp_path, names, per_class=12)
    with_names = 0
    for drawn in everything(results):
        found = [text for axes in np.ravel(drawn) for text in texts(axes) if "$" in text.get_text()]
        assert not [text.get_text() for text in found if text.get_parse_math()]
        with_names += bool(found)
    assert with_names == 11, "all but the accuracies"


def test_a_dollar_takes_the_room_of_a_dollar():
    names = ("$5 and $6", "bee", "cow")
    axes = matrices.plot_confusion(COUNTS, names, "$5 and $6")
    figure = figure_of(axes)
    renderer = FigureCanvasAgg(figure).get_renderer()
    plain = figure.text(0, 0, "$5 and $6", parse_math=False)
    for text in (axes.get_xticklabels()[0], axes.get_yticklabels()[0], axes.title):
        plain.set(fontsize=text.get_fontsize(), rotation=text.get_rotation())
        # A formula would be set in other letters, without the signs and the spaces.
        shown, expected = text.get_window_extent(renderer), plain.get_window_extent(renderer)
        assert (shown.width, shown.height) == pytest.approx((expected.width, expected.height), abs=1)


@pytest.mark.parametrize("file", ["png", "svg"])
def test_the_same_numbers_give_the_same_file(file):
    with matplotlib.rc_context({"svg.hashsalt": "fixed"}):
        first, second = (
            rendered(matrices.plot_relatives([CHANGE], [MARKED], ["t"], THREE))[file == "svg"] for _ in range(2)
        )
    assert first == second


# Axes that are handed in


def one_panel(results: Results) -> dict[str, Callable[..., Axes]]:
    """Every function that draws one panel, by its name, waiting for `ax`."""
    return {
        "confusion": partial(matrices.plot_confusion, COUNTS, THREE, "title"),
        "relative": partial(matrices.plot_relative, CHANGE, MARKED, THREE, "title"),
        "accuracy": partial(curves.plot_accuracy, results),
        "order": partial(curves.plot_order, results, [BASELINE, noise(0.3)]),
        "cost": partial(curves.plot_cost, results.costs[0], THREE),
        "ranks": partial(curves.plot_ranks, results.curves["shuffle"], THREE),
    }


@pytest.mark.parametrize("name", ["confusion", "relative", "accuracy", "order", "cost", "ranks"])
def test_axes_handed_in_are_drawn_on_and_handed_back(results, name):
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    plot = one_panel(results)[name]
    assert plot(ax=right) is right
    assert not left.has_data()
    alone = plot()
    assert alone is not right
    assert figure_of(alone) is not figure
    for drawn in (Axes.get_title, Axes.get_xlabel, Axes.get_ylabel, Axes.get_xlim, Axes.get_ylim):
        assert drawn(right) == drawn(alone)
    assert [text.get_text() for text in right.texts] == [text.get_text() for text in alone.texts]
    assert len(right.lines) == len(alone.lines)
    assert len(right.images) == len(alone.images)
    rendered(right)


def test_the_relative_matrix_alone_has_the_scale_of_its_largest_cell():
    assert_relative(matrices.plot_relative(CHANGE, MARKED, THREE), CHANGE, MARKED, 36)
    assert_relative(matrices.plot_relative(CHANGE, MARKED, THREE, limit=50), CHANGE, MARKED, 50)


def test_drawing_leaves_the_settings_of_matplotlib_alone(results):
    before = dict(matplotlib.rcParams)
    for drawn in everything(results):
        assert drawn is not None
    assert dict(matplotlib.rcParams) == before
