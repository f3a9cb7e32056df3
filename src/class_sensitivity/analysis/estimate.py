"""A measurement with its uncertainty: intervals, tests, and how it is written."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import elementwise

Floats = NDArray[np.float64]

#: Stands for infinitely many degrees of freedom, where seeds play no part.
_INFINITE = 1e9

#: A share below this one is 0 but for a rounding error: one of n images is far more.
_NO_SHARE = 1e-15

#: p-values of a share are not told from 0 below this one.
_SMALLEST_P = 1e-100


def with_interval(
    value: float, low: float, high: float, *, digits: int = 1, signed: bool = False, unit: str = ""
) -> str:
    """A number with its interval, as text; what rounds to 0 has no minus.

    Args:
        value: The number.
        low: Lower end of the interval; NaN where there is none, and then there are no brackets.
        high: Upper end.
        digits: Digits after the point.
        signed: Give positive numbers their sign, too.
        unit: What the number is counted in.

    Examples:
        >>> with_interval(1.25, 0.5, 2.0, digits=2, signed=True, unit="test images")
        '+1.25 [+0.50, +2.00] test images'
    """
    form = f"{'+' if signed else ''}z.{digits}f"
    interval = "" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{interval}" + (f" {unit}" if unit else "")


@dataclass(frozen=True)
class Estimate:
    """A value, mean over seeds, and the parts of its variance; all arrays have one shape.

    The interval is a t interval with Hillis' degrees of freedom; that of a share is Korn and Graubard's (`share_of`).
    Tests are what the intervals say: a one-sided p-value is at most a exactly where the end of the interval that covers
    1 - 2a is beyond the bound.

    Attributes:
        value: The measurement.
        seed_variance: Variance of `value` over seeds, interaction with images included; NaN with fewer than two seeds.
        image_variance: Variance of `value` that is due to the choice of images.
        seed_freedom: Degrees of freedom of `seed_variance`.
        per_seed: (S, ...) the measurement of each seed.
        alpha: 1 - coverage of the interval, in (0, 1).
        share_of: Number of images of which `value` is a share; None for what is no share.
        unit: What a share of 1 is in: 100 for percent.

    Examples:
        >>> fall = Estimate(np.float64(0.031), np.float64(9e-6), np.float64(4e-6), 14.0, np.array([0.03, 0.032]))
        >>> fall.scaled(100).text(unit="points")
        '3.1 [2.4, 3.8] points'
    """

    value: Floats
    seed_variance: Floats
    image_variance: Floats
    seed_freedom: float
    per_seed: Floats
    alpha: float = 0.05
    share_of: Floats | None = None
    unit: float = 1.0

    @property
    def variance(self) -> Floats:
        """Of `value`, over new seeds and new images."""
        return np.asarray(self.seed_variance + self.image_variance)

    @property
    def error(self) -> Floats:
        """Standard error over new seeds and new images."""
        return np.sqrt(self.variance)

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom of `variance`: V^2 / (V_seeds^2 / f_seeds) (Hillis 2007)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = self.variance**2 / (self.seed_variance**2 / self.seed_freedom)
        return np.where(np.isfinite(freedom), np.minimum(freedom, _INFINITE), _INFINITE)

    @property
    def low(self) -> Floats:
        """Lower end of the interval; NaN with fewer than two seeds."""
        return self._interval[0]

    @property
    def high(self) -> Floats:
        """Upper end of the interval."""
        return self._interval[1]

    @property
    def p(self) -> Floats:
        """Two-sided p-value of the hypothesis that the value is 0; NaN with fewer than two seeds."""
        return np.asarray(np.minimum(1, 2 * np.minimum(self.p_above(0.0), self.p_below(0.0))))

    def p_above(self, bound: float) -> Floats:
        """One-sided p-value of the hypothesis that the value is at most `bound`: small, it is above."""
        if self.share_of is not None:
            return self._share_tail(bound / self.unit)
        return self._tail(self.value - bound)

    def p_below(self, bound: float) -> Floats:
        """One-sided p-value of the hypothesis that the value is at least `bound`: small, it is below."""
        if self.share_of is not None:  # the share that is wrong is above what is left of 1
            return self._share_tail(bound / self.unit, turned=True)
        return self._tail(bound - self.value)

    def at(self, alpha: float) -> "Estimate":
        """The same with an interval of another coverage, 1 - alpha."""
        return replace(self, alpha=alpha)

    def on_these_images(self) -> "Estimate":
        """The same for the question what other seeds would give on these very test images."""
        share_of = None if self.share_of is None else self.share_of * len(self.per_seed)
        return replace(self, image_variance=np.zeros_like(self.image_variance), share_of=share_of)

    def scaled(self, factor: float) -> "Estimate":
        """The same measurement in another unit; a negative factor also turns its direction.

        Args:
            factor: What the value and the seeds' measurements are multiplied by; not 0, and positive for a share.
        """
        return replace(
            self,
            value=self.value * factor,
            seed_variance=self.seed_variance * factor**2,
            image_variance=self.image_variance * factor**2,
            per_seed=self.per_seed * factor,
            unit=self.unit * factor,
        )

    def text(self, digits: int = 1, *, signed: bool = False, unit: str = "") -> str:
        """A single value with its interval: `value [low, high] unit`; no brackets where there is no interval.

        Args:
            digits: Digits after the point.
            signed: Give positive numbers their sign, too.
            unit: What the value is counted in.

        Raises:
            TypeError: The estimate holds more than one value.
        """
        numbers = float(self.value), float(self.low), float(self.high)
        return with_interval(*numbers, digits=digits, signed=signed, unit=unit)

    def __getitem__(self, index: Any) -> "Estimate":
        """The estimate of one or some of the measurements."""
        seeds = (slice(None), *(index if isinstance(index, tuple) else (index,)))
        return replace(
            self,
            value=self.value[index],
            seed_variance=self.seed_variance[index],
            image_variance=self.image_variance[index],
            per_seed=self.per_seed[seeds],
            share_of=None if self.share_of is None else self.share_of[index],
        )

    def _tail(self, distance: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = distance / self.error
        p = np.where(self.error > 0, stats.t.sf(t, self.freedom), np.where(distance > 0, 0.0, 1.0))
        # With nothing that varies, a value on the bound is on either side of it.
        p = np.where((self.error == 0) & (distance == 0), 0.5, p)
        return np.where(np.isnan(self.variance), np.nan, p)

    @cached_property
    def _interval(self) -> tuple[Floats, Floats]:
        if self.share_of is not None:
            return self._share_interval()
        half = self.error * stats.t.ppf(1 - self.alpha / 2, self.freedom)
        return np.asarray(self.value - half), np.asarray(self.value + half)

    def _share_interval(self) -> tuple[Floats, Floats]:
        """Clopper and Pearson's interval at the effective number of images."""
        level, (share, *rest) = self.alpha / 2, self._as_share()
        images = _effective_images(np.asarray(level), share, *rest)
        right = share * images
        with np.errstate(invalid="ignore"):
            low = np.where(right > 0, stats.beta.ppf(level, right, images - right + 1), 0.0)
            high = np.where(right < images, stats.beta.isf(level, right + 1, images - right), 1.0)
        unknown = np.isnan(self.variance) | np.isnan(self.value)
        return np.where(unknown, np.nan, low) * self.unit, np.where(unknown, np.nan, high) * self.unit

    def _share_tail(self, bound: float, *, turned: bool = False) -> Floats:
        """The level at which the one-sided interval of a share starts at a bound; `turned`: the share that is wrong.

        The effective number of images depends on the level, so the level is searched for. Beyond a half, where no test
        is made, it is taken for that at a half.
        """
        share, *rest = self._as_share()
        if turned:
            share, bound = 1 - share, 1 - bound
        found = elementwise.find_root(_beyond, (_SMALLEST_P, 0.5), args=(bound, share, *rest))
        at_half = _beyond(np.asarray(0.5), np.asarray(bound), share, *rest) + 0.5
        p = np.where(at_half >= 0.5, at_half, np.where(found.success, found.x, 0.0))
        return np.where(np.isnan(self.variance) | np.isnan(self.value), np.nan, p)

    def _as_share(self) -> tuple[Floats, Floats, Floats, Floats]:
        """The value in [0, 1], its variance, degrees of freedom and number of images."""
        share = np.clip(self.value / self.unit, 0, 1)
        share = np.where(share < _NO_SHARE, 0.0, share)
        return share, self.variance / self.unit**2, self.freedom, np.asarray(self.share_of)


