"""What a finished run leaves: its record, and its summary in TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import TensorBoardLogger

from class_sensitivity.confusion import accuracy, recall
from class_sensitivity.training.environment import describe_environment
from class_sensitivity.figures.matrices import confusion_figure
from class_sensitivity.runs.identity import condition_name
from class_sensitivity.training.metrics import Ledger
from class_sensitivity.training.setup import Prepared
from class_sensitivity.runs.directory import RunRecord


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
        # What stopped the run may be that nothing can be written.
        with suppress(OSError):
            logger.experiment.close()


def make_record(run: Prepared, ledger: Ledger, steps: int, seconds: dict[str, float], *, stacked: int = 1) -> RunRecord:
    """The record of a run that was trained and tested.

    Args:
        run: What was asked for, and what it was trained on.
        ledger: What was counted.
        steps: Optimiser steps taken.
        seconds: Durations by name; of a stack, this run's share of them.
        stacked: How many runs were trained side by side.
    """
    data = run.data
    assert ledger.test_logits is not None
    counts = ledger.confusion["test"].numpy()
    epochs = [dict(epoch) for epoch in ledger.history]
    epochs[-1] |= {key: value for key, value in ledger.latest.items() if key.startswith("test/")}
    judge = "val/acc" if len(data.validation_indices) else "test/acc"
    judged = [epoch for epoch in epochs if judge in epoch]
    return RunRecord(
        identity=run.own,
        config=run.config,
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
        environment={**describe_environment(run.execution), "stacked": stacked},
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


def log_summary(logger: TensorBoardLogger, record: RunRecord) -> None:
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
