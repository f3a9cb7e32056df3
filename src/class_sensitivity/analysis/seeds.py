"""How many seeds a question still needs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.omnibus import OmnibusTest

Floats = NDArray[np.float64]

#: Probability with which that many seeds would decide, if the effect is what it looks like.
POWER = 0.8

#: More are never advised: nobody runs them, and the extrapolation would mean little.
MOST_SEEDS = 1000

#: One time in four a true effect is larger than it looks by so many standard errors, one time in four smaller.
_QUARTILE = 0.674


@dataclass(frozen=True)
class SeedsNeeded:
    """About how many seeds, in all, would decide a question.

    Attributes:
        about: If the effect is what it looks like; None: no number on this test set, because the choice of images alone
            leaves it open, or more than `MOST_SEEDS`.
        at_best: If the effect is larger, as one time in four.
        at_worst: If it is smaller, as one time in four; None as for `about`.
    """

    about: int | None
    at_best: int | None
    at_worst: int | None

    @property
    def number(self) -> float:
        """`about`, infinite for never."""
        return inf if self.about is None else float(self.about)

    def text(self) -> str:
        """In words.

        Examples:
            >>> SeedsNeeded(12, 8, 31).text()
            'about 12 seeds (8 to 31)'
            >>> SeedsNeeded(None, None, None).text()
            'more test images, not more seeds'
        """
        if self.about is None:
            at_best = f" ({self.at_best} seeds at best)" if self.at_best else ""
            return f"more test images, not more seeds{at_best}"
        worst = "many more" if self.at_worst is None else str(self.at_worst)
        return f"about {self.about} seeds ({self.at_best} to {worst})"


def seeds_needed(estimate: Estimate, *, above: float = 0.0, below: float = inf, alpha: float = 0.05) -> SeedsNeeded:
    """How many seeds a one-sided test at level alpha would need, with a power of `POWER`.

    Args:
        estimate: A single value, from at least two seeds.
        above: What it is tested to be above ...
        below: ... and below; a value out of these bounds is tested to be out of them.
        alpha: The test's level.
    """
    value, error = float(estimate.value), float(estimate.error)
    distance = abs(min(value - above, below - value))
    likely = distance, distance + _QUARTILE * error, distance - _QUARTILE * error
    return _needed([float(seeds_to_tell(estimate, np.asarray(each), alpha=alpha)) for each in likely])


def seeds_needed_by(test: OmnibusTest, *, alpha: float = 0.05) -> SeedsNeeded:
    """How many seeds a test of many differences at level alpha would need, with a power of `POWER`.

    Its statistic is taken for a noncentral F variable; the noncentrality f1 sum(mu^2) / tr(V) grows as V shrinks. The
    differences mu are what they look like if F is the median of that variable; one time in four they are larger than if
    F is its lower quartile, and one time in four smaller than if it is the upper one.

    Args:
        test: The test, from at least two seeds.
        alpha: Its level.
    """
    freedom = test.numerator_freedom, test.denominator_freedom
    trace = test.traces.of_seeds(test.traces.number)[0]
    # 0 where even equal measurements would leave F smaller than this quantile.
    likely = (float(special.ncfdtrinc(*freedom, quantile, test.statistic)) for quantile in (0.5, 0.25, 0.75))
    return _needed([seeds_to_find(test, each * trace / freedom[0], alpha=alpha) for each in likely])


def seeds_to_find(test: OmnibusTest, size: float, *, alpha: float = 0.05) -> float:
    """The number of seeds at which a test of many differences finds them, with a power of `POWER`.

    Args:
        test: Where the variances come from.
        size: Sum of the squared differences.
        alpha: The test's level.

    Returns:
        A whole number of 2 or more; infinite where no number up to `MOST_SEEDS` is enough.
    """

    def enough(number: Floats) -> NDArray[np.bool_]:
        trace, numerator, denominator = test.traces.of_seeds(float(number))
        bound = stats.f.isf(alpha, numerator, denominator)
        missed = special.ncfdtr(numerator, denominator, numerator * size / trace, bound)
        # NaN where the noncentrality is so large that nothing is missed.
        return np.asarray(size > 0 and 1 - np.nan_to_num(missed) >= POWER)

    return float(_fewest(enough, ()))


def _needed(numbers: list[float]) -> SeedsNeeded:
    return SeedsNeeded(*(None if number == inf else int(number) for number in numbers))


def seeds_to_tell(estimate: Estimate, distance: Floats, *, alpha: float = 0.05) -> Floats:
    """The number of seeds at which a one-sided test finds an effect of this size, with a power of `POWER`.

    The variance over seeds shrinks with their number, that over images does not: n is the smallest with

        distance >= (t_alpha + t_power) sqrt(V_seed / n + V_images)

    Args:
        estimate: Where the variances come from, from at least two seeds.
        distance: (...) distance of the value from what it is tested against, in its unit.
        alpha: The test's level.

    Returns:
        (...) whole numbers of 2 or more; infinite where no number up to `MOST_SEEDS` is enough.
    """
    seeds = len(estimate.per_seed)
    of_one_seed, images = estimate.seed_variance * seeds, estimate.image_variance
    prior = estimate.seed_freedom - (seeds - 1)

    def enough(number: Floats) -> NDArray[np.bool_]:
        part = of_one_seed / number
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.minimum((part + images) ** 2 / (part**2 / (number - 1 + prior)), 1e9)
        quantiles = stats.t.ppf(1 - alpha, freedom) + stats.t.ppf(POWER, freedom)
        return np.asarray((distance > 0) & (distance >= quantiles * np.sqrt(part + images)))

    return _fewest(enough, np.shape(distance))


def _fewest(enough: Callable[[Floats], NDArray[np.bool_]], shape: tuple[int, ...]) -> Floats:
    """The first number of seeds that is enough, of 2 or more; infinite where `MOST_SEEDS` are not."""
    # More seeds are never worse, so bisection finds it; `few` is not enough.
    few, many = np.full(shape, 1.0), np.full(shape, float(MOST_SEEDS))
    while (many - few > 1).any():
        middle = np.ceil((few + many) / 2)
        found = enough(middle)
        few, many = np.where(found, few, middle), np.where(found, middle, many)
    return np.where(enough(many), many, np.inf)
