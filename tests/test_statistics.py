"""Every number against an independent reference, and every interval and mark against simulated studies."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit
from support.synthetic import World, shares

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.statistics import (
    KNEE_LEVELS,
    NO_KNEE,
    Knee,
    VarianceComponents,
    benjamini_hochberg,
    knee,
    variance_components,
)

Floats = NDArray[np.float64]


def crossed(
    rng: np.random.Generator, seeds: int, images: int, *trailing: int, seed: float = 1.0, image: float = 1.0
) -> Floats:
    """(S, n, ...) a mean, seed effects, image effects and their interaction."""
    effects = seed * rng.normal(size=(seeds, 1, *trailing)) + image * rng.normal(size=(1, images, *trailing))
    return 0.3 + effects + rng.normal(size=(seeds, images, *trailing))


def estimate(values: NDArray[np.number], strata: NDArray[np.integer] | None = None, *, alpha: float = 0.05) -> Estimate:
    """The sum over images with its interval, each measurement by itself."""
    components = variance_components(values, strata)
    one_image = np.abs(np.asarray(values, np.float64)).max(axis=(0, 1))
    return components.estimate(alpha=alpha, one_image=one_image, moderated=False)


def seed_variance(components: VarianceComponents) -> Floats:
    """Of the mean over seeds."""
    return components.seed_variance(moderated=False)[0] / components.seeds


def mean_squares(values: Floats) -> tuple[float, float, float]:
    """Seeds, images, residual of a two-way layout, as a textbook writes them."""
    seeds, images = values.shape
    grand = values.sum() / (seeds * images)
    by_seed = [values[s].sum() / images for s in range(seeds)]
    by_image = [values[:, i].sum() / seeds for i in range(images)]
    residual = 0.0
    for s in range(seeds):
        for i in range(images):
            residual += (values[s, i] - by_seed[s] - by_image[i] + grand) ** 2
    return (
        images * sum((m - grand) ** 2 for m in by_seed) / (seeds - 1),
        seeds * sum((m - grand) ** 2 for m in by_image) / (images - 1),
        residual / ((seeds - 1) * (images - 1)),
    )


def variance_of(e: Estimate, freedom: Floats, alpha: float = 0.05) -> Floats:
    """The variance behind an interval."""
    return ((e.high - e.low) / 2 / stats.t.ppf(1 - alpha / 2, freedom)) ** 2


# Values and variances


@pytest.mark.parametrize("shape", [(2, 7), (5, 40), (3, 8, 4), (4, 9, 2, 3)])
def test_the_value_is_the_sum_over_images_of_the_mean_over_seeds(shape):
    values = np.random.default_rng(0).integers(-1, 2, shape).astype(np.int8)
    e = estimate(values, np.arange(shape[1]) % 3)
    np.testing.assert_allclose(e.value, values.astype(float).mean(axis=0).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(e.per_seed, values.astype(float).sum(axis=1), atol=1e-12)
    assert {part.shape for part in (e.value, e.low, e.high, e.p)} == {shape[2:]}


@pytest.mark.parametrize(("seeds", "images"), [(2, 30), (5, 12), (5, 200), (20, 50)])
def test_variance_and_freedom_are_those_of_the_textbook_layout(seeds, images):
    values = crossed(np.random.default_rng(1), seeds, images, seed=2.0, image=2.0)
    ms_seed, ms_image, ms_residual = mean_squares(values)
    assert min(ms_seed, ms_image) > ms_residual, "nothing is cut off at 0 in this example"
    of_the_mean = (ms_seed + ms_image - ms_residual) / (seeds * images)
    components = variance_components(values)
    np.testing.assert_allclose(seed_variance(components) + components.image_variance, images**2 * of_the_mean)
    np.testing.assert_allclose(components.image_variance, images * (ms_image - ms_residual) / seeds)

    freedom = (ms_seed + ms_image - ms_residual) ** 2 / (ms_seed**2 / (seeds - 1))
    half = stats.t.ppf(0.95, freedom) * images * np.sqrt(of_the_mean)
    e = estimate(values, alpha=0.1)
    np.testing.assert_allclose([e.low, e.high], [e.value - half, e.value + half])
    t = values.mean() / np.sqrt(of_the_mean)
    np.testing.assert_allclose(e.p, 2 * stats.t.sf(abs(t), freedom))


def test_strata_add_up():
    rng = np.random.default_rng(2)
    strata = np.repeat([4, 0, 9], [30, 20, 50])
    values = crossed(rng, 5, 100, image=2.0) + strata
    components = variance_components(values, strata)
    apart = [variance_components(values[:, strata == s]) for s in (4, 0, 9)]
    np.testing.assert_allclose(components.total, sum(part.total for part in apart))
    np.testing.assert_allclose(components.image_variance, sum(part.image_variance for part in apart))
    # Seeds are shared by the strata: their sums add, not their variances.
    np.testing.assert_allclose(seed_variance(components), sum(part.per_seed for part in apart).var(ddof=1) / 5)
    # That the strata's means differ is no chance: images are drawn within them.
    assert components.image_variance < 0.7 * variance_components(values).image_variance

    shuffled = rng.permutation(100)
    again = variance_components(values[:, shuffled], strata[shuffled])
    np.testing.assert_allclose(again.image_variance, components.image_variance)
    np.testing.assert_allclose(again.image_effects, components.image_effects[shuffled])


def test_images_that_differ_less_than_their_interaction_count_as_equal():
    rng = np.random.default_rng(3)
    values = np.stack([np.tile([0.0, 1.0], 20), np.tile([1.0, 0.0], 20), np.tile([0.0, 1.0], 20)])
    values += 3 * rng.normal(size=(3, 1))
    ms_seed, ms_image, ms_residual = mean_squares(values)
    assert ms_image < ms_residual < ms_seed
    components = variance_components(values)
    assert components.image_variance == 0
    np.testing.assert_array_equal(components.image_effects, 0)
    e = estimate(values)
    np.testing.assert_allclose(variance_of(e, 2), 40 * ms_seed / 3)


def test_a_class_of_one_image_has_no_spread_of_images():
    values = crossed(np.random.default_rng(4), 4, 6)
    components = variance_components(values, np.array([0, 0, 0, 0, 0, 1]))
    np.testing.assert_allclose(components.image_variance, variance_components(values[:, :5]).image_variance)


def test_many_measurements_at_once_are_each_alone():
    rng = np.random.default_rng(5)
    strata = np.arange(40) % 2
    values = rng.integers(0, 2, (5, 40, 3, 2))
    together = estimate(values, strata)
    for index in np.ndindex(3, 2):
        alone = estimate(values[:, :, *index], strata)
        for name in ("value", "low", "high", "p"):
            np.testing.assert_allclose(getattr(together[index], name), getattr(alone, name), atol=1e-9)
        np.testing.assert_array_equal(together[index].per_seed, alone.per_seed)


@given(seed=st.integers(0, 2**32), seeds=st.integers(2, 6), images=st.integers(2, 30), alpha=st.floats(0.01, 0.5))
def test_interval_and_test_tell_one_story(seed, seeds, images, alpha):
    values = np.random.default_rng(seed).integers(-1, 2, (seeds, images))
    e = estimate(values, alpha=alpha)
    assert e.low <= e.value <= e.high
    assert 0 <= e.p <= 1
    outside = e.low > 0 or e.high < 0
    assert outside == (e.p < alpha) or np.isclose(e.p, alpha, rtol=1e-6)
    wider = estimate(values, alpha=alpha / 2)
    assert wider.low <= e.low
    assert e.high <= wider.high
    mirrored = estimate(-values, alpha=alpha)
    np.testing.assert_allclose([mirrored.low, mirrored.high, mirrored.p], [-e.high, -e.low, e.p], atol=1e-12)


def test_one_seed_says_nothing_about_seeds():
    values = np.random.default_rng(6).normal(size=(1, 20, 3))
    e = estimate(values)
    np.testing.assert_allclose(e.value, values[0].sum(axis=0))
    for unknown in (e.low, e.high, e.p):
        np.testing.assert_array_equal(unknown, np.full(3, np.nan))
    for unknown in (e.seed_variance, e.image_variance):
        np.testing.assert_array_equal(unknown, np.full(3, np.nan))


@pytest.mark.parametrize("value", [0, 1, -3])
def test_where_nothing_varied_one_image_more_or_less_is_still_possible(value):
    components = variance_components(np.full((5, 10), value))
    assert (components.interaction, components.image_variance) == (0, 0)
    e = components.estimate(alpha=0.05, one_image=2.0, moderated=False)
    assert (e.value, e.variance) == (10 * value, 4)
    # Of one seed it is what one image makes; images do the rest.
    np.testing.assert_allclose([e.seed_variance, e.image_variance], [4 / 25, 4 - 4 / 25])
    np.testing.assert_allclose([e.low, e.high], e.value + np.array([-1, 1]) * 2 * stats.norm.ppf(0.975), atol=0.01)


def test_what_varies_more_than_one_image_is_left_as_it_is():
    values = crossed(np.random.default_rng(8), 5, 40, image=2.0)
    components = variance_components(values)
    for small in (0.0, 1.0):
        e = components.estimate(alpha=0.05, one_image=small, moderated=False)
        np.testing.assert_array_equal(e.seed_variance, seed_variance(components))
        np.testing.assert_array_equal(e.image_variance, components.image_variance)


def test_seeds_that_agree_by_chance_are_not_taken_for_certain():
    # Three seeds each lose one image, each another one: three coin flips, not a law.
    values = np.zeros((3, 100))
    values[[0, 1, 2], [10, 20, 30]] = -1
    e = estimate(values)
    assert e.value == -1
    assert e.low < e.high
    assert e.p > 0.01


def test_a_knee_in_words():
    assert Knee(0.314, 0.2, 0.45, -0.1, -1.0, 0.01).text() == "0.31 [0.20, 0.45]"
    assert replace(NO_KNEE, p=0.4).text() == "no knee"
    assert NO_KNEE.text() == ""


# Intervals, over simulated studies. The last axis holds the studies.

STUDIES = 1500


def normal_mean(function: Callable[[Floats], Floats], spread: float) -> float:
    """The mean of a function of a centred normal variable, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float((weights * function(spread * nodes)).sum() / weights.sum())


