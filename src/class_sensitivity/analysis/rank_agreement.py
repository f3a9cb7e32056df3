"""How well two lists of measurements agree in their order, with an interval for what is true of them.

Both lists are measured with errors, and errors make orders differ: of two lists that agree perfectly the observed rank
correlation is less than 1, and that of their bootstrap draws, which carry the errors twice, is less again. Percentiles
of the draws therefore never reach the truth where it is near 1. The interval is found by inverting a test instead
(J. Carpenter, "Test inversion bootstrap confidence intervals", Journal of the Royal Statistical Society B 61, 1999).

The two lists may share seeds and images, and then their errors go together, which makes orders alike that are not. The
test allows for that, because the errors are drawn jointly; to divide by what errors take away, as `pair_agreement` does
for one measured list, would not. docs/model-dependence.md has the coverage that was measured.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from class_sensitivity.analysis.estimate import with_interval
from class_sensitivity.analysis.statistics import rank_correlation, without_last_digits

Floats = NDArray[np.float64]

#: Of two members the order is alike or turned, and no more is to be said.
FEWEST_MEMBERS = 3

#: How many true lists are tried, from equal ones to opposite ones.
_STEPS = 61


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation of two lists of measurements.

    Attributes:
        rho: Of the lists as measured, in [-1, 1]; NaN where all values of one are alike.
        low: Lower end of the interval for the rank correlation of the true values; NaN where there is none.
        high: Upper end.
    """

    rho: float
    low: float = float("nan")
    high: float = float("nan")

    def text(self) -> str:
        """The correlation with its interval.

        Examples:
            >>> RankAgreement(0.85, 0.6, 1.0).text()
            '0.85 [0.60, 1.00]'
        """
        return with_interval(self.rho, self.low, self.high, digits=2)


def rank_agreement(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    draws_one: NDArray[np.floating],
    draws_other: NDArray[np.floating],
    *,
    alpha: float = 0.05,
) -> RankAgreement:
    """Spearman's rank correlation of two lists, with an interval for that of their true values.

    True lists are tried along a way from equal ones over the observed ones to opposite ones, each spread as widely as
    the observed list is without its errors. Those under which a correlation like the observed one is not unusual make
    the interval; errors are the draws' deviations from the observed lists. The percentiles of the draws are added to
    it, because other true lists than those on the way have near ties elsewhere. Where the errors could make the whole
    spread of a list, nothing is known: [-1, 1].

    Args:
        one: (K,) measured values; NaN for what was not measured, which is left out.
        other: (K,) the same of the other list.
        draws_one: (B, K) draws of `one` with other seeds and images (`statistics.resample`); B = 0 if there are none.
        draws_other: (B, K) draws of `other`; row b with the seeds and images of row b of `draws_one` where the two
            lists share them.
        alpha: 1 - coverage of the interval.

    Returns:
        The correlation; no interval for fewer than `FEWEST_MEMBERS` values, and without draws.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> one, other = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1.2, 2.9, 2.3, 3.8, 5.1, 6.2])
        >>> errors = rng.normal(size=(2, 500, 6)) / 4
        >>> rank_agreement(one, other, one + errors[0], other + errors[1]).text()
        '0.94 [0.83, 1.00]'
    """
    known = ~(np.isnan(one) | np.isnan(other))
    first, second = (np.asarray(each[known], np.float64) for each in (one, other))
    first_errors, second_errors = draws_one[:, known] - first, draws_other[:, known] - second
    rho = rank_correlation(without_last_digits(first), without_last_digits(second))[0] if known.any() else float("nan")
    if np.isnan(rho) or len(first) < FEWEST_MEMBERS or not len(draws_one):
        return RankAgreement(rho)
    spreads = [
        np.sqrt(max(0.0, float(values.var(ddof=1) - errors.var(axis=0).mean())))
        for values, errors in ((first, first_errors), (second, second_errors))
    ]
    if 0 in spreads:
        return RankAgreement(rho, -1.0, 1.0)
    drawn = _row_correlations(first + first_errors, second + second_errors)
    possible = [rho, *np.nanquantile(drawn, [alpha / 2, 1 - alpha / 2]).tolist()]
    for this, that in _from_equal_to_opposite(first, second):
        truth = this * spreads[0], that * spreads[1]
        seen = _row_correlations(truth[0] + first_errors, truth[1] + second_errors)
        # A millionth, because sums of equal ranks may differ in the last digit.
        if min((seen <= rho + 1e-6).mean(), (seen >= rho - 1e-6).mean()) >= alpha / 2:
            possible.append(rank_correlation(*truth)[0])
    return RankAgreement(rho, min(possible), max(possible))


def _from_equal_to_opposite(one: Floats, other: Floats) -> list[tuple[Floats, Floats]]:
    """Pairs of lists with a standard deviation of 1: equal, ever less alike, the observed ones among them, opposite."""
    one, other = _standardised(one), _standardised(other)
    alike, unlike = one + other, one - other
    if min(np.ptp(alike), np.ptp(unlike)) < 1e-9:
        return []  # they are equal, or opposite, to the last digit, and so there is no way
    alike, unlike = _standardised(alike), _standardised(unlike)
    turns = [(np.cos(turn) * alike, np.sin(turn) * unlike) for turn in np.linspace(0, np.pi / 2, _STEPS)]
    return [(_standardised(common + rest), _standardised(common - rest)) for common, rest in turns]


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / centred.std(ddof=1))


def _row_correlations(one: Floats, other: Floats) -> Floats:
    """(B,) Spearman's rank correlation of each row of two (B, K) arrays."""
    ranks = [stats.rankdata(values, axis=1) for values in (one, other)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    with np.errstate(invalid="ignore"):
        return np.asarray((first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1)))
