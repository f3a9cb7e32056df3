"""Runs in which one stream of chance varies: how they are arranged, and the variances, against plain numpy."""

import numpy as np
import pytest
from support.synthetic import THREE, World, shares, write_run

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.variance_split import FallVariance, VarianceSplit, variance_splits
from class_sensitivity.report.variance import variance_of
from class_sensitivity.runs.condition import BASELINE, Condition

WORLD = World(THREE, 80, seed=0.1)
NOISY = Condition(noise_kind="shuffle", noise_frac=0.2)
REMOVED = Condition(reduction_frac=0.5)
PLAN = {
    BASELINE: shares([0.9, 0.8, 0.7]),
    NOISY: shares([0.8, 0.7, 0.5]),
    REMOVED: shares([0.7, 0.6, 0.5]),
}


def recalls(preds, labels) -> np.ndarray:
    return np.array([np.mean(preds[labels == c] == c) for c in range(3)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Runs, and what each predicts: (condition, stream, its seed) -> predictions."""
    root, said = tmp_path_factory.mktemp("runs"), {}

    def write(condition, seed, **streams):
        (stream, value) = next(iter(streams.items()), ("", seed))
        preds = WORLD.predict(PLAN[condition], f"{condition.name}-{stream}", 10 * value + len(stream))
        said[condition, stream, value] = preds
        options = {f"streams__{name}": chosen for name, chosen in streams.items()}
        write_run(root, WORLD, None, condition, seed, preds=preds, **options)

    for seed in (1, 2, 3):
        for condition in (BASELINE, NOISY):
            write(condition, seed)
    for seed in (1, 2, 3):  # draws no labels, so that they cannot make its falls vary
        write(REMOVED, seed)
    for value in (2, 3, 4):
        for condition in (BASELINE, NOISY):
            write(condition, 1, init=value)
        write(NOISY, 1, labels=value)
    return root, said


def test_each_stream_is_a_study_of_its_own_with_the_plain_run_among_its_values(written):
    root, said = written
    runs = load_runs(root)
    assert runs.left_out == ()
    assert len(runs) == 1  # that the plain seed 2 has the same initial weights as a run of seed 1 pairs nothing
    assert [(each.stream, each.seed) for each in runs.stream_studies] == [("init", 1), ("labels", 1)]
    init, labels = (each.study for each in runs.stream_studies)
    for study in (init, labels):
        assert study.common_seeds(BASELINE, NOISY) == [1, 2, 3, 4]
        np.testing.assert_array_equal(study.preds_of(NOISY, [1])[0], said[NOISY, "", 1])
    np.testing.assert_array_equal(init.preds_of(BASELINE, [3])[0], said[BASELINE, "init", 3])
    # A baseline is given no labels, so one counts for all.
    for value in (1, 2, 3, 4):
        np.testing.assert_array_equal(labels.preds_of(BASELINE, [value])[0], said[BASELINE, "", 1])
    assert runs[0].seeds == [1, 2, 3]


def test_variances_are_those_of_the_falls(written):
    root, said = written
    runs = load_runs(root)
    (split,) = variance_splits(runs[0], runs.stream_studies)
    assert (split.condition, split.seed) == (NOISY, 1)
    labels = WORLD.labels

    def fall(baseline, noisy):
        return recalls(baseline, labels) - recalls(noisy, labels)

    falls = {
        "init": [
            fall(said[BASELINE, *key], said[NOISY, *key]) for key in (("", 1), ("init", 2), ("init", 3), ("init", 4))
        ],
        "labels": [
            fall(said[BASELINE, "", 1], said[NOISY, *key])
            for key in (("", 1), ("labels", 2), ("labels", 3), ("labels", 4))
        ],
    }
    for stream, values in falls.items():
        np.testing.assert_allclose(split.streams[stream].classes, np.var(values, axis=0, ddof=1))
        # Classes are of equal size, so accuracy is their mean.
        assert split.streams[stream].accuracy == pytest.approx(np.var(np.mean(values, axis=1), ddof=1))
        assert split.streams[stream].number == 4
    plain = [fall(said[BASELINE, "", seed], said[NOISY, "", seed]) for seed in (1, 2, 3)]
    np.testing.assert_allclose(split.together.classes, np.var(plain, axis=0, ddof=1))
    share, low, high = split.share("init")
    assert share == pytest.approx(split.streams["init"].accuracy / split.together.accuracy)
    assert low < share < high


def test_what_is_said_and_drawn_names_the_streams_in_words(written):
    runs = load_runs(written[0])
    variance = variance_of(runs[0], runs.stream_studies, 0.05)
    ((finding, spec),) = zip(variance.findings(), variance.specs(), strict=True)
    assert finding.figure == spec.name
    legend = spec.draw().get_legend()
    assert {text.get_text() for text in legend.get_texts()} == {
        "initial weights", "which labels they get", "all together (plain seeds)",
    }  # fmt: skip
    (split,) = variance.found
    share, low, high = (100 * each for each in split.share("init"))
    deviation = 100 * np.sqrt(split.streams["init"].accuracy)
    assert (
        f"initial weights {deviation:.1f} ({share:.0f} [{low:.0f}, {high:.0f}] %)"
        in finding.sentence.split(" A class's fall")[0]
    )
    table = variance.table()
    known = table[table.share.notna()]
    assert set(known["class"]) == {"*"}, "the share is of accuracy"
    assert known.set_index("stream").share["init"] == pytest.approx(share / 100)


def test_the_share_has_the_interval_of_an_f_ratio_however_much_classes_hang_together():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        # What all classes lose together makes most of the variance of each.
        one, every = (rng.normal(size=(number, 1)) + 0.3 * rng.normal(size=(number, 10)) for number in (5, 4))
        alone, together = (
            FallVariance(len(falls), falls.mean(axis=1).var(ddof=1), falls.var(axis=0, ddof=1))
            for falls in (one, every)
        )
        _, low, high = VarianceSplit(NOISY, 1, {"init": alone}, together).share("init")
        covered.append(low <= 1 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_without_a_second_value_or_a_baseline_there_is_no_split(tmp_path):
    write_run(tmp_path, WORLD, PLAN[NOISY], NOISY, 1)
    write_run(tmp_path, WORLD, PLAN[NOISY], NOISY, 1, streams__init=2)
    runs = load_runs(tmp_path)
    assert list(variance_splits(runs[0], runs.stream_studies)) == []
