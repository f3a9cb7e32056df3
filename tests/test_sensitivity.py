"""From run directories to labelled arrays and every number of the report, against plain loops over the files."""

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import (
    CIFAR10,
    THREE,
    World,
    configuration,
    make_record,
    shares,
    write_record,
    write_run,
    write_study,
)

from class_sensitivity import confusion, runs, sensitivity, statistics, study
from class_sensitivity.sensitivity import Results, analyse, cell_contrast, contrast, relative_matrix
from class_sensitivity.study import BASELINE, Problem, Study, load

WORLD = World(THREE, (40, 60, 50))
WRONG = [[0, 3, 1], [1, 0, 1], [1, 5, 0]]

#: Condition -> recalls and seeds; no two conditions have the same seeds.
PLAN: dict[str, tuple[tuple[float, float, float], tuple[int, ...]]] = {
    "baseline": ((0.9, 0.8, 0.7), (1, 2, 3, 4, 10)),
    "noise-shuffle-0.1": ((0.85, 0.75, 0.6), (2, 3, 4, 5)),
    "noise-shuffle-0.2": ((0.8, 0.7, 0.5), (1, 2, 3, 4, 5)),
    "noise-shuffle-0.3": ((0.7, 0.65, 0.4), (2, 3, 4, 10)),
    "noise-symmetric-0.2": ((0.7, 0.7, 0.6), (3, 4, 9)),
    "reduction-0.2": ((0.88, 0.78, 0.69), (1, 2, 3, 4)),
    "reduction-0.6": ((0.8, 0.7, 0.6), (2, 4)),
    "noise-shuffle-0.2_reduction-0.2": ((0.75, 0.7, 0.5), (1, 2)),
    "reduction-0.2-matched-steps": ((0.9, 0.8, 0.7), (1,)),
}


def write_plan(
    root: Path, plan: Mapping[str, tuple[tuple[float, ...], tuple[int, ...]]] = PLAN, **options: Any
) -> Path:
    for condition, (recalls, seeds) in plan.items():
        write_study(root, WORLD, {condition: shares(recalls, WRONG)}, seeds, **options)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def loaded(root) -> Study:
    (found,), problems = load(root)
    assert problems == []
    return found


@pytest.fixture(scope="module")
def results(loaded) -> Results:
    return analyse(loaded, resamples=200)


@pytest.fixture(scope="module")
def files(root) -> dict[tuple[str, int], tuple[Any, Any, Any]]:
    """(condition, seed) -> counts, true and predicted classes, as plain lists straight from the files."""
    read = {}
    for path in root.glob("*/*/*/result.json"):
        values = json.loads(path.read_text())
        with np.load(path.with_name("arrays.npz")) as arrays:
            key = path.parts[-3], int(path.parts[-2].removeprefix("seed-"))
            read[key] = values["confusion"], arrays["test_labels"].tolist(), arrays["test_preds"].tolist()
    return read


def recall_by_hand(true: list[int], predicted: list[int], which: int) -> float:
    inside = [p for t, p in zip(true, predicted, strict=True) if t == which]
    return sum(p == which for p in inside) / len(inside)


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit, NaN included."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, Mapping) and not hasattr(one, "dims"):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes() and one.shape == other.shape
    if hasattr(one, "identical"):
        return bool(one.identical(other))
    return one == other or (one != one and other != other)


# The made-up runs themselves


def test_made_up_configurations_have_the_settings_of_real_ones(compose_config):
    def settings(tree: dict[str, Any], prefix: str = "") -> set[str]:
        nested = {"streams", "noise", "reduction", "selection", "data", "model", "training"}
        found = set()
        for key, value in tree.items():
            found |= settings(value, f"{key}.") if key in nested and not prefix else {prefix + key}
        return found

    assert settings(configuration({})) == settings(compose_config())


def test_made_up_predictions_follow_the_shares_they_were_given():
    world = World(THREE, 4000, seed=0.001)
    matrix = shares([0.9, 0.5, 0.7], WRONG)
    counts = [confusion.confusion_counts(world.labels, world.predict(matrix, BASELINE, s), 3) for s in range(3)]
    np.testing.assert_allclose(confusion.normalise(sum(counts)), matrix, atol=0.02)


# Arranging


