"""The explorer in a real browser, on the bundled digits: every number is compared with the stored predictions."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from support.explorer import (
    DIGITS_PLAN,
    Visit,
    digits,
    started_browser,
    stored,
    visited,
    write_page,
)

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.runs.condition import BASELINE

SEEDS = (1, 2, 3)
NOISY, CLEAN = noise(0.3).name, BASELINE.name


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as found:
        yield found


@pytest.fixture(scope="module")
def file(explored, tmp_path_factory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"), explored)


@pytest.fixture
def visit(browser, file) -> Iterator[Visit]:
    with visited(browser, file) as opened:
        yield opened


@pytest.fixture(scope="module")
def runs(explored_runs) -> dict[Any, Any]:
    return stored(explored_runs)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return digits().test_labels


def mean_counts(runs, labels, condition: str) -> np.ndarray:
    """(K, K) mean counts of a condition, from the files."""
    counts = np.zeros((10, 10))
    for seed in SEEDS:
        np.add.at(counts, (labels, runs[condition, seed][0]), 1 / len(SEEDS))
    return counts


def number_in(text: str) -> float:
    """A number as the page writes it; a point in the middle stands for what rounds to 0."""
    return 0.0 if text == "·" else float(text.replace("−", "-").replace(",", ""))


def shown_matrix(visit: Visit, place: str = "#figure") -> np.ndarray:
    """(K, K) [true, predicted], out of the article's view: the truth along the bottom, from the first on up."""
    picture = np.array([[number_in(text) for text in row] for row in visit.cells(place)])
    return picture[::-1].T


# Opening


def test_it_opens_on_the_strongest_level_with_the_answer_first(visit, explored):
    page = visit.page
    assert page.inner_text("h1") == "Which classes can this model be fooled about?"
    assert page.inner_text("#figure-title") == "30 % noise (shuffle) minus baseline"
    first = page.locator(".answer li a").first
    assert first.inner_text().startswith("Without stress the model is right on")
    assert page.locator(".answer li a").first.bounding_box()["y"] < page.locator("#figure").bounding_box()["y"]
    first.click()
    assert visit.words()["v"] == "class"
    assert page.inner_text("#figure-title") == "8"


@pytest.mark.slow
def test_every_finding_opens_what_it_names(visit, explored):
    page = visit.page
    hrefs = page.evaluate("() => [...document.querySelectorAll('.answer li a')].map(a => a.getAttribute('href'))")
    assert len(hrefs) >= 5
    for href in hrefs:
        visit.go(href)
        assert page.inner_text("#figure").strip()


def test_cells_are_the_stored_counts(visit, runs, labels):
    change = mean_counts(runs, labels, NOISY) - mean_counts(runs, labels, CLEAN)
    shown = shown_matrix(visit)
    assert np.abs(shown - change).max() <= 0.5
    small = np.abs(change) < 9.9
    assert np.abs(shown - change)[small].max() <= 0.05 + 1e-9
    visit.page.select_option("select[aria-label=Condition]", noise(0.1).name)
    change = mean_counts(runs, labels, noise(0.1).name) - mean_counts(runs, labels, CLEAN)
    assert np.abs(shown_matrix(visit) - change).max() <= 0.5
    visit.page.click("text=Absolute")
    assert np.abs(shown_matrix(visit) - mean_counts(runs, labels, noise(0.1).name)).max() <= 0.5


@pytest.mark.slow
def test_rates_and_the_other_layout_show_the_same_matrix(visit, runs, labels):
    change = mean_counts(runs, labels, NOISY) - mean_counts(runs, labels, CLEAN)
    rates = 100 * change / np.bincount(labels)[:, np.newaxis]
    visit.page.click("text=% of class")
    assert np.abs(shown_matrix(visit) - rates).max() <= 0.05 + 1e-9
    visit.page.click("text=Truth in rows")
    turned = np.array([[number_in(text) for text in row] for row in visit.cells()])
    assert np.abs(turned - rates).max() <= 0.05 + 1e-9


