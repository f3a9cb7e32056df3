"""How many seeds a question still needs, and which runs would answer most for the least time."""

from dataclasses import dataclass
from math import inf

from scipy import stats

from class_sensitivity.analysis.estimate import Estimate

#: Probability with which that many seeds would decide, if the effect is what it looks like.
POWER = 0.8

#: More are never advised: nobody runs them, and the extrapolation would mean little.
MOST_SEEDS = 1000

#: Half of the effects that a study of this precision could have shown lie within so many standard errors of its own.
_HALF = 0.674


@dataclass(frozen=True)
class SeedsNeeded:
    """About how many seeds, in all, would decide a question.

    Attributes:
        about: If the effect is what it looks like; None: never on this test set, because the choice of images alone
            leaves it open (or more than `MOST_SEEDS`).
        at_best: If the effect is larger, by as much as one time in four.
        at_worst: If it is smaller by as much; None as for `about`.
    """

    about: int | None
    at_best: int | None
    at_worst: int | None

    def text(self) -> str:
        """In words, such as `about 12 seeds (8 to 31)`."""
        if self.about is None:
            return "never on this test set" + (f", or {self.at_best} seeds at best" if self.at_best else "")
        worst = "many more" if self.at_worst is None else str(self.at_worst)
        return f"about {self.about} seeds ({self.at_best} to {worst})"


def seeds_needed(estimate: Estimate, *, above: float = 0.0, below: float = inf, alpha: float = 0.05) -> SeedsNeeded:
    """How many seeds a one-sided test at level alpha would need, with a power of `POWER`.

    The variance over seeds shrinks with their number, that over images does not.

    Args:
        estimate: A single value, from at least two seeds.
        above: What it is tested to be above ...
        below: ... and below; a value out of these bounds is tested to be out of them.
        alpha: The test's level.
    """
    value, error = float(estimate.value), float(estimate.error)
    distance = abs(min(value - above, below - value))
    about, best, worst = (
        _seeds(estimate, d, alpha) for d in (distance, distance + _HALF * error, distance - _HALF * error)
    )
    return SeedsNeeded(about, best, worst)


def _seeds(estimate: Estimate, distance: float, alpha: float) -> int | None:
    seeds = len(estimate.per_seed)
    of_one_seed, images = float(estimate.seed_variance) * seeds, float(estimate.image_variance)
    prior = estimate.seed_freedom - (seeds - 1)
    if distance <= 0:
        return None
    for number in range(2, MOST_SEEDS + 1):
        part = of_one_seed / number
        variance = part + images
        freedom = variance**2 / (part**2 / (number - 1 + prior)) if part > 0 else inf
        quantiles = stats.t.ppf([1 - alpha, POWER], min(freedom, 1e9)).sum()
        if distance >= quantiles * variance**0.5:
            return number
        # What no number of seeds can take away:
        if distance < stats.norm.ppf([1 - alpha, POWER]).sum() * images**0.5:
            return None
    return None
