"""Intervals, tests and curves for measurements that were repeated over seeds on the same test images.

Every measurement here is a sum over test images of a value per (seed, image): whether the image was
predicted right, or how two conditions differ on it. Seeds and images are both samples, of all the
models one could train and of all the images one could test on, and every seed sees every image: a
crossed two-way layout with random effects. Its variance has three parts (seeds, images, and their
interaction), which the usual standard error over seeds or over images alone leaves out in part.

Sources: D. D. Dorfman, K. S. Berbaum, C. E. Metz, "Receiver operating characteristic rating
analysis", Investigative Radiology 27 (1992), for the layout; S. L. Hillis, "A comparison of
denominator degrees of freedom methods for multiple observer ROC analysis", Statistics in Medicine 26
(2007), for the degrees of freedom; Y. Benjamini and Y. Hochberg, JRSS B 57 (1995), for the marks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from class_sensitivity.analysis.estimate import Estimate, with_interval
from class_sensitivity.analysis.moderation import moderated_variance

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceComponents:
    """The sum over images of the seeds' mean, and what its variance is made of.

    Attributes:
        total: (...) the sum.
        per_seed: (S, ...) the sum of each seed.
        interaction: (...) variance that the sum of one seed has from seeds and images together, estimated
            from the single images.
        image_variance: (...) variance of `total` that is due to the choice of images.
        image_effects: (n, ...) each image's part of `total`, centred within its stratum and shrunk
            so that it varies as images do, without what only one seed made of them.
    """

    total: Floats
    per_seed: Floats
    interaction: Floats
    image_variance: Floats
    image_effects: Floats

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.per_seed)

    def estimate(
        self, *, alpha: float, one_image: Floats | float, moderated: bool, share_of: Floats | None = None
    ) -> Estimate:
        """The total with its interval, for new seeds and new images.

        Args:
            alpha: 1 - the interval's coverage, in (0, 1).
            one_image: By how much one image can change the total: its variance is never taken below that, because
                that nothing varied over a few seeds is no proof that nothing can.
            moderated: Let the members of this array borrow strength from each other (`moderation`).
            share_of: Number of images of which the total is a share, if it is one.
        """
        if self.seeds < 2:
            unknown = np.full(self.total.shape, np.nan)
            return Estimate(self.total, unknown, unknown, np.nan, self.per_seed, alpha, share_of)
        variance, freedom = self.seed_variance(moderated=moderated, shares=share_of is not None)
        seed_variance = np.asarray(variance / self.seeds)
        image_variance = self.image_variance
        if share_of is None:
            seed_variance = np.maximum(seed_variance, np.square(one_image) / self.seeds**2)
            image_variance = np.maximum(image_variance, np.square(one_image) - seed_variance)
        else:  # the interval of a share has its own way with what hardly varies; its error is never 0
            image_variance = np.where(seed_variance + image_variance == 0, np.square(one_image), image_variance)
        return Estimate(self.total, seed_variance, image_variance, freedom, self.per_seed, alpha, share_of)

    def seed_variance(self, *, moderated: bool, shares: bool = False) -> tuple[Floats, float]:
        """Variance of the sum of one seed, (...), and its degrees of freedom; needs two seeds.

        Never below what the interaction makes by itself: few seeds may agree by chance, and thousands
        of images know better how far they can.
        """
        sample = self.per_seed.var(axis=0, ddof=1)
        if not moderated:
            return np.maximum(sample, self.interaction), self.seeds - 1.0
        both = moderated_variance(sample, self.interaction, self.seeds, shares=shares)
        return both.variance, both.freedom


def stacked(members: Sequence[VarianceComponents]) -> VarianceComponents:
    """Components of equal shape as one array with a leading dimension; without the effects of single images."""
    return VarianceComponents(
        total=np.stack([member.total for member in members]),
        per_seed=np.stack([member.per_seed for member in members], axis=1),
        interaction=np.stack([member.interaction for member in members]),
        image_variance=np.stack([member.image_variance for member in members]),
        image_effects=np.zeros((0, len(members), *members[0].total.shape)),
    )


def variance_components(values: NDArray[np.number], strata: NDArray[np.integer] | None = None) -> VarianceComponents:
    """Splits the variance of a sum over images into what seeds and what images contribute.

    The sum is taken over a fixed number of images of each stratum (class), so images count as
    drawn anew within their stratum.

    Args:
        values: (S, n, ...) value of each seed and image.
        strata: (n,) stratum of each image; None means one stratum.

    Examples:
        Two seeds, five images: how many are right.

        >>> right = np.array([[1, 1, 1, 0, 1], [1, 1, 0, 0, 1]])
        >>> variance_components(right).estimate(alpha=0.05, one_image=1, moderated=False).text()
        '3.5 [1.4, 5.6]'
    """
    seeds, images = values.shape[:2]
    strata = np.zeros(images, np.int64) if strata is None else strata
    trailing = values.shape[2:]
    image_variance = np.zeros(trailing)
    interaction_variance = np.zeros(trailing)
    image_effects = np.zeros((images, *trailing))
    for stratum in np.unique(strata):
        inside = strata == stratum
        size = int(inside.sum())
        if size < 2:
            continue
        part = np.asarray(values[:, inside], np.float64)
        by_image = part.mean(axis=0)  # (size, ...)
        effects = by_image - by_image.mean(axis=0)
        spread = (effects**2).sum(axis=0) / (size - 1)
        if seeds > 1:
            # What is left of a value after its seed's and its image's mean: it makes image means
            # differ too, and must not be counted as a difference between images.
            within = part.var(axis=0, ddof=1).mean(axis=0)
            seed_means = part.mean(axis=1).var(axis=0, ddof=1)
            interaction = np.maximum((within - seed_means) * size / (size - 1), 0)
            interaction_variance += size * interaction
            proper = np.maximum(spread - interaction / seeds, 0)
        else:
            proper = spread
        image_variance += size * proper
        shrink = np.sqrt(np.divide(proper, spread, out=np.zeros(trailing), where=spread > 0))
        image_effects[inside] = effects * shrink * np.sqrt(size / (size - 1))
    per_seed = np.asarray(values.sum(axis=1, dtype=np.float64))
    total = np.asarray(per_seed.mean(axis=0))
    return VarianceComponents(total, per_seed, interaction_variance, image_variance, image_effects)


def seed_weights(seeds: int, count: int, rng: np.random.Generator) -> Floats:
    """(B, S) by how much each draw of seeds with replacement favours each seed; each row sums to 0.

    Scaled so that a mean over seeds varies as it would over new seeds: drawing from S of them
    understates that variance by (S - 1) / S. With one seed nothing can be drawn and all are 0.
    """
    if seeds < 2:
        return np.zeros((count, seeds))
    often = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=count)
    weights: Floats = (often - 1) / seeds * np.sqrt(seeds / (seeds - 1))
    return weights


def resample(
    values: NDArray[np.number], strata: NDArray[np.integer], weights: Floats, rng: np.random.Generator
) -> Floats:
    """Draws of the sums over images as they would come out with other seeds and other images.

    A bootstrap of both: seeds are drawn with replacement, and images with replacement within their
    stratum. The two are added, not multiplied: a product would count the interaction of seeds and
    images three times (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1,
    2007). The variance of the draws is that of
    `VarianceComponents.estimate`, not moderated.

    Args:
        values: (S, n, M) value of each seed and image for each of M measurements.
        strata: (n,) stratum of each image.
        weights: (B, S) draws of seeds (`seed_weights`); shared by all measurements that are
            compared with each other, as the seeds are.
        rng: Draws the images.

    Returns:
        (B, M).
    """
    components = variance_components(values, strata)
    draws: Floats = components.total + weights @ components.per_seed
    if components.seeds > 1:
        # What `seed_variance` adds where the seeds agree by chance.
        lacking = components.seed_variance(moderated=False)[0] - components.per_seed.var(axis=0, ddof=1)
        draws += np.sqrt(lacking / components.seeds) * rng.standard_normal(draws.shape)
    for stratum in np.unique(strata):
        inside = strata == stratum
        size = int(inside.sum())
        drawn = rng.integers(size, size=(len(weights), size)) + size * np.arange(len(weights))[:, np.newaxis]
        often = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)  # a third of multinomial's time
        draws += (often - 1.0) @ components.image_effects[inside]
    return draws


def smallest_sign_flip_p(seeds: int) -> float:
    """The smallest two-sided p-value that a sign-flip test over this many seeds can give: 2 / 2^S.

    Examples:
        >>> smallest_sign_flip_p(5)
        0.0625
    """
    return min(1.0, 2.0 ** (1 - seeds))


def sign_flip_p(per_seed: NDArray[np.floating]) -> Floats:
    """Exact two-sided sign-flip test of paired differences against 0; no distribution is assumed.

    The share of the 2^S choices of signs whose absolute sum is at least the observed one.

    Args:
        per_seed: (S, ...) differences, 1 <= S <= 16.

    Raises:
        ValueError: S is out of range; 2^S signs would not fit.

    Examples:
        >>> float(sign_flip_p(np.array([2.0, 1.0, 3.0])))  # all agree: 2 of the 8 choices
        0.25
    """
    seeds = len(per_seed)
    if not 1 <= seeds <= 16:
        raise ValueError(f"the exact test takes 1 to 16 seeds, got {seeds}")
    signs = 1.0 - 2.0 * ((np.arange(2**seeds)[:, np.newaxis] >> np.arange(seeds)) & 1)
    flat = np.asarray(per_seed, np.float64).reshape(seeds, -1)
    observed = np.abs(flat.sum(axis=0))
    # Sums that are equal in exact arithmetic may differ in the last digit.
    hits = np.abs(signs @ flat) >= observed * (1 - 1e-12)
    return np.asarray(hits.mean(axis=0)).reshape(per_seed.shape[1:])


def benjamini_hochberg(p: NDArray[np.floating], alpha: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at a false discovery rate of alpha (Benjamini-Hochberg).

    Args:
        p: p-values of any shape; NaN is never rejected and does not count.
        alpha: The rate, in (0, 1).

    Returns:
        Which are rejected, in the shape of `p`.

    Examples:
        >>> benjamini_hochberg(np.array([0.001, 0.02, 0.04, 0.8]), alpha=0.05)
        array([ True,  True, False, False])
    """
    return np.asarray(adjusted_p(p) <= alpha)