@pytest.mark.slow
def test_significant_cells_are_those_of_the_analysis(visit, explored):
    relative = explored.results.relative(noise_frac=0.3)
    visit.page.click("text=Significant only")
    written = np.array([[text != "" for text in row] for row in visit.cells()])[::-1].T
    assert (written == relative.marked).all()
    assert relative.marked.any()
    assert not relative.marked.all()


@pytest.mark.slow
def test_a_cell_says_its_interval_p_value_and_seeds(visit, explored):
    relative = explored.results.relative(noise_frac=0.3)
    cell = relative.cells[8, 8]
    assert relative.marked[8, 8]
    element = visit.page.locator("td[aria-label^='8, predicted right']")
    element.hover()
    tip = visit.page.inner_text("#tip").replace("−", "-")
    assert cell.text(1, signed=True) in tip.replace(" test images", "")
    assert re.search(r"adjusted p (<|=)\s[\d.]+", tip)
    assert "differs from 0" in tip
    assert "mean of 3 seeds" in tip
    assert visit.page.locator("#tip circle").count() == len(SEEDS)
    dots = visit.page.get_attribute("#tip svg", "aria-label").replace("−", "-")
    said = [float(each) for each in dots.removeprefix("single seeds: ").split(", ")]
    assert said == [round(value) for value in cell.per_seed]


# Images


def moved(runs, labels, true: int, test) -> dict[int, tuple[int, float]]:
    """image -> (seeds at which it moved, mean confidence of the condition at these), from the files."""
    found = defaultdict(list)
    for seed in SEEDS:
        (before, _), (after, sure) = runs[CLEAN, seed], runs[NOISY, seed]
        for image in np.flatnonzero((labels == true) & test(before, after)):
            found[int(image)].append(round(float(sure[image]) * 255))
    return {image: (len(each), sum(each) / len(each) / 255) for image, each in found.items()}


def test_a_click_on_a_cell_shows_its_images_most_confident_first(visit, runs, labels):
    counts = mean_counts(runs, labels, NOISY) - mean_counts(runs, labels, CLEAN)
    np.fill_diagonal(counts, -9)
    true, pred = map(int, np.unravel_index(counts.argmax(), counts.shape))
    visit.page.click(f"td[aria-label^='{true} taken for {pred}:']")
    assert visit.page.inner_text("#cell-title") == f"{true} taken for {pred}"
    expected = moved(runs, labels, true, lambda before, after: (before == true) & (after == pred))
    order = sorted(expected, key=lambda image: (-expected[image][1], -expected[image][0], image))
    assert visit.images() == order
    assert len(order) > 3
    for image, caption in zip(order, visit.captions(), strict=True):
        assert abs(float(caption.split(" → ")[1]) - expected[image][1]) <= 0.005 + 1e-9
    agreed = visit.page.evaluate(
        "() => [...document.querySelectorAll('#panel .pips')].map(e => e.querySelectorAll('.on').length)"
    )
    assert agreed == [expected[image][0] for image in order]
    # Those on which most seeds agree can come first.
    visit.page.select_option("select[aria-label=sort]", "seeds")
    by_seeds = [expected[image][0] for image in visit.images()]
    assert by_seeds == sorted(by_seeds, reverse=True)


def test_what_became_of_the_images_adds_up_to_the_cell(visit, runs, labels):
    counts = mean_counts(runs, labels, NOISY) - mean_counts(runs, labels, CLEAN)
    for true, pred in ((8, 3), (3, 5), (8, 8)):
        visit.go(f"#v=matrix&c={NOISY}&cell={true}.{pred}")
        told = [number_in(text) for text in visit.page.locator("[role=tab] b").all_inner_texts()]
        signed = [text for text in visit.page.locator("[role=tab] b").all_inner_texts() if text[0] in "+−"]
        assert len(told) in (4, 5)
        assert sum(number_in(text) for text in signed) == pytest.approx(counts[true, pred], abs=0.26)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["right", "both", "came", "went"])
