"""Confusion counts and what follows from them, against scikit-learn, plain loops and worked examples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from class_sensitivity.confusion import (
    accuracy,
    asymmetry,
    confusion_counts,
    most_confused,
    normalise,
    recall,
)


@st.composite
def predictions(draw, min_size: int = 0):
    """(target, preds, K) of any length, also with classes that never occur."""
    num_classes = draw(st.integers(2, 6))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, num_classes - 1)] * 2), min_size=min_size, max_size=60))
    target, preds = np.array(pairs, np.int64).reshape(-1, 2).T
    return target, preds, num_classes


def matrices(k: int = 4, seeds: int | None = None, high: int = 1000):
    shape = (k, k) if seeds is None else (seeds, k, k)
    return arrays(np.int64, shape, elements=st.integers(0, high))


# Counting


@given(predictions())
def test_counts_are_scikit_learns_with_rows_as_the_truth(case):
    target, preds, num_classes = case
    counts = confusion_counts(target, preds, num_classes)
    assert counts.dtype == np.int64
    assert counts.shape == (num_classes, num_classes)
    if len(target):
        np.testing.assert_array_equal(counts, metrics.confusion_matrix(target, preds, labels=range(num_classes)))
    else:
        assert counts.sum() == 0


def test_rows_are_the_truth_and_columns_the_prediction():
    # Three cats taken for dogs, one dog taken for a cat.
    counts = confusion_counts(np.array([0, 0, 0, 1]), np.array([1, 1, 1, 0]), 2)
    assert counts.tolist() == [[0, 3], [1, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_labels_of_a_small_type_do_not_overflow(dtype):
    labels = np.array([99, 98], dtype)
    counts = confusion_counts(labels, labels[::-1], 100)
    assert counts[99, 98] == 1
    assert counts[98, 99] == 1
    assert counts.sum() == 2


@pytest.mark.parametrize(
    ("target", "preds", "message"),
    [
        ([0, 1], [0], "equally long"),
        ([[0], [1]], [[0], [1]], "equally long"),
        ([0, 3], [0, 0], "target must"),
        ([0, 0], [0, 3], "preds must"),
        ([0, -1], [0, 0], "target must"),
        ([0, 0], [-1, 0], "preds must"),
    ],
)
def test_what_cannot_be_counted_is_refused(target, preds, message):
    with pytest.raises(ValueError, match=message):
        confusion_counts(np.array(target), np.array(preds), 3)


# Shares


@given(matrices())
def test_normalise_divides_each_row_by_its_sum(counts):
    shares = normalise(counts)
    for i, row in enumerate(counts.tolist()):
        for j, count in enumerate(row):
            if sum(row):
                assert shares[i, j] == count / sum(row)
            else:
                assert math.isnan(shares[i, j])


@given(predictions(min_size=1))
def test_recall_and_accuracy_are_scikit_learns(case):
    target, preds, num_classes = case
    counts = confusion_counts(target, preds, num_classes)
    expected = metrics.recall_score(target, preds, labels=range(num_classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose(recall(counts), expected, rtol=1e-15)
    assert float(accuracy(counts)) == pytest.approx(metrics.accuracy_score(target, preds), rel=1e-15)


def test_a_class_without_examples_has_no_recall_instead_of_0():
    counts = np.array([[2, 2], [0, 0]])
    np.testing.assert_array_equal(recall(counts), [0.5, np.nan])
    np.testing.assert_array_equal(normalise(counts)[1], [np.nan, np.nan])


def test_accuracy_without_examples_is_nan():
    assert math.isnan(accuracy(np.zeros((3, 3), np.int64)))


@given(matrices(k=3, seeds=4))
def test_a_stack_of_matrices_gives_what_each_gives_alone(stack):
    np.testing.assert_array_equal(normalise(stack), np.stack([normalise(m) for m in stack]))
    np.testing.assert_array_equal(recall(stack), np.stack([recall(m) for m in stack]))
    np.testing.assert_array_equal(accuracy(stack), np.array([accuracy(m) for m in stack]))


@given(matrices())
def test_counting_is_not_changed_by_what_reads_the_counts(counts):
    before = counts.copy()
    normalise(counts), recall(counts), accuracy(counts), asymmetry(counts), most_confused(counts)
    np.testing.assert_array_equal(counts, before)


# Direction


@given(matrices())
def test_asymmetry_is_a_share_and_blind_to_direction_and_diagonal(counts):
    value = asymmetry(counts)
    off_diagonal = counts.sum() - np.trace(counts)
    assert math.isnan(value) if off_diagonal == 0 else 0 <= value <= 1
    np.testing.assert_equal(asymmetry(counts.T), value)
    np.testing.assert_equal(asymmetry(counts + np.diag([7, 0, 3, 9])), value)


@given(matrices())
def test_confusion_both_ways_alike_has_no_direction(counts):
    both_ways = counts + counts.T + 1
    assert asymmetry(both_ways) == 0


@given(matrices())
def test_confusion_one_way_only_is_all_direction(counts):
    assert asymmetry(np.triu(counts, k=1) + np.triu(np.ones((4, 4), np.int64), k=1)) == 1


def test_asymmetry_by_hand():
    # Pairs (0,1): 6 and 2, (0,2): 0 and 4, (1,2): 1 and 1; so (4 + 4 + 0) / (8 + 4 + 2).
    counts = np.array([[90, 6, 0], [2, 80, 1], [4, 1, 70]])
    assert asymmetry(counts) == pytest.approx(8 / 14)


@given(matrices(high=5), st.integers(0, 20))
def test_most_confused_is_what_sorting_all_pairs_gives(counts, k):
    pairs = [(i, j, float(counts[i, j])) for i in range(4) for j in range(4) if i != j]
    assert most_confused(counts, k) == sorted(pairs, key=lambda cell: -cell[2])[:k]
