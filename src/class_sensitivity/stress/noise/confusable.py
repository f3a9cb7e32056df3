"""Noise where the model itself confuses."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from class_sensitivity.confusion import normalise
from class_sensitivity.errors import ConfigError
from class_sensitivity.stress.noise.counts import deal, exact_counts
from class_sensitivity.stress.noise.files import digest_of
from class_sensitivity.stress.noise.kind import NOT_A_SETTING, Examples, Labels, NoiseKind, noise_kind


@noise_kind
@dataclass(frozen=True)
class Confusable(NoiseKind):
    """Gives each touched example another class, as often as the baseline confuses its class with that one.

    With C the baseline's confusion counts summed over its runs, exactly m_i C[i, j] / (sum of C[i, k] over k != i) of
    the m_i touched examples of class i get label j != i, rounded by largest remainder; which ones is drawn. A class
    that the baseline never confuses goes to all others alike. Effective rate = nominal rate.

    Attributes:
        study: A directory of runs that holds finished baselines of the same recipe; or of one recipe, which may be of
            another network on the same data.
        study_seeds: The seeds of the baselines that count, without those that hold a stream (`streams.init=0`); empty
            means all that are finished. Name them where further runs may come: with these the counts change, and with
            the counts the run.
        confusion: (K, K) counts, [true, predicted], from there (`runs.baseline.with_baseline`).
    """

    name: str = "confusable"
    study: str | None = None
    study_seeds: list[int] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list, metadata=NOT_A_SETTING)

    def check_settings(self) -> None:
        if not self.study:
            raise ConfigError(
                "noise.kind=confusable needs finished runs of the baseline: name their directory, such as "
                "noise.study=runs."
            )

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        wrong = np.array(self.confusion, np.int64)
        np.fill_diagonal(wrong, 0)
        # What was never confused says nothing about where it would go.
        never = wrong.sum(axis=1) == 0
        wrong[never] = 1 - np.eye(len(wrong), dtype=np.int64)[never]
        labels = examples.labels
        return deal(labels, exact_counts(np.bincount(labels, minlength=len(wrong)), normalise(wrong)), rng)

    def identity(self) -> dict[str, Any]:
        return {"study": digest_of(np.array(self.confusion, "<i8"))} if self.confusion else {}

    def given(self) -> dict[str, Any]:
        settings = {"study": self.study, "study_seeds": self.study_seeds}
        return {setting: value for setting, value in settings.items() if value}
