"""How many seeds a question still needs: the power that many seeds have, in simulated tests."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.seeds import (
    MOST_SEEDS,
    POWER,
    SeedsNeeded,
    seeds_needed,
    seeds_needed_by,
    seeds_to_find,
    seeds_to_tell,
)


def estimate(
    value: float, of_one_seed: float = 1.0, images: float = 0.0, seeds: int = 5, prior: float = 0.0
) -> Estimate:
    """A value whose variance is that of one seed over their number, and that of the choice of images."""
    seed_variance = np.float64(of_one_seed / seeds)
    return Estimate(np.float64(value), seed_variance, np.float64(images), seeds - 1 + prior, np.full(seeds, value))


@pytest.mark.parametrize("effect", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("images", [0.0, 0.02])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_with_that_many_seeds_a_test_finds_the_effect_four_times_in_five(effect, images, alpha):
    needed = int(seeds_to_tell(estimate(effect, images=images), np.float64(effect), alpha=alpha))

    def power(seeds: int) -> float:
        rng = np.random.default_rng(1)
        draws = effect + rng.normal(size=(4000, seeds)) + np.sqrt(images) * rng.normal(size=(4000, 1))
        variance = draws.var(axis=1, ddof=1) / seeds
        found = Estimate(draws.mean(axis=1), variance, np.full(4000, images), seeds - 1.0, draws.T)
        return float((found.p_above(0.0) <= alpha).mean())

    # A whole number of seeds decides with a little more; one fewer with less.
    assert power(needed) >= POWER - 0.05
    assert needed == 2 or power(needed - 1) < POWER + 0.02


def test_it_is_what_a_textbook_gives_for_known_variances():
    # With a prior of a thousand seeds the t quantiles are those of a normal variable.
    e = estimate(0.5, of_one_seed=2.0, prior=100_000)
    expected = (stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) ** 2 * 2.0 / 0.5**2
    assert seeds_to_tell(e, np.float64(0.5)) == np.ceil(expected)


def test_images_that_leave_it_open_are_never_overcome_by_seeds():
    quantiles = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    for distance, finite in ((quantiles * 0.99, False), (quantiles * 1.2, True)):
        assert np.isfinite(seeds_to_tell(estimate(0.0, images=1.0), np.float64(distance))) == finite
    assert seeds_needed(estimate(1.0, images=1.0)) == SeedsNeeded(None, None, None)


def test_what_is_on_its_bound_needs_seeds_without_end_and_what_is_clear_needs_two():
    assert seeds_to_tell(estimate(0.0), np.float64(0.0)) == np.inf
    assert seeds_to_tell(estimate(0.0, of_one_seed=1e-6), np.float64(1.0)) == 2
    assert seeds_to_tell(estimate(0.0), np.float64(0.05)) == np.inf, f"more than {MOST_SEEDS}"


def test_arrays_are_answered_element_by_element():
    rng = np.random.default_rng(0)
    per_seed = rng.normal(size=(4, 3, 2))
    e = Estimate(per_seed.mean(axis=0), rng.random((3, 2)), 0.01 * rng.random((3, 2)), 9.0, per_seed)
    together = seeds_to_tell(e, np.abs(e.value), alpha=0.025)
    for index in np.ndindex(3, 2):
        assert together[index] == seeds_to_tell(e[index], np.abs(e.value[index]), alpha=0.025)


@given(
    effect=st.floats(0.01, 10),
    of_one_seed=st.floats(1e-3, 10),
    images=st.floats(0, 1),
    seeds=st.integers(2, 20),
    prior=st.floats(0, 10),
    alpha=st.sampled_from([0.05, 0.005]),
)
def test_a_larger_effect_never_needs_more_seeds_and_no_stricter_test_fewer(
    effect, of_one_seed, images, seeds, prior, alpha
):
    e = estimate(effect, of_one_seed, images, seeds, prior)
    number = float(seeds_to_tell(e, np.float64(effect), alpha=alpha))
    assert number >= 2
    assert number == np.inf or number == int(number) <= MOST_SEEDS
    assert seeds_to_tell(e, np.float64(1.1 * effect), alpha=alpha) <= number
    assert seeds_to_tell(e, np.float64(effect), alpha=alpha / 2) >= number
    needed = seeds_needed(e, alpha=alpha)
    order = [np.inf if n is None else n for n in (needed.at_best, needed.about, needed.at_worst)]
    assert order == sorted(order)


def test_the_nearer_bound_counts_and_a_value_out_of_bounds_is_tested_to_be_out():
    one = seeds_needed(estimate(1.0), above=0.0, below=5.0)
    assert one == seeds_needed(estimate(1.0)) == seeds_needed(estimate(4.0), above=0.0, below=5.0)
    assert seeds_needed(estimate(-1.0)) == one, "one point on the wrong side"
    assert seeds_needed(estimate(6.0), above=0.0, below=5.0) == one


def test_the_range_is_that_of_effects_a_quartile_away():
    e = estimate(2.0, of_one_seed=5.0)
    needed = seeds_needed(e)
    quartile = stats.norm.ppf(0.75) * float(e.error)
    for number, distance in ((needed.at_best, 2 + quartile), (needed.at_worst, 2 - quartile)):
        assert number == pytest.approx(float(seeds_to_tell(e, np.float64(distance))), abs=1)
    assert needed.at_best < needed.about < needed.at_worst


# Tests of many differences


def omnibus_of(root: int, seeds: int, size: float, images: float = 0.3) -> OmnibusTest:
    """Of 150 images, with effects of seeds; the first two measurements differ from 0 by `size`."""
    rng = np.random.default_rng([root, seeds])
    values = rng.normal(size=(seeds, 150, 6)) + images * rng.normal(size=(1, 150, 6))
    values += 0.1 * rng.normal(size=(seeds, 1, 6)) + size / 150 * (np.arange(6) < 2)
    test = omnibus_test(values, np.zeros(150, int), most_seed_freedom=5)
    assert test is not None
    return test


@pytest.mark.parametrize("size", [15.0, 25.0])
def test_with_that_many_seeds_an_omnibus_test_finds_the_differences_four_times_in_five(size):
    needed = int(np.median([seeds_to_find(omnibus_of(root, 5, size), 2 * size**2) for root in range(40)]))

    def power(seeds: int) -> float:
        return float(np.mean([omnibus_of(root, seeds, size).p <= 0.05 for root in range(200)]))

    # The few directions in which a few seeds vary make it cautious: it may take a seed or two less.
    assert power(needed) >= POWER - 0.05
    assert power(max(2, round(0.6 * needed))) < POWER


@pytest.mark.parametrize("seeds", [4, 5, 8])
def test_of_one_measurement_it_is_as_many_as_the_two_sided_t_test_needs(seeds):
    per_seed = 1.0 + np.random.default_rng(seeds).normal(size=seeds)
    values = np.broadcast_to(per_seed[:, np.newaxis, np.newaxis] / 9, (seeds, 9, 1))
    test = omnibus_test(values, np.zeros(9, int), most_seed_freedom=1)
    e = estimate(float(per_seed.mean()), float(per_seed.var(ddof=1)), 0.0, seeds)
    for effect in (0.5, 1.0, 2.0):
        expected = float(seeds_to_tell(e, np.float64(effect), alpha=0.025))
        assert seeds_to_find(test, effect**2) == pytest.approx(expected, abs=1)


def test_differences_that_the_images_leave_open_are_never_found_and_equal_ones_neither():
    assert seeds_to_find(omnibus_of(0, 5, 25.0), 0.0) == np.inf
    assert seeds_to_find(omnibus_of(0, 5, 25.0, images=5.0), 2 * 25.0**2) == np.inf
    hardly = min((omnibus_of(root, 5, 0.0) for root in range(40)), key=lambda test: test.statistic)
    assert seeds_needed_by(hardly) == SeedsNeeded(None, None, None)


@given(root=st.integers(0, 50), seeds=st.integers(2, 8), size=st.sampled_from([0.0, 10.0, 20.0, 60.0]))
def test_more_differences_need_fewer_seeds_to_be_found(root, seeds, size):
    test = omnibus_of(root, seeds, size)
    needed = seeds_needed_by(test)
    order = [np.inf if n is None else n for n in (needed.at_best, needed.about, needed.at_worst)]
    assert order == sorted(order)
    numbers = [seeds_to_find(test, each) for each in (1e2, 1e3, 1e4, 1e6)]
    assert numbers == sorted(numbers, reverse=True)
    assert seeds_to_find(test, 1e3, alpha=0.005) >= numbers[1]


def test_the_differences_look_as_large_as_the_median_of_what_they_would_give():
    test = omnibus_of(3, 5, 15.0)
    trace, numerator, denominator = test.traces.of_seeds(5)
    for quantile, number in zip((0.5, 0.25, 0.75), dataclasses.astuple(seeds_needed_by(test)), strict=True):
        sizes = np.linspace(0, 4 * test.statistic * trace, 4000)
        below = stats.ncf.cdf(test.statistic, numerator, denominator, numerator * sizes[1:] / trace)
        size = sizes[1:][np.argmin(np.abs(below - quantile))]
        expected = seeds_to_find(test, float(size))
        assert (np.inf if number is None else number) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("needed", "text"),
    [
        (SeedsNeeded(12, 8, 31), "about 12 seeds (8 to 31)"),
        (SeedsNeeded(12, 8, None), "about 12 seeds (8 to many more)"),
        (SeedsNeeded(None, 40, None), "more test images, not more seeds (40 seeds at best)"),
        (SeedsNeeded(None, None, None), "more test images, not more seeds"),
    ],
)
def test_seeds_needed_in_words(needed, text):
    assert needed.text() == text
