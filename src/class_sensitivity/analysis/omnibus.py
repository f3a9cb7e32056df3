"""One test for many measurements at once: is any of them different from 0?

Forty-five pairs of classes may each be undecided while together they leave no doubt. The ANOVA-type statistic of
E. Brunner, H. Dette and A. Munk, "Box-type approximations in nonparametric factorial designs", Journal of the American
Statistical Association 92 (1997), needs no inverse of a covariance matrix, which a few seeds could not give:

    F = sum(m^2) / tr(V),   f1 = tr(V)^2 / tr(V^2),   f2 = tr(V)^2 / (tr(V_seeds^2) / f_seeds)

m are the measurements, V = V_seeds + V_images their covariance (`statistics`), and f_seeds the degrees of freedom of
the moderated seed variances (`moderation`). docs/statistics.md has its size and power on real runs.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from class_sensitivity.analysis.moderation import moderated_variance

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """What the test needs of V = V_seeds + V_images, and how that changes with the number of seeds.

    Attributes:
        number: S.
        seeds: tr(V_seeds), which shrinks as 1 / S.
        images: tr(V_images), which does not; 0 where the question is about these test images alone.
        concentration: tr(V_seeds^2) / tr(V_seeds)^2; 1 where the seeds vary in one direction alone.
        least_concentration: It is not taken to be less.
        mixed: tr(V_seeds V_images).
        images_squared: tr(V_images^2).
        prior: Degrees of freedom of the variances over seeds beyond S - 1 (`moderation`).
    """

    number: int
    seeds: float
    images: float
    concentration: float
    least_concentration: float
    mixed: float
    images_squared: float
    prior: float

    def of_seeds(self, number: float) -> tuple[float, float, float]:
        """tr(V), f1 and f2 with another number of seeds."""
        shrunk = self.number / number
        seeds_squared = (shrunk * self.seeds) ** 2 * max(self.least_concentration, self._concentration(number))
        trace = shrunk * self.seeds + self.images
        square = seeds_squared + 2 * shrunk * self.mixed + self.images_squared
        return trace, trace**2 / square, trace**2 / (seeds_squared / (number - 1 + self.prior))

    def _concentration(self, number: float) -> float:
        """What a covariance over so many seeds would show: q + (1 - q) / (S - 1) where q is the truth.

        It is right where there is one direction, and where there are very many.
        """
        if number == self.number:
            return self.concentration
        if self.number == 2:  # two seeds always differ in one direction, and say nothing of the truth
            true = 0.0
        else:
            true = max(0.0, (self.concentration - 1 / (self.number - 1)) / (1 - 1 / (self.number - 1)))
        return min(1.0, true + (1 - true) / (number - 1))


@dataclass(frozen=True)
class OmnibusTest:
    """Whether any of several measurements differs from 0.

    Attributes:
        statistic: F.
        numerator_freedom: f1.
        denominator_freedom: f2.
        p: p-value of the hypothesis that all of them are 0.
        traces: What the covariance is made of.
    """

    statistic: float
    numerator_freedom: float
    denominator_freedom: float
    p: float
    traces: Traces

    def text(self) -> str:
        """F and p."""
        return f"F = {self.statistic:.2f}, p = {self.p:.2g}"


@dataclass(frozen=True)
class SumsOverImages:
    """J sums over images of several seeds, and the parts of their covariance; both questions are asked of them.

    Attributes:
        per_seed: (S, J) the sums of each seed.
        interaction: (J, J) covariance of the sums of one seed from seeds and images together.
        images: (J, J) covariance of the means over seeds from the choice of images.
    """

    per_seed: Floats
    interaction: Floats
    images: Floats

    @classmethod
    def of(cls, values: NDArray[np.number], strata: NDArray[np.integer]) -> "SumsOverImages":
        """The sums of (S, n, J) values of each seed and image, with S at least 2; strata as of `omnibus_test`."""
        return cls(np.asarray(values.sum(axis=1, dtype=np.float64)), *_covariances(values, strata))

    def test(self, *, most_seed_freedom: float, new_images: bool) -> OmnibusTest | None:
        """Tests whether any of the means over seeds differs from 0; as `omnibus_test`."""
        seeds, measurements = self.per_seed.shape
        sample = np.atleast_2d(np.cov(self.per_seed.T))
        moderated = moderated_variance(np.diag(sample), np.diag(self.interaction), seeds)
        seed_trace = float(moderated.variance.sum()) / seeds
        if seed_trace == 0:
            return None
        # The sample covariance gives the shape of the seed part, the moderated variances its size.
        shape = sample / np.trace(sample) if np.trace(sample) > 0 else np.eye(measurements) / measurements
        traces = Traces(
            number=seeds,
            seeds=seed_trace,
            images=0.0,
            concentration=float((shape**2).sum()),
            least_concentration=1 / max(1.0, most_seed_freedom),
            mixed=0.0,
            images_squared=0.0,
            prior=moderated.freedom - (seeds - 1),
        )
        # Images that differ less than their interaction with seeds makes them differ count as equal.
        if new_images and np.trace(self.images) > 0:
            traces = replace(
                traces,
                images=float(np.trace(self.images)),
                mixed=seed_trace * float((shape * self.images).sum()),
                images_squared=float((self.images**2).sum()),
            )
        trace, numerator, denominator = traces.of_seeds(seeds)
        statistic = float((self.per_seed.mean(axis=0) ** 2).sum()) / trace
        p = float(stats.f.sf(statistic, numerator, denominator))
        return OmnibusTest(statistic, numerator, denominator, p, traces)


def omnibus_test(
    values: NDArray[np.number], strata: NDArray[np.integer], *, most_seed_freedom: float, new_images: bool = True
) -> OmnibusTest | None:
    """Tests whether any of J sums over images, each the mean over seeds, differs from 0.

    Args:
        values: (S, n, J) value of each seed and image for each measurement.
        strata: (n,) stratum of each image.
        most_seed_freedom: f1 of the seed part is at most this: K - 1 of K classes, because what a seed makes better or
            worse are classes.
        new_images: Whether the question is about new test images, too, or about these ones alone.

    Returns:
        None with fewer than two seeds, or where nothing varies.

    Examples:
        Five seeds, two measurements, of which the first is not 0:

        >>> rng = np.random.default_rng(0)
        >>> values = (rng.random((5, 400, 2)) < [0.6, 0.5]) - 0.5
        >>> test = omnibus_test(values, np.zeros(400, int), most_seed_freedom=1)
        >>> round(test.statistic), test.p < 0.01
        (22, True)
    """
    if len(values) < 2:
        return None
    return SumsOverImages.of(values, strata).test(most_seed_freedom=most_seed_freedom, new_images=new_images)


def _covariances(values: NDArray[np.number], strata: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """(J, J) of the sum of one seed from the interaction, and of the mean over seeds from the choice of images."""
    seeds, _, measurements = values.shape
    interaction, images = np.zeros((measurements, measurements)), np.zeros((measurements, measurements))
    for stratum in np.unique(strata):
        part = np.asarray(values[:, strata == stratum], np.float64)
        size = part.shape[1]
        if size < 2:
            continue
        by_image = part.mean(axis=0)
        effects = by_image - by_image.mean(axis=0)
        # What is left of a value after its seed's and its image's mean.
        rest = (part - by_image - part.mean(axis=1, keepdims=True) + by_image.mean(axis=0)).reshape(-1, measurements)
        mixed = rest.T @ rest / ((seeds - 1) * (size - 1))
        interaction += size * mixed
        images += size * (effects.T @ effects / (size - 1) - mixed / seeds)
    return interaction, images
