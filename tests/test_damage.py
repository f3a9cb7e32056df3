"""Hundreds of damaged run directories: never counted, always named, done again where that is possible."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from test_training import InterruptAt, Interrupted, assert_same_result, directory_of, trained

from class_sensitivity import runs, study
from class_sensitivity.errors import UserError
from class_sensitivity.identity import identity
from class_sensitivity.runs import RunRecord
from class_sensitivity.sweep import State, look
from class_sensitivity.training import train_job

pytestmark = pytest.mark.skipif(os.name != "posix", reason="makes links")

DAMAGED = 300
TRAINED_AGAIN = 40

#: Seeds of runs that nothing happens to, of the baseline and under noise.
WHOLE = range(901, 906)


def either(rng: random.Random, directory: Path) -> Path:
    return directory / rng.choice(["result.json", "arrays.npz"])


def cut(rng: random.Random, directory: Path, other: Path) -> None:
    path = either(rng, directory)
    os.truncate(path, rng.randrange(path.stat().st_size))


def flip(rng: random.Random, directory: Path, other: Path) -> None:
    path = either(rng, directory)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 2, 50])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def remove(rng: random.Random, directory: Path, other: Path) -> None:
    (directory / "arrays.npz").unlink()


def empty(rng: random.Random, directory: Path, other: Path) -> None:
    either(rng, directory).write_bytes(b"")


def link_file(rng: random.Random, directory: Path, other: Path) -> None:
    path = either(rng, directory)
    path.unlink()
    path.symlink_to(rng.choice([directory / "nowhere", other / path.name, path]))


def make_folder(rng: random.Random, directory: Path, other: Path) -> None:
    path = either(rng, directory)
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def place_file(rng: random.Random, directory: Path, other: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("in the way")


def link_nowhere(rng: random.Random, directory: Path, other: Path) -> None:
    shutil.rmtree(directory)
    directory.symlink_to(rng.choice([directory.with_name("nowhere"), directory]))


def link_other(rng: random.Random, directory: Path, other: Path) -> None:
    shutil.rmtree(directory)
    directory.symlink_to(other)


def foreign_file(rng: random.Random, directory: Path, other: Path) -> None:
    path = either(rng, directory)
    shutil.copyfile(other / path.name, path)


def foreign_files(rng: random.Random, directory: Path, other: Path) -> None:
    for name in ("result.json", "arrays.npz"):
        shutil.copyfile(other / name, directory / name)


def litter(rng: random.Random, directory: Path, other: Path) -> None:
    """An unfinished run with everything that can be wrong beside it."""
    (directory / "result.json").unlink()
    (directory / "last.ckpt").write_bytes(rng.randbytes(rng.choice([0, 10, 5000])))
    (directory / "failed.json").write_bytes(rng.randbytes(20))


Damage = Callable[[random.Random, Path, Path], None]
KINDS: tuple[Damage, ...] = (
    *(cut, cut, flip, flip, remove, empty, link_file, link_file, make_folder),
    *(place_file, link_nowhere, link_other, foreign_file, foreign_files, litter),
)


@dataclass(frozen=True)
class Tree:
    """Run directories, most of them damaged."""

    root: Path
    record: RunRecord
    damage: dict[Path, Damage]
    whole: list[Path]

    def config(self, directory: Path) -> dict[str, Any]:
        config = deepcopy(self.record.config)
        return config | {"runs": str(self.root), "seed": int(directory.name.removeprefix("seed-"))}


def store(root: Path, record: RunRecord, seed: int, noise: float = 0.0) -> Path:
    """Writes a genuine record as that of another run; its arrays are like no other's."""
    config = deepcopy(record.config) | {"seed": seed, "runs": str(root)}
    config["noise"]["frac"] = noise
    arrays = record.arrays | {"test_probabilities": record.arrays["test_probabilities"] / np.float16(1 + seed / 999)}
    own = replace(record, config=config, identity=identity(config), arrays=arrays)
    directory = directory_of(config)
    directory.mkdir(parents=True)
    runs.write(own, directory)
    return directory


@pytest.fixture
def tree(genuine, tmp_path, monkeypatch) -> Tree:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    root, rng = tmp_path / "runs", random.Random(300)
    whole = [store(root, genuine, seed, noise) for seed in WHOLE for noise in (0.0, 0.2)]
    damaged = [store(root, genuine, seed) for seed in range(1, DAMAGED + 1)]
    damage = {directory: KINDS[number % len(KINDS)] for number, directory in enumerate(damaged)}
    for directory, kind in damage.items():
        kind(rng, directory, rng.choice(whole))
    return Tree(root, genuine, damage, whole)


