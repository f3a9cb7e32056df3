"""One run, from a checked configuration to a record in its run directory."""

import logging
import os
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from filelock import SoftFileLease
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from class_sensitivity import runs
from class_sensitivity.classifier import Classifier
from class_sensitivity.confusion import accuracy, recall
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.device import Execution, choose_execution
from class_sensitivity.environment import describe_environment
from class_sensitivity.errors import BusyError, RunError, UserError
from class_sensitivity.figures.matrices import confusion_figure
from class_sensitivity.identity import condition_name, identity, run_directory, stream_seeds
from class_sensitivity.lease import MARKER, held
from class_sensitivity.ledger import Ledger
from class_sensitivity.models import build_model
from class_sensitivity.runs import RunRecord
from class_sensitivity.screen import RunScreen
from class_sensitivity.seeding import torch_seed

CHECKPOINT = "last.ckpt"


def train_job(config: dict[str, Any], *, alone: bool = True) -> Path:
    """Does the run that a configuration asks for unless it is complete already or another process does it.

    Args:
        config: The checked configuration as plain containers.
        alone: Show a bar and a table on the terminal; False for a run of a sweep.

    Returns:
        The run directory.

    Raises:
        BusyError: Another process does it.
        UserError: The run cannot be done; nothing that counts as a result is left, and the reason is kept
            in the run directory.
    """
    own = identity(config)
    directory = run_directory(Path(config["runs"]).expanduser(), own)
    runs.refuse_foreign_link(directory, own)
    with RunScreen(f"{condition_name(own)} seed {own['seed']}", shown=alone) as screen:
        if not config["rerun"]:
            try:
                if runs.complete(directory):
                    screen.skipped(directory)
                    return directory
            except RunError as error:
                screen.damaged(str(error))
        with _failure_kept(directory), held(directory) as lease:
            # Between the look above and the lease another process may have done it.
            if not config["rerun"] and runs.is_complete(directory):
                screen.skipped(directory)
                return directory
            record = train_run(config, directory, callbacks=[_StopWhenTakenOver(lease), *screen.callbacks])
        screen.finished(record, directory)
    return directory


@contextmanager
def _failure_kept(directory: Path) -> Iterator[None]:
    """Leaves the reason in the run directory when a run fails; a run that somebody else does has not failed."""
    try:
        yield
    except BusyError:
        raise
    except Exception as error:
        runs.write_failure(directory, error)
        raise


class _StopWhenTakenOver(pl.Callback):
    """Stops a run whose lease another process took, as happens when this machine was asleep."""

    def __init__(self, lease: SoftFileLease) -> None:
        self.lease = lease

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.lease.compromise is not None:
            raise BusyError(
                f"{Path(self.lease.lock_file).parent} was taken over by another process, because this one gave no sign "
                "of life; the other one finishes it."
            )


def train_run(config: dict[str, Any], directory: Path, callbacks: list[pl.Callback] | None = None) -> RunRecord:
    """Trains, tests and writes one run; goes on from its checkpoint if there is one.

    Args:
        config: The checked configuration as plain containers.
        directory: The run directory; cleared of anything but a checkpoint.
        callbacks: Further Lightning callbacks, for the screen or for tests.

    Returns:
        The record as written.

    Raises:
        UserError: The data, the settings or the directory do not allow the run.
    """
    started = time.perf_counter()
    _quieten()
    own, training = identity(config), config["training"]
    seeds = stream_seeds(own)
    execution = choose_execution(training["accelerator"], training["precision"], training["threads"])
    torch.set_num_threads(execution.threads)

    # Everything that can be wrong with the settings is found before the directory is touched.
    arrays = load_arrays(config["data"]["name"], config["data"]["dir"], config["data"]["download"])
    data = _data_module(config, arrays, seeds, execution)
    total_steps = training["epochs"] * data.steps_per_epoch
    classifier = _classifier(config, arrays, seeds, total_steps)
    checkpoint = directory / CHECKPOINT
    resumes = not config["rerun"] and _can_be_resumed(checkpoint)
    runs.prepare(directory, own, keep={MARKER, CHECKPOINT} if resumes else {MARKER})
    try:
        trainer = _trainer(directory, execution, training["epochs"], callbacks or [])
        seconds = {"setup": time.perf_counter() - started}

        begun = time.perf_counter()
        with _interrupts_and_writers_in_one_place():
            trainer.fit(
                classifier,
                datamodule=data,
                ckpt_path=checkpoint if checkpoint.is_file() else None,
                weights_only=True,
            )
            seconds["fit"] = time.perf_counter() - begun
            begun = time.perf_counter()
            trainer.test(classifier, datamodule=data, verbose=False)
        seconds["test"] = time.perf_counter() - begun

        begun = time.perf_counter()
        record = _record(config, own, data, classifier.ledger, trainer.global_step, execution, seconds)
        assert isinstance(trainer.logger, TensorBoardLogger)
        _log_summary(trainer.logger, record)
        seconds["tensorboard"] = time.perf_counter() - begun
        seconds["total"] = time.perf_counter() - started
        runs.write(record, directory)
        # Not before: a record that cannot be written must not cost the training.
        if not training["keep_checkpoint"]:
            checkpoint.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk while saving as a RuntimeError about its zip archive.
        cause = _disk_trouble(error, directory)
        if cause is None:
            raise
        raise RunError(
            f"The run directory {directory} cannot be written ({cause}); free space or choose another place with "
            "runs=DIRECTORY, then give the same command again."
        ) from None
    return record


