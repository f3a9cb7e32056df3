"""Weighted sums of recalls and of cells, against plain loops over the files."""

from pathlib import Path

import numpy as np
import pytest
from support.plans import MATCHED, SYMMETRIC, Files, load_one, read_files, recall_by_hand, write_plan
from support.synthetic import THREE

from class_sensitivity.analysis import statistics
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.sensitivity import cell_contrast, contrast, relative_matrix
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def loaded(root) -> Study:
    return load_one(root)


@pytest.fixture(scope="module")
def files(root) -> Files:
    return read_files(root)


CONTRASTS = [
    {BASELINE: 1.0},
    {BASELINE: 1.0, noise(0.1): -1.0},
    {noise(0.2): 2.0, noise(0.1): -1.0, noise(0.3): -1.0},
    {BASELINE: 0.0, reduction(0.2): 1.0, SYMMETRIC: -1.0},
]


@pytest.mark.parametrize("weights", CONTRASTS, ids=lambda weights: " ".join(c.name for c in weights))
def test_a_contrast_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    seeds = [s for s in loaded.seeds if all((name, s) in files for name in weights)]
    expected = [
        [
            sum(w * recall_by_hand(*files[name, seed][1:], which) for name, w in weights.items())
            for which in range(len(THREE))
        ]
        for seed in seeds
    ]
    found = contrast(loaded, weights)
    np.testing.assert_allclose(found.per_seed, expected, atol=1e-12)
    np.testing.assert_allclose(found.value, np.mean(expected, axis=0), atol=1e-12)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    wider = contrast(loaded, weights, alpha=0.01)
    assert (wider.high - wider.low > found.high - found.low).all()

    accuracies = [
        sum(w * np.mean(np.array(files[name, seed][1]) == files[name, seed][2]) for name, w in weights.items())
        for seed in seeds
    ]
    overall = contrast(loaded, weights, overall=True)
    np.testing.assert_allclose(overall.per_seed, accuracies, atol=1e-12)
    assert float(overall.value) == pytest.approx(np.mean(accuracies))


def test_the_interval_of_a_contrast_is_that_of_its_images(loaded, files):
    seeds = [2, 3, 4]
    for which in range(3):
        inside = [k for k, true in enumerate(files[BASELINE, 2][1]) if true == which]
        values = np.array(
            [
                [(files[BASELINE, s][2][k] == which) - (files[noise(0.1), s][2][k] == which) for k in inside]
                for s in seeds
            ]
        )
        reference = statistics.estimate(values / len(inside))
        found = contrast(loaded, {BASELINE: 1.0, noise(0.1): -1.0})[which]
        np.testing.assert_allclose([found.low, found.high, found.p], [reference.low, reference.high, reference.p])


def test_conditions_without_a_seed_in_common_cannot_be_compared(loaded):
    names = {SYMMETRIC: 1.0, MATCHED: -1.0}
    with pytest.raises(ValueError, match=r"noise-symmetric-0\.2, reduction-0\.2-matched-steps"):
        contrast(loaded, names)
    with pytest.raises(ValueError, match="no seed"):
        cell_contrast(loaded, {(name, 0, 1): weight for name, weight in names.items()})
    with pytest.raises(ValueError, match="no seed"):
        relative_matrix(loaded, *names)


@pytest.mark.parametrize(
    "weights",
    [
        {(BASELINE, 0, 1): 1.0, (BASELINE, 1, 0): -1.0},
        {(BASELINE, 2, 1): 1.0, (noise(0.3), 2, 1): -0.5, (noise(0.3), 0, 0): 2.0},
        {(reduction(0.6), 1, 1): 1.0},
    ],
)
def test_a_contrast_of_cells_is_what_a_loop_over_the_files_gives(loaded, files, weights):
    seeds = [s for s in loaded.seeds if all((name, s) in files for name, _, _ in weights)]
    expected = [sum(w * files[name, s][0][i][j] for (name, i, j), w in weights.items()) for s in seeds]
    found = cell_contrast(loaded, weights)
    np.testing.assert_allclose(found.per_seed, expected)
    assert float(found.value) == pytest.approx(np.mean(expected))
    assert found.low < found.value < found.high