@pytest.fixture(scope="module")
def genuine(compose_config, tmp_path_factory) -> RunRecord:
    return trained(compose_config("training.epochs=1", f"runs={tmp_path_factory.mktemp('genuine')}"))


def contents(paths: list[Path]) -> dict[Path, bytes]:
    return {path / name: (path / name).read_bytes() for path in paths for name in ("result.json", "arrays.npz")}


def harmless(tree: Tree, directory: Path) -> bool:
    """Whether what the damage left says the same: 1e-05 may turn into 1E-05."""
    if tree.damage[directory] is not flip or not runs.is_complete(directory):
        return False
    read = runs.read(directory)
    return replace(read, config={}, identity={}) == replace(tree.record, config={}, identity={})


def test_no_damaged_run_is_counted_and_each_is_named(tree):
    before = contents(tree.whole)
    (found,), problems = study.load(tree.root)
    fine = {path for path in tree.damage if harmless(tree, path)}
    assert len(fine) <= 2
    counted = sum(len(found.common_seeds(condition.name)) for condition in found.conditions)
    assert counted == len(tree.whole) + len(fine)
    named = {problem.path: problem.reason for problem in problems}
    assert len(problems) == len(tree.damage) - len(fine) == len(named)
    # Of a run and a link to it one is counted, and the other is the one that is named.
    once = {path for path, kind in tree.damage.items() if kind is link_other}
    assert set(tree.damage) - fine - once <= set(named)
    for path, reason in named.items():
        assert str(path) in reason, reason
        assert "Traceback" not in reason
    assert contents(tree.whole) == before


def test_the_report_on_damaged_runs_is_made(tree, tmp_path):
    done = subprocess.run(
        [sys.executable, "analyze.py", f"runs={tree.root}", f"out={tmp_path / 'report'}", "resamples=100"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    page = (tmp_path / "report" / "index.html").read_text()
    broken = [path for path, kind in tree.damage.items() if kind is not link_other and not harmless(tree, path)]
    summary = (tmp_path / "report" / "summary.md").read_text()
    assert all(f"{path.name}" in page + summary for path in broken)


def test_a_look_never_takes_a_damaged_run_for_a_complete_one(tree):
    states = {
        path: look(path).state
        for path, kind in tree.damage.items()
        if kind is not link_other and not harmless(tree, path)
    }
    # A link to itself cannot be read, one to nowhere is as nothing.
    bad, odd = {State.DAMAGED}, {State.FAILED, State.MISSING}
    unfinished = {place_file: {State.FAILED}, link_nowhere: odd, litter: {State.FAILED}}
    for path, state in states.items():
        assert state in unfinished.get(tree.damage[path], bad), tree.damage[path].__name__
    assert {look(path).state for path in tree.whole} == {State.COMPLETE}


def test_training_on_damaged_places_mends_or_refuses_and_harms_nobody(tree):
    before = contents(tree.whole)
    rest = list(tree.damage)[TRAINED_AGAIN:]
    seen = {path: look(path) for path in rest}
    refused = set()
    for directory in list(tree.damage)[:TRAINED_AGAIN]:
        try:
            assert train_job(tree.config(directory), alone=False) == directory
        except UserError as error:
            if str(directory) not in str(error):
                raise
            refused.add(tree.damage[directory])
        else:
            assert runs.is_complete(directory)
            left = {path.name for path in directory.iterdir() if not path.name.startswith("events.")}
            assert left == {"result.json", "arrays.npz"}
    # Whatever stands in the place of the directory itself is the user's to remove.
    assert refused == {place_file, link_nowhere, link_other}
    assert contents(tree.whole) == before
    assert {path: look(path) for path in rest} == seen


def test_a_damaged_checkpoint_never_changes_a_result(compose_config, tmp_path):
    config = compose_config("reduction.frac=0.5", "noise.frac=0.2", f"runs={tmp_path / 'whole'}")
    whole = trained(config)
    config = compose_config("reduction.frac=0.5", "noise.frac=0.2", f"runs={tmp_path / 'runs'}")
    directory = directory_of(config)
    with pytest.raises(Interrupted):
        trained(config, InterruptAt("on_train_epoch_start", lambda trainer: trainer.current_epoch == 1))
    unfinished = tmp_path / "unfinished"
    directory.rename(unfinished)
    rng = random.Random(12)
    for number in range(14):
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(unfinished, directory)
        checkpoint = directory / "last.ckpt"
        content = bytearray(checkpoint.read_bytes())
        if number % 7 == 0:
            content = content[: rng.randrange(len(content))]
        elif number % 7 == 1:
            content[rng.randrange(len(content)) :] = rng.randbytes(100)
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        checkpoint.write_bytes(content)
        assert_same_result(trained(config), whole)