def test_the_arrays_are_what_stands_in_the_files(loaded, files):
    assert set(files) == {(name, seed) for name, (_, seeds) in PLAN.items() for seed in seeds}
    arrays = loaded.arrays
    assert arrays.counts.dims == ("condition", "seed", "true", "predicted")
    assert arrays.counts.dtype == np.int64
    for name in PLAN:
        for seed in loaded.seeds:
            here = arrays.sel(condition=name, seed=seed)
            assert bool(here.present) == ((name, seed) in files)
            for i, true in enumerate(THREE):
                for j, predicted in enumerate(THREE):
                    expected = files[name, seed][0][i][j] if (name, seed) in files else 0
                    assert int(here.counts.sel(true=true, predicted=predicted)) == expected
    for (name, seed), (counts, true, predicted) in files.items():
        np.testing.assert_array_equal(loaded.counts_of(name, [seed])[0], counts)
        np.testing.assert_array_equal(loaded.preds_of(name, [seed])[0], predicted)
        np.testing.assert_array_equal(loaded.labels, true)
        assert loaded.paths[name, seed].parts[-2:] == (name, f"seed-{seed}")


def test_a_missing_run_is_missing_everywhere(loaded):
    at = loaded.arrays.sel(condition="reduction-0.6", seed=1)
    assert not at.present
    assert int(at.counts.sum()) == 0
    assert np.isnan([float(at[name]) for name in ("effective_noise", "train_size", "steps")]).all()
    assert (loaded.preds_of("reduction-0.6", [1]) == -1).all()
    assert ("reduction-0.6", 1) not in loaded.paths
    grid = loaded.grid()
    assert grid.loc["reduction-0.6"].tolist() == [seed in (2, 4) for seed in loaded.seeds]


