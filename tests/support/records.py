"""Made-up records of runs: small, whole, and for whatever run a test asks for."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np

from class_sensitivity.confusion import accuracy, confusion_counts, recall
from class_sensitivity.runs.directory import write_record
from class_sensitivity.runs.record import Durations, EnvironmentRecord, MetricsRecord, NoiseRecord, RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import TrainSettings
from class_sensitivity.stress import audit

T = TypeVar("T")

#: A run in which every setting has an effect, on the command line.
EVERYTHING = (
    "data.flip=true",
    "data.crop_padding=1",
    "noise.kind=pair",
    "noise.frac=0.2",
    "noise.classes=['1','2']",
    "+noise.partner.1='7'",
    "reduction.frac=0.3",
    "reduction.match_steps=true",
    "selection.stratified=true",
    "training.validation_frac=0.1",
)


def changed(settings: T, values: Mapping[str, Any]) -> T:
    """Settings, or a mapping, with some values at another one.

    Args:
        settings: A dataclass or a mapping, which is not changed.
        values: By dotted name, such as `training.lr` or `noise.kind.partner.1`.
    """
    for name, value in values.items():
        settings = _changed(settings, name.split("."), value)
    return settings


def _changed(node: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    key, *rest = path
    if isinstance(node, dict):
        return {**node, key: _changed(node.get(key), rest, value)}
    if isinstance(node, list):
        return [*node[: int(key)], _changed(node[int(key)], rest, value), *node[int(key) + 1 :]]
    return replace(node, **{key: _changed(getattr(node, key), rest, value)})


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in nested dataclasses, mappings and, of numbers, in no list."""
    inner = {own.name: getattr(node, own.name) for own in fields(node)} if is_dataclass(node) else node
    if isinstance(inner, Mapping) and inner:
        for key, value in inner.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def at(settings: TrainSettings, root: Path, **values: Any) -> Run:
    """The run of some settings with its runs below a directory; `values` as of `changed`, with `__` for the dot."""
    return Run.of(changed(settings, {"runs": str(root), **{key.replace("__", "."): v for key, v in values.items()}}))


def made_up_record(run: Run, **values: Any) -> RunRecord:
    """A record with three classes, 50 test images and 20 training examples, which follow from the seed.

    Args:
        run: Whose it is.
        values: Fields of the record, instead of the made-up ones.
    """
    rng = np.random.default_rng(run.identity.seed)
    labels, preds = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    counts = confusion_counts(labels, preds, 3)
    clean = np.arange(20) % 3
    touched = rng.random(20) < 0.2
    given = np.where(touched, (clean + 1) % 3, clean)
    last = {"epoch": 1.0, "train/loss": 0.7, "test/loss": 0.6, "test/acc": float(accuracy(counts))}
    made_up: dict[str, Any] = {
        "identity": run.identity,
        "config": asdict(run.settings),
        "class_names": ["ant", "bee", "cow"],
        "train_size": 20,
        "steps": 3,
        "noise": NoiseRecord.of(audit(clean, given, touched, 3)),
        "confusion": counts.tolist(),
        "metrics": MetricsRecord(
            test_size=50,
            accuracy=float(accuracy(counts)),
            recall=recall(counts).tolist(),
            last=last,
            best=last,
            best_by="test/acc",
            epochs=[last],
        ),
        "durations": Durations(setup_s=0.1, fit_s=0.9, test_s=0.1, tensorboard_s=0.1, total_s=1.2),
        "environment": EnvironmentRecord(
            device="cpu",
            processor="made up",
            precision="32-true",
            threads=1,
            versions={"torch": "2.10.0"},
            git_commit=None,
            git_dirty=None,
        ),
        "arrays": {
            "test_probabilities": rng.random((50, 3)).astype(np.float16),
            "test_preds": preds.astype(np.int32),
            "test_labels": labels.astype(np.int32),
            "train_indices": np.arange(20, dtype=np.int32),
            "train_labels": given.astype(np.int32),
            "train_touched": touched,
        },
    }
    return RunRecord(**made_up | values)


def finish(run: Run, **values: Any) -> Path:
    """Writes the record of a run, as if it had been trained; returns its directory."""
    run.directory.mkdir(parents=True, exist_ok=True)
    with mock.patch.object(os, "fsync"):  # nobody pulls the plug here
        write_record(made_up_record(run, **values), run.directory)
    return run.directory
