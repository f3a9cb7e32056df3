"""A value with its interval and tests: both tell one story, shares have their own interval, and it is readable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from class_sensitivity.analysis.estimate import Estimate, with_interval
from class_sensitivity.analysis.statistics import variance_components


def scalar(value: float, seed_variance: float = 1.0, image_variance: float = 1.0, seeds: int = 5) -> Estimate:
    variances = np.float64(seed_variance), np.float64(image_variance)
    return Estimate(np.float64(value), *variances, seeds - 1.0, np.full(seeds, value))


def several(seeds: int = 4) -> Estimate:
    """(3, 2) estimates of random values."""
    values = np.random.default_rng(0).normal(0.2, 1, (seeds, 20, 3, 2)) + np.arange(20)[:, np.newaxis, np.newaxis] / 9
    return variance_components(values).estimate(alpha=0.05, one_image=1.0, moderated=False)


# Intervals and tests


def test_the_interval_is_hillis_s():
    e = scalar(3.0, seed_variance=0.5, image_variance=0.25, seeds=4)
    freedom = 0.75**2 / (0.5**2 / 3)
    assert e.freedom == pytest.approx(freedom)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(0.75)
    np.testing.assert_allclose([e.low, e.high], [3 - half, 3 + half])
    assert e.p == pytest.approx(2 * stats.t.sf(3 / np.sqrt(0.75), freedom))
    assert e.p_above(1.0) == pytest.approx(stats.t.sf(2 / np.sqrt(0.75), freedom))
    assert e.p_below(1.0) == pytest.approx(stats.t.cdf(2 / np.sqrt(0.75), freedom))


def test_where_images_alone_differ_the_interval_is_a_normal_one():
    e = scalar(3.0, seed_variance=0.0, image_variance=4.0)
    np.testing.assert_allclose([e.low, e.high], 3 + 2 * stats.norm.ppf([0.025, 0.975]), rtol=1e-6)


@given(
    numbers=arrays(np.float64, 3, elements=st.floats(0.01, 100)),
    sign=st.sampled_from([-1, 1]),
    seeds=st.integers(2, 20),
    bound=st.floats(-50, 50),
    alpha=st.floats(0.001, 0.4),
)
def test_an_end_of_the_interval_is_beyond_a_bound_where_the_one_sided_test_says_so(numbers, sign, seeds, bound, alpha):
    value, seed_variance, image_variance = numbers
    e = scalar(sign * value, seed_variance, image_variance, seeds)
    above, below = float(e.p_above(bound)), float(e.p_below(bound))
    assert above + below == pytest.approx(1)
    shown = e.at(2 * alpha)
    if not np.isclose(above, alpha, rtol=1e-6):
        assert (shown.low > bound) == (above < alpha)
    if not np.isclose(below, alpha, rtol=1e-6):
        assert (shown.high < bound) == (below < alpha)
    assert e.p == pytest.approx(2 * min(float(e.p_above(0.0)), float(e.p_below(0.0))))


def test_another_coverage_changes_the_interval_alone():
    e = several()
    wider = e.at(0.01)
    assert (wider.low < e.low).all()
    assert (wider.high > e.high).all()
    np.testing.assert_array_equal(wider.p, e.p)
    np.testing.assert_array_equal(wider.at(e.alpha).low, e.low)


def test_on_these_images_the_choice_of_images_plays_no_part():
    e = several()
    here = e.on_these_images()
    np.testing.assert_array_equal(here.variance, e.seed_variance)
    np.testing.assert_array_equal(here.freedom, np.full(e.value.shape, 3.0))
    half = stats.t.ppf(0.975, 3) * np.sqrt(e.seed_variance)
    np.testing.assert_allclose([here.low, here.high], [e.value - half, e.value + half])
    assert (here.value == e.value).all()


def test_one_seed_has_no_interval_and_no_test():
    e = variance_components(np.ones((1, 9, 2))).estimate(alpha=0.05, one_image=1.0, moderated=True, share_of=None)
    for unknown in (e.low, e.high, e.p, e.p_above(3.0), e.p_below(3.0), e.on_these_images().low, e.at(0.1).high):
        np.testing.assert_array_equal(unknown, [np.nan, np.nan])
    share = variance_components(np.ones((1, 9)) / 9).estimate(
        alpha=0.05, one_image=1.0, moderated=True, share_of=np.float64(9)
    )
    assert np.isnan([share.low, share.high, share.p_above(0.5), share.p_below(0.5), share.p]).all()


@pytest.mark.parametrize(("value", "above", "below"), [(0.0, 0.5, 0.5), (1.0, 0.0, 1.0), (-1.0, 1.0, 0.0)])
def test_a_value_without_any_variance_is_where_it_is(value, above, below):
    e = scalar(value, 0.0, 0.0)
    assert (e.p_above(0.0), e.p_below(0.0)) == (above, below)
    assert e.p == {0.0: 1.0}.get(value, 0.0)


# Shares


def share(
    right: int,
    images: int,
    variance: float | None = None,
    *,
    from_seeds: bool = False,
    seeds: int = 5,
    alpha: float = 0.05,
) -> Estimate:
    """A share whose variance is that of so many independent images unless another is given, all from one source."""
    p = right / images
    variance = p * (1 - p) / images if variance is None else variance
    parts = (np.float64(variance * of_seeds) for of_seeds in (from_seeds, not from_seeds))
    return Estimate(np.float64(p), *parts, seeds - 1.0, np.full(seeds, p), alpha, np.float64(images))


@pytest.mark.parametrize("right", [1, 3, 30, 57, 59])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_a_share_of_independent_images_has_clopper_and_pearsons_interval(right, alpha):
    e = share(right, 60, alpha=alpha)
    assert (e.low, e.high) == pytest.approx(proportion_confint(right, 60, alpha, method="beta"), abs=0.001)


@pytest.mark.parametrize("right", [0, 60])
def test_where_every_image_is_right_the_images_count_one_by_one(right):
    e = share(right, 60)
    assert (e.low, e.high) == pytest.approx(np.nan_to_num(proportion_confint(right, 60, method="beta")))
    if right == 60:
        assert 100 * float(e.low) == pytest.approx(94.04, abs=0.01)
        assert e.scaled(100).text(unit="%") == "100.0 [94.0, 100.0] %"


def test_a_share_that_varies_more_counts_for_fewer_images():
    # Korn and Graubard: n* = p (1 - p) / V, times (t of n - 1 / t of V's degrees of freedom)^2.
    p, images, seeds, seed_variance = 0.8, 200, 5, 0.002
    e = Estimate(
        np.float64(p),
        np.float64(seed_variance),
        np.float64(0),
        seeds - 1.0,
        np.full(seeds, p),
        0.05,
        np.float64(images),
    )
    effective = p * (1 - p) / seed_variance * (stats.t.ppf(0.975, images - 1) / stats.t.ppf(0.975, seeds - 1)) ** 2
    assert effective < 60
    expected = proportion_confint(p * effective, effective, method="beta")
    assert (e.low, e.high) == pytest.approx(expected)


@given(
    right=st.integers(0, 40),
    seed_variance=st.sampled_from([0.0, 1e-12, 1e-4, 0.01, 0.2]),
    image_variance=st.sampled_from([0.0, 1e-12, 1e-4, 0.01]),
    seeds=st.integers(2, 12),
)
def test_an_interval_of_a_share_holds_it_has_a_width_and_stays_a_share(right, seed_variance, image_variance, seeds):
    p = np.float64(right / 40)
    e = Estimate(
        p, np.float64(seed_variance), np.float64(image_variance), seeds - 1.0, np.full(seeds, p), 0.05, np.float64(40)
    )
    for each in (e, e.on_these_images(), e.scaled(100)):
        assert 0 <= each.low <= each.value <= each.high <= each.unit
        assert each.high - each.low > 0.003 * each.unit
    np.testing.assert_allclose([e.scaled(100).low, e.scaled(100).high], [100 * e.low, 100 * e.high])


@given(
    right=st.floats(0, 1) | st.sampled_from([0.0, 1.0]),
    images=st.integers(1, 2000),
    excess=st.tuples(*[st.sampled_from([0.0, 1e-6, 0.2, 1.0, 7.0])] * 2),
    seeds=st.integers(2, 20),
    prior=st.sampled_from([0.0, 10.0]),
    bound=st.floats(0.001, 0.999) | st.sampled_from([0.5, 0.9, 0.97]),
    alpha=st.floats(1e-6, 0.49),
    unit=st.sampled_from([1.0, 100.0]),
)
def test_the_tests_of_a_share_say_what_its_interval_says(right, images, excess, seeds, prior, bound, alpha, unit):
    binomial = right * (1 - right) / images
    variances = (np.float64(binomial * each) for each in excess)
    share = Estimate(
        np.float64(right), *variances, seeds - 1.0 + prior, np.full(seeds, right), 0.05, np.float64(images)
    )
    for e in (share.scaled(unit), share.scaled(unit).on_these_images()):
        above, below, shown = float(e.p_above(unit * bound)), float(e.p_below(unit * bound)), e.at(2 * alpha)
        assert 0 <= above <= 1
        assert 0 <= below <= 1
        if not np.isclose(above, alpha, rtol=1e-6):
            assert (shown.low > unit * bound) == (above <= alpha)
        if not np.isclose(below, alpha, rtol=1e-6):
            assert (shown.high < unit * bound) == (below <= alpha)


def test_where_every_image_is_right_a_share_is_not_certainly_above_what_its_interval_holds():
    e = share(60, 60, variance=0.0)
    # Clopper and Pearson: b of 60 images, all right, is as rare as b^60.
    for bound in (0.9, 0.95, 0.97, 0.999):
        assert float(e.p_above(bound)) == pytest.approx(bound**60)
    assert float(e.at(0.1).low) == pytest.approx(0.05 ** (1 / 60)), "the 90 % interval starts at 95.1 %"
    for certain, bound in ((e.p_above, -0.1), (e.p_below, 1.1), (share(0, 60).p_above, -0.1)):
        assert certain(bound) == 0
    for open_, bound in ((e.p_below, 0.9), (e.p_above, 1.0), (e.p_below, 1.0), (share(0, 60).p_above, 0.0)):
        assert open_(bound) == 1
    assert np.array_equal([e.p, share(0, 60).p], [0, 1])


@pytest.mark.parametrize(("right", "bound"), [(3, 0.01), (3, 0.2), (30, 0.4), (30, 0.6), (57, 0.9), (57, 0.99)])
def test_of_independent_images_the_test_of_a_share_is_the_binomial_test(right, bound):
    e = share(right, 60)
    above, below = (stats.binomtest(right, 60, bound, alternative=side).pvalue for side in ("greater", "less"))
    assert (float(e.p_above(bound)), float(e.p_below(bound))) == pytest.approx((above, below), rel=1e-6)


def test_the_images_of_other_seeds_count_for_a_share_on_these_images():
    assert float(share(60, 60, seeds=4).on_these_images().low) == pytest.approx(
        proportion_confint(240, 240, method="beta")[0]
    )


# Parts of it, and other units


def test_an_estimate_is_indexed_like_its_arrays():
    values = np.random.default_rng(7).random((3, 10, 4, 5)) / 10
    of = np.arange(20.0).reshape(4, 5) + 10
    e = variance_components(values).estimate(alpha=0.05, one_image=0.1, moderated=True, share_of=of)
    for index in (1, -1, slice(1, 3), (2, 3), (slice(None), 0), np.array([0, 2]), np.array([True, False, True, False])):
        part = e[index]
        for name in ("value", "low", "high", "p", "share_of"):
            np.testing.assert_array_equal(getattr(part, name), getattr(e, name)[index])
        rest = index if isinstance(index, tuple) else (index,)
        np.testing.assert_array_equal(part.per_seed, e.per_seed[(slice(None), *rest)])
    np.testing.assert_array_equal(e[1][2].value, e[1, 2].value)


@pytest.mark.parametrize("factor", [100, -10, 0.5, -0.1])
def test_a_scaled_estimate_is_that_of_the_scaled_values(factor):
    values = np.random.default_rng(9).normal(size=(4, 20, 3)) + np.arange(20)[:, np.newaxis]
    plain, expected = (
        variance_components(each).estimate(alpha=0.05, one_image=scale, moderated=False)
        for each, scale in ((values, 1.0), (factor * values, abs(factor)))
    )
    scaled = plain.scaled(factor)
    for name in ("value", "low", "high", "p", "per_seed"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(expected, name))
    np.testing.assert_allclose(scaled.on_these_images().low, expected.on_these_images().low)
    assert (scaled.low < scaled.value).all()
    assert (scaled.value < scaled.high).all()


# In words


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "1.2 [-0.5, 3.0]"),
        ({"digits": 2}, "1.23 [-0.46, 2.99]"),
        ({"digits": 2, "signed": True}, "+1.23 [-0.46, +2.99]"),
        ({"digits": 0, "unit": "test images"}, "1 [0, 3] test images"),
        ({"unit": "%"}, "1.2 [-0.5, 3.0] %"),
    ],
)
def test_an_estimate_is_a_value_with_its_interval_and_unit(options, text):
    assert with_interval(1.234, -0.456, 2.987, **options) == text


@given(
    numbers=st.tuples(*[st.floats(-0.06, 0.06) | st.sampled_from([0.0, -0.0])] * 3),
    digits=st.integers(0, 3),
    signed=st.booleans(),
)
def test_nothing_that_rounds_to_0_has_a_minus(numbers, digits, signed):
    text = with_interval(*numbers, digits=digits, signed=signed)
    for shown in text.replace("[", "").replace("]", "").replace(",", "").split():
        assert float(shown) != 0 or not shown.startswith("-"), text


def test_an_estimate_without_an_interval_has_no_brackets():
    assert with_interval(-1.234, np.nan, np.nan, signed=True, unit="points") == "-1.2 points"
    ones = variance_components(np.ones((1, 4))).estimate(alpha=0.05, one_image=1, moderated=False)
    assert ones.text() == "4.0"


def test_several_values_have_no_text_together():
    e = several()
    with pytest.raises(TypeError):
        e.text()
    assert e[1, 0].text() == with_interval(*(float(x[1, 0]) for x in (e.value, e.low, e.high)))
