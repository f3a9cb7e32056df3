"""Several lengths of training compared, and what a network has learnt of wrong labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeRun
from support.reports import documented_columns
from torch.nn import functional

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.training_length import TrainingLengths, training_lengths
from class_sensitivity.figures.training_length import plot_training_lengths
from class_sensitivity.report.training_length import LengthsOfRecipe, lengths_of, write_lengths
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.runs.directory import read_record
from class_sensitivity.training.run import train_job
from class_sensitivity.training.setup import set_up

NOISY = Condition(noise_kind="shuffle", noise_frac=0.2)
REMOVED = Condition(reduction_frac=0.5)
LABELS = np.repeat(np.arange(4), 50)
SEEDS = (1, 2, 3, 4)

#: Epochs -> condition -> share of images that are wrong; what the tests below must find again.
WRONG = {
    1: {BASELINE: 0.30, NOISY: 0.34, REMOVED: 0.40},
    10: {BASELINE: 0.10, NOISY: 0.30, REMOVED: 0.15},
}
LEARNT = {1: 0.02, 10: 0.6}


def study_of(epochs: int, *, conditions=(BASELINE, NOISY, REMOVED), seeds=SEEDS, family: str = "one") -> Study:
    rng = np.random.default_rng(epochs)
    preds, scalars = {}, {}
    for condition in conditions:
        for seed in seeds:
            wrong = rng.random(len(LABELS)) < WRONG[epochs][condition]
            preds[condition, seed] = np.where(wrong, (LABELS + 1) % 4, LABELS)
            scalars[condition, seed] = {
                "effective_noise": 0.15 if condition.is_noisy else 0.0,
                "train_size": 1000,
                "best_accuracy": np.mean(~wrong) + (0.05 if epochs == 10 and condition == NOISY else 0.0),
                "learnt": LEARNT[epochs] + 0.001 * seed if condition.is_noisy else np.nan,
            }
    names = ("ant", "bee", "cow", "dog")
    return Study.of_preds(LABELS, preds, names, scalars=scalars, epochs=epochs, family=family, recipe=f"r{epochs}")


@pytest.fixture(scope="module")
def found() -> list[TrainingLengths]:
    (found,) = training_lengths([study_of(10), study_of(1)])
    return found


def of(found: list[TrainingLengths], condition: Condition) -> TrainingLengths:
    (one,) = (each for each in found if each.condition == condition)
    return one


def test_lengths_rise_and_the_baseline_comes_first(found):
    assert found[0].condition == BASELINE
    assert all(each.epochs == (1, 10) and each.seeds == SEEDS for each in found)


@pytest.mark.parametrize("condition", [NOISY, REMOVED])
def test_the_cost_of_each_length_and_its_change_are_plain_differences_of_accuracies(found, condition):
    each, by_hand = of(found, condition), []
    for epochs in (1, 10):
        study = study_of(epochs)
        right = {which: (study.preds_of(which, SEEDS) == LABELS).mean(axis=1) for which in (BASELINE, condition)}
        by_hand.append(right[BASELINE] - right[condition])
    for fall, plain in zip(each.fall, by_hand, strict=True):
        np.testing.assert_allclose(fall.per_seed, plain)
    np.testing.assert_allclose(each.more.per_seed, by_hand[1] - by_hand[0])
    assert each.more.value == pytest.approx(np.mean(by_hand[1] - by_hand[0]))


def test_change_by_class_averages_to_that_of_accuracy_when_classes_are_of_one_size(found):
    each = of(found, NOISY)
    np.testing.assert_allclose(each.more_by_class.value.mean(), each.more.value)


def test_a_longer_training_that_believes_wrong_labels_is_found(found):
    each = of(found, NOISY)
    assert each.more.low > 0
    assert [float(share.value) for share in each.learnt] == pytest.approx([0.0225, 0.6025])
    assert all(0 <= share.low < share.value < share.high <= 1 for share in each.learnt)


def test_the_best_epoch_is_compared_with_the_last(found):
    assert [float(gap.value) for gap in of(found, NOISY).best_minus_last] == pytest.approx([0, 0.05])


def test_nothing_is_said_of_wrong_labels_where_there_are_none(found):
    assert of(found, BASELINE).learnt is of(found, REMOVED).learnt is None
    assert of(found, BASELINE).fall is of(found, BASELINE).more is None


def test_only_what_all_lengths_share_is_compared():
    (found,) = training_lengths([study_of(1), study_of(10, conditions=(BASELINE, NOISY), seeds=(2, 3))])
    assert {each.condition: each.seeds for each in found} == {BASELINE: (2, 3), NOISY: (2, 3)}


@pytest.mark.parametrize(
    "other",
    [study_of(10, family="another"), study_of(10, conditions=(BASELINE,)), study_of(10, seeds=(7, 8))],
    ids=["another recipe", "a baseline alone", "other seeds"],
)
def test_studies_that_share_nothing_are_not_compared(other):
    assert list(training_lengths([study_of(1), other])) == []


def test_other_test_images_are_not_compared():
    other = replace(study_of(10), labels=LABELS[::-1].copy())
    assert list(training_lengths([study_of(1), other])) == []


def test_report_gives_lines_figures_and_a_table(found, tmp_path):
    recipe = LengthsOfRecipe(found)
    assert "1 and 10 epochs" in recipe.title
    (noisy,) = (line.text for line in recipe.lines() if line.about == NOISY.label)
    assert "wrong labels learnt 2.2 and 60.2 %" in noisy or "wrong labels learnt 2.3 and 60.3 %" in noisy
    specs = list(recipe.specs())
    assert len(specs) == 3  # one of all conditions, one for each but the baseline
    for spec in specs:
        spec.draw()
    assert write_lengths([recipe], tmp_path) == ["training_length"]
    assert documented_columns()["training_length"] < set(recipe.table().columns)
    table = recipe.table().set_index(["epochs", "condition", "class"])
    assert table.loc[(10, NOISY.name, "*"), "learnt"] == pytest.approx(0.6025)
    assert table.loc[(10, NOISY.name, "bee"), "fall"] == pytest.approx(float(of(found, NOISY).class_falls[1].value[1]))
    assert write_lengths([], tmp_path) == []


def test_a_panel_with_nothing_to_show_is_left_out_and_so_is_a_condition_that_is_nowhere(found):
    panels = plot_training_lengths(found)
    assert [axes.get_ylabel().split()[0] for axes in panels] == ["cost:", "wrong", "accuracy"]
    best = 100 * of(found, NOISY).best_minus_last[1].value
    (line,) = (line for line in panels[2].lines if line.get_label() == NOISY.label)
    np.testing.assert_allclose(line.get_ydata()[1], best)
    legend = {text.get_text() for text in panels[-1].get_legend().get_texts()}
    assert legend == {each.condition.label for each in found}
    without_gain = [each for each in found if each.condition != NOISY]
    (costs,) = plot_training_lengths(without_gain)
    assert costs.get_ylabel().startswith("cost:")
    assert [text.get_text() for text in costs.get_legend().get_texts()] == [REMOVED.label]
    (alone,) = plot_training_lengths([of(found, BASELINE)])
    assert alone.get_ylabel().startswith("accuracy of the best")


# What a real network has learnt

FEW = ("training.epochs=2", "training.precision=32-true", "training.keep_checkpoint=true", "data.crop_padding=1")


def by_hand(run, directory: Path) -> tuple[list[int], list[int], list[int]]:
    """Counts by clean class, from the stored weights, without Lightning and without a loader."""
    setup = set_up(run)
    arrays, train_set = setup.data.arrays, setup.data.train_set
    stored = torch.load(directory / "last.ckpt", weights_only=True)["state_dict"]
    setup.network.load_state_dict({name.removeprefix("network."): value for name, value in stored.items()})
    clean, given = arrays.train_labels[train_set.indices], train_set.labels
    wrong = clean != given
    pixels = torch.from_numpy(arrays.train_images).double()
    mean, std = pixels.mean(dim=(0, 1, 2)), pixels.std(dim=(0, 1, 2), correction=0)
    images = torch.from_numpy(arrays.train_images[train_set.indices[wrong]])
    with torch.no_grad():
        logits = setup.network.eval()(((images - mean) / std).float().permute(0, 3, 1, 2))
    preds = functional.softmax(logits, dim=1).argmax(dim=1).numpy()
    counts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for c in range(arrays.num_classes):
        mine = clean[wrong] == c
        counts[0].append(int(mine.sum()))
        counts[1].append(int((preds[mine] == given[wrong][mine]).sum()))
        counts[2].append(int((preds[mine] == c).sum()))
    return counts


def test_what_was_learnt_is_what_the_stored_weights_predict(make_run: MakeRun):
    run = make_run(*FEW, "noise.frac=0.3", "noise.kind=symmetric")
    directory = train_job(run, show_progress=False)
    learnt = read_record(directory).learnt
    assert (learnt.wrong, learnt.as_given, learnt.as_clean) == by_hand(run, directory)
    assert sum(learnt.wrong) == round(read_record(directory).noise.effective * read_record(directory).train_size)


def test_runs_of_two_lengths_are_of_one_family_and_of_two_studies(make_run: MakeRun, tmp_path: Path):
    for epochs in (1, 2):
        for noise in (0, 0.4):
            asked = (f"training.epochs={epochs}", f"noise.frac={noise}", f"runs={tmp_path}")
            train_job(make_run(*asked), show_progress=False)
    studies = load_runs(tmp_path)
    assert [study.epochs for study in studies] == [1, 2], "not in the order of hashes"
    assert len({study.recipe for study in studies}) == 2
    assert len({study.family for study in studies}) == 1
    (recipe,) = lengths_of(list(studies), 0.05)
    (noisy,) = (each for each in recipe.found if each.condition != BASELINE)
    records = [read_record(study.directories[noisy.condition, 1]) for study in noisy.studies]
    assert [float(share.value) for share in noisy.learnt] == [record.learnt.share for record in records]


def test_a_record_without_it_is_read(make_run: MakeRun):
    directory = train_job(make_run("training.epochs=1"), show_progress=False)
    assert read_record(directory).learnt is None
