"""Omnibus tests against plain loops, and their size and power over simulated studies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from support.synthetic import World, shares

from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.moderation import moderated_variance
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.statistics import variance_components
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE

Floats = NDArray[np.float64]


def crossed(seed: int, seeds: int, images: int, measurements: int, *, image: float = 1.0, mean: float = 0.0) -> Floats:
    """(S, n, J) seed effects, image effects and their interaction, each correlated over the measurements."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, measurements, measurements))
    effects = rng.normal(size=(seeds, 1, measurements)) @ mix[0] * 0.1
    effects = effects + image * rng.normal(size=(1, images, measurements)) @ mix[1]
    return mean + effects + rng.normal(size=(seeds, images, measurements)) @ mix[2]


def by_hand(values: Floats, strata: NDArray[np.int64], most: float, new_images: bool) -> tuple[float, float, float]:
    """F and its degrees of freedom, one covariance after the other."""
    seeds, _, count = values.shape
    sums = values.sum(axis=1)
    means = sums.mean(axis=0)
    sample, interaction, images = (np.zeros((count, count)) for _ in range(3))
    for a in range(count):
        for b in range(count):
            for s in range(seeds):
                sample[a, b] += (sums[s, a] - means[a]) * (sums[s, b] - means[b]) / (seeds - 1)
            for stratum in set(strata.tolist()):
                x, y = (values[:, strata == stratum, k] for k in (a, b))
                size = x.shape[1]
                mixed = between = 0.0
                for i in range(size):
                    between += (x[:, i].mean() - x.mean()) * (y[:, i].mean() - y.mean()) / (size - 1)
                    for s in range(seeds):
                        one = x[s, i] - x[s].mean() - x[:, i].mean() + x.mean()
                        other = y[s, i] - y[s].mean() - y[:, i].mean() + y.mean()
                        mixed += one * other / (seeds - 1) / (size - 1)
                interaction[a, b] += size * mixed
                images[a, b] += size * (between - mixed / seeds)
    moderated = moderated_variance(np.diag(sample), np.diag(interaction), seeds)
    seed_part = sample * (moderated.variance.sum() / np.trace(sample)) / seeds
    seed_trace = np.trace(seed_part)
    # A seed's part has at most so many directions.
    seed_square = max(np.trace(seed_part @ seed_part), seed_trace**2 / most)
    total = seed_part + images if new_images else seed_part
    square = np.trace(total @ total) - np.trace(seed_part @ seed_part) + seed_square
    f = (means**2).sum() / np.trace(total)
    return f, np.trace(total) ** 2 / square, np.trace(total) ** 2 / (seed_square / moderated.freedom)


@pytest.mark.parametrize("new_images", [True, False])
@pytest.mark.parametrize(("seeds", "measurements", "most"), [(3, 2, 1), (5, 4, 3), (4, 10, 4), (2, 3, 9), (6, 1, 1)])
def test_the_test_is_that_of_a_plain_loop(seeds, measurements, most, new_images):
    values = crossed(seeds, seeds, 24, measurements, image=2.0, mean=0.3)
    strata = np.arange(24) % 3
    test = omnibus_test(values, strata, most_seed_freedom=most, new_images=new_images)
    f, numerator, denominator = by_hand(values, strata, most, new_images)
    assert test.statistic == pytest.approx(f)
    assert test.numerator_freedom == pytest.approx(numerator)
    assert test.denominator_freedom == pytest.approx(denominator)
    assert test.p == pytest.approx(stats.f.sf(f, numerator, denominator))


def test_of_one_measurement_it_is_the_t_test():
    values = crossed(1, 5, 60, 1, image=2.0, mean=0.2)
    test = omnibus_test(values, np.zeros(60, int), most_seed_freedom=1)

    e = variance_components(values[:, :, 0]).estimate(alpha=0.05, one_image=0.0, moderated=False)
    assert test.numerator_freedom == pytest.approx(1)
    assert test.statistic == pytest.approx(float(e.value**2 / e.variance))
    assert test.p == pytest.approx(float(e.p))


