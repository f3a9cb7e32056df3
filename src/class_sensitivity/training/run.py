"""One run, from a checked configuration to a record in its run directory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from filelock import SoftFileLease

from class_sensitivity.runs import directory as runs
from class_sensitivity.training.classifier import Classifier
from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.training.trainer import (
    disk_trouble_in_a_sentence,
    epochs_done,
    interrupts_and_writers_in_one_place,
    make_trainer,
    quieten,
)
from class_sensitivity.runs.identity import condition_name, directory_of, identity
from class_sensitivity.runs.lease import MARKER, held, refuse_if_lost, tidy
from class_sensitivity.training.setup import prepare
from class_sensitivity.training.recording import log_summary, make_record, run_logger
from class_sensitivity.runs.directory import RunRecord
from class_sensitivity.training.progress import RunScreen


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
    directory = directory_of(config)
    runs.refuse_foreign_link(directory, own)
    with RunScreen(f"{condition_name(own)} seed {own['seed']}", shown=alone) as screen:
        if not config["rerun"]:
            try:
                if runs.complete(directory):
                    tidy(directory)
                    screen.skipped(directory)
                    return directory
            except RunError as error:
                screen.damaged(str(error))
        with held(directory) as lease, failure_kept(directory):
            # Between the look above and the lease another process may have done it.
            if not config["rerun"] and runs.is_complete(directory):
                screen.skipped(directory)
                return directory
            record = train_run(config, directory, callbacks=[_StopWhenTakenOver(lease), *screen.callbacks])
        screen.finished(record, directory)
    return directory


@contextmanager
def failure_kept(directory: Path) -> Iterator[None]:
    """Leaves the reason in the run directory when a run fails; a run that somebody else does has not failed."""
    try:
        yield
    except BusyError:
        raise
    except Exception as error:
        runs.write_failure(directory, error)
        raise


class _StopWhenTakenOver(pl.Callback):
    """Asks after every epoch whether the run is still this process's to do."""

    def __init__(self, lease: SoftFileLease) -> None:
        self.lease = lease

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        refuse_if_lost(self.lease)


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
    quieten()
    run = prepare(config)
    classifier = Classifier(run.network, run.data.arrays.class_names, **run.recipe)
    checkpoint = directory / runs.CHECKPOINT
    resumes = not config["rerun"] and epochs_done(checkpoint) > 0
    runs.prepare(directory, run.own, keep={MARKER, runs.CHECKPOINT} if resumes else {MARKER})
    with disk_trouble_in_a_sentence(directory), run_logger(directory) as logger:
        epochs = config["training"]["epochs"]
        trainer = make_trainer(directory, run.execution, epochs, logger=logger, callbacks=callbacks or ())
        seconds = {"setup": time.perf_counter() - started}

        begun = time.perf_counter()
        with interrupts_and_writers_in_one_place():
            trainer.fit(classifier, datamodule=run.data, ckpt_path=checkpoint if resumes else None, weights_only=True)
            seconds["fit"] = time.perf_counter() - begun
            begun = time.perf_counter()
            trainer.test(classifier, datamodule=run.data, verbose=False)
        seconds["test"] = time.perf_counter() - begun

        begun = time.perf_counter()
        record = make_record(run, classifier.ledger, trainer.global_step, seconds)
        log_summary(logger, record)
        seconds["tensorboard"] = time.perf_counter() - begun
        seconds["total"] = time.perf_counter() - started
        runs.write(record, directory)
        # Not before: a record that cannot be written must not cost the training.
        if not config["training"]["keep_checkpoint"]:
            checkpoint.unlink(missing_ok=True)
    return record