def covered(e: Estimate, truth: float) -> float:
    return float(((e.low <= truth) & (truth <= e.high)).mean())


@pytest.mark.parametrize(
    ("seeds", "images", "seed_spread", "image_spread"),
    [(5, 200, 0.1, 1.5), (5, 200, 0.5, 1.5), (5, 1000, 0.15, 3.0), (10, 300, 0.2, 2.0)],
)
def test_an_interval_of_a_recall_covers_new_seeds_and_images(seeds, images, seed_spread, image_spread):
    rng = np.random.default_rng(10)
    studies = STUDIES if images < 500 else 600
    difficulty = image_spread * rng.normal(size=(1, images, studies))
    logit = 1.5 + difficulty + seed_spread * rng.normal(size=(seeds, 1, studies))
    right = rng.random((seeds, images, studies)) < expit(logit)
    truth = normal_mean(lambda x: expit(1.5 + x), np.hypot(seed_spread, image_spread))
    e = estimate(right / images)
    assert abs(e.value.mean() - truth) < 0.005
    assert 0.92 <= covered(e, truth) <= 0.98
    if seed_spread >= 0.15:
        # What the two usual intervals would make of it: each leaves a part out.
        over_images = 1.96 * np.sqrt(e.value * (1 - e.value) / images / seeds)
        assert (np.abs(e.value - truth) <= over_images).mean() < 0.9


