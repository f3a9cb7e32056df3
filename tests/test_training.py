"""One run after another on the digits: repeatable to the bit, resumable, complete in what it records."""

import contextlib
import json
import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn import metrics

from class_sensitivity import runs
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.errors import ConfigError, RunError
from class_sensitivity.identity import SCHEMA_VERSION, identity, run_directory, stream_seeds
from class_sensitivity.runs import RunRecord
from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import NOISE_KINDS
from class_sensitivity.training import train_job, train_run

#: Every source of chance is drawn from.
ALL_CHANCE = (
    "noise.kind=symmetric",
    "noise.frac=0.2",
    "reduction.frac=0.3",
    "training.validation_frac=0.2",
    "data.crop_padding=1",
)


def directory_of(config: dict[str, Any]) -> Path:
    return run_directory(Path(config["runs"]), identity(config))


def trained(config: dict[str, Any], *callbacks: pl.Callback) -> RunRecord:
    """Runs the configuration and reads the record back from the disk."""
    train_run(config, directory_of(config), list(callbacks))
    return runs.read(directory_of(config))


def assert_same_result(one: RunRecord, other: RunRecord) -> None:
    """Equal to the last bit in everything that is computed; durations may differ."""
    assert one.confusion == other.confusion
    assert one.metrics == other.metrics
    assert (one.train_size, one.steps, one.noise) == (other.train_size, other.steps, other.noise)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


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


def test_a_run_is_the_same_alone_after_another_and_repeated(make_config, tmp_path):
    alone = trained(make_config("seed=3", *ALL_CHANCE))
    # A second run of a sweep finds the process as the first one left it, or worse.
    trained(make_config("seed=1", "training.epochs=1", f"runs={tmp_path / 'sweep'}"))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    torch.set_num_threads(2)
    second = make_config("seed=3", *ALL_CHANCE, f"runs={tmp_path / 'sweep'}")
    assert_same_result(trained(second), alone)
    again = make_config("seed=3", *ALL_CHANCE, "rerun=true")
    assert_same_result(trained(again), alone)


def test_two_threads_are_repeatable_too(make_config, tmp_path):
    one, other = (
        make_config("training.threads=2", "training.epochs=1", f"runs={tmp_path / name}") for name in ("one", "other")
    )
    assert_same_result(trained(one), trained(other))


@pytest.mark.parametrize("setting", ["training.test_every_epoch=false", "training.keep_checkpoint=true"])
def test_looking_at_a_run_does_not_change_its_result(make_config, tmp_path, setting):
    plain = trained(make_config())
    watched = make_config(setting, f"runs={tmp_path / 'other'}")
    assert directory_of(watched).relative_to(watched["runs"]) == directory_of(make_config()).relative_to(
        tmp_path / "runs"
    )
    record = trained(watched)
    assert record.confusion == plain.confusion
    np.testing.assert_array_equal(record.arrays["test_probabilities"], plain.arrays["test_probabilities"])
    assert (directory_of(watched) / "last.ckpt").exists() == watched["training"]["keep_checkpoint"]


def test_seed_0_is_not_seed_1(make_config):
    zero, one = (trained(make_config(f"seed={seed}", "noise.frac=0.2", "training.epochs=1")) for seed in (0, 1))
    assert not np.array_equal(zero.arrays["test_probabilities"], one.arrays["test_probabilities"])
    assert not np.array_equal(zero.arrays["train_touched"], one.arrays["train_touched"])


@pytest.fixture
def fixed_streams() -> list[str]:
    return [f"streams.{name}=5" for name in STREAMS]


def test_with_every_stream_fixed_the_seed_does_not_matter(make_config, fixed_streams):
    one, two = (trained(make_config(f"seed={seed}", *ALL_CHANCE, *fixed_streams)) for seed in (1, 2))
    assert_same_result(one, two)


