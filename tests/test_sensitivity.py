"""Every number of the report, against plain loops over the files."""

from dataclasses import replace
from itertools import combinations
from unittest import mock

import numpy as np
import pytest
from support.plans import (
    MATCHED,
    PLAN,
    SYMMETRIC,
    WORLD,
    load_one,
    recall_by_hand,
    same,
    write_plan,
)
from support.synthetic import THREE, World, shares, write_study

from class_sensitivity import confusion
from class_sensitivity.analysis import sensitivity, statistics
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE


def test_recalls_accuracies_and_falls(loaded, results):
    assert [result.condition for result in results.conditions] == list(loaded.conditions)
    for condition in PLAN:
        result = results.of(condition)
        assert result.condition == condition
        assert same(result.recall, class_contrasts(loaded, {condition: 1.0}))
        assert same(result.accuracy, accuracy_contrast(loaded, {condition: 1.0}))
        counts = loaded.counts_of(condition)
        np.testing.assert_allclose(result.recall.value, confusion.recall(counts).mean(axis=0))
        np.testing.assert_allclose(result.accuracy.value, confusion.accuracy(counts).mean())
        for e in (result.recall, result.accuracy):
            known = ~np.isnan(e.low)
            assert (e.low[known] >= 0).all()
            assert (e.high[known] <= 1).all()
    assert set(results.compared) == set(PLAN) - {BASELINE}
    for condition, versus in results.compared.items():
        fall = {BASELINE: 1.0, condition: -1.0}
        assert same(versus.fall, class_contrasts(loaded, fall))
        assert same(versus.accuracy_fall, accuracy_contrast(loaded, fall))
        # A fall in recall and the diagonal cell of the relative matrix are one number.
        sizes = np.bincount(loaded.labels)
        np.testing.assert_allclose(-versus.fall.value * sizes, np.diagonal(versus.relative.cells.value), atol=1e-9)


def test_the_result_of_a_condition_is_found_by_the_condition(results):
    assert results.baseline is results.reference is results.of(BASELINE)
    with pytest.raises(LookupError, match=r"^reduction-0\.9 was not run; there is baseline, noise-shuffle-0\.1"):
        results.of(reduction(0.9))


def test_an_interval_of_a_share_stays_a_share(tmp_path):
    # Two seeds that differ: the t interval alone would reach far beyond 1.
    world = replace(WORLD, seed=0.6, image=0.2, taste=0.1)
    write_study(tmp_path, world, {BASELINE: shares([0.95, 0.9, 0.05])}, (1, 2))
    found = load_one(tmp_path)
    recall = analyse(found, resamples=100).of(BASELINE).recall
    assert (replace(recall, share_of=None).high > 1).any()
    assert 0 <= recall.low.min() < recall.high.max() <= 1


def test_slopes_are_those_of_polyfit_over_all_levels(loaded, results, files):
    levels = {"shuffle": [0, 0.1, 0.2, 0.3], "symmetric": [0, 0.2], "reduction": [0, 0.2, 0.6]}
    levels["reduction-matched-steps"] = [0, 0.2]
    seeds = {"shuffle": (2, 3, 4), "symmetric": (3, 4), "reduction": (2, 4), "reduction-matched-steps": (1,)}
    assert list(results.curves) == list(levels)
    for kind, curve in results.curves.items():
        np.testing.assert_array_equal(curve.levels, levels[kind])
        assert curve.seeds == seeds[kind]
        for at, seed in enumerate(curve.seeds):
            for which in range(3):
                y = [recall_by_hand(*files[c, seed][1:], which) for c in curve.conditions]
                assert curve.slope.per_seed[at, which] == pytest.approx(np.polyfit(curve.levels, y, 1)[0])
        assert len(curve.knees) == 3
        assert all(np.isnan(k.p) for k in curve.knees), "four levels are too few for a knee"
        assert (curve.ranks is None) == (len(curve.seeds) == 1)
        if curve.ranks is not None:
            np.testing.assert_allclose([curve.ranks.sum(axis=0), curve.ranks.sum(axis=1)], 1)
        # Points that one class loses more than another, per 10 points of stress.
        gaps = curve.loss.value[:, np.newaxis] - curve.loss.value
        off = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(curve.slope_gaps.value[off], gaps[off], atol=1e-9)
        assert np.isnan(np.diagonal(curve.slope_gaps.value)).all()
        np.testing.assert_allclose(curve.loss.value, -10 * curve.slope.value)
        np.testing.assert_allclose([curve.loss.low, curve.loss.high], [-10 * curve.slope.high, -10 * curve.slope.low])
    labels = [curve.label for curve in results.curves.values()]
    assert labels == [
        "label noise (shuffle)",
        "label noise (symmetric)",
        "data reduction",
        "data reduction (more passes)",
    ]
    assert results.curves["shuffle"].slope.value[2] == results.curves["shuffle"].slope.value.min()
    assert results.curves["shuffle"].ranks[2, 0] > 0.5, "cow falls most"