@pytest.mark.parametrize("effect", [0.0, -0.6])
def test_an_interval_of_a_fall_covers_and_pairing_makes_it_narrow(effect):
    rng = np.random.default_rng(11)
    seeds, images = 5, 250
    difficulty = 2.0 * rng.normal(size=(1, images, STUDIES))
    logit = 1.0 + difficulty + 0.2 * rng.normal(size=(seeds, 1, STUDIES))
    own = 0.3 * rng.normal(size=(seeds, 1, STUDIES))
    # Seed and image share a taste, which lasts from one condition to the other.
    taste = 1.0 * rng.normal(size=(seeds, images, STUDIES))
    baseline = rng.random((seeds, images, STUDIES)) < expit(logit + taste)
    stressed = rng.random((seeds, images, STUDIES)) < expit(logit + taste + own + effect)
    shared = 2.0**2 + 0.2**2 + 1.0**2
    truth = normal_mean(lambda x: expit(1.0 + effect + x), np.sqrt(shared + 0.3**2))
    truth -= normal_mean(lambda x: expit(1.0 + x), np.sqrt(shared))
    e = estimate((stressed.astype(np.int8) - baseline) / images)
    assert 0.92 <= covered(e, truth) <= 0.98
    inside = (e.low <= 0) & (e.high >= 0)
    np.testing.assert_array_equal(inside, e.p > 0.05)
    unpaired = [estimate(part / images) for part in (baseline, stressed)]
    assert (e.high - e.low).mean() < 0.9 * np.sqrt(sum((u.high - u.low) ** 2 for u in unpaired)).mean()


