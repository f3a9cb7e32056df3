"""Whether two maps agree in which pairs of classes look alike: a rank correlation over the pairs, with its interval.

One map is measured with errors: which of two rarely confused pairs is confused more often changes with the seeds and
the images. Errors disturb an order, so the correlation that is observed is closer to 0 than that of the true map, and
that of a bootstrap draw, which has errors twice, is closer again. Percentiles of the draws would miss the truth as a
rule. So they are divided by what the errors take away (C. Spearman, "The proof and measurement of association between
two things", American Journal of Psychology 15, 1904): with s^2 the variance of the true map over the pairs and v that
of the errors,

    correlation of a draw with the true map    sqrt(s^2 / (s^2 + 2 v))          = sqrt(2 r^2 - 1)
    correlation of a draw with the estimate    sqrt((s^2 + v) / (s^2 + 2 v))    = r

and r can be observed. docs/separability.md has the coverage that was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.contrasts import shared_seeds
from class_sensitivity.analysis.estimate import with_interval
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE

Floats = NDArray[np.float64]

#: With fewer classes there are fewer than three pairs, and their order says nothing.
FEWEST_CLASSES = 3

#: Up to so many classes every order of them is tried (720 of 6); of more, so many random ones.
_MOST_TO_TRY_ALL = 6
_ORDERS = 9999

#: So many numbers are held at once; more draws, or orders, take their turn.
_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two maps over the pairs of classes.

    Attributes:
        rho: In [-1, 1]; NaN with fewer than three classes, or where all pairs of a map are the same.
        low: Lower end of the interval, for new seeds and new test images; NaN with one seed, too. It is about the true
            map, free of the errors of a few seeds and images, so it reaches further from 0 than towards it.
        high: Upper end.
        p: Two-sided p-value of the hypothesis that the one map says nothing about the other.
        pairs: How many pairs there are.
    """

    rho: float
    low: float
    high: float
    p: float
    pairs: int

    @property
    def is_open(self) -> bool:
        """Whether the interval, to two digits, is all that there is."""
        return round(self.low, 2) <= -1 and round(self.high, 2) >= 1

    def text(self) -> str:
        """The correlation with its interval, the number of pairs and p.

        Examples:
            >>> RankCorrelation(0.887, 0.85, 0.93, 0.0001, 45).text()
            '0.89 [0.85, 0.93] over 45 pairs, p = 0.0001'
        """
        return f"{with_interval(self.rho, self.low, self.high, digits=2)} over {self.pairs} pairs, p = {self.p:.2g}"


def pair_agreement(
    study: Study, other_map: NDArray[np.number], *, alpha: float = 0.05, resamples: int = 2000, seed: int = 0
) -> RankCorrelation:
    """Spearman's rank correlation of a study's look-alikeness at the baseline with another map of the same classes.

    Both maps are made symmetric first (the mean of both directions). The interval is for new seeds and new test images:
    both are drawn anew (`statistics.resample`), and the percentiles of the draws are freed of what errors take away
    (see above). Where errors could make the whole order it is [-1, 1]. The pairs are fixed, and so is the other map:
    nothing is said of other classes, or of errors in that map. The p-value is that of N. Mantel, "The detection of
    disease clustering and a generalized regression approach", Cancer Research 27 (1967): the share of the orders of the
    classes of one map that agree, or disagree, as much. It allows for pairs that share a class.

    Args:
        study: With runs of the baseline.
        other_map: (K, K), large where classes are alike (of distances, their negative); NaN for classes of which
            nothing is known, which are left out, as are classes without test images. The diagonal has no meaning.
        alpha: 1 - coverage of the interval.
        resamples: Bootstrap draws.
        seed: Of the draws, and of the orders where not all of them are tried.

    Raises:
        LookupError: The baseline was not run.
        ValueError: The map is not (K, K), or NaN for single pairs.

    Examples:
        >>> preds = {(BASELINE, s): [0, 0, 1, 0, 1, 1, 0, 2, 2, 2, 2, 2] for s in (1, 2)}
        >>> study = Study.of_preds(np.repeat([0, 1, 2], 4), preds, ("cat", "dog", "ship"))
        >>> size = np.array([3.0, 4.0, 300.0])
        >>> pair_agreement(study, -np.abs(np.subtract.outer(size, size))).rho
        1.0
    """
    classes = np.arange(study.num_classes)
    other = np.array(other_map, np.float64)
    if other.shape != (len(classes), len(classes)):
        raise ValueError(
            f"the other map must be {len(classes), len(classes)}, one row and column a class: {other.shape}"
        )
    other = (other + other.T) / 2
    np.fill_diagonal(other, np.nan)
    seeds = shared_seeds(study, [BASELINE])
    there = np.flatnonzero((study.class_sizes > 0) & ~np.isnan(other).all(axis=1))
    first, second = (there[index] for index in np.triu_indices(len(there), 1))
    theirs = statistics.without_last_digits(other[first, second])
    if np.isnan(theirs).any():
        raise ValueError("the other map must be known for all pairs of the classes that it knows: some are NaN")
    unknown = float("nan")
    if len(there) < FEWEST_CLASSES:
        return RankCorrelation(unknown, unknown, unknown, unknown, len(theirs))
    ours = _both_ways(study.counts_of(BASELINE, seeds).mean(axis=0) / np.maximum(1, study.class_sizes)[:, np.newaxis])
    mine = statistics.without_last_digits(ours[first, second])
    rho, _ = statistics.rank_correlation(mine, theirs)
    if np.isnan(rho):
        return RankCorrelation(unknown, unknown, unknown, unknown, len(theirs))
    low = high = unknown
    if len(seeds) > 1:
        rng = np.random.default_rng([seed, *b"agreement"])
        fixed = np.stack([theirs, mine])
        drawn = [_correlations(draws[:, first, second], fixed) for draws in _draws(study, seeds, resamples, rng)]
        with_other, with_mine = np.concatenate(drawn, axis=1)
        low, high = _interval(rho, with_other, float(with_mine.mean()), alpha)
    return RankCorrelation(
        rho, low, high, mantel_p(mine, theirs, np.random.default_rng([seed, *b"orders"])), len(theirs)
    )


