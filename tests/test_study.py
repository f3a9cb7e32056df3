"""From run directories to labelled arrays, against the files themselves."""

import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from support.plans import (
    BOTH,
    MATCHED,
    PLAN,
    SYMMETRIC,
    WORLD,
    load_one,
    write_plan,
)
from support.synthetic import CIFAR10, THREE, World, shares, write_run, write_study

from class_sensitivity import confusion
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

# Arranging


def test_the_arrays_are_what_stands_in_the_files(loaded, files):
    assert set(files) == {(condition, seed) for condition, (_, seeds) in PLAN.items() for seed in seeds}
    arrays = loaded.arrays
    assert arrays.counts.dims == ("condition", "seed", "true", "predicted")
    assert arrays.counts.dtype == np.int64
    for condition in PLAN:
        for seed in loaded.seeds:
            here = arrays.sel(condition=condition.name, seed=seed)
            assert bool(here.present) == ((condition, seed) in files)
            for i, true in enumerate(THREE):
                for j, predicted in enumerate(THREE):
                    expected = files[condition, seed][0][i][j] if (condition, seed) in files else 0
                    assert int(here.counts.sel(true=true, predicted=predicted)) == expected
    for (condition, seed), (counts, true, predicted) in files.items():
        np.testing.assert_array_equal(loaded.counts_of(condition, [seed])[0], counts)
        np.testing.assert_array_equal(loaded.preds_of(condition, [seed])[0], predicted)
        np.testing.assert_array_equal(loaded.labels, true)
        assert loaded.directories[condition, seed].parts[-2:] == (condition.name, f"seed-{seed}")
    assert loaded.num_runs == len(files)


def test_a_missing_run_is_missing_everywhere(loaded):
    at = loaded.arrays.sel(condition="reduction-0.6", seed=1)
    assert not at.present
    assert int(at.counts.sum()) == 0
    assert np.isnan([float(at[name]) for name in ("effective_noise", "train_size", "steps")]).all()
    assert (loaded.preds_of(reduction(0.6), [1]) == -1).all()
    assert (reduction(0.6), 1) not in loaded.directories
    grid = loaded.grid()
    assert grid.loc["reduction-0.6"].tolist() == [seed in (2, 4) for seed in loaded.seeds]


def test_conditions_come_in_the_order_of_a_report_and_seeds_as_numbers(loaded):
    names = [
        "baseline",
        "noise-shuffle-0.1",
        "noise-shuffle-0.2",
        "noise-shuffle-0.3",
        "noise-symmetric-0.2",
        "reduction-0.2",
        "reduction-0.2-matched-steps",
        "noise-shuffle-0.2_reduction-0.2",
        "reduction-0.6",
    ]
    assert [condition.name for condition in loaded.conditions] == names
    assert loaded.arrays.condition.values.tolist() == names
    assert loaded.seeds == [1, 2, 3, 4, 5, 9, 10]
    assert loaded.class_names == THREE
    assert loaded.num_classes == 3
    assert (loaded.data, loaded.model) == ("made-up", "cnn6")


def test_what_a_run_says_of_itself_is_kept(loaded):
    for condition, size in ((BASELINE, 50), (reduction(0.6), 20), (BOTH, 40)):
        at = loaded.arrays.sel(condition=condition.name)
        assert loaded.mean_of("train_size", condition) == size
        assert loaded.mean_of("steps", condition, [2]) == 3
        np.testing.assert_array_equal(at.train_size, np.where(at.present, size, np.nan))
        np.testing.assert_array_equal(at.steps, np.where(at.present, 3, np.nan))
    assert (loaded.arrays.effective_noise.sel(condition="baseline", seed=1)) == 0
    assert (loaded.arrays.effective_noise.sel(condition="noise-shuffle-0.3", seed=2)) > 0
    assert loaded.arrays.noise_kind.sel(condition="noise-symmetric-0.2") == "symmetric"
    assert loaded.arrays.reduction_frac.sel(condition="reduction-0.6") == 0.6