@pytest.mark.parametrize("seeds", [(3,), (7, 8), ()], ids=["one seed", "other seeds", "none in common"])
def test_a_level_with_few_seeds_does_not_take_the_seeds_from_the_others(tmp_path, seeds):
    whole = {noise(x): (PLAN[noise(x)][0], (1, 2, 3, 4)) for x in (0.1, 0.2, 0.3)}
    few = {noise(0.4): ((0.6, 0.6, 0.3), seeds or (9,))}
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2, 3, 4, 7, 8)), **whole, **few})
    found = load_one(tmp_path)
    assert len(found.series("shuffle")) == 5
    curve = analyse(found, resamples=100).curves["shuffle"]
    assert curve.levels.tolist() == [0, 0.1, 0.2, 0.3]
    assert curve.seeds == (1, 2, 3, 4)
    assert len(curve.conditions) == 4


def test_a_knee_in_one_class_is_found_in_that_class(tmp_path):
    world = World(THREE, 250, seed=0.005)
    plan = {}
    for level in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        recalls = (0.95 - 0.2 * level, 0.95 - 0.05 * level - 2.0 * max(level - 0.3, 0), 0.9 - 0.4 * level)
        plan[noise(level) if level else BASELINE] = shares(recalls)
    write_study(tmp_path, world, plan)
    found = load_one(tmp_path)
    knees = analyse(found, resamples=400).curves["shuffle"].knees
    assert knees[1].low <= 0.3 <= knees[1].high
    assert knees[1].slope_after < knees[1].slope_before - 1
    assert np.isnan([knees[0].level, knees[2].level]).all()


def test_directions_are_cells_against_their_mirror_images(loaded, results, files):
    for result in results.conditions:
        condition, direction = result.condition, result.direction
        seeds = PLAN[condition][1]
        np.testing.assert_array_equal(direction.pairs, list(combinations(range(3), 2)))
        for at, (i, j) in enumerate(direction.pairs):
            expected = [files[condition, s][0][i][j] - files[condition, s][0][j][i] for s in seeds]
            np.testing.assert_allclose(direction.difference.per_seed[:, at], expected)
        total = np.sum([files[condition, s][0] for s in seeds], axis=0)
        off = [(total[i, j], total[j, i]) for i, j in combinations(range(3), 2)]
        assert direction.asymmetry == pytest.approx(sum(abs(a - b) for a, b in off) / sum(a + b for a, b in off))
        np.testing.assert_array_equal(direction.marked, statistics.benjamini_hochberg(direction.difference.p, 0.05))
        assert np.isnan(direction.asymmetry_by_chance) if len(seeds) < 2 else 0 < direction.asymmetry_by_chance <= 1


def test_less_data_and_being_misled_add_up_to_the_fall_on_the_same_seeds(results, files):
    costs = {(cost.noise, cost.control): cost for cost in results.costs}
    # SYMMETRIC and MATCHED have no seed in common.
    assert list(costs) == [(noise(0.2), reduction(0.2)), (noise(0.2), MATCHED), (SYMMETRIC, reduction(0.2))]
    for (condition, control), cost in costs.items():
        seeds = [s for s in PLAN[BASELINE][1] if s in PLAN[condition][1] and s in PLAN[control][1]]
        assert list(cost.seeds) == seeds
        for which in range(3):
            falls = [
                recall_by_hand(*files[BASELINE, s][1:], which) - recall_by_hand(*files[condition, s][1:], which)
                for s in seeds
            ]
            total = cost.less_data.per_seed[:, which] + cost.misled.per_seed[:, which]
            np.testing.assert_allclose(total, falls, atol=1e-12)
            assert cost.less_data.value[which] + cost.misled.value[which] == pytest.approx(np.mean(falls))
        accuracy = [
            [np.mean(np.array(files[c, s][1]) == files[c, s][2]) for s in seeds] for c in (BASELINE, control, condition)
        ]
        np.testing.assert_allclose(cost.overall_less_data.per_seed, np.subtract(accuracy[0], accuracy[1]), atol=1e-12)
        np.testing.assert_allclose(cost.overall_misled.per_seed, np.subtract(accuracy[1], accuracy[2]), atol=1e-12)
        balance = cost.overall_misled.per_seed - cost.overall_less_data.per_seed
        np.testing.assert_allclose(cost.overall_balance.per_seed, balance, atol=1e-12)