def test_each_kind_of_move_is_what_it_is_called(visit, runs, labels, name):
    def test(before, after):
        return {
            "right": (before == pred) & (after == true),
            "both": (before == pred) & (after == pred),
            "came": (before != true) & (before != pred) & (after == pred),
            "went": (before == pred) & (after != true) & (after != pred),
        }[name]

    cells = [(true, pred) for true in (8, 5, 3, 9) for pred in range(10) if pred != true]
    for true, pred in cells:  # noqa: B007
        if moved(runs, labels, true, test):
            break
    else:
        pytest.fail("no such image in this study: choose other recalls")
    visit.go(f"#v=matrix&c={NOISY}&cell={true}.{pred}&tab={name}")
    assert set(visit.images()) == set(moved(runs, labels, true, test))
    assert visit.page.get_attribute(f"#tab-{name}", "aria-selected") == "true"


@pytest.mark.slow
def test_the_images_of_one_condition_are_those_of_its_cell(visit, runs, labels):
    visit.go(f"#v=matrix&c={CLEAN}&m=absolute&cell=8.3")
    found = defaultdict(list)
    for seed in SEEDS:
        preds, sure = runs[CLEAN, seed]
        for image in np.flatnonzero((labels == 8) & (preds == 3)):
            found[int(image)].append(round(float(sure[image]) * 255))
    order = sorted(found, key=lambda image: (-sum(found[image]) / len(found[image]), -len(found[image]), image))
    assert visit.images() == order


@pytest.mark.slow
def test_grey_small_images_are_shown_as_they_are(visit):
    visit.go(f"#v=matrix&c={NOISY}&cell=8.8&tab=kept")
    image = visit.images()[0]
    from PIL import Image

    shot = visit.page.locator("#panel .thumbnail").first.screenshot()
    # The middle of each of the 8 x 8 squares: the edges of the thumbnail are rounded.
    whole = np.asarray(Image.open(io.BytesIO(shot)).convert("L"), float)
    places = ((np.arange(8) + 0.5) * whole.shape[0] / 8).astype(int)
    shown = whole[np.ix_(places, places)]
    true = digits().test_images[image, :, :, 0].astype(float)
    assert np.abs(shown - true).mean() < 12
    others = np.delete(digits().test_images[:, :, :, 0].astype(float), image, axis=0)
    assert np.abs(shown - true).mean() < np.abs(others - shown).mean(axis=(1, 2)).min()


@pytest.mark.slow
def test_an_image_is_enlarged_with_its_history(visit, runs, labels):
    visit.page.click("td[aria-label^='8 taken for 3:']")
    image = visit.images()[0]
    visit.page.click(f"[data-image='{image}']")
    assert visit.words()["img"] == str(image)
    assert visit.page.inner_text("#image-title") == f"Test image {image}: 8"
    box = visit.page.locator("#image .thumbnail").first.bounding_box()
    assert box["width"] >= 200
    strips = visit.page.locator("#image .history")
    rows = strips.first.locator("tbody tr")
    levels = [CLEAN, *(noise(level).name for level in (0.1, 0.2, 0.3))]
    for place, seed in enumerate(SEEDS):
        texts = rows.nth(place).locator("td").all_inner_texts()
        preds = [int(runs[condition, seed][0][image]) for condition in levels]
        assert texts == ["✓" if pred == labels[image] else str(pred) for pred in preds]
    said = visit.page.inner_text("#image .said")
    for seed in SEEDS:
        pred, sure = int(runs[NOISY, seed][0][image]), np.rint(runs[NOISY, seed][1][image] * 255) / 255
        assert f"seed {seed} {pred} {sure:.2f}" in said
    visit.page.keyboard.press("ArrowRight")
    assert visit.words()["img"] == str(visit.images()[1])
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_function("() => !new URLSearchParams(location.hash.slice(1)).has('img')")
    assert not visit.page.locator("#image[open]").count()
    assert visit.page.evaluate("() => document.activeElement.dataset.image") == str(image), "the focus is where it was"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "words"),
    [
        ([1, 1, 1, 1], "always right"),
        ([0, 0, 0, 0], "never right"),
        ([1, 1, 0, 0], "falls at 20 %"),
        ([0, 1, 1, 1], "right from 10 % on"),
        ([1, 0, 1, 0], "changes back and forth"),
    ],
)
def test_a_history_is_told_in_words(visit, runs, labels, right, words):
    levels = [CLEAN, *(noise(level).name for level in (0.1, 0.2, 0.3))]
    hits = np.array([sum(runs[condition, seed][0] == labels for seed in SEEDS) > 1.5 for condition in levels])
    matching = np.flatnonzero((hits == np.array(right, bool)[:, np.newaxis]).all(axis=0))
    if not len(matching):
        pytest.fail("no such image in this study: choose other recalls")
    visit.go(f"#c={NOISY}&img={matching[0]}")
    assert words in visit.page.inner_text("#image .history h3 >> nth=0")


