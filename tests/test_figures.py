"""Figures: truth along the bottom and prediction up the side, every number where it belongs, and any class name."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from numpy.typing import NDArray
from PIL import Image
from synthetic import CIFAR10, THREE, World, shares, write_study

from class_sensitivity.figures import curves, images, matrices
from class_sensitivity.sensitivity import Results, analyse
from class_sensitivity.statistics import Knee
from class_sensitivity.study import load

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


def panels(figure: Figure) -> list[Axes]:
    """The axes that hold a matrix, without colour bars."""
    return [axes for axes in figure.axes if axes.get_xlabel() == "true class"]


def assert_article_view(axes: Axes, matrix: NDArray, text: Callable[[float], str], first_line: bool = False) -> None:
    """Truth along the bottom, prediction up the left side, and in every cell the stored number."""
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true class", "predicted class")
    assert labels(axes) == (list(THREE), list(THREE))
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
    figure = matrices.confusion_figure(COUNTS, THREE, "title")
    (axes,) = panels(figure)
    assert_article_view(axes, COUNTS, count)
    assert axes.get_title() == "title"
    # 25 cows were taken for ants: above cow, at the height of ant.
    assert words_at(axes)[THREE.index("cow"), THREE.index("ant")] == "25"


def test_what_is_seen_is_what_is_meant():
    # From the pixels: the darkest cell is where the largest count is, also after matplotlib's own turns.
    counts = np.ones((3, 3), int)
    counts[2, 0] = 50  # cow taken for ant: bottom right
    figure = matrices.confusion_figure(counts, THREE, "")
    for text in figure.axes[0].texts:
        text.set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int).sum(axis=-1)
    height = len(pixels)
    seen = {}
    for x in range(3):
        for y in range(3):
            column, row = figure.axes[0].transData.transform((x, y))
            seen[x, y] = int(pixels[height - 1 - round(row), round(column)])
    assert min(seen, key=seen.get) == (2, 0)


def test_mean_matrices_share_a_scale_and_show_means_over_seeds():
    first = np.stack([COUNTS - 2, COUNTS + 2])
    second = np.stack([3 * COUNTS, 3 * COUNTS])
    figure = matrices.mean_matrices_figure([first, second], ["one", "other"], THREE)
    left, right = panels(figure)
    assert_article_view(left, COUNTS, count)
    assert_article_view(right, 3 * COUNTS, count)
    assert [axes.get_title() for axes in (left, right)] == ["one", "other"]
    for axes in (left, right):
        norm = axes.images[0].norm
        assert (norm.vmin, norm.vmax) == (0, 270)


def test_deviations_stand_below_the_means():
    spread = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    counts = np.stack([COUNTS - spread, COUNTS, COUNTS + spread])
    (axes,) = panels(matrices.mean_matrices_figure([counts], [""], THREE, spread=True))
    assert_article_view(axes, COUNTS, count, first_line=True)
    for (true, predicted), word in words_at(axes).items():
        assert word.split("\n")[1] == f"±{spread[true, predicted]}"
    (alone,) = panels(matrices.mean_matrices_figure([counts[:1]], [""], THREE, spread=True))
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
    figure = matrices.relative_figure([CHANGE, CHANGE.T], [MARKED, MARKED.T], ["one", "other"], THREE, limit=40.0)
    one, other = panels(figure)
    assert_relative(one, CHANGE, MARKED, 40)
    assert_relative(other, CHANGE.T, MARKED.T, 40)


def test_levels_show_the_mean_on_the_left_and_the_change_on_the_right():
    figure = matrices.levels_figure(
        [np.stack([COUNTS, COUNTS + 2]), (2 * COUNTS)[np.newaxis]],
        [CHANGE, 2 * CHANGE],
        [MARKED, ~MARKED],
        ["mild", "strong"],
        THREE,
        limit=80.0,
    )
    upper_left, upper_right, lower_left, lower_right = panels(figure)
    assert_article_view(upper_left, COUNTS + 1, count)
    assert_article_view(lower_left, 2 * COUNTS, count)
    assert_relative(upper_right, CHANGE, MARKED, 80)
    assert_relative(lower_right, 2 * CHANGE, ~MARKED, 80)
    assert [axes.get_title().split(":")[0] for axes in panels(figure)] == ["mild", "mild", "strong", "strong"]
    assert "2 seeds" in upper_left.get_title()
    assert "1 seed" in lower_left.get_title()
    assert upper_left.images[0].norm.vmax == lower_left.images[0].norm.vmax == 180
    figure.draw_without_rendering()
    assert upper_left.get_position().y0 > lower_left.get_position().y1
    assert upper_left.get_position().x1 < upper_right.get_position().x0


def test_a_change_of_less_than_half_an_image_has_no_sign():
    change = np.array([[0.4, -0.4, 0.0], [-0.6, 0.6, 0.0], [1.4, -1.4, 0.0]])
    (axes,) = panels(matrices.relative_figure([change], [np.zeros((3, 3), bool)], [""], THREE, limit=2.0))
    shown = words_at(axes)
    assert [shown[0, j].lstrip("+-") for j in range(3)] == ["0"] * 3
    assert "-0" not in shown.values()
    assert (shown[1, 0], shown[2, 0], shown[2, 1]) == ("-1", "+1", "-1")


def test_a_matrix_in_which_nothing_changed_can_be_drawn():
    nothing = np.zeros((3, 3))
    figure = matrices.relative_figure([nothing], [nothing.astype(bool)], [""], THREE, limit=0.0)
    assert set(words_at(panels(figure)[0]).values()) <= {"0", "+0"}
    rendered(figure)
    empty = np.zeros((1, 3, 3), int)
    rendered(matrices.levels_figure([empty], [nothing], [nothing.astype(bool)], [""], THREE, limit=0.0))


def test_the_cells_of_a_class_without_images_are_dashes():
    shown = np.array([[0.9, 0.1, 0.0], [np.nan] * 3, [0.2, 0.3, 0.5]])
    figure = Figure()
    axes = figure.subplots()
    norm = matplotlib.colors.Normalize(0, 1)
    matrices.draw_matrix(axes, shown, THREE, cmap="Blues", norm=norm, text=lambda value: f"{value:.1f}")
    words = words_at(axes)
    assert [words[1, j] for j in range(3)] == ["-"] * 3
    assert words[2, 1] == "0.3"
    rendered(figure)


def test_ink_stands_out_from_its_cell():
    (axes,) = panels(matrices.relative_figure([CHANGE], [MARKED], [""], THREE, limit=36.0))
    (image,) = axes.images
    for text in axes.texts:
        x, y = map(round, text.get_position())
        red, green, blue, _ = image.cmap(image.norm(CHANGE[x, y]))
        shade = 0.299 * red + 0.587 * green + 0.114 * blue
        assert (text.get_color() == "white") == (shade < 0.5)


# Curves, from made-up runs


def plan(size: int) -> dict[str, NDArray]:
    """Recalls that differ between classes, levels and kinds of stress."""
    base = np.linspace(0.9, 0.7, size)
    cost = np.roll(np.linspace(0.2, 1.2, size), 1)
    noise = {f"noise-shuffle-{x}": shares(base - cost * x) for x in (0.1, 0.2, 0.3)}
    reduction = {f"reduction-{r}": shares(base - 0.4 * cost[::-1] * r) for r in (0.2, 0.6)}
    return {"baseline": shares(base)} | noise | reduction


def analysed(root: Path, names: tuple[str, ...], seeds: int = 3, per_class: int = 40) -> Results:
    write_study(root, World(names, per_class), plan(len(names)), range(seeds))
    (study,), problems = load(root)
    assert problems == []
    return analyse(study, resamples=100)


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


def condition_name(kind: str, level: float) -> str:
    return f"reduction-{level}" if kind == "reduction" else f"noise-{kind}-{level}"


def test_diagonal_cells_against_stress(results):
    figure = curves.cells_figure(results, [(0, 0), (1, 1), (2, 2)])
    assert [axes.get_title() for axes in figure.axes] == ["{ant, ant}", "{bee, bee}", "{cow, cow}"]
    for index, axes in enumerate(figure.axes):
        for kind, levels in LEVELS.items():
            mean, *rest = lines_of(axes, kind)
            cells = [results.relative[condition_name(kind, x)].cells[index, index] for x in levels]
            np.testing.assert_allclose(mean.get_xdata(), [0, *levels])
            np.testing.assert_allclose(mean.get_ydata(), [0, *(cell.value for cell in cells)], atol=1e-9)
            for points, level, cell in zip(rest, levels, cells, strict=False):
                np.testing.assert_allclose(points.get_xdata(), level)
                np.testing.assert_allclose(sorted(points.get_ydata()), sorted(cell.per_seed), atol=1e-9)
            knees = rest[len(levels) :]
            assert len(knees) == (index == 0 and kind == "shuffle")
            assert all(set(line.get_xdata()) == {0.17} for line in knees)
        bands = axes.collections
        assert len(bands) == 2
        for band, (kind, levels) in zip(bands, LEVELS.items(), strict=True):
            ends = [results.relative[condition_name(kind, x)].cells[index, index] for x in levels]
            corners = {(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices}
            for level, cell in zip(levels, ends, strict=True):
                assert {(level, round(float(cell.low), 6)), (level, round(float(cell.high), 6))} <= corners
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["label noise (shuffle)", "data reduction"]


def test_a_cell_off_the_diagonal_against_stress(results):
    (axes,) = curves.cells_figure(results, [(2, 1)]).axes
    assert axes.get_title() == "{cow, bee}"
    for kind, levels in LEVELS.items():
        cells = [results.relative[condition_name(kind, x)].cells[2, 1].value for x in levels]
        np.testing.assert_allclose(lines_of(axes, kind)[0].get_ydata(), [0, *cells], atol=1e-9)
        assert len(lines_of(axes, kind)) == 1 + len(levels), "a knee is one of the diagonal"


def test_accuracy_against_stress(results):
    (axes,) = curves.accuracy_figure(results).axes
    for kind, levels in LEVELS.items():
        mean, *points = lines_of(axes, kind)
        names = ["baseline", *(condition_name(kind, x) for x in levels)]
        np.testing.assert_allclose(mean.get_xdata(), [0, *levels])
        np.testing.assert_allclose(mean.get_ydata(), [results.accuracy[name].value for name in names])
        for line, name in zip(points, names, strict=True):
            np.testing.assert_allclose(line.get_ydata(), results.accuracy[name].per_seed)
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines if line.get_linestyle() != "None"}
    assert len({style for _, style in styles}) == 2, "lines differ in more than their colour"


def test_sensitivities_with_the_most_sensitive_on_top(results):
    (axes,) = curves.slopes_figure(results.curves, THREE).axes
    lost = {name: -10 * results.curves["shuffle"].slope.value[i] for i, name in enumerate(THREE)}
    _, names = labels(axes)
    assert names == sorted(lost, key=lost.get), "upwards, so the largest loss is last"
    for kind, curve in results.curves.items():
        means, seeds = [line for line in lines_of(axes, kind) if len(line.get_xdata())][:2]
        expected = [-10 * curve.slope.value[THREE.index(name)] for name in names]
        np.testing.assert_allclose(means.get_xdata(), expected)
        np.testing.assert_allclose(np.round(means.get_ydata()), range(3))
        all_seeds = np.concatenate([line.get_xdata() for line in lines_of(axes, kind)[1:]])
        np.testing.assert_allclose(sorted(all_seeds), sorted(-10 * curve.slope.per_seed.ravel()))
        assert len(seeds.get_xdata()) == 3
    bars = [bar for bar in axes.collections if hasattr(bar, "get_segments")]
    for bar, curve in zip(bars, results.curves.values(), strict=True):
        ends = [sorted(x for x, _ in segment) for segment in bar.get_segments()]
        order = [THREE.index(name) for name in names]
        np.testing.assert_allclose(
            ends, np.transpose([-10 * curve.slope.high[order], -10 * curve.slope.low[order]]), atol=1e-9
        )


def test_classes_in_the_order_of_their_accuracy(results):
    conditions = [results.study.condition(name) for name in ("baseline", "noise-shuffle-0.3", "reduction-0.6")]
    (axes,) = curves.order_figure(results, conditions).axes
    written = words_at(axes)
    for column, condition in enumerate(conditions):
        recall = results.recall[condition.name].value
        for height, index in enumerate(np.argsort(recall, kind="stable")):
            assert written[column, height] == f"{THREE[index]}  {recall[index]:.1%}"
    heights = {tuple(line.get_ydata()) for line in axes.lines}
    ranks = [np.argsort(np.argsort(results.recall[c.name].value, kind="stable")) for c in conditions]
    assert heights == {tuple(int(rank[index]) for rank in ranks) for index in range(3)}
    assert labels(axes)[0] == [curves.describe(condition) for condition in conditions]
    assert [word.split("\n")[0] for word in labels(axes)[1]] == ["least", "most"]


def test_costs_are_two_parts_of_one_fall(results):
    (cost,) = results.costs
    (axes,) = curves.cost_figure(cost, THREE).axes
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
    axes = curves.rank_figure(curve, THREE).axes[0]
    assert labels(axes) == (["1", "2", "3"], ["bee", "cow", "ant"])
    assert words_at(axes) == {
        (0, 0): "80%", (1, 0): "20%", (0, 1): "20%", (1, 1): "50%", (2, 1): "30%", (1, 2): "30%", (2, 2): "70%",
    }  # fmt: skip
    bottom, top = axes.get_ylim()
    assert bottom > top, "the first row, the most sensitive class, is on top"
    np.testing.assert_allclose(axes.images[0].get_array(), curve.ranks[[1, 2, 0]])


def test_one_seed_is_drawn_without_intervals(tmp_path):
    alone = analysed(tmp_path, THREE, seeds=1)
    for figure in (
        curves.cells_figure(alone, [(0, 0), (2, 1)]),
        curves.accuracy_figure(alone),
        curves.slopes_figure(alone.curves, THREE),
        curves.cost_figure(alone.costs[0], THREE),
    ):
        rendered(figure)
    (axes,) = curves.slopes_figure(alone.curves, THREE).axes
    assert not [bar for bar in axes.collections if hasattr(bar, "get_segments")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("baseline", "baseline"),
        ("noise-shuffle-0.1", "10 % noise (shuffle)"),
        ("reduction-0.6", "60 % of the data removed"),
    ],
)
def test_conditions_in_words(results, name, words):
    assert curves.describe(results.study.condition(name)) == words


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
    figure = images.mistaken_figure(pixels, confidence, "cat taken for frog")
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [f"{value:.3f}" for value in confidence]
    for axes, image in zip(shown, pixels, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image.squeeze())
    assert figure.get_suptitle() == "cat taken for frog"
    rendered(figure)


def test_training_images_of_two_classes_stand_in_two_blocks():
    rng = np.random.default_rng(1)
    members = [rng.integers(0, 256, (8, 4, 4, 3), np.uint8) for _ in range(2)]
    figure = images.variety_figure(members, ["bird", "truck"])
    assert [block.get_suptitle() for block in figure.subfigs] == ["bird", "truck"]
    for block, pixels in zip(figure.subfigs, members, strict=True):
        shown = [axes.images[0].get_array() for axes in block.axes if axes.images]
        np.testing.assert_array_equal(shown, pixels)
    rendered(figure)


def test_variety_is_the_distance_from_the_mean_image():
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    squares = [(float(x) - float(np.mean(pixels[(slice(None), *at)]))) ** 2 for at in np.ndindex(4, 4, 3)
               for x in pixels[(slice(None), *at)]]  # fmt: skip
    assert images.variety(pixels) == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)
    assert images.variety(np.repeat(pixels[:1], 5, axis=0)) == pytest.approx(0, abs=1e-4)


# Any class name


def rendered(figure: Figure, dpi: int = 50) -> tuple[bytes, bytes]:
    """PNG and SVG, both checked to be what they claim."""
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


def every_figure(results: Results) -> Iterator[Figure]:
    study = results.study
    names = study.class_names
    counts = study.counts_of("baseline")
    relative = results.relative["noise-shuffle-0.3"]
    cells, title = relative.cells.value, f"{names[0]} taken for {names[1]}"
    limit = float(np.abs(cells).max())
    yield matrices.confusion_figure(counts[0], names, title)
    yield matrices.mean_matrices_figure([counts, counts], [title, "b"], names, spread=True)
    yield matrices.relative_figure([cells], [relative.marked], [title], names, limit=limit)
    yield matrices.levels_figure([counts], [cells], [relative.marked], [title], names, limit=limit)
    yield curves.cells_figure(results, [(0, 0), (0, 1), (1, 0)])
    yield curves.accuracy_figure(results)
    yield curves.slopes_figure(results.curves, names)
    yield curves.order_figure(results, study.conditions[:2])
    yield curves.cost_figure(results.costs[0], names)
    yield curves.rank_figure(results.curves["shuffle"], names)
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    yield images.mistaken_figure(pixels, np.array([0.5, 0.4]), title)
    yield images.variety_figure([pixels, pixels], [f"{name}: variety 3.1" for name in names[:2]])


NAMES: dict[str, tuple[str, ...]] = {
    "two": ("no", "yes"),
    "ten": CIFAR10,
    "dollars": ("$", "$5 and $6", r"$\frac{$", r"\alpha"),
    "markup": ("<script>alert(1)</script>", "a & b", '"quoted" --> {x}', "[/bold]"),
    "slashes and spaces": ("a/b", r"c\d", " e  f ", "g_h^i%d"),
    "letters": ("čtyři", "кошка", "γάτα", "قطة", "-1"),
    "long": ("x" * 60, "a name of many words that someone gave to a folder of images", "short"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_figure_can_be_drawn_whatever_the_classes_are_called(tmp_path, kind):
    # Warnings are errors here: a collapsed layout or a missing glyph would be one.
    results = analysed(tmp_path, NAMES[kind], per_class=12)
    for figure in every_figure(results):
        rendered(figure)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_letters_that_no_font_has_are_boxes_and_no_error(tmp_path):
    results = analysed(tmp_path, ("猫", "🐈", "고양이"), per_class=12)
    for figure in every_figure(results):
        rendered(figure)


def test_a_dollar_is_a_dollar_and_no_formula():
    names = ("$5 and $6", "bee", "cow")
    figure = matrices.confusion_figure(COUNTS, names, "$5 and $6")
    axes = figure.axes[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    plain = figure.text(0, 0, "$5 and $6", parse_math=False)
    for text in (axes.get_xticklabels()[0], axes.get_yticklabels()[0], axes.title):
        plain.set(fontsize=text.get_fontsize(), rotation=text.get_rotation())
        # A formula would be set in other letters, without the signs and the spaces.
        shown, expected = text.get_window_extent(renderer), plain.get_window_extent(renderer)
        assert (shown.width, shown.height) == pytest.approx((expected.width, expected.height), abs=1)


@pytest.mark.parametrize("file", ["png", "svg"])
def test_the_same_numbers_give_the_same_file(results, file):
    with matplotlib.rc_context({"svg.hashsalt": "fixed"}):
        first, second = (
            rendered(matrices.relative_figure([CHANGE], [MARKED], ["t"], THREE, limit=40.0))[file == "svg"]
            for _ in range(2)
        )
    assert first == second
