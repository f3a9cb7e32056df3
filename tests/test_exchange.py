"""The exchange rate: the curve against references, n_eff against a plain loop, intervals against known populations."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from support.synthetic import World, shares

from class_sensitivity.analysis.exchange import Bounds, ExchangeRates, exchange_rates, monotone_curve, where_zero
from class_sensitivity.analysis.prices import advise_on_prices
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.settings import PriceSettings

REMOVED = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
FULL = 50_000
SIZES = FULL * (1 - np.array(REMOVED))


def reduced(frac: float, **values) -> Condition:
    return Condition(reduction_frac=frac, **values) if frac else BASELINE


def noisy(frac: float, kind: str = "shuffle", **values) -> Condition:
    return Condition(noise_kind=kind, noise_frac=frac, **values)


def study_of(recalls, seeds, world: World) -> Study:
    """A study whose conditions have these (K,) recalls in the mean; the noise is as large as it is meant to be."""
    preds = {
        (condition, seed): world.predict(shares(recall), condition.name, seed)
        for condition, recall in recalls.items()
        for seed in seeds
    }
    scalars = {
        (condition, seed): {
            "train_size": FULL * (1 - condition.reduction_frac),
            "effective_noise": condition.noise_frac,
            "steps": 1.0,
            "duration_s": 1.0,
        }
        for condition, seed in preds
    }
    return Study.of_preds(world.labels, preds, world.class_names, scalars=scalars)


class Learning:
    """Recalls that rise with the size of the training set by power laws, as those of real networks do."""

    def __init__(self, rng: np.random.Generator, num_classes: int) -> None:
        self._best = rng.uniform(0.8, 0.97, num_classes)
        self._lost = rng.uniform(0.03, 0.1, num_classes)
        self._power = rng.uniform(0.5, 0.9, num_classes)

    def recall(self, size) -> np.ndarray:
        """(K,) at a size of the training set, one or (K,)."""
        return np.maximum(0.02, self._best - self._lost * (np.asarray(size) / FULL) ** -self._power)

    def size(self, accuracy: float) -> float:
        """The size at which the mean of the recalls is this one."""
        return float(brentq(lambda size: self.recall(size).mean() - accuracy, 10, 100 * FULL))


def rates(
    count: int,
    *,
    seeds: int = 5,
    per_class: int = 200,
    frac: float = 0.2,
    gammas=(0.5, 4.0),
    good: float = 0.001,
    lucky: float = 0.001,
) -> dict[str, float]:
    """How often intervals hold the true n_eff, over made-up studies of 10 classes.

    Args:
        count: How many studies.
        seeds: S.
        per_class: Test images of a class.
        frac: Of the noise.
        gammas: Between these the classes' gammas are; some n_eff may be below everything that is measured.
        good: Share of the variance that belongs to seed and class.
        lucky: Share that belongs to run and class. With 0.001 each, and 1,000 images a class, differences of recall
            vary as those of real runs do (docs/statistics.md, what pairing is worth).
    """
    rng, held, overall, opened = np.random.default_rng(0), [], [], []
    for root in range(count):
        learning = Learning(rng, 10)
        true = FULL * (1 - frac) ** rng.uniform(*gammas, 10)
        recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
        recalls[noisy(frac)] = learning.recall(true)
        world = World(tuple("abcdefghij"), per_class, root=root, seed=good, run=lucky)
        (found,) = exchange_rates(study_of(recalls, range(1, seeds + 1), world))
        size = found.classes.size
        held.append((size.low <= true) & (true <= size.high))
        opened.append(np.isinf(size.high) | (size.low == 0))
        total = learning.size(recalls[noisy(frac)].mean())
        overall.append(found.overall.size.low <= total <= found.overall.size.high)
    return {"classes": np.mean(held), "overall": np.mean(overall), "open": np.mean(opened)}


# The curve


@given(arrays(np.float64, 6, elements=st.floats(0.1, 0.9)))
def test_the_curve_rises_and_follows_a_rising_measurement(levels):
    log_sizes = np.log(SIZES)
    at = np.linspace(log_sizes[-1], log_sizes[0], 40)
    curve, weights = monotone_curve(log_sizes, levels, at)
    assert (np.diff(curve) >= -1e-9).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    rising = np.sort(levels)[::-1] + np.arange(6)[::-1] * 0.01
    curve, weights = monotone_curve(log_sizes, rising, at)
    np.testing.assert_allclose(curve, PchipInterpolator(log_sizes[::-1], rising[::-1])(at))
    np.testing.assert_allclose(np.einsum("gl,l->g", weights, rising), curve, atol=1e-4)


def test_the_curve_of_a_class_without_images_is_not_known():
    levels = np.array([[0.9, np.nan], [0.5, np.nan]])
    curve, weights = monotone_curve(np.log([100.0, 10.0]), levels, np.log([50.0]))
    assert np.isfinite(curve[:, 0]).all()
    assert np.isnan(curve[:, 1]).all()
    assert np.isnan(weights[..., 1]).all()


# Where the difference is 0


@given(
    st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=2, unique=True).map(sorted),
    st.floats(0, 1),
    st.sampled_from([(",.0f", 3), (".2f", None), (".1f", 1)]),
)
def test_a_number_within_what_was_measured_is_never_said_to_be_beyond(ends, at, style):
    least, most = ends
    inside = np.float64(min(max(least + at * (most - least), least), most))
    form, significant = style
    measured = Bounds(inside, np.float64(least), np.float64(most), least, most)
    whole = measured.text(form, significant=significant)
    assert not set(whole) & set("<>")
    wider = replace(measured, low=np.float64(least / 2), high=np.float64(2 * most))
    beyond = wider.text(form, significant=significant)
    assert beyond == f"{whole.partition(' [')[0]} [<{least:z{form}}, >{most:z{form}}]"


@pytest.mark.parametrize(
    ("value", "low", "high", "least", "most", "text"),
    [
        (1197, 241, 1196, 240, 1198, "1,198 [241, 1,198]"),  # 1197 is 1,200 in three digits
        (5006, 5005, 6000, 5005, 50050, "5,010 [5,005, 6,000]"),
        (4000, 4000, 60_000, 5005, 50050, "<5,005 [<5,005, >50,050]"),
    ],
)
def test_bounds_are_decided_before_they_are_rounded(value, low, high, least, most, text):
    bounds = Bounds(np.float64(value), np.float64(low), np.float64(high), least, most)
    assert bounds.text(",.0f", significant=3) == text


def test_zero_lies_between_the_places_that_enclose_it():
    places = np.log(np.array([10.0, 100.0, 1000.0]))
    found = where_zero(places, np.array([-1.0, 1.0, 3.0]), np.array([-2.0, 0.0, 2.0]), np.array([0.0, 2.0, 4.0]))
    assert found.value == pytest.approx(math.sqrt(1000))
    assert found.low == pytest.approx(10)
    assert found.high == pytest.approx(100)


@pytest.mark.parametrize(
    ("differences", "value", "low", "high"),
    [
        ([1.0, 2.0], 0, 0, 10),  # all above, surely: less than the smallest set
        ([0.1, 2.0], 0, 0, None),  # above, perhaps not
        ([-2.0, -1.0], np.inf, 100, np.inf),  # all below, surely
        ([-2.0, -0.1], np.inf, None, np.inf),
    ],
)
def test_what_lies_beyond_the_measurements_is_said_to_lie_there(differences, value, low, high):
    values = np.array(differences)
    found = where_zero(np.log(np.array([10.0, 100.0])), values, values - 0.5, values + 0.5)
    assert found.value == value
    assert found.low == (pytest.approx(low) if low is not None else pytest.approx(found.low))
    for end, expected in ((found.low, low), (found.high, high)):
        assert end == pytest.approx(expected) if expected is not None else 10 < end < 100


# The exchange rate


@pytest.fixture(scope="module")
def learning() -> Learning:
    return Learning(np.random.default_rng(3), 3)


def only(recalls, seeds=(1, 2, 3), **world) -> ExchangeRates:
    (found,) = exchange_rates(study_of(recalls, seeds, World(("ant", "bee", "cow"), 400, seed=0.01, **world)))
    return found


def test_a_noise_that_does_what_a_reduction_does_is_worth_that_reduction(learning):
    # The very predictions of 40 % removed: nothing is left to chance.
    recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    world = World(("ant", "bee", "cow"), 400, seed=0.01)
    clean = study_of(recalls, (1, 2, 3), world)
    preds = {(c, s): clean.preds_of(c, [s])[0] for c in recalls for s in (1, 2, 3)}
    scalars = {(c, s): {"train_size": FULL * (1 - c.reduction_frac)} for c, s in preds}
    for seed in (1, 2, 3):
        preds[noisy(0.2), seed] = preds[reduced(0.4), seed]
        scalars[noisy(0.2), seed] = {"train_size": FULL, "effective_noise": 0.15}
    scalars = {key: {"effective_noise": 0.0, "steps": 1.0, "duration_s": 1.0} | value for key, value in scalars.items()}
    (found,) = exchange_rates(Study.of_preds(clean.labels, preds, clean.class_names, scalars=scalars))
    for exchange in (found.overall, found.classes):
        np.testing.assert_allclose(exchange.size.value, 30_000, rtol=1e-6)
        np.testing.assert_allclose(exchange.lost_per_wrong_label.value, 20_000 / 7_500, rtol=1e-6)
        np.testing.assert_allclose(exchange.gamma.value, math.log(0.6) / math.log(0.8), rtol=1e-6)
        np.testing.assert_allclose(exchange.check_worth.value, 5 / 3 - 1, rtol=1e-6)
        np.testing.assert_allclose(exchange.mended_worth.value, (5 / 3 - 1) / 0.15, rtol=1e-6)


def test_the_size_is_where_a_plain_loop_finds_the_recall(learning):
    removed, sizes = (0.0, 0.4, 0.7, 0.9), FULL * np.array([1, 0.6, 0.3, 0.1])
    recalls = {reduced(f): learning.recall(size) for f, size in zip(removed, sizes, strict=True)}
    recalls[noisy(0.2)] = learning.recall(25_000)
    world = World(("ant", "bee", "cow"), 400, seed=0.01)
    study = study_of(recalls, (1, 2, 3), world)
    (found,) = exchange_rates(study)

    def right(condition, c) -> float:
        shares = []
        for seed in (1, 2, 3):
            preds = study.preds_of(condition, [seed])[0]
            shares.append(np.mean([p == c for p, t in zip(preds, study.labels, strict=True) if t == c]))
        return float(np.mean(shares))

    for c in range(3):
        levels = [right(reduced(f), c) for f in removed]
        assert levels == sorted(levels, reverse=True), "the world must rise for this reference"
        curve = PchipInterpolator(np.log(sizes[::-1]), levels[::-1])
        size = math.exp(brentq(lambda x, c=c, f=curve: f(x) - right(noisy(0.2), c), *np.log(sizes[[-1, 0]])))
        assert found.classes.size.value[c] == pytest.approx(size, rel=0.005)
        assert found.classes.size.low[c] < size < found.classes.size.high[c]


@pytest.mark.parametrize("steps", ["masked", True])
@pytest.mark.parametrize(("reach", "matched"), [((0.4, 0.8), False), ((0.4, 0.9), True)], ids=["too short", "enough"])
def test_one_curve_serves_all_levels_with_matched_steps_where_it_reaches_far_enough(learning, reach, matched, steps):
    recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    recalls |= {reduced(f, match_steps=steps): learning.recall(1.1 * FULL * (1 - f)) for f in reach}
    recalls |= {noisy(0.1): learning.recall(40_000), noisy(0.4): learning.recall(6_000)}
    study = study_of(recalls, (1, 2, 3), World(("ant", "bee", "cow"), 400, seed=0.01))
    near, far = exchange_rates(study)
    assert near.overall.curve[-1].match_steps == far.overall.curve[-1].match_steps == (steps if matched else False)
    assert near.overall.as_many_visits is (matched and steps is True)
    assert near.overall.curve == far.overall.curve == near.classes.curve


def test_without_a_learning_curve_or_shared_seeds_there_is_no_rate(learning):
    recalls = {BASELINE: learning.recall(FULL), noisy(0.2): learning.recall(30_000)}
    world = World(("ant", "bee", "cow"), 60)
    assert list(exchange_rates(study_of(recalls, (1, 2), world))) == []
    recalls |= {reduced(0.4, stratified=True): learning.recall(30_000)}
    assert list(exchange_rates(study_of(recalls, (1, 2), world))) == []


def test_one_seed_gives_a_value_and_no_interval(learning):
    recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    found = only(recalls | {noisy(0.2): learning.recall(20_000)}, seeds=(1,))
    assert np.isfinite(found.overall.size.value)
    assert np.isnan(found.overall.size.low)
    assert "[" not in found.overall.size.text(",.0f")


def test_gamma_is_there_for_noise_without_information_alone(learning):
    recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    symmetric = only(recalls | {noisy(0.2, "symmetric"): learning.recall(20_000)}).overall
    assert symmetric.uninformative == pytest.approx(0.3)  # K / (K - 1) of three classes
    assert symmetric.gamma.value == pytest.approx(math.log(symmetric.size.value / FULL) / math.log(0.7))
    assert only(recalls | {noisy(0.2, "pair"): learning.recall(20_000)}).overall.gamma is None
    assert only(recalls | {noisy(0.7, "symmetric"): learning.recall(20_000)}).overall.gamma is None
    assert only(recalls | {noisy(1.0): learning.recall(20_000)}).overall.gamma is None, "no label is left to count"
    # Labels that are ant or bee, shuffled: they are of no other class, and not 20 % of all.
    some = noisy(0.2, noise_classes=("ant", "bee"))
    assert only(recalls | {some: learning.recall(20_000)}).overall.gamma is None


def test_noise_that_changed_no_label_has_no_rate_and_no_advice_on_prices(learning):
    # Of one class that is shuffled among itself; such runs are refused, and may have been done before.
    recalls = {reduced(f): learning.recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    idle = noisy(0.5, noise_classes=("ant",))
    study = study_of(recalls | {idle: learning.recall(FULL)}, (1, 2), World(("ant", "bee", "cow"), 60))
    study.arrays["effective_noise"].loc[{"condition": idle.name}] = 0.0
    assert list(exchange_rates(study)) == []
    assert list(advise_on_prices(analyse(study, resamples=10), PriceSettings(example=1, check=1))) == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"per_class": 1000}, {"seeds": 3}, {"frac": 0.4, "gammas": (1.0, 6.0)}])
def test_intervals_hold_the_truth(options):
    found = rates(40, **options)
    # Of 40 studies a rate of 5 % leaves out more than 6 once in 100.
    assert found["overall"] >= 34 / 40
    assert 0.92 <= found["classes"] <= (0.98 if "per_class" in options else 1)  # few images or seeds: too wide
    assert found["open"] > 0, "some ends must lie beyond what is measured"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # dataeval's own
def test_dataeval_finds_the_same_size_where_its_model_holds():
    """dataeval's `Sufficiency` fits one power law with an asymptote to the same points.

    Its search is sure of flat curves alone: with a power of 0.7 it ends at 47,400 where the truth is 27,000.
    """
    sufficiency = pytest.importorskip("dataeval.performance").SufficiencyOutput

    def recall(size: float) -> np.ndarray:
        return np.full(3, 0.93 - 0.06 * (size / FULL) ** -0.4)

    recalls = {reduced(f): recall(size) for f, size in zip(REMOVED, SIZES, strict=True)}
    recalls[noisy(0.3)] = recall(27_000)
    seeds = (1, 2, 3, 4)
    study = study_of(recalls, seeds, World(("ant", "bee", "cow"), 3000, seed=0.002))
    (found,) = exchange_rates(study)

    def accuracies(condition: Condition) -> np.ndarray:
        return (study.preds_of(condition, seeds) == study.labels).mean(axis=1)

    measured = np.stack([accuracies(reduced(f)) for f in REMOVED[::-1]], axis=1)
    hundred = 100  # its search ends far from the optimum where the power of a size is tiny
    target = accuracies(noisy(0.3)).mean()
    tries = []
    for seed in range(5):  # the search is random, takes no generator, and sometimes ends elsewhere
        np.random.seed(seed)  # noqa: NPY002
        theirs = sufficiency(steps=(SIZES[::-1] / hundred).astype(int), measures={"accuracy": measured})
        tries.append(hundred * theirs.inv_project({"accuracy": np.array([target])})["accuracy"].item())
    projected = np.median(tries)
    assert projected == pytest.approx(float(found.overall.size.value), rel=0.05)
    assert found.overall.size.low < projected < found.overall.size.high
