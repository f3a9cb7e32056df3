"""What a finished run leaves: durations, record, TensorBoard, and no checkpoint."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeRun, MakeSettings
from sklearn import metrics
from support.same_bits import assert_same_result
from support.training import ALL_CHANCE, trained
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from class_sensitivity.data.sources import load_arrays
from class_sensitivity.runs.directory import CHECKPOINT, RESULT, prepare_directory, read_record
from class_sensitivity.runs.record import SCHEMA, RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import NOISE_KINDS
from class_sensitivity.training import recording
from class_sensitivity.training.metrics import RunMetrics
from class_sensitivity.training.progress import RunProgress
from class_sensitivity.training.recording import Stopwatch, complete_run, hparams_metrics, run_logger
from class_sensitivity.training.setup import TrainingSetup, set_up

# Durations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the stopwatch, in its one element."""
    now = [100.0]
    monkeypatch.setattr(recording.time, "perf_counter", lambda: now[0])
    return now


def test_a_stopwatch_times_part_after_part(clock):
    watch = Stopwatch()
    for part, seconds in (("setup", 1), ("fit", 10), ("test", 3)):
        clock[0] += seconds
        watch.lap(part)
    clock[0] += 1000  # what comes after the last part belongs to none
    assert asdict(watch.durations(tensorboard_s=0.5)) == {
        "setup_s": 1,
        "fit_s": 10,
        "test_s": 3,
        "tensorboard_s": 0.5,
        "total_s": 14.5,
    }


# Completing a run


@dataclass
class Measured:
    """A run that was not trained, with made-up predictions of the test set."""

    setup: TrainingSetup
    metrics: RunMetrics
    watch: Stopwatch

    def complete(self, **options: Any) -> RunRecord:
        with run_logger(self.setup.run.directory) as logger:
            return complete_run(self.setup, self.metrics, 7, self.watch, logger, **options)


@pytest.fixture
def measured(make_run: MakeRun) -> Callable[..., Measured]:
    """Makes a run that is ready to be completed, with a checkpoint beside it."""

    def make(*overrides: str) -> Measured:
        run = make_run(*overrides)
        setup, watch = set_up(run), Stopwatch()
        prepare_directory(run.directory, run.identity, keep=())
        (run.directory / CHECKPOINT).touch()
        labels = torch.from_numpy(setup.data.arrays.test_labels)
        metrics = RunMetrics(setup.data.arrays.class_names, lr=0.1)
        metrics.end_epoch(0, loss_sum=2.0, right=3, seen=4)
        metrics.begin_evaluation()
        metrics.evaluate("test", torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(0)), labels)
        metrics.end_evaluation()
        for part in ("setup", "fit", "test"):
            watch.lap(part)
        return Measured(setup, metrics, watch)

    return make


@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_completed_run_has_its_record_and_its_checkpoint_only_if_asked_for(measured, keep):
    run = measured(f"training.keep_checkpoint={keep}")
    record = run.complete()
    directory = run.setup.run.directory
    stored = read_record(directory)
    assert stored == record
    assert_same_result(stored, record)
    assert record.steps == 7
    assert (directory / CHECKPOINT).exists() == (keep == "true")


def test_the_total_of_a_completed_run_is_that_of_its_parts(measured, monkeypatch):
    run = measured()
    monkeypatch.setattr(run.watch, "_seconds", {"setup": 1.0, "fit": 3.0, "test": 2.0})
    durations = run.complete().durations
    assert (durations.setup_s, durations.fit_s, durations.test_s) == (1, 3, 2)
    assert durations.tensorboard_s > 0
    assert durations.total_s == pytest.approx(6 + durations.tensorboard_s)


@pytest.mark.parametrize(
    ("owner", "name"), [(recording, "write_record"), (recording, "plot_confusion"), (SummaryWriter, "close")]
)
def test_a_run_that_cannot_be_completed_keeps_its_checkpoint_and_has_no_record(measured, monkeypatch, owner, name):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    run = measured()
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(OSError, match="No space left"):
        run.complete()
    assert (run.setup.run.directory / CHECKPOINT).exists()
    assert not (run.setup.run.directory / RESULT).exists()


# The record of a run that was trained