def test_each_stream_can_vary_alone(make_config, fixed_streams):
    settings = (*ALL_CHANCE, "training.epochs=1", *fixed_streams)
    fixed = trained(make_config(*settings))

    def differs(stream: str) -> set[str]:
        other = trained(make_config(*settings, f"streams.{stream}=6"))
        names = {name for name, array in fixed.arrays.items() if not np.array_equal(array, other.arrays[name])}
        assert "test_probabilities" in names
        return {name for name in names if name.startswith("train_")}

    assert {stream: differs(stream) for stream in STREAMS} == {
        "selection": {"train_indices", "train_labels", "train_touched"},
        "labels": {"train_labels"},
        "validation": {"train_indices", "train_labels"},  # other records, touched at the same places
        "init": set(),
        "order": set(),
        "augment": set(),
    }


# Resumed


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
def test_an_interrupted_run_goes_on_and_ends_as_if_never_interrupted(make_config, tmp_path, hook, when, left):
    settings = ("training.epochs=4", *ALL_CHANCE)
    whole = trained(make_config(*settings, f"runs={tmp_path / 'whole'}"))
    config = make_config(*settings)
    with pytest.raises(Interrupted):
        trained(config, InterruptAt(hook, when))
    assert not runs.is_complete(directory_of(config))
    assert (directory_of(config) / "last.ckpt").exists() == (left < 4)
    count = EpochCount()
    resumed = trained(config, count)
    assert count.trained == left
    assert_same_result(resumed, whole)
    assert [epoch["epoch"] for epoch in resumed.metrics["epochs"]] == [1, 2, 3, 4]
    assert not (directory_of(config) / "last.ckpt").exists()


def test_rerun_does_not_go_on_from_a_checkpoint(make_config):
    with pytest.raises(Interrupted):
        trained(make_config(), InterruptAt("on_test_start", lambda trainer: True))
    count = EpochCount()
    trained(make_config("rerun=true"), count)
    assert count.trained == 2


