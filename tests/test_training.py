"""One run after another on the digits: repeatable to the bit, resumable, skipped when complete."""

import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from support.records import made_up_record
from support.same_bits import assert_same_result
from support.training import ALL_CHANCE, trained

from class_sensitivity.errors import ConfigError, RunError
from class_sensitivity.runs.directory import is_complete, read_failure, read_record
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import STREAMS
from class_sensitivity.training import recording, setup
from class_sensitivity.training.progress import RunProgress
from class_sensitivity.training.run import train_job


class EpochCount(pl.Callback):
    """Counts the epochs that are really trained."""

    def __init__(self) -> None:
        self.trained = 0

    def on_train_epoch_end(self, *_: Any) -> None:
        self.trained += 1


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


class InterruptAt(pl.Callback):
    """Raises at a hook when a condition on the trainer holds."""

    def __init__(self, hook: str, when: Callable[[pl.Trainer], bool]) -> None:
        def strike(trainer: pl.Trainer, *_: Any) -> None:
            if when(trainer):
                raise Interrupted

        setattr(self, hook, strike)


# Repeatable


def test_a_run_is_the_same_alone_after_another_and_repeated(make_run, tmp_path):
    alone = trained(make_run("seed=3", *ALL_CHANCE))
    # A second run of a sweep finds the process as the first one left it, or worse.
    trained(make_run("seed=1", "training.epochs=1", f"runs={tmp_path / 'sweep'}"))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    torch.set_num_threads(2)
    second = make_run("seed=3", *ALL_CHANCE, f"runs={tmp_path / 'sweep'}")
    assert_same_result(trained(second), alone)
    again = make_run("seed=3", *ALL_CHANCE, "rerun=true")
    assert_same_result(trained(again), alone)


def test_two_threads_are_repeatable_too(make_run, tmp_path):
    settings = ("training.threads=2", "training.epochs=1", "reduction.frac=0.8")
    one, other = (make_run(*settings, f"runs={tmp_path / name}") for name in ("one", "other"))
    assert_same_result(trained(one), trained(other))


def test_looking_at_a_run_does_not_change_its_result(make_run, tmp_path):
    plain = trained(make_run())
    for name in ("test_every_epoch=false", "keep_checkpoint=true"):
        place = tmp_path / name.partition("=")[0]
        watched = make_run(f"training.{name}", f"runs={place}")
        assert watched.directory.relative_to(place) == make_run().directory.relative_to(tmp_path / "runs")
        record = trained(watched)
        assert record.confusion == plain.confusion
        np.testing.assert_array_equal(record.arrays["test_probabilities"], plain.arrays["test_probabilities"])
        assert (watched.directory / "last.ckpt").exists() == watched.settings.training.keep_checkpoint


def test_seed_0_is_not_seed_1(make_run):
    zero, one = (trained(make_run(f"seed={seed}", "noise.frac=0.2", "training.epochs=1")) for seed in (0, 1))
    assert not np.array_equal(zero.arrays["test_probabilities"], one.arrays["test_probabilities"])
    assert not np.array_equal(zero.arrays["train_touched"], one.arrays["train_touched"])


@pytest.fixture
def fixed_streams() -> list[str]:
    return [f"streams.{name}=5" for name in STREAMS]


def test_with_every_stream_fixed_the_seed_does_not_matter(make_run, fixed_streams):
    settings = (*ALL_CHANCE, "training.epochs=1", *fixed_streams)
    one, two = (trained(make_run(f"seed={seed}", *settings)) for seed in (1, 2))
    assert_same_result(one, two)


def test_each_stream_can_vary_alone(make_run, fixed_streams):
    network = ("model=module", "model.module=support.networks:Forgetful")  # it draws, too
    settings = (*ALL_CHANCE, *network, "training.epochs=1", *fixed_streams)
    fixed = trained(make_run(*settings))

    def differs(stream: str) -> set[str]:
        other = trained(make_run(*settings, f"streams.{stream}=6"))
        names = {name for name, array in fixed.arrays.items() if not np.array_equal(array, other.arrays[name])}
        assert "test_probabilities" in names
        return {name for name in names if name.startswith("train_")}

    assert {stream: differs(stream) for stream in STREAMS} == {
        "selection": {"train_indices", "train_labels", "train_touched"},
        "labels": {"train_labels"},
        "validation": {"train_indices", "train_labels"},  # other examples, touched at the same places
        "init": set(),
        "order": set(),
        "augment": set(),
        "dropout": set(),
    }


