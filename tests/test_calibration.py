"""Calibration: every number against torchmetrics or a plain loop, intervals against known populations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from class_sensitivity.analysis.calibration import BINS, Calibration, calibration_error, calibrations
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

NOISY = Condition(noise_kind="shuffle", noise_frac=0.3)
NAMES = ("ant", "bee", "cow")


def made_up(seeds=(1, 2, 3), *, per_class=(50, 70, 40), root=0):
    """Labels, probabilities and the study that they make."""
    rng = np.random.default_rng(root)
    labels = np.repeat(np.arange(3), per_class)
    images = rng.normal(size=(len(labels), 3))
    probabilities = {}
    for condition, sharpness in ((BASELINE, 2.0), (NOISY, 0.7)):
        for seed in seeds:
            logits = np.eye(3)[labels] + images + 0.5 * rng.normal(size=images.shape)
            shares = np.exp(sharpness * logits)
            probabilities[condition, seed] = shares / shares.sum(axis=1, keepdims=True)
    preds = {key: values.argmax(axis=1) for key, values in probabilities.items()}
    return labels, probabilities, Study.of_preds(labels, preds, NAMES)


@pytest.fixture(scope="module")
def world():
    return made_up()


@pytest.fixture(scope="module")
def found(world) -> dict[Condition, Calibration]:
    _, probabilities, study = world
    return {each.condition: each for each in calibrations(study, lambda c, s: probabilities[c, s])}


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_the_calibration_error_is_that_of_torchmetrics(root, size):
    rng = np.random.default_rng(root)
    probabilities = rng.dirichlet(np.ones(4), size)
    labels = rng.integers(0, 4, size)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), num_classes=4, n_bins=BINS, norm="l1"
    )
    assert calibration_error(confidence, right) == pytest.approx(float(expected), abs=1e-6)


def test_every_value_is_what_a_loop_gives(world, found):
    labels, probabilities, _ = world
    for condition, calibration in found.items():
        for member in (0, 1, 2, None):
            gaps, wrong = [], []
            for seed in (1, 2, 3):
                values = probabilities[condition, seed]
                rows = [i for i, label in enumerate(labels) if member is None or label == member]
                gaps.append(np.mean([values[i].max() - (values[i].argmax() == labels[i]) for i in rows]))
                wrong += [values[i].max() for i in rows if values[i].argmax() != labels[i]]
            place = 3 if member is None else member
            np.testing.assert_allclose(calibration.overconfidence.per_seed[:, place], gaps)
            assert calibration.overconfidence.value[place] == pytest.approx(np.mean(gaps))
            assert calibration.wrong_confidence.value[place] == pytest.approx(np.mean(wrong))


def test_changes_are_paired_with_the_baseline(found):
    np.testing.assert_allclose(
        found[NOISY].change.per_seed, found[NOISY].overconfidence.per_seed - found[BASELINE].overconfidence.per_seed
    )
    assert found[BASELINE].change is None
    # Blurred probabilities doubt more.
    assert (found[NOISY].change.high < 0).all()


def test_a_class_that_is_always_right_or_has_no_images_is_not_known():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])
    study = Study.of_preds(labels, {(BASELINE, s): probabilities.argmax(axis=1) for s in (1, 2)}, NAMES)
    (only,) = calibrations(study, lambda c, s: probabilities)
    assert np.isnan(only.wrong_confidence.value[0])
    assert only.wrong_confidence.value[1] == pytest.approx(0.6)
    assert np.isnan(only.overconfidence.value[2])
    assert np.isnan(only.error.value[2])
    assert only.overconfidence.value[0] == pytest.approx(0.85 - 1)


def test_one_seed_has_values_and_no_interval():
    _, probabilities, study = made_up((1,))
    first = next(calibrations(study, lambda c, s: probabilities[c, s]))
    for estimate in (first.overconfidence, first.wrong_confidence, first.error):
        assert np.isfinite(estimate.value).all()
        assert np.isnan(estimate.low).all()


def coverage(count: int) -> np.ndarray:
    """How often intervals of overconfidence and of confidence when wrong hold what very many images and seeds have."""
    _, probabilities, study = made_up(tuple(range(20)), per_class=(6000, 6000, 6000), root=99)
    truth = next(calibrations(study, lambda c, s: probabilities[c, s]))
    held = []
    for root in range(count):
        _, probabilities, study = made_up((1, 2, 3), per_class=(150, 150, 150), root=root)
        one = next(calibrations(study, lambda c, s, p=probabilities: p[c, s]))
        held.append(
            [
                (estimate.low <= true) & (true <= estimate.high)
                for estimate, true in (
                    (one.overconfidence, truth.overconfidence.value),
                    (one.wrong_confidence, truth.wrong_confidence.value),
                )
            ]
        )
    return np.mean(held, axis=(0, 2))


@pytest.mark.slow
def test_intervals_hold_the_truth():
    # 400 members, of which those of one study go together: 91 % is far below what 95 % gives by chance.
    assert (coverage(100) >= 0.91).all()