@pytest.mark.parametrize("directed", [False, True])
def test_the_asymmetry_by_chance_is_what_a_symmetric_confusion_shows(directed):
    wrong = [[0, 19, 1], [1, 0, 1], [1, 1, 0]] if directed else None
    found = []
    for root in range(30):
        world = replace(WORLD, per_class=300, root=root)
        preds = {(BASELINE, s): world.predict(shares([0.8] * 3, wrong), "baseline", s) for s in range(3)}
        found.append(analyse(Study.of_preds(world.labels, preds, THREE), resamples=2).of(BASELINE).direction)
    ratio = np.mean([each.asymmetry for each in found]) / np.mean([each.asymmetry_by_chance for each in found])
    assert ratio > 3 if directed else 0.7 < ratio < 1.2


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_asymmetry_by_chance_is_right_where_most_of_many_pairs_are_hardly_ever_confused(seeds):
    names = tuple(f"class {number}" for number in range(30))
    labels, found = np.repeat(np.arange(30), 50), []
    for root in range(3):
        rng = np.random.default_rng(root)
        wrong = (labels + rng.integers(1, 30, (seeds, len(labels)))) % 30
        preds = np.where(rng.random((seeds, len(labels))) < 0.2, wrong, labels)
        study = Study.of_preds(labels, {(BASELINE, seed): each for seed, each in enumerate(preds)}, names)
        with mock.patch.object(sensitivity, "MAX_OMNIBUS_CLASSES", 10):  # which is all of the time
            (only,) = analyse(study, resamples=2).conditions
        found.append((only.direction.asymmetry, only.direction.asymmetry_by_chance))
    shown, by_chance = np.mean(found, axis=0)
    assert by_chance < 1
    assert by_chance == pytest.approx(shown, rel=0.12)


def test_the_asymmetry_by_chance_is_about_1_of_next_to_no_confusions():
    labels = np.repeat(np.arange(3), 20)
    once = labels.copy()
    once[0] = 1
    study = Study.of_preds(labels, {(BASELINE, 1): once, (BASELINE, 2): labels}, THREE)
    direction = analyse(study, resamples=2).of(BASELINE).direction
    assert direction.asymmetry == 1
    assert 0.7 < direction.asymmetry_by_chance <= 1


def test_where_nothing_varied_ranks_are_drawn_as_widely_as_the_intervals_are():
    labels = np.repeat(np.arange(3), 60)
    levels = (BASELINE, *(noise(x) for x in (0.1, 0.2, 0.3)))
    for preds in (labels, np.zeros(180, int)):  # always right, and one class whatever the image
        study = Study.of_preds(labels, {(c, s): preds for c in levels for s in range(3)}, THREE)
        curve = analyse(study, resamples=2000).curves["shuffle"]
        assert (curve.slope.low < 0).all()
        assert (curve.slope.high > 0).all()
        np.testing.assert_allclose(curve.ranks, 1 / 3, atol=0.06)
        assert (curve.slopes_differ, curve.not_straight) == (None, None)


def test_ranks_vary_as_the_slopes_intervals_say():
    # Two classes that do not touch: how often one is first is what a normal difference gives.
    world = replace(WORLD, per_class=80)
    plan = {BASELINE: (0.9, 0.9, 0.9), noise(0.2): (0.82, 0.86, 0.88), noise(0.4): (0.75, 0.8, 0.86)}
    preds = {(c, s): world.predict(shares(x), c.name, s) for c, x in plan.items() for s in range(6)}
    curve = analyse(Study.of_preds(world.labels, preds, THREE), resamples=4000).curves["shuffle"]
    rng = np.random.default_rng(0)
    drawn = rng.normal(curve.loss.value, curve.loss.error, (4000, 3)).argmax(axis=1)
    np.testing.assert_allclose(curve.ranks[:, 0], np.bincount(drawn, minlength=3) / 4000, atol=0.06)