def predictions(rng: np.random.Generator, logits: Floats, shift: Floats, seeds: int, images: int, studies: int) -> list:
    """Predicted classes (S, n, studies) at the baseline and at a condition, of images of one class."""
    num_classes = len(logits)
    shared = logits + 1.2 * rng.normal(size=(1, images, studies, num_classes)).astype(np.float32)
    shared = shared + 0.15 * rng.normal(size=(seeds, 1, studies, num_classes)).astype(np.float32)
    made = []
    for extra in (0.0, shift):
        own = 0.15 * rng.normal(size=(seeds, 1, studies, num_classes)).astype(np.float32)
        made.append((shared + own + extra + rng.gumbel(size=shared.shape).astype(np.float32)).argmax(axis=-1))
    return made


def test_an_interval_of_a_cell_of_a_relative_matrix_covers():
    rng = np.random.default_rng(12)
    seeds, images, studies = 5, 200, 400
    logits = np.array([3.0, 0.5, 0.0, -1.0], np.float32)
    shift = np.array([-0.5, 0.4, 0.0, 0.0], np.float32)
    baseline, stressed = predictions(rng, logits, shift, seeds, images, studies)
    rates = []
    for predicted in range(4):
        e = estimate((stressed == predicted).astype(np.int8) - (baseline == predicted))
        # The mean over 400 studies stands for the truth: it varies 20 times less than any one of them.
        rates.append(covered(e, e.value.mean()))
    assert min(rates) >= 0.92
    # Counts are whole numbers, so rare cells are covered a little too well.
    assert 0.93 <= np.mean(rates) <= 0.995


# Draws


@pytest.mark.parametrize(
    ("seeds", "images", "seed", "image"), [(2, 40, 1.0, 1.0), (5, 60, 1.0, 0.5), (5, 60, 0.5, 3.0), (12, 30, 1.0, 1.0)]
)
def test_draws_vary_as_the_interval_says(seeds, images, seed, image):
    rng = np.random.default_rng(20)
    strata = np.arange(images) % 3
    values = crossed(rng, seeds, images, 2, seed=seed, image=image) + strata[:, np.newaxis]
    components = variance_components(values, strata)
    draws = statistics.resample(values, strata, statistics.seed_weights(seeds, 20_000, rng), rng)
    assert draws.shape == (20_000, 2)
    variance = seed_variance(components) + components.image_variance
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.06)
    assert (np.abs(draws.mean(axis=0) - components.total) < 4 * np.sqrt(variance / len(draws))).all()


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_weights_of_seeds_are_a_bootstrap_scaled_to_the_variance_of_a_mean(seeds):
    weights = statistics.seed_weights(seeds, 40_000, np.random.default_rng(21))
    assert weights.shape == (40_000, seeds)
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)
    values = np.random.default_rng(22).normal(size=seeds)
    np.testing.assert_allclose((weights @ values).var(), values.var(ddof=1) / seeds, rtol=0.05)


def test_one_seed_cannot_be_drawn():
    rng = np.random.default_rng(23)
    weights = statistics.seed_weights(1, 50, rng)
    np.testing.assert_array_equal(weights, np.zeros((50, 1)))
    draws = statistics.resample(rng.normal(size=(1, 30, 2)), np.zeros(30, int), weights, rng)
    assert np.isfinite(draws).all()


def test_classes_that_share_seeds_rise_and_fall_together():
    rng = np.random.default_rng(24)
    strata = np.zeros(20, int)
    values = np.tile(np.array([0.2, 0.9, 0.4, 0.7, 0.1])[:, np.newaxis, np.newaxis], (1, 20, 1))
    weights = statistics.seed_weights(5, 5000, rng)
    one, other = (statistics.resample(values, strata, weights, rng)[:, 0] for _ in range(2))
    assert np.corrcoef(one, other)[0, 1] > 0.999
    apart = statistics.resample(values, strata, statistics.seed_weights(5, 5000, rng), rng)[:, 0]
    assert abs(np.corrcoef(one, apart)[0, 1]) < 0.06