def test_conditions_come_in_the_order_of_a_report_and_seeds_as_numbers(loaded):
    assert [c.name for c in loaded.conditions] == [
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
    assert loaded.seeds == [1, 2, 3, 4, 5, 9, 10]
    assert loaded.class_names == THREE
    assert loaded.num_classes == 3
    assert (loaded.data, loaded.model) == ("made-up", "cnn6")


def test_what_a_run_says_of_itself_is_kept(loaded):
    for name, size in (("baseline", 50), ("reduction-0.6", 20), ("noise-shuffle-0.2_reduction-0.2", 40)):
        at = loaded.arrays.sel(condition=name)
        np.testing.assert_array_equal(at.train_size, np.where(at.present, size, np.nan))
        np.testing.assert_array_equal(at.steps, np.where(at.present, 3, np.nan))
    assert (loaded.arrays.effective_noise.sel(condition="baseline", seed=1)) == 0
    assert (loaded.arrays.effective_noise.sel(condition="noise-shuffle-0.3", seed=2)) > 0
    assert loaded.arrays.noise_kind.sel(condition="noise-symmetric-0.2") == "symmetric"
    assert loaded.arrays.reduction_frac.sel(condition="reduction-0.6") == 0.6


def test_only_seeds_that_all_conditions_have_are_common(loaded):
    assert loaded.common_seeds("baseline") == [1, 2, 3, 4, 10]
    assert loaded.common_seeds("baseline", "noise-shuffle-0.1") == [2, 3, 4]
    assert loaded.common_seeds("noise-symmetric-0.2", "reduction-0.6", "noise-shuffle-0.3") == [4]
    assert loaded.common_seeds("noise-symmetric-0.2", "reduction-0.2-matched-steps") == []
    assert loaded.has("reduction-0.6")
    assert not loaded.has("reduction-0.9")
    with pytest.raises(KeyError, match=r"reduction-0\.9"):
        loaded.condition("reduction-0.9")


def test_a_series_is_the_baseline_and_rising_levels_of_one_stress(loaded):
    names = {kind: [c.name for c in loaded.series(kind)] for kind in ("shuffle", "symmetric", "reduction", "pair")}
    assert names == {
        "shuffle": ["baseline", "noise-shuffle-0.1", "noise-shuffle-0.2", "noise-shuffle-0.3"],
        "symmetric": ["baseline", "noise-symmetric-0.2"],
        "reduction": ["baseline", "reduction-0.2", "reduction-0.6"],
        "pair": [],
    }
    assert loaded.noise_kinds == ["shuffle", "symmetric"]


def test_a_series_rises_by_number_and_holds_nothing_that_differs_otherwise(tmp_path):
    matrix = shares([0.9, 0.8, 0.7])
    for frac in (0.15, 1.0, 0.05, 0.2, 1e-05, 0.1):
        write_run(tmp_path, WORLD, matrix, noise__frac=frac)
    write_run(tmp_path, WORLD, matrix)
    write_run(tmp_path, WORLD, matrix, "noise-shuffle-0.5_stratified")
    write_run(tmp_path, WORLD, matrix, "noise-shuffle-0.6", noise__classes=["ant"])
    write_run(tmp_path, WORLD, matrix, "noise-pair-0.7", noise__partner={"ant": "cow"})
    write_run(tmp_path, WORLD, matrix, "noise-shuffle-0.8_reduction-0.1")
    (found,), problems = load(tmp_path)
    assert problems == []
    assert [c.noise for c in found.series("shuffle")] == [0, 1e-05, 0.05, 0.1, 0.15, 0.2, 1.0]
    assert found.series("pair") == found.series("reduction") == []
    assert len(found.conditions) == 11


def test_without_a_baseline_there_is_no_series(tmp_path):
    write_plan(tmp_path, {name: PLAN[name] for name in ("noise-shuffle-0.1", "noise-shuffle-0.2")})
    (found,), _ = load(tmp_path)
    assert found.series("shuffle") == []
    results = analyse(found, resamples=100)
    assert (results.curves, results.fall, results.relative, results.costs) == ({}, {}, {}, ())
    assert set(results.recall) == {"noise-shuffle-0.1", "noise-shuffle-0.2"}


def test_a_directory_without_runs_is_no_study(tmp_path):
    assert load(tmp_path) == ([], [])
    assert load(tmp_path / "absent") == ([], [])


# What is not counted


def test_recipes_models_and_data_sets_are_never_mixed(tmp_path):
    variants: list[dict[str, Any]] = [
        {},
        {"model": "other"},
        {"data": "others"},
        {"training__epochs": 9},
        {"model__widths": [1]},
        {"data__flip": False},
        {"training__precision": "bf16-mixed"},
    ]
    for number, options in enumerate(variants):
        recalls = (0.3 + 0.1 * number,) * 3
        write_plan(tmp_path, {"baseline": (recalls, (1, 2)), "reduction-0.2": (recalls, (1,))}, **options)
    studies, problems = load(tmp_path)
    assert problems == []
    assert len(studies) == len({found.recipe for found in studies}) == len(variants)
    assert [found.recipe for found in studies] == sorted(found.recipe for found in studies)
    for found in studies:
        assert len(found.paths) == 3
        assert {path.parts[-3] for path in found.paths.values()} == {found.recipe}
    values = [float(analyse(found, resamples=100).accuracy[BASELINE].value) for found in studies]
    assert len(set(values)) == len(variants)

    assert {found.model for found in load(tmp_path, model="other")[0]} == {"other"}
    assert len(load(tmp_path, data="others")[0]) == 1
    assert load(tmp_path, data="foo") == ([], [])
    assert load(tmp_path, data="others", model="other") == ([], [])


def test_settings_that_change_nothing_do_not_set_runs_apart(tmp_path):
    for seed, options in enumerate([{}, {"training__threads": 8}, {"data__dir": "elsewhere"}, {"runs": "there"}]):
        write_run(tmp_path, WORLD, shares([0.9, 0.8, 0.7]), seed=seed, **options)
    (found,), problems = load(tmp_path)
    assert (found.seeds, problems) == ([0, 1, 2, 3], [])


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def edit(directory: Path, **values: Any) -> None:
    """Changes the record and makes its digests fit again, so that what it says is looked at, not that it changed."""
    path = directory / "result.json"
    record = json.loads(path.read_text()) | values
    del record["sha256"]
    record["arrays_sha256"] = hashlib.sha256((directory / "arrays.npz").read_bytes()).hexdigest()
    path.write_text(json.dumps(record | {"sha256": runs._digest(record)}))


def edit_identity(directory: Path, **values: Any) -> None:
    edit(directory, identity=json.loads((directory / "result.json").read_text())["identity"] | values)


def halve(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[: (run / name).stat().st_size // 2])


def pickled(run: Path) -> None:
    (run / "arrays.npz").write_bytes(pickle.dumps(Trap(run / "sprung")))


def objects(run: Path) -> None:
    with np.load(run / "arrays.npz") as stored:
        arrays = dict(stored)
    arrays["test_preds"] = np.array([Trap(run / "sprung")] * len(arrays["test_preds"]), object)
    np.savez(run / "arrays.npz", **arrays)


def swap_counts(run: Path) -> None:
    counts = json.loads((run / "result.json").read_text())["confusion"]
    counts[0], counts[1] = counts[1], counts[0]
    edit(run, confusion=counts)


def other_predictions(run: Path) -> None:
    with np.load(run / "arrays.npz") as stored:
        arrays = dict(stored)
    arrays["test_preds"] = np.zeros_like(arrays["test_preds"])
    np.savez(run / "arrays.npz", **arrays)


#: What is done to the run of the baseline with seed 3, and words of the reason.
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unfinished": (lambda run: (run / "result.json").unlink(), "not a complete run"),
    "empty directory": (lambda run: [path.unlink() for path in run.iterdir()], "not a complete run"),
    "empty result": (lambda run: (run / "result.json").write_text(""), "cannot be read"),
    "result cut short": (halve("result.json"), "cannot be read"),
    "no arrays": (lambda run: (run / "arrays.npz").unlink(), "arrays.npz"),
    "arrays cut short": (halve("arrays.npz"), "arrays.npz"),
    "a pickle for arrays": (pickled, "arrays.npz"),
    "a pickle inside the arrays": (objects, "arrays.npz"),
    "another schema": (lambda run: edit(run, schema=7), "schema 7"),
    "counts edited by hand": (swap_counts, "does not belong"),
    "predictions of another run": (other_predictions, "does not belong"),
    "another seed written in": (lambda run: edit_identity(run, seed=8), "belongs in"),
    "another stress written in": (
        lambda run: edit_identity(run, noise={"kind": "shuffle", "frac": 0.9, "classes": [], "partner": {}}),
        "belongs in",
    ),
    "the seed as text": (lambda run: edit_identity(run, seed="3"), "damaged"),
    "no noise audit": (lambda run: edit(run, noise={}), "damaged"),
    "noise in words": (lambda run: edit(run, noise={"effective": "much"}), "damaged"),
    "a size in words": (lambda run: edit(run, train_size="many"), "damaged"),
    "steps in a list": (lambda run: edit(run, steps=[1]), "damaged"),
    "names that are no words": (lambda run: edit(run, class_names=[1, 2, 3]), "damaged"),
    "a name twice": (lambda run: edit(run, class_names=["ant", "ant", "cow"]), "damaged"),
}


#: Damage to the arrays that their digest alone would find: it is made to fit, so that the next look is tested.
RESEALED = ("a pickle for arrays", "a pickle inside the arrays", "predictions of another run")


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_run_that_cannot_be_trusted_is_listed_and_not_counted(tmp_path, kind):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2, 3, 4)), "reduction-0.2": ((0.8, 0.7, 0.6), (3,))})
    (run,) = tmp_path.glob("*/baseline/seed-3")
    damage, words = DAMAGE[kind]
    damage(run)
    if kind in RESEALED:
        edit(run)
    (found,), problems = load(tmp_path)
    assert [problem.path for problem in problems] == [run]
    assert words in problems[0].reason
    assert found.common_seeds(BASELINE) == [1, 2, 4]
    assert len(found.paths) == 4
    assert not (run / "sprung").exists()
    assert found.common_seeds("reduction-0.2") == [3]


