"""How much of the variance of a fall each source of chance makes: which examples, which labels, weights, order, crops.

Runs in which one random stream varies and all others stand still show what that stream does by itself. Falls are
paired (baseline minus condition, at the same value of the stream), so what a stream does to both alike does not count.
Variances of single streams need not add up to that of all: what two of them do only together is in the latter alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts
from class_sensitivity.analysis.loading import StreamStudy
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FallVariance:
    """The variance of falls over values of one stream, or over seeds.

    Attributes:
        number: Values of the stream.
        accuracy: Of the fall of accuracy, in squared shares.
        classes: (K,) of the falls of recall.
    """

    number: int
    accuracy: float
    classes: Floats

    @property
    def mean(self) -> float:
        """Of the classes."""
        return float(np.nanmean(self.classes))


@dataclass(frozen=True)
class VarianceSplit:
    """Where the variance of the falls under one condition comes from.

    Attributes:
        condition: Which.
        seed: Of the streams that stand still.
        streams: Name of a stream -> what it makes when it varies alone.
        together: What all make together, over plain seeds; None with fewer than two.
    """

    condition: Condition
    seed: int
    streams: Mapping[str, FallVariance]
    together: FallVariance | None

    def share(self, stream: str, *, alpha: float = 0.05) -> tuple[float, float, float]:
        """A stream's part of the variance of accuracy's fall: value, low, high; NaN without plain seeds.

        The falls of classes hang together, so that their variances, pooled, have no degrees of freedom that are known.
        Accuracy's is one number, and its interval that of a ratio of two variances (F).

        Args:
            stream: Which.
            alpha: 1 - coverage of the interval, which takes falls as normally distributed.
        """
        one, every = self.streams[stream], self.together
        if every is None or not every.accuracy:
            return np.nan, np.nan, np.nan
        ratio = one.accuracy / every.accuracy
        low, high = stats.f.ppf([1 - alpha / 2, alpha / 2], one.number - 1, every.number - 1)
        return ratio, float(ratio / low), float(ratio / high)


def variance_splits(study: Study, stream_studies: Sequence[StreamStudy]) -> Iterator[VarianceSplit]:
    """Every condition of which a stream was varied, at every seed of the others.

    Args:
        study: The plain runs of a recipe.
        stream_studies: Runs of the same recipe in which one stream was varied alone.
    """
    seeds = sorted({each.seed for each in stream_studies})
    for seed in seeds:
        varied = {each.stream: each.study for each in stream_studies if each.seed == seed}
        conditions = sorted({condition for one in varied.values() for condition in one.conditions} - {BASELINE})
        for condition in conditions:
            # Runs that do not draw from a stream are the same for all of its values.
            drawn = {stream: one for stream, one in varied.items() if condition.draws_from(stream)}
            found = {stream: _variance(one, condition) for stream, one in drawn.items()}
            streams = {stream: variance for stream, variance in found.items() if variance is not None}
            if streams:
                yield VarianceSplit(condition, seed, streams, _variance(study, condition))


def _variance(study: Study, condition: Condition) -> FallVariance | None:
    """Of the falls under a condition; None with fewer than two values."""
    if not study.has(condition) or not study.has(BASELINE):
        return None
    shared = study.common_seeds(BASELINE, condition)
    if len(shared) < 2:
        return None
    fall = {BASELINE: 1.0, condition: -1.0}
    accuracy, classes = (
        contrast(study, fall).per_seed.var(axis=0, ddof=1) for contrast in (accuracy_contrast, class_contrasts)
    )
    return FallVariance(len(shared), float(accuracy), classes)
