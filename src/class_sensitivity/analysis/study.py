"""Run records, arranged: which conditions there are, with which seeds, as labelled arrays."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from class_sensitivity.runs import directory as runs
from class_sensitivity.errors import RunError
from class_sensitivity.runs.identity import condition_name, recipe_name

BASELINE = "baseline"


@dataclass(frozen=True, order=True)
class Condition:
    """One kind and amount of stress; sorts as reports list them.

    Attributes:
        reduction: Share of the training set removed.
        noise: Share of the kept records that is touched.
        kind: Kind of noise; empty without noise.
        name: As in the path of its runs; it says all there is to say.
        plain: Nothing but `kind`, `noise` and `reduction` sets it apart from the baseline: it lies
            on a dose-response curve.
    """

    reduction: float
    kind: str
    noise: float
    name: str
    plain: bool = field(compare=False)

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "Condition":
        """The condition of a run's identity."""
        noise, reduction = identity["noise"] or {}, identity["reduction"] or {}
        plain = not (
            noise.get("classes") or noise.get("partner") or reduction.get("match_steps") or identity["stratified"]
        )
        return cls(
            reduction=reduction.get("frac", 0.0),
            noise=noise.get("frac", 0.0),
            kind=noise.get("kind", ""),
            name=condition_name(dict(identity)),
            plain=plain,
        )


@dataclass(frozen=True)
class Study:
    """All complete runs of one recipe (data set, model, training), tested on the same images.

    Attributes:
        recipe: Name of the recipe, the first part of its runs' paths.
        data: Name of the data set.
        model: Name of the model.
        class_names: The K names.
        conditions: In the order of the arrays; the baseline first, if it was run.
        labels: (n,) true class of each test image.
        arrays: xarray data set with
            `counts` (condition, seed, true, predicted) int64, 0 where a run is missing;
            `present` (condition, seed) bool; and per run `effective_noise`, `train_size`, `steps`.
        preds: (condition, seed, image) int16 predicted classes, -1 where a run is missing.
        paths: (condition name, seed) -> run directory.
        notes: What a reader should know about how the runs differ, as sentences.
    """

    recipe: str
    data: str
    model: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    labels: NDArray[np.int16]
    arrays: xr.Dataset
    preds: NDArray[np.int16]
    paths: Mapping[tuple[str, int], Path]
    notes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def seeds(self) -> list[int]:
        """All seeds of the study, present at every condition or not."""
        return [int(seed) for seed in self.arrays.seed.values]

    def has(self, name: str) -> bool:
        """Whether a condition has any complete run."""
        return any(condition.name == name for condition in self.conditions)

    def condition(self, name: str) -> Condition:
        """A condition by name.

        Raises:
            KeyError: It was not run.
        """
        return self.conditions[self._index(name)]

    def _index(self, name: str) -> int:
        for index, condition in enumerate(self.conditions):
            if condition.name == name:
                return index
        raise KeyError(name)

    def common_seeds(self, *names: str) -> list[int]:
        """Seeds that are complete at every one of the conditions: the ones that can be paired."""
        present = self.arrays.present.values[[self._index(name) for name in names]].all(axis=0)
        return [seed for seed, there in zip(self.seeds, present, strict=True) if there]

    def counts_of(self, name: str, seeds: Sequence[int] | None = None) -> NDArray[np.int64]:
        """(S, K, K) counts of a condition, [seed, true, predicted]."""
        seeds = self.common_seeds(name) if seeds is None else seeds
        return np.asarray(self.arrays.counts.sel(condition=name, seed=list(seeds)).values)

    def preds_of(self, name: str, seeds: Sequence[int]) -> NDArray[np.int16]:
        """(S, n) predicted classes of a condition."""
        places = [self.seeds.index(seed) for seed in seeds]
        return self.preds[self._index(name), places]

    def series(self, kind: str) -> list[Condition]:
        """The dose-response series of a kind of noise, or of reduction for kind `reduction`.

        The baseline first, then rising levels; conditions that also carry another stress are left
        out. Empty unless the baseline and one level were run.
        """
        if not self.has(BASELINE):
            return []
        if kind == "reduction":
            levels = [c for c in self.conditions if c.plain and c.noise == 0 and c.reduction > 0]
        else:
            levels = [c for c in self.conditions if c.plain and c.reduction == 0 and c.kind == kind]
        return [self.condition(BASELINE), *sorted(levels)] if levels else []

    @property
    def noise_kinds(self) -> list[str]:
        """Kinds of noise with a series, the article's first."""
        kinds = {c.kind for c in self.conditions if c.plain and c.kind and c.reduction == 0}
        return sorted(kinds, key=lambda kind: (kind != "shuffle", kind))

    def grid(self) -> pd.DataFrame:
        """Conditions x seeds: whether each run is complete."""
        return self.arrays.present.to_pandas()


@dataclass(frozen=True)
class Problem:
    """A run directory that is left out, and why."""

    path: Path
    reason: str


