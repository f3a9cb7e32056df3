"""Where the variance of falls comes from, in words, figures and a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from class_sensitivity.analysis.loading import StreamStudy
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.variance_split import VarianceSplit, variance_splits
from class_sensitivity.figures.variance import plot_variance_split
from class_sensitivity.report.parts import FigureSpec, Finding
from class_sensitivity.seeding import STREAMS


@dataclass(frozen=True)
class VarianceOfStudy:
    """What each source of chance makes of the falls of one study.

    Attributes:
        found: One entry a condition and seed, at which some stream was varied alone.
        class_names: The K names.
        alpha: 1 - coverage of intervals.
    """

    found: tuple[VarianceSplit, ...]
    class_names: tuple[str, ...]
    alpha: float

    def findings(self) -> Iterator[Finding]:
        """What each stream makes of the variance, the largest part of accuracy's first."""
        for split in self.found:
            parts = sorted(split.streams, key=lambda name: -split.streams[name].accuracy)
            listed, of_classes = [], []
            for name in parts:
                variance, words = split.streams[name], STREAMS[name]
                share, low, high = (100 * each for each in split.share(name, alpha=self.alpha))
                interval = "" if np.isnan(share) else f" ({share:.0f} [{low:.0f}, {high:.0f}] %)"
                listed.append(f"{words} {100 * np.sqrt(variance.accuracy):.1f}{interval}")
                of_classes.append(f"{words} {100 * np.sqrt(variance.mean):.1f}")
            if split.together is not None:
                listed.append(f"all together {100 * np.sqrt(split.together.accuracy):.1f}")
                of_classes.append(f"all together {100 * np.sqrt(split.together.mean):.1f}")
            shares = "" if split.together is None else " (and in parts of the variance over plain seeds)"
            yield Finding(
                f"Accuracy's fall at {split.condition.label} varies, in points{shares}, by {'; '.join(listed)}. "
                f"A class's fall varies by {'; '.join(of_classes)}.",
                figure=_figure_name(split),
            )

    def specs(self) -> Iterator[FigureSpec]:
        """One figure a condition and seed."""
        for split in self.found:
            yield FigureSpec(
                _figure_name(split),
                f"Where does the variance of a fall come from? {split.condition.label}",
                "Standard deviation of each class's fall when one source of chance varies and the others stand still, "
                "and when all do. A deviation of five values may be wrong by a factor of two.",
                lambda split=split: plot_variance_split(split, self.class_names),  # type: ignore[misc]
            )

    def table(self) -> pd.DataFrame:
        """One row per condition, seed, stream (`*` = all together) and class (`*` = accuracy)."""
        rows = []
        for split in self.found:
            every = {**split.streams, **({"*": split.together} if split.together else {})}
            for stream, variance in every.items():
                share = split.share(stream, alpha=self.alpha) if stream != "*" else (1.0, np.nan, np.nan)
                shares = [*[(np.nan, np.nan, np.nan)] * len(self.class_names), share]  # of accuracy alone
                values = [*variance.classes.tolist(), variance.accuracy]
                for name, value, of_all in zip([*self.class_names, "*"], values, shares, strict=True):
                    row: dict[str, object] = {"condition": split.condition.name, "seed": split.seed, "stream": stream}
                    row |= {"class": name, "values": variance.number, "variance": value}
                    row |= dict(zip(("share", "share_low", "share_high"), of_all, strict=True))
                    rows.append(row)
        return pd.DataFrame(rows)


def _figure_name(split: VarianceSplit) -> str:
    return f"variance_{split.condition.name}_seed-{split.seed}"


def variance_of(study: Study, stream_studies: Sequence[StreamStudy], alpha: float) -> VarianceOfStudy:
    """Of one study.

    Args:
        study: Its plain runs.
        stream_studies: Runs in which one stream was varied alone, of any recipe.
        alpha: 1 - coverage of intervals.
    """
    own = [each for each in stream_studies if each.study.recipe == study.recipe]
    return VarianceOfStudy(tuple(variance_splits(study, own)), tuple(study.class_names), alpha)
