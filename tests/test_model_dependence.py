"""Sensitivity under several models: plain loops, SciPy, what is compared, and coverage over made-up studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from support.synthetic import CIFAR10, THREE, World, shares

from class_sensitivity.analysis import moderation
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.compared_models import compare_models, models_of_one_data_set
from class_sensitivity.analysis.confusable_pairs import confusable_pairs
from class_sensitivity.analysis.contrasts import class_contrasts
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.model_dependence import ModelDependence, model_dependence, model_dependences
from class_sensitivity.analysis.omnibus import omnibus_test
from class_sensitivity.analysis.separability import separability
from class_sensitivity.analysis.statistics import benjamini_hochberg, variance_components
from class_sensitivity.analysis.study import Study
from class_sensitivity.figures.axes import figure_of
from class_sensitivity.figures.curves import levels_in_words
from class_sensitivity.figures.model_dependence import plot_model_dependence
from class_sensitivity.runs.condition import BASELINE, Condition

WORLD = World(THREE, (40, 60, 50))
LEVELS = (noise(0.1), noise(0.2), noise(0.3))
CONDITIONS = (BASELINE, *LEVELS)
RECALLS = {
    "cnn6": dict(zip(CONDITIONS, [(0.9, 0.8, 0.7), (0.85, 0.75, 0.6), (0.8, 0.7, 0.5), (0.7, 0.65, 0.4)], strict=True)),
    "lenet": dict(zip(CONDITIONS, [(0.8, 0.7, 0.7), (0.7, 0.6, 0.65), (0.5, 0.5, 0.6), (0.3, 0.5, 0.5)], strict=True)),
    "resnet18": dict(
        zip(CONDITIONS, [(0.9, 0.9, 0.9), (0.9, 0.8, 0.6), (0.8, 0.8, 0.5), (0.8, 0.7, 0.3)], strict=True)
    ),
}


def study_of(
    model: str,
    recalls: Mapping[Condition, Sequence[float]] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    *,
    world: World = WORLD,
    **options: str,
) -> Study:
    """A study of a model, by the recalls of its classes at each condition."""
    drawn, recalls = World(**{**vars(world), "model": model}), recalls or RECALLS[model]
    preds = {
        (condition, seed): drawn.predict(shares(each), condition.name, seed)
        for condition, each in recalls.items()
        for seed in seeds
    }
    return Study.of_preds(drawn.labels, preds, world.class_names, model=model, data="made-up", **options)


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return [study_of(model) for model in RECALLS]


@pytest.fixture(scope="module")
def found(studies) -> ModelDependence:
    return model_dependence(studies, "shuffle", resamples=300)


# The numbers


def losses_by_hand(study: Study, seeds: Sequence[int], levels: Sequence[Condition]) -> np.ndarray:
    """(S, K) points lost per 10 points of stress: a line through the recalls of each seed and class."""
    losses = np.empty((len(seeds), study.num_classes))
    for s, seed in enumerate(seeds):
        for c in range(study.num_classes):
            recalls = []
            for condition in levels:
                predicted = study.preds_of(condition, [seed])[0].tolist()
                inside = [p for p, t in zip(predicted, study.labels.tolist(), strict=True) if t == c]
                recalls.append(sum(p == c for p in inside) / len(inside))
            slope, _ = np.polyfit([condition.level for condition in levels], recalls, 1)
            losses[s, c] = -10 * slope
    return losses


def assert_means(found: Estimate, per_seed: np.ndarray) -> None:
    np.testing.assert_allclose(found.per_seed, per_seed, atol=1e-9)
    np.testing.assert_allclose(found.value, per_seed.mean(axis=0), atol=1e-9)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_losses_and_their_differences_are_those_of_a_plain_loop(studies, found):
    assert found.compared.models == tuple(RECALLS)
    assert found.compared.conditions == CONDITIONS
    by_hand = [losses_by_hand(study, (1, 2, 3), found.compared.conditions) for study in studies]
    for loss, expected in zip(found.losses, by_hand, strict=True):
        assert_means(loss, expected)
    for pair, (first, second) in zip(found.pairs, combinations(range(3), 2), strict=True):
        assert (pair.first, pair.second) == (studies[first].model, studies[second].model)
        difference = by_hand[first] - by_hand[second]
        assert_means(pair.difference, difference)
        assert_means(pair.centred, difference - difference.mean(axis=1, keepdims=True))
        rho = stats.spearmanr(by_hand[first].mean(axis=0), by_hand[second].mean(axis=0)).statistic
        assert pair.agreement.rho == pytest.approx(rho)
        assert -1 <= pair.agreement.low <= pair.agreement.rho + 1e-12
        assert pair.agreement.rho - 1e-12 <= pair.agreement.high <= 1 + 1e-12


def test_variances_are_those_that_the_images_give_one_by_one(studies, monkeypatch):
    # Sums over all images at once, each image with its weight in the mean over the classes.
    monkeypatch.setattr(moderation, "SMALLEST_FAMILY", np.inf)
    one, other = studies[:2]
    plain, centred = compare_models([one, other], "shuffle").differences(0, 1)
    levels = [0.0, 0.1, 0.2, 0.3]
    weights = np.linalg.pinv(np.vander(levels, 2))[0]
    values = np.zeros((3, len(one.labels)))
    for sign, study in ((-10, one), (10, other)):
        for weight, condition in zip(weights, CONDITIONS, strict=True):
            values += sign * weight * (study.preds_of(condition, (1, 2, 3)) == study.labels)
    values /= one.class_sizes[one.labels]
    for c in range(3):
        for estimate, rest in ((plain, 0), (centred, 1 / 3)):
            alone = variance_components(values * ((one.labels == c) - rest), one.labels)
            assert estimate.value[c] == pytest.approx(float(alone.total))
            expected = max(alone.per_seed.var(ddof=1), float(alone.interaction)) / 3
            assert estimate.seed_variance[c] == pytest.approx(expected)
            # The floor of one image is far below.
            assert estimate.image_variance[c] == pytest.approx(float(alone.image_variance), abs=1e-3)


def test_marks_are_about_all_classes_and_all_pairs_of_models(found):
    marked = np.stack([pair.marked for pair in found.pairs])
    p = np.stack([pair.centred.p for pair in found.pairs])
    np.testing.assert_array_equal(marked, benjamini_hochberg(p, 0.05))
    assert marked.any()


def test_the_interaction_is_tested_on_losses_minus_the_means_of_class_and_model(studies, found):
    values = found.compared.values
    cells = np.zeros((3, len(studies[0].labels), 3, 3))  # seed, image, model, class
    for image, label in enumerate(studies[0].labels):
        for model in range(3):
            for c in range(3):
                mine = values[model, :, image] - values[:, :, image].mean(axis=0)
                cells[:, image, model, c] = mine * ((c == label) - 1 / 3)
    by_hand = omnibus_test(cells.reshape(3, -1, 9), studies[0].labels, most_seed_freedom=4)
    assert found.interaction.statistic == pytest.approx(by_hand.statistic)
    assert found.interaction.p == pytest.approx(by_hand.p)
    sums = cells.sum(axis=1).mean(axis=0)
    np.testing.assert_allclose([sums.sum(axis=0), sums.sum(axis=1)], 0, atol=1e-9)


def test_the_order_of_models_changes_no_more_than_signs(studies, found):
    turned = model_dependence(studies[::-1], "shuffle", resamples=300)
    assert turned.interaction.p == pytest.approx(found.interaction.p)
    np.testing.assert_array_equal(turned.order, found.order)
    pairs = {(pair.first, pair.second): pair for pair in turned.pairs}
    for pair in found.pairs:
        other = pairs[pair.second, pair.first]
        np.testing.assert_allclose(other.centred.value, -pair.centred.value)
        np.testing.assert_allclose(other.centred.low, -pair.centred.high)
        assert other.agreement.rho == pytest.approx(pair.agreement.rho)


@settings(max_examples=10)
@given(root=st.integers(0, 100), seeds=st.integers(1, 3), classes=st.integers(2, 10))
def test_a_study_agrees_with_itself_under_another_name(root, seeds, classes):
    rng = np.random.default_rng(root)
    world = World(tuple(map(str, range(classes))), 15, root=root)
    base, loss = rng.uniform(0.6, 0.9, classes), rng.uniform(0, 2, classes)
    recalls = {c: base - loss * c.noise_frac for c in CONDITIONS}
    one = study_of("one", recalls, range(seeds), world=world)
    preds = {(c, s): one.preds_of(c, [s])[0] for c in recalls for s in range(seeds)}
    found = model_dependence(
        [one, Study.of_preds(one.labels, preds, one.class_names, model="two")], "shuffle", resamples=50
    )
    (pair,) = found.pairs
    for estimate in (pair.difference, pair.centred):
        np.testing.assert_array_equal(estimate.value, 0)
        assert seeds == 1 or ((estimate.low < 0) & (estimate.high > 0)).all()
    assert not pair.marked.any()
    assert found.interaction is None
    alike = np.ptp(np.round(found.losses[0].value, 9)) == 0
    assert np.isnan(pair.agreement.rho) if alike else pair.agreement.rho == pytest.approx(1)
    if not np.isnan(pair.agreement.high):
        assert pair.agreement.high == pytest.approx(1)


def test_an_overall_difference_is_none_of_the_pattern():
    # Every class loses 10 points more of the same under the second model.
    world = World(THREE, 400, image=0.9, seed=0.001, taste=0.05)
    one, other = (
        {c: np.array([0.9, 0.8, 0.85]) - (np.array([0.2, 0.5, 0.8]) + more) * c.noise_frac for c in CONDITIONS}
        for more in (0.0, 1.0)
    )
    found = model_dependence(
        [study_of("one", one, range(5), world=world), study_of("two", other, range(5), world=world)], "shuffle"
    )
    (pair,) = found.pairs
    assert (pair.difference.high < 0).all()
    assert (pair.centred.low < 0).all()
    assert (pair.centred.high > 0).all()
    assert pair.agreement.rho == pytest.approx(1)


def test_one_seed_gives_values_and_no_intervals(studies):
    found = model_dependence([study_of(model, seeds=[4]) for model in ("cnn6", "lenet")], "shuffle")
    (pair,) = found.pairs
    assert not np.isnan(pair.centred.value).any()
    assert np.isnan(pair.centred.low).all()
    assert np.isnan([pair.agreement.low, pair.agreement.high]).all()
    assert -1 <= pair.agreement.rho <= 1
    assert not pair.marked.any()
    assert found.interaction is None


def test_a_class_without_images_has_no_part():
    world = World(("a", "b", "c", "d"), (30, 0, 30, 30))
    one, other = ({c: (*r[:1], 0.5, *r[1:]) for c, r in RECALLS[model].items()} for model in ("cnn6", "lenet"))
    found = model_dependence([study_of("one", one, world=world), study_of("two", other, world=world)], "shuffle")
    (pair,) = found.pairs
    np.testing.assert_array_equal(np.isnan(pair.difference.value), [False, True, False, False])
    np.testing.assert_array_equal(np.isnan(pair.centred.value), [False, True, False, False])
    assert np.nansum(pair.centred.value) == pytest.approx(0)
    assert -1 <= pair.agreement.low <= pair.agreement.high <= 1
    assert found.interaction is None
    assert found.order[-1] == 1


# What is compared


def test_only_levels_and_seeds_that_all_models_have_are_compared():
    one = study_of("cnn6", seeds=(1, 2, 3, 4))
    other = study_of("lenet", {c: RECALLS["lenet"][c] for c in (BASELINE, LEVELS[0], LEVELS[2])}, (2, 3, 4, 5))
    compared = compare_models([one, other], "shuffle")
    assert compared.conditions == (BASELINE, LEVELS[0], LEVELS[2])
    assert compared.seeds == (2, 3, 4)
    assert compared.left_out == ()
    for study, original, loss in zip(compared.studies, (one, other), compared.losses(), strict=True):
        assert study.seeds == [2, 3, 4]
        np.testing.assert_allclose(loss.per_seed, losses_by_hand(original, (2, 3, 4), compared.conditions), atol=1e-9)
        np.testing.assert_allclose(class_contrasts(study, compared.weights).value, loss.value)


def test_a_model_that_shares_too_little_is_left_out_and_named():
    few = study_of("resnet18", {c: RECALLS["resnet18"][c] for c in (BASELINE, LEVELS[1])}, (8, 9))
    only_baseline = study_of("vit_tiny", {BASELINE: (0.9, 0.9, 0.9)})
    elsewhere = study_of("plain18", RECALLS["lenet"], world=World(THREE, 20))
    compared = compare_models(
        [study_of("cnn6"), few, only_baseline, elsewhere, study_of("lenet", seeds=(2, 3))], "shuffle"
    )
    assert (compared.models, compared.chosen, compared.seeds) == (("cnn6", "lenet"), (0, 4), (2, 3))
    assert compared.left_out == (
        "vit_tiny is not compared: it has no baseline or no level of this stress.",
        "plain18 is not compared: it was tested on other classes or images.",
        "resnet18 is not compared: it shares too few levels and seeds with the others.",
    )


def test_two_seeds_count_more_than_a_further_model():
    compared = compare_models([study_of("cnn6"), study_of("lenet"), study_of("resnet18", seeds=(3,))], "shuffle")
    assert compared.models == ("cnn6", "lenet")
    alone = compare_models([study_of("cnn6"), study_of("resnet18", seeds=(3,))], "shuffle")
    assert (alone.models, alone.seeds) == (("cnn6", "resnet18"), (3,))


@pytest.mark.parametrize(
    "second",
    [
        study_of("lenet", {c: RECALLS["lenet"][c] for c in LEVELS}),
        study_of("lenet", {BASELINE: (0.9, 0.8, 0.7), noise(0.4): (0.4, 0.5, 0.6)}),
        study_of("lenet", seeds=(7, 8)),
    ],
    ids=["no baseline", "other levels", "other seeds"],
)
def test_models_without_a_common_run_cannot_be_compared(second):
    assert compare_models([study_of("cnn6"), second], "shuffle") is None
    assert model_dependence([study_of("cnn6"), second], "shuffle") is None
    assert model_dependence([study_of("cnn6")], "shuffle") is None
    assert model_dependence([study_of("cnn6"), study_of("lenet")], "reduction") is None


def test_recipes_of_one_model_are_told_apart_by_their_names():
    names = ("data-cnn6-0001", "data-cnn6-0002", "data-lenet-0001")
    studies = [study_of(model, recipe=name) for model, name in zip(("cnn6", "cnn6", "lenet"), names, strict=True)]
    assert compare_models(studies, "shuffle").models == (*names[:2], "lenet")


def test_studies_are_grouped_by_what_they_were_tested_on():
    one, other, again = study_of("cnn6"), study_of("lenet"), study_of("cnn6", seeds=(5,))
    elsewhere = [study_of(model, world=World(THREE, 20)) for model in ("cnn6", "lenet")]
    single = study_of("cnn6", world=World(THREE, 10))
    groups = models_of_one_data_set([one, elsewhere[0], single, other, elsewhere[1], again])
    assert [[id(study) for study in group] for group in groups] == [
        [id(study) for study in group] for group in ([one, other, again], elsewhere)
    ]
    assert models_of_one_data_set([one, again]) == []


def test_every_stress_is_compared_noise_first():
    recalls = {
        model: {**RECALLS[model], reduction(0.5): (0.7, 0.6, 0.5), noise(0.2, "pair"): (0.6, 0.6, 0.6)}
        for model in ("cnn6", "lenet")
    }
    every = [study_of(model, each) for model, each in recalls.items()]
    assert [each.compared.kind for each in model_dependences(every, resamples=20)] == ["shuffle", "pair", "reduction"]


def test_the_same_seed_gives_the_same_numbers(studies, found):
    again = model_dependence(studies, "shuffle", resamples=300)
    assert [pair.agreement for pair in again.pairs] == [pair.agreement for pair in found.pairs]


def test_a_notebook_shows_it(found):
    assert repr(found) == ("<ModelDependence of cnn6, lenet, resnet18 under label noise (shuffle): 3 levels, 3 seeds>")
    page = found._repr_html_()
    assert found.interaction.text() in page
    assert found.losses[1][0].text() in page
    assert found.weakest.agreement.rho == min(pair.agreement.rho for pair in found.pairs)


# Confusable pairs


def confused(model: str, ant_bee: float, cow: float, per_class: int = 400, seeds: Sequence[int] = (1, 2, 3)) -> Study:
    """A model that takes ants and bees for each other, and cows for either."""
    matrix = np.array([[1 - ant_bee, ant_bee, 0], [ant_bee, 1 - ant_bee, 0], [cow / 2, cow / 2, 1 - cow]])
    world = World(THREE, per_class, model=model)
    preds = {(BASELINE, seed): world.predict(matrix, "baseline", seed) for seed in seeds}
    return Study.of_preds(world.labels, preds, THREE, model=model)


def test_pairs_belong_to_the_data_or_to_a_model():
    every = {"one": confused("one", 0.3, 0.05), "two": confused("two", 0.2, 0.02)}
    (pair,) = confusable_pairs({name: separability(study) for name, study in every.items()})
    assert (pair.first, pair.second) == ("ant", "bee")
    assert pair.confused_by == ("one", "two")
    assert pair.belongs_to == "data"
    assert [float(alike.value) for alike in pair.alike] == [
        pytest.approx(float(separability(study).symmetric.value[0, 1])) for study in every.values()
    ]
    every["three"] = confused("three", 0.01, 0.3)
    first, *_ = confusable_pairs({name: separability(study) for name, study in every.items()})
    assert (first.confused_by, first.not_by, first.belongs_to) == (("one", "two"), ("three",), "model")


def test_what_is_not_certain_belongs_to_nobody():
    every = {"one": confused("one", 0.3, 0.05), "two": confused("two", 0.1, 0.1, per_class=10)}
    (pair,) = confusable_pairs({name: separability(study) for name, study in every.items()})
    assert (pair.confused_by, pair.not_by, pair.belongs_to) == (("one",), (), "undecided")
    every["two"] = confused("two", 0.01, 0.3, seeds=(1,))  # one seed makes nothing certain
    (pair,) = confusable_pairs({name: separability(study) for name, study in every.items()})
    assert pair.belongs_to == "undecided"


# Over many studies


@dataclass(frozen=True)
class Rates:
    """Shares of made-up studies, or of their intervals."""

    difference: float  # of intervals of differences that hold the truth
    centred: float  # of intervals of centred differences
    rho: float  # of intervals of rank correlations
    found: float  # of studies whose omnibus test is below 5 %
    marked: float  # of studies with a marked class


def rates(count: int, *, own: float, seeds: int = 3, models: int = 2, per_class: int = 60) -> Rates:
    """How often intervals hold the truth, and tests find a difference, over made-up studies of 10 classes.

    Args:
        count: How many studies.
        own: What a model has of its pattern to itself, in points per 10 points of noise (standard deviation). Models
            differ in how much they lose overall and in accuracy, too.
        seeds: S.
        models: M.
        per_class: Test images of a class.
    """
    rng, held, apart = np.random.default_rng(0), [], []
    for root in range(count):
        world = World(CIFAR10, per_class, root=root, seed=0.03)
        base, loss = rng.uniform(0.8, 0.95, 10), rng.uniform(0.3, 1.2, 10)
        losses = loss + rng.uniform(-0.2, 0.2, (models, 1)) + own / 10 * rng.normal(size=(models, 10))
        every = [
            study_of(
                f"model {m}",
                {c: base - 0.03 * m - losses[m] * c.noise_frac for c in CONDITIONS},
                range(seeds),
                world=world,
            )
            for m in range(models)
        ]
        found = model_dependence(every, "shuffle", resamples=200)
        pair, true = found.pairs[0], 10 * (losses[0] - losses[1])
        rho = stats.spearmanr(*losses[:2].round(9)).statistic
        held.append(
            [
                np.mean((pair.difference.low <= true) & (true <= pair.difference.high)),
                np.mean((pair.centred.low <= true - true.mean()) & (true - true.mean() <= pair.centred.high)),
                pair.agreement.low - 1e-9 <= rho <= pair.agreement.high + 1e-9,
            ]
        )
        apart.append([found.interaction.p <= 0.05, any(each.marked.any() for each in found.pairs)])
    return Rates(*np.mean(held, axis=0).tolist(), *np.mean(apart, axis=0).tolist())


@pytest.mark.slow
def test_intervals_hold_the_truth_and_equal_patterns_are_seldom_found_different():
    equal, different = rates(60, own=0.0), rates(40, own=3.0)
    # Of 60 studies more than 8 would be one chance in a hundred at a rate of 5 %.
    assert max(equal.found, equal.marked) <= 8 / 60
    for each in (equal, different):
        assert each.difference >= 0.93
        assert each.centred >= 0.93
        assert each.rho >= 0.87
    assert different.found >= 0.5


def test_patterns_that_differ_are_found_different():
    world = World(CIFAR10, 100, image=0.8, seed=0.01, taste=0.1)
    base = np.full(10, 0.9)
    own = {"one": np.linspace(0, 2, 10), "two": np.linspace(2, 0, 10)}
    every = [
        study_of(name, {c: base - lost * c.noise_frac for c in CONDITIONS}, world=world) for name, lost in own.items()
    ]
    found = model_dependence(every, "shuffle", resamples=200)
    assert found.interaction.p < 0.01
    (pair,) = found.pairs
    assert pair.agreement.high < 0
    assert pair.marked[[0, 9]].all()
    np.testing.assert_array_equal(np.sign(pair.centred.value[[0, 9]]), [-1, 1])


# The figure


def dots_of(figure_axes, model: str) -> tuple[np.ndarray, np.ndarray]:
    (line,) = [line for line in figure_axes.lines if isinstance(line, Line2D) and line.get_label() == model]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_the_figure_has_a_row_a_class_and_a_dot_a_model(found):
    recalls = {model: {**RECALLS[model], reduction(0.5): (0.7, 0.6, 0.5)} for model in ("cnn6", "lenet")}
    reduced = model_dependence([study_of(model, each) for model, each in recalls.items()], "reduction", resamples=20)
    panels = plot_model_dependence([found, reduced])
    assert len(panels) == 2
    names = [text.get_text() for text in panels[0].get_yticklabels()]
    mean = np.mean([loss.value for loss in found.losses], axis=0)
    assert names == [THREE[i] for i in np.argsort(-mean)]
    assert panels[0].yaxis.get_inverted()  # the most sensitive on top
    for axes, each in zip(panels, (found, reduced), strict=True):
        for model, loss in zip(each.compared.models, each.losses, strict=True):
            x, y = dots_of(axes, model)
            np.testing.assert_allclose(x, loss.value[found.order])
            np.testing.assert_array_equal(np.round(y), range(3))
        assert f"{each.compared.label}, {levels_in_words(each.compared.conditions)}" in axes.get_title()
        assert each.interaction.text() in axes.get_title()
    # One height a model, in both panels, and none twice.
    heights = [dots_of(panels[0], model)[1][0] for model in RECALLS]
    assert len(set(heights)) == 3
    assert dots_of(panels[1], "lenet")[1][0] == heights[1]
    with pytest.raises(ValueError, match="not enough values"):
        dots_of(panels[1], "resnet18")
    (legend,) = figure_of(panels).legends
    stars = any(pair.marked.any() for each in (found, reduced) for pair in each.pairs)
    assert [text.get_text() for text in legend.get_texts()] == [*RECALLS, *["models disagree about the class"] * stars]


def test_a_star_is_where_two_models_disagree(found):
    (axes,) = plot_model_dependence([found])
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    rows = sorted(int(y) for line in stars for y in line.get_ydata())
    disagree = np.any([pair.marked for pair in found.pairs], axis=0)
    assert rows == [row for row, c in enumerate(found.order) if disagree[c]]
    assert rows
    assert disagree.sum() < 3


def test_intervals_far_beyond_all_dots_are_cut(found):
    (axes,) = plot_model_dependence([found])
    low, high = (np.array([getattr(loss, end) for loss in found.losses]) for end in ("low", "high"))
    left, right = axes.get_xlim()
    assert left < low.min()
    assert high.max() < right
    wide = replace(found.losses[0], seed_variance=np.full(3, 1e4))
    (axes,) = plot_model_dependence([replace(found, losses=(wide, *found.losses[1:]))])
    values = [loss.value for loss in found.losses]
    left, right = axes.get_xlim()
    assert left < np.min(values)
    assert np.max(values) < right
    assert right - left < 3.5 * np.ptp(values)
    arrows = [line for line in axes.lines if line.get_marker() in "<>"]
    assert [set(line.get_xdata()) for line in arrows] == [{left}, {right}]
    assert all(len(line.get_xdata()) == 3 for line in arrows), "the three classes of one model"
    assert figure_of(axes).legends[0].get_texts()[-1].get_text() == "interval goes on"


@pytest.mark.parametrize("name", ["$x^2$", "x" * 200, "_hidden", "é 猫"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing from")
def test_the_figure_can_be_drawn_with_one_seed_many_models_and_any_names(name):
    world = World((name, "b", "c"), 10)
    every = [study_of(f"{name}{number}", RECALLS["cnn6"], [1], world=world) for number in range(9)]
    (axes,) = plot_model_dependence([model_dependence(every, "shuffle")])
    figure = figure_of(axes)
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == 9
    assert all(text[:3] == name[:3] for text in texts)
    assert "patterns not tested" in axes.get_title()
