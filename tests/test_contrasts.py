"""Weighted sums of recalls, of cells and of pairs of classes, against plain loops over the files."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest
from scipy import stats
from support.plans import MATCHED, SYMMETRIC, Files, recall_by_hand
from support.synthetic import THREE

from class_sensitivity.analysis import moderation
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.contrasts import (
    accuracy_contrast,
    cell_contrasts,
    centred_class_contrasts,
    class_contrasts,
    pair_contrasts,
)
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.moderation import moderated_variance
from class_sensitivity.analysis.sensitivity import analyse, relative_matrix
from class_sensitivity.analysis.statistics import variance_components
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

CONTRASTS = [
    {BASELINE: 1.0},
    {BASELINE: 1.0, noise(0.1): -1.0},
    {noise(0.2): 2.0, noise(0.1): -1.0, noise(0.3): -1.0},
    {BASELINE: 0.0, reduction(0.2): 1.0, SYMMETRIC: -1.0},
]
each_contrast = pytest.mark.parametrize("weights", CONTRASTS, ids=lambda weights: " ".join(c.name for c in weights))


def seeds_of(loaded: Study, files: Files, conditions: Iterable[Condition]) -> list[int]:
    return [s for s in loaded.seeds if all((condition, s) in files for condition in conditions)]


def assert_means(found: Estimate, per_seed: np.ndarray) -> None:
    """The value of each seed and their mean are these, and an interval lies about it."""
    known = ~np.isnan(per_seed).any(axis=0)
    np.testing.assert_allclose(found.per_seed[:, known], per_seed[:, known], atol=1e-12)
    np.testing.assert_allclose(found.value, per_seed.mean(axis=0), atol=1e-12)
    if len(per_seed) > 1:
        assert (found.low[known] <= found.value[known]).all()
        assert (found.value[known] <= found.high[known]).all()
        assert (found.low[known] < found.high[known]).all()


@each_contrast
def test_a_contrast_of_classes_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    expected = [
        [
            sum(w * recall_by_hand(*files[name, seed][1:], which) for name, w in weights.items())
            for which in range(len(THREE))
        ]
        for seed in seeds_of(loaded, files, weights)
    ]
    found = class_contrasts(loaded, weights)
    assert_means(found, np.array(expected))
    wider = class_contrasts(loaded, weights, alpha=0.01)
    assert (wider.high - wider.low > found.high - found.low).all()
    centred = centred_class_contrasts(loaded, weights)
    assert_means(centred, np.array(expected) - np.mean(expected, axis=1, keepdims=True))


def test_a_centred_contrast_has_the_variance_that_the_images_give_one_by_one(loaded, monkeypatch):
    monkeypatch.setattr(moderation, "SMALLEST_FAMILY", np.inf)
    weights = {BASELINE: 1.0, noise(0.1): -1.0}
    found, seeds = centred_class_contrasts(loaded, weights), loaded.common_seeds(*weights)
    right = sum(w * (loaded.preds_of(c, seeds) == loaded.labels) for c, w in weights.items())
    for which in range(len(THREE)):
        each = right / loaded.class_sizes[loaded.labels] * ((loaded.labels == which) - 1 / len(THREE))
        alone = variance_components(each, loaded.labels)
        assert found.value[which] == pytest.approx(float(alone.total))
        expected = max(alone.per_seed.var(ddof=1), float(alone.interaction)) / len(seeds)
        assert found.seed_variance[which] == pytest.approx(expected)
        assert found.image_variance[which] == pytest.approx(float(alone.image_variance), rel=1e-6, abs=1e-9)


def test_a_class_without_images_does_not_stand_out_and_has_no_part_in_the_mean():
    study = Study.of_preds([0, 0, 2, 2], {(BASELINE, 1): [0, 1, 2, 2], (BASELINE, 2): [0, 0, 2, 1]}, THREE)
    np.testing.assert_allclose(centred_class_contrasts(study, {BASELINE: 1.0}).value, [0, np.nan, 0])


@each_contrast
def test_a_contrast_of_accuracies_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    accuracies = [
        sum(w * np.mean(np.array(files[name, seed][1]) == files[name, seed][2]) for name, w in weights.items())
        for seed in seeds_of(loaded, files, weights)
    ]
    assert_means(accuracy_contrast(loaded, weights), np.array(accuracies))


@each_contrast
def test_a_contrast_of_cells_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    expected = [
        sum(w * np.array(files[name, seed][0], float) for name, w in weights.items())
        for seed in seeds_of(loaded, files, weights)
    ]
    assert_means(cell_contrasts(loaded, weights), np.array(expected))


PAIRS = {
    "forth minus back": ({BASELINE: (0.0, 1.0)}, {BASELINE: (0.0, -1.0)}),
    "count": ({noise(0.3): (0.0, 1.0)}, {}),
    "fall of a count": ({BASELINE: (0.0, 1.0), noise(0.3): (0.0, -1.0)}, {}),
    "difference of recalls": ({BASELINE: (1.0, 0.0)}, {BASELINE: (-1.0, 0.0)}),
    "difference of falls": (
        {BASELINE: (1.0, 0.0), noise(0.1): (-1.0, 0.0)},
        {BASELINE: (-1.0, 0.0), noise(0.1): (1.0, 0.0)},
    ),
    "both at once": ({BASELINE: (2.0, 0.5)}, {reduction(0.2): (-1.0, 3.0)}),
}


@pytest.mark.parametrize("shares", [False, True], ids=["images", "shares"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_contrast_of_pairs_is_what_a_loop_over_the_files_gives(loaded, files, name, shares):
    first, second = PAIRS[name]
    sizes = np.bincount(loaded.labels) if shares else np.ones(3)
    per_seed = []
    for seed in seeds_of(loaded, files, {**first, **second}):
        matrix = np.full((3, 3), np.nan)
        for i, j in product(range(3), range(3)):
            if i != j:
                mine = sum(o * files[c, seed][0][i][i] + x * files[c, seed][0][i][j] for c, (o, x) in first.items())
                theirs = sum(o * files[c, seed][0][j][j] + x * files[c, seed][0][j][i] for c, (o, x) in second.items())
                matrix[i, j] = mine / sizes[i] + theirs / sizes[j]
        per_seed.append(matrix)
    found = pair_contrasts(loaded, first, second, shares=shares)
    assert_means(found, np.array(per_seed))
    assert np.isnan(np.diagonal(found.p)).all()


def test_forth_minus_back_changes_its_sign_with_the_order(loaded):
    found = pair_contrasts(loaded, *PAIRS["difference of falls"], shares=True)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found.value[off], -found.value.T[off])
    np.testing.assert_allclose(found.low[off], -found.high.T[off])
    np.testing.assert_allclose(found.p[off], found.p.T[off])


def by_hand(values: np.ndarray, one_image: float) -> Estimate:
    """The interval of one sum over images of one class, by itself."""
    return variance_components(values).estimate(alpha=0.05, one_image=one_image, moderated=False)


def test_a_small_family_keeps_its_own_intervals(loaded, files):
    # Three classes: nothing is borrowed from so few.
    found = class_contrasts(loaded, {BASELINE: 1.0, noise(0.1): -1.0})
    for which in range(3):
        inside = [k for k, true in enumerate(files[BASELINE, 2][1]) if true == which]
        values = [
            [(files[BASELINE, s][2][k] == which) - (files[noise(0.1), s][2][k] == which) for k in inside]
            for s in (2, 3, 4)
        ]
        alone, member = by_hand(np.array(values) / len(inside), 1 / len(inside)), found[which]
        np.testing.assert_allclose([member.low, member.high, member.p], [alone.low, alone.high, alone.p])


def test_the_cells_of_a_matrix_borrow_strength_from_each_other(loaded, files):
    # Nine cells are a family: of each, the variance over seeds is the moderated one.
    found = cell_contrasts(loaded, {noise(0.3): 1.0, BASELINE: -1.0})
    seeds = (2, 3, 4, 10)
    sample, interaction = np.zeros((3, 3)), np.zeros((3, 3))
    for i, j in product(range(3), range(3)):
        inside = [k for k, true in enumerate(files[BASELINE, 2][1]) if true == i]
        values = np.array(
            [[(files[noise(0.3), s][2][k] == j) - (files[BASELINE, s][2][k] == j) for k in inside] for s in seeds],
            float,
        )
        rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
        sample[i, j] = values.sum(axis=1).var(ddof=1)
        interaction[i, j] = len(inside) * (rest**2).sum() / (len(seeds) - 1) / (len(inside) - 1)
    expected = moderated_variance(sample, interaction, len(seeds))
    np.testing.assert_allclose(found.seed_variance, np.maximum(expected.variance / 4, 1 / 16))
    assert found.seed_freedom == expected.freedom > 3
    assert not np.allclose(expected.variance, np.maximum(sample, interaction))


def pairs_by_hand(preds: np.ndarray, labels: np.ndarray, sign: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample variance over seeds and interaction of i -> j plus `sign` times j -> i, for all i and j."""
    classes = labels.max() + 1
    sample, interaction = np.zeros((classes, classes)), np.zeros((classes, classes))
    for i, j in product(range(classes), range(classes)):
        counts = np.zeros(len(preds))
        for true, predicted, weight in ((i, j, 1), (j, i, sign)):
            x = weight * (preds[:, labels == true] == predicted).astype(float)
            rest = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
            interaction[i, j] += images * (rest**2).sum() / (len(preds) - 1) / (images - 1)
            counts += x.sum(axis=1)
        sample[i, j] = counts.var(ddof=1)
    return sample, interaction