def test_a_run_whose_record_could_not_be_written_need_not_be_trained_again(make_config, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    config = make_config()
    monkeypatch.setattr(runs, "write", full)
    with pytest.raises(RunError, match=r"No space left on device.*runs="):
        trained(config)
    monkeypatch.undo()
    assert not runs.is_complete(directory_of(config))
    count = EpochCount()
    trained(config, count)
    assert count.trained == 0


def test_a_checkpoint_cut_short_is_no_reason_to_give_up(make_config):
    config = make_config()
    with pytest.raises(Interrupted):
        trained(config, InterruptAt("on_test_start", lambda trainer: True))
    checkpoint = directory_of(config) / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    count = EpochCount()
    trained(config, count)
    assert count.trained == 2


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_checkpoint_is_not_executed(make_config, tmp_path, write):
    config = make_config()
    directory_of(config).mkdir(parents=True)
    write({"state_dict": Trap(tmp_path / "sprung")}, directory_of(config) / "last.ckpt")
    with contextlib.suppress(Exception):  # how it is refused is another test's subject
        trained(config)
    assert not (tmp_path / "sprung").exists()


# Complete runs


def modified(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_a_complete_run_is_skipped_untouched_and_redone_only_on_demand(make_config, capsys):
    config = make_config("training.epochs=1")
    directory = train_job(config)
    assert "test accuracy" in capsys.readouterr().out
    before, first = modified(directory), runs.read(directory)
    assert train_job(config) == directory
    assert "rerun=true" in capsys.readouterr().out
    assert modified(directory) == before
    train_job(config | {"rerun": True})
    assert all(after != before.get(name) for name, after in modified(directory).items())
    assert_same_result(runs.read(directory), first)


def test_a_damaged_run_is_redone(make_config):
    config = make_config("training.epochs=1")
    directory = train_job(config)
    (directory / "result.json").write_text("{")
    train_job(config)
    assert runs.is_complete(directory)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("noise.frac=0.1", "noise.classes=[cat]"), ["noise.classes=cat", "0, 1, 2"]),
        (("noise.frac=0.1", "noise.kind=pair", "+noise.partner.cat=dog"), ["noise.partner=cat", "0, 1, 2"]),
        (("reduction.frac=0.999",), ["reduction.frac=0.999", "class"]),
        (("data.name=mnist",), ["data.name=mnist", "cifar10", "digits"]),
        (("data.crop_padding=8",), ["data.crop_padding=8", "8 x 8"]),
        (("model.name=cnn7",), ["model.name=cnn7", "cnn6"]),
        (("+model.depth=3",), ["model.depth", "widths"]),
        (("model.widths=[1,2]",), ["model.widths", "[1, 2]", "six"]),
        (("model.widths=3",), ["model"]),
        (("model.widths=[1,2,3,4,5,x]",), ["model.widths", "six"]),
        (("~model.widths",), ["widths"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_settings_that_do_not_fit_are_named_and_leave_the_reason_alone(make_config, settings, words):
    config = make_config(*settings)
    with pytest.raises(ConfigError) as error:
        train_job(config)
    assert all(word in str(error.value) for word in words), error.value
    left = [path.name for path in Path(config["runs"]).rglob("*") if not path.is_dir()]
    assert left == ["failed.json"]
    assert runs.read_failure(directory_of(config)) == str(error.value)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_said_so(make_config):
    with pytest.raises(ConfigError, match=r"training\.accelerator=gpu.*cpu"):
        train_job(make_config("training.accelerator=gpu"))


# The record


@pytest.fixture(scope="module")
def noisy(compose_config, tmp_path_factory) -> RunRecord:
    """Three epochs with every source of chance, on a validation split."""
    runs_root = tmp_path_factory.mktemp("noisy")
    return trained(compose_config(f"runs={runs_root}", *ALL_CHANCE, "training.epochs=3", "seed=4", "streams.init=0"))


def test_a_record_holds_all_that_the_analysis_and_a_reader_need(noisy):
    values = json.loads((directory_of(noisy.config) / "result.json").read_text())
    assert values["schema"] == SCHEMA_VERSION
    assert values["config"]["noise"] == {"kind": "symmetric", "frac": 0.2, "classes": [], "partner": {}}
    assert values["identity"]["data"]["name"] == "digits"
    assert stream_seeds(values["identity"]) == dict.fromkeys(STREAMS, 4) | {"init": 0}
    environment = values["environment"]
    assert {"torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy"} <= environment["versions"].keys()
    assert {"git_commit", "git_dirty", "processor"} <= environment.keys()
    assert environment["device"] in ("cpu", "cuda", "mps")
    assert environment["precision"] in ("bf16-mixed", "32-true")
    assert environment["threads"] == 1
    assert values["class_names"] == list("0123456789")
    assert {"setup", "fit", "test", "total"} <= values["seconds"].keys()
    assert all(duration >= 0 for duration in values["seconds"].values())
    assert values["seconds"]["total"] >= values["seconds"]["fit"] + values["seconds"]["test"]


def test_a_record_counts_its_training_set(noisy):
    arrays = load_arrays("digits")
    kept = len(arrays.train_labels) - round(0.2 * len(arrays.train_labels))
    size = kept - round(0.3 * kept)
    assert noisy.train_size == len(noisy.arrays["train_indices"]) == size
    assert noisy.steps == 3 * math.ceil(size / noisy.config["training"]["batch_size"])
    assert noisy.arrays["train_touched"].sum() == round(0.2 * size)
    clean = arrays.train_labels[noisy.arrays["train_indices"]]
    given_labels = noisy.arrays["train_labels"]
    assert noisy.noise["nominal"] == pytest.approx(round(0.2 * size) / size)
    assert noisy.noise["effective"] == pytest.approx((clean != given_labels).mean())
    counts = metrics.confusion_matrix(clean, given_labels)
    assert noisy.noise["counts"] == counts.tolist()
    np.testing.assert_allclose(noisy.noise["noise_matrix"], counts / counts.sum(axis=1, keepdims=True))
    touched = np.bincount(clean[noisy.arrays["train_touched"]], minlength=10)
    assert noisy.noise["touched_per_class"] == touched.tolist()


def test_a_record_counts_its_test_on_the_clean_labels(noisy):
    labels, preds = noisy.arrays["test_labels"], noisy.arrays["test_preds"]
    np.testing.assert_array_equal(labels, load_arrays("digits").test_labels)
    assert noisy.confusion == metrics.confusion_matrix(labels, preds).tolist()
    assert noisy.metrics["test_size"] == len(labels) == 599
    assert noisy.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(labels, preds))
    assert noisy.metrics["recall"] == pytest.approx(metrics.recall_score(labels, preds, average=None))
    probabilities = noisy.arrays["test_probabilities"]
    assert probabilities.dtype == np.float16
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=5e-3)
    # Rounding to float16 can make the best two equal, never turn them round.
    assert (probabilities[np.arange(599), preds] == probabilities.max(axis=1)).all()


def test_a_record_holds_every_epoch_the_last_and_the_best(noisy):
    epochs = noisy.metrics["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    for epoch in epochs:
        assert epoch.keys() >= {f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")}
    assert noisy.metrics["last"] == epochs[-1]
    assert noisy.metrics["last"]["test/acc"] == pytest.approx(noisy.metrics["accuracy"], abs=1e-6)
    # With a validation split the best epoch is not chosen on the test set.
    assert noisy.metrics["best_by"] == "val/acc"
    assert noisy.metrics["best"] == max(epochs, key=lambda epoch: epoch["val/acc"])


def test_without_a_validation_split_the_best_is_said_to_be_by_test(make_config):
    record = trained(make_config())
    assert record.metrics["best_by"] == "test/acc"
    assert record.metrics["best"]["test/acc"] == max(epoch["test/acc"] for epoch in record.metrics["epochs"])


@pytest.mark.parametrize("kind", sorted(NOISE_KINDS))
def test_every_kind_of_noise_can_be_trained_with(make_config, kind):
    record = trained(make_config(f"noise.kind={kind}", "noise.frac=0.3", "training.epochs=1", "reduction.frac=0.5"))
    assert record.noise["nominal"] == pytest.approx(0.3, abs=1 / record.train_size)
    assert 0 < record.noise["effective"] <= record.noise["nominal"]
    assert record.identity["noise"]["kind"] == kind


def test_matched_steps_are_the_baselines_steps(make_config):
    baseline, reduced, matched = (
        trained(make_config("training.epochs=1", "training.batch_size=50", *settings))
        for settings in ((), ("reduction.frac=0.6",), ("reduction.frac=0.6", "reduction.match_steps=true"))
    )
    assert baseline.train_size == 1198
    assert reduced.train_size == matched.train_size == 1198 - round(0.6 * 1198)
    assert baseline.steps == matched.steps == math.ceil(1198 / 50)
    assert reduced.steps == math.ceil(reduced.train_size / 50)


def test_what_tensorboard_is_shown(noisy):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    directory = directory_of(noisy.config)
    assert len(list(directory.glob("events.out.tfevents.*"))) == 1
    events = EventAccumulator(str(directory), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    scalars = events.Tags()["scalars"]
    wanted = {f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")}
    wanted |= {f"{split}/recall/{name}" for split in ("val", "test") for name in noisy.class_names}
    assert wanted <= set(scalars)
    curve = [event.value for event in events.Scalars("test/acc")]
    assert curve == pytest.approx([epoch["test/acc"] for epoch in noisy.metrics["epochs"]])
    assert events.Scalars("test/recall/3")[-1].value == pytest.approx(noisy.metrics["recall"][3])
    (image,) = events.Images("test/confusion")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.step == noisy.steps
    start = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    shown = start.session_start_info.hparams
    assert shown["noise/kind"].string_value == "symmetric"
    assert shown["noise/frac"].number_value == 0.2
    assert shown["noise/effective"].number_value == pytest.approx(noisy.noise["effective"])
    assert shown["seed"].number_value == 4
    assert events.Scalars("hp/test_acc")[-1].value == pytest.approx(noisy.metrics["accuracy"])
    assert events.Scalars("hp/worst_recall")[-1].value == pytest.approx(min(noisy.metrics["recall"]))
