"""Label noise and data reduction: what holds for every kind, seed, share, size and balance of classes."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import confusion_matrix

from class_sensitivity.stress import (
    NOISE_KINDS,
    apply_noise,
    audit,
    keep_after_reduction,
    selection_order,
    stressed_train_set,
    touched_positions,
)
from class_sensitivity.stress.noise import noise_kind

KINDS = sorted(NOISE_KINDS)

#: Kinds that draw nothing: their labels follow from the clean ones. Any other kind must vary with the seed.
DETERMINISTIC = {"pair"}

every_kind = pytest.mark.parametrize("kind", KINDS)
stratified_or_not = pytest.mark.parametrize("stratified", [False, True])

FRACS = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.floats(0, 1))
SEEDS = st.integers(0, 2**32)


@st.composite
def labelled(draw, min_size: int = 1, max_size: int = 300) -> tuple[np.ndarray, int]:
    """(labels, K) of any size and balance, also with classes that are rare or absent. Read-only."""
    num_classes = draw(st.integers(2, 12))
    # From absent over one in a thousand to equally common.
    shares = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.1, 1.0]), min_size=num_classes, max_size=num_classes)
    weights = np.array(draw(shares.filter(any)))
    n = draw(st.integers(min_size, max_size))
    labels = np.random.default_rng(draw(SEEDS)).choice(num_classes, size=n, p=weights / weights.sum()).astype(np.int64)
    labels.flags.writeable = False
    return labels, num_classes


def stressed(data: tuple[np.ndarray, int], kind: str = "shuffle", seed: int = 0, **settings: Any):
    labels, num_classes = data
    return stressed_train_set(
        labels, num_classes, noise_kind=kind, **({"selection_seed": seed, "labels_seed": seed} | settings)
    )


def touched_records(train_set) -> set[int]:
    return set(train_set.indices[train_set.touched].tolist())


def removed_records(train_set, n: int) -> set[int]:
    return set(range(n)) - set(train_set.indices.tolist())


# Noise of every kind


@every_kind
@stratified_or_not
@given(data=labelled(min_size=10), frac=FRACS, reduction=st.floats(0, 0.9), seed=SEEDS)
def test_exactly_the_rounded_share_of_the_kept_records_is_touched(kind, stratified, data, frac, reduction, seed):
    train_set = stressed(data, kind, seed, noise_frac=frac, reduction_frac=reduction, stratified=stratified)
    n = len(data[0])
    assert len(train_set.indices) == n - round(reduction * n)
    assert train_set.touched.sum() == round(frac * len(train_set.indices))


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_only_touched_records_carry_another_label(kind, data, frac, seed):
    train_set = stressed(data, kind, seed, noise_frac=frac)
    changed = train_set.labels != data[0][train_set.indices]
    assert not (changed & ~train_set.touched).any()
    assert set(train_set.labels.tolist()) <= set(range(data[1]))


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_the_same_seed_gives_the_same_training_set(kind, data, frac, seed):
    np.random.seed(1)  # noqa: NPY002 - whoever uses the global generator must not matter
    one = stressed(data, kind, seed, noise_frac=frac)
    np.random.seed(2)  # noqa: NPY002
    other = stressed(data, kind, seed, noise_frac=frac)
    for name in ("indices", "labels", "touched"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@every_kind
@stratified_or_not
@given(data=labelled(), fracs=st.tuples(FRACS, FRACS), reduction=st.sampled_from([0.0, 0.3]), seed=SEEDS)
def test_less_noise_touches_a_subset_of_what_more_noise_touches(kind, stratified, data, fracs, reduction, seed):
    less, more = (
        stressed(data, kind, seed, noise_frac=frac, reduction_frac=reduction, stratified=stratified)
        for frac in sorted(fracs)
    )
    assert touched_records(less) <= touched_records(more)


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_labels_handed_in_are_not_written_to(kind, data, frac, seed):
    labels = data[0].copy()
    given_labels = stressed((labels, data[1]), kind, seed, noise_frac=frac).labels
    np.testing.assert_array_equal(labels, data[0])
    # Nor is the result a view of them, through which a caller could write later.
    given_labels[:] = -1
    np.testing.assert_array_equal(labels, data[0])


@every_kind
@given(data=labelled(), seed=SEEDS)
def test_no_share_means_no_lie(kind, data, seed):
    train_set = stressed(data, kind, seed, noise_frac=0.0)
    np.testing.assert_array_equal(train_set.indices, np.arange(len(data[0])))
    np.testing.assert_array_equal(train_set.labels, data[0])
    assert not train_set.touched.any()
    assert train_set.audit.nominal == train_set.audit.effective == 0


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_a_touched_record_is_lied_about_once(kind, data, frac, seed):
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


BIG = (np.random.default_rng(0).integers(0, 10, size=3000), 10)


@every_kind
def test_each_selection_seed_touches_other_records(kind):
    # One tool of the literature froze its noise with a hard-coded seed.
    touched = [
        touched_records(stressed(BIG, kind, noise_frac=0.2, selection_seed=seed, labels_seed=0)) for seed in range(5)
    ]
    for i, one in enumerate(touched):
        for other in touched[:i]:
            assert len(one & other) == pytest.approx(0.2 * len(one), abs=60)  # what chance gives, 5 sd


@every_kind
def test_the_label_seed_decides_labels_and_never_records(kind):
    runs = [stressed(BIG, kind, noise_frac=0.2, selection_seed=0, labels_seed=seed) for seed in range(5)]
    for other in runs[1:]:
        np.testing.assert_array_equal(other.touched, runs[0].touched)
        np.testing.assert_array_equal(other.indices, runs[0].indices)
        assert np.array_equal(other.labels, runs[0].labels) == (kind in DETERMINISTIC)


@every_kind
@given(data=labelled(), frac=FRACS, seed=SEEDS, choice=st.data())
def test_chosen_classes_alone_are_lied_about_and_by_the_exact_count(kind, data, frac, seed, choice):
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
def test_a_share_outside_0_to_1_is_refused(kind, frac):
    with pytest.raises(ValueError, match="frac"):
        stressed(BIG, kind, noise_frac=frac)
    with pytest.raises(ValueError, match="frac"):
        stressed(BIG, kind, reduction_frac=frac)


# Each kind by its definition


@given(data=labelled(min_size=2), frac=FRACS, reduction=st.floats(0, 0.5), seed=SEEDS)
def test_shuffle_keeps_every_class_total(data, frac, reduction, seed):
    train_set = stressed(data, "shuffle", seed, noise_frac=frac, reduction_frac=reduction)
    clean = data[0][train_set.indices]
    np.testing.assert_array_equal(np.bincount(train_set.labels, minlength=12), np.bincount(clean, minlength=12))


def test_shuffle_is_uniform_over_permutations():
    # Six equally likely orders of three distinct labels.
    labels = np.arange(3)
    seen = Counter(
        tuple(apply_noise(labels, labels, "shuffle", 3, np.random.default_rng(seed)).tolist()) for seed in range(3000)
    )
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
    given_labels = apply_noise(labels, np.arange(len(labels)), "symmetric", num_classes, np.random.default_rng(0))
    counts = confusion_matrix(labels, given_labels)
    lies = counts[~np.eye(num_classes, dtype=bool)]
    assert lies.sum() == len(labels)
    assert stats.chisquare(lies).pvalue > 1e-3


@given(data=labelled(), frac=FRACS, seed=SEEDS, choice=st.data())
def test_pair_turns_a_class_into_its_partner(data, frac, seed, choice):
    labels, num_classes = data
    partner = choice.draw(st.lists(st.integers(0, num_classes - 1), min_size=num_classes, max_size=num_classes))
    train_set = stressed(data, "pair", seed, noise_frac=frac, noise_partner=partner)
    for index, given_label, is_touched in zip(train_set.indices, train_set.labels, train_set.touched, strict=True):
        assert given_label == (partner[labels[index]] if is_touched else labels[index])


def test_pair_without_partners_is_the_next_class_and_the_last_one_the_first():
    labels = np.array([0, 1, 2, 2])
    given_labels = apply_noise(labels, np.arange(4), "pair", 3, np.random.default_rng(0))
    assert given_labels.tolist() == [1, 2, 0, 0]


def test_a_kind_cannot_be_defined_twice_and_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="shuffle"):
        noise_kind("shuffle")(lambda clean, partner, rng: clean)
    with pytest.raises(KeyError, match="shufle"):
        apply_noise(np.array([0, 1]), np.array([0]), "shufle", 2, np.random.default_rng(0))


@pytest.mark.parametrize(("n", "frac", "count"), [(10, 0.19, 2), (10, 0.01, 0), (1000, 0.0996, 100), (3, 0.9, 3)])
def test_counts_are_rounded_and_not_floored(n, frac, count):
    # One tool of the literature floors.
    labels = np.arange(n) % 3
    assert stressed((labels, 3), "pair", noise_frac=frac).touched.sum() == count
    if count < n:
        assert len(stressed((labels, 3), reduction_frac=frac).indices) == n - count


# Reduction


@stratified_or_not
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_exactly_the_rounded_share_is_removed_and_the_rest_is_clean(stratified, data, frac, seed):
    labels = data[0]
    if round(frac * len(labels)) == len(labels):
        with pytest.raises(ValueError, match="leaves none"):
            stressed(data, seed=seed, reduction_frac=frac, stratified=stratified)
        return
    train_set = stressed(data, seed=seed, reduction_frac=frac, stratified=stratified)
    assert len(train_set.indices) == len(labels) - round(frac * len(labels))
    assert (np.diff(train_set.indices) > 0).all()  # sorted, each once
    np.testing.assert_array_equal(train_set.labels, labels[train_set.indices])
    assert not train_set.touched.any()


@stratified_or_not
@given(data=labelled(), fracs=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)), seed=SEEDS)
def test_more_reduction_removes_what_less_reduction_removes_and_more(stratified, data, fracs, seed):
    labels, _ = data
    order = selection_order(labels, np.random.default_rng(seed), stratified=stratified)
    less, more = (keep_after_reduction(order, frac) for frac in sorted(fracs))
    assert set(more.tolist()) <= set(less.tolist())


@every_kind
@stratified_or_not
@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_reduction_removes_the_very_records_that_noise_lies_about(kind, stratified, data, frac, seed):
    n = len(data[0])
    assume(round(frac * n) < n)
    lied = stressed(data, kind, seed, noise_frac=frac, stratified=stratified)
    reduced = stressed(data, kind, seed, reduction_frac=frac, stratified=stratified)
    assert removed_records(reduced, n) == touched_records(lied)


@stratified_or_not
@given(data=labelled(min_size=10), reduction=st.floats(0, 0.9), frac=FRACS, seed=SEEDS)
def test_noise_takes_the_head_of_what_reduction_leaves(stratified, data, reduction, frac, seed):
    n = len(data[0])
    both = stressed(data, "symmetric", seed, reduction_frac=reduction, noise_frac=frac, stratified=stratified)
    removed, touched = removed_records(both, n), touched_records(both)
    assert not removed & touched
    if len(removed | touched) < n:
        further = stressed(data, seed=seed, reduction_frac=len(removed | touched) / n, stratified=stratified)
        assert removed_records(further, n) == removed | touched


@given(data=labelled(), seed=SEEDS)
def test_the_order_of_selection_holds_every_record_once(data, seed):
    for stratified in (False, True):
        order = selection_order(data[0], np.random.default_rng(seed), stratified=stratified)
        np.testing.assert_array_equal(np.sort(order), np.arange(len(data[0])))


def off_from_proportional(labels: np.ndarray, num_classes: int, seed: int) -> np.ndarray:
    """By how many records the head of any length differs at most from its share of each class."""
    order = selection_order(labels, np.random.default_rng(seed), stratified=True)
    one_hot = np.eye(num_classes, dtype=np.int64)[labels]
    in_head = one_hot[order].cumsum(axis=0)  # [h - 1, c]: records of class c among the first h
    proportional = np.arange(1, len(labels) + 1)[:, None] * one_hot.sum(axis=0) / len(labels)
    return np.abs(in_head - proportional).max(axis=0)


@given(data=labelled(), seed=SEEDS)
def test_every_head_of_a_stratified_order_holds_each_class_in_proportion(data, seed):
    labels, num_classes = data
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    assert (off_from_proportional(labels, num_classes, seed) <= 1 / 2 + num_classes * share / 2 + 1e-9).all()


@pytest.mark.parametrize("sizes", [[50, 50], [5000] * 10, [1] * 8, [119, 121, 118, 122, 121, 121, 121, 119, 116, 120]])
def test_heads_are_proportional_to_within_one_record_where_classes_are_balanced(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    assert off_from_proportional(labels, len(sizes), seed=0).max() <= 1


@every_kind
@given(labels=st.permutations([0, 1, 2, 3] * 15), frac=FRACS, seed=SEEDS)
def test_stratified_noise_touches_every_class_alike(kind, labels, frac, seed):
    touched = stressed((np.array(labels), 4), kind, seed, noise_frac=frac, stratified=True).audit.touched_per_class
    assert max(touched) - min(touched) <= 1


def test_a_stratified_order_is_still_drawn_by_chance():
    # Each of the two classes gives each of its records the first place equally often.
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = Counter(
        int(selection_order(labels, np.random.default_rng(seed), stratified=True)[0]) for seed in range(3000)
    )
    assert len(first) == 6
    assert stats.chisquare(list(first.values())).pvalue > 1e-3


def test_an_order_that_is_not_stratified_is_any_permutation_alike():
    seen = Counter(
        tuple(selection_order(np.zeros(3, np.int64), np.random.default_rng(s)).tolist()) for s in range(3000)
    )
    assert len(seen) == 6
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_touched_positions_come_in_the_order_of_selection():
    # Nestedness of two steps needs the order, not the set alone.
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


@given(data=labelled(min_size=5), frac=FRACS, seed=SEEDS)
def test_rows_of_the_noise_matrix_are_shares_of_the_clean_class(data, frac, seed):
    labels, num_classes = data
    seen = stressed(data, "symmetric", seed, noise_frac=frac).audit
    present = np.bincount(labels, minlength=num_classes) > 0
    np.testing.assert_allclose(seen.noise_matrix[present].sum(axis=1), 1)
    assert np.isnan(seen.noise_matrix[~present]).all()


def test_the_audit_by_hand():
    clean, given_labels = np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 0, 1])
    touched = np.array([True, True, True, False, False])  # one touched record kept its label
    seen = audit(clean, given_labels, touched, 3)
    assert (seen.nominal, seen.effective) == (0.6, 0.4)
    assert seen.counts.tolist() == [[2, 2, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(seen.noise_matrix, [[0.5, 0.5, 0], [0, 1, 0], [np.nan] * 3])
    assert seen.touched_per_class.tolist() == [3, 0, 0]


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