# Dose


def test_the_slider_goes_through_the_doses(visit, runs, labels):
    slider = visit.page.locator("#dose")
    slider.focus()
    visit.page.keyboard.press("Home")
    assert visit.words()["c"] == CLEAN
    assert np.abs(shown_matrix(visit) - mean_counts(runs, labels, CLEAN)).max() <= 0.5
    visit.page.keyboard.press("ArrowRight")
    assert visit.words()["c"] == noise(0.1).name
    change = mean_counts(runs, labels, noise(0.1).name) - mean_counts(runs, labels, CLEAN)
    assert np.abs(shown_matrix(visit) - change).max() <= 0.5
    assert visit.page.evaluate("() => document.activeElement.id") == "dose", "the focus stays"
    assert visit.page.get_attribute("#dose", "aria-valuetext") == "10 % label noise (shuffle)"


@pytest.mark.slow
def test_the_dose_plays(visit):
    visit.page.clock.install()
    visit.page.click("#play")
    seen = [visit.words()["c"]]
    for _ in range(3):
        visit.page.clock.run_for(1150)
        seen.append(visit.words()["c"])
    assert seen == [CLEAN, noise(0.1).name, noise(0.2).name, NOISY]
    visit.page.click("#play")
    visit.page.clock.run_for(5000)
    assert visit.words()["c"] == NOISY


def test_a_dose_stops_playing_where_nothing_could_stop_it(visit):
    visit.page.clock.install()
    visit.page.click("#play")
    visit.page.click("[data-view=dose]")
    at = visit.words().get("c")
    visit.page.clock.run_for(5000)
    assert visit.words().get("c") == at
    visit.page.click("[data-view=matrix]")
    assert visit.page.get_attribute("#play", "aria-pressed") == "false"


@pytest.mark.slow
def test_the_slider_keeps_the_cell_and_the_images_follow(visit, runs, labels):
    visit.page.click("td[aria-label^='8 taken for 3:']")
    before = visit.images()
    visit.page.locator("#dose").focus()
    visit.page.keyboard.press("ArrowLeft")
    assert visit.page.inner_text("#cell-title") == "8 taken for 3"
    assert visit.images() != before


@pytest.mark.slow
def test_every_cell_is_a_small_curve(visit, explored):
    visit.page.click("[data-view=dose]")
    assert visit.page.locator("#figure td svg").count() == 100
    points = visit.page.locator("td[aria-label^='8 taken for 3:'] polyline").get_attribute("points").split()
    assert len(points) == 4
    levels = [0, *(float(explored.results.relative(noise_frac=x).cells.value[8, 3]) for x in (0.1, 0.2, 0.3))]
    heights = [-float(point.split(",")[1]) for point in points]
    # Curves are drawn to scale: the same shape as the values.
    if len(set(levels)) > 1:
        assert np.corrcoef(levels, heights)[0, 1] > 0.9999
    visit.page.click("td[aria-label^='8 taken for 3:']")
    chart = visit.page.locator("#figure .chart")
    assert chart.locator(".seed").count() == 9
    assert "95" in visit.page.inner_text("#figure .soft >> nth=0")


