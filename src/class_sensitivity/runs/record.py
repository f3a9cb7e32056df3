"""The record of a finished run: everything that it says about itself, with its types and bounds."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.settings import DataSettings
from class_sensitivity.stress import NoiseAudit

#: Raised where the same identity gives another result, or where the layout of a record is another (a field that has a
#: default where it is missing is none). 4: a reduced set is visited in the order of the full one.
SCHEMA = 4

#: Schemas that are read; in the older one, runs without reduction are the same to the last bit.
READ_SCHEMAS = (3, SCHEMA)

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class NoiseRecord:
    """The realised noise, as `stress.NoiseAudit`; None stands for NaN, which JSON does not have."""

    nominal: Share
    effective: Share
    counts: list[list[Count]]
    noise_matrix: list[list[Share | None]]
    touched_per_class: list[Count]

    @classmethod
    def of(cls, audit: NoiseAudit) -> "NoiseRecord":
        """The audit as plain values."""
        return cls(
            nominal=audit.nominal,
            effective=audit.effective,
            counts=audit.counts.tolist(),
            noise_matrix=[[_or_none(share) for share in row] for row in audit.noise_matrix.tolist()],
            touched_per_class=audit.touched_per_class.tolist(),
        )


@dataclass(frozen=True)
class LearntRecord:
    """What the trained network says of the training examples whose label is wrong, counted by their clean class.

    Attributes:
        wrong: (K,) such examples.
        as_given: (K,) those predicted as labelled: the wrong label was learnt.
        as_clean: (K,) those predicted right, against their label.
    """

    wrong: list[Count]
    as_given: list[Count]
    as_clean: list[Count]

    @classmethod
    def of(
        cls, clean: NDArray[np.integer], given: NDArray[np.integer], preds: NDArray[np.integer], num_classes: int
    ) -> "LearntRecord":
        """Counts (w,) predictions of examples of which `clean` and `given` differ everywhere.

        Examples:
            >>> LearntRecord.of(np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([1, 0, 1]), num_classes=2)
            LearntRecord(wrong=[2, 1], as_given=[1, 0], as_clean=[1, 1])
        """
        parts = (clean, clean[preds == given], clean[preds == clean])
        return cls(*(np.bincount(part, minlength=num_classes).tolist() for part in parts))

    @property
    def share(self) -> float:
        """Of the wrong labels, those that were learnt; NaN where there are none."""
        return sum(self.as_given) / sum(self.wrong) if sum(self.wrong) else math.nan


#: Metrics of one epoch by log key; None stands for a value that is not finite.
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class MetricsRecord:
    """What was measured.

    Attributes:
        test_size: Test images.
        accuracy: Share of them predicted right after the last epoch.
        recall: (K,) the same for each class; None for a class without test images.
        last: Metrics of the last epoch.
        best: Metrics of the epoch with the largest `best_by`.
        best_by: `val/acc`, or `test/acc` where nothing was held out.
        epochs: Metrics of every epoch, oldest first.
    """

    test_size: Count
    accuracy: Share
    recall: list[Share | None]
    last: Metrics
    best: Metrics
    best_by: str
    epochs: list[Metrics]


@dataclass(frozen=True)
class Durations:
    """How long the parts of a run took, in seconds."""

    setup_s: float
    fit_s: float
    test_s: float
    tensorboard_s: float
    total_s: float


@dataclass(frozen=True)
class EnvironmentRecord:
    """What a run was made with.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        processor: Its name.
        precision: What the recipe's precision came to.
        threads: CPU threads.
        versions: Package -> version.
        git_commit: Of the source tree; None where there is no git checkout.
        git_dirty: Whether it had changes that were not committed.
    """

    device: str
    processor: str
    precision: str
    threads: int
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None


@dataclass(frozen=True)
class RunRecord:
    """Everything a finished run says about itself.

    Attributes:
        identity: What makes it this run.
        config: The settings it was asked for with, as plain values.
        class_names: The K class names, in the order of the matrices.
        train_size: Examples trained on.
        steps: Optimiser steps taken.
        noise: What the noise really did.
        confusion: (K, K) counts over the clean test set after the last epoch, [true, predicted].
        metrics: What was measured.
        durations: How long it took.
        environment: What it was made with.
        learnt: What became of the wrong labels; None where there are none, and in records that are older than this.
        schema: One of `READ_SCHEMAS`.
        arrays: What is too large for JSON: test_probabilities (n_test, K) float16, test_preds and
            test_labels (n_test,), train_indices, train_labels and train_touched (train_size,).
    """

    identity: RunIdentity
    config: dict[str, Any]
    class_names: list[str]
    train_size: Count
    steps: Count
    noise: NoiseRecord
    confusion: list[list[Count]]
    metrics: MetricsRecord
    durations: Durations
    environment: EnvironmentRecord
    learnt: LearntRecord | None = None
    schema: int = SCHEMA
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K, K) int64 confusion counts, [true, predicted]."""
        return np.array(self.confusion, np.int64)

    @property
    def data_settings(self) -> DataSettings:
        """Which data set was asked for, and where it was."""
        return msgspec.convert(self.config["data"], DataSettings)

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether the checkpoint of this run was asked for."""
        return bool(self.config["training"]["keep_checkpoint"])

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as values that JSON has."""
        return {key: _plain(value) for key, value in asdict(self).items() if key != "arrays"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunRecord":
        """The reverse of `to_json`, with every type and bound checked.

        Raises:
            ValueError: A value is missing, unknown, of another type, or contradicts another.
        """
        if unknown := sorted(set(values) - {own.name for own in fields(cls)} | {"arrays"} & set(values)):
            raise ValueError(f"it has unknown keys: {', '.join(unknown)}")
        try:
            record = msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        _check(record)
        return record


def _check(record: RunRecord) -> None:
    names, counts = record.class_names, record.counts
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"class names must be two or more different words, found {names}")
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"confusion is {counts.shape} for {len(names)} classes")
    if counts.sum() != record.metrics.test_size:
        raise ValueError(f"confusion sums to {counts.sum()}, the test set has {record.metrics.test_size}")


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """NaN to null: JSON has no NaN, and other languages read these files too."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _or_none(value) if isinstance(value, float) else value