@pytest.mark.parametrize("sign", [-1, 1], ids=["the negative", "the same"])
@pytest.mark.parametrize("classes", [4, 5])
def test_a_pair_that_is_the_same_both_ways_counts_once(classes, sign):
    rng = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), 40)
    preds = np.where(rng.random((3, len(labels))) < 0.6, labels, rng.integers(0, classes, (3, len(labels))))
    study = Study.of_preds(labels, {(BASELINE, s): each for s, each in enumerate(preds)}, tuple("abcde")[:classes])
    found = pair_contrasts(study, {BASELINE: (0.0, 1.0)}, {BASELINE: (0.0, sign)})

    upper = np.triu_indices(classes, 1)
    sample, interaction = (part[upper] for part in pairs_by_hand(preds, labels, sign, 40))
    expected = moderated_variance(sample, interaction, 3)
    np.testing.assert_allclose(found.seed_variance[upper], np.maximum(expected.variance / 3, 1 / 9))
    assert found.seed_freedom == expected.freedom
    assert (found.seed_freedom > 2) == (classes == 5), "six pairs are too few to borrow from, ten are not"
    off = ~np.eye(classes, dtype=bool)
    np.testing.assert_allclose(found.value[off], sign * found.value.T[off])
    for name in ("error", "freedom", "p"):
        np.testing.assert_array_equal(getattr(found, name)[off], getattr(found, name).T[off])