@contextmanager
def _interrupts_and_writers_in_one_place() -> Iterator[None]:
    """Lets Ctrl+C and a failing event writer reach the caller as the exceptions they are.

    Lightning turns a KeyboardInterrupt into SystemExit, and TensorBoard's thread prints a traceback
    before it hands its error to the next write.
    """
    usual = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            usual(arguments)

    threading.excepthook = hook
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        threading.excepthook = usual


def _can_be_resumed(checkpoint: Path) -> bool:
    """Whether there is a checkpoint and it is whole: a full disk leaves half of one, a bad disk flips bits."""
    try:
        # torch does not look at the checksums that it writes.
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:
                return False
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return bool({"state_dict", "loops", "history"} <= stored.keys())
    except Exception:  # whatever is wrong with it, the run can begin again
        return False


def _data_module(
    config: dict[str, Any], arrays: ImageArrays, seeds: dict[str, int], execution: Execution
) -> StressedDataModule:
    noise, reduction, training = config["noise"], config["reduction"], config["training"]
    return StressedDataModule(
        arrays,
        batch_size=training["batch_size"],
        seeds=seeds,
        device=execution.device,
        noise_kind=noise["kind"],
        noise_frac=noise["frac"],
        noise_classes=noise["classes"],
        noise_partner=noise["partner"],
        reduction_frac=reduction["frac"],
        match_steps=reduction["match_steps"],
        stratified=config["selection"]["stratified"],
        validation_frac=training["validation_frac"],
        test_every_epoch=training["test_every_epoch"],
        flip=config["data"]["flip"],
        crop_padding=config["data"]["crop_padding"],
    )


def _classifier(config: dict[str, Any], arrays: ImageArrays, seeds: dict[str, int], total_steps: int) -> Classifier:
    _, height, width, channels = arrays.train_images.shape
    # Layers draw their first weights from the global generator; it is set here and put back after.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seeds["init"], "init"))
        network = build_model(
            **config["model"], in_channels=channels, image_size=(height, width), num_classes=arrays.num_classes
        )
    training = config["training"]
    return Classifier(
        network.to(memory_format=torch.channels_last),
        arrays.class_names,
        total_steps=total_steps,
        lr=training["lr"],
        momentum=training["momentum"],
        weight_decay=training["weight_decay"],
        label_smoothing=training["label_smoothing"],
        warmup_frac=training["warmup_frac"],
    )


class _OneFileLogger(TensorBoardLogger):
    """Keeps one event file a run: `fit` and `test` each end by finalising, which would start another."""

    def finalize(self, status: str) -> None:
        self.experiment.flush()

    def save(self) -> None:
        """Writes no hparams.yaml: `result.json` holds more, and this would be an empty one."""