def test_the_same_runs_and_seed_give_the_same_numbers_to_the_last_bit(plan_root, results):
    again = load_one(plan_root)
    assert same(analyse(again, resamples=200), results)
    other = analyse(again, resamples=200, seed=1)
    assert not same(other.curves["shuffle"].ranks, results.curves["shuffle"].ranks)
    assert same(other.conditions, results.conditions), "only ranks and knees are drawn"


def test_adding_runs_of_one_stress_leaves_the_numbers_of_another_alone(tmp_path, results):
    write_plan(tmp_path)
    write_plan(tmp_path, {noise(x, "pair"): ((0.8, 0.7, 0.6), (1, 2, 3, 4)) for x in (0.1, 0.2)})
    later = analyse(load_one(tmp_path), resamples=200)
    assert list(later.curves) == ["shuffle", "pair", "symmetric", "reduction", "reduction-matched-steps"]
    for kind, curve in results.curves.items():
        assert same(later.curves[kind], curve), kind


def test_one_seed_gives_values_and_no_more(tmp_path):
    plan = {noise(x): ((0.9 - x, 0.8, 0.7), (4,)) for x in (0.1, 0.2, 0.3, 0.4, 0.5)}
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (4,)), reduction(0.2): ((0.8, 0.7, 0.6), (4,)), **plan})
    found = load_one(tmp_path)
    results = analyse(found, resamples=100)
    for e in (
        results.of(BASELINE).recall,
        results.compared[reduction(0.2)].fall,
        results.curves["shuffle"].slope,
        results.costs[0].misled,
        results.compared[reduction(0.2)].relative.cells,
        results.of(BASELINE).direction.difference,
    ):
        assert np.isfinite(e.value).all()
        assert np.isnan([e.low, e.high, e.p]).all()
    assert results.curves["shuffle"].ranks is None
    assert not results.compared[reduction(0.2)].relative.marked.any()
    assert not results.of(BASELINE).direction.marked.any()
    assert np.isnan([knee.level for knee in results.curves["shuffle"].knees]).all(), "one seed has no interval"


def test_a_class_without_test_images_is_unknown_and_harms_no_other(tmp_path):
    plan = {
        BASELINE: shares([0.9, 0.8, 0.7]),
        **{noise(x): shares([0.9 - x, 0.8 - x, 0.7]) for x in (0.1, 0.2, 0.3, 0.4)},
        reduction(0.2): shares([0.8, 0.7, 0.6]),
    }
    write_study(tmp_path / "hole", replace(WORLD, per_class=(40, 0, 50)), plan, (1, 2, 3))
    found = load_one(tmp_path / "hole")
    results = analyse(found, resamples=100)
    curve = results.curves["shuffle"]
    mild, baseline = results.compared[noise(0.1)], results.of(BASELINE)
    for e in (baseline.recall, mild.fall, curve.slope, results.costs[0].less_data):
        assert np.isnan([e.value[1], e.low[1], e.high[1]]).all()
        assert np.isfinite(e.value[[0, 2]]).all()
    assert np.isnan(curve.knees[1].level)
    np.testing.assert_array_equal(mild.relative.cells.value[1], 0)
    assert not results.compared[noise(0.4)].relative.marked[1].any()
    assert np.isfinite(baseline.accuracy.value)
    # The class that is not there is no rival: the two others share the first two ranks.
    np.testing.assert_allclose(np.delete(curve.ranks, 1, axis=0)[:, :2].sum(axis=1), 1)


def test_results_show_themselves_in_short_and_escape_names(results):
    assert repr(results) == f"<Results of {results.study!r}>"
    html = results._repr_html_()
    baseline, curve = results.of(BASELINE), results.curves["shuffle"]
    assert f"made-up, cnn6: accuracy {baseline.accuracy.scaled(100).text(unit='%')}" in html
    for index, name in enumerate(THREE):
        row = html.split(f"<th>{name}</th>")[1].split("</tr>")[0]
        assert baseline.recall[index].scaled(100).text() in row
        assert curve.loss[index].text() in row
    study = Study.of_preds([0, 1], {(BASELINE, 1): [0, 1]}, ("<b>", "&"), data="<i>")
    html = analyse(study)._repr_html_()
    assert "&lt;b&gt;" in html
    assert "&lt;i&gt;" in html
    assert "<i>" not in html