def test_pairs_that_differ_both_ways_all_count():
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(4), 40)
    preds = np.where(rng.random((3, 160)) < 0.6, labels, rng.integers(0, 4, (3, 160)))
    study = Study.of_preds(labels, {(BASELINE, s): each for s, each in enumerate(preds)}, tuple("abcd"))
    found = pair_contrasts(study, {BASELINE: (0.0, 1.0)}, {})
    off = ~np.eye(4, dtype=bool)
    sample, interaction = (part[off] for part in pairs_by_hand(preds, labels, 0, 40))
    expected = moderated_variance(sample, interaction, 3)
    np.testing.assert_allclose(found.seed_variance[off], np.maximum(expected.variance / 3, 1 / 9))
    assert found.seed_freedom == expected.freedom > 2


def test_conditions_without_a_seed_in_common_cannot_be_compared(loaded):
    names = {SYMMETRIC: 1.0, MATCHED: -1.0}
    for compare in (class_contrasts, accuracy_contrast, cell_contrasts):
        with pytest.raises(ValueError, match=r"no seed .* noise-symmetric-0\.2, reduction-0\.2-matched-steps"):
            compare(loaded, names)
    with pytest.raises(ValueError, match="no seed"):
        pair_contrasts(loaded, {SYMMETRIC: (1.0, 0.0)}, {MATCHED: (-1.0, 0.0)})
    with pytest.raises(ValueError, match="no seed"):
        relative_matrix(loaded, *names)


