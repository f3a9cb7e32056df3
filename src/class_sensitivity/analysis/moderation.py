"""Seed variances that borrow strength from each other: few seeds say little of one cell, and much of a hundred.

The variance over seeds of a sum over images is estimated from S values. Over a family of such sums (the cells of a
matrix, pairs of classes, classes) it is almost a function of the interaction of seeds and images, which thousands of
single images tell well. So each variance is drawn towards that function, by as much as the family agrees with it.

Sources: G. K. Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), section 6.2, for the prior and its
degrees of freedom; the same with a trend: M. A. Sartor et al., BMC Bioinformatics 7, 538 (2006).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]

#: Smaller families stay as they are: a prior cannot be estimated from so few variances.
SMALLEST_FAMILY = 9

#: Of a family of shares at least so many must vary; what never varied over the seeds is a member, too.
FEWEST_SHARES_THAT_VARY = 6

#: A prior is never trusted more than this many further seeds would be.
MOST_PRIOR_SEEDS = 10.0

#: A variance below this share of the interaction is an accident of few seeds; its logarithm would rule the fit.
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class ModeratedVariance:
    """Variances over seeds, moderated over their family.

    Attributes:
        variance: (...) of one seed's sum.
        freedom: Degrees of freedom of each: S - 1, and those of the prior.
    """

    variance: Floats
    freedom: float


def moderated_variance(variance: Floats, interaction: Floats, seeds: int, *, shares: bool = False) -> ModeratedVariance:
    """Draws the variances of a family towards their trend over the interaction, sigma^2 = I + b I^2.

    Args:
        variance: (...) sample variance over seeds of each member's sum; NaN of a class without test images, which is
            no member.
        interaction: (...) the part of it that seeds and images make together, as the single images tell it.
        seeds: S, at least 2.
        shares: Whether the members are shares: recalls that are 1 for every seed are members of their family, and
            without them the others would seldom be enough where recalls are near 1. The interval of a share can
            afford the rougher prior, because Clopper and Pearson's covers more than it has to.

    Returns:
        The variances, none below its interaction. A family of fewer than `SMALLEST_FAMILY` members that vary is
        not moderated.

    Examples:
        Ten members with one interaction: their variances, from 2 to 12, are drawn together.

        >>> few = moderated_variance(np.linspace(2.0, 12.0, 10), np.full(10, 5.0), seeds=3)
        >>> few.variance.round(1).tolist()[:3], few.freedom
        ([9.4, 9.6, 9.8], 12.0)
    """
    freedom = seeds - 1.0
    floor = np.maximum(variance, interaction)
    known = ~np.isnan(variance)
    fitted = (interaction > 0) & known
    members, varying = int((known if shares else fitted).sum()), int(fitted.sum())
    if members < SMALLEST_FAMILY or varying < FEWEST_SHARES_THAT_VARY:
        return ModeratedVariance(floor, freedom)
    sample, least = variance[fitted], interaction[fitted]
    # The logarithm of a sample variance, freed of its bias.
    logs = np.log(np.maximum(sample, _LEAST_SHARE * least)) - special.digamma(freedom / 2) + np.log(freedom / 2)
    trend = least + _slope(logs, least) * least**2
    spread = float(((logs - np.log(trend)) ** 2).sum() / (varying - 1) - special.polygamma(1, freedom / 2))
    prior = MOST_PRIOR_SEEDS if spread <= 0 else min(MOST_PRIOR_SEEDS, 2 * inverse_trigamma(spread))
    moderated = floor.astype(np.float64)
    moderated[fitted] = np.maximum(least, (prior * trend + freedom * sample) / (prior + freedom))
    return ModeratedVariance(moderated, freedom + prior)


def _slope(logs: Floats, interaction: Floats) -> float:
    """The b >= 0 at which the logarithms lie on the trend in the mean."""

    def excess(b: float) -> float:
        return float(np.mean(logs - np.log(interaction + b * interaction**2)))

    if excess(0.0) <= 0:
        return 0.0
    upper = 1.0 / float(interaction.max())
    while excess(upper) > 0:
        upper *= 2
    return float(optimize.brentq(excess, 0.0, upper))


def inverse_trigamma(value: float) -> float:
    """The x > 0 with trigamma(x) = value > 0, by Newton's method (Smyth 2004, appendix).

    Examples:
        >>> round(inverse_trigamma(float(special.polygamma(1, 3.5))), 9)
        3.5
    """
    x = 0.5 + 1 / value
    for _ in range(100):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x
