"""How a fit is executed: the trainer, what it may say, and how it is interrupted, resumed or stopped by a full disk."""

import logging
import os
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from class_sensitivity.training.device import Execution, keep_freed_memory
from class_sensitivity.errors import RunError, UserError
from class_sensitivity.runs.directory import CHECKPOINT


def make_trainer(
    directory: Path,
    execution: Execution,
    epochs: int,
    *,
    logger: Logger | None,
    callbacks: Sequence[pl.Callback] = (),
    plugins: Sequence[Any] = (),
) -> pl.Trainer:
    """A trainer that writes one checkpoint an epoch and nothing to the terminal; prepares the process for the fit.

    Args:
        directory: Where the checkpoint goes.
        execution: Device and precision.
        epochs: Epochs in all.
        logger: Where metrics go, if anywhere.
        callbacks: Further Lightning callbacks.
        plugins: Further Lightning plugins.
    """
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
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
        logger=logger if logger is not None else False,
        callbacks=[save_last, *callbacks],
        plugins=[LightningEnvironment(), *plugins],  # on a cluster, too: whoever submitted the job answers its signals
        reload_dataloaders_every_n_epochs=1,  # each epoch's order is drawn from (seed, epoch)
        num_sanity_val_steps=0,  # it would count untrained predictions into the metrics
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10**9,  # epochs are logged, not steps
    )


@contextmanager
def interrupts_and_writers_in_one_place() -> Iterator[None]:
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


def epochs_done(checkpoint: Path) -> int:
    """How many epochs a checkpoint holds; 0 if there is none or it is not whole.

    A full disk leaves half of one, a bad disk flips bits.
    """
    try:
        # torch does not look at the checksums that it writes.
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:
                return 0
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return len(stored["history"]) if {"state_dict", "loops", "optimizer_states"} <= stored.keys() else 0
    except Exception:  # whatever is wrong with it, the run can begin again
        return 0


@contextmanager
def disk_trouble_in_a_sentence(directory: Path) -> Iterator[None]:
    """Goes around what writes into a run directory.

    Raises:
        RunError: It could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch reports a full disk while saving as a RuntimeError about its zip archive.
        cause = _disk_trouble(error, directory)
        if cause is None:
            raise
        raise RunError(
            f"The run directory {directory} cannot be written ({cause}); free space or choose another place with "
            "runs=DIRECTORY, then give the same command again."
        ) from None


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


def quieten() -> None:
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