def adjusted_p(p: NDArray[np.floating]) -> Floats:
    """The false discovery rates at which hypotheses begin to be rejected (Benjamini-Hochberg).

    Args:
        p: p-values of any shape; NaN stays NaN and does not count.

    Examples:
        >>> adjusted_p(np.array([0.001, 0.02, np.nan, 0.8])).round(3)
        array([0.003, 0.03 ,   nan, 0.8  ])
    """
    adjusted = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any():
        adjusted[known] = stats.false_discovery_control(p[known])
    return adjusted


def rank_probabilities(draws: NDArray[np.floating]) -> Floats:
    """How often each item has each rank when items are sorted from largest to smallest.

    Args:
        draws: (B, K) resampled values.

    Returns:
        (K, K), [item, rank], rank 0 = largest; rows and columns sum to 1.

    Examples:
        >>> rank_probabilities(np.array([[3, 1], [2, 0], [4, 5], [7, 1]]))
        array([[0.75, 0.25],
               [0.25, 0.75]])
    """
    count, items = draws.shape
    order = np.argsort(-draws, axis=1, kind="stable")
    ranks = np.zeros((items, items))
    for rank in range(items):
        ranks[:, rank] = np.bincount(order[:, rank], minlength=items) / count
    return ranks


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> tuple[float, float]:
    """Spearman's rank correlation and its p-value; both NaN where all values of one are alike.

    Args:
        one: (K,) values.
        other: (K,) values.

    Examples:
        >>> rho, p = rank_correlation(np.array([1, 2, 3, 4]), np.array([2, 3, 5, 4]))
        >>> f"{rho:.1f}"
        '0.8'
    """
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan"), float("nan")
    found = stats.spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)