@pytest.mark.parametrize(
    "environment", [None, {}, [], {"versions": None}, {"versions": {"torch": 3}, "git_dirty": "x"}]
)
def test_an_environment_of_no_use_does_not_end_the_report(tmp_path, environment):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2))})
    (run,) = tmp_path.glob("*/baseline/seed-2")
    edit(run, environment=environment)
    (found,), problems = load(tmp_path)
    assert len(found.paths) + len(problems) == 2


def test_a_copy_or_a_link_does_not_count_twice(tmp_path):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2))})
    (recipe,) = tmp_path.iterdir()
    first = recipe / "baseline" / "seed-1"
    shutil.copytree(first, recipe / "baseline" / "seed-7")
    shutil.copytree(first, recipe / "reduction-0.2" / "seed-1")
    shutil.copytree(recipe, tmp_path / "copy-of-a-recipe")
    (recipe / "baseline" / "seed-8").symlink_to(first)
    (tmp_path / "link-to-a-recipe").symlink_to(recipe)
    (found,), problems = load(tmp_path)
    assert found.seeds == [1, 2]
    assert found.paths.keys() == {(BASELINE, 1), (BASELINE, 2)}
    # Three beside the runs themselves, four in the copy, and all five again behind the link.
    assert len(problems) == 3 + 4 + 5
    assert all("belongs in" in problem.reason or "counted already" in problem.reason for problem in problems)


def test_a_link_to_a_run_elsewhere_counts_once(tmp_path):
    write_plan(tmp_path / "elsewhere", {"baseline": ((0.9, 0.8, 0.7), (1,))})
    (recipe,) = (tmp_path / "elsewhere").iterdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / recipe.name).symlink_to(recipe)
    (found,), problems = load(tmp_path / "runs")
    assert (found.seeds, problems) == ([1], [])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_run_that_may_not_be_read_is_listed(tmp_path):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2))})
    (run,) = tmp_path.glob("*/baseline/seed-2")
    (run / "result.json").chmod(0)
    (found,), problems = load(tmp_path)
    assert (found.seeds, [problem.path for problem in problems]) == ([1], [run])