def test_only_seeds_that_all_conditions_have_are_common(loaded):
    assert loaded.common_seeds(BASELINE) == [1, 2, 3, 4, 10]
    assert loaded.common_seeds(BASELINE, noise(0.1)) == [2, 3, 4]
    assert loaded.common_seeds(SYMMETRIC, reduction(0.6), noise(0.3)) == [4]
    assert loaded.common_seeds(SYMMETRIC, MATCHED) == []
    assert loaded.has(reduction(0.6))
    assert not loaded.has(reduction(0.9))
    for ask in (loaded.common_seeds, loaded.counts_of):
        with pytest.raises(LookupError, match=r"^reduction-0\.9 was not run; there is baseline, noise-shuffle-0\.1"):
            ask(reduction(0.9))


def test_a_series_is_the_baseline_and_rising_levels_of_one_stress(loaded):
    series = {kind: loaded.series(kind) for kind in ("shuffle", "symmetric", "reduction", "pair")}
    assert series == {
        "shuffle": [BASELINE, noise(0.1), noise(0.2), noise(0.3)],
        "symmetric": [BASELINE, SYMMETRIC],
        "reduction": [BASELINE, reduction(0.2), reduction(0.6)],
        "pair": [],
    }
    assert loaded.noise_series == ["shuffle", "symmetric"]


def test_a_series_rises_by_number_and_holds_nothing_that_differs_otherwise(tmp_path):
    matrix = shares([0.9, 0.8, 0.7])
    for frac in (0.15, 1.0, 0.05, 0.2, 1e-05, 0.1):
        write_run(tmp_path, WORLD, matrix, noise(frac))
    write_run(tmp_path, WORLD, matrix)
    for condition in (
        Condition(noise_kind="shuffle", noise_frac=0.5, stratified=True),
        Condition(noise_kind="shuffle", noise_frac=0.6, noise_classes=("ant",)),
        Condition(noise_kind="pair", noise_frac=0.7, noise_options={"partner": {"ant": "cow"}}),
        Condition(noise_kind="shuffle", noise_frac=0.8, reduction_frac=0.1),
    ):
        write_run(tmp_path, WORLD, matrix, condition)
    found = load_one(tmp_path)
    assert [c.level for c in found.series("shuffle")] == [0, 1e-05, 0.05, 0.1, 0.15, 0.2, 1.0]
    assert found.series("pair") == found.series("reduction") == []
    assert len(found.conditions) == 11


def test_without_a_baseline_there_is_no_series(tmp_path):
    write_plan(tmp_path, {condition: PLAN[condition] for condition in (noise(0.1), noise(0.2))})
    found = load_one(tmp_path)
    assert found.series("shuffle") == []
    results = analyse(found, resamples=100)
    assert (results.curves, results.compared, results.costs) == ({}, {}, ())
    assert [result.condition for result in results.conditions] == [noise(0.1), noise(0.2)]
    assert results.baseline is None
    assert results.reference is results.of(noise(0.1))
    with pytest.raises(LookupError, match=r"noise-shuffle-0\.1 cannot be compared with the baseline"):
        results.relative(noise_frac=0.1)