# Side by side


@pytest.mark.slow
def test_misled_is_noise_minus_its_matched_removal(visit, runs, labels, explored):
    visit.page.select_option("select[aria-label=Condition]", noise(0.2).name)
    visit.page.click("[data-view=side]")
    visit.page.click("#misled")
    assert (visit.words()["c"], visit.words()["b"]) == (noise(0.2).name, reduction(0.2).name)
    left = mean_counts(runs, labels, noise(0.2).name)
    right = mean_counts(runs, labels, reduction(0.2).name)
    assert np.abs(shown_matrix(visit, ".three section:nth-child(3)") - (left - right)).max() <= 0.5
    clean = mean_counts(runs, labels, CLEAN)
    assert np.abs(shown_matrix(visit, ".three section:nth-child(1)") - (left - clean)).max() <= 0.5
    assert np.abs(shown_matrix(visit, ".three section:nth-child(2)") - (right - clean)).max() <= 0.5
    assert any("[" in label for label in visit.labels(".three section:nth-child(3)")), "with intervals"


@pytest.mark.slow
def test_equal_damage_finds_the_reduction_that_costs_as_much(visit, explored):
    visit.go(f"#v=side&c={NOISY}&b={reduction(0.2).name}")
    visit.page.click("#equal")
    assert visit.words()["b"] == reduction(0.6).name
    text = visit.page.inner_text(".three section:nth-child(3)")
    fall = explored.results.compared[noise(0.3)].accuracy_fall.scaled(100).text()
    assert fall in text


@pytest.mark.slow
def test_two_conditions_without_an_interval_say_so(visit, runs, labels):
    visit.go(f"#v=side&c={noise(0.1).name}&b={NOISY}")
    difference = mean_counts(runs, labels, noise(0.1).name) - mean_counts(runs, labels, NOISY)
    assert np.abs(shown_matrix(visit, ".three section:nth-child(3)") - difference).max() <= 0.5
    assert "no interval for this pair" in visit.page.inner_text(".three section:nth-child(3)")
    visit.page.click(".three section:nth-child(3) td[aria-label^='8 taken for 3:']")
    assert "No interval" in visit.page.inner_text("#panel")


# Classes


@pytest.mark.slow
def test_the_page_of_a_class(visit, explored):
    results = explored.results
    visit.go("#v=class&k=8")
    text = visit.page.inner_text("#figure")
    assert results.baseline.recall.scaled(100)[8].text() in text
    assert "number 1 of 10 from the least accurate" in text
    for curve in results.curves.values():
        assert f"Loses {curve.loss[8].text(2)} points" in text.replace("−", "-")
    assert visit.page.locator("#figure .chart").count() == 2
    assert visit.page.locator("#figure .chart >> nth=0 >> .seed").count() == 12
    assert visit.page.locator(".gallery .thumbnail").count() == 24
    shares = results.study.counts_of(BASELINE).mean(axis=0)[8] / results.study.class_sizes[8]
    shares[8] = 0
    visit.page.select_option("select[aria-label=Condition]", CLEAN)
    first = visit.page.locator(".bars >> nth=0 >> li >> nth=0").inner_text().split()
    assert first[0] == str(int(shares.argmax()))
    assert float(first[1]) == pytest.approx(100 * shares.max(), abs=0.051)