@pytest.mark.parametrize("new_images", [True, False])
def test_turning_the_measurements_changes_nothing(new_images):
    # Fewer than nine are not moderated; moderation treats each by itself.
    values, strata = crossed(2, 4, 40, 5, mean=0.2), np.arange(40) % 2
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    # Seeds that vary as much as their interaction lets them expect in every direction.
    values += 5 * np.random.default_rng(4).normal(size=(4, 1, 5))
    one, other = (omnibus_test(x, strata, most_seed_freedom=4, new_images=new_images) for x in (values, values @ turn))
    for name in ("statistic", "numerator_freedom", "denominator_freedom", "p"):
        assert getattr(other, name) == pytest.approx(getattr(one, name))


@given(
    seed=st.integers(0, 2**32), seeds=st.integers(1, 4), images=st.integers(1, 12), measurements=st.integers(1, 12),
    most=st.integers(0, 4), new_images=st.booleans(), still=st.booleans(),
)  # fmt: skip
def test_it_is_a_test_whatever_the_counts(seed, seeds, images, measurements, most, new_images, still):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 2, (seeds, images, measurements)) * (rng.random((1, images, 1)) < 0.5)
    if still:  # each image the same for every seed, or half of the seeds right and half wrong
        values = np.where(rng.random((1, images, 1)) < 0.5, values[:1], (np.arange(seeds) % 2)[:, None, None])
    test = omnibus_test(values, rng.integers(0, 2, images), most_seed_freedom=most, new_images=new_images)
    if seeds == 1:
        assert test is None
    if test is not None:
        assert 0 <= test.p <= 1
        assert test.statistic >= 0
        assert test.numerator_freedom > 0
        assert test.denominator_freedom > 0


def test_images_that_differ_less_than_their_interaction_count_as_equal():
    values = np.zeros((2, 8, 2))
    values[0, :4] = values[1, 4:] = 1  # every image right for one of two seeds
    test = omnibus_test(values, np.zeros(8, int), most_seed_freedom=1)
    here = omnibus_test(values, np.zeros(8, int), most_seed_freedom=1, new_images=False)
    assert test == here


def test_what_is_expected_of_another_number_of_seeds_is_what_it_gives():
    for few, many in ((3, 6), (4, 12)):

        def tests(seeds: int) -> list[OmnibusTest]:
            return [omnibus_test(crossed(root, seeds, 60, 4), np.zeros(60, int), most_seed_freedom=3)
                    for root in range(120)]  # fmt: skip

        expected = np.array([test.traces.of_seeds(many) for test in tests(few)])
        found = np.array([test.traces.of_seeds(many) for test in tests(many)])
        for test in tests(few)[:5]:
            own = test.traces.of_seeds(few)
            assert own[1:] == pytest.approx((test.numerator_freedom, test.denominator_freedom))
        # tr(V) and f1; f2 rests on few seeds, and scatters.
        np.testing.assert_allclose(np.median(expected, axis=0)[:2], np.median(found, axis=0)[:2], rtol=0.15)


# Size and power


def rejected(p: list[float]) -> float:
    """The share of studies in which the test finds something at 5 %."""
    return float((np.array(p) <= 0.05).mean())


@pytest.mark.parametrize("measurements", [6, 12])
@pytest.mark.parametrize(("image", "seed"), [(2.0, 0.0), (1.0, 0.1)])
def test_where_nothing_is_there_it_is_found_as_often_as_it_says(measurements, image, seed):
    p = []
    for study in range(200):
        rng = np.random.default_rng([measurements, study])
        values = image * rng.normal(size=(1, 150, measurements)) + rng.normal(size=(5, 150, measurements))
        # What a seed makes better or worse are five things.
        values += seed * rng.normal(size=(5, 1, 5)) @ rng.normal(size=(5, measurements)) / np.sqrt(5)
        p.append(omnibus_test(values, np.zeros(150, int), most_seed_freedom=5).p)
    assert 0.01 <= rejected(p) <= 0.08


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_where_interaction_is_all_there_is_the_test_errs_on_the_safe_side(seeds):
    p = []
    for study in range(100):
        values = np.random.default_rng([seeds, study]).normal(size=(seeds, 100, 6))
        p.append(omnibus_test(values, np.zeros(100, int), most_seed_freedom=5).p)
    assert rejected(p) <= 0.08