def test_the_same_generator_gives_the_same_draws():
    values, strata = np.random.default_rng(25).normal(size=(3, 20, 2)), np.arange(20) % 2

    def draw(seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        return statistics.resample(values, strata, statistics.seed_weights(3, 100, rng), rng)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


# Tests and marks


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 8])
def test_sign_flips_are_those_of_scipy(seeds):
    rng = np.random.default_rng(30)
    # Whole numbers make ties, also with the observed sum.
    differences = np.concatenate([rng.normal(0.5, 1, (seeds, 6)), rng.integers(-3, 4, (seeds, 6))], axis=1)
    mine = statistics.sign_flip_p(differences.reshape(seeds, 3, 4))
    assert mine.shape == (3, 4)
    for column, p in enumerate(mine.ravel()):
        if seeds == 1:
            assert p == 1
            continue
        reference = stats.permutation_test(
            (differences[:, column],), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
        )
        assert p == pytest.approx(reference.pvalue)


@pytest.mark.parametrize("seeds", range(1, 11))
def test_the_smallest_sign_flip_p_is_reached_and_nothing_is_below_it(seeds):
    smallest = statistics.smallest_sign_flip_p(seeds)
    assert smallest == {1: 1.0, 5: 0.0625}.get(seeds, 2 / 2**seeds)
    assert statistics.sign_flip_p(0.1 + np.arange(seeds)) == smallest
    random = statistics.sign_flip_p(np.random.default_rng(31).normal(1, 1, (seeds, 200)))
    assert random.min() >= smallest


@pytest.mark.parametrize("seeds", [0, 17])
def test_sign_flips_that_would_not_fit_are_refused(seeds):
    with pytest.raises(ValueError, match="1 to 16"):
        statistics.sign_flip_p(np.ones(seeds))


@given(
    p=st.lists(st.floats(0, 1) | st.floats(0, 0.01) | st.just(float("nan")), max_size=40),
    alpha=st.floats(0.001, 0.5),
)
def test_marks_are_those_of_statsmodels(p, alpha):
    from statsmodels.stats.multitest import multipletests

    values = np.array(p, float)
    known = ~np.isnan(values)
    expected = np.zeros(len(values), bool)
    if known.any():
        expected[known] = multipletests(values[known], alpha, method="fdr_bh")[0]
    found = benjamini_hochberg(values, alpha)
    if not np.array_equal(found, expected):
        # Only a p-value on the very edge may fall either way, by the last digit.
        adjusted = stats.false_discovery_control(values[known])
        assert np.isclose(adjusted[found[known] != expected[known]], alpha, rtol=1e-9).all()


def test_marks_keep_the_shape_and_never_take_an_unknown_p():
    p = np.array([[0.001, np.nan], [0.9, 0.02]])
    np.testing.assert_array_equal(benjamini_hochberg(p, 0.05), [[True, False], [False, True]])
    assert not benjamini_hochberg(np.full((3, 3), np.nan), 0.05).any()
    assert benjamini_hochberg(np.zeros((0,)), 0.05).shape == (0,)


TRUE = shares(
    [0.85, 0.7, 0.9, 0.6], [[0, 8, 1, 1], [5, 0, 1, 4], [1, 1, 0, 0.2], [1, 6, 1, 0]]
)  # some cells are frequent, some hold an image or none


