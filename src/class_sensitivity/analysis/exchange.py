"""The exchange rate of quality and quantity: how many clean examples would do as well as all of them with wrong labels?

The clean learning curve f(ln n) runs monotonely (F. N. Fritsch, R. E. Carlson, SIAM Journal on Numerical Analysis 17
(1980)) through the recalls at every size of the training set that was measured, made monotone where chance has them
otherwise (pool adjacent violators). The size at which it has the recall under noise is n_eff. Each candidate n is a
hypothesis about one paired contrast,

    f(ln n) - recall under noise = sum over levels of w(n) recall - recall under noise,

because f is a weighted sum of the recalls, with weights that add up to 1. n_eff is where the contrast is 0, and its
interval holds every n for which the contrast's interval holds 0 (E. C. Fieller's way, Journal of the Royal Statistical
Society B 16 (1954)). It may have no end inside of what was measured, and then it says so: nothing is extrapolated.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator, interp1d
from scipy.optimize import isotonic_regression

from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import accuracy, recall
from class_sensitivity.runs.condition import Condition

Floats = NDArray[np.float64]

#: Candidates of n between two neighbouring sizes, and at one in how many of them an interval is computed; between those
#: its half widths are a straight line in ln n.
_CANDIDATES = 32
_ONE_IN = 8

#: Of recall, by which the curve's derivatives are taken.
_STEP = 1e-6


@dataclass(frozen=True)
class Bounds:
    """Values with intervals, of which an end or the value itself may lie beyond what was measured.

    Attributes:
        value: The measurements, of any shape; so are the ends.
        low: Lower ends of the intervals.
        high: Upper ends.
        least: Values below this one are beyond what was measured.
        most: Values above this one are.
    """

    value: Floats
    low: Floats
    high: Floats
    least: float
    most: float

    def __getitem__(self, index: Any) -> "Bounds":
        """The bounds of one or some of the measurements."""
        return replace(self, value=self.value[index], low=self.low[index], high=self.high[index])

    def scaled(self, factor: float) -> "Bounds":
        """The same in another unit; the factor is positive."""
        value, low, high = (factor * each for each in (self.value, self.low, self.high))
        return Bounds(value, low, high, factor * self.least, factor * self.most)

    def text(self, form: str = ".1f", *, significant: int | None = None) -> str:
        """A single value with its interval; `<` and `>` stand before the ends of what was measured.

        Args:
            form: How a number is written.
            significant: Digits that are not 0; None: all.

        Examples:
            >>> open_above = Bounds(np.float64(43391), np.float64(29351), np.float64(np.inf), 5000, 50000)
            >>> open_above.text(",.0f", significant=3)
            '43,400 [29,400, >50,000]'
        """

        def written(number: Floats | float) -> str:
            if number < self.least:
                return f"<{self.least:z{form}}"
            if number > self.most:
                return f">{self.most:z{form}}"
            if significant is not None:  # rounded, it may be beyond what was measured; the measurement is not
                number = min(max(float(f"{number:.{significant}g}"), self.least), self.most)
            return f"{number:z{form}}"

        if np.isnan(self.value):
            return "not known"
        interval = "" if np.isnan(self.low) else f" [{written(self.low)}, {written(self.high)}]"
        return written(self.value) + interval


@dataclass(frozen=True)
class Exchange:
    """What wrong labels are worth in examples, for every class (K,) or over all classes ().

    A size is infinite where noise does no harm that all examples without noise would not do, and 0 where it does more
    than the smallest measured set does.

    Attributes:
        noise: The condition whose labels are wrong; examples may have been removed, too.
        examples: n, the size of its training set.
        curve: The conditions of the clean learning curve, the baseline first.
        sizes: (L,) training examples of each.
        seeds: The seeds that were paired.
        wrong: Share of the labels that are wrong.
        uninformative: Share of the labels that say nothing of the image (x of gamma); None for a noise whose labels all
            say something.
        size: n_eff.
    """

    noise: Condition
    examples: float
    curve: tuple[Condition, ...]
    sizes: Floats
    seeds: tuple[int, ...]
    wrong: float
    uninformative: float | None
    size: Bounds

    @property
    def as_many_visits(self) -> bool:
        """Whether training looked at as many examples of the smaller sets as of the full one, by more passes.

        As many steps in smaller batches are not that: they cost what fixed epochs cost (docs/replication.md).
        """
        return self.curve[-1].match_steps is True

    @property
    def lost_per_wrong_label(self) -> Bounds:
        """Good examples lost per wrong label, (n - n_eff) / wrong labels; 1 / `wrong` at the most."""
        return self._falling(lambda size: (self.examples - size) / (self.wrong * self.examples))

    @property
    def gamma(self) -> Bounds | None:
        """ln(n_eff / n) / ln(1 - x), which can be compared across levels and data sets.

        1: wrong labels are only lost examples. 2: the information limit of weak signals, n (1 - x)^2. Above 2: the
        model is misled. None without x.
        """
        if self.uninformative is None:
            return None
        scale = np.log1p(-self.uninformative)
        return self._falling(lambda size: np.log(size / self.examples) / scale)

    @property
    def check_worth(self) -> Bounds:
        """New examples, labelled as badly, that do as much as checking one label: n / n_eff - 1.

        To check all n labels makes the set as good as n clean examples; without checking that takes n n / n_eff
        examples as bad as the present ones, if the exchange rate stays what it is in a larger set.
        """
        return self._falling(lambda size: self.examples / size - 1)

    @property
    def mended_worth(self) -> Bounds:
        """The same for a check that is sure to find a wrong label: only one check in 1 / `wrong` does, at random."""
        return self._falling(lambda size: (self.examples / size - 1) / self.wrong)

    def __getitem__(self, index: Any) -> "Exchange":
        """The exchange of one or some of the classes."""
        return replace(self, size=self.size[index])

    def _falling(self, formula: Callable[[Any], Any]) -> Bounds:
        """A falling function of the size."""
        size = self.size
        with np.errstate(divide="ignore"):
            return Bounds(*(formula(each) for each in (size.value, size.high, size.low, size.most, size.least)))


@dataclass(frozen=True)
class ExchangeRates:
    """The exchange rate under one noise condition.

    Attributes:
        overall: By accuracy, of shape ().
        classes: By recall, of shape (K,); NaN for a class without test images.
    """

    overall: Exchange
    classes: Exchange

    @property
    def noise(self) -> Condition:
        """The noise condition."""
        return self.overall.noise


def exchange_rates(study: Study, *, alpha: float = 0.05) -> Iterator[ExchangeRates]:
    """The exchange rate under every noise condition, where a clean learning curve was measured on the same seeds.

    One curve serves all levels, so that they can be compared: the one within which most of them lie, and of several
    such one whose sets take as many optimiser steps as the full one, by more passes rather than in smaller batches. A
    shorter training does harm of its own, and the same recall then takes more examples.

    Args:
        study: The runs of one recipe.
        alpha: 1 - coverage of the intervals.
    """
    noises = [condition for condition in study.conditions if condition.is_noisy]
    for _, alike in groupby(
        sorted(noises, key=lambda each: (each.is_reduced, str(each.match_steps), noises.index(each))),
        key=lambda each: (each.is_reduced, each.match_steps),
    ):
        by_curve: dict[str | None, list[_Comparison]] = defaultdict(list)
        for noise in alike:
            for curve in _clean_curves(study, noise):
                by_curve[curve[-1].series].append(_Comparison(study, noise, curve, alpha))
        for found in max(by_curve.values(), key=_merit, default=[]):
            yield ExchangeRates(found.overall, found.classes)


def _merit(compared: Sequence["_Comparison"]) -> tuple[int, bool, bool]:
    """How many levels lie within a curve; then whether its sets take as many visits, and as many steps, as the full."""
    steps = compared[0].curve[-1].match_steps
    return sum(bool(each.overall.size.value > 0) for each in compared), steps is True, bool(steps)


def accuracy_exchange(study: Study, noise: Condition, curve: tuple[Condition, ...], *, alpha: float = 0.05) -> Exchange:
    """The exchange rate of one condition by accuracy, on a given curve.

    Args:
        study: The runs of one recipe.
        noise: The condition whose labels are wrong.
        curve: Conditions of a clean learning curve, the baseline first; they share seeds with `noise`.
        alpha: 1 - coverage of the interval.
    """
    return _Comparison(study, noise, curve, alpha).overall


def _clean_curves(study: Study, noise: Condition) -> Iterator[tuple[Condition, ...]]:
    """Every series of reductions that is made as the noise is, as far as it shares seeds with it."""
    for series in study.reduction_series:
        curve = study.paired_series(series)
        seeds = study.common_seeds(*curve, noise)
        # Noise that left every label as it is has no rate: nothing can be divided by what it did.
        if len(curve) < 2 or not seeds or study.mean_of("effective_noise", noise, seeds) == 0:
            continue
        last = curve[-1]
        alike = last.stratified == noise.stratified
        # Of made-up runs the sizes may not be known, and of very few examples two shares may leave as many.
        falling = (np.diff([study.mean_of("train_size", condition) for condition in curve]) < 0).all()
        if falling and alike and (not noise.is_reduced or last.match_steps == noise.match_steps):
            yield tuple(curve)


class _Comparison:
    """One noise condition against one clean learning curve."""

    def __init__(self, study: Study, noise: Condition, curve: tuple[Condition, ...], alpha: float) -> None:
        self._study, self._noise, self.curve, self._alpha = study, noise, curve, alpha
        self._sizes = np.array([study.mean_of("train_size", condition) for condition in curve])
        ends = np.log(self._sizes[::-1])
        parts = [np.linspace(*pair, _CANDIDATES, endpoint=False) for pair in pairwise(ends)]
        self._candidates = np.append(np.concatenate(parts), ends[-1])
        self._seeds = study.common_seeds(*curve, noise)

    @cached_property
    def overall(self) -> Exchange:
        """By accuracy."""
        return self._solved(accuracy, accuracy_contrast)

    @cached_property
    def classes(self) -> Exchange:
        """By the recall of every class."""
        return self._solved(recall, class_contrasts)

    def _solved(self, measure: Callable[[NDArray[np.int64]], Floats], contrast: Callable[..., Estimate]) -> Exchange:
        study, noise, conditions = self._study, self._noise, (*self.curve, self._noise)
        *levels, noisy = (measure(study.counts_of(each, self._seeds)).mean(axis=0) for each in conditions)
        values, weights = monotone_curve(np.log(self._sizes), np.array(levels), self._candidates)
        some = self._candidates[::_ONE_IN]
        found = [
            contrast(study, dict(zip(conditions, [*weight, -1.0], strict=True)), alpha=self._alpha)
            for weight in weights[::_ONE_IN]
        ]
        below, above = (
            interp1d(some, np.array(half), axis=0)(self._candidates)
            for half in zip(*((each.value - each.low, each.high - each.value) for each in found), strict=True)
        )
        differences = values - noisy
        return Exchange(
            noise=noise,
            examples=study.mean_of("train_size", noise, self._seeds),
            curve=self.curve,
            sizes=self._sizes,
            seeds=tuple(self._seeds),
            wrong=study.mean_of("effective_noise", noise, self._seeds),
            uninformative=noise.uninformative_share(study.num_classes),
            size=where_zero(self._candidates, differences, differences - below, differences + above),
        )


def monotone_curve(log_sizes: Floats, levels: Floats, at: Floats) -> tuple[Floats, Floats]:
    """A rising curve through measurements, and how it depends on them.

    Args:
        log_sizes: (L,) places of the measurements, falling.
        levels: (L, ...) measurements; NaN stays NaN.
        at: (G,) where the curve is asked for.

    Returns:
        (G, ...) the curve, and (G, L, ...) the derivative by each measurement: since the curve is scaled and shifted as
        the measurements are, it is the sum of the measurements with these weights, which add up to 1.

    Examples:
        >>> curve, weights = monotone_curve(np.array([2.0, 1.0, 0.0]), np.array([0.8, 0.5, 0.6]), np.array([0.5, 2.0]))
        >>> curve.round(3)  # 0.5 and 0.6 are made one
        array([0.55, 0.8 ])
        >>> weights.round(3)
        array([[0. , 0.5, 0.5],
               [1. , 0. , 0. ]])
    """
    flat = levels.reshape(len(levels), -1)
    curve = np.full((len(at), flat.shape[1]), np.nan)
    weights = np.full((len(at), *flat.shape), np.nan)
    for member in np.flatnonzero(np.isfinite(flat).all(axis=0)):
        fit = isotonic_regression(flat[:, member], increasing=False)
        pooled = np.repeat(np.diff(fit.blocks), np.diff(fit.blocks))
        block = np.repeat(np.arange(len(fit.blocks) - 1), np.diff(fit.blocks))
        pooling = (block[:, np.newaxis] == block) / pooled

        steps = _STEP * np.eye(len(flat))
        near = fit.x[:, np.newaxis] + np.hstack([np.zeros((len(flat), 1)), steps, -steps])
        there = PchipInterpolator(log_sizes[::-1], near[::-1])(at)
        above, below = there[:, 1 : 1 + len(flat)], there[:, 1 + len(flat) :]
        curve[:, member] = there[:, 0]
        by_level = (above - below) / (2 * _STEP)
        # Equal measurements make a kink, and the mean of both sides does not quite add up.
        weights[:, :, member] = by_level @ pooling / by_level.sum(axis=1, keepdims=True)
    return curve.reshape(len(at), *levels.shape[1:]), weights.reshape(len(at), *levels.shape)


def where_zero(log_sizes: Floats, differences: Floats, low: Floats, high: Floats) -> Bounds:
    """Where rising differences are 0, with every place at which they may be.

    Args:
        log_sizes: (G,) places, rising.
        differences: (G, ...) at each place; NaN stays NaN.
        low: Lower ends of their intervals.
        high: Upper ends.

    Returns:
        Sizes; 0 for below the first place, infinite for above the last. NaN where every place is possible.
    """
    shape = differences.shape[1:]
    members = [
        [_first(log_sizes, column) for column in ends.reshape(len(log_sizes), -1).T] for ends in (differences, high)
    ]
    # Above this place none has an interval that reaches 0: the first place of the mirrored curve.
    above = [-_first(-log_sizes[::-1], -column[::-1]) for column in low.reshape(len(log_sizes), -1).T]
    value, lower = (np.exp(np.array(each)).reshape(shape) for each in members)
    upper = np.exp(np.array(above)).reshape(shape)
    # An interval that is all beyond what was measured ends there.
    least, most = np.exp(log_sizes[0]), np.exp(log_sizes[-1])
    unknown = (lower == 0) & np.isinf(upper)
    value = np.where(unknown, np.nan, value)
    lower = np.where(np.isinf(lower), most, lower)
    upper = np.where(upper == 0, least, upper)
    return Bounds(value, lower, upper, float(least), float(most))


def _first(places: Floats, values: Floats) -> float:
    """The first place at which values are not below 0; -inf if all are above, inf if none is."""
    if np.isnan(values).any():
        return np.nan
    reached = np.flatnonzero(values >= 0)
    if not len(reached):
        return np.inf
    if reached[0] == 0:
        return -np.inf if values[0] > 0 else float(places[0])
    after = reached[0]
    return float(np.interp(0, values[after - 1 : after + 1], places[after - 1 : after + 1]))
