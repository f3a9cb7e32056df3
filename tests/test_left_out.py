"""Run directories that cannot be trusted or do not fit: they are named, and not counted."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.plans import WORLD, load_one, write_plan
from support.synthetic import THREE, shares, write_run

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.compared_models import models_of_one_data_set
from class_sensitivity.analysis.loading import LeftOut, load_runs
from class_sensitivity.runs import directory as run_directory
from class_sensitivity.runs.condition import BASELINE


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
    path.write_text(json.dumps(record | {"sha256": run_directory._digest(record)}))


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
    "a folder for a result": (
        lambda run: ((run / "result.json").unlink(), (run / "result.json").mkdir()),
        "result.json cannot be read (Is a directory)",
    ),
    "no arrays": (lambda run: (run / "arrays.npz").unlink(), "arrays.npz"),
    "arrays cut short": (halve("arrays.npz"), "arrays.npz"),
    "a pickle for arrays": (pickled, "arrays.npz"),
    "a pickle inside the arrays": (objects, "arrays.npz"),
    "another schema": (lambda run: edit(run, schema=7), "schema 7"),
    "counts edited by hand": (swap_counts, "does not belong"),
    "predictions of another run": (other_predictions, "does not belong"),
    "another seed written in": (lambda run: edit_identity(run, seed=8), "belongs in"),
    "another stress written in": (
        lambda run: edit_identity(run, condition=asdict(noise(0.9))),
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
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2, 3, 4)), reduction(0.2): ((0.8, 0.7, 0.6), (3,))})
    (run,) = tmp_path.glob("*/baseline/seed-3")
    damage, words = DAMAGE[kind]
    damage(run)
    if kind in RESEALED:
        edit(run)
    runs = load_runs(tmp_path)
    (found,) = runs
    assert [each.path for each in runs.left_out] == [run]
    assert words in runs.left_out[0].reason
    assert "remove" not in runs.left_out[0].reason
    assert found.common_seeds(BASELINE) == [1, 2, 4]
    assert len(found.directories) == 4
    assert not (run / "sprung").exists()
    assert found.common_seeds(reduction(0.2)) == [3]


@pytest.mark.parametrize(
    "environment", [None, {}, [], {"versions": None}, {"versions": {"torch": 3}, "git_dirty": "x"}]
)
def test_a_run_with_an_environment_of_no_use_is_left_out(tmp_path, environment):
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2))})
    (run,) = tmp_path.glob("*/baseline/seed-2")
    edit(run, environment=environment)
    runs = load_runs(tmp_path)
    (found,) = runs
    assert found.seeds == [1]
    assert [each.path for each in runs.left_out] == [run]
    assert "damaged" in runs.left_out[0].reason


def test_a_copy_or_a_link_does_not_count_twice(tmp_path):
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2))})
    (recipe,) = tmp_path.iterdir()
    first = recipe / "baseline" / "seed-1"
    shutil.copytree(first, recipe / "baseline" / "seed-7")
    shutil.copytree(first, recipe / "reduction-0.2" / "seed-1")
    shutil.copytree(recipe, tmp_path / "copy-of-a-recipe")
    (recipe / "baseline" / "seed-8").symlink_to(first)
    (tmp_path / "link-to-a-recipe").symlink_to(recipe)
    runs = load_runs(tmp_path)
    (found,) = runs
    assert found.seeds == [1, 2]
    assert found.directories.keys() == {(BASELINE, 1), (BASELINE, 2)}
    # Three beside the runs themselves, four in the copy, and all five again behind the link.
    assert len(runs.left_out) == 3 + 4 + 5
    assert all("belongs in" in each.reason or "counted already" in each.reason for each in runs.left_out)


def test_a_link_to_a_run_elsewhere_counts_once(tmp_path):
    write_plan(tmp_path / "elsewhere", {BASELINE: ((0.9, 0.8, 0.7), (1,))})
    (recipe,) = (tmp_path / "elsewhere").iterdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / recipe.name).symlink_to(recipe)
    assert load_one(tmp_path / "runs").seeds == [1]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_run_that_may_not_be_read_is_listed(tmp_path):
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2))})
    (run,) = tmp_path.glob("*/baseline/seed-2")
    (run / "result.json").chmod(0)
    runs = load_runs(tmp_path)
    (found,) = runs
    assert (found.seeds, [each.path for each in runs.left_out]) == ([1], [run])


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
    runs = load_runs(tmp_path)
    (found,) = runs
    assert [each.path.name for each in runs.left_out] == [f"seed-{seed}"]
    assert "other classes or images" in runs.left_out[0].reason
    assert found.seeds == [number for number in range(1, 6) if number != seed]
    assert found.class_names == THREE


def test_runs_with_several_streams_of_their_own_are_set_aside(tmp_path):
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2))})
    own = write_run(tmp_path, WORLD, shares([0.5] * 3), seed=1, streams__init=7, streams__order=8)
    # A stream that has the run's own seed is no stream of its own.
    write_run(tmp_path, WORLD, shares([0.5] * 3), seed=3, streams__init=3)
    runs = load_runs(tmp_path)
    (found,) = runs
    assert runs.left_out == (LeftOut(own, runs.left_out[0].reason),)
    assert "init=7, order=8" in runs.left_out[0].reason
    assert found.seeds == [1, 2, 3]


def test_runs_that_hold_a_stream_are_a_study_of_the_same_family(tmp_path):
    for seed in (1, 2, 3):
        write_run(tmp_path, WORLD, shares([0.5] * 3), seed=seed)
    for seed in (4, 5):
        write_run(tmp_path, WORLD, shares([0.5] * 3), seed=seed, streams__init=9)
    write_run(tmp_path, WORLD, shares([0.5] * 3), seed=1, model__name="lenet")
    plain, held, other = load_runs(tmp_path)
    assert (plain.held, held.held, held.recipe) == ("", "init-9", f"{plain.recipe}_init-9")
    assert plain.family == held.family != other.family
    # What can be compared with other models is the larger of the two.
    assert models_of_one_data_set([plain, held, other]) == [(plain, other)]


def test_differences_between_the_runs_that_numbers_do_not_show_are_noted(tmp_path):
    write_plan(tmp_path, {BASELINE: ((0.9, 0.8, 0.7), (1, 2))})
    assert load_one(tmp_path).notes == ()
    (run,) = tmp_path.glob("*/baseline/seed-2")
    environment = json.loads((run / "result.json").read_text())["environment"]
    edit(
        run,
        environment=environment
        | {"device": "cuda", "precision": "bf16-mixed", "git_dirty": True, "versions": {"torch": "9.9"}},
    )
    notes = " ".join(load_one(tmp_path).notes)
    for words in ("cpu, cuda", "32-true, bf16-mixed", "2.10.0, 9.9", "not committed"):
        assert words in notes