def without_last_digits(values: Floats) -> Floats:
    """Values, over the largest, to 12 digits: equal shares may differ in the last one, and must have equal ranks."""
    largest = np.abs(values).max(initial=0)
    return np.round(values / largest, 12) if largest > 0 else values


def slope_weights(levels: NDArray[np.floating]) -> Floats:
    """Weights w with sum(w * y) = the least-squares slope of y over the levels.

    Args:
        levels: (L,) at least two different levels.

    Examples:
        >>> float(slope_weights(np.array([0, 1, 2])) @ [5, 7, 9])
        2.0
    """
    centred = np.asarray(levels, np.float64) - np.mean(levels)
    weights: Floats = centred / (centred**2).sum()
    return weights


def bend_weights(levels: NDArray[np.floating]) -> Floats:
    """Weights w with sum(w * y) = how far the least-squares parabola of y lies above its chord, in the middle.

    A straight line has 0; more than 0 says that y falls more steeply, or rises less, at the higher levels.

    Args:
        levels: (L,) at least three different levels.

    Examples:
        >>> round(float(bend_weights(np.array([0, 1, 2])) @ [9, 9, 5]), 9)
        2.0
    """
    square = np.linalg.pinv(np.vander(levels, 3, increasing=True))[2]
    weights: Floats = -square * (np.ptp(levels) / 2) ** 2
    return weights