# Where nothing varies


def certain(per_class: int, seeds: int = 5) -> Study:
    """Four classes, each predicted right for ever."""
    labels = np.repeat(np.arange(4), per_class)
    return Study.of_preds(labels, {(c, s): labels for c in (BASELINE, noise(0.1)) for s in range(seeds)}, tuple("abcd"))


def test_what_never_varied_has_an_interval_with_a_width():
    study, fall = certain(60), {BASELINE: 1.0, noise(0.1): -1.0}
    recall = class_contrasts(study, {BASELINE: 1.0})
    np.testing.assert_allclose(recall.low, 0.9404, atol=1e-4)
    assert (recall.high == 1).all()
    assert float(accuracy_contrast(study, {BASELINE: 1.0}).low) == pytest.approx(0.9848, abs=1e-4)
    for e, one in (
        (class_contrasts(study, fall), 1 / 60),
        (accuracy_contrast(study, fall), 1 / 240),
        (cell_contrasts(study, fall), 1.0),
    ):
        # One image more or less is never out of the question.
        np.testing.assert_allclose(e.error, one)
        assert (e.low < -1.9 * one).all()
        assert (e.high > 1.9 * one).all()
        np.testing.assert_array_equal(e.p, 1)
    pairs = pair_contrasts(study, {BASELINE: (0.0, 1.0)}, {BASELINE: (0.0, -1.0)})
    assert (pairs.high - pairs.low > 3.8)[~np.eye(4, dtype=bool)].all()


def test_a_class_without_images_is_unknown_and_harms_no_other():
    study = Study.of_preds(
        [0, 0, 2, 2] * 5, {(BASELINE, s): np.roll([0, 0, 2, 2] * 5, s) for s in range(3)}, ("a", "b", "c")
    )
    recall = class_contrasts(study, {BASELINE: 1.0})
    assert np.isnan([recall.value[1], recall.low[1], recall.p[1]]).all()
    assert np.isfinite([recall.value[[0, 2]], recall.low[[0, 2]]]).all()
    gaps = pair_contrasts(study, {BASELINE: (1.0, 0.0)}, {BASELINE: (-1.0, 0.0)}, shares=True)
    assert np.isnan(gaps.value[1]).all()
    assert np.isnan(gaps.value[:, 1]).all()
    assert np.isfinite([gaps.low[0, 2], gaps.low[2, 0]]).all()


# A second opinion


@pytest.mark.parametrize("counts", [[[45, 4, 1], [3, 190, 7], [0, 1, 59]], [[60, 0, 0], [5, 5, 50], [1, 1, 998]]])
def test_of_one_matrix_the_interval_of_recall_holds_the_bayesian_one_and_is_hardly_wider(counts):
    from prob_conf_mat import Study as BayesianStudy

    matrix, sizes = np.array(counts), np.sum(counts, axis=1)
    bayesian = BayesianStudy(seed=1, num_samples=40_000, ci_probability=0.95)
    bayesian.add_experiment(
        "one/matrix", confusion_matrix=matrix, prevalence_prior="jeffreys", confusion_prior="jeffreys"
    )
    bayesian.add_metric("recall")
    drawn = bayesian.get_metric_samples("recall", "one/matrix", "posterior").values
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)

    # Two seeds that agree in everything: the choice of images is all the chance there is.
    labels, preds = (np.repeat(np.indices((3, 3))[k].ravel(), matrix.ravel()) for k in (0, 1))
    study = Study.of_preds(labels, {(BASELINE, 1): preds, (BASELINE, 2): preds}, THREE)
    recall = class_contrasts(study, {BASELINE: 1.0})
    # Clopper and Pearson's counts half an image and a little more to either side of what Jeffreys' prior gives.
    chance = 0.03 / np.sqrt(sizes)  # of 40,000 draws
    assert (recall.low <= low + chance).all()
    assert (recall.high >= high - chance).all()
    np.testing.assert_array_less(low - recall.low, 1.3 / sizes + chance)
    np.testing.assert_array_less(recall.high - high, 1.3 / sizes + chance)


