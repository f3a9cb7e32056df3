"""One run, from its settings to a record in its run directory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from filelock import SoftFileLease

from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.runs.directory import (
    CHECKPOINT,
    completed_record,
    is_complete,
    prepare_directory,
    refuse_foreign_link,
    write_failure,
)
from class_sensitivity.runs.lease import MARKER, acquire, clean_up, refuse_if_lost
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import torch_seed
from class_sensitivity.training.classifier import Classifier
from class_sensitivity.training.progress import RunProgress
from class_sensitivity.training.recording import Stopwatch, complete_run, run_logger
from class_sensitivity.training.setup import set_up
from class_sensitivity.training.trainer import (
    disk_errors_as_run_error,
    epochs_done,
    errors_reach_caller,
    make_trainer,
    predicted_classes,
    silence_lightning,
)


def train_job(run: Run, *, show_progress: bool = True) -> Path:
    """Does a run unless it is complete already or another process does it.

    Args:
        run: The run.
        show_progress: Show a bar and a table on the terminal; False for a run of a sweep.

    Returns:
        The run directory.

    Raises:
        BusyError: Another process does it.
        UserError: The run cannot be done; no result is left, and the reason is kept in the run directory.
    """
    directory, rerun = run.directory, run.settings.rerun
    refuse_foreign_link(directory, run.identity)
    with RunProgress(run.identity.title, shown=show_progress) as progress:
        if not rerun:
            try:
                if completed_record(directory) is not None:
                    clean_up(directory)
                    progress.skipped(directory)
                    return directory
            except RunError as error:
                progress.damaged(str(error))
        with acquire(directory) as lease, _failure_kept(directory):
            # Until the lease was acquired, another process may have done it.
            if not rerun and is_complete(directory):
                progress.skipped(directory)
                return directory
            record = train_run(run, callbacks=[_StopIfLeaseIsLost(lease), *progress.callbacks])
        progress.finished(record, directory)
    return directory


@contextmanager
def _failure_kept(directory: Path) -> Iterator[None]:
    """Leaves the reason in the run directory when a run fails; one that another process does has not failed."""
    try:
        yield
    except BusyError:
        raise
    except Exception as error:
        write_failure(directory, error)
        raise


class _StopIfLeaseIsLost(pl.Callback):
    """Stops a run that another process took over; asks after every epoch."""

    def __init__(self, lease: SoftFileLease) -> None:
        self.lease = lease

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        refuse_if_lost(self.lease)


class _SeedLayers(pl.Callback):
    """Layers draw from the global generator; every epoch begins it anew, so that a resumed run draws the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(torch_seed(self.seed, "dropout", trainer.current_epoch))


def train_run(run: Run, callbacks: Sequence[pl.Callback] = ()) -> RunRecord:
    """Trains, tests and records one run; goes on from its checkpoint if there is one.

    The run directory is cleared of everything but a checkpoint. Whether the run is complete already, or done by
    another process, is not looked at: that is `train_job`.

    Args:
        run: The run.
        callbacks: Further Lightning callbacks, for the terminal or for tests.

    Returns:
        The record as written.

    Raises:
        UserError: The data, the settings or the directory do not allow the run.
    """
    watch = Stopwatch()
    silence_lightning()
    setup = set_up(run)
    directory, training = run.directory, run.settings.training
    classifier = Classifier(setup.network, setup.data.arrays.class_names, training, setup.total_steps)
    checkpoint = directory / CHECKPOINT
    resumes = not run.settings.rerun and epochs_done(checkpoint) > 0
    prepare_directory(directory, run.identity, keep={MARKER, CHECKPOINT} if resumes else {MARKER})
    with disk_errors_as_run_error(directory), run_logger(directory) as logger:
        callbacks = [_SeedLayers(run.identity.streams["dropout"]), *callbacks]
        trainer = make_trainer(directory, setup.execution, training.epochs, logger=logger, callbacks=callbacks)
        watch.lap("setup")
        with errors_reach_caller():
            ckpt_path = checkpoint if resumes else None
            trainer.fit(classifier, datamodule=setup.data, ckpt_path=ckpt_path, weights_only=True)
            watch.lap("fit")
            trainer.test(classifier, datamodule=setup.data, verbose=False)
            if len(setup.data.mislabelled):
                classifier.metrics.mislabelled_preds = predicted_classes(trainer, classifier, setup.data).cpu()
        watch.lap("test")
        return complete_run(setup, classifier.metrics, trainer.global_step, watch, logger)
