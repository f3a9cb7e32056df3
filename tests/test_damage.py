"""Many damaged run directories: never counted, always named, done again where that is possible."""

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import pytorch_lightning as pl
from support.commands import analyze
from support.records import at
from support.same_bits import assert_same_result
from support.training import trained

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.errors import UserError
from class_sensitivity.runs.directory import is_complete, read_record, write_record
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.runs.status import State, read_status
from class_sensitivity.settings import TrainSettings
from class_sensitivity.training.run import train_job

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="makes links")]

DAMAGED = 150  # ten times in each way
TRAINED_AGAIN = 30

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
    settings: TrainSettings
    record: RunRecord
    damage: dict[Path, Damage]
    whole: list[Path]

    def run(self, directory: Path) -> Run:
        """The run that belongs into one of the damaged directories."""
        return at(self.settings, self.root, seed=int(directory.name.removeprefix("seed-")))


def store(run: Run, record: RunRecord) -> Path:
    """Writes a genuine record as that of another run; its arrays are like no other's."""
    scaled = record.arrays["test_probabilities"] / np.float16(1 + run.identity.seed / 999)
    arrays = {**record.arrays, "test_probabilities": scaled}
    run.directory.mkdir(parents=True)
    own = replace(record, config=asdict(run.settings), identity=run.identity, arrays=arrays)
    write_record(own, run.directory)
    return run.directory


@pytest.fixture(scope="module")
def settings(compose_settings) -> TrainSettings:
    return compose_settings("training.epochs=1")


@pytest.fixture(scope="module")
def genuine(settings, tmp_path_factory) -> RunRecord:
    return trained(at(settings, tmp_path_factory.mktemp("genuine")))


def make_tree(root: Path, settings: TrainSettings, genuine: RunRecord) -> Tree:
    rng = random.Random(300)
    whole = [store(at(settings, root, seed=s, noise__frac=frac), genuine) for s in WHOLE for frac in (0.0, 0.2)]
    damaged = [store(at(settings, root, seed=seed), genuine) for seed in range(1, DAMAGED + 1)]
    damage = {directory: KINDS[number % len(KINDS)] for number, directory in enumerate(damaged)}
    for directory, kind in damage.items():
        kind(rng, directory, rng.choice(whole))
    return Tree(root, settings, genuine, damage, whole)


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with mock.patch.object(os, "fsync", return_value=None):
        yield


@pytest.fixture(scope="module")
def tree(settings, genuine, tmp_path_factory) -> Tree:
    """For tests that only read it."""
    return make_tree(tmp_path_factory.mktemp("tree") / "runs", settings, genuine)


def contents(paths: list[Path]) -> dict[Path, bytes]:
    return {path / name: (path / name).read_bytes() for path in paths for name in ("result.json", "arrays.npz")}


def harmless(tree: Tree, directory: Path) -> bool:
    """Whether what the damage left says the same: 1e-05 may turn into 1E-05."""
    if tree.damage[directory] is not flip or not is_complete(directory):
        return False
    return replace(read_record(directory), config={}, identity=tree.record.identity) == replace(tree.record, config={})


def test_no_damaged_run_is_counted_and_each_is_named(tree):
    before = contents(tree.whole)
    loaded = load_runs(tree.root)
    (study,) = loaded
    fine = {path for path in tree.damage if harmless(tree, path)}
    assert len(fine) <= 2
    counted = sum(len(study.common_seeds(condition)) for condition in study.conditions)
    assert counted == len(tree.whole) + len(fine)
    named = {left_out.path: left_out.reason for left_out in loaded.left_out}
    assert len(loaded.left_out) == len(tree.damage) - len(fine) == len(named)
    # Of a run and a link to it one is counted, and the other is the one that is named.
    once = {path for path, kind in tree.damage.items() if kind is link_other}
    assert set(tree.damage) - fine - once <= set(named)
    for path, reason in named.items():
        assert str(path) in reason, reason
        assert "Traceback" not in reason
    assert contents(tree.whole) == before


def test_the_report_on_damaged_runs_is_made(tree, tmp_path):
    done = analyze(f"runs={tree.root}", f"out={tmp_path / 'report'}", "resamples=100")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    page, summary = ((tmp_path / "report" / name).read_text() for name in ("index.html", "summary.md"))
    broken = {path for path, kind in tree.damage.items() if kind is not link_other and not harmless(tree, path)}
    assert {path.name for path in broken} <= set(re.findall(r"seed-\d+", page + summary))


def test_the_status_of_a_damaged_run_is_never_complete(tree):
    states = {
        path: read_status(path).state
        for path, kind in tree.damage.items()
        if kind is not link_other and not harmless(tree, path)
    }
    # A link to itself cannot be read, one to nowhere is as nothing.
    bad, odd = {State.DAMAGED}, {State.FAILED, State.MISSING}
    unfinished = {place_file: {State.FAILED}, link_nowhere: odd, litter: {State.FAILED}}
    for path, state in states.items():
        assert state in unfinished.get(tree.damage[path], bad), tree.damage[path].__name__
    assert {read_status(path).state for path in tree.whole} == {State.COMPLETE}


def test_training_on_damaged_places_mends_or_refuses_and_harms_nobody(settings, genuine, tmp_path):
    tree = make_tree(tmp_path / "runs", settings, genuine)
    before = contents(tree.whole)
    rest = list(tree.damage)[TRAINED_AGAIN:]
    seen = {path: read_status(path) for path in rest}
    refused = set()
    for directory in list(tree.damage)[:TRAINED_AGAIN]:
        try:
            assert train_job(tree.run(directory), show_progress=False) == directory
        except UserError as error:
            if str(directory) not in str(error):
                raise
            refused.add(tree.damage[directory])
        else:
            assert is_complete(directory)
            left = {path.name for path in directory.iterdir() if not path.name.startswith("events.")}
            assert left == {"result.json", "arrays.npz"}
    # Whatever stands in the place of the directory itself is the user's to remove.
    assert refused == {place_file, link_nowhere, link_other}
    assert contents(tree.whole) == before
    assert {path: read_status(path) for path in rest} == seen


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


class InterruptSecondEpoch(pl.Callback):
    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise Interrupted


def test_a_damaged_checkpoint_never_changes_a_result(compose_settings, tmp_path):
    settings = compose_settings("reduction.frac=0.5", "noise.frac=0.2")
    whole, run = trained(at(settings, tmp_path / "whole")), at(settings, tmp_path / "runs")
    directory = run.directory
    with pytest.raises(Interrupted):
        trained(run, InterruptSecondEpoch())
    assert (directory / "last.ckpt").exists()
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
        assert_same_result(trained(run), whole)
