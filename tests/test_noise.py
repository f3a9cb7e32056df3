"""Each kind of noise by its definition, what holds for all kinds, and the audit of what a noise did."""

import re
from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import confusion_matrix
from support.labels import BIG, FRACS, SEEDS, every_kind, images_of, labelled, names, ready_kind, stressed

from class_sensitivity.errors import ConfigError
from class_sensitivity.stress import (
    NOISE_KINDS,
    Examples,
    Noise,
    NoiseKind,
    audit,
    make_noise_kind,
    touched_positions,
)
from class_sensitivity.stress.noise import Pair, Shuffle, Symmetric, noise_kind


def applied(kind: NoiseKind, labels: np.ndarray, num_classes: int, seed: int = 0) -> np.ndarray:
    """The labels that a kind gives when every example is touched."""
    everything = np.concatenate([labels, np.arange(num_classes)])  # a data set has every class
    examples = Examples(np.arange(len(labels)), everything, names(num_classes), images_of(everything))
    return kind.apply(examples, np.random.default_rng(seed))


# All kinds


@every_kind
@given(data=labelled(least=0), seed=SEEDS)
def test_every_kind_gives_a_class_to_every_example_and_changes_nothing_else(kind, data, seed):
    labels, num_classes = data
    made = ready_kind(kind, (np.concatenate([labels, np.arange(num_classes)]), num_classes))
    given_labels = applied(made, labels, num_classes, seed)
    assert given_labels.shape == labels.shape
    assert given_labels.dtype == np.int64
    assert set(given_labels.tolist()) <= set(range(num_classes))
    np.testing.assert_array_equal(given_labels, applied(made, labels, num_classes, seed))


@every_kind
def test_every_kind_accepts_no_example(kind):
    assert applied(ready_kind(kind, (np.arange(3), 3)), np.zeros(0, np.int64), 3).shape == (0,)


@every_kind
def test_every_kind_has_a_default_for_each_setting_and_is_found_by_its_name(kind):
    default = make_noise_kind(kind, {})
    assert type(default) is NOISE_KINDS[kind]
    assert default.name == kind
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", kind), "it is part of a path"
    assert default.identity() == {}, "a setting at its default makes no other run"
    assert {setting.name for setting in fields(default)}.isdisjoint({"kind", "frac", "classes"})


def test_settings_of_other_kinds_do_not_reach_a_kind():
    settings = {"partner": {"cat": "dog"}, "strength": 3}
    assert make_noise_kind("shuffle", settings) == Shuffle()
    assert make_noise_kind("pair", settings) == Pair(partner={"cat": "dog"})


def test_a_kind_cannot_be_defined_twice_and_an_unknown_one_is_refused():
    known = dict(NOISE_KINDS)
    with pytest.raises(ValueError, match="shuffle"):

        @noise_kind
        @dataclass(frozen=True)
        class Again(Shuffle):
            pass

    assert known == NOISE_KINDS
    with pytest.raises(ConfigError, match="noise.kind=shufle.*" + ", ".join(NOISE_KINDS)):
        make_noise_kind("shufle", {})


@pytest.mark.parametrize("frac", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_of_noise_outside_0_to_1_is_refused(frac):
    with pytest.raises(ConfigError, match=r"noise\.frac=.* a share from 0 to 1"):
        Noise(frac=frac).check()
    with pytest.raises(ValueError, match="frac"):
        touched_positions(np.zeros(5, np.int64), np.arange(5), frac)


def test_a_class_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"noise\.classes=dog .*ant, bee"):
        Noise(classes=["ant", "dog"]).check_classes(("ant", "bee"))
    Noise(classes=["bee", "ant"]).check_classes(("ant", "bee"))


@pytest.mark.parametrize(
    ("partner", "message"),
    [
        ({"dog": "ant"}, r"noise\.partner=dog .*ant, bee"),
        ({"ant": "dog"}, r"noise\.partner=dog .*ant, bee"),
        ({"ant": "ant"}, r"noise\.partner turns ant into itself"),
    ],
)
def test_a_partner_that_cannot_be_is_refused(partner, message):
    with pytest.raises(ConfigError, match=message):
        Noise(Pair(partner=partner)).check_classes(("ant", "bee"))


# Each kind by its definition


@given(data=labelled(least=30), frac=FRACS, reduction=st.floats(0, 0.5), seed=SEEDS)
def test_shuffle_keeps_every_class_total(data, frac, reduction, seed):
    train_set = stressed(data, "shuffle", seed, noise_frac=frac, reduction_frac=reduction)
    clean = data[0][train_set.indices]
    np.testing.assert_array_equal(np.bincount(train_set.labels, minlength=12), np.bincount(clean, minlength=12))