@pytest.mark.parametrize("seed", [1, 5])
@pytest.mark.parametrize("how", ["other images", "other classes", "fewer images"])
def test_a_run_on_another_test_set_does_not_drive_out_the_rest(tmp_path, seed, how):
    other = {
        "other images": replace(WORLD, root=1),
        "other classes": replace(WORLD, class_names=("ant", "bee", "dog")),
        "fewer images": replace(WORLD, per_class=20),
    }[how]
    matrix = shares([0.9, 0.8, 0.7])
    for number in range(1, 6):
        write_run(tmp_path, other if number == seed else WORLD, matrix, seed=number)
    (found,), problems = load(tmp_path)
    assert [problem.path.name for problem in problems] == [f"seed-{seed}"]
    assert "other classes or images" in problems[0].reason
    assert found.seeds == [number for number in range(1, 6) if number != seed]
    assert found.class_names == THREE


def test_runs_with_streams_of_their_own_are_set_aside(tmp_path):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2))})
    own = write_run(tmp_path, WORLD, shares([0.5] * 3), seed=1, streams__init=7)
    # A stream that has the run's own seed is no stream of its own.
    write_run(tmp_path, WORLD, shares([0.5] * 3), seed=3, streams__init=3)
    (found,), problems = load(tmp_path)
    assert problems == [Problem(own, problems[0].reason)]
    assert "init=7" in problems[0].reason
    assert found.seeds == [1, 2, 3]


def test_differences_between_the_runs_that_numbers_do_not_show_are_noted(tmp_path):
    write_plan(tmp_path, {"baseline": ((0.9, 0.8, 0.7), (1, 2))})
    assert load(tmp_path)[0][0].notes == ()
    (run,) = tmp_path.glob("*/baseline/seed-2")
    environment = json.loads((run / "result.json").read_text())["environment"]
    edit(
        run,
        environment=environment
        | {"device": "cuda", "precision": "bf16-mixed", "git_dirty": True, "versions": {"torch": "9.9"}},
    )
    notes = " ".join(load(tmp_path)[0][0].notes)
    for words in ("cpu, cuda", "32-true, bf16-mixed", "2.10.0, 9.9", "not committed"):
        assert words in notes


# Contrasts


CONTRASTS = [
    {BASELINE: 1.0},
    {BASELINE: 1.0, "noise-shuffle-0.1": -1.0},
    {"noise-shuffle-0.2": 2.0, "noise-shuffle-0.1": -1.0, "noise-shuffle-0.3": -1.0},
    {BASELINE: 0.0, "reduction-0.2": 1.0, "noise-symmetric-0.2": -1.0},
]


@pytest.mark.parametrize("weights", CONTRASTS, ids=lambda weights: " ".join(weights))
def test_a_contrast_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    seeds = [s for s in loaded.seeds if all((name, s) in files for name in weights)]
    expected = [
        [
            sum(w * recall_by_hand(*files[name, seed][1:], which) for name, w in weights.items())
            for which in range(len(THREE))
        ]
        for seed in seeds
    ]
    found = contrast(loaded, weights)
    np.testing.assert_allclose(found.per_seed, expected, atol=1e-12)
    np.testing.assert_allclose(found.value, np.mean(expected, axis=0), atol=1e-12)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    wider = contrast(loaded, weights, alpha=0.01)
    assert (wider.high - wider.low > found.high - found.low).all()

    accuracies = [
        sum(w * np.mean(np.array(files[name, seed][1]) == files[name, seed][2]) for name, w in weights.items())
        for seed in seeds
    ]
    overall = contrast(loaded, weights, overall=True)
    np.testing.assert_allclose(overall.per_seed, accuracies, atol=1e-12)
    assert float(overall.value) == pytest.approx(np.mean(accuracies))


def test_the_interval_of_a_contrast_is_that_of_its_images(loaded, files):
    seeds = [2, 3, 4]
    for which in range(3):
        inside = [k for k, true in enumerate(files[BASELINE, 2][1]) if true == which]
        values = np.array(
            [
                [(files[BASELINE, s][2][k] == which) - (files["noise-shuffle-0.1", s][2][k] == which) for k in inside]
                for s in seeds
            ]
        )
        reference = statistics.estimate(values / len(inside))
        found = contrast(loaded, {BASELINE: 1.0, "noise-shuffle-0.1": -1.0})[which]
        np.testing.assert_allclose([found.low, found.high, found.p], [reference.low, reference.high, reference.p])


def test_conditions_without_a_seed_in_common_cannot_be_compared(loaded):
    names = {"noise-symmetric-0.2": 1.0, "reduction-0.2-matched-steps": -1.0}
    with pytest.raises(ValueError, match=r"noise-symmetric-0\.2, reduction-0\.2-matched-steps"):
        contrast(loaded, names)
    with pytest.raises(ValueError, match="no seed"):
        cell_contrast(loaded, {(name, 0, 1): weight for name, weight in names.items()})
    with pytest.raises(ValueError, match="no seed"):
        relative_matrix(loaded, *names)


