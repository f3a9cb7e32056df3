"""Made-up run directories: what `train.py` writes, with predictions drawn from given shares instead of trained.

`write_study` is the entrance: conditions, each with the (K, K) shares [true, predicted] that its predictions follow in
the mean. Which images are hard, which seeds are good and what a seed makes of an image are drawn once and shared by all
conditions, as in real runs.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from class_sensitivity.confusion import accuracy, confusion_counts, recall
from class_sensitivity.data.sources import digits
from class_sensitivity.runs import directory as run_directory
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.record import MetricsRecord, NoiseRecord, RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import STREAMS
from class_sensitivity.settings import (
    DataSettings,
    ModelSettings,
    SelectionSettings,
    StreamSettings,
    TrainingSettings,
    TrainSettings,
)
from class_sensitivity.stress import NOISE_KINDS, Examples, Noise, NoiseKind, Reduction
from class_sensitivity.stress.audit import audit
from support.records import changed, made_up_record

Floats = NDArray[np.float64]

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
THREE = ("ant", "bee", "cow")

#: What `conf/train.yaml` asks for, on a data set that only these runs know.
SETTINGS = TrainSettings(
    runs="runs",
    rerun=False,
    status=False,
    inspect=False,
    seed=1,
    streams=StreamSettings(**dict.fromkeys(STREAMS)),
    noise=Noise(),
    reduction=Reduction(),
    selection=SelectionSettings(stratified=False),
    data=DataSettings(name="made-up", dir=None, download=False, flip=True, crop_padding=2),
    model=ModelSettings(name="cnn6", options={"widths": [32, 32, 64, 96, 96, 128]}),
    training=TrainingSettings(
        epochs=3,
        batch_size=128,
        lr=0.1,
        momentum=0.9,
        weight_decay=0.0005,
        label_smoothing=0.0,
        warmup_frac=0.25,
        validation_frac=0.0,
        precision="auto",
        test_every_epoch=True,
        accelerator="auto",
        threads=None,
        keep_checkpoint=False,
    ),
)


@dataclass(frozen=True)
class UnknownKind(NoiseKind):
    """A kind of noise that this version does not know, as in the runs of a later one."""

    name: str = "unknown"

    def apply(self, examples: Examples, rng: np.random.Generator) -> NDArray[np.int64]:
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        return {}


def settings_of(condition: Condition = BASELINE, seed: int = 1, **options: Any) -> TrainSettings:
    """The settings of a run.

    Args:
        condition: Its stress.
        seed: Its seed.
        options: Further settings by dotted name, with `__` for the dot: `training__epochs=9`.
    """
    kind = condition.noise_kind or "shuffle"
    made = NOISE_KINDS[kind](**condition.noise_options) if kind in NOISE_KINDS else UnknownKind(kind)
    settings = replace(
        SETTINGS,
        seed=seed,
        noise=Noise(made, condition.noise_frac, list(condition.noise_classes)),
        reduction=Reduction(condition.reduction_frac, condition.match_steps),
        selection=SelectionSettings(condition.stratified),
    )
    return changed(settings, {name.replace("__", "."): value for name, value in options.items()})


def made_up_run(settings: TrainSettings, data_digest: str = "0123456789abcdef") -> Run:
    """The run that settings ask for, on a data set that need not exist."""
    identity = RunIdentity.of(settings, data_digest)
    return Run(settings, identity, Path(settings.runs) / identity.path)


def shares(recalls: Iterable[float], wrong: Floats | None = None) -> Floats:
    """(K, K) shares [true, predicted] with these recalls on the diagonal.

    Args:
        recalls: (K,).
        wrong: (K, K) by how much each other class attracts the rest; None means all alike.
    """
    diagonal = np.array(list(recalls), np.float64)
    rest = np.ones((len(diagonal), len(diagonal))) if wrong is None else np.array(wrong, np.float64)
    np.fill_diagonal(rest, 0)
    matrix = (1 - diagonal)[:, np.newaxis] * rest / rest.sum(axis=1, keepdims=True)
    np.fill_diagonal(matrix, diagonal)
    return matrix


@dataclass(frozen=True)
class World:
    """A data set and the chance in it.

    Attributes:
        class_names: The K names.
        per_class: Test images of each class; one number for all, or K.
        train_size: Training examples before reduction.
        image, seed, run, taste: Shares of the variance behind an image being right that belong to the image, to the
            seed and class, to the run and class, and to the image with this seed; what is left is drawn anew for every
            image of every run. What belongs to the seed goes out of differences between conditions.
        root: Another root, other draws.
        model: Another model, other draws of seeds and of what they make of an image; images are as hard as they are.
    """

    class_names: tuple[str, ...] = THREE
    per_class: int | tuple[int, ...] = 60
    train_size: int = 50
    image: float = 0.5
    seed: float = 0.02
    run: float = 0.0
    taste: float = 0.2
    root: int = 0
    model: str = ""

    @property
    def labels(self) -> NDArray[np.int32]:
        """(n,) true classes, in an order like that of a real test set."""
        sizes = np.broadcast_to(self.per_class, len(self.class_names))
        return self._rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)

    def predict(self, matrix: Floats, name: str, seed: int) -> NDArray[np.int32]:
        """(n,) predicted classes of one run, `matrix` of them in the mean; another name, other draws."""
        labels = self.labels
        size = len(labels)
        of_model = (seed, *((zlib.crc32(self.model.encode()),) if self.model else ()))
        images, tastes = self._rng(2), self._rng(4, *of_model)
        run = self._rng(5, *of_model, zlib.crc32(name.encode()))
        rest = 1 - self.image - self.seed - self.run - self.taste

        def latent() -> Floats:
            """(n,) uniform, alike for the same image, alike for the same seed."""
            parts = (self.image, images.normal(size=size)), (self.taste, tastes.normal(size=size))
            good = self._rng(3, *of_model).normal(size=len(self.class_names))[labels]
            lucky = self._rng(7, *of_model, zlib.crc32(name.encode())).normal(size=len(self.class_names))[labels]
            of_class = (self.seed, good), (self.run, lucky)
            drawn = run.normal(size=size)
            return ndtr(sum(np.sqrt(w) * x for w, x in (*parts, *of_class, (rest, drawn))))

        wrong = matrix.copy()
        np.fill_diagonal(wrong, 0)
        cumulative = np.cumsum(wrong, axis=1)
        cumulative /= np.maximum(cumulative[:, -1:], 1e-300)
        right = latent() < np.diagonal(matrix)[labels]
        other = (latent()[:, np.newaxis] > cumulative[labels]).sum(axis=1)
        return np.where(right, labels, np.minimum(other, len(matrix) - 1)).astype(np.int32)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.root, *key])


def make_record(
    world: World, matrix: Floats | None, run: Run, *, preds: NDArray[np.integer] | None = None, **fields: Any
) -> RunRecord:
    """The record of one run.

    Args:
        world: Whose images are tested.
        matrix: (K, K) shares its predictions follow.
        run: Which run it is.
        preds: (n,) its predictions, instead of drawn ones.
        fields: Fields of the record, instead of the made-up ones.
    """
    identity, condition = run.identity, run.identity.condition
    names, labels = world.class_names, world.labels
    if preds is None:
        assert matrix is not None
        preds = world.predict(matrix, condition.name, identity.seed)
    preds = np.asarray(preds, np.int32)
    counts = confusion_counts(labels, preds, len(names))

    rng = np.random.default_rng([world.root, 6, identity.seed])
    size = world.train_size - round(condition.reduction_frac * world.train_size)
    clean = np.arange(size) % len(names)
    touched = np.zeros(size, bool)
    touched[rng.permutation(size)[: round(condition.noise_frac * size)]] = True
    given = clean.copy()
    given[touched] = rng.permutation(given[touched])

    probabilities = rng.random((len(labels), len(names)), np.float32)
    probabilities /= 2 * probabilities.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), preds] += 0.5
    last = {"epoch": 2.0, "train/loss": 0.7, "test/loss": 0.6, "test/acc": float(accuracy(counts))}
    values: dict[str, Any] = {
        "class_names": list(names),
        "train_size": size,
        "steps": 3 * -(-size // 128),
        "noise": NoiseRecord.of(audit(clean, given, touched, len(names))),
        "confusion": counts.tolist(),
        "metrics": MetricsRecord(
            test_size=len(labels),
            accuracy=float(accuracy(counts)),
            recall=[None if np.isnan(share) else share for share in recall(counts).tolist()],
            last=last,
            best=last,
            best_by="test/acc",
            epochs=[last],
        ),
        "arrays": {
            "test_probabilities": probabilities.astype(np.float16),
            "test_preds": preds,
            "test_labels": labels,
            "train_indices": np.arange(size, dtype=np.int32),
            "train_labels": given.astype(np.int32),
            "train_touched": touched,
        },
    }
    return made_up_record(run, **values | fields)


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    with mock.patch.object(os, "fsync", return_value=None):
        yield


def write_record(record: RunRecord, directory: Path) -> Path:
    """Writes a record, without waiting for the disk; returns the run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with _without_waiting_for_the_disk():
        run_directory.write_record(record, directory)
    return directory