# Resumed


INTERRUPTED = ("training.epochs=4", *ALL_CHANCE)


@pytest.fixture(scope="module")
def whole(compose_settings, tmp_path_factory) -> RunRecord:
    """The run that was never interrupted."""
    return trained(Run.of(compose_settings(f"runs={tmp_path_factory.mktemp('whole')}", *INTERRUPTED)))


@pytest.mark.parametrize(
    ("hook", "when", "left"),
    [
        ("on_train_batch_end", lambda trainer: True, 4),  # before there is any checkpoint
        ("on_train_epoch_start", lambda trainer: trainer.current_epoch == 2, 2),
        ("on_train_batch_end", lambda trainer: trainer.current_epoch == 2, 2),
        ("on_test_start", lambda trainer: True, 0),
    ],
    ids=["in the first epoch", "after epoch 2", "within epoch 3", "before the test"],
)
def test_an_interrupted_run_goes_on_and_ends_as_if_never_interrupted(make_run, whole, hook, when, left):
    run = make_run(*INTERRUPTED)
    with pytest.raises(Interrupted):
        trained(run, InterruptAt(hook, when))
    assert not is_complete(run.directory)
    assert (run.directory / "last.ckpt").exists() == (left < 4)
    count = EpochCount()
    resumed = trained(run, count)
    assert count.trained == left
    assert_same_result(resumed, whole)
    assert [epoch["epoch"] for epoch in resumed.metrics.epochs] == [1, 2, 3, 4]
    assert not (run.directory / "last.ckpt").exists()


def test_rerun_does_not_go_on_from_a_checkpoint(make_run):
    with pytest.raises(Interrupted):
        trained(make_run(), InterruptAt("on_test_start", lambda trainer: True))
    count = EpochCount()
    trained(make_run("rerun=true"), count)
    assert count.trained == 2


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_test_start"])
def test_an_interrupted_rerun_leaves_the_complete_record_of_before(make_run, hook):
    first = trained(make_run())
    before = {name: (make_run().directory / name).read_bytes() for name in ("result.json", "arrays.npz")}
    with pytest.raises(Interrupted):
        trained(make_run("rerun=true"), InterruptAt(hook, lambda trainer: trainer.current_epoch >= 1))
    assert {name: (make_run().directory / name).read_bytes() for name in before} == before
    count = EpochCount()
    assert_same_result(trained(make_run("rerun=true"), count), first)
    assert count.trained == 2
    assert (make_run().directory / "result.json").read_bytes() != before["result.json"]


def test_a_run_whose_record_could_not_be_written_need_not_be_trained_again(make_run, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    run = make_run()
    monkeypatch.setattr(recording, "write_record", full)
    with pytest.raises(RunError, match=r"No space left on device.*runs="):
        trained(run)
    monkeypatch.undo()
    assert not is_complete(run.directory)
    count = EpochCount()
    trained(run, count)
    assert count.trained == 0


def test_a_checkpoint_cut_short_is_no_reason_to_give_up(make_run):
    run = make_run()
    with pytest.raises(Interrupted):
        trained(run, InterruptAt("on_test_start", lambda trainer: True))
    checkpoint = run.directory / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    count = EpochCount()
    trained(run, count)
    assert count.trained == 2


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("write", "read_unsafely"),
    [
        (torch.save, lambda path: torch.load(path, weights_only=False)),
        (lambda value, path: path.write_bytes(pickle.dumps(value)), lambda path: pickle.loads(path.read_bytes())),
    ],
    ids=["torch.save", "pickle"],
)
def test_a_checkpoint_is_not_executed(make_run, tmp_path, write, read_unsafely):
    run, sprung = make_run(), tmp_path / "sprung"
    run.directory.mkdir(parents=True)
    checkpoint = run.directory / "last.ckpt"
    write({"state_dict": Trap(sprung), "loops": {}, "optimizer_states": [], "history": [{}]}, checkpoint)
    read_unsafely(checkpoint)
    assert sprung.exists(), "the trap does not work"
    sprung.unlink()
    count = EpochCount()
    trained(run, count)  # the checkpoint is refused, so the run begins again
    assert count.trained == 2
    assert not sprung.exists()


# Complete runs