@pytest.mark.parametrize(
    "weights",
    [
        {(BASELINE, 0, 1): 1.0, (BASELINE, 1, 0): -1.0},
        {(BASELINE, 2, 1): 1.0, ("noise-shuffle-0.3", 2, 1): -0.5, ("noise-shuffle-0.3", 0, 0): 2.0},
        {("reduction-0.6", 1, 1): 1.0},
    ],
)
def test_a_contrast_of_cells_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    seeds = [s for s in loaded.seeds if all((name, s) in files for name, _, _ in weights)]
    expected = [sum(w * files[name, s][0][i][j] for (name, i, j), w in weights.items()) for s in seeds]
    found = cell_contrast(loaded, weights)
    np.testing.assert_allclose(found.per_seed, expected)
    assert float(found.value) == pytest.approx(np.mean(expected))
    assert found.low < found.value < found.high


# Results


def test_relative_matrices_are_the_mean_of_paired_differences(loaded, results, files):
    assert set(results.relative) == set(PLAN) - {BASELINE}
    for name, matrix in results.relative.items():
        seeds = [s for s in PLAN[BASELINE][1] if s in PLAN[name][1]]
        assert list(matrix.seeds) == seeds
        counts, baseline = (np.array([files[c, s][0] for s in seeds]) for c in (name, BASELINE))
        np.testing.assert_allclose(matrix.cells.value, confusion.relative(counts, baseline), atol=1e-9)
        np.testing.assert_allclose(matrix.cells.per_seed, counts - baseline, atol=1e-9)
        np.testing.assert_allclose(matrix.cells.value.sum(axis=1), 0, atol=1e-9)
        np.testing.assert_array_equal(matrix.marked, statistics.discoveries(matrix.cells.p, 0.05))
        if len(seeds) == 1:
            assert not matrix.marked.any()
            assert np.isnan(matrix.cells.low).all()
    assert results.relative["noise-shuffle-0.3"].marked[2, 2], "a fall from 70 to 40 % is seen"


def test_a_relative_matrix_between_two_conditions(loaded, files):
    matrix = relative_matrix(loaded, "noise-shuffle-0.2", "reduction-0.2")
    counts, other = (np.array([files[c, s][0] for s in (1, 2, 3, 4)]) for c in ("noise-shuffle-0.2", "reduction-0.2"))
    np.testing.assert_allclose(matrix.cells.value, (counts - other).mean(axis=0), atol=1e-9)


def test_recalls_accuracies_and_falls(loaded, results):
    for name in PLAN:
        plain, overall = contrast(loaded, {name: 1.0}), contrast(loaded, {name: 1.0}, overall=True)
        assert same(results.recall[name].value, plain.value)
        assert same(results.accuracy[name].value, overall.value)
        counts = loaded.counts_of(name)
        np.testing.assert_allclose(results.recall[name].value, confusion.recall(counts).mean(axis=0))
        np.testing.assert_allclose(results.accuracy[name].value, confusion.accuracy(counts).mean())
        for e in (results.recall[name], results.accuracy[name]):
            known = ~np.isnan(e.low)
            assert (e.low[known] >= 0).all()
            assert (e.high[known] <= 1).all()
    assert set(results.fall) == set(results.accuracy_fall) == set(PLAN) - {BASELINE}
    for name, fall in results.fall.items():
        assert same(fall, contrast(loaded, {BASELINE: 1.0, name: -1.0}))
        # A fall in recall and the diagonal cell of the relative matrix are one number.
        sizes = np.bincount(loaded.labels)
        np.testing.assert_allclose(-fall.value * sizes, np.diagonal(results.relative[name].cells.value), atol=1e-9)


def test_an_interval_of_a_share_stays_a_share(tmp_path):
    # Two seeds that differ: the t interval alone would reach far beyond 1.
    world = replace(WORLD, seed=0.6, image=0.2, taste=0.1)
    write_study(tmp_path, world, {BASELINE: shares([0.95, 0.9, 0.05])}, (1, 2))
    (found,), _ = load(tmp_path)
    assert (contrast(found, {BASELINE: 1.0}).high > 1).any()
    results = analyse(found, resamples=100)
    assert results.recall[BASELINE].high.max() == 1
    assert results.recall[BASELINE].low.min() >= 0


