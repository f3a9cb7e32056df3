"""Where the variance of falls comes from, in words, figures and a table."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from class_sensitivity.analysis.variance_split import VarianceSplit
from class_sensitivity.figures.variance import plot_variance_split
from class_sensitivity.report.figure_list import FigureSpec

#: What the streams of chance are, for people.
_IN_WORDS = {
    "selection": "which examples are touched",
    "labels": "which labels they get",
    "validation": "which examples are held out",
    "init": "initial weights",
    "order": "order of the batches",
    "augment": "flips and crops",
    "dropout": "dropout",
}


def sentences(splits: Sequence[VarianceSplit], alpha: float) -> Iterator[str]:
    """What each stream makes of the variance, the largest part first."""
    for split in splits:
        parts = sorted(split.streams, key=lambda name: -split.streams[name].mean)
        listed = []
        for name in parts:
            deviation = f"{_IN_WORDS[name]} {100 * np.sqrt(split.streams[name].mean):.1f}"
            share, low, high = (100 * each for each in split.share(name, alpha=alpha))
            listed.append(deviation if np.isnan(share) else f"{deviation} ({share:.0f} [{low:.0f}, {high:.0f}] %)")
        together = split.together
        whole = f"; all together {100 * np.sqrt(together.mean):.1f}" if together else ""
        yield (
            f"A class's fall at {split.condition.label} varies, in points of recall (and in parts of the variance over "
            f"plain seeds), by {', '.join(listed)}{whole}."
        )


def specs(splits: Sequence[VarianceSplit], class_names: Sequence[str]) -> Iterator[FigureSpec]:
    """One figure a condition and seed."""
    for split in splits:
        yield FigureSpec(
            f"variance_{split.condition.name}_seed-{split.seed}",
            f"Where does the variance of a fall come from? {split.condition.label}",
            "Standard deviation of each class's fall when one source of chance varies and the others stand still, and "
            "when all do. A deviation of five values may be wrong by a factor of two.",
            lambda split=split: plot_variance_split(split, class_names),  # type: ignore[misc]
        )


def table(splits: Sequence[VarianceSplit], class_names: Sequence[str], alpha: float) -> pd.DataFrame:
    """One row per condition, seed, stream (`*` = all together) and class (`*` = accuracy)."""
    rows = []
    for split in splits:
        every = {**split.streams, **({"*": split.together} if split.together else {})}
        for stream, variance in every.items():
            share = split.share(stream, alpha=alpha) if stream != "*" else (1.0, np.nan, np.nan)
            values = [*variance.classes.tolist(), variance.accuracy]
            for name, value in zip([*class_names, "*"], values, strict=True):
                row: dict[str, object] = {"condition": split.condition.name, "seed": split.seed, "stream": stream}
                row |= {"class": name, "values": variance.number, "variance": value}
                row |= dict(zip(("share", "share_low", "share_high"), share, strict=True))
                rows.append(row)
    return pd.DataFrame(rows)