@pytest.mark.slow
def test_the_page_of_a_pair(visit, explored, runs, labels):
    visit.go(f"#v=pair&k=8.3&c={CLEAN}")
    direction = explored.results.baseline.direction
    place = next(p for p, (i, j) in enumerate(direction.pairs.tolist()) if (i, j) == (3, 8))
    value = -float(direction.difference.value[place])
    text = visit.page.inner_text("#direction").replace("−", "-")
    assert text.startswith(f"8 → 3 minus 3 → 8: {value:+.1f} [" if round(value, 1) else "8 → 3 minus 3 → 8: 0.0 [")
    low, high = -float(direction.difference.high[place]), -float(direction.difference.low[place])
    assert f"[{low:+.1f}, {high:+.1f}]" in text
    forth = [i for s in SEEDS for i in np.flatnonzero((labels == 8) & (runs[CLEAN, s][0] == 3))]
    back = [i for s in SEEDS for i in np.flatnonzero((labels == 3) & (runs[CLEAN, s][0] == 8))]
    assert set(visit.images(".pair-side:nth-child(1)")) == set(forth)
    assert set(visit.images(".pair-side:nth-child(2)")) == set(back)
    assert "standard deviations apart by their pixels" in visit.page.inner_text(".others")


@pytest.mark.slow
def test_classes_are_ordered(visit, explored):
    names = [str(c) for c in np.argsort(explored.results.baseline.recall.value, kind="stable")]
    visit.page.select_option("select[aria-label='Order of the classes']", "accuracy")
    columns = visit.page.locator("#figure th[scope=col]").all_inner_texts()
    assert columns == names
    rows = visit.page.locator("#figure th[scope=row]").all_inner_texts()
    assert rows == names[::-1], "the prediction goes up the left side"


def test_merged_classes_count_as_one(visit, runs, labels):
    page = visit.page
    page.click("text=Merge classes")
    for c in (3, 8):
        page.check(f".popover input[value='{c}']")
    page.click(".popover button[type=submit]")
    assert visit.words()["merge"] == "3.8"
    together = np.where(labels == 8, 3, labels)
    right = [np.mean(np.where(runs[NOISY, s][0] == 8, 3, runs[NOISY, s][0]) == together) for s in SEEDS]
    alone = [np.mean(runs[NOISY, s][0] == labels) for s in SEEDS]
    assert f"accuracy {100 * np.mean(right):.2f} % instead of {100 * np.mean(alone):.2f} %" in page.inner_text(
        "#merged"
    )
    assert len(visit.cells()) == 9
    change = mean_counts(runs, labels, NOISY) - mean_counts(runs, labels, CLEAN)
    expected = change[np.ix_([3, 8], [3, 8])].sum()
    assert any(
        label.startswith(f"3 + 8, predicted right: {expected:+.1f}".replace("-", "−")) for label in visit.labels()
    )
    page.click(".chip")
    assert len(visit.cells()) == 10


# Address, keys, taking away


def test_back_leads_back_and_a_link_shows_the_same(visit):
    page = visit.page
    start = page.inner_text("#figure-title")
    page.select_option("select[aria-label=Condition]", reduction(0.6).name)
    page.click("td[aria-label^='8 taken for 3:']")
    images, address = visit.images(), page.evaluate("() => location.hash")
    page.click("[data-view=class]")
    page.go_back()
    assert visit.images() == images
    page.go_back()
    assert not visit.images()
    page.go_back()
    assert page.inner_text("#figure-title") == start
    visit.go(address)
    assert visit.images() == images
    assert page.inner_text("#figure-title") == "60 % of the data removed minus baseline"


@pytest.mark.slow
@pytest.mark.parametrize(
    "address",
    [
        "#v=nothing&c=none&cell=99.1&img=zz",
        "#cell=1.2.3&merge=1_1.1_99&n=-4&hl=9.9.x",
        "#v=pair&k=3",
        "#v=class&k=77",
        "#%",
    ],
)
def test_an_address_that_makes_no_sense_shows_the_start(visit, address):
    visit.go(address)
    assert visit.page.inner_text("#figure").strip()


