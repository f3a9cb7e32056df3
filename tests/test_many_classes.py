"""Figures of many classes are no larger than those of thirty, show the most affected classes, and lose no image."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from class_sensitivity.figures.axes import figure_of
from class_sensitivity.figures.many_classes import MOST_CLASSES, ShownClasses, foremost
from class_sensitivity.figures.matrices import plot_confusion, plot_levels


def names(num_classes: int) -> list[str]:
    return [f"class {c}" for c in range(num_classes)]


@given(num_classes=st.integers(2, 80), seed=st.integers(0, 2**32), number=st.integers(1, 3))
def test_the_sum_over_all_cells_and_the_cells_of_the_shown_classes_stay(num_classes, seed, number):
    rng = np.random.default_rng(seed)
    matrices = [rng.integers(-9, 10, (num_classes, num_classes)) for _ in range(number)]
    shown = ShownClasses.of(matrices)
    assert len(shown.names(names(num_classes))) == min(num_classes, MOST_CLASSES)
    for matrix in matrices:
        drawn = shown.matrix(matrix)
        assert drawn.sum() == matrix.sum()
        inner = drawn if num_classes <= MOST_CLASSES else drawn[:-1, :-1]
        np.testing.assert_array_equal(inner, matrix[np.ix_(shown.kept, shown.kept)])
        # Rows add up: what is not shown by name is among the others.
        np.testing.assert_array_equal(drawn.sum(axis=1)[: len(shown.kept)], matrix.sum(axis=1)[shown.kept])


@given(st.integers(31, 80), st.integers(0, 2**32))
def test_no_class_that_is_left_out_is_more_affected_than_one_that_is_shown(num_classes, seed):
    matrix = np.random.default_rng(seed).normal(size=(num_classes, num_classes))
    shown = ShownClasses.of([matrix])
    weight = np.abs(matrix).sum(axis=0) + np.abs(matrix).sum(axis=1)
    left_out = np.setdiff1d(np.arange(num_classes), shown.kept)
    assert weight[left_out].max() <= weight[shown.kept].min()
    assert all(one < other for one, other in pairwise(shown.kept))


def test_up_to_thirty_classes_nothing_is_left_out():
    matrix = np.random.default_rng(0).integers(0, 9, (MOST_CLASSES, MOST_CLASSES))
    shown = ShownClasses.of([matrix])
    assert shown.matrix(matrix) is matrix
    assert shown.names(names(MOST_CLASSES)) == names(MOST_CLASSES)
    assert foremost(range(MOST_CLASSES)) == list(range(MOST_CLASSES))


def test_a_frame_of_a_shown_cell_stays_and_the_others_have_none():
    matrix = np.zeros((50, 50))
    matrix[40, 7] = 9
    marked = matrix > 0
    marked[1, 2] = True  # of classes that nothing happened to
    shown = ShownClasses.of([matrix])
    frames = shown.cells(marked, others=False)
    assert frames[shown.kept.tolist().index(40), shown.kept.tolist().index(7)]
    assert not frames[-1].any()


def test_a_picture_of_many_classes_is_as_large_as_one_of_thirty():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (2, 200, 200))
    marked = rng.random((200, 200)) > 0.5
    alone = plot_confusion(counts[0], names(200), "title")
    panels = plot_levels([counts], [counts[1] - counts[0] * 1.0], [marked], ["one"], names(200), limit=3)
    assert figure_of(alone).get_size_inches().max() <= 15
    assert figure_of(panels).get_size_inches().max() <= 2 * 15 + 1.5
    assert [len(axes.texts) for axes in (alone, *panels[0])] == [MOST_CLASSES**2] * 3
