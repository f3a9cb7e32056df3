"""Moderated seed variances against a plain loop of Smyth's formulas, and what must never happen to a variance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from class_sensitivity.analysis.moderation import (
    MOST_PRIOR_SEEDS,
    SMALLEST_FAMILY,
    inverse_trigamma,
    moderated_variance,
)

# The reference: G. K. Smyth (2004), section 6.2, and limma's squeezeVar, with a trend of a given shape.


def trigamma(x: float) -> float:
    """From its series: terms up to a million, and the rest as an integral."""
    terms = 200_000
    return math.fsum(1 / (x + k) ** 2 for k in range(terms)) + 1 / (x + terms - 0.5)


def solve(function, low: float, high: float) -> float:
    """A root of an increasing function, by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def squeezed(sample: list[float], interaction: list[float], seeds: int) -> tuple[list[float], float, float]:
    """The moderated variances, the degrees of freedom, and b of the trend I + b I^2, one member after the other."""
    d = seeds - 1
    logs = []
    for variance, known in zip(sample, interaction, strict=True):
        logs.append(math.log(max(variance, 0.05 * known)) - special.digamma(d / 2) + math.log(d / 2))

    def lacking(b: float) -> float:
        total = 0.0
        for log, known in zip(logs, interaction, strict=True):
            total += math.log(known + b * known * known) - log
        return total

    b = 0.0 if lacking(0.0) >= 0 else solve(lacking, 0.0, 1e6)
    squares = 0.0
    for log, known in zip(logs, interaction, strict=True):
        squares += (log - math.log(known + b * known * known)) ** 2
    excess = squares / (len(logs) - 1) - trigamma(d / 2)
    prior = 10.0
    if excess > 0:
        # trigamma falls, so its root is searched for upside down
        prior = min(10.0, 2 * solve(lambda x: excess - float(special.polygamma(1, x)), 1e-9, 1e9))
    moderated = []
    for variance, known in zip(sample, interaction, strict=True):
        pooled = (prior * (known + b * known * known) + d * variance) / (prior + d)
        moderated.append(max(pooled, known))
    return moderated, d + prior, b