@pytest.fixture(scope="module")
def noisy(compose_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Three epochs with every source of chance, on a validation split."""
    runs = tmp_path_factory.mktemp("noisy")
    return trained(
        Run.of(compose_settings(f"runs={runs}", *ALL_CHANCE, "training.epochs=3", "seed=4", "streams.init=0"))
    )


def directory_of(record: RunRecord) -> Path:
    return Path(record.config["runs"]) / record.identity.path


def test_a_record_holds_all_that_the_analysis_and_a_reader_need(noisy):
    values = json.loads((directory_of(noisy) / "result.json").read_text())
    assert values["schema"] == SCHEMA
    assert values["config"]["noise"] == {"kind": {"name": "symmetric"}, "frac": 0.2, "classes": []}
    assert values["identity"]["data"]["name"] == "digits"
    assert noisy.identity.streams == dict.fromkeys(STREAMS, 4) | {"init": 0}
    environment = values["environment"]
    assert {"torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy"} <= environment["versions"].keys()
    assert {"git_commit", "git_dirty", "processor"} <= environment.keys()
    assert environment["device"] in ("cpu", "cuda", "mps")
    assert environment["precision"] in ("bf16-mixed", "32-true")
    assert environment["threads"] == 1
    assert values["class_names"] == list("0123456789")
    durations = values["durations"]
    assert durations.keys() == {"setup_s", "fit_s", "test_s", "tensorboard_s", "total_s"}
    assert all(duration > 0 for duration in durations.values())
    assert durations["total_s"] >= durations["fit_s"] + durations["test_s"]


def test_a_record_counts_its_training_set(noisy):
    arrays = load_arrays(noisy.data_settings)
    kept = len(arrays.train_labels) - round(0.2 * len(arrays.train_labels))
    size = kept - round(0.3 * kept)
    assert noisy.train_size == len(noisy.arrays["train_indices"]) == size
    assert noisy.steps == 3 * math.ceil(size / noisy.config["training"]["batch_size"])
    assert noisy.arrays["train_touched"].sum() == round(0.2 * size)
    clean = arrays.train_labels[noisy.arrays["train_indices"]]
    given_labels = noisy.arrays["train_labels"]
    assert noisy.noise.nominal == pytest.approx(round(0.2 * size) / size)
    assert noisy.noise.effective == pytest.approx((clean != given_labels).mean())
    counts = metrics.confusion_matrix(clean, given_labels)
    assert noisy.noise.counts == counts.tolist()
    np.testing.assert_allclose(noisy.noise.noise_matrix, counts / counts.sum(axis=1, keepdims=True))
    touched = np.bincount(clean[noisy.arrays["train_touched"]], minlength=10)
    assert noisy.noise.touched_per_class == touched.tolist()


def test_a_record_counts_its_test_on_the_clean_labels(noisy):
    labels, preds = noisy.arrays["test_labels"], noisy.arrays["test_preds"]
    np.testing.assert_array_equal(labels, load_arrays(noisy.data_settings).test_labels)
    assert noisy.confusion == metrics.confusion_matrix(labels, preds).tolist()
    assert noisy.metrics.test_size == len(labels) == 599
    assert noisy.metrics.accuracy == pytest.approx(metrics.accuracy_score(labels, preds))
    assert noisy.metrics.recall == pytest.approx(metrics.recall_score(labels, preds, average=None))
    probabilities = noisy.arrays["test_probabilities"]
    assert probabilities.dtype == np.float16
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=5e-3)
    # Rounding to float16 can make the best two equal, never reverse them.
    assert (probabilities[np.arange(599), preds] == probabilities.max(axis=1)).all()


def test_a_record_holds_every_epoch_the_last_and_the_best(noisy):
    epochs = noisy.metrics.epochs
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    for epoch in epochs:
        assert epoch.keys() >= {f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")}
    assert noisy.metrics.last == epochs[-1]
    assert noisy.metrics.last["test/acc"] == pytest.approx(noisy.metrics.accuracy, abs=1e-6)
    # With a validation split the best epoch is not chosen on the test set.
    assert noisy.metrics.best_by == "val/acc"
    assert noisy.metrics.best == max(epochs, key=lambda epoch: epoch["val/acc"])


def test_without_a_validation_split_the_best_is_said_to_be_by_test(make_run):
    record = trained(make_run())
    assert record.metrics.best_by == "test/acc"
    assert record.metrics.best["test/acc"] == max(epoch["test/acc"] for epoch in record.metrics.epochs)


@pytest.mark.parametrize("kind", sorted(NOISE_KINDS))
def test_every_kind_of_noise_can_be_trained_with(make_run, kind, tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 1198)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "matrix.npy", np.full((10, 10), 0.1))
    needed = {
        "matrix": [f"noise.matrix={tmp_path / 'matrix.npy'}"],
        "human": [f"noise.file={tmp_path / 'labels.npy'}"],
        "human_matched": [f"noise.file={tmp_path / 'labels.npy'}"],
        "confusable": [f"noise.study={tmp_path / 'runs'}"],
    }.get(kind, [])
    if kind == "confusable":
        trained(make_run("training.epochs=1"))
    record = trained(
        make_run(f"noise.kind={kind}", *needed, "noise.frac=0.3", "training.epochs=1", "reduction.frac=0.5")
    )
    assert record.noise.nominal == pytest.approx(0.3, abs=1 / record.train_size)
    assert 0 < record.noise.effective <= record.noise.nominal
    assert record.identity.condition.noise_kind == kind


def test_matched_steps_are_the_baselines_steps(make_run):
    baseline, reduced, matched = (
        trained(make_run("training.epochs=1", "training.batch_size=50", *settings))
        for settings in ((), ("reduction.frac=0.6",), ("reduction.frac=0.6", "reduction.match_steps=true"))
    )
    assert baseline.train_size == 1198
    assert reduced.train_size == matched.train_size == 1198 - round(0.6 * 1198)
    assert baseline.steps == matched.steps == math.ceil(1198 / 50)
    assert reduced.steps == math.ceil(reduced.train_size / 50)


# TensorBoard


def events_of(directory: Path) -> EventAccumulator:
    """The one event file of a run directory."""
    (path,) = directory.glob("events.out.tfevents.*")
    events = EventAccumulator(str(path), size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


def test_what_tensorboard_is_shown(noisy):
    events = events_of(directory_of(noisy))
    scalars = events.Tags()["scalars"]
    wanted = {f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")}
    wanted |= {f"{split}/recall/{name}" for split in ("val", "test") for name in noisy.class_names}
    assert wanted <= set(scalars)
    curve = [event.value for event in events.Scalars("test/acc")]
    assert curve == pytest.approx([epoch["test/acc"] for epoch in noisy.metrics.epochs])
    assert events.Scalars("test/recall/3")[-1].value == pytest.approx(noisy.metrics.recall[3])
    (image,) = events.Images("test/confusion")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.step == noisy.steps


def test_hparams_shows_what_a_run_was_and_what_it_led_to(noisy):
    events = events_of(directory_of(noisy))
    stored = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(stored["_hparams_/session_start_info"])
    shown = start.session_start_info.hparams
    assert shown["condition"].string_value == noisy.identity.condition.name
    assert shown["noise/kind"].string_value == "symmetric"
    assert shown["noise/frac"].number_value == 0.2
    assert shown["noise/effective"].number_value == pytest.approx(noisy.noise.effective)
    assert shown["reduction/frac"].number_value == 0.3
    assert shown["seed"].number_value == 4
    # The columns of the table, and a value in each.
    experiment = HParamsPluginData.FromString(stored["_hparams_/experiment"]).experiment
    recalls = {f"hp/recall/{name}": value for name, value in zip(noisy.class_names, noisy.metrics.recall, strict=True)}
    expected = {
        "hp/test_acc": noisy.metrics.accuracy,
        "hp/test_loss": noisy.metrics.last["test/loss"],
        "hp/least_recall": min(noisy.metrics.recall),
        **recalls,
    }
    assert {info.name.tag for info in experiment.metric_infos} == expected.keys()
    assert {tag: events.Scalars(tag)[-1].value for tag in expected} == pytest.approx(expected)


def with_recalls(record: RunRecord, recalls: list[float | None]) -> RunRecord:
    """The record with other classes, named by number."""
    names = [str(number) for number in range(len(recalls))]
    return replace(record, class_names=names, metrics=replace(record.metrics, recall=recalls))


def test_hparams_has_no_recall_of_a_class_without_test_images(noisy):
    found = hparams_metrics(with_recalls(noisy, [0.5, None, 0.25]))
    assert [key for key in found if "recall" in key] == ["hp/least_recall", "hp/recall/0", "hp/recall/2"]
    assert found["hp/least_recall"] == 0.25


@pytest.mark.parametrize(("num_classes", "columns"), [(100, 100), (101, 0)])
def test_hparams_has_the_recall_of_at_most_100_classes_and_always_the_least(noisy, num_classes, columns):
    found = hparams_metrics(with_recalls(noisy, [1 - number / 1000 for number in range(num_classes)]))
    assert sum(key.startswith("hp/recall/") for key in found) == columns
    assert found["hp/least_recall"] == 1 - (num_classes - 1) / 1000


# The terminal


def test_the_terminal_shows_the_worst_of_the_classes_that_have_test_images(noisy, capsys):
    RunProgress("a run", shown=True).finished(with_recalls(noisy, [0.9, None, 0.25, 0.5, 0.75]), Path("somewhere"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["worst", "classes", "2", "25.0%"] in lines
    assert lines.index(["3", "50.0%"]) + 1 == lines.index(["4", "75.0%"])
    assert not any("90.0%" in line for line in lines)


def test_metrics_of_many_classes_fit_into_memory_where_algorithms_are_deterministic():
    """As on a GPU; torchmetrics would then want 320 GB."""
    classes, examples = 2000, 10_000
    target = torch.arange(examples) % classes
    logits = torch.full((examples, classes), -1.0).scatter_(1, target[:, None], 1.0)
    logits[0] = logits[1]  # one is taken for its neighbour
    metrics = RunMetrics(tuple(map(str, range(classes))), lr=0.1)
    torch.use_deterministic_algorithms(True)
    try:
        metrics.begin_evaluation()
        metrics.evaluate("test", logits, target)
        values = metrics.end_evaluation()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert values["test/acc"] == pytest.approx(1 - 1 / examples)
    assert metrics.confusion["test"][0, 1] == 1
    assert values["test/recall/0"] == pytest.approx(0.8)
