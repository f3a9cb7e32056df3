"""How a fit is executed: the trainer, its warnings, and what happens on an interrupt, a full disk or a resume."""

import logging
import os
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.utilities.rank_zero import rank_zero_only  # type: ignore[attr-defined]

from class_sensitivity.errors import RunError, UserError
from class_sensitivity.runs.directory import CHECKPOINT
from class_sensitivity.training.device import Execution, keep_freed_memory


def make_trainer(
    directory: Path,
    execution: Execution,
    epochs: int,
    *,
    logger: Logger,
    callbacks: Sequence[pl.Callback] = (),
) -> pl.Trainer:
    """A trainer that writes one checkpoint an epoch and nothing to the terminal; prepares the process for the fit.

    Args:
        directory: Where the checkpoint goes.
        execution: Device, precision and threads.
        epochs: Epochs in all.
        logger: Where metrics go.
        callbacks: Further Lightning callbacks.
    """
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
    _disregard_environment()
    save_last = ModelCheckpoint(
        directory, filename=CHECKPOINT.removesuffix(".ckpt"), save_on_train_epoch_end=True, enable_version_counter=False
    )
    on_gpu = execution.device.type == "cuda"
    # Deterministic algorithms would otherwise fill every new tensor with NaN first, one more kernel for each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return pl.Trainer(
        accelerator=execution.device.type,
        devices=[execution.device.index] if on_gpu else 1,
        precision=execution.precision,  # type: ignore[arg-type]
        deterministic=on_gpu,  # the CPU kernels in use are deterministic without it
        max_epochs=epochs,
        logger=logger,
        callbacks=[save_last, *callbacks],
        # Lightning's handling of cluster signals is not wanted: whoever submitted the job answers them.
        plugins=[LightningEnvironment()],
        reload_dataloaders_every_n_epochs=1,  # each epoch's order is drawn from (seed, epoch)
        num_sanity_val_steps=0,  # its predictions would enter the metrics
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10**9,  # epochs are logged, not steps
    )


def predicted_classes(
    trainer: pl.Trainer, classifier: pl.LightningModule, data: pl.LightningDataModule
) -> torch.Tensor:
    """(n,) classes that a classifier predicts for the data's `predict_dataloader`."""
    return torch.cat(cast(list[torch.Tensor], trainer.predict(classifier, datamodule=data)))


def _disregard_environment() -> None:
    """Takes back what Lightning read, and would read, from the environment: it is no part of what a run is.

    A run is the whole of its process, whatever number srun or torchrun gave that; Lightning would write no files for
    any but the first. And what a Trainer is not told it would take from variables such as PL_TRAINER_MAX_STEPS.
    """
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    for variable in [name for name in os.environ if name.startswith("PL_TRAINER_")]:
        del os.environ[variable]


@contextmanager
def errors_reach_caller() -> Iterator[None]:
    """Lets Ctrl+C and a failing event writer reach the caller as the exceptions they are.

    Lightning turns a KeyboardInterrupt into SystemExit, and TensorBoard's thread prints a traceback
    before it passes its error to the next write.
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


def epochs_done(checkpoint: Path) -> int:
    """How many epochs a checkpoint holds; 0 if there is none or it is damaged.

    A full disk leaves half of a file, a failing disk flips bits.

    Examples:
        >>> epochs_done(Path("no-such-file.ckpt"))
        0
    """
    try:
        # torch writes checksums and does not compare them.
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:
                return 0
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return len(stored["history"]) if {"state_dict", "loops", "optimizer_states"} <= stored.keys() else 0
    except Exception:  # whatever is wrong with it, the run can begin again
        return 0


@contextmanager
def disk_errors_as_run_error(directory: Path) -> Iterator[None]:
    """Goes around what writes into a run directory.

    Raises:
        RunError: It could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch reports a full disk while saving as a RuntimeError about its zip archive.
        cause = _disk_error(error, directory)
        if cause is None:
            raise
        raise RunError(
            f"The run directory {directory} cannot be written ({cause}); free space or choose another place with "
            "runs=DIRECTORY, then give the same command again."
        ) from None


def _disk_error(error: Exception, directory: Path) -> str | None:
    """Why the run directory could not be written, if that is what the error is about."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if any(words in str(error) for words in ("PytorchStreamWriter", "unexpected pos", "file write failed")):
        free = os.statvfs(directory).f_bavail if hasattr(os, "statvfs") and directory.exists() else 1
        return "No space left on device" if free == 0 else str(error).splitlines()[0]
    return None


def silence_lightning() -> None:
    """Silences what Lightning says of every run, and warnings that do not apply to data in memory and one process."""
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