# Coverage


def test_recalls_near_1_cover_at_two_seeds_and_are_not_as_wide_as_half_the_scale():
    recalls = np.array([0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.96, 0.94, 0.92])
    labels = np.repeat(np.arange(10), 60)
    covered, widths = [], []
    for study in range(100):
        rng = np.random.default_rng(study)
        latent = np.sqrt(0.5) * rng.normal(size=600) + np.sqrt(0.5) * rng.normal(size=(2, 600))
        preds = np.where(stats.norm.cdf(latent) < recalls[labels], labels, (labels + 1) % 10)
        found = class_contrasts(
            Study.of_preds(labels, {(BASELINE, s): each for s, each in enumerate(preds)}, tuple("abcdefghij")),
            {BASELINE: 1.0},
        )
        covered.append((found.low <= recalls) & (recalls <= found.high))
        widths.append((found.high - found.low).mean())
    assert np.mean(covered) >= 0.95
    assert np.mean(widths) < 0.2


@pytest.mark.parametrize(("seeds", "narrower"), [(2, 0.6), (5, 0.95)])
def test_moderated_intervals_of_cells_cover_and_are_narrower(monkeypatch, seeds, narrower):
    rng = np.random.default_rng(7)
    labels, shares = np.repeat(np.arange(4), 100), np.full((4, 4), 0.08) + 0.68 * np.eye(4)
    covered, widths = [], {True: [], False: []}
    for _ in range(60):
        preds = {}
        easy = rng.normal(size=(400, 4))
        for condition, seed in product((BASELINE, noise(0.1)), range(seeds)):
            luck = 0.1 * rng.normal(size=(4, 4))[labels] + rng.gumbel(size=(400, 4))
            preds[condition, seed] = (np.log(shares)[labels] + easy + luck).argmax(axis=1)
        study = Study.of_preds(labels, preds, tuple("abcd"))
        for moderated in (True, False):
            monkeypatch.setattr(moderation, "SMALLEST_FAMILY", 9 if moderated else np.inf)
            cells = cell_contrasts(study, {noise(0.1): 1.0, BASELINE: -1.0})
            widths[moderated].append((cells.high - cells.low).mean())
            if moderated:
                covered.append((cells.low <= 0) & (cells.high >= 0))
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(widths[True]) < narrower * np.mean(widths[False])


def test_labels_of_people_are_compared_with_blind_ones_of_the_same_counts():
    labels = np.repeat([0, 1], 40)
    options = {"file": "0123abcd", "column": "worse"}
    human, matched, other = (
        Condition(noise_kind=kind, noise_frac=1.0, noise_options=chosen)
        for kind, chosen in (("human", options), ("human_matched", options), ("human_matched", {"file": "ffff"}))
    )
    rng = np.random.default_rng(0)
    preds = {
        (condition, seed): np.where(rng.random(80) < share, labels, 1 - labels)
        for condition, share in ((BASELINE, 0.9), (human, 0.8), (matched, 0.6), (other, 0.5))
        for seed in (1, 2, 3)
    }
    study = Study.of_preds(labels, preds, ("cat", "dog"))
    (twins,) = analyse(study, resamples=100).twins
    assert (twins.human, twins.matched) == (human, matched)
    by_hand = [np.mean(preds[human, s] == labels) - np.mean(preds[matched, s] == labels) for s in (1, 2, 3)]
    np.testing.assert_allclose(twins.accuracy.per_seed, by_hand)
    assert twins.recall.value.mean() == pytest.approx(np.mean(by_hand))
    assert np.trace(twins.relative.cells.value) == pytest.approx(80 * np.mean(by_hand))