def test_slopes_are_those_of_polyfit_over_all_levels(loaded, results, files):
    levels = {"shuffle": [0, 0.1, 0.2, 0.3], "symmetric": [0, 0.2], "reduction": [0, 0.2, 0.6]}
    seeds = {"shuffle": (2, 3, 4), "symmetric": (3, 4), "reduction": (2, 4)}
    assert list(results.curves) == list(levels)
    for kind, curve in results.curves.items():
        np.testing.assert_array_equal(curve.levels, levels[kind])
        assert curve.seeds == seeds[kind]
        for at, seed in enumerate(curve.seeds):
            for which in range(3):
                y = [recall_by_hand(*files[c.name, seed][1:], which) for c in curve.conditions]
                assert curve.slope.per_seed[at, which] == pytest.approx(np.polyfit(curve.levels, y, 1)[0])
        assert len(curve.knees) == 3
        assert all(np.isnan(k.p) for k in curve.knees), "four levels are too few for a knee"
        assert curve.ranks is not None
        np.testing.assert_allclose([curve.ranks.sum(axis=0), curve.ranks.sum(axis=1)], 1)
    assert results.curves["shuffle"].slope.value[2] == results.curves["shuffle"].slope.value.min()
    assert results.curves["shuffle"].ranks[2, 0] > 0.5, "cow falls most"


@pytest.mark.parametrize("seeds", [(3,), (7, 8), ()], ids=["one seed", "other seeds", "none in common"])
def test_a_level_with_few_seeds_does_not_take_the_seeds_from_the_others(tmp_path, seeds):
    whole = {
        name: (recalls, (1, 2, 3, 4)) for name, (recalls, _) in PLAN.items() if "shuffle-0." in name and "_" not in name
    }
    few = {"noise-shuffle-0.4": ((0.6, 0.6, 0.3), seeds or (9,))}
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2, 3, 4, 7, 8)), **whole, **few})
    (found,), _ = load(tmp_path)
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
        plan[f"noise-shuffle-{level}" if level else BASELINE] = shares(recalls)
    write_study(tmp_path, world, plan)
    (found,), _ = load(tmp_path)
    knees = analyse(found, resamples=400).curves["shuffle"].knees
    assert knees[1].low <= 0.3 <= knees[1].high
    assert knees[1].slope_after < knees[1].slope_before - 1
    assert np.isnan([knees[0].level, knees[2].level]).all()


def test_directions_are_cells_against_their_mirror_images(loaded, results, files):
    for name, direction in results.direction.items():
        seeds = PLAN[name][1]
        np.testing.assert_array_equal(direction.pairs, list(combinations(range(3), 2)))
        for at, (i, j) in enumerate(direction.pairs):
            expected = [files[name, s][0][i][j] - files[name, s][0][j][i] for s in seeds]
            np.testing.assert_allclose(direction.difference.per_seed[:, at], expected)
        total = np.sum([files[name, s][0] for s in seeds], axis=0)
        off = [(total[i, j], total[j, i]) for i, j in combinations(range(3), 2)]
        assert direction.asymmetry == pytest.approx(sum(abs(a - b) for a, b in off) / sum(a + b for a, b in off))
        np.testing.assert_array_equal(direction.marked, statistics.discoveries(direction.difference.p, 0.05))


def test_less_data_and_being_misled_add_up_to_the_fall_on_the_same_seeds(results, files):
    costs = {cost.noise.name: cost for cost in results.costs}
    assert set(costs) == {"noise-shuffle-0.2", "noise-symmetric-0.2"}
    for name, cost in costs.items():
        assert cost.control.name == "reduction-0.2"
        seeds = [s for s in PLAN[BASELINE][1] if s in PLAN[name][1] and s in PLAN["reduction-0.2"][1]]
        assert list(cost.seeds) == seeds
        for which in range(3):
            falls = [
                recall_by_hand(*files[BASELINE, s][1:], which) - recall_by_hand(*files[name, s][1:], which)
                for s in seeds
            ]
            total = cost.less_data.per_seed[:, which] + cost.misled.per_seed[:, which]
            np.testing.assert_allclose(total, falls, atol=1e-12)
            assert cost.less_data.value[which] + cost.misled.value[which] == pytest.approx(np.mean(falls))
        accuracy = [
            [np.mean(np.array(files[c, s][1]) == files[c, s][2]) for s in seeds]
            for c in (BASELINE, "reduction-0.2", name)
        ]
        np.testing.assert_allclose(cost.overall_less_data.per_seed, np.subtract(accuracy[0], accuracy[1]), atol=1e-12)
        np.testing.assert_allclose(cost.overall_misled.per_seed, np.subtract(accuracy[1], accuracy[2]), atol=1e-12)
        balance = cost.overall_misled.per_seed - cost.overall_less_data.per_seed
        np.testing.assert_allclose(cost.overall_balance.per_seed, balance, atol=1e-12)


