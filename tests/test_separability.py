"""How alike classes look: every number against a plain loop, every interval and mark against known populations."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats
from support.confusables import Population
from support.plans import Files
from support.synthetic import THREE, World, shares

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.contrasts import pair_contrasts
from class_sensitivity.analysis.separability import Separability, separability
from class_sensitivity.analysis.statistics import variance_components
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE

OFF = ~np.eye(3, dtype=bool)


@pytest.fixture(scope="module")
def found(loaded: Study) -> Separability:
    """Of the study of `support.plans`."""
    return separability(loaded)


def taken_for(files: Files, seed: int, i: int, j: int, condition=BASELINE) -> float:
    """The share of class i that is taken for class j, as one would count it."""
    _, true, predicted = files[condition, seed]
    inside = [p for t, p in zip(true, predicted, strict=True) if t == i]
    return sum(p == j for p in inside) / len(inside)


def test_shares_are_what_a_loop_over_the_files_gives(found, files):
    seeds = (1, 2, 3, 4, 10)
    assert found.seeds == seeds
    for place, seed in enumerate(seeds):
        for i, j in product(range(3), range(3)):
            if i != j:
                there, back = taken_for(files, seed, i, j), taken_for(files, seed, j, i)
                assert found.directed.per_seed[place, i, j] == pytest.approx(there)
                assert found.symmetric.per_seed[place, i, j] == pytest.approx((there + back) / 2)
    np.testing.assert_allclose(found.directed.value, found.directed.per_seed.mean(axis=0))
    np.testing.assert_allclose(found.symmetric.value, found.symmetric.per_seed.mean(axis=0))
    for estimate in (found.directed, found.symmetric):
        for numbers in (estimate.value, estimate.low, estimate.high, estimate.p):
            assert np.isnan(np.diagonal(numbers)).all()
        assert (estimate.low[OFF] >= 0).all()
        assert (estimate.low[OFF] < estimate.value[OFF]).all()
        assert (estimate.value[OFF] < estimate.high[OFF]).all()


def test_the_mean_of_both_directions_is_a_contrast_of_pairs(found, loaded):
    half = {BASELINE: (0.0, 0.5)}
    contrast = pair_contrasts(loaded, half, half, shares=True)
    np.testing.assert_allclose(found.symmetric.value, contrast.value)
    np.testing.assert_allclose(found.symmetric.per_seed[:, OFF], contrast.per_seed[:, OFF])
    # A contrast has an error of one image at least, half a share of the smaller class; a share has its own interval.
    one_image = 0.5 / np.minimum.outer(loaded.class_sizes, loaded.class_sizes)
    np.testing.assert_allclose(np.maximum(found.symmetric.error, one_image)[OFF], contrast.error[OFF])


def test_a_class_is_the_mean_of_its_pairs(found):
    for c in range(3):
        others = [other for other in range(3) if other != c]
        np.testing.assert_allclose(found.per_class.value[c], found.symmetric.value[c, others].mean())
        np.testing.assert_allclose(found.per_class.per_seed[:, c], found.symmetric.per_seed[:, c, others].mean(axis=1))
    assert found.mean == pytest.approx(found.symmetric.value[np.triu_indices(3, 1)].mean())


def test_the_variance_of_a_class_is_that_of_a_sum_over_all_images():
    # The same sum, written down image by image.
    study = Population.random(np.random.default_rng(1), 7).study(np.random.default_rng(2), 4, 60)
    preds, labels = study.preds_of(BASELINE, study.seeds), study.labels
    values = np.zeros((*preds.shape, 7))
    for c in range(7):
        values[:, :, c] = ((labels == c) & (preds != c)) | ((labels != c) & (preds == c))
    expected = variance_components(values / 60 / 2 / 6, labels).estimate(
        alpha=0.05, one_image=1 / 60 / 2 / 6, moderated=True
    )
    found = separability(study).per_class
    for name in ("value", "per_seed", "seed_variance", "image_variance", "low", "high", "p"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-12)


def test_growth_is_the_slope_over_the_levels(found, loaded, files):
    assert set(found.growth) == {*loaded.noise_series, *loaded.reduction_series}
    levels, seeds = (0.0, 0.1, 0.2, 0.3), (2, 3, 4)  # those that all levels of shuffled labels have
    for i, j in combinations(range(3), 2):
        slopes = []
        for seed in seeds:
            curve = [
                (taken_for(files, seed, i, j, condition) + taken_for(files, seed, j, i, condition)) / 2
                for condition in (BASELINE, noise(0.1), noise(0.2), noise(0.3))
            ]
            slopes.append(np.polyfit(levels, curve, 1)[0] / 10)
        growth = found.growth["shuffle"][i, j]
        np.testing.assert_allclose(growth.per_seed, slopes)
        assert float(growth.low) < np.mean(slopes) < float(growth.high)
    np.testing.assert_array_equal(found.growth["shuffle"].value, found.growth["shuffle"].value.T)


def test_a_study_without_stress_has_no_growth():
    assert (
        separability(Population.random(np.random.default_rng(3), 4).study(np.random.default_rng(4), 2, 30)).growth == {}
    )


def test_levels_that_share_no_seed_have_no_growth():
    labels = np.arange(30) % 3
    preds = {(BASELINE, 1): labels, (noise(0.1), 2): labels, (reduction(0.2), 1): np.roll(labels, 1)}
    growth = separability(Study.of_preds(labels, preds, THREE)).growth
    assert list(growth) == ["reduction"]
    assert growth["reduction"].value[0, 1] == pytest.approx(0.5 / 2)


# What is never confused, and what is not known


def test_pairs_that_are_never_confused_have_intervals_with_a_width():
    labels = np.arange(240) % 4
    found = separability(Study.of_preds(labels, {(BASELINE, s): labels for s in range(5)}, "abcd"))
    off = ~np.eye(4, dtype=bool)
    for estimate, images in ((found.directed, 60), (found.symmetric, 120)):
        np.testing.assert_array_equal(estimate.value[off], 0)
        np.testing.assert_array_equal(estimate.low[off], 0)
        # Clopper and Pearson's: none of so many.
        np.testing.assert_allclose(estimate.high[off], 1 - 0.025 ** (1 / images), rtol=1e-6)
    assert (found.per_class.high > 0).all()
    assert not found.confusable.any()


def test_a_class_without_test_images_is_unknown_and_changes_nothing_for_the_others():
    study = Population.random(np.random.default_rng(5), 4).study(np.random.default_rng(6), 3, 50)
    preds = study.preds_of(BASELINE, study.seeds)
    kept = study.labels != 2
    # Nothing is taken for class 2, so that the other three are a study of their own.
    runs = {(BASELINE, s): np.where(p == 2, study.labels, p)[kept] for s, p in zip(study.seeds, preds, strict=True)}
    with_gap = separability(Study.of_preds(study.labels[kept], runs, study.class_names))
    renumbered = np.array([0, 1, -1, 2])
    alone = separability(
        Study.of_preds(renumbered[study.labels[kept]], {key: renumbered[p] for key, p in runs.items()}, THREE)
    )
    there = [0, 1, 3]
    for name in ("directed", "symmetric"):
        gap, three = getattr(with_gap, name), getattr(alone, name)
        np.testing.assert_allclose(gap.value[np.ix_(there, there)], three.value)
        assert np.isnan(gap.value[2]).all()
        assert np.isnan(gap.low[2]).all()
    np.testing.assert_allclose(with_gap.symmetric.low[np.ix_(there, there)], alone.symmetric.low)
    np.testing.assert_array_equal(with_gap.confusable[np.ix_(there, there)], alone.confusable)
    np.testing.assert_allclose(with_gap.per_class.value[there], alone.per_class.value)
    np.testing.assert_allclose(with_gap.per_class.low[there], alone.per_class.low)
    assert np.isnan([with_gap.per_class.value[2], with_gap.per_class.low[2]]).all()
    assert with_gap.mean == alone.mean
    assert with_gap.pairs.tolist() == [[there[i], there[j]] for i, j in alone.pairs]


def test_images_taken_for_a_class_without_test_images_count_one_way_only():
    preds = {(BASELINE, s): [0, 2, 2, 1, 1, 0] for s in (1, 2)}
    found = separability(Study.of_preds([0, 0, 0, 1, 1, 1], preds, THREE))
    assert found.directed.value[0, 2] == pytest.approx(2 / 3)
    assert np.isnan(found.symmetric.value[0, 2])
    np.testing.assert_allclose(found.per_class.value, [1 / 6, 1 / 6, np.nan])


def test_one_seed_has_values_and_no_intervals():
    found = separability(Population.random(np.random.default_rng(7), 5).study(np.random.default_rng(8), 1, 40))
    off = ~np.eye(5, dtype=bool)
    assert np.isfinite(found.symmetric.value[off]).all()
    assert np.isfinite(found.per_class.value).all()
    for estimate in (found.directed, found.symmetric, found.per_class):
        assert np.isnan(estimate.low).all()
        assert np.isnan(estimate.p).all()
    assert not found.confusable.any()


def test_of_two_classes_the_one_pair_is_the_average_pair():
    found = separability(Study.of_preds([0, 0, 1, 1] * 9, {(BASELINE, s): [0, 1, 1, 1] * 9 for s in (1, 2)}, "ab"))
    assert found.symmetric.value[0, 1] == found.mean == pytest.approx(0.25)
    assert not found.confusable.any()
    np.testing.assert_allclose(found.per_class.value, 0.25)


def test_without_a_baseline_nothing_can_be_said():
    with pytest.raises(LookupError, match="baseline was not run"):
        separability(Study.of_preds([0, 1], {(noise(0.1), 1): [0, 1]}, "ab"))


def test_pairs_come_in_their_order_and_names_are_escaped_in_a_notebook():
    preds = {(BASELINE, s): [0, 0, 1, 1, 1, 0, 2, 2, 1, 2] for s in (1, 2)}
    found = separability(Study.of_preds([0, 0, 0, 1, 1, 1, 2, 2, 2, 2], preds, ("<b>", "b", "c")))
    assert found.pairs.tolist() == [[0, 1], [1, 2], [0, 2]]
    assert repr(found) == "<Separability of 3 classes: 0 confusable pairs, 2 seeds>"
    page = found._repr_html_()
    assert "&lt;b&gt;, b" in page
    assert "<b>," not in page


# Against known populations


def test_a_pair_that_stands_out_is_confusable_and_the_others_are_not():
    wrong = np.ones((6, 6))
    wrong[1, 4] = wrong[4, 1] = 12
    world = World(tuple("abcdef"), 200)
    matrix = shares([0.8] * 6, wrong)
    preds = {(BASELINE, s): world.predict(matrix, "baseline", s) for s in range(1, 5)}
    found = separability(Study.of_preds(world.labels, preds, world.class_names))
    assert np.argwhere(found.confusable).tolist() == [[1, 4], [4, 1]]
    assert found.pairs[0].tolist() == [1, 4]


@pytest.mark.parametrize("num_classes", [3, 8])
def test_where_all_pairs_look_equally_alike_hardly_any_is_confusable(num_classes):
    equal = np.full((num_classes, num_classes), 0.2 / (num_classes - 1))
    np.fill_diagonal(equal, 0.8)
    population, rng = Population(equal), np.random.default_rng(9)
    marked = [separability(population.study(rng, 3, 40)).confusable.any() for _ in range(100)]
    assert np.mean(marked) <= stats.binom.ppf(0.999, 100, 0.05) / 100


def test_intervals_cover_what_is_true_of_all_networks_and_images():
    population, rng = Population.random(np.random.default_rng(10), 6), np.random.default_rng(11)
    off, covered = ~np.eye(6, dtype=bool), {"directed": [], "symmetric": [], "per_class": []}
    truth = {
        "directed": population.truth,
        "symmetric": population.look_alikeness,
        "per_class": (population.look_alikeness * off).sum(axis=1) / 5,
    }
    for _ in range(60):
        found = separability(population.study(rng, 3, 80))
        for name, inside in covered.items():
            estimate = getattr(found, name)
            hits = (estimate.low <= truth[name]) & (truth[name] <= estimate.high)
            inside.append(hits[off] if hits.ndim == 2 else hits)
    assert np.mean(covered["directed"]) >= 0.94  # Clopper and Pearson's covers more than it has to
    assert np.mean(covered["symmetric"]) >= 0.94
    assert 0.94 <= np.mean(covered["per_class"]) <= 0.995


def test_a_hundred_classes_of_few_images():
    population = Population.random(np.random.default_rng(12), 100, spread=1.5)
    found = separability(population.study(np.random.default_rng(13), 2, 30))
    rare = np.add.outer(np.arange(100), -np.arange(100)) != 0
    assert found.confusable.any()
    assert (population.shares + population.shares.T)[found.confusable].min() > np.median(population.shares[rare])
    assert found.symmetric.value.shape == (100, 100)
    assert len(found.pairs) == 4950
    assert (np.diff(found.symmetric.value[tuple(found.pairs.T)]) <= 0).all()
