"""A study of three classes in which no two conditions have the same seeds, and what reads it without the package."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition
from support.synthetic import THREE, World, shares, write_study

WORLD = World(THREE, (40, 60, 50))
WRONG = [[0, 3, 1], [1, 0, 1], [1, 5, 0]]

SYMMETRIC = noise(0.2, "symmetric")
BOTH = Condition(noise_kind="shuffle", noise_frac=0.2, reduction_frac=0.2)
MATCHED = Condition(reduction_frac=0.2, match_steps=True)

Plan = Mapping[Condition, tuple[tuple[float, ...], tuple[int, ...]]]

#: Condition -> recalls and seeds.
PLAN: Plan = {
    BASELINE: ((0.9, 0.8, 0.7), (1, 2, 3, 4, 10)),
    noise(0.1): ((0.85, 0.75, 0.6), (2, 3, 4, 5)),
    noise(0.2): ((0.8, 0.7, 0.5), (1, 2, 3, 4, 5)),
    noise(0.3): ((0.7, 0.65, 0.4), (2, 3, 4, 10)),
    SYMMETRIC: ((0.7, 0.7, 0.6), (3, 4, 9)),
    reduction(0.2): ((0.88, 0.78, 0.69), (1, 2, 3, 4)),
    reduction(0.6): ((0.8, 0.7, 0.6), (2, 4)),
    BOTH: ((0.75, 0.7, 0.5), (1, 2)),
    MATCHED: ((0.9, 0.8, 0.7), (1,)),
}


def write_plan(root: Path, plan: Plan = PLAN, **options: Any) -> Path:
    """Writes the runs of a plan; options as of `write_study`."""
    for condition, (recalls, seeds) in plan.items():
        write_study(root, WORLD, {condition: shares(recalls, WRONG)}, seeds, **options)
    return root


def load_one(root: Path) -> Study:
    """The one study below a directory, of which nothing may be left out."""
    runs = load_runs(root)
    assert runs.left_out == ()
    (study,) = runs
    return study


#: (condition, seed) -> counts, true and predicted classes.
Files = dict[tuple[Condition, int], tuple[Any, Any, Any]]


def read_files(root: Path) -> Files:
    """The runs of `PLAN` as plain lists straight from the files."""
    conditions = {condition.name: condition for condition in PLAN}
    read = {}
    for path in root.glob("*/*/*/result.json"):
        values = json.loads(path.read_text())
        with np.load(path.with_name("arrays.npz")) as arrays:
            key = conditions[path.parts[-3]], int(path.parts[-2].removeprefix("seed-"))
            read[key] = values["confusion"], arrays["test_labels"].tolist(), arrays["test_preds"].tolist()
    return read


def recall_by_hand(true: list[int], predicted: list[int], which: int) -> float:
    """The recall of a class, as one would count it."""
    inside = [p for t, p in zip(true, predicted, strict=True) if t == which]
    return sum(p == which for p in inside) / len(inside)


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit, NaN included."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, Mapping) and not hasattr(one, "dims"):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes() and one.shape == other.shape
    if hasattr(one, "identical"):
        return bool(one.identical(other))
    return bool(one == other or (one != one and other != other))