def load(root: Path, *, data: str | None = None, model: str | None = None) -> tuple[list[Study], list[Problem]]:
    """Reads all runs below a directory and arranges those that can be trusted.

    Args:
        root: The directory that `train.py` wrote runs to.
        data: Only runs on this data set.
        model: Only runs of this model.

    Returns:
        One study for each recipe, and every run directory that was left out with its reason.
    """
    problems: list[Problem] = []
    groups: dict[str, list[tuple[Path, runs.RunRecord]]] = defaultdict(list)
    for path, record in _records(root, problems):
        identity = record.identity
        if (data and identity["data"]["name"] != data) or (model and identity["model"]["name"] != model):
            continue
        if identity["streams"]:
            own = ", ".join(f"{name}={seed}" for name, seed in identity["streams"].items())
            problems.append(Problem(path, f"has random streams of its own ({own}); only plain seeds are paired"))
            continue
        groups[recipe_name(identity)].append((path, record))
    return [_arrange(recipe, members, problems) for recipe, members in sorted(groups.items())], problems


def _records(root: Path, problems: list[Problem]) -> Iterator[tuple[Path, runs.RunRecord]]:
    seen: set[Path] = set()
    # Genuine directories first: of a run and a link to it, the link is the one too many.
    for path in sorted(runs.find(root), key=Path.is_symlink):
        try:
            record = runs.read(path, arrays=("test_labels", "test_preds"))
            # A link to a run, or a copy reached twice, must not count twice.
            if path.resolve() in seen:
                raise RunError(f"{path} is a link to a run that is counted already")
        except RunError as error:
            problems.append(Problem(path, str(error)))
            continue
        seen.add(path.resolve())
        yield path, record


def _arrange(recipe: str, members: list[tuple[Path, runs.RunRecord]], problems: list[Problem]) -> Study:
    # The test set that most runs share is the study's: a stray run must not drive out the rest.
    tests = [(tuple(record.class_names), record.arrays["test_labels"].tobytes()) for _, record in members]
    common = Counter(tests).most_common(1)[0][0]
    usable = []
    for (path, record), test in zip(members, tests, strict=True):
        if test == common:
            usable.append((path, record))
        else:
            problems.append(Problem(path, "was tested on other classes or images than most runs of its recipe"))
    first = usable[0][1]
    labels = first.arrays["test_labels"]

    conditions = sorted({Condition.of(record.identity) for _, record in usable})
    seeds = sorted({record.identity["seed"] for _, record in usable})
    places = {condition.name: index for index, condition in enumerate(conditions)}
    num_classes = len(first.class_names)
    shape = (len(conditions), len(seeds))
    counts = np.zeros((*shape, num_classes, num_classes), np.int64)
    preds = np.full((*shape, len(labels)), -1, np.int16)
    present = np.zeros(shape, bool)
    scalars = {name: np.full(shape, np.nan) for name in ("effective_noise", "train_size", "steps")}
    paths = {}
    for path, record in usable:
        condition = Condition.of(record.identity).name
        at = places[condition], seeds.index(record.identity["seed"])
        counts[at] = record.counts
        preds[at] = record.arrays["test_preds"]
        present[at] = True
        scalars["effective_noise"][at] = record.noise["effective"]
        scalars["train_size"][at] = record.train_size
        scalars["steps"][at] = record.steps
        paths[condition, record.identity["seed"]] = path
    names = list(first.class_names)
    arrays = xr.Dataset(
        {
            "counts": (("condition", "seed", "true", "predicted"), counts),
            "present": (("condition", "seed"), present),
            **{name: (("condition", "seed"), values) for name, values in scalars.items()},
        },
        coords={
            "condition": [condition.name for condition in conditions],
            "seed": seeds,
            "true": names,
            "predicted": names,
            "noise_kind": ("condition", [condition.kind for condition in conditions]),
            "noise_frac": ("condition", [condition.noise for condition in conditions]),
            "reduction_frac": ("condition", [condition.reduction for condition in conditions]),
        },
        attrs={"recipe": recipe},
    )
    return Study(
        recipe=recipe,
        data=first.identity["data"]["name"],
        model=first.identity["model"]["name"],
        class_names=tuple(names),
        conditions=tuple(conditions),
        labels=labels.astype(np.int16),
        arrays=arrays,
        preds=preds,
        paths=paths,
        notes=_notes([record for _, record in usable]),
    )


def _notes(records: list[runs.RunRecord]) -> tuple[str, ...]:
    notes = []
    for key, what in (("precision", "precisions"), ("device", "kinds of device")):
        values = sorted({str(record.environment.get(key)) for record in records})
        if len(values) > 1:
            notes.append(f"The runs were made in different {what} ({', '.join(values)}).")
    versions = [record.environment.get("versions") for record in records]
    torch = sorted({str(found.get("torch")) for found in versions if isinstance(found, dict)})
    if len(torch) > 1:
        notes.append(f"The runs were made with different versions of PyTorch ({', '.join(torch)}).")
    if any(record.environment.get("git_dirty") for record in records):
        notes.append("Some runs were made from a source tree with changes that were not committed.")
    return tuple(notes)