def marks(world: World, stressed: Floats, seeds: int) -> NDArray[np.bool_]:
    """(K, K) marks of a condition against the baseline, from predictions to frames."""
    labels = world.labels
    mine, theirs = (
        np.stack([world.predict(matrix, name, seed) for seed in range(seeds)])
        for name, matrix in (("noise", stressed), ("baseline", TRUE))
    )
    rows = []
    for c in range(4):
        inside = labels == c
        change = (mine[:, inside, np.newaxis] == np.arange(4)).astype(np.int8)
        rows.append(estimate(change - (theirs[:, inside, np.newaxis] == np.arange(4))).p)
    return benjamini_hochberg(np.stack(rows), 0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_matrix_in_which_nothing_happened_is_hardly_ever_marked(seeds):
    studies = 150
    marked = [marks(World(tuple("abcd"), 100, root=study), TRUE, seeds).any() for study in range(studies)]
    # 0.05 and three standard errors of a share over 150 studies
    assert np.mean(marked) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("seeds", [2, 5])
def test_at_most_a_share_alpha_of_the_marks_is_false(seeds):
    stressed = TRUE.copy()
    stressed[1] = shares([0.7, 0.35, 0.9, 0.6], [[0, 1, 1, 1], [5, 0, 1, 4], [1, 1, 0, 1], [1, 1, 1, 0]])[1]
    false, found, studies = [], [], 100
    for study in range(studies):
        marked = marks(World(tuple("abcd"), 150, root=1000 + study), stressed, seeds)
        wrong = marked[[0, 2, 3]].sum()
        false.append(wrong / max(marked.sum(), 1))
        found.append(marked[1, 1])
    assert np.mean(false) <= 0.05 + 3 * np.std(false) / np.sqrt(studies)
    if seeds == 5:
        assert np.mean(found) > 0.9, "a fall from 70 to 35 % is seen"


# Ranks and slopes


def test_ranks_are_counted():
    draws = np.random.default_rng(40).normal([0, 1, 0.5, 3, -1], size=(300, 5))
    expected = np.zeros((5, 5))
    for row in draws:
        for item, rank in enumerate(stats.rankdata(-row, method="ordinal")):
            expected[item, rank - 1] += 1 / 300
    ranks = statistics.rank_probabilities(draws)
    np.testing.assert_allclose(ranks, expected)
    assert ranks[3, 0] > 0.8, "the largest is first"


@given(seed=st.integers(0, 2**32), count=st.integers(1, 30), items=st.integers(1, 8))
def test_rank_probabilities_sum_to_one_both_ways_also_with_ties(seed, count, items):
    draws = np.random.default_rng(seed).integers(0, 3, (count, items)).astype(float)
    ranks = statistics.rank_probabilities(draws)
    np.testing.assert_allclose(ranks.sum(axis=0), 1)
    np.testing.assert_allclose(ranks.sum(axis=1), 1)


@given(levels=st.lists(st.integers(0, 100), min_size=2, max_size=10, unique=True), seed=st.integers(0, 2**32))
def test_slopes_are_those_of_polyfit(levels, seed):
    x = np.array(sorted(levels)) / 100
    y = np.random.default_rng(seed).random(len(x))
    np.testing.assert_allclose(statistics.slope_weights(x) @ y, np.polyfit(x, y, 1)[0], rtol=1e-7, atol=1e-9)


@given(levels=st.lists(st.integers(0, 100), min_size=3, max_size=10, unique=True), seed=st.integers(0, 2**32))
def test_a_bend_is_how_far_the_parabola_of_polyfit_lies_above_its_chord(levels, seed):
    x = np.array(sorted(levels)) / 100
    y = np.random.default_rng(seed).random(len(x))
    start, middle, end = np.polyval(np.polyfit(x, y, 2), [x[0], (x[0] + x[-1]) / 2, x[-1]])
    weights = statistics.bend_weights(x)
    np.testing.assert_allclose(weights @ y, middle - (start + end) / 2, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(weights @ (3 - 2 * x), 0, atol=1e-8)


# Knees

LEVELS = np.linspace(0, 0.9, 10)


def images_right(rng: np.random.Generator, recall: Floats, *, seeds: int = 5, images: int = 250) -> Floats:
    """(S, n, L) as shares of the class: hard images, good seeds, and luck at each level."""
    latent = 0.7 * rng.normal(size=(1, images, 1)) + 0.15 * rng.normal(size=(seeds, 1, 1))
    own = np.sqrt(1 - 0.7**2 - 0.15**2 - 0.1**2) * rng.normal(size=(seeds, images, len(recall)))
    latent = latent + own + 0.1 * rng.normal(size=(seeds, 1, len(recall)))
    return (stats.norm.cdf(latent) < recall) / images


def knee_of(
    rng: np.random.Generator, recall: Floats, levels: Floats = LEVELS, draws: int = 400, **options: int
) -> Knee:
    right = images_right(rng, recall, **options)
    strata = np.zeros(right.shape[1], int)
    resampled = statistics.resample(right, strata, statistics.seed_weights(len(right), draws, rng), rng)
    return knee(levels, right.sum(axis=1).mean(axis=0), resampled)


def broken(bend: float, before: float, after: float) -> Floats:
    return 0.95 + before * LEVELS + (after - before) * np.maximum(LEVELS - bend, 0)


def test_a_knee_is_found_where_the_line_breaks():
    rng = np.random.default_rng(50)
    knees = [knee_of(rng, broken(0.5, -0.1, -1.8)) for _ in range(120)]
    assert all(k.p <= 0.05 for k in knees)
    assert all(k.low <= k.level <= k.high for k in knees)
    assert np.mean([k.low <= 0.5 <= k.high for k in knees]) >= 0.85
    assert np.median([k.level for k in knees]) == pytest.approx(0.5, abs=0.05)
    assert np.median([k.slope_before for k in knees]) == pytest.approx(-0.1, abs=0.1)
    assert np.median([k.slope_after for k in knees]) == pytest.approx(-1.8, abs=0.2)


@pytest.mark.parametrize("slope", [0.0, -0.6])
def test_a_straight_line_hardly_ever_has_a_knee(slope):
    rng = np.random.default_rng(51)
    studies = 200
    found = [not np.isnan(knee_of(rng, 0.9 + slope * LEVELS, draws=300).level) for _ in range(studies)]
    # The bootstrap knows the chance only from five seeds, so a little more than alpha is granted.
    assert np.mean(found) <= 0.08 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_uneven_levels_are_taken_as_they_are():
    rng = np.random.default_rng(52)
    levels = np.array([0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6])
    recall = 0.95 - 0.1 * levels - 3.0 * np.maximum(levels - 0.2, 0) * (levels < 0.5) - (levels >= 0.5) * 0.8 * levels
    found = knee_of(rng, recall, levels)
    assert found.low <= found.level <= found.high
    assert levels[1] <= found.level <= levels[-2]


@pytest.mark.parametrize("seed", range(5))
def test_the_bend_is_the_one_that_a_search_finds(seed):
    rng = np.random.default_rng(60 + seed)
    curve = broken(rng.uniform(0.2, 0.7), -0.1, -1.0) + 0.002 * rng.normal(size=10)
    found = knee(LEVELS, curve, curve + 0.002 * rng.normal(size=(200, 10)))
    best = (np.inf, np.nan, np.nan, np.nan)
    for bend in np.linspace(0.1, 0.8, 61):
        design = [[1, min(x, bend), max(x - bend, 0)] for x in LEVELS]
        solution, residual, *_ = np.linalg.lstsq(np.array(design), curve, rcond=None)
        best = min(best, (float(residual[0]), bend, *solution[1:]))
    assert (found.level, found.slope_before, found.slope_after) == pytest.approx(best[1:])


@pytest.mark.parametrize("count", range(2, KNEE_LEVELS))
def test_few_levels_cannot_tell_a_bend_from_a_line(count):
    levels = np.linspace(0, 0.5, count)
    found = knee(levels, -(levels**2), np.tile(-(levels**2), (100, 1)))
    assert np.isnan([found.level, found.low, found.high, found.slope_before, found.slope_after, found.p]).all()


@pytest.mark.parametrize("recall", [0.0, 0.1, 0.3, 0.7, 0.97, 1.0])
@pytest.mark.parametrize("count", [5, 6, 7, 10])
def test_a_curve_that_never_moves_has_no_knee(recall, count):
    # The last digits of an exact line are no evidence.
    levels = np.linspace(0, 0.9, count)
    flat = np.full(count, recall)
    assert np.isnan(knee(levels, flat, np.tile(flat, (200, 1))).level)
    fall = recall - 0.1 * levels
    assert np.isnan(knee(levels, fall, np.tile(fall, (200, 1))).level)


def test_a_straight_line_that_holds_has_a_p_and_no_knee():
    rng = np.random.default_rng(70)
    line = 0.9 - 0.3 * LEVELS
    found = knee(LEVELS, line, line + 0.01 * rng.normal(size=(200, 10)))
    assert found.p > 0.05
    assert np.isnan([found.level, found.low, found.high, found.slope_before, found.slope_after]).all()


def test_smaller_levels_of_alpha_ask_for_more():
    rng = np.random.default_rng(71)
    curve = broken(0.5, -0.1, -0.5) + 0.01 * rng.normal(size=10)
    draws = curve + 0.04 * rng.normal(size=(999, 10))
    p = knee(LEVELS, curve, draws).p
    assert 0.001 < p < 1
    for above, below in pairwise([p * 1.01, p * 0.99]):
        assert not np.isnan(knee(LEVELS, curve, draws, alpha=above).level)
        assert np.isnan(knee(LEVELS, curve, draws, alpha=below).level)