def write_run(
    root: Path,
    world: World,
    matrix: Floats | None,
    condition: Condition = BASELINE,
    seed: int = 1,
    *,
    data_digest: str = "0123456789abcdef",
    **options: Any,
) -> Path:
    """Writes one run; `options` are settings as for `settings_of`, or fields of the record."""
    fields = {key: options.pop(key) for key in [*options] if key in RunRecord.__dataclass_fields__ or key == "preds"}
    run = made_up_run(settings_of(condition, seed, **{"runs": str(root), **options}), data_digest)
    return write_record(make_record(world, matrix, run, **fields), root / run.identity.path)


def write_study(
    root: Path, world: World, plan: Mapping[Condition, Floats], seeds: Iterable[int] = (1, 2, 3, 4, 5), **options: Any
) -> Path:
    """Writes a run for every condition and seed; returns `root`.

    Args:
        root: Directory of the runs.
        world: Whose images are tested.
        plan: Condition -> (K, K) shares.
        seeds: Of every condition.
        options: As for `write_run`, except that `model` and `data` may be given as a name.
    """
    for short in ("model", "data"):
        if short in options:
            options[f"{short}__name"] = options.pop(short)
    if options.get("data__name") == "digits":  # whose images a report shows
        options["data_digest"] = digits.digest()
    for condition, matrix in plan.items():
        for seed in seeds:
            write_run(root, world, matrix, condition, seed, **options)
    return root