def _trainer(directory: Path, execution: Execution, epochs: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    save_last = ModelCheckpoint(
        directory, filename=CHECKPOINT.removesuffix(".ckpt"), save_on_train_epoch_end=True, enable_version_counter=False
    )
    on_gpu = execution.device.type == "cuda"
    return pl.Trainer(
        accelerator=execution.device.type,
        devices=[execution.device.index] if on_gpu else 1,
        precision=execution.precision,  # type: ignore[arg-type]
        deterministic=on_gpu,  # the CPU kernels in use are deterministic without it
        max_epochs=epochs,
        logger=_OneFileLogger(directory, name="", version="", default_hp_metric=False),
        callbacks=[save_last, *callbacks],
        plugins=[LightningEnvironment()],  # on a cluster, too: whoever submitted the job answers its signals
        reload_dataloaders_every_n_epochs=1,  # each epoch's order is drawn from (seed, epoch)
        num_sanity_val_steps=0,  # it would count untrained predictions into the metrics
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10**9,  # epochs are logged, not steps
    )


def _record(
    config: dict[str, Any],
    own: dict[str, Any],
    data: StressedDataModule,
    ledger: Ledger,
    steps: int,
    execution: Execution,
    seconds: dict[str, float],
) -> RunRecord:
    assert ledger.test_logits is not None
    counts = ledger.confusion["test"].numpy()
    epochs = [dict(epoch) for epoch in ledger.history]
    epochs[-1] |= {key: value for key, value in ledger.latest.items() if key.startswith("test/")}
    judge = "val/acc" if len(data.validation_indices) else "test/acc"
    judged = [epoch for epoch in epochs if judge in epoch]
    return RunRecord(
        identity=own,
        config=config,
        class_names=list(data.arrays.class_names),
        train_size=len(data.train_set.indices),
        steps=steps,
        noise={
            "nominal": data.train_set.audit.nominal,
            "effective": data.train_set.audit.effective,
            "counts": data.train_set.audit.counts,
            "noise_matrix": data.train_set.audit.noise_matrix,
            "touched_per_class": data.train_set.audit.touched_per_class,
        },
        confusion=counts.tolist(),
        metrics={
            "test_size": int(counts.sum()),
            "accuracy": float(accuracy(counts)),
            "recall": recall(counts),
            "last": epochs[-1],
            "best": max(judged, key=lambda epoch: epoch[judge]),
            "best_by": judge,
            "epochs": epochs,
        },
        seconds=seconds,
        environment=describe_environment(execution),
        arrays={
            "test_probabilities": ledger.test_logits.softmax(dim=1).numpy().astype(np.float16),
            # float16 makes ties, so the predicted class is stored beside the probabilities.
            "test_preds": ledger.test_logits.argmax(dim=1).numpy().astype(np.int32),
            "test_labels": data.arrays.test_labels.astype(np.int32),
            "train_indices": data.train_set.indices.astype(np.int32),
            "train_labels": data.train_set.labels.astype(np.int32),
            "train_touched": data.train_set.touched,
        },
    )


def _log_summary(logger: TensorBoardLogger, record: RunRecord) -> None:
    """The confusion matrix as a picture, and the run's hyper-parameters with what they led to."""
    title = f"{condition_name(record.identity)}, seed {record.identity['seed']}: {record.metrics['accuracy']:.1%}"
    figure = confusion_figure(record.counts, record.class_names, title)
    logger.experiment.add_figure("test/confusion", figure, global_step=record.steps)
    noise, reduction = record.identity["noise"], record.identity["reduction"]
    metrics = {"hp/test_acc": record.metrics["accuracy"], "hp/test_loss": record.metrics["last"]["test/loss"]}
    worst = min(value for value in record.metrics["recall"] if not np.isnan(value))
    logger.log_hyperparams(
        {
            "condition": condition_name(record.identity),
            "noise/kind": noise["kind"] if noise else "none",
            "noise/frac": noise["frac"] if noise else 0.0,
            "noise/effective": record.noise["effective"],
            "reduction/frac": reduction["frac"] if reduction else 0.0,
            "train_size": record.train_size,
            "seed": record.identity["seed"],
            "data": record.identity["data"]["name"],
            "model": record.identity["model"]["name"],
        },
        metrics | {"hp/worst_recall": worst},
    )
    logger.experiment.close()


def _disk_trouble(error: Exception, directory: Path) -> str | None:
    """Why the run directory could not be written, if that is what the error is about."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if any(words in str(error) for words in ("PytorchStreamWriter", "unexpected pos", "file write failed")):
        free = os.statvfs(directory).f_bavail if hasattr(os, "statvfs") and directory.exists() else 1
        return "No space left on device" if free == 0 else str(error).splitlines()[0]
    return None


def _quieten() -> None:
    """Silences what Lightning tells every run and what does not apply to one process in memory."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`IterableDataset` has `__len__` defined.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*Total length of .* across ranks is zero.*",
        ".*available but not used.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
    ):
        warnings.filterwarnings("ignore", message)
