"""Agreement of two maps of pairs: correlation and p against SciPy and all orders, the interval against the truth."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from support.confusables import Population

from class_sensitivity.analysis.pair_agreement import RankCorrelation, mantel_p, pair_agreement
from class_sensitivity.analysis.separability import separability
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

RESAMPLES = 300


def study_of(num_classes: int, seeds: int = 3, per_class: int = 40, root: int = 1) -> Study:
    population = Population.random(np.random.default_rng(root), num_classes)
    return population.study(np.random.default_rng(root + 1), seeds, per_class)


def noisy_copy(rng: np.random.Generator, values: np.ndarray, agreement: float) -> np.ndarray:
    """A symmetric map whose order agrees with that of another more or less."""
    upper = np.triu_indices(len(values), 1)
    scores = stats.norm.ppf((stats.rankdata(values[upper]) - 0.5) / len(upper[0]))
    copy = np.zeros(values.shape)
    copy[upper] = agreement * scores + np.sqrt(1 - agreement**2) * rng.normal(size=len(scores))
    return copy + copy.T


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    # Equal shares may differ in the last digit.
    return float(stats.spearmanr(np.round(pairs_of(one), 9), np.round(pairs_of(other), 9)).statistic)


def pairs_of(values: np.ndarray) -> np.ndarray:
    return values[np.triu_indices(len(values), 1)]


# The correlation


@pytest.mark.parametrize("num_classes", [3, 4, 9])
def test_rho_is_that_of_scipy_over_the_pairs(num_classes):
    study = study_of(num_classes)
    other = noisy_copy(np.random.default_rng(2), separability(study).symmetric.value, 0.7)
    found = pair_agreement(study, other, resamples=RESAMPLES)
    assert found.rho == pytest.approx(spearman(separability(study).symmetric.value, other))
    assert found.pairs == num_classes * (num_classes - 1) // 2
    assert -1 <= found.low <= found.rho <= found.high <= 1


def test_only_the_order_counts_and_only_both_directions_together():
    study = study_of(6)
    other = np.exp(np.random.default_rng(3).normal(size=(6, 6)))
    found = pair_agreement(study, other, resamples=RESAMPLES)
    symmetric = (other + other.T) / 2
    symmetric[np.diag_indices(6)] = np.nan  # the diagonal has no meaning
    assert pair_agreement(study, symmetric, resamples=RESAMPLES) == found
    assert pair_agreement(study, other.T, resamples=RESAMPLES) == found
    assert pair_agreement(study, symmetric**3, resamples=RESAMPLES) == found
    turned = pair_agreement(study, -symmetric, resamples=RESAMPLES)
    numbers = [turned.rho, turned.low, turned.high, turned.p]
    np.testing.assert_allclose(numbers, [-found.rho, -found.high, -found.low, found.p], atol=1e-9)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_nearly_the_same():
    study, other = study_of(8, 4), noisy_copy(np.random.default_rng(4), np.arange(64.0).reshape(8, 8), 0.5)
    found = pair_agreement(study, other)
    assert pair_agreement(study, other) == found
    again = pair_agreement(study, other, seed=1)
    assert again != found
    np.testing.assert_allclose([again.low, again.high, again.p], [found.low, found.high, found.p], atol=0.03)


def test_many_classes_take_turns(monkeypatch):
    study, other = study_of(7), noisy_copy(np.random.default_rng(5), np.arange(49.0).reshape(7, 7), 0.5)
    at_once = pair_agreement(study, other)
    monkeypatch.setattr("class_sensitivity.analysis.pair_agreement._AT_A_TIME", 100 * 49)
    in_turns = pair_agreement(study, other)
    assert in_turns.rho == at_once.rho
    np.testing.assert_allclose([in_turns.low, in_turns.high], [at_once.low, at_once.high], atol=0.03)
    assert in_turns.p == pytest.approx(at_once.p, abs=0.02)


# Where nothing is known


@pytest.mark.parametrize("num_classes", [1, 2])
def test_of_fewer_than_three_classes_nothing_is_said(num_classes):
    study = Study.of_preds([0] * 9, {(BASELINE, s): [0] * 9 for s in (1, 2)}, "ab"[:num_classes])
    found = pair_agreement(study, np.ones((num_classes, num_classes)))
    assert np.isnan([found.rho, found.low, found.high, found.p]).all()


def test_one_seed_has_a_correlation_and_no_interval():
    found = pair_agreement(study_of(5, seeds=1), noisy_copy(np.random.default_rng(6), np.ones((5, 5)), 0))
    assert np.isfinite([found.rho, found.p]).all()
    assert np.isnan([found.low, found.high]).all()
    assert "[" not in found.text()


def test_where_all_pairs_are_the_same_nothing_is_said():
    labels = np.arange(30) % 3
    never_confused = Study.of_preds(labels, {(BASELINE, s): labels for s in (1, 2)}, "abc")
    for found in (
        pair_agreement(never_confused, np.arange(9).reshape(3, 3)),
        pair_agreement(study_of(4), np.ones((4, 4))),
    ):
        assert np.isnan([found.rho, found.low, found.high, found.p]).all()


def test_classes_of_which_a_map_knows_nothing_are_left_out():
    study = study_of(6)
    other = noisy_copy(np.random.default_rng(7), separability(study).symmetric.value, 0.6)
    gap = other.copy()
    gap[2] = gap[:, 2] = np.nan
    found = pair_agreement(study, gap, resamples=RESAMPLES)
    kept = np.ix_([0, 1, 3, 4, 5], [0, 1, 3, 4, 5])
    assert found.pairs == 10
    assert found.rho == pytest.approx(spearman(separability(study).symmetric.value[kept], other[kept]))
    shares = np.round(pairs_of(separability(study).symmetric.value[kept]), 9)
    assert found.p == mantel_p(shares, pairs_of(other[kept]), np.random.default_rng())
    # The same where a class has no test images.
    there = study.labels != 2
    runs = {(BASELINE, s): study.preds_of(BASELINE, [s])[0, there] for s in study.seeds}
    absent = pair_agreement(Study.of_preds(study.labels[there], runs, study.class_names), other, resamples=RESAMPLES)
    assert (absent.rho, absent.p, absent.pairs) == (found.rho, found.p, found.pairs)


def test_a_map_that_does_not_fit_is_refused():
    study = study_of(4)
    with pytest.raises(ValueError, match=r"must be \(4, 4\).*\(3, 4\)"):
        pair_agreement(study, np.ones((3, 4)))
    holes = noisy_copy(np.random.default_rng(8), np.ones((4, 4)), 0)
    holes[0, 1] = np.nan
    with pytest.raises(ValueError, match="some are NaN"):
        pair_agreement(study, holes)


def test_without_a_baseline_nothing_can_be_said():
    noisy = Condition(noise_kind="shuffle", noise_frac=0.2)
    with pytest.raises(LookupError, match="baseline was not run"):
        pair_agreement(Study.of_preds([0, 1, 2], {(noisy, 1): [0, 1, 1]}, "abc"), np.ones((3, 3)))


def test_shares_that_are_equal_have_equal_ranks():
    # 1 + 3 and 2 + 2 images of ten: 0.4 both, but for the last digit.
    labels = np.repeat([0, 1, 2, 3], 10)
    preds = labels.copy()
    preds[[0, 10, 11, 12]] = [1, 0, 0, 0]
    preds[[20, 21, 30, 31]] = [3, 3, 2, 2]
    preds[[1, 22]] = [2, 0]
    study = Study.of_preds(labels, {(BASELINE, 1): preds}, "abcd")
    other = np.zeros((4, 4))
    other[0, 1] = other[2, 3] = 2.0
    other[0, 2] = 1.0
    assert pair_agreement(study, other).rho == 1


def test_in_words():
    assert RankCorrelation(0.9214, 0.91, 0.9624, 1e-4, 45).text() == "0.92 [0.91, 0.96] over 45 pairs, p = 0.0001"


# The p-value


@pytest.mark.parametrize("num_classes", [3, 4, 5, 6])
def test_p_counts_all_orders_of_few_classes(num_classes):
    rng = np.random.default_rng(num_classes)
    for _ in range(3):
        one, other = (noisy_copy(rng, np.ones((num_classes, num_classes)), 0) for _ in range(2))
        observed, hits, total = abs(spearman(one, other)), 0, 0
        for order in permutations(range(num_classes)):
            hits += abs(spearman(one[np.ix_(order, order)], other)) >= observed - 1e-9
            total += 1
        assert mantel_p(pairs_of(one), pairs_of(other), rng) == hits / total


def test_p_of_many_classes_is_near_that_of_all_orders():
    rng = np.random.default_rng(9)
    one = noisy_copy(rng, np.ones((7, 7)), 0)
    other = noisy_copy(rng, one, 0.6)
    observed = abs(spearman(one, other))
    orders = [abs(spearman(one[np.ix_(order, order)], other)) for order in permutations(range(7))]
    exact = np.mean(np.array(orders) >= observed - 1e-9)
    assert 0.01 < exact < 0.5
    assert mantel_p(pairs_of(one), pairs_of(other), rng) == pytest.approx(exact, abs=4 * np.sqrt(exact / 9999))


def test_p_is_never_0_and_maps_that_say_nothing_are_seldom_believed():
    rng = np.random.default_rng(10)
    same = noisy_copy(rng, np.ones((9, 9)), 0)
    assert mantel_p(pairs_of(same), pairs_of(same), rng) == 1 / 10_000
    p = []
    for _ in range(200):
        # Classes differ in how much they look like all others, so pairs of a class go together.
        one, other = (np.add.outer(x, x) + noisy_copy(rng, np.ones((8, 8)), 0) / 3 for x in rng.normal(size=(2, 8)))
        p.append(mantel_p(pairs_of(one), pairs_of(other), rng))
    assert (
        stats.binom.ppf(0.001, 200, 0.05) / 200
        <= np.mean(np.array(p) <= 0.05)
        <= stats.binom.ppf(0.999, 200, 0.05) / 200
    )
    assert stats.kstest(p, "uniform").pvalue > 0.001


# The interval


def coverage(
    num_classes: int, seeds: int, per_class: int, agreement: float, studies: int, *, spread: float = 1.2, root: int = 11
) -> tuple[float, float, float]:
    """Shares of studies whose interval lies above the truth, holds it, lies below it; five studies a population."""
    rng = np.random.default_rng([root, num_classes, seeds, per_class, round(100 * agreement)])
    above = below = 0
    for number in range(studies):
        if number % 5 == 0:
            population = Population.random(rng, num_classes, spread=spread)
            other = noisy_copy(rng, population.look_alikeness, agreement)
            truth = spearman(population.look_alikeness, other)
        found = pair_agreement(population.study(rng, seeds, per_class), other, resamples=RESAMPLES, seed=number)
        above += found.low > truth + 1e-9
        below += found.high < truth - 1e-9
    return above / studies, 1 - (above + below) / studies, below / studies


@pytest.mark.slow
@pytest.mark.parametrize("agreement", [0.0, 0.6, 0.9, 1.0])
@pytest.mark.parametrize(("num_classes", "seeds", "per_class"), [(10, 5, 100), (10, 2, 60), (5, 3, 60), (20, 3, 40)])
def test_the_interval_covers_what_is_true_of_all_networks_and_images(num_classes, seeds, per_class, agreement):
    _, covered, _ = coverage(num_classes, seeds, per_class, agreement, 40)
    assert covered >= stats.binom.ppf(0.001, 40, 0.93) / 40


def test_errors_are_not_taken_for_disagreement():
    # Of a map that agrees perfectly, ten images a class make a poor copy; percentiles of draws would never hold 1.
    population, rng = Population.random(np.random.default_rng(12), 8), np.random.default_rng(13)
    found = [
        pair_agreement(population.study(rng, 3, 10), population.look_alikeness, resamples=RESAMPLES) for _ in range(20)
    ]
    assert np.mean([agreement.rho for agreement in found]) < 0.85
    assert np.mean([agreement.high == 1 for agreement in found]) >= 0.9


def test_where_errors_make_the_whole_order_nothing_is_known():
    equal = np.full((12, 12), 0.3 / 11)
    np.fill_diagonal(equal, 0.7)
    population, rng = Population(equal), np.random.default_rng(14)
    found = [
        pair_agreement(population.study(rng, 2, 12), noisy_copy(rng, equal, 0), resamples=RESAMPLES) for _ in range(10)
    ]
    assert np.median([agreement.high - agreement.low for agreement in found]) == 2
