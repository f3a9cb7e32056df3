"""Relative matrices: differences of each seed, against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.plans import PLAN
from support.synthetic import THREE, World, shares

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.results import MIN_MEAN_COUNT, RelativeMatrix
from class_sensitivity.analysis.sensitivity import relative_matrix
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import most_confused
from class_sensitivity.runs.condition import BASELINE


def test_relative_matrices_are_the_mean_of_paired_differences(loaded, results, files):
    assert set(results.compared) == set(PLAN) - {BASELINE}
    for condition, versus in results.compared.items():
        matrix = versus.relative
        assert (matrix.condition, matrix.other, matrix.class_names) == (condition, BASELINE, THREE)
        seeds = [s for s in PLAN[BASELINE][1] if s in PLAN[condition][1]]
        assert list(matrix.seeds) == seeds
        counts, baseline = (np.array([files[c, s][0] for s in seeds]) for c in (condition, BASELINE))
        np.testing.assert_allclose(matrix.cells.value, (counts - baseline).mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(matrix.cells.per_seed, counts - baseline, atol=1e-9)
        np.testing.assert_allclose(matrix.cells.value.sum(axis=1), 0, atol=1e-9)
        for i in range(3):
            for j in range(3):
                mean = sum(each[i][j] for one in (counts, baseline) for each in one) / (2 * len(seeds))
                assert matrix.judged[i, j] == (mean >= 5)
        p = matrix.cells.p[matrix.judged]
        np.testing.assert_array_equal(matrix.marked[matrix.judged], statistics.benjamini_hochberg(p, 0.05))
        assert not matrix.marked[~matrix.judged].any()
        if len(seeds) == 1:
            assert not matrix.marked.any()
            assert np.isnan(matrix.cells.low).all()
    assert results.relative(noise_frac=0.3).marked[2, 2], "a fall from 70 to 40 % is seen"


def test_a_cell_with_few_images_is_not_judged_and_does_not_count(loaded):
    labels = np.repeat([0, 1, 2], 100)
    preds = {}
    for seed in range(5):
        baseline, stressed = labels.copy(), labels.copy()
        baseline[100:109] = 2  # nine images at the baseline and none under stress: 4.5 in the mean
        stressed[:30] = 1
        preds |= {(BASELINE, seed): baseline, (noise(0.2), seed): stressed}
    matrix = relative_matrix(Study.of_preds(labels, preds, THREE), noise(0.2))
    np.testing.assert_array_equal(matrix.judged, [[True, True, False], [False, True, False], [False, False, True]])
    np.testing.assert_array_equal(matrix.marked, [[True, True, False], [False, True, False], [False, False, False]])
    assert matrix.cells.p[1, 2] < 0.05, "it would be marked if it were judged"
    assert MIN_MEAN_COUNT == 5


@pytest.mark.parametrize("seeds", [2, 5])
def test_a_matrix_of_nearly_empty_cells_is_hardly_ever_marked_where_nothing_happened(seeds):
    wrong = np.where(np.arange(36).reshape(6, 6) % 7 == 1, 30.0, 1.0)  # one confusion a class, and else about one image
    studies, marked = 100, []
    for root in range(studies):
        world = World(tuple("abcdef"), 60, root=root)
        preds = {
            (c, s): world.predict(shares([0.85] * 6, wrong), c.name, s)
            for c in (BASELINE, noise(0.2))
            for s in range(seeds)
        }
        matrix = relative_matrix(Study.of_preds(world.labels, preds, tuple("abcdef")), noise(0.2))
        assert 0 < (~matrix.judged).sum() < 36
        marked.append(matrix.marked.any())
    assert np.mean(marked) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_a_relative_matrix_between_two_conditions(loaded, files):
    matrix = relative_matrix(loaded, noise(0.2), reduction(0.2))
    counts, other = (np.array([files[c, s][0] for s in (1, 2, 3, 4)]) for c in (noise(0.2), reduction(0.2)))
    np.testing.assert_allclose(matrix.cells.value, (counts - other).mean(axis=0), atol=1e-9)
    assert (matrix.condition, matrix.other) == (noise(0.2), reduction(0.2))


def in_memory(labels: np.ndarray, stressed: np.ndarray, baseline: np.ndarray, num_classes: int) -> Study:
    """A study of (S, n) predictions at 20 % noise and at the baseline."""
    preds = {(c, s): p for c, each in ((noise(0.2), stressed), (BASELINE, baseline)) for s, p in enumerate(each)}
    return Study.of_preds(labels, preds, tuple("abcdef"[:num_classes]))


@st.composite
def paired(draw: st.DrawFn) -> Study:
    """Predictions of a condition and its baseline on the same test set."""
    seeds, k = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    labels = np.repeat(np.arange(k), draw(st.integers(1, 9)))
    drawn = draw(arrays(np.int64, (2, seeds, len(labels)), elements=st.integers(0, k - 1)))
    return in_memory(labels, drawn[0], drawn[1], k)


@given(paired())
def test_a_relative_matrix_is_the_mean_of_the_differences_of_each_seed(study):
    counts, baseline = study.counts_of(noise(0.2)).tolist(), study.counts_of(BASELINE).tolist()
    change = relative_matrix(study, noise(0.2)).cells.value
    for i in range(study.num_classes):
        for j in range(study.num_classes):
            differences = [counts[s][i][j] - baseline[s][i][j] for s in range(len(counts))]
            assert change[i, j] == pytest.approx(sum(differences) / len(counts), abs=1e-12)


@given(paired())
def test_each_row_of_a_relative_matrix_sums_to_0(study):
    np.testing.assert_allclose(relative_matrix(study, noise(0.2)).cells.value.sum(axis=1), 0, atol=1e-9)


@given(paired())
def test_a_relative_matrix_turns_its_sign_when_the_two_conditions_change_places(study):
    one, other = relative_matrix(study, noise(0.2)), relative_matrix(study, BASELINE, noise(0.2))
    np.testing.assert_array_equal(one.cells.value, -other.cells.value)


def by_hand() -> RelativeMatrix:
    """[[-2.5, 2.5], [0, 0]]: of ten images a class, counted on fingers."""
    labels = np.repeat([0, 1], 10)

    def preds(first: int, second: int) -> np.ndarray:
        """So many of either class are taken for class 0."""
        return np.concatenate([np.arange(10) >= first, np.arange(10) >= second]).astype(int)

    stressed, baseline = np.array([preds(5, 2), preds(7, 0)]), np.array([preds(9, 1), preds(8, 1)])
    return relative_matrix(in_memory(labels, stressed, baseline, 2), noise(0.2))


def test_a_relative_matrix_by_hand():
    np.testing.assert_array_equal(by_hand().cells.value, [[-2.5, 2.5], [0.0, 0.0]])


def test_a_relative_matrix_is_a_labelled_table():
    frame = by_hand().to_pandas()
    assert (frame.index.name, frame.columns.name) == ("true", "predicted")
    assert frame.loc["a", "b"] == 2.5
    assert frame.loc["b"].tolist() == [0, 0]


def test_the_largest_changes_are_found_as_confusions_are():
    change = np.array([[-3.0, 2.5, 0.5], [0.0, 0.0, 0.0], [-1.0, 4.0, -3.0]])
    assert most_confused(change, 2) == [(2, 1, 4.0), (0, 1, 2.5)]


def test_a_relative_matrix_is_found_by_its_values(results):
    assert results.relative(noise_kind="symmetric", noise_frac=0.2).condition == noise(0.2, "symmetric")
    with pytest.raises(LookupError, match="there is baseline, noise-shuffle"):
        results.relative(noise_frac=0.15)
    with pytest.raises(LookupError, match="baseline cannot be compared with the baseline: it is the baseline"):
        results.relative()


def test_a_relative_matrix_shows_itself_and_escapes_names():
    matrix = by_hand()
    assert repr(matrix) == "<RelativeMatrix: 20 % noise (shuffle) minus baseline, 2 seeds>"
    labels, marked = np.repeat([0, 1], 50), {}
    for seed in range(3):
        marked[BASELINE, seed] = labels
        marked[noise(0.2), seed] = np.zeros_like(labels)
    names = ("<script>alert(1)</script>", "a & b")
    html = relative_matrix(Study.of_preds(labels, marked, names), noise(0.2))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "a &amp; b" in html
    assert "+50.0 *" in html
    assert "-50.0 *" in html
    assert html.count("*") == 3, "two marked cells, and what the mark means"
