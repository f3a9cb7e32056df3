"""Training of small runs, and settings for it."""

import pytorch_lightning as pl

from class_sensitivity.runs.directory import read_record
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.training.run import train_run

#: Every source of chance is drawn from.
ALL_CHANCE = (
    "noise.kind=symmetric",
    "noise.frac=0.2",
    "reduction.frac=0.3",
    "training.validation_frac=0.2",
    "data.crop_padding=1",
)


def trained(run: Run, *callbacks: pl.Callback) -> RunRecord:
    """Trains the run and reads its record back from the disk."""
    train_run(run, callbacks)
    return read_record(run.directory)
