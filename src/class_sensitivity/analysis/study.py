"""Run records, arranged: which conditions there are, with which seeds, as labelled arrays."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from class_sensitivity.analysis.notebook import titled_table
from class_sensitivity.confusion import confusion_counts
from class_sensitivity.runs.condition import BASELINE, Condition

#: What is kept of every run beside its predictions.
_SCALARS = ("effective_noise", "train_size", "steps", "duration_s", "best_accuracy", "learnt")


@dataclass(frozen=True, eq=False, repr=False)
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
            `present` (condition, seed) bool; and per run `effective_noise`, `train_size`, `steps`, `duration_s`,
            `best_accuracy` (test accuracy of the best epoch) and `learnt` (share of the wrong labels that the network
            predicts after training; NaN where there are none or the record does not say).
        preds: (condition, seed, image) int16 predicted classes, -1 where a run is missing.
        directories: (condition, seed) -> run directory.
        notes: What a reader should know about how the runs differ, as sentences.
        epochs: Passes over the training set; None where it is not known.
        family: Equal for studies that differ in `epochs` or `held` alone; empty where it is not known.
        held: The random streams that have one seed in all runs, such as `init-0`; empty where none has.
        setting: What sets its runs apart from those of other studies of the same data set and model, such as `lr 0.02`.
        words: Words of a command line that ask for its recipe, quoted for a shell; empty where they are not known.

    Examples:
        >>> noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
        >>> preds = {(BASELINE, 1): [0, 0, 1, 1], (BASELINE, 2): [0, 1, 1, 1], (noisy, 1): [0, 1, 1, 0]}
        >>> study = Study.of_preds([0, 0, 1, 1], preds, class_names=("cat", "dog"))
        >>> study
        <Study: 2 conditions, seeds 1, 2, 4 test images of 2 classes>
        >>> study.common_seeds(BASELINE, study.find(noise_frac=0.2))
        [1]
    """

    recipe: str
    data: str
    model: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    labels: NDArray[np.int16]
    arrays: xr.Dataset
    preds: NDArray[np.int16]
    directories: Mapping[tuple[Condition, int], Path]
    notes: tuple[str, ...]
    epochs: int | None = None
    family: str = ""
    held: str = ""
    setting: str = ""
    words: tuple[str, ...] = ()

    @classmethod
    def of_preds(
        cls,
        labels: ArrayLike,
        preds: Mapping[tuple[Condition, int], ArrayLike],
        class_names: Sequence[str],
        *,
        recipe: str = "",
        data: str = "",
        model: str = "",
        scalars: Mapping[tuple[Condition, int], Mapping[str, float]] | None = None,
        directories: Mapping[tuple[Condition, int], Path] | None = None,
        notes: Iterable[str] = (),
        epochs: int | None = None,
        family: str = "",
        held: str = "",
        setting: str = "",
    ) -> "Study":
        """Arranges predictions, wherever they come from.

        Args:
            labels: (n,) true class of each test image, in [0, K).
            preds: (condition, seed) -> (n,) predicted classes, in [0, K); at least one.
            class_names: The K names.
            recipe: As the attribute.
            data: As the attribute.
            model: As the attribute.
            scalars: What is known of each run beside its predictions, by the names of `arrays`.
            directories: As the attribute.
            notes: As the attribute.
            epochs: As the attribute.
            family: As the attribute.
            held: As the attribute.
            setting: As the attribute.

        Raises:
            ValueError: A run has other than n predictions, or a class is out of range.
        """
        conditions = sorted({condition for condition, _ in preds})
        seeds = sorted({seed for _, seed in preds})
        names, labels = list(class_names), np.asarray(labels, np.int16)
        shape = (len(conditions), len(seeds))
        counts = np.zeros((*shape, len(names), len(names)), np.int64)
        arranged = np.full((*shape, len(labels)), -1, np.int16)
        present = np.zeros(shape, bool)
        measured = {name: np.full(shape, np.nan) for name in _SCALARS}
        places = {condition: index for index, condition in enumerate(conditions)}
        for (condition, seed), predicted in preds.items():
            at = places[condition], seeds.index(seed)
            counts[at] = confusion_counts(labels, predicted, len(names))
            arranged[at] = predicted
            present[at] = True
            for name, value in (scalars or {}).get((condition, seed), {}).items():
                measured[name][at] = value
        arrays = xr.Dataset(
            {
                "counts": (("condition", "seed", "true", "predicted"), counts),
                "present": (("condition", "seed"), present),
                **{name: (("condition", "seed"), values) for name, values in measured.items()},
            },
            coords={
                "condition": [condition.name for condition in conditions],
                "seed": seeds,
                "true": names,
                "predicted": names,
                "noise_kind": ("condition", [condition.noise_kind for condition in conditions]),
                "noise_frac": ("condition", [condition.noise_frac for condition in conditions]),
                "reduction_frac": ("condition", [condition.reduction_frac for condition in conditions]),
            },
            attrs={"recipe": recipe},
        )
        return cls(
            recipe=recipe,
            data=data,
            model=model,
            class_names=tuple(names),
            conditions=tuple(conditions),
            labels=labels,
            arrays=arrays,
            preds=arranged,
            directories=dict(directories or {}),
            notes=tuple(notes),
            epochs=epochs,
            family=family,
            held=held,
            setting=setting,
        )

    @property
    def title(self) -> str:
        """What it is called where there are others: data set, model, and what sets it apart."""
        return ", ".join(filter(None, (self.data, self.model, self.setting)))

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def class_sizes(self) -> NDArray[np.int64]:
        """(K,) test images of each class."""
        return np.bincount(self.labels, minlength=self.num_classes)

    @property
    def num_runs(self) -> int:
        """How many complete runs there are."""
        return int(self.arrays.present.sum())

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds of the study, present at every condition or not."""
        return [int(seed) for seed in self.arrays.seed.values]

    def has(self, condition: Condition) -> bool:
        """Whether a condition has any complete run."""
        return condition in self.conditions

    def find(
        self,
        *,
        noise_kind: str | None = None,
        noise_frac: float = 0.0,
        noise_classes: Sequence[str] = (),
        noise_options: Mapping[str, Any] | None = None,
        reduction_frac: float = 0.0,
        match_steps: bool | Literal["masked"] = False,
        stratified: bool = False,
    ) -> Condition:
        """A condition by its values; without any, the baseline.

        Args:
            noise_kind: Kind of noise; may be left out where only one kind has this share.
            noise_frac: Share of the examples that is touched.
            noise_classes: Names of the classes that may be touched; empty means all.
            noise_options: The settings that this kind of noise alone has, where they are not at their default.
            reduction_frac: Share of the training set removed.
            match_steps: As many optimiser steps as without reduction: True by more passes, `masked` by smaller
                batches.
            stratified: Examples are touched and removed in proportion from every class.

        Raises:
            LookupError: No condition has these values, or several kinds of noise do.

        Examples:
            >>> preds = {(BASELINE, 1): [0, 1], (Condition(reduction_frac=0.6), 1): [0, 0]}
            >>> study = Study.of_preds([0, 1], preds, class_names=("cat", "dog"))
            >>> study.find(reduction_frac=0.6).label
            '60 % of the data removed'
        """
        wanted = Condition(
            noise_kind=noise_kind or "",
            noise_frac=noise_frac,
            noise_classes=tuple(sorted(set(noise_classes))),
            noise_options=noise_options or {},
            reduction_frac=reduction_frac,
            match_steps=match_steps,
            stratified=stratified,
        )
        any_kind = noise_kind is None and noise_frac > 0
        found = [
            condition
            for condition in self.conditions
            if wanted == (replace(condition, noise_kind="") if any_kind else condition)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            kinds = ", ".join(condition.noise_kind for condition in found)
            raise LookupError(f"Several kinds of noise touch a share of {noise_frac:g} ({kinds}); add noise_kind=KIND.")
        there = ", ".join(condition.name for condition in self.conditions)
        raise LookupError(f"No condition of this study has these values; there is {there}.")

    def _index(self, condition: Condition) -> int:
        try:
            return self.conditions.index(condition)
        except ValueError:
            there = ", ".join(known.name for known in self.conditions)
            raise LookupError(f"{condition.name} was not run; there is {there}.") from None

    def common_seeds(self, *conditions: Condition) -> list[int]:
        """Seeds that are complete at every one of the conditions: the ones that can be paired.

        Raises:
            LookupError: A condition was not run.
        """
        present = self.arrays.present.values[[self._index(condition) for condition in conditions]].all(axis=0)
        return [seed for seed, there in zip(self.seeds, present, strict=True) if there]

    def with_seeds(self, seeds: Sequence[int]) -> "Study":
        """The same study with some of its seeds alone."""
        places = self._places(seeds)
        kept = {key: path for key, path in self.directories.items() if key[1] in seeds}
        return replace(self, arrays=self.arrays.isel(seed=places), preds=self.preds[:, places], directories=kept)

    def _places(self, seeds: Sequence[int]) -> list[int]:
        known = self.seeds
        return [known.index(seed) for seed in seeds]

    def counts_of(self, condition: Condition, seeds: Sequence[int] | None = None) -> NDArray[np.int64]:
        """Counts of a condition.

        Args:
            condition: Which.
            seeds: The S seeds; None means all that are complete.

        Returns:
            (S, K, K) [seed, true, predicted]; 0 where a run is missing.

        Raises:
            LookupError: The condition was not run.
        """
        seeds = self.common_seeds(condition) if seeds is None else seeds
        return np.asarray(self.arrays.counts.values[self._index(condition), self._places(seeds)])

    def preds_of(self, condition: Condition, seeds: Sequence[int]) -> NDArray[np.int16]:
        """Predicted classes of a condition.

        Args:
            condition: Which.
            seeds: The S seeds.

        Returns:
            (S, n); -1 where a run is missing.

        Raises:
            LookupError: The condition was not run.
        """
        return self.preds[self._index(condition), self._places(seeds)]

    def mean_of(self, scalar: str, condition: Condition, seeds: Sequence[int] | None = None) -> float:
        """Mean over runs of what is kept of each run as one number.

        Args:
            scalar: Which, by its name in `arrays`.
            condition: At which condition.
            seeds: Over which seeds; None means all that are complete.
        """
        seeds = self.common_seeds(condition) if seeds is None else seeds
        return float(self.arrays[scalar].isel(condition=self._index(condition), seed=self._places(seeds)).mean())

    def series(self, name: str) -> list[Condition]:
        """A dose-response series by its name (`Condition.series`).

        The baseline first, then rising levels; conditions that also carry another stress are left
        out. Empty unless the baseline and one level were run.
        """
        levels = sorted(condition for condition in self.conditions if condition.series == name)
        return [BASELINE, *levels] if levels and self.has(BASELINE) else []

    def paired_series(self, name: str) -> list[Condition]:
        """As much of a series as shares seeds: the baseline and the levels that a curve rests on.

        A curve rests on seeds that are complete at every level, two of them if any level has two. A level with few is
        left out rather than taking seeds away from all the others: as much is kept as makes most runs, levels times
        seeds.
        """
        series = self.series(name)
        if not series:
            return []
        shared = {condition: len(self.common_seeds(BASELINE, condition)) for condition in series[1:]}
        enough = max(1, min(2, max(shared.values())))
        kept, best, most = series[1:], [], 0
        while kept:
            seeds = len(self.common_seeds(BASELINE, *kept))
            if seeds >= enough and seeds * len(kept) > most:
                best, most = list(kept), seeds * len(kept)
            kept.remove(min(reversed(kept), key=lambda condition: shared[condition]))
        return [series[0], *best]

    @property
    def noise_series(self) -> list[str]:
        """The names of the series of noise, that of the default kind first."""
        return self._series_names(lambda condition: condition.is_noisy)

    @property
    def reduction_series(self) -> list[str]:
        """The names of the series of reduction, the default one first."""
        return self._series_names(lambda condition: condition.is_reduced)

    def _series_names(self, belongs: Callable[[Condition], bool]) -> list[str]:
        levels = [condition for condition in self.conditions if condition.series and belongs(condition)]
        ordered = sorted(levels, key=lambda condition: (not condition.is_default_series, condition.series))
        return list(dict.fromkeys(str(condition.series) for condition in ordered))

    def grid(self) -> pd.DataFrame:
        """Conditions x seeds: whether each run is complete."""
        return self.arrays.present.to_pandas()

    def __repr__(self) -> str:
        name = f" {self.recipe}" if self.recipe else ""
        return (
            f"<Study{name}: {len(self.conditions)} conditions, seeds {', '.join(map(str, self.seeds))}, "
            f"{len(self.labels)} test images of {self.num_classes} classes>"
        )

    def _repr_html_(self) -> str:
        title = f"{self.title}: {self.num_runs} runs, {len(self.labels):,} test images"
        return titled_table(title, self.grid().map(lambda there: "yes" if there else "missing"))
