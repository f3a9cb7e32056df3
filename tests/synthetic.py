"""Made-up run directories: what `train.py` writes, with predictions drawn from given shares instead of trained.

`write_study` is the entrance: conditions by name, each with the (K, K) shares [true, predicted] that its
predictions follow in the mean. Which images are hard, which seeds are good and what a seed makes of an image are
drawn once and shared by all conditions, as in real runs.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from class_sensitivity import runs
from class_sensitivity.confusion import accuracy, confusion_counts, recall
from class_sensitivity.identity import condition_name, identity, run_directory
from class_sensitivity.runs import RunRecord
from class_sensitivity.stress.audit import audit

Floats = NDArray[np.float64]
Settings = Mapping[str, Any]

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
THREE = ("ant", "bee", "cow")

#: The resolved `conf/train.yaml`, with a data set that only these runs know.
_CONFIG: dict[str, Any] = {
    "runs": "runs",
    "rerun": False,
    "status": False,
    "seed": 1,
    "streams": dict.fromkeys(("selection", "labels", "validation", "init", "order", "augment")),
    "noise": {"kind": "shuffle", "frac": 0.0, "classes": [], "partner": {}},
    "reduction": {"frac": 0.0, "match_steps": False},
    "selection": {"stratified": False},
    "data": {"name": "made-up", "dir": None, "download": False, "flip": True, "crop_padding": 2},
    "model": {"name": "cnn6", "widths": [32, 32, 64, 96, 96, 128]},
    "training": {
        "epochs": 3,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "label_smoothing": 0.0,
        "warmup_frac": 0.25,
        "validation_frac": 0.0,
        "test_every_epoch": True,
        "precision": "auto",
        "accelerator": "auto",
        "threads": None,
        "keep_checkpoint": False,
    },
    "study": None,
}

_ENVIRONMENT = {
    "device": "cpu",
    "processor": "made up",
    "precision": "32-true",
    "threads": 1,
    "versions": {"torch": "2.10.0", "numpy": np.__version__},
    "git_commit": "0" * 40,
    "git_dirty": False,
}


def configuration(settings: Settings) -> dict[str, Any]:
    """A resolved training configuration with some settings, by dotted name, at another value."""
    config = {key: dict(value) if isinstance(value, dict) else value for key, value in _CONFIG.items()}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        if key:
            config[section][key] = value
        else:
            config[section] = value
    return config


def stress_settings(condition: str) -> dict[str, Any]:
    """The settings behind a condition's name, such as `noise-shuffle-0.1_reduction-0.2`."""
    settings: dict[str, Any] = {}
    for part in condition.split("_"):
        if noise := re.fullmatch(r"noise-(\w+)-([\d.e-]+)", part):
            settings |= {"noise.kind": noise[1], "noise.frac": float(noise[2])}
        elif reduction := re.fullmatch(r"reduction-([\d.e-]+?)(-matched-steps)?", part):
            settings |= {"reduction.frac": float(reduction[1]), "reduction.match_steps": bool(reduction[2])}
        elif part == "stratified":
            settings["selection.stratified"] = True
        elif part != "baseline":
            raise ValueError(f"{part!r} is no condition")
    return settings


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
        train_size: Training records before reduction.
        image, seed, taste: Shares of the variance behind an image being right that belong to the image, to the seed
            and class, and to the image with this seed; what is left is drawn anew for every run.
        root: Another root, other draws.
    """

    class_names: tuple[str, ...] = THREE
    per_class: int | tuple[int, ...] = 60
    train_size: int = 50
    image: float = 0.5
    seed: float = 0.02
    taste: float = 0.2
    root: int = 0

    @property
    def labels(self) -> NDArray[np.int32]:
        """(n,) true classes, in an order like that of a real test set."""
        sizes = np.broadcast_to(self.per_class, len(self.class_names))
        return self._rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)

    def predict(self, matrix: Floats, condition: str, seed: int) -> NDArray[np.int32]:
        """(n,) predicted classes of one run, `matrix` of them in the mean."""
        labels = self.labels
        size = len(labels)
        images, tastes = self._rng(2), self._rng(4, seed)
        own = self._rng(5, seed, zlib.crc32(condition.encode()))
        rest = 1 - self.image - self.seed - self.taste

        def latent() -> Floats:
            """(n,) uniform, alike for the same image, alike for the same seed."""
            parts = (self.image, images.normal(size=size)), (self.taste, tastes.normal(size=size))
            good = self._rng(3, seed).normal(size=len(self.class_names))[labels]
            drawn = own.normal(size=size)
            return ndtr(sum(np.sqrt(w) * x for w, x in (*parts, (self.seed, good), (rest, drawn))))

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
    world: World, matrix: Floats | None, settings: Settings, *, preds: NDArray[np.integer] | None = None, **fields: Any
) -> RunRecord:
    """The record of one run.

    Args:
        world: Whose images are tested.
        matrix: (K, K) shares its predictions follow.
        settings: By dotted name, as on the command line.
        preds: (n,) its predictions, instead of drawn ones.
        fields: Fields of the record, instead of the made-up ones.
    """
    config = configuration(settings)
    own = identity(config)
    names, labels = world.class_names, world.labels
    if preds is None:
        assert matrix is not None
        preds = world.predict(matrix, condition_name(own), own["seed"])
    preds = np.asarray(preds, np.int32)
    counts = confusion_counts(labels, preds, len(names))

    rng = np.random.default_rng([world.root, 6, config["seed"]])
    size = world.train_size - round(config["reduction"]["frac"] * world.train_size)
    clean = np.arange(size) % len(names)
    touched = np.zeros(size, bool)
    touched[rng.permutation(size)[: round(config["noise"]["frac"] * size)]] = True
    given = clean.copy()
    given[touched] = rng.permutation(given[touched])
    noise = audit(clean, given, touched, len(names))

    probabilities = rng.random((len(labels), len(names)), np.float32)
    probabilities /= 2 * probabilities.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), preds] += 0.5
    last = {"epoch": 2, "train/loss": 0.7, "test/loss": 0.6, "test/acc": float(accuracy(counts))}
    values: dict[str, Any] = {
        "identity": own,
        "config": config,
        "class_names": list(names),
        "train_size": size,
        "steps": 3 * -(-size // 128),
        "noise": dict(vars(noise)),
        "confusion": counts.tolist(),
        "metrics": {
            "test_size": len(labels),
            "accuracy": float(accuracy(counts)),
            "recall": recall(counts),
            "last": last,
            "best": last,
            "best_by": "test/acc",
            "epochs": [last],
        },
        "seconds": {"setup": 0.1, "fit": 1.0, "test": 0.1, "total": 1.2},
        "environment": _ENVIRONMENT,
        "arrays": {
            "test_probabilities": probabilities.astype(np.float16),
            "test_preds": preds,
            "test_labels": labels,
            "train_indices": np.arange(size, dtype=np.int32),
            "train_labels": given.astype(np.int32),
            "train_touched": touched,
        },
    }
    return RunRecord(**values | fields)


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    with mock.patch.object(os, "fsync", return_value=None):
        yield


def write_record(root: Path, record: RunRecord) -> Path:
    """Writes a record where its identity belongs; returns the run directory."""
    directory = run_directory(root, record.identity)
    directory.mkdir(parents=True, exist_ok=True)
    with _without_waiting_for_the_disk():
        runs.write(record, directory)
    return directory


def write_run(
    root: Path, world: World, matrix: Floats, condition: str = "baseline", seed: int = 1, **options: Any
) -> Path:
    """Writes one run; `options` are settings by name with `__` for the dot, or fields of the record."""
    own = {key: options.pop(key) for key in [*options] if key in RunRecord.__dataclass_fields__ or key == "preds"}
    settings = {key.replace("__", "."): value for key, value in options.items()}
    record = make_record(world, matrix, {**stress_settings(condition), "seed": seed, **settings}, **own)
    return write_record(root, record)


def write_study(
    root: Path, world: World, plan: Mapping[str, Floats], seeds: Iterable[int] = (1, 2, 3, 4, 5), **options: Any
) -> Path:
    """Writes a run for every condition and seed; returns `root`.

    Args:
        root: Directory of the runs.
        world: Whose images are tested.
        plan: Condition's name -> (K, K) shares.
        seeds: Of every condition.
        options: As for `write_run`, except that `model` and `data` may be given as a name.
    """
    for short in ("model", "data"):
        if short in options:
            options[f"{short}__name"] = options.pop(short)
    for condition, matrix in plan.items():
        for seed in seeds:
            write_run(root, world, matrix, condition, seed, **options)
    return root