def test_a_directory_without_runs_is_no_study(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        runs = load_runs(folder)
        assert (len(runs), runs.left_out) == (0, ())
        with pytest.raises(IndexError, match="There is no study number 0"):
            runs[0]


def test_recipes_models_and_data_sets_are_never_mixed(tmp_path):
    variants: list[dict[str, Any]] = [
        {},
        {"model": "other"},
        {"data": "others"},
        {"training__epochs": 9},
        {"model__options": {"widths": [1]}},
        {"data__flip": False},
        {"training__precision": "bf16-mixed"},
        {"data_digest": "fedcba9876543210"},
    ]
    for number, options in enumerate(variants):
        recalls = (0.2 + 0.1 * number,) * 3
        write_plan(tmp_path, {BASELINE: (recalls, (1, 2)), reduction(0.2): (recalls, (1,))}, **options)
    studies = load_runs(tmp_path)
    assert studies.left_out == ()
    assert len(studies) == len({found.recipe for found in studies}) == len(variants)
    order = [(found.data, found.model, found.family, found.epochs) for found in studies]
    assert order == sorted(order), "recipes that differ in the number of epochs alone follow one another"
    for found in studies:
        assert len(found.directories) == 3
        assert {path.parts[-3] for path in found.directories.values()} == {found.recipe}
    values = [float(analyse(found, resamples=100).of(BASELINE).accuracy.value) for found in studies]
    assert len(set(values)) == len(variants)

    assert {found.model for found in load_runs(tmp_path, model="other")} == {"other"}
    assert len(load_runs(tmp_path, data="others")) == 1
    for none in ({"data": "foo"}, {"data": "others", "model": "other"}):
        runs = load_runs(tmp_path, **none)
        assert (len(runs), runs.left_out) == (0, ())


def test_settings_that_change_nothing_do_not_set_runs_apart(tmp_path):
    for seed, options in enumerate([{}, {"training__threads": 8}, {"data__dir": "elsewhere"}, {"runs": "there"}]):
        write_run(tmp_path, WORLD, shares([0.9, 0.8, 0.7]), seed=seed, **options)
    assert load_one(tmp_path).seeds == [0, 1, 2, 3]


def test_ten_classes_and_their_names(tmp_path):
    write_study(
        tmp_path, World(CIFAR10, 20), {BASELINE: shares([0.8] * 10), reduction(0.2): shares([0.7] * 10)}, (0, 1)
    )
    found = load_one(tmp_path)
    assert found.seeds == [0, 1], "seed 0 is a seed like any other"
    cell = found.arrays.counts.sel(condition="baseline", seed=0, true="cat", predicted="dog")
    np.testing.assert_array_equal(cell, found.counts_of(BASELINE, [0])[0, 3, 5])


def test_one_run_is_a_study(tmp_path):
    write_run(tmp_path, WORLD, shares([0.9, 0.8, 0.7]), noise(0.1))
    found = load_one(tmp_path)
    result = analyse(found, resamples=100).of(noise(0.1))
    np.testing.assert_allclose(result.recall.value, confusion.recall(found.counts_of(noise(0.1))[0]))
    assert result.versus_baseline is None


def test_loaded_runs_are_a_sequence(tmp_path):
    for model in ("a", "b", "c"):
        write_plan(tmp_path, {BASELINE: PLAN[BASELINE]}, model=model)
    runs = load_runs(str(tmp_path))
    assert [study.model for study in runs] == [runs[0].model, runs[1].model, runs[-1].model]
    assert [study.model for study in runs[1:]] == ["b", "c"]
    assert runs[0] in runs


# By values


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        ({}, BASELINE),
        ({"noise_frac": 0.1}, noise(0.1)),
        ({"noise_kind": "shuffle", "noise_frac": 0.2}, noise(0.2)),
        ({"noise_kind": "symmetric", "noise_frac": 0.2}, SYMMETRIC),
        ({"reduction_frac": 0.6}, reduction(0.6)),
        ({"reduction_frac": 0.2}, reduction(0.2)),
        ({"reduction_frac": 0.2, "match_steps": True}, MATCHED),
        ({"noise_frac": 0.2, "reduction_frac": 0.2}, BOTH),
    ],
)
def test_a_condition_is_found_by_its_values(loaded, values, condition):
    assert loaded.find(**values) == condition