@dataclass(frozen=True)
class Knee:
    """Where a dose-response curve bends.

    Attributes:
        level: Level of the best bend; NaN if there is none.
        low: Lower end of its interval.
        high: Upper end.
        slope_before: Slope up to the bend.
        slope_after: Slope from there on.
        p: p-value of the straight line.
    """

    level: float
    low: float
    high: float
    slope_before: float
    slope_after: float
    p: float

    def text(self) -> str:
        """The level with its interval, `no knee` where the line holds, or nothing where nothing is known."""
        if not np.isnan(self.level):
            return with_interval(self.level, self.low, self.high, digits=2)
        return "" if np.isnan(self.p) else "no knee"


#: Nothing is known: too few levels or seeds, or no images.
NO_KNEE = Knee(*[float("nan")] * 6)

#: Fewer levels than this cannot tell a bend from a line: a bent line has four parameters.
KNEE_LEVELS = 5


def knee(levels: Floats, curve: Floats, draws: Floats, *, alpha: float = 0.05) -> Knee:
    """Fits two straight pieces that meet, and asks whether they beat one straight line.

    The bend is searched over a grid between the second and the last but one level. Its p-value is
    the share of curves, made by laying the draws' deviations on the best straight line, that gain as
    much from a bend: the search is part of the test (D. W. K. Andrews, "Tests for parameter
    instability and structural change with unknown change point", Econometrica 61, 1993).

    Args:
        levels: (L,) increasing levels.
        curve: (L,) the measured curve.
        draws: (B, L) resampled curves, as `resample` gives them.
        alpha: The line is given up at p <= alpha; the interval covers 1 - alpha.

    Returns:
        The knee; `level` is NaN with fewer than `KNEE_LEVELS` levels or where the line holds.
    """
    levels = np.asarray(levels, np.float64)
    if len(levels) < KNEE_LEVELS:
        return NO_KNEE
    bends = np.linspace(levels[1], levels[-2], 61)
    line = np.stack([np.ones_like(levels), levels], axis=1)
    straight = line @ np.linalg.pinv(line)
    designs = [np.column_stack([line, np.maximum(levels - bend, 0)]) for bend in bends]
    bent = [design @ np.linalg.pinv(design) for design in designs]

    def gains(curves: Floats) -> Floats:
        """(B, bends) by how much each bend lowers the squared error of the line."""
        error = ((curves - curves @ straight) ** 2).sum(axis=1)
        errors = np.stack([((curves - curves @ fit) ** 2).sum(axis=1) for fit in bent], axis=1)
        gained: Floats = error[:, np.newaxis] - errors
        return gained

    observed = gains(curve[np.newaxis])[0]
    best = int(observed.argmax())
    if observed[best] <= 1e-20 * (1 + (curve**2).sum()):  # rounding errors bend no curve
        return replace(NO_KNEE, p=1.0)
    null = straight @ curve + (draws - curve)
    p = float((1 + (gains(null).max(axis=1) >= observed[best]).sum()) / (1 + len(draws)))
    if p > alpha:
        return replace(NO_KNEE, p=p)
    located = bends[gains(draws).argmax(axis=1)]
    low, high = np.quantile(located, [alpha / 2, 1 - alpha / 2])
    _, before, change = np.linalg.lstsq(designs[best], curve, rcond=None)[0]
    return Knee(float(bends[best]), float(low), float(high), float(before), float(before + change), p)
