"""How a run is completed: its durations, its record, its summary in TensorBoard."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pytorch_lightning.loggers import TensorBoardLogger

from class_sensitivity.confusion import accuracy, recall
from class_sensitivity.figures.axes import figure_of, house_style
from class_sensitivity.figures.matrices import plot_confusion
from class_sensitivity.runs.directory import CHECKPOINT, write_record
from class_sensitivity.runs.record import Durations, LearntRecord, MetricsRecord, NoiseRecord, RunRecord
from class_sensitivity.training.environment import describe_environment
from class_sensitivity.training.metrics import RunMetrics
from class_sensitivity.training.setup import TrainingSetup

#: TensorBoard's HParams has a column for the recall of every class up to so many; more would be unreadable.
MAX_RECALL_COLUMNS = 100


class Stopwatch:
    """Durations of the parts of a fit, which follow one another; it starts when it is made.

    Examples:
        >>> watch = Stopwatch()
        >>> for part in ("setup", "fit", "test"):
        ...     watch.lap(part)
        >>> durations = watch.durations(tensorboard_s=0.5)
        >>> 0.5 <= durations.total_s < 0.6
        True
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._latest = time.perf_counter()

    def lap(self, part: Literal["setup", "fit", "test"]) -> None:
        """Ends a part, and begins the next one."""
        now = time.perf_counter()
        self._seconds[part] = now - self._latest
        self._latest = now

    def durations(self, tensorboard_s: float) -> Durations:
        """The parts, all in seconds.

        Args:
            tensorboard_s: What the summary took, which no lap counts.
        """
        setup_s, fit_s, test_s = (self._seconds[part] for part in ("setup", "fit", "test"))
        return Durations(setup_s, fit_s, test_s, tensorboard_s, total_s=setup_s + fit_s + test_s + tensorboard_s)


class _OneFileLogger(TensorBoardLogger):
    """Keeps one event file a run: `fit` and `test` each end by finalising, which would start another."""

    def finalize(self, status: str) -> None:
        self.experiment.flush()

    def save(self) -> None:
        """Writes no hparams.yaml: `result.json` holds more, and this would be an empty one."""


@contextmanager
def run_logger(directory: Path) -> Iterator[TensorBoardLogger]:
    """The TensorBoard of a run directory, closed in the end whatever happens."""
    logger = _OneFileLogger(directory, name="", version="", default_hp_metric=False)
    try:
        yield logger
    finally:
        # Closing writes, and the run may have stopped because nothing can be written.
        with suppress(OSError):
            logger.experiment.close()


def complete_run(
    setup: TrainingSetup,
    metrics: RunMetrics,
    steps: int,
    watch: Stopwatch,
    logger: TensorBoardLogger,
) -> RunRecord:
    """Completes a run that was trained and tested: logs its summary, writes its record, removes its checkpoint.

    Args:
        setup: What was asked for, and what it was trained on.
        metrics: What was measured.
        steps: Optimiser steps taken.
        watch: How long the parts took.
        logger: Its TensorBoard.

    Returns:
        The record as written.

    Raises:
        OSError: The run directory cannot be written. The checkpoint is still there, so that the run need not be
            trained again.
    """
    begun = time.perf_counter()
    record = _record(setup, metrics, steps, watch.durations(tensorboard_s=0.0))
    _log_summary(logger, record)
    record = replace(record, durations=watch.durations(time.perf_counter() - begun))
    write_record(record, setup.run.directory)
    if not record.keeps_checkpoint:
        (setup.run.directory / CHECKPOINT).unlink(missing_ok=True)
    return record