@pytest.mark.parametrize(
    "values",
    [
        {"noise_frac": 0.15},
        {"noise_kind": "symmetric", "noise_frac": 0.1},
        {"noise_kind": "shuffle"},
        {"noise_frac": 0.1, "stratified": True},
        {"noise_frac": 0.1, "noise_classes": ["ant"]},
        {"noise_frac": 0.1, "noise_options": {"partner": {"ant": "bee"}}},
        {"reduction_frac": 0.6, "match_steps": True},
    ],
    ids=str,
)
def test_values_that_no_condition_has_are_answered_with_those_that_there_are(loaded, values):
    there = ", ".join(condition.name for condition in loaded.conditions)
    with pytest.raises(LookupError, match=f"^No condition of this study has these values; there is {re.escape(there)}"):
        loaded.find(**values)


def test_a_share_that_several_kinds_of_noise_have_needs_the_kind(loaded):
    with pytest.raises(LookupError, match=r"^Several kinds of noise touch a share of 0.2 \(shuffle, symmetric\)"):
        loaded.find(noise_frac=0.2)


def test_a_mistyped_value_is_a_mistake_and_no_default(loaded):
    with pytest.raises(TypeError, match="noise_frak"):
        loaded.find(noise_frak=0.2)


@pytest.mark.parametrize(
    "condition",
    [
        Condition(noise_kind="shuffle", noise_frac=0.5, stratified=True),
        Condition(noise_kind="shuffle", noise_frac=0.5, noise_classes=("ant", "bee")),
        Condition(noise_kind="pair", noise_frac=0.5, noise_options={"partner": {"ant": "cow"}}),
        Condition(noise_kind="pair", noise_frac=0.5),
    ],
    ids=lambda condition: condition.name,
)
def test_every_field_of_a_condition_tells_it_from_others(tmp_path, condition):
    for each in (noise(0.5), condition):
        write_run(tmp_path, WORLD, shares([0.9, 0.8, 0.7]), each)
    study = load_one(tmp_path)
    assert study.find(noise_kind="shuffle", noise_frac=0.5) == noise(0.5)
    values = {field.name: getattr(condition, field.name) for field in fields(condition) if field.compare}
    if condition.noise_classes:
        values["noise_classes"] = ["bee", "ant"]  # in any order
    assert study.find(**values) == condition


# In memory


def test_predictions_in_memory_make_the_study_that_their_files_make(loaded, files):
    labels = next(iter(files.values()))[1]
    preds = {key: predicted for key, (_, _, predicted) in files.items()}
    study = Study.of_preds(labels, preds, THREE)
    assert study.conditions == loaded.conditions
    np.testing.assert_array_equal(study.preds, loaded.preds)
    np.testing.assert_array_equal(study.labels, loaded.labels)
    assert study.arrays.counts.equals(loaded.arrays.counts)
    assert study.arrays.present.equals(loaded.arrays.present)
    assert np.isnan(study.arrays.steps).all()


@pytest.mark.parametrize("preds", [[0, 1], [0, 1, 2, 3], [0, -1, 2]], ids=str)
def test_predictions_that_cannot_be_counted_are_refused(preds):
    with pytest.raises(ValueError, match="must be"):
        Study.of_preds([0, 1, 2], {(BASELINE, 1): preds}, THREE)


# In a notebook


def test_a_study_shows_itself_in_short(loaded):
    assert repr(loaded) == (
        f"<Study {loaded.recipe}: 9 conditions, seeds 1, 2, 3, 4, 5, 9, 10, 150 test images of 3 classes>"
    )
    html = loaded._repr_html_()
    assert html.count("<tr") == 1 + 1 + len(PLAN), "seeds, the name of the rows, and a row a condition"
    assert html.count("yes") == loaded.num_runs
    assert html.count("missing") == 9 * 7 - loaded.num_runs
    assert "made-up, cnn6: 30 runs, 150 test images" in html


def test_names_of_data_and_model_are_text_in_a_notebook():
    study = Study.of_preds([0], {(BASELINE, 1): [0]}, ("a", "b"), data="<script>", model="a & b")
    assert "&lt;script&gt;, a &amp; b" in study._repr_html_()