def _effective_images(level: Floats, share: Floats, variance: Floats, freedom: Floats, images: Floats) -> Floats:
    """The number of independent images that would leave as large a variance, for one-sided tests at a level.

    E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24 (1998). Few degrees of freedom count as fewer images, by the
    ratio of the t quantiles. Where every image is right for every seed no variance can be estimated, and they count one
    by one: 60 of 60 is [94, 100] %, not [100, 100] %.
    """
    level = np.minimum(level, 0.499)  # at a half both quantiles are 0
    with np.errstate(divide="ignore", invalid="ignore"):
        quantiles = (stats.t.isf(level, each) for each in (np.maximum(images - 1, 1), freedom))
        # Not above 1, so that a stricter level never has more images.
        effective = share * (1 - share) / variance * np.minimum(1, np.divide(*quantiles)) ** 2
    return np.where(np.isfinite(effective) & (effective > 0), np.minimum(effective, images), images)


def _beyond(level: Floats, bound: Floats, share: Floats, variance: Floats, freedom: Floats, images: Floats) -> Floats:
    """By how much the beta distribution that bounds a share from below at a level has more than it below the bound."""
    effective = _effective_images(level, share, variance, freedom, images)
    right = share * effective
    with np.errstate(invalid="ignore"):
        below = stats.beta.cdf(bound, right, effective - right + 1)
    # The interval of a share of 0 starts at 0 whatever the level.
    return np.where(right > 0, below, np.where(bound < 0, 0.0, 1.0)) - level