def _record(setup: TrainingSetup, metrics: RunMetrics, steps: int, durations: Durations) -> RunRecord:
    run, train_set, arrays = setup.run, setup.data.train_set, setup.data.arrays
    assert metrics.test_logits is not None
    return RunRecord(
        identity=run.identity,
        config=asdict(run.settings),
        class_names=list(arrays.class_names),
        train_size=len(train_set.indices),
        steps=steps,
        noise=NoiseRecord.of(train_set.audit),
        confusion=metrics.confusion["test"].tolist(),
        metrics=_metrics_record(metrics, best_by="val/acc" if len(train_set.held_out) else "test/acc"),
        durations=durations,
        environment=describe_environment(setup.execution),
        learnt=_learnt(setup, metrics),
        arrays={
            "test_probabilities": metrics.test_logits.softmax(dim=1).numpy().astype(np.float16),
            # float16 makes ties, so the predicted class is stored beside the probabilities.
            "test_preds": metrics.test_logits.argmax(dim=1).numpy().astype(np.int32),
            "test_labels": arrays.test_labels.astype(np.int32),
            "train_indices": train_set.indices.astype(np.int32),
            "train_labels": train_set.labels.astype(np.int32),
            "train_touched": train_set.touched,
        },
    )


def _learnt(setup: TrainingSetup, metrics: RunMetrics) -> LearntRecord | None:
    if metrics.mislabelled_preds is None:
        return None
    arrays, train_set = setup.data.arrays, setup.data.train_set
    clean = arrays.train_labels[train_set.indices]
    wrong = clean != train_set.labels
    preds = metrics.mislabelled_preds.numpy()
    return LearntRecord.of(clean[wrong], train_set.labels[wrong], preds, arrays.num_classes)


def _metrics_record(metrics: RunMetrics, best_by: str) -> MetricsRecord:
    counts = metrics.confusion["test"].numpy()
    # The last epoch was tested after training, so that its evaluation is not yet in the history.
    last = metrics.history[-1] | {key: value for key, value in metrics.latest.items() if key.startswith("test/")}
    epochs = [*metrics.history[:-1], last]
    best = max((epoch for epoch in epochs if best_by in epoch), key=lambda epoch: epoch[best_by])
    return MetricsRecord(
        test_size=int(counts.sum()),
        accuracy=float(accuracy(counts)),
        recall=[None if np.isnan(share) else share for share in recall(counts).tolist()],
        last={**last},
        best={**best},
        best_by=best_by,
        epochs=[{**epoch} for epoch in epochs],
    )


def _log_summary(logger: TensorBoardLogger, record: RunRecord) -> None:
    """The confusion matrix as a picture, and the run's hyper-parameters with what they led to."""
    identity, condition = record.identity, record.identity.condition
    title = f"{condition.title}, seed {identity.seed}: {record.metrics.accuracy:.1%}"
    with house_style():
        axes = plot_confusion(record.counts, record.class_names, title)
        logger.experiment.add_figure("test/confusion", figure_of(axes), global_step=record.steps)
    logger.log_hyperparams(
        {
            "condition": condition.name,
            "noise/kind": condition.noise_kind or "none",
            "noise/frac": condition.noise_frac,
            "noise/effective": record.noise.effective,
            "reduction/frac": condition.reduction_frac,
            "train_size": record.train_size,
            "seed": identity.seed,
            "data": identity.data.name,
            "model": identity.model.name,
        },
        hparams_metrics(record),
    )
    # Closed here, so that an event that cannot be written is known before the record is.
    logger.experiment.close()


def hparams_metrics(record: RunRecord) -> dict[str, float]:
    """The metrics that TensorBoard's HParams compares runs by: accuracy, loss, and recall by class.

    Returns:
        Tag -> value. Recall is there for the classes with test images, unless there are more than
        `MAX_RECALL_COLUMNS` classes; the least of them is there in any case.
    """
    recalls = zip(record.class_names, record.metrics.recall, strict=True)
    tested = {f"hp/recall/{name}": share for name, share in recalls if share is not None}
    loss = record.metrics.last["test/loss"]
    return {
        "hp/test_acc": record.metrics.accuracy,
        "hp/test_loss": math.nan if loss is None else loss,
        "hp/least_recall": min(tested.values()),
        **(tested if len(record.class_names) <= MAX_RECALL_COLUMNS else {}),
    }
