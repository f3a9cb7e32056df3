"""Figures of many classes are no larger than those of few, show the most affected classes, and lose no image."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.separability import separability
from class_sensitivity.analysis.study import Study
from class_sensitivity.figures.axes import figure_of
from class_sensitivity.figures.curves import most_affected, plot_slopes
from class_sensitivity.figures.many_classes import MOST_CLASSES, ShownClasses, foremost, shown_number
from class_sensitivity.figures.matrices import plot_confusion, plot_relatives
from class_sensitivity.report import separation, tables
from class_sensitivity.report.separation import Separation
from class_sensitivity.report.tables import counts_table, directions_table, ranks_table, relative_table
from class_sensitivity.runs.condition import BASELINE


def names(num_classes: int) -> list[str]:
    return [f"class {c}" for c in range(num_classes)]


@given(num_classes=st.integers(2, 80), seed=st.integers(0, 2**32), number=st.integers(1, 3))
def test_the_sum_over_all_cells_and_the_cells_of_the_shown_classes_stay(num_classes, seed, number):
    rng = np.random.default_rng(seed)
    matrices = [rng.integers(-9, 10, (num_classes, num_classes)) for _ in range(number)]
    shown = ShownClasses.of(matrices)
    assert len(shown.names(names(num_classes))) == shown_number(num_classes)
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


def test_a_picture_of_many_classes_is_no_larger_than_one_of_thirty():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (2, 200, 200))
    marked = rng.random((200, 200)) > 0.5
    alone = plot_confusion(counts[0], names(200), "title")
    panels = plot_relatives([counts[1] - counts[0] * 1.0] * 3, [marked] * 3, ["one"] * 3, names(200))
    assert figure_of(alone).get_size_inches().max() <= 15
    assert figure_of(panels).get_size_inches().max() <= 2 * 15
    assert [len(axes.texts) for axes in (alone, *panels)] == [shown_number(200) ** 2] * 4


# A study of forty classes, the later ones of which suffer more


@pytest.fixture(scope="module")
def results() -> Results:
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(40), 12)
    preds = {}
    for seed in (1, 2):
        for condition, cost in ((BASELINE, 0.0), (noise(0.2), 0.4), (noise(0.3), 0.6), (reduction(0.2), 0.2)):
            wrong = rng.random(len(labels)) < 0.1 + cost * labels / 40
            preds[condition, seed] = np.where(wrong, (labels + rng.choice([1, 2, 5], len(labels))) % 40, labels)
    return analyse(Study.of_preds(labels, preds, names(40), recipe="many"), resamples=100)


def test_the_classes_that_fall_most_are_shown_the_most_sensitive_on_top(results):
    loss = next(iter(results.curves.values())).loss.value
    fallen = np.argsort(-loss, kind="stable")[: shown_number(40)]
    assert most_affected(results.curves) == sorted(fallen)
    panels = plot_slopes(results.curves, names(40))
    rows = [label.get_text() for label in panels[0].get_yticklabels()]
    assert rows[-1] == f"class {fallen[0]}"
    assert set(rows) == {f"class {c}" for c in fallen}


def without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tables, separation):
        monkeypatch.setattr(module, "MOST_WHOLE", 40)


def kept_and_left_out(few: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """The rows that are left out; the others are as they would be without."""
    keys = [name for name in whole if not pd.api.types.is_float_dtype(whole[name]) and name not in ("count", "marked")]
    assert 0 < len(few) < len(whole)
    kept = whole.set_index(keys).index.isin(few.set_index(keys).index)
    pd.testing.assert_frame_equal(few.reset_index(drop=True), whole[kept].reset_index(drop=True))
    return whole[~kept]


def test_tables_of_many_classes_leave_out_nothing_but_zeros(results, monkeypatch):
    makers = (counts_table, relative_table, ranks_table, directions_table)
    found, bound = separability(results.study, alpha=0.05), tables.MOST_WHOLE
    few = [*(make(results) for make in makers), Separation(found, ()).table()]
    without_bound(monkeypatch)
    whole = [*(make(results) for make in makers), Separation(found, ()).table()]
    counts, relative, ranks, directions, pairs = map(kept_and_left_out, few, whole)
    assert not counts["count"].any()
    assert not relative[["mean", "difference"]].any(axis=None)
    assert not ranks["probability"][ranks["rank"] <= bound].any()
    assert few[2]["rank"].max() <= bound
    assert not directions["difference"].any()
    assert not directions["marked"].any()
    assert not pairs["look_alikeness"].any()
    assert few[0]["count"].sum() == results.study.num_runs * len(results.study.labels)
