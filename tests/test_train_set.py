"""The training set that a stress makes: what holds for every kind, seed, share, size and balance of classes."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.labels import (
    BIG,
    FRACS,
    SEEDS,
    every_kind,
    labelled,
    names,
    removed_examples,
    stratified_or_not,
    stressed,
    touched_examples,
)

from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.seeding import STREAMS, generator
from class_sensitivity.stress import (
    Noise,
    Reduction,
    Stress,
    TrainSet,
    keep_after_reduction,
    refuse_idle_noise,
    selection_order,
    stressed_train_set,
)
from class_sensitivity.stress.noise import Pair, Shuffle

#: Of what goes through the same code for every kind of noise.
few = settings(max_examples=25)

# Noise


@every_kind
@stratified_or_not
@few
@given(data=labelled(least=60), frac=FRACS, reduction=st.floats(0, 0.8), seed=SEEDS)
def test_exactly_the_rounded_share_of_the_kept_examples_is_touched(kind, stratified, data, frac, reduction, seed):
    train_set = stressed(data, kind, seed, noise_frac=frac, reduction_frac=reduction, stratified=stratified)
    n = len(data[0])
    assert len(train_set.indices) == n - round(reduction * n)
    assert train_set.touched.sum() == round(frac * len(train_set.indices))


@every_kind
@few
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_only_touched_examples_carry_another_label(kind, data, frac, seed):
    train_set = stressed(data, kind, seed, noise_frac=frac)
    changed = train_set.labels != data[0][train_set.indices]
    assert not (changed & ~train_set.touched).any()
    assert set(train_set.labels.tolist()) <= set(range(data[1]))


@every_kind
@few
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_the_same_seed_gives_the_same_training_set(kind, data, frac, seed):
    np.random.seed(1)  # noqa: NPY002 - whoever uses the global generator must not matter
    one = stressed(data, kind, seed, noise_frac=frac)
    np.random.seed(2)  # noqa: NPY002
    other = stressed(data, kind, seed, noise_frac=frac)
    for name in ("indices", "labels", "touched", "held_out"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@every_kind
@stratified_or_not
@few
@given(data=labelled(least=30), fracs=st.tuples(FRACS, FRACS), reduction=st.sampled_from([0.0, 0.3]), seed=SEEDS)
def test_less_noise_touches_a_subset_of_what_more_noise_touches(kind, stratified, data, fracs, reduction, seed):
    less, more = (
        stressed(data, kind, seed, noise_frac=frac, reduction_frac=reduction, stratified=stratified)
        for frac in sorted(fracs)
    )
    assert touched_examples(less) <= touched_examples(more)


@every_kind
@few
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_labels_handed_in_are_not_written_to(kind, data, frac, seed):
    labels = data[0].copy()
    given_labels = stressed((labels, data[1]), kind, seed, noise_frac=frac).labels
    np.testing.assert_array_equal(labels, data[0])
    # Nor is the result a view of them, through which a caller could write later.
    given_labels[:] = -1
    np.testing.assert_array_equal(labels, data[0])


@every_kind
@few
@given(data=labelled(), seed=SEEDS)
def test_no_share_means_no_noise(kind, data, seed):
    train_set = stressed(data, kind, seed, noise_frac=0.0)
    np.testing.assert_array_equal(train_set.indices, np.arange(len(data[0])))
    np.testing.assert_array_equal(train_set.labels, data[0])
    assert not train_set.touched.any()
    assert train_set.audit.nominal == train_set.audit.effective == 0


@every_kind
@few
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_noise_is_applied_to_a_touched_example_once(kind, data, frac, seed):
    # The given labels are one application of the kind to the clean ones, not a second on top of it.
    train_set = stressed(data, kind, seed, noise_frac=frac)
    clean = data[0][train_set.indices[train_set.touched]]
    after = train_set.labels[train_set.touched]
    if kind == "shuffle":
        assert Counter(after.tolist()) == Counter(clean.tolist())
    elif kind == "pair":
        np.testing.assert_array_equal(after, (clean + 1) % data[1])
    elif kind == "symmetric":
        assert (after != clean).all()
    else:
        assert train_set.audit.effective <= train_set.audit.nominal


@every_kind
@few
@given(data=labelled(), frac=FRACS, seed=SEEDS, choice=st.data())
def test_chosen_classes_alone_are_touched_and_by_the_exact_count(kind, data, frac, seed, choice):
    labels, num_classes = data
    classes = choice.draw(st.lists(st.integers(0, num_classes - 1), min_size=1, unique=True))
    train_set = stressed(data, kind, seed, noise_frac=frac, noise_classes=classes)
    assert set(labels[train_set.indices[train_set.touched]].tolist()) <= set(classes)
    assert train_set.touched.sum() == round(frac * np.isin(labels, classes).sum())


@every_kind
def test_all_classes_chosen_is_no_choice(kind):
    chosen = stressed(BIG, kind, noise_frac=0.3, noise_classes=range(10))
    np.testing.assert_array_equal(chosen.labels, stressed(BIG, kind, noise_frac=0.3).labels)


@every_kind
@pytest.mark.parametrize("frac", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_outside_0_to_1_makes_no_training_set(kind, frac):
    with pytest.raises(ValueError, match="frac"):
        stressed(BIG, kind, noise_frac=frac)
    with pytest.raises(ValueError, match="frac"):
        stressed(BIG, kind, reduction_frac=frac)
    for stress in (Stress(Noise(frac=frac)), Stress(reduction=Reduction(frac))):
        with pytest.raises(ConfigError, match="frac"):
            stress.check()


@pytest.mark.parametrize(("n", "frac", "count"), [(10, 0.19, 2), (10, 0.01, 0), (1000, 0.0996, 100), (6, 0.3, 2)])
def test_counts_are_rounded_and_not_floored(n, frac, count):
    # One tool of the literature floors.
    labels = np.arange(n) % 3
    assert stressed((labels, 3), "pair", noise_frac=frac).touched.sum() == count
    assert len(stressed((labels, 3), reduction_frac=frac).indices) == n - count


def test_partners_reach_the_labels_by_name():
    clean = np.arange(30) % 3
    stress = Stress(Noise(Pair(partner={"ant": "cow"}), 1.0))
    train_set = stressed_train_set(clean, ("ant", "bee", "cow"), stress, seeds=dict.fromkeys(STREAMS, 1))
    turned = np.array([2, 2, 0])  # ant -> cow as asked, bee -> cow and cow -> ant as the next class
    np.testing.assert_array_equal(train_set.labels, turned[clean])


# Reduction


@stratified_or_not
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_exactly_the_rounded_share_is_removed_and_the_rest_is_clean(stratified, data, frac, seed):
    labels, num_classes = data
    order = selection_order(labels, generator(seed, "selection"), stratified=stratified)
    left = set(labels[keep_after_reduction(order, frac)].tolist())
    if len(left) < num_classes:
        with pytest.raises(ConfigError, match=r"leaves no training example of (any class|class class \d+);") as refused:
            stressed(data, seed=seed, reduction_frac=frac, stratified=stratified)
        gone = set(names(num_classes)) - {names(num_classes)[label] for label in left}
        assert any(name in str(refused.value) for name in gone) or not left
        return
    train_set = stressed(data, seed=seed, reduction_frac=frac, stratified=stratified)
    assert len(train_set.indices) == len(labels) - round(frac * len(labels))
    assert (np.diff(train_set.indices) > 0).all()  # sorted, each once
    np.testing.assert_array_equal(train_set.labels, labels[train_set.indices])
    assert not train_set.touched.any()


@every_kind
@stratified_or_not
@few
@given(data=labelled(least=30), frac=st.one_of(st.sampled_from([0.0, 0.1, 0.5]), st.floats(0, 0.8)), seed=SEEDS)
def test_reduction_removes_the_very_examples_that_noise_touches(kind, stratified, data, frac, seed):
    n = len(data[0])
    noisy = stressed(data, kind, seed, noise_frac=frac, stratified=stratified)
    reduced = stressed(data, kind, seed, reduction_frac=frac, stratified=stratified)
    assert removed_examples(reduced, n) == touched_examples(noisy)


@stratified_or_not
@given(data=labelled(least=60), reduction=st.floats(0, 0.6), frac=st.floats(0, 0.4), seed=SEEDS)
def test_noise_takes_the_head_of_what_reduction_leaves(stratified, data, reduction, frac, seed):
    n = len(data[0])
    both = stressed(data, "symmetric", seed, reduction_frac=reduction, noise_frac=frac, stratified=stratified)
    removed, touched = removed_examples(both, n), touched_examples(both)
    assert not removed & touched
    further = stressed(data, seed=seed, reduction_frac=len(removed | touched) / n, stratified=stratified)
    assert removed_examples(further, n) == removed | touched


@given(data=labelled(least=30), frac=st.floats(0, 0.8), held_out=st.sampled_from([0.0, 0.2]), seed=SEEDS)
def test_matched_steps_visit_as_many_examples_as_without_reduction(data, frac, held_out, seed):
    chosen = {"seed": seed, "reduction_frac": frac, "validation_frac": held_out}
    assert stressed(data, **chosen).visits == len(stressed(data, **chosen).indices)
    whole = stressed(data, seed=seed, validation_frac=held_out)
    assert stressed(data, match_steps=True, **chosen).visits == whole.visits == len(whole.indices)
    masked = stressed(data, match_steps="masked", **chosen)
    assert (masked.visits, masked.paced_by) == (len(masked.indices), whole.visits)
    np.testing.assert_array_equal(masked.pool, whole.indices)


# Validation


@every_kind
@few
@given(data=labelled(least=60), held_out=st.floats(0, 0.5), frac=FRACS, seed=SEEDS)
def test_what_is_held_out_is_the_same_whatever_the_stress_and_is_never_trained_on(kind, data, held_out, frac, seed):
    n = len(data[0])
    plain = stressed(data, kind, seed, validation_frac=held_out)
    noisy = stressed(data, kind, seed, validation_frac=held_out, noise_frac=frac, reduction_frac=0.3)
    assert len(plain.held_out) == round(held_out * n)
    assert (np.diff(plain.held_out) > 0).all()
    np.testing.assert_array_equal(plain.held_out, noisy.held_out)
    assert set(plain.held_out.tolist()).isdisjoint(plain.indices.tolist())
    assert set(plain.held_out.tolist()) | set(plain.indices.tolist()) == set(range(n))
    assert set(noisy.indices.tolist()) <= set(plain.indices.tolist())


# Refused


SIZES = (300, 150, 50)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"reduction_frac": 0.997}, ["reduction.frac=0.997", "class "]),
        ({"reduction_frac": 0.9999}, ["reduction.frac=0.9999", "any class"]),
        # Nothing is reduced here: another setting is to blame.
        ({"validation_frac": 0.997}, ["training.validation_frac=0.997"]),
        (
            {"noise_frac": 0.1, "kind": "pair", "partner": {"dog": "class 0"}},
            ["noise.partner=dog", "class 0, class 1, class 2"],
        ),
        (
            {"noise_frac": 0.1, "kind": "pair", "partner": {"class 0": "class 0"}},
            ["noise.partner", "class 0", "itself"],
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_set_are_named(chosen, words):
    labels = np.repeat(np.arange(3), SIZES)
    with pytest.raises(ConfigError) as error:
        stressed((labels, 3), **chosen)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("labels", "chosen", "words"),
    [
        # Whatever the settings are: no setting makes examples.
        ([0, 0, 2, 2], {}, "The data set has no training example of class class 1"),
        ([0, 0, 2, 2], {"reduction_frac": 0.5}, "The data set has no training example of class class 1"),
        ([0, 0, 2, 2], {"validation_frac": 0.5}, "The data set has no training example of class class 1"),
        ([], {}, "The data set has no training example of any class"),
    ],
)
def test_a_class_without_training_examples_is_blamed_on_the_data(labels, chosen, words):
    with pytest.raises(DataError, match=words):
        stressed((np.array(labels, np.int64), 3), **chosen)


def test_what_is_held_out_is_blamed_before_reduction_is():
    labels = np.repeat(np.arange(3), SIZES)
    with pytest.raises(ConfigError, match=r"^training\.validation_frac=0\.999 is too high"):
        stressed((labels, 3), validation_frac=0.999, reduction_frac=0.1)


@pytest.mark.parametrize(
    ("setting", "kind", "classes"),
    [("noise.classes", Shuffle(), ["dog"]), ("noise.partner", Pair(partner={"dog": "ant"}), [])],
)
def test_a_class_that_does_not_exist_makes_no_noisy_training_set(setting, kind, classes):
    def make(frac: float) -> TrainSet:
        stress = Stress(Noise(kind, frac, classes))
        return stressed_train_set(np.arange(10) % 2, ("ant", "bee"), stress, seeds=dict.fromkeys(STREAMS, 1))

    with pytest.raises(ConfigError, match=rf"{setting}=dog .*ant, bee"):
        make(0.1)
    # The baseline is that of all runs, whatever else was asked for.
    np.testing.assert_array_equal(make(0).labels, np.arange(10) % 2)


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        (Noise(Shuffle(), 0.5, ["ant"]), "noise.frac=0.5 with noise.classes=['ant'] makes no label wrong: the noise"),
        (Noise(Pair(), 0.001), "noise.frac=0.001 makes no label wrong: the share touches none of the 40 examples"),
    ],
    ids=["one class", "no example"],
)
def test_noise_that_makes_no_label_wrong_is_refused_before_a_run_of_it(noise, says):
    labels = np.arange(40) % 3

    def refuse(noise: Noise) -> None:
        stress = Stress(noise)
        made = stressed_train_set(labels, ("ant", "bee", "cow"), stress, seeds=dict.fromkeys(STREAMS, 1))
        refuse_idle_noise(made, stress)

    with pytest.raises(ConfigError, match=re.escape(says)):
        refuse(noise)
    refuse(replace(noise, frac=0.0))
    refuse(replace(noise, frac=0.5, classes=[]))


# On the real labels


@pytest.mark.cifar10
@pytest.mark.parametrize(("frac", "percent"), [(0.1, 9.00), (0.2, 18.00), (0.3, 26.99)])
def test_the_effective_rate_of_shuffle_on_cifar10(cifar10, frac, percent):
    rates = [
        100 * stressed((cifar10.train_labels, 10), seed=seed, noise_frac=frac).audit.effective for seed in range(1, 6)
    ]
    assert rates == pytest.approx([percent] * 5, abs=0.3)
    assert np.mean(rates) == pytest.approx(percent, abs=0.1)


@pytest.mark.cifar10
def test_the_counts_of_the_study_on_cifar10(cifar10):
    data = (cifar10.train_labels, 10)
    assert stressed(data, noise_frac=0.1).touched.sum() == 5000
    assert len(stressed(data, reduction_frac=0.6).indices) == 20_000
    assert stressed(data, noise_frac=0.2, stratified=True).audit.touched_per_class.tolist() == [1000] * 10
