"""One fit of a stack: members that begin together are trained, tested and recorded."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
from filelock import SoftFileLease
from pytorch_lightning.loggers import TensorBoardLogger

from class_sensitivity.errors import BusyError
from class_sensitivity.runs.directory import CHECKPOINT, write_failure
from class_sensitivity.runs.lease import refuse_if_lost
from class_sensitivity.training.metrics import RunMetrics
from class_sensitivity.training.progress import RunProgress
from class_sensitivity.training.recording import Stopwatch, complete_run, run_logger
from class_sensitivity.training.setup import TrainingSetup
from class_sensitivity.training.stacked.classifier import MemberCheckpoints, StackedClassifier
from class_sensitivity.training.stacked.loader import StackedDataModule
from class_sensitivity.training.trainer import (
    disk_errors_as_run_error,
    errors_reach_caller,
    make_trainer,
    predicted_classes,
)


@dataclass
class Member:
    """A run of a stack.

    Attributes:
        setup: The run, ready to begin.
        lease: On its directory.
        failure: Why it failed, if it did.
        complete: Whether its record was written.
    """

    setup: TrainingSetup
    lease: SoftFileLease
    failure: Exception | None = None
    complete: bool = False

    @property
    def directory(self) -> Path:
        """Its run directory."""
        return self.setup.run.directory

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint."""
        return self.directory / CHECKPOINT

    def fail(self, error: Exception) -> None:
        """Keeps the reason, also in the run directory unless another process does the run, and releases the lease."""
        self.failure = error
        if not isinstance(error, BusyError):
            write_failure(self.directory, error)
        self.lease.release()


def fit_members(members: Sequence[Member], *, resumes: bool) -> None:
    """Trains and tests a stack, and completes each member that did not fail.

    Args:
        members: At least one; all have prepared directories and have done equally many epochs.
        resumes: Whether they have a checkpoint to go on from.

    Raises:
        Exception: Whatever stops the stack as a whole; members that are complete by then stay complete.
    """
    # One directory stands for all: a disk that is full is full for every member.
    with disk_errors_as_run_error(members[0].directory), ExitStack() as cleanup:
        loggers = [cleanup.enter_context(run_logger(member.directory)) for member in members]
        cleanup.callback(_forget_trainer, members)
        watch = Stopwatch()
        setups = [member.setup for member in members]
        first, training = setups[0], setups[0].run.settings.training
        names = first.data.arrays.class_names
        classifier = StackedClassifier(
            [setup.network for setup in setups],
            [RunMetrics(names, training.lr) for _ in setups],
            loggers,
            training,
            first.total_steps,
            refuse_if_lost=lambda number: refuse_if_lost(members[number].lease),
            on_failure=lambda number, error: members[number].fail(error),
        )
        data = StackedDataModule([setup.data for setup in setups])
        checkpoints = MemberCheckpoints(classifier, [member.checkpoint for member in members])
        with RunProgress(f"{len(members)} runs side by side", shown=True) as progress:
            trainer = make_trainer(
                members[0].directory,
                first.execution,
                training.epochs,
                logger=None,
                callbacks=progress.callbacks,
                plugins=[checkpoints],
            )
            watch.lap("setup")
            with errors_reach_caller():
                ckpt_path = members[0].checkpoint if resumes else None
                trainer.fit(classifier, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
                watch.lap("fit")
                if classifier.present:
                    trainer.test(classifier, datamodule=data, verbose=False)
                    _ask_of_wrong_labels(trainer, classifier, data)
            watch.lap("test")
        for number in classifier.present:
            metrics, logger = classifier.metrics_of(number), loggers[number]
            _complete(members[number], metrics, trainer.global_step, watch, logger, len(members))


def _ask_of_wrong_labels(trainer: pl.Trainer, classifier: StackedClassifier, data: StackedDataModule) -> None:
    """What every member predicts for its own training examples with a wrong label, if any has such."""
    numbers = [len(member.mislabelled) for member in data.members]
    if not any(numbers):
        return
    preds = predicted_classes(trainer, classifier, data).cpu()
    for member in classifier.present:
        if numbers[member]:
            classifier.metrics_of(member).mislabelled_preds = preds[member, : numbers[member]]


def _complete(
    member: Member, metrics: RunMetrics, steps: int, watch: Stopwatch, logger: TensorBoardLogger, members: int
) -> None:
    """Completes one member; if it cannot be written, the others go on."""
    try:
        with disk_errors_as_run_error(member.directory):
            complete_run(member.setup, metrics, steps, watch, logger, members=members)
    except Exception as error:
        member.fail(error)
    else:
        member.complete = True
        member.lease.release()


def _forget_trainer(members: Sequence[Member]) -> None:
    """The data of a member outlives the fit, and would keep the weights of the whole stack through its trainer."""
    for member in members:
        member.setup.data.trainer = None
