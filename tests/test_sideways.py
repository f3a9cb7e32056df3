"""Whether noise shifts the learning curve: the share that fits, and how often the test is right, on made-up studies."""

from dataclasses import replace

import numpy as np
import pytest
from support.synthetic import World
from test_exchange import FULL, Learning, noisy, reduced, study_of

from class_sensitivity.analysis.exchange import exchange_rates
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.sideways import Sideways, sideways_shifts
from class_sensitivity.analysis.study import Study
from class_sensitivity.figures.axes import figure_of
from class_sensitivity.figures.exchange import plot_exchange, plot_sideways
from class_sensitivity.figures.grid import plot_iso_accuracy, plot_iso_recall
from class_sensitivity.runs.condition import BASELINE

REMOVED = (0.0, 0.4, 0.6, 0.8, 0.95)
NOISY_AT = (0.0, 0.4, 0.6, 0.8)


def grid(learning: Learning, share_at, world: World, seeds=range(1, 4), removed=REMOVED, **values) -> Study:
    """A study of noise at several sizes; `share_at(size)` of the examples are left of each."""
    recalls = {reduced(f, **values): learning.recall(FULL * (1 - f)) for f in removed}
    for f in NOISY_AT:
        size = FULL * (1 - f)
        condition = replace(noisy(0.3), reduction_frac=f, match_steps=values.get("match_steps", False) if f else False)
        recalls[condition] = learning.recall(size * share_at(size))
    return study_of(recalls, seeds, world)


def shift_of(study: Study) -> Sideways:
    (found,) = sideways_shifts(study, list(exchange_rates(study)))
    return found


def rates(count: int, share_at, *, seeds: int = 3, per_class: int = 200, removed=REMOVED) -> dict[str, float]:
    """Of made-up studies, in how many something certainly is left over, and how many intervals hold the share."""
    rng, found = np.random.default_rng(0), []
    for root in range(count):
        world = World(tuple("abcdefghij"), per_class, root=root, seed=0.001, run=0.001)
        found.append(shift_of(grid(Learning(rng, 10), share_at, world, range(seeds), removed)))
    true = share_at(FULL)
    return {
        "left over": float(np.mean([each.test.p <= 0.05 for each in found])),
        "held": float(np.mean([each.share.low <= true <= each.share.high for each in found])),
    }


@pytest.fixture(scope="module")
def world() -> World:
    return World(("ant", "bee", "cow"), 1000, seed=0.005)


@pytest.fixture(scope="module")
def learning() -> Learning:
    return Learning(np.random.default_rng(3), 3)


def test_the_share_of_a_pure_shift_is_found(learning, world):
    found = shift_of(grid(learning, lambda size: 0.5, world))
    assert found.share.value == pytest.approx(0.5, abs=0.04)
    assert found.share.low < 0.5 < found.share.high
    np.testing.assert_allclose(found.left_over, 0, atol=0.02)
    assert [each.noise.reduction_frac for each in found.at] == list(NOISY_AT)
    np.testing.assert_allclose(found.sizes, FULL * (1 - np.array(NOISY_AT)))
    for each in found.at:  # the exchange rate at each size is of that size
        assert each.size.low / each.examples < 0.5 < each.size.high / each.examples


def test_what_is_left_over_of_another_shape_is_seen(learning, world):
    found = shift_of(grid(learning, lambda size: 0.25 if size > 25_000 else 0.9, world, range(5)))
    assert found.test.p < 0.001
    assert np.abs(found.left_over).max() > 0.01


def test_matched_steps_are_compared_with_matched_steps(learning, world):
    found = shift_of(grid(learning, lambda size: 0.5, world, match_steps="masked"))
    assert {c.match_steps for c in found.at[0].curve[1:]} == {"masked"}
    assert found.share.value == pytest.approx(0.5, abs=0.04)


def test_noise_at_one_size_is_no_shift(learning, world):
    recalls = {reduced(f): learning.recall(FULL * (1 - f)) for f in REMOVED} | {noisy(0.3): learning.recall(20_000)}
    study = study_of(recalls, (1, 2), world)
    assert list(sideways_shifts(study, list(exchange_rates(study)))) == []