def test_the_same_runs_and_seed_give_the_same_numbers_to_the_last_bit(root, results):
    (again,), _ = load(root)
    assert same(analyse(again, resamples=200), results)
    other = analyse(again, resamples=200, seed=1)
    assert not same(other.curves["shuffle"].ranks, results.curves["shuffle"].ranks)
    assert same(other.relative, results.relative), "only ranks and knees are drawn"


def test_adding_runs_of_one_stress_leaves_the_numbers_of_another_alone(tmp_path, results):
    write_plan(tmp_path)
    write_plan(tmp_path, {f"noise-pair-{x}": ((0.8, 0.7, 0.6), (1, 2, 3, 4)) for x in (0.1, 0.2)})
    (more,), _ = load(tmp_path)
    later = analyse(more, resamples=200)
    assert list(later.curves) == ["shuffle", "pair", "symmetric", "reduction"]
    for kind, curve in results.curves.items():
        assert same(later.curves[kind], curve), kind


def test_one_seed_gives_values_and_no_more(tmp_path):
    plan = {f"noise-shuffle-{x}": ((0.9 - x, 0.8, 0.7), (4,)) for x in (0.1, 0.2, 0.3, 0.4, 0.5)}
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (4,)), "reduction-0.2": ((0.8, 0.7, 0.6), (4,)), **plan})
    (found,), _ = load(tmp_path)
    results = analyse(found, resamples=100)
    for e in (
        results.recall[BASELINE],
        results.fall["reduction-0.2"],
        results.curves["shuffle"].slope,
        results.costs[0].misled,
        results.relative["reduction-0.2"].cells,
        results.direction[BASELINE].difference,
    ):
        assert np.isfinite(e.value).all()
        assert np.isnan([e.low, e.high, e.p]).all()
    assert results.curves["shuffle"].ranks is None
    assert not results.relative["reduction-0.2"].marked.any()
    assert not results.direction[BASELINE].marked.any()
    assert np.isnan([knee.level for knee in results.curves["shuffle"].knees]).all(), "one seed has no interval"


def test_a_class_without_test_images_is_unknown_and_harms_no_other(tmp_path):
    plan = {
        BASELINE: shares([0.9, 0.8, 0.7]),
        **{f"noise-shuffle-{x}": shares([0.9 - x, 0.8 - x, 0.7]) for x in (0.1, 0.2, 0.3, 0.4)},
        "reduction-0.2": shares([0.8, 0.7, 0.6]),
    }
    write_study(tmp_path / "hole", replace(WORLD, per_class=(40, 0, 50)), plan, (1, 2, 3))
    (found,), problems = load(tmp_path / "hole")
    assert problems == []
    results = analyse(found, resamples=100)
    curve = results.curves["shuffle"]
    for e in (results.recall[BASELINE], results.fall["noise-shuffle-0.1"], curve.slope, results.costs[0].less_data):
        assert np.isnan([e.value[1], e.low[1], e.high[1]]).all()
        assert np.isfinite(e.value[[0, 2]]).all()
    assert np.isnan(curve.knees[1].level)
    np.testing.assert_array_equal(results.relative["noise-shuffle-0.1"].cells.value[1], 0)
    assert not results.relative["noise-shuffle-0.4"].marked[1].any()
    assert np.isfinite(results.accuracy[BASELINE].value)
    # The class that is not there is no rival: the two others share the first two ranks.
    np.testing.assert_allclose(np.delete(curve.ranks, 1, axis=0)[:, :2].sum(axis=1), 1)


def test_ten_classes_and_their_names(tmp_path):
    write_study(
        tmp_path, World(CIFAR10, 20), {BASELINE: shares([0.8] * 10), "reduction-0.2": shares([0.7] * 10)}, (0, 1)
    )
    (found,), _ = load(tmp_path)
    assert found.seeds == [0, 1], "seed 0 is a seed like any other"
    cell = found.arrays.counts.sel(condition=BASELINE, seed=0, true="cat", predicted="dog")
    np.testing.assert_array_equal(cell, found.counts_of(BASELINE, [0])[0, 3, 5])


def test_one_run_is_a_study(tmp_path):
    record = make_record(WORLD, shares([0.9, 0.8, 0.7]), {"noise.frac": 0.1})
    write_record(tmp_path, record)
    (found,), problems = study.load(tmp_path)
    assert problems == []
    results = sensitivity.analyse(found, resamples=100)
    np.testing.assert_allclose(results.recall["noise-shuffle-0.1"].value, confusion.recall(record.counts))