def test_shuffle_is_uniform_over_permutations():
    # Six equally likely orders of three different labels.
    seen = Counter(tuple(applied(Shuffle(), np.arange(3), 3, seed).tolist()) for seed in range(3000))
    assert len(seen) == 6
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_symmetric_never_gives_the_own_class_again(data, frac, seed):
    # One tool of the literature redraws the own class too, so that 20 % of noise becomes 18 %.
    train_set = stressed(data, "symmetric", seed, noise_frac=frac)
    changed = train_set.labels != data[0][train_set.indices]
    np.testing.assert_array_equal(changed, train_set.touched)
    assert train_set.audit.effective == train_set.audit.nominal


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_symmetric_uses_all_other_classes_alike(num_classes):
    labels = np.repeat(np.arange(num_classes), 3000)
    counts = confusion_matrix(labels, applied(Symmetric(), labels, num_classes))
    wrong = counts[~np.eye(num_classes, dtype=bool)]
    assert wrong.sum() == len(labels)
    assert stats.chisquare(wrong).pvalue > 1e-3


@given(data=labelled(), frac=FRACS, seed=SEEDS, choice=st.data())
def test_pair_turns_a_class_into_its_partner(data, frac, seed, choice):
    labels, num_classes = data
    becomes = [
        choice.draw(st.sampled_from([other for other in range(num_classes) if other != number]))
        for number in range(num_classes)
    ]
    known = names(num_classes)
    partner = {known[number]: known[other] for number, other in enumerate(becomes)}
    train_set = stressed(data, "pair", seed, noise_frac=frac, partner=partner)
    for index, given_label, is_touched in zip(train_set.indices, train_set.labels, train_set.touched, strict=True):
        assert given_label == (becomes[labels[index]] if is_touched else labels[index])


def test_pair_without_partners_is_the_next_class_and_the_last_one_the_first():
    assert applied(Pair(), np.array([0, 1, 2, 2]), 3).tolist() == [1, 2, 0, 0]


def test_a_class_without_a_partner_still_becomes_the_next_one():
    partner = {"class 0": "class 2"}
    assert applied(Pair(partner=partner), np.array([0, 1, 2]), 3).tolist() == [2, 2, 0]


# Which examples are touched


def test_touched_positions_come_in_the_order_of_selection():
    # That two levels of noise are nested needs the order, not the set alone.
    kept = np.array([5, 2, 4, 0])
    assert touched_positions(np.zeros(6, np.int64), kept, 0.5).tolist() == [5, 2]
    assert touched_positions(np.array([0, 0, 1, 0, 1, 1]), kept, 1.0, classes=[1]).tolist() == [5, 2, 4]


# The audit


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_the_audit_counts_what_a_plain_loop_counts(kind, data, frac, seed):
    labels, num_classes = data
    train_set = stressed(data, kind, seed, noise_frac=frac)
    seen = train_set.audit
    clean, given_labels, touched = labels[train_set.indices], train_set.labels, train_set.touched
    wrong, touched_per_class = 0, [0] * num_classes
    for c, g, t in zip(clean.tolist(), given_labels.tolist(), touched.tolist(), strict=True):
        wrong += c != g
        touched_per_class[c] += t
    assert seen.nominal == pytest.approx(sum(touched_per_class) / len(clean), abs=1e-15)
    assert seen.effective == pytest.approx(wrong / len(clean), abs=1e-15)
    assert seen.touched_per_class.tolist() == touched_per_class
    np.testing.assert_array_equal(seen.counts, confusion_matrix(clean, given_labels, labels=range(num_classes)))


@given(data=labelled(least=0), seed=SEEDS)
def test_rows_of_the_noise_matrix_are_shares_of_the_clean_class(data, seed):
    labels, num_classes = data
    seen = audit(labels, applied(Symmetric(), labels, num_classes, seed), np.ones(len(labels), bool), num_classes)
    present = np.bincount(labels, minlength=num_classes) > 0
    np.testing.assert_allclose(seen.noise_matrix[present].sum(axis=1), 1)
    assert np.isnan(seen.noise_matrix[~present]).all()


def test_the_audit_by_hand():
    clean, given_labels = np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 0, 1])
    touched = np.array([True, True, True, False, False])  # one touched example kept its label
    seen = audit(clean, given_labels, touched, 3)
    assert (seen.nominal, seen.effective) == (0.6, 0.4)
    assert seen.counts.tolist() == [[2, 2, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(seen.noise_matrix, [[0.5, 0.5, 0], [0, 1, 0], [np.nan] * 3])
    assert seen.touched_per_class.tolist() == [3, 0, 0]


# Draws


@every_kind
def test_each_selection_seed_touches_other_examples(kind):
    # One tool of the literature froze its noise with a hard-coded seed.
    touched = [
        set(np.flatnonzero(stressed(BIG, kind, noise_frac=0.2, seeds={"selection": seed}).touched).tolist())
        for seed in range(5)
    ]
    for i, one in enumerate(touched):
        for other in touched[:i]:
            assert len(one & other) == pytest.approx(0.2 * len(one), abs=60)  # what chance gives, 5 sd


@every_kind
def test_the_label_seed_decides_labels_and_never_examples(kind):
    sets = [stressed(BIG, kind, noise_frac=0.2, seeds={"labels": seed}) for seed in range(5)]
    # A kind that draws nothing gives the same labels whatever the seed; any other must vary with it.
    draws = kind not in ("pair", "human", "neighbour")
    for other in sets[1:]:
        np.testing.assert_array_equal(other.touched, sets[0].touched)
        np.testing.assert_array_equal(other.indices, sets[0].indices)
        assert np.array_equal(other.labels, sets[0].labels) != draws