def family(
    seed: int, members: int, seeds: int, *, b: float = 0.0, spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Sample variances over seeds and interactions; the true variances scatter about the trend by exp(spread)."""
    rng = np.random.default_rng(seed)
    interaction = np.exp(rng.uniform(0, 4, members))
    true = (interaction + b * interaction**2) * np.exp(spread * rng.normal(size=members))
    return true * rng.chisquare(seeds - 1, members) / (seeds - 1), interaction


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(("b", "spread"), [(0.0, 0.0), (0.0, 1.0), (0.1, 0.0), (0.05, 0.5), (3.0, 2.0)])
def test_moderation_is_that_of_a_plain_loop(seeds, b, spread):
    sample, interaction = family(1, 45, seeds, b=b, spread=spread)
    found = moderated_variance(sample, interaction, seeds)
    expected, freedom, _ = squeezed(sample.tolist(), interaction.tolist(), seeds)
    np.testing.assert_allclose(found.variance, expected, rtol=1e-6)
    assert found.freedom == pytest.approx(freedom, rel=1e-6)


def test_both_kinds_of_family_are_in_the_examples():
    slopes = {b: squeezed(*(x.tolist() for x in family(1, 45, 5, b=b)), 5)[2] for b in (0.0, 0.1)}
    assert slopes[0.1] == pytest.approx(0.1, rel=0.4)
    low, interaction = family(2, 45, 5)
    *_, b = squeezed((low / 3).tolist(), interaction.tolist(), 5)
    assert b == 0, "variances below their interaction have no trend"
    found = moderated_variance(low / 3, interaction, 5)
    np.testing.assert_allclose(found.variance, squeezed((low / 3).tolist(), interaction.tolist(), 5)[0], rtol=1e-9)


@pytest.mark.parametrize("members", [30, 400])
def test_without_a_trend_it_is_limmas_squeezing(members):
    """fitFDist of variances that share one scale: here the interaction, which is too small to hold any back."""
    rng = np.random.default_rng(3)
    d, prior, scale = 4, 6.0, 25.0
    true = scale * prior / rng.chisquare(prior, members)
    sample = true * rng.chisquare(d, members) / d
    # limma, fitFDist, line by line: z, e = z - digamma(df1 / 2) + log(df1 / 2), emean, evar
    e = np.log(sample) - special.digamma(d / 2) + np.log(d / 2)
    evar = e.var(ddof=1) - special.polygamma(1, d / 2)
    df2 = 2 * optimize.brentq(lambda x: special.polygamma(1, x) - evar, 1e-6, 1e6)
    s20 = np.exp(e.mean() + special.digamma(df2 / 2) - np.log(df2 / 2))
    posterior = (d * sample + df2 * s20) / (d + df2)

    found = moderated_variance(sample, np.full(members, 1e-3), d + 1)
    assert df2 < MOST_PRIOR_SEEDS, "this example is about a prior that is not cut off"
    assert found.freedom == pytest.approx(d + df2)
    # The trend is the geometric mean of what the variances scatter about; limma's scale is a little smaller.
    mine = np.exp(e.mean())
    np.testing.assert_allclose(found.variance, posterior + df2 * (mine - s20) / (d + df2))
    assert mine / s20 == pytest.approx(np.exp(np.log(df2 / 2) - special.digamma(df2 / 2)))


@pytest.mark.parametrize("x", [1e-3, 0.1, 0.5, 1.0, 3.7, 50.0, 1e4])
def test_inverse_trigamma_is_the_root_that_scipy_finds(x):
    value = float(special.polygamma(1, x))
    root = optimize.brentq(lambda y: float(special.polygamma(1, y)) - value, x / 3, 3 * x, xtol=1e-12)
    assert inverse_trigamma(value) == pytest.approx(root, rel=1e-7)
    assert inverse_trigamma(value) == pytest.approx(x, rel=1e-7)


def test_the_series_of_the_reference_is_trigamma():
    for x in (0.5, 1.0, 2.0, 4.5):
        assert trigamma(x) == pytest.approx(float(special.polygamma(1, x)), rel=1e-9)


# What must hold for every family


@given(seed=st.integers(0, 2**32), members=st.integers(1, 40), seeds=st.integers(2, 8), still=st.floats(0, 1))
def test_no_variance_is_below_its_interaction_and_a_small_family_keeps_its_own(seed, members, seeds, still):
    rng = np.random.default_rng(seed)
    sample, interaction = family(seed, members, seeds, b=0.1 * rng.random(), spread=rng.random())
    gone = rng.random(members) < still
    sample, interaction = np.where(gone, sample * (rng.random(members) < 0.5), sample), np.where(gone, 0, interaction)
    found = moderated_variance(sample, interaction, seeds)
    assert (found.variance >= interaction).all()
    assert seeds - 1 <= found.freedom <= seeds - 1 + MOST_PRIOR_SEEDS
    own = np.maximum(sample, interaction)
    np.testing.assert_array_equal(found.variance[gone], own[gone])
    if (~gone).sum() < SMALLEST_FAMILY:
        np.testing.assert_array_equal(found.variance, own)
        assert found.freedom == seeds - 1


def test_a_family_of_nine_is_moderated_and_one_of_eight_is_not():
    sample, interaction = family(4, 9, 4)
    assert moderated_variance(sample, interaction, 4).freedom > 3
    found = moderated_variance(sample[:8], interaction[:8], 4)
    np.testing.assert_array_equal(found.variance, np.maximum(sample, interaction)[:8])
    assert found.freedom == 3


@pytest.mark.parametrize(("varying", "moderated"), [(5, False), (6, True), (8, True)])
def test_a_share_that_never_varied_is_a_member_of_its_family(varying, moderated):
    sample, interaction = family(6, varying, 4)
    still = np.zeros(9 - varying)
    found = moderated_variance(np.append(sample, still), np.append(interaction, still), 4, shares=True)
    assert (found.freedom > 3) == moderated
    np.testing.assert_array_equal(found.variance[varying:], still)
    if moderated:
        expected, freedom, _ = squeezed(sample.tolist(), interaction.tolist(), 4)
        np.testing.assert_allclose(found.variance[:varying], expected, rtol=1e-6)
        assert found.freedom == pytest.approx(freedom, rel=1e-6)
    else:
        np.testing.assert_array_equal(found.variance[:varying], np.maximum(sample, interaction))
    # Eight classes are no family, and neither are nine of which one has no test images.
    fewer = moderated_variance(np.append(sample, still[:-1]), np.append(interaction, still[:-1]), 4, shares=True)
    unknown = moderated_variance(
        np.append(sample, [*still[:-1], np.nan]), np.append(interaction, still), 4, shares=True
    )
    assert fewer.freedom == unknown.freedom == 3
    assert moderated_variance(np.append(sample, still), np.append(interaction, still), 4).freedom == 3


@given(seed=st.integers(0, 2**32), seeds=st.integers(2, 6))
def test_the_order_and_the_shape_of_a_family_do_not_matter(seed, seeds):
    sample, interaction = family(seed, 12, seeds, b=0.1, spread=0.5)
    plain = moderated_variance(sample, interaction, seeds)
    order = np.random.default_rng(seed).permutation(12)
    turned = moderated_variance(sample[order].reshape(3, 4), interaction[order].reshape(3, 4), seeds)
    np.testing.assert_allclose(turned.variance.ravel(), plain.variance[order], rtol=1e-9)
    assert turned.freedom == pytest.approx(plain.freedom)


def test_what_is_unknown_stays_unknown_and_is_no_member():
    sample, interaction = family(7, 14, 4, b=0.1, spread=0.5)
    unknown = np.arange(14) < 4
    found = moderated_variance(np.where(unknown, np.nan, sample), interaction, 4)
    known = moderated_variance(sample[~unknown], interaction[~unknown], 4)
    assert np.isnan(found.variance[unknown]).all()
    np.testing.assert_array_equal(found.variance[~unknown], known.variance)
    assert found.freedom == known.freedom


@given(seed=st.integers(0, 2**32), seeds=st.integers(2, 6), unit=st.sampled_from([1e-4, 100.0]))
def test_the_unit_does_not_matter(seed, seeds, unit):
    sample, interaction = family(seed, 12, seeds, b=0.1, spread=0.5)
    plain, scaled = (moderated_variance(x * sample, x * interaction, seeds) for x in (1.0, unit))
    np.testing.assert_allclose(scaled.variance, unit * plain.variance, rtol=1e-6)
    assert scaled.freedom == pytest.approx(plain.freedom)


def test_members_that_agree_with_the_trend_are_trusted_as_far_as_the_cap_goes():
    _, interaction = family(5, 20, 3)
    found = moderated_variance(interaction, interaction, 3)
    assert found.freedom == 2 + MOST_PRIOR_SEEDS
    assert (found.variance >= interaction).all()


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_moderated_tests_keep_their_level_and_gain_power(seeds):
    rng = np.random.default_rng(6)
    studies, members = 150, 60
    false, power = {True: [], False: []}, {True: [], False: []}
    for _ in range(studies):
        interaction = np.exp(rng.uniform(0, 4, members))
        true = (interaction + 0.02 * interaction**2) * np.exp(0.3 * rng.normal(size=members))
        values = np.sqrt(true) * rng.normal(size=(seeds, members))
        sample = values.var(axis=0, ddof=1)
        both = moderated_variance(sample, interaction, seeds)
        for moderated in (True, False):
            variance, freedom = (
                (both.variance, both.freedom) if moderated else (np.maximum(sample, interaction), seeds - 1)
            )
            error = np.sqrt(variance / seeds)
            for shift, found in ((0.0, false), (2.5, power)):
                t = np.abs(values.mean(axis=0) + shift * np.sqrt(true / seeds)) / error
                found[moderated].append((2 * stats.t.sf(t, freedom) <= 0.05).mean())
    assert 0.02 <= np.mean(false[True]) <= 0.07
    assert np.mean(power[True]) > np.mean(power[False]) + 0.05