def modified(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_a_complete_run_is_skipped_untouched_and_redone_only_on_demand(make_run, capsys):
    run = make_run("training.epochs=1")
    directory = train_job(run)
    assert "test accuracy" in capsys.readouterr().out
    before, first = modified(directory), read_record(directory)
    assert train_job(run) == directory
    assert "rerun=true" in capsys.readouterr().out
    assert modified(directory) == before
    train_job(make_run("training.epochs=1", "rerun=true"))
    assert all(after != before.get(name) for name, after in modified(directory).items())
    assert_same_result(read_record(directory), first)


def test_the_place_of_the_results_is_printed_whole(make_run, capsys):
    place, progress = Path("/a rather long [name] of a folder" * 5), RunProgress("a run", shown=True)
    progress.skipped(place)
    progress.finished(made_up_record(make_run()), place)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert str(place) in first
    assert last == f"results        {place}"


def test_a_damaged_run_is_redone(make_run):
    run = make_run("training.epochs=1")
    directory = train_job(run)
    (directory / "result.json").write_text("{")
    train_job(run)
    assert is_complete(directory)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("reduction.frac=0.999",), ["reduction.frac=0.999", "class"]),
        (("noise.frac=0.5", "noise.classes=['3']"), ["noise.frac=0.5 with noise.classes=['3'] makes no label wrong"]),
        (("data.crop_padding=8",), ["data.crop_padding=8", "8 x 8"]),
        (("+model.depth=3",), ["model.depth", "widths"]),
        (("model.widths=[1,2]",), ["model.widths", "[1, 2]", "six"]),
        (("model.widths=3",), ["model"]),
        (("model.widths=[1,2,3,4,5,x]",), ["model.widths", "six"]),
        (("~model.widths",), ["widths"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_settings_that_do_not_fit_are_named_and_leave_the_reason_alone(make_run, settings, words):
    run = make_run(*settings)
    with pytest.raises(ConfigError) as error:
        train_job(run)
    assert all(word in str(error.value) for word in words), error.value
    left = [path.name for path in Path(run.settings.runs).rglob("*") if not path.is_dir()]
    assert left == ["failed.json"]
    assert read_failure(run.directory) == str(error.value)


def test_a_data_set_a_model_or_a_class_that_does_not_exist_is_named_before_there_is_a_run(make_run, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.name=mnist.*cifar10.*digits"):
        make_run("data.name=mnist")
    with pytest.raises(ConfigError, match=r"model\.name=cnn7.*cnn6, googlenet"):
        make_run("model.name=cnn7")
    for frac in (0, 0.1):
        with pytest.raises(ConfigError, match=r"noise\.classes=cat .*0, 1, 2"):
            make_run(f"noise.frac={frac}", "noise.classes=[cat]")
        with pytest.raises(ConfigError, match=r"noise\.partner=cat .*0, 1, 2"):
            make_run(f"noise.frac={frac}", "noise.kind=pair", "+noise.partner.cat=dog")
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_said_so(make_run):
    with pytest.raises(ConfigError, match=r"training\.accelerator=gpu.*cpu"):
        train_job(make_run("training.accelerator=gpu"))


@pytest.mark.parametrize(
    ("model", "asked", "used"),
    [
        (("model=torchvision", "model.name=mobilenet_v3_small"), "auto", "32-true"),
        (("model=torchvision", "model.name=mobilenet_v3_small"), "bf16-mixed", "bf16-mixed"),
        (("model=cnn6",), "auto", "bf16-mixed"),
    ],
    ids=["grouped convolutions", "asked for", "no grouped convolution"],
)
def test_auto_is_32_bits_where_bf16_gradients_read_memory_that_nothing_was_written_to(
    make_run, monkeypatch, model, asked, used
):
    usual = setup.choose_execution
    monkeypatch.setattr(
        setup, "choose_execution", lambda accelerator, precision, threads: usual(accelerator, "bf16-mixed", threads)
    )
    assert setup.set_up(make_run(*model, f"training.precision={asked}")).execution.precision == used


@pytest.mark.slow
def test_what_training_imports_is_out_of_the_garbage_collectors_sight_until_the_end():
    script = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count()))  # called after those that are registered later
import class_sensitivity.training.libraries
print(gc.isenabled(), gc.get_freeze_count() > 10**5, "torch" in __import__("sys").modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, ["True True True", "0"], "")