#: Classes whose confusions are symmetric, and with a direction.
SYMMETRIC = shares([0.8] * 4, [[0, 4, 1, 1], [4, 0, 1, 1], [1, 1, 0, 4], [1, 1, 4, 0]])
DIRECTED = shares([0.8] * 4, [[0, 9, 1, 1], [1, 0, 5, 1], [2, 1, 0, 4], [1, 1, 4, 0]])


def studied(matrix: Floats, root: int, seeds: int = 5, **stressed: Floats) -> Results:
    """A small study: the baseline, and conditions by their share of noise in percent."""
    world = World(tuple("abcd"), 60, image=0.9, seed=0.005, taste=0.03, root=root)
    plan = {BASELINE: matrix} | {noise(int(name[1:]) / 100): each for name, each in stressed.items()}
    preds = {(c, s): world.predict(each, c.name, s) for c, each in plan.items() for s in range(seeds)}
    return analyse(Study.of_preds(world.labels, preds, tuple("abcd")), resamples=2)


@pytest.mark.parametrize(("matrix", "low", "high"), [(SYMMETRIC, 0.01, 0.08), (DIRECTED, 0.8, 1)])
def test_symmetry_is_found_to_fail_where_it_fails_and_seldom_elsewhere(matrix, low, high):
    tests = [studied(matrix, root).baseline.direction.symmetry_new_images for root in range(200)]
    assert low <= rejected([test.p for test in tests]) <= high


def falling(*losses: float, bend: float = 0.0) -> dict[str, Floats]:
    """Four levels of noise at which the classes have lost this much in all, on a line but for the bend."""
    return {
        f"n{10 * level}": shares([0.85 - loss * level / 4 + bend * (level in (1, 2)) for loss in losses])
        for level in (1, 2, 3, 4)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "stressed", "low", "high"),
    [
        ("slopes_differ", falling(0.3, 0.3, 0.3, 0.3), 0, 0.12),
        ("slopes_differ", falling(0.3, 0.3, 0.3, 0.6), 0.8, 1),
        ("not_straight", falling(0.3, 0.1, 0.3, 0.6), 0, 0.12),
        ("not_straight", falling(0.3, 0.1, 0.3, 0.6, bend=0.1), 0.8, 1),
    ],
    ids=["alike", "differ", "straight", "bent"],
)
def test_curves_that_differ_or_bend_are_found_and_others_seldom(test, stressed, low, high):
    curves = [studied(shares([0.85] * 4), root, **stressed).curves["shuffle"] for root in range(50)]
    assert low <= rejected([getattr(curve, test).p for curve in curves]) <= high


def test_a_study_with_one_seed_or_a_class_without_images_has_no_test():
    results = studied(SYMMETRIC, 0, seeds=1, **falling(0.1, 0.2, 0.3, 0.4))
    curve, direction = results.curves["shuffle"], results.baseline.direction
    assert (curve.slopes_differ, curve.not_straight) == (None, None)
    assert (direction.symmetry_new_images, direction.symmetry_these_images) == (None, None)
    two_levels = studied(SYMMETRIC, 0, seeds=3, n10=SYMMETRIC).curves["shuffle"]
    assert two_levels.not_straight is None, "two levels are always on a line"
    assert two_levels.slopes_differ is not None


def test_on_these_images_a_direction_is_easier_to_find():
    results = studied(DIRECTED, 3)
    direction = results.baseline.direction
    assert direction.symmetry_these_images.p < direction.symmetry_new_images.p