def _interval(rho: float, drawn: Floats, with_estimate: float, alpha: float) -> tuple[float, float]:
    """Percentiles of the draws' correlations, freed of what the errors take away; rho is always inside."""
    kept = 2 * with_estimate**2 - 1
    if kept <= 0:  # the errors could make the whole order
        return -1.0, 1.0
    ends = np.quantile(drawn, [alpha / 2, 1 - alpha / 2]) / np.sqrt(kept)
    low, high = np.clip(ends, -1, 1)
    return float(min(low, rho)), float(max(high, rho))


def _both_ways(shares: Floats) -> Floats:
    return np.asarray((shares + shares.swapaxes(-1, -2)) / 2)


def _draws(study: Study, seeds: list[int], count: int, rng: np.random.Generator) -> Iterator[Floats]:
    """(B, K, K) look-alikeness as it would come out with other seeds and other images, `count` draws in all."""
    classes = np.arange(study.num_classes)
    at_a_time = max(1, _AT_A_TIME // len(classes) ** 2)
    for start in range(0, count, at_a_time):
        weights = statistics.seed_weights(len(seeds), min(at_a_time, count - start), rng)
        shares = np.zeros((len(weights), len(classes), len(classes)))
        for c in np.flatnonzero(study.class_sizes):
            inside = study.labels == c
            predicted = study.preds_of(BASELINE, seeds)[:, inside, np.newaxis] == classes
            shares[:, c] = statistics.resample(predicted / inside.sum(), study.labels[inside], weights, rng)
        yield _both_ways(shares)


def _correlations(draws: Floats, values: Floats) -> Floats:
    """(M, B) Spearman's correlation of (M, P) values with each of (B, P) draws; no row of values is all the same."""
    ranks, fixed = (stats.rankdata(each, axis=1) - (values.shape[1] + 1) / 2 for each in (draws, values))
    spreads = np.sqrt((fixed**2).sum(axis=1, keepdims=True) * (ranks**2).sum(axis=1))
    found = np.zeros(spreads.shape)  # a draw in which all pairs are the same has no order at all
    np.divide(fixed @ ranks.T, spreads, out=found, where=spreads > 0)
    return found


def mantel_p(one: Floats, other: Floats, rng: np.random.Generator) -> float:
    """Two-sided p-value of Spearman's correlation of two maps, by putting the classes of one in other orders.

    Exact up to six classes, where all orders are tried; of more, 9,999 random ones and the true one.

    Args:
        one: (P,) a value for each pair i < j of K classes, row by row (`np.triu_indices`).
        other: (P,) the same of the other map.
        rng: Draws the orders.
    """
    size = round((1 + np.sqrt(1 + 8 * len(one))) / 2)
    first, second = np.triu_indices(size, 1)
    ranks = np.zeros((size, size))
    ranks[first, second] = ranks[second, first] = stats.rankdata(one)
    theirs = stats.rankdata(other) - (len(other) + 1) / 2  # then the sum of products goes with the correlation
    observed = abs(float(ranks[first, second] @ theirs))
    reached = total = 0
    for orders in _orders(size, rng):
        sums = np.abs(ranks[orders[:, first], orders[:, second]] @ theirs)
        reached += int((sums >= observed * (1 - 1e-12)).sum())  # equal sums may differ in the last digit
        total += len(orders)
    return reached / total


def _orders(size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """(B, size) orders of the classes, the true one among them."""
    if size <= _MOST_TO_TRY_ALL:
        yield np.array(list(permutations(range(size))))
        return
    yield np.arange(size)[np.newaxis]
    at_a_time = max(1, _AT_A_TIME // size**2)
    for start in range(0, _ORDERS, at_a_time):
        yield rng.permuted(np.tile(np.arange(size), (min(at_a_time, _ORDERS - start), 1)), axis=1)