def test_the_keyboard_alone_is_enough(visit):
    page = visit.page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that leads to the matrix
    focused = "() => document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused).startswith("0 taken for 9"), "the top left of the picture"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused).startswith("0 taken for 8")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused).startswith("1 taken for 8")
    page.keyboard.press("Control+End")
    assert page.evaluate(focused).startswith("9 taken for 0"), "the bottom right"
    page.keyboard.press("Home")
    assert page.evaluate(focused).startswith("0, predicted right")
    assert page.is_visible("#tip"), "the focus tells as the pointer does"
    page.keyboard.press("Enter")
    assert page.inner_text("#cell-title") == "0, right"
    assert page.evaluate("() => document.activeElement.id") == "cell-title"
    page.keyboard.press("Escape")
    assert "cell" not in visit.words()
    assert page.evaluate(focused).startswith("0, predicted right"), "the focus is back on the cell"
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    page.keyboard.press("[")
    assert visit.words()["c"] == noise(0.2).name
    page.keyboard.press("3")
    assert visit.words()["v"] == "side"


@pytest.mark.slow
def test_one_cell_of_the_grid_is_in_the_order_of_tabs(visit):
    count = "() => document.querySelectorAll('#figure td[tabindex=\"0\"]').length"
    assert visit.page.evaluate(count) == 1
    visit.page.click("td[aria-label^='4 taken for 7:']")
    assert visit.page.evaluate(count) == 1


@pytest.mark.slow
def test_the_table_is_saved_as_csv_and_the_picture_as_svg(visit, explored, tmp_path):
    relative = explored.results.relative(noise_frac=0.3)
    with visit.page.expect_download() as saved:
        visit.page.click("#csv")
    saved.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 100
    for row in rows:
        at = int(row["true"]), int(row["predicted"])
        assert float(row["images"]) == pytest.approx(float(relative.cells.value[at]), rel=1e-6, abs=1e-6)
        assert float(row["low"]) == pytest.approx(float(relative.cells.low[at]), rel=1e-5, abs=1e-5)
        assert (row["marked"] == "true") == bool(relative.marked[at])
    with visit.page.expect_download() as saved:
        visit.page.click("#svg")
    saved.value.save_as(tmp_path / "picture.svg")
    picture = ElementTree.fromstring((tmp_path / "picture.svg").read_text(encoding="utf-8"))
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "30 % noise (shuffle) minus baseline" in texts
    assert texts.count("8") >= 2


@pytest.mark.slow
def test_a_number_is_copied(browser, file):
    with visited(browser, file, permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.page.click("td[aria-label^='8, predicted right']")
        visit.page.click("#panel >> text=Copy")
        copied = visit.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("8, right, 30 % noise (shuffle) minus baseline: −")


# Looks


def ground(visit: Visit) -> str:
    return visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor")


@pytest.mark.slow
def test_dark_and_light_by_system_and_by_switch(browser, file):
    grounds = []
    for scheme in ("light", "dark"):
        with visited(browser, file, color_scheme=scheme) as visit:
            grounds.append(ground(visit))
            cell = visit.page.locator("td[aria-label^='0 taken for 1:']")
            before = cell.evaluate("e => e.style.backgroundColor")
            visit.page.click("#theme")
            grounds.append(ground(visit))
            assert cell.evaluate("e => e.style.backgroundColor") != before
    light, to_dark, dark, to_light = grounds
    assert (light, dark) == (to_light, to_dark)
    assert light != dark


@pytest.mark.slow
@pytest.mark.parametrize("view", ["matrix", "dose", "side", "class", "pair"])
def test_nothing_is_wider_than_a_small_screen(browser, file, view):
    with visited(browser, file) as visit:
        visit.page.set_viewport_size({"width": 375, "height": 700})
        visit.go(f"#v={view}&c={NOISY}&cell=8.3")
        assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= 375


def test_the_plan_has_what_these_tests_speak_of():
    assert {noise(0.2), noise(0.3), reduction(0.2), reduction(0.6)} <= set(DIGITS_PLAN)
