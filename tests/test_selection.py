"""The order from which examples are taken, stratified or not, and the part of it that a reduction leaves."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.labels import FRACS, SEEDS, every_kind, labelled, stratified_or_not, stressed

from class_sensitivity.errors import ConfigError
from class_sensitivity.stress import Reduction, keep_after_reduction, selection_order


@stratified_or_not
@given(data=labelled(least=0), seed=SEEDS)
def test_the_order_of_selection_holds_every_example_once(stratified, data, seed):
    order = selection_order(data[0], np.random.default_rng(seed), stratified=stratified)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(data[0])))


def test_an_order_that_is_not_stratified_is_any_permutation_alike():
    seen = Counter(
        tuple(selection_order(np.zeros(3, np.int64), np.random.default_rng(s)).tolist()) for s in range(3000)
    )
    assert len(seen) == 6
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def off_from_proportional(labels: np.ndarray, num_classes: int, seed: int) -> np.ndarray:
    """By how many examples the head of any length differs at most from its share of each class."""
    order = selection_order(labels, np.random.default_rng(seed), stratified=True)
    one_hot = np.eye(num_classes, dtype=np.int64)[labels]
    in_head = one_hot[order].cumsum(axis=0)  # [h - 1, c]: examples of class c among the first h
    proportional = np.arange(1, len(labels) + 1)[:, None] * one_hot.sum(axis=0) / len(labels)
    return np.abs(in_head - proportional).max(axis=0)


@given(data=labelled(least=0), seed=SEEDS)
def test_every_head_of_a_stratified_order_holds_each_class_in_proportion(data, seed):
    labels, num_classes = data
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    assert (off_from_proportional(labels, num_classes, seed) <= 1 / 2 + num_classes * share / 2 + 1e-9).all()


@pytest.mark.parametrize("sizes", [[50, 50], [5000] * 10, [1] * 8, [119, 121, 118, 122, 121, 121, 121, 119, 116, 120]])
def test_heads_are_proportional_to_within_one_example_where_classes_are_balanced(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    assert off_from_proportional(labels, len(sizes), seed=0).max() <= 1


def test_a_stratified_order_is_still_drawn_by_chance():
    # Each of the two classes gives each of its examples the first place equally often.
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = Counter(
        int(selection_order(labels, np.random.default_rng(seed), stratified=True)[0]) for seed in range(3000)
    )
    assert len(first) == 6
    assert stats.chisquare(list(first.values())).pvalue > 1e-3


@every_kind
@given(labels=st.permutations([0, 1, 2, 3] * 15), frac=FRACS, seed=SEEDS)
def test_stratified_noise_touches_every_class_alike(kind, labels, frac, seed):
    touched = stressed((np.array(labels), 4), kind, seed, noise_frac=frac, stratified=True).audit.touched_per_class
    assert max(touched) - min(touched) <= 1


# Reduction


@stratified_or_not
@given(data=labelled(least=0), fracs=st.tuples(FRACS, FRACS), seed=SEEDS)
def test_more_reduction_removes_what_less_reduction_removes_and_more(stratified, data, fracs, seed):
    labels, _ = data
    order = selection_order(labels, np.random.default_rng(seed), stratified=stratified)
    less, more = (keep_after_reduction(order, frac) for frac in sorted(fracs))
    assert set(more.tolist()) <= set(less.tolist())


@given(data=labelled(least=0), frac=FRACS, seed=SEEDS)
def test_a_reduction_keeps_the_tail_of_the_order_by_the_rounded_count(data, frac, seed):
    order = selection_order(data[0], np.random.default_rng(seed))
    kept = keep_after_reduction(order, frac)
    assert len(kept) == len(order) - round(frac * len(order))
    np.testing.assert_array_equal(kept, order[len(order) - len(kept) :])


@pytest.mark.parametrize("frac", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_of_reduction_outside_0_to_1_is_refused(frac):
    with pytest.raises(ConfigError, match=r"reduction\.frac=.*not including 1"):
        Reduction(frac).check()
    with pytest.raises(ValueError, match="frac"):
        keep_after_reduction(np.arange(5), frac)


def test_a_setting_cannot_remove_everything():
    with pytest.raises(ConfigError, match=r"reduction\.frac=1\.0 .*not including 1"):
        Reduction(1.0).check()