def test_a_share_beyond_what_was_measured_is_said_to_be_there_and_is_not_tested(learning, world):
    # 10,000 examples would have to be as good as 2,000, and the clean curve ends at 2,500.
    found = shift_of(grid(learning, lambda size: 0.2, world))
    assert [each.noise.reduction_frac for each in found.at] == list(NOISY_AT), "sizes are chosen before they are seen"
    assert found.share.value == 0
    assert found.share.text(".2f").startswith("<0.25 [<0.25, ")
    assert found.test is None


def test_a_size_without_room_below_it_has_no_say(learning, world):
    # A gamma of 3 leaves 3,430 of 10,000 examples and 6,860 of 20,000, and the clean curve ends at 10,000.
    found = shift_of(grid(learning, lambda size: 0.5, world, removed=REMOVED[:-1]))
    assert [each.noise.reduction_frac for each in found.at] == [0.0, 0.4]


def test_one_seed_has_a_share_and_no_test(learning, world):
    found = shift_of(grid(learning, lambda size: 0.5, world, (1,)))
    assert found.test is None
    assert 0 < found.share.value < 1
    assert np.isnan(found.share.low)


@pytest.mark.slow
def test_a_pure_shift_is_seldom_taken_for_another():
    # Of 40 studies more than 6 would be one chance in a hundred at a rate of 5 %.
    pure = rates(40, lambda size: 0.5)
    assert pure["left over"] <= 6 / 40
    assert pure["held"] >= 37 / 40  # of so few images they are wider than they have to be
    assert rates(12, lambda size: (size / FULL) ** 0.5 * 0.5)["left over"] >= 0.5


@pytest.mark.parametrize("draws", ["rates", "shifts"])
def test_the_legend_stands_beside_the_points_and_nothing_is_cut_off(world, draws):
    study = grid(Learning(np.random.default_rng(0), 3), lambda size: 0.6, world, (1, 2, 3))
    results, rates = analyse(study, resamples=100), list(exchange_rates(study))
    if draws == "rates":
        axes = plot_exchange(results, rates)
    else:
        axes = plot_sideways(results, list(sideways_shifts(study, rates)))
    figure = figure_of(axes)
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1
    whole = figure.bbox
    for drawn in (legend, axes.xaxis.label.get_window_extent(), axes.yaxis.label.get_window_extent()):
        assert whole.x0 <= drawn.x0 <= drawn.x1 <= whole.x1
        assert whole.y0 <= drawn.y0 <= drawn.y1 <= whole.y1
    colors = [line.get_color() for line in axes.lines[:2]]
    assert len(set(colors)) == 1, "the clean curve goes through the clean points"


def test_lines_of_equal_accuracy_go_through_what_was_measured(learning, world):
    study = grid(learning, lambda size: 0.5, world)
    results = analyse(study, resamples=20)
    axes = plot_iso_accuracy(results, results.sideways)
    (dots,) = (line for line in axes.lines if line.get_marker() == ".")
    measured = {(float(size), float(level)) for size, level in zip(*dots.get_data(), strict=True)}
    noisy_ones = {(FULL * (1 - f), 30.0) for f in NOISY_AT}
    assert measured == noisy_ones | {(FULL * (1 - f), 0.0) for f in REMOVED if f <= max(NOISY_AT)}
    told = {text.xy: text.get_text() for text in axes.texts if hasattr(text, "xy")}
    preds = study.preds_of(BASELINE, study.seeds)
    assert told[FULL, 0.0] == f"{100 * (preds == study.labels).mean():.1f}"
    # A line of equal accuracy runs from fewer clean examples to more noisy ones.
    (lines,) = (each for each in axes.collections if hasattr(each, "levels"))
    inside = [path.vertices for path in lines.get_paths() if len(path.vertices)]
    assert inside
    assert all(each[np.argmax(each[:, 1]), 0] >= each[np.argmin(each[:, 1]), 0] for each in inside)
    assert len(plot_iso_recall(results, results.sideways, [0, 1, 2])) == 3
