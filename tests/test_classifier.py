"""What the classifier logs and keeps, against scikit-learn on the logits it gives."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn import metrics
from support.networks import put_nan_into_networks
from torch import nn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.errors import TrainingError
from class_sensitivity.runs.directory import RESULT
from class_sensitivity.seeding import STREAMS
from class_sensitivity.settings import Recipe
from class_sensitivity.stress import Noise, Stress, stressed_train_set
from class_sensitivity.stress.noise import Pair
from class_sensitivity.training.classifier import Classifier
from class_sensitivity.training.run import train_job

# Lightning's own; train_run silences it for users.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance\\(treespec, LeafSpec\\).*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero:UserWarning"),
]

NAMES = ("ant", "bee", "cow")


def unbalanced_arrays(test_classes: int = 3) -> ImageArrays:
    """Three classes that a linear network tells apart in part, and not in both directions alike."""
    rng = np.random.default_rng(0)

    def part(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.choice([0, 0, 0, 0, 0, 1, 1, 1, 2, 2][: (0, 5, 8, 10)[classes]], n)
        ink = np.array([100, 122, 124])[labels, None, None, None] + rng.normal(0, 12, (n, 2, 2, 1))
        return ink.clip(0, 255).astype(np.uint8), labels.astype(np.int64)

    return ImageArrays(*part(200, 3), *part(150, test_classes), NAMES)


class Recorder(pl.Callback):
    """Keeps the learning rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


CLEAN = Stress()
RECIPE = Recipe(
    epochs=3,
    batch_size=25,
    lr=0.1,
    momentum=0.9,
    weight_decay=0.0,
    label_smoothing=0.0,
    warmup_frac=0.25,
    validation_frac=0.0,
    precision="32-true",
)


def trained(
    arrays: ImageArrays, *, stress: Stress = CLEAN, test_every_epoch: bool = False, **changes: Any
) -> tuple[Classifier, dict[str, float], Recorder]:
    """A classifier after fit and test, what the test logged, and what was seen on the way.

    Args:
        arrays: The data set.
        stress: What is done to its training set.
        test_every_epoch: Test after every epoch.
        changes: To `RECIPE`.
    """
    torch.manual_seed(0)
    recipe, seeds = replace(RECIPE, **changes), dict.fromkeys(STREAMS, 1)
    data = StressedDataModule(
        arrays,
        stressed_train_set(arrays.train_labels, NAMES, stress, seeds=seeds, validation_frac=recipe.validation_frac),
        batch_size=recipe.batch_size,
        seeds=seeds,
        device=torch.device("cpu"),
        test_every_epoch=test_every_epoch,
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    classifier = Classifier(network, NAMES, recipe, total_steps=recipe.epochs * data.steps_per_epoch)
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=recipe.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=[recorder],
    )
    trainer.fit(classifier, datamodule=data)
    (logged,) = trainer.test(classifier, datamodule=data, verbose=False)
    return classifier, logged, recorder


def logits_of(classifier: Classifier, images: np.ndarray, arrays: ImageArrays) -> torch.Tensor:
    """Logits worked out without Lightning and without a loader."""
    pixels = torch.from_numpy(arrays.train_images).double()
    normal = (torch.from_numpy(images) - pixels.mean()) / pixels.std(correction=0)
    with torch.no_grad():
        return classifier.network(normal.float())


@pytest.fixture(scope="module")
def arrays() -> ImageArrays:
    return unbalanced_arrays()


@pytest.fixture(scope="module")
def run(arrays) -> tuple[Classifier, dict[str, float], Recorder]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trained(arrays, validation_frac=0.2, test_every_epoch=True)


def test_logits_are_of_the_test_set_in_its_order(run, arrays):
    classifier, logged, _ = run
    assert classifier.metrics.test_logits.shape == (150, 3)
    torch.testing.assert_close(classifier.metrics.test_logits, logits_of(classifier, arrays.test_images, arrays))
    # The loss depends on which probability belongs to which label.
    loss = metrics.log_loss(arrays.test_labels, classifier.metrics.test_logits.double().softmax(dim=1), labels=range(3))
    assert logged["test/loss"] == pytest.approx(loss, rel=1e-5)


def test_logged_accuracy_and_recall_are_scikit_learns_on_the_logits(run, arrays):
    classifier, logged, _ = run
    preds = classifier.metrics.test_logits.argmax(dim=1).numpy()
    assert logged["test/acc"] == pytest.approx(metrics.accuracy_score(arrays.test_labels, preds), rel=1e-6)
    expected = metrics.recall_score(arrays.test_labels, preds, average=None)
    assert [logged[f"test/recall/{name}"] for name in NAMES] == pytest.approx(expected, rel=1e-6)


def test_kept_confusion_is_scikit_learns_with_rows_as_the_truth(run, arrays):
    classifier, _, _ = run
    preds = classifier.metrics.test_logits.argmax(dim=1).numpy()
    expected = metrics.confusion_matrix(arrays.test_labels, preds)
    assert not np.array_equal(expected, expected.T), "an example on which orientation cannot be seen"
    np.testing.assert_array_equal(classifier.metrics.confusion["test"].numpy(), expected)
    assert classifier.metrics.confusion["test"].dtype == torch.int64


def test_validation_and_test_are_counted_apart(run):
    classifier, _, _ = run
    assert int(classifier.metrics.confusion["val"].sum()) == 40
    assert int(classifier.metrics.confusion["test"].sum()) == 150


def test_history_holds_every_epoch_with_what_was_evaluated_after_it(run):
    history = run[0].metrics.history
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    train, val, test = ({f"{split}/loss", f"{split}/acc"} for split in ("train", "val", "test"))
    assert set(history[0]) == set(history[1]) == {"epoch"} | train | val | test
    # After the last epoch comes the test itself; the epoch before must not stand in for it.
    assert set(history[2]) == {"epoch"} | train | val
    assert len({epoch["val/loss"] for epoch in history}) == 3


def test_training_accuracy_and_loss_are_averages_over_examples():
    # lr so small that nothing is learnt: each epoch's average is that of the first weights.
    arrays = unbalanced_arrays()
    classifier, _, _ = trained(arrays, lr=1e-12, batch_size=60)  # 4 batches of 50
    logits = logits_of(classifier, arrays.train_images, arrays)
    expected = metrics.accuracy_score(arrays.train_labels, logits.argmax(dim=1))
    loss = metrics.log_loss(arrays.train_labels, logits.double().softmax(dim=1), labels=range(3))
    for epoch in classifier.metrics.history:
        assert epoch["train/acc"] == pytest.approx(expected, rel=1e-6)
        assert epoch["train/loss"] == pytest.approx(loss, rel=1e-5)


def test_training_accuracy_is_against_the_labels_as_given():
    # Classes far apart, all turned into the next one: memorised, and wrong about every test image.
    labels = np.arange(300) % 3
    images = (np.eye(4)[labels] * 255).astype(np.uint8).reshape(300, 2, 2, 1)
    arrays = ImageArrays(images, labels, images, labels, NAMES)
    classifier, logged, _ = trained(arrays, lr=0.5, stress=Stress(Noise(Pair(), frac=1.0)))
    assert classifier.metrics.history[-1]["train/acc"] == 1
    assert logged["test/acc"] == 0


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_a_class_without_test_images_has_no_recall_instead_of_0():
    _, logged, _ = trained(unbalanced_arrays(test_classes=2))
    assert np.isfinite(logged["test/recall/ant"])
    assert "test/recall/cow" not in logged


@pytest.mark.parametrize(
    ("warmup_frac", "expected"),
    [
        (0.25, [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (0.0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (1.0, [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1]),
    ],
)
def test_the_rate_rises_to_its_peak_and_falls_towards_0(warmup_frac, expected):
    _, _, recorder = trained(unbalanced_arrays(), epochs=1, lr=0.4, warmup_frac=warmup_frac)  # 8 steps
    np.testing.assert_allclose(recorder.rates, 0.4 * np.array(expected))


def test_the_rate_follows_steps_across_epochs():
    _, _, recorder = trained(unbalanced_arrays(), epochs=3, lr=0.4, warmup_frac=0.5)
    rise = np.arange(1, 13) / 12
    np.testing.assert_allclose(recorder.rates, 0.4 * np.concatenate([rise, rise[::-1]]))


def test_a_loss_that_is_not_finite_stops_training_and_says_what_to_change():
    with pytest.raises(TrainingError, match=r"epoch 1.*training\.lr=1e\+38"):
        trained(unbalanced_arrays(), lr=1e38)


def test_a_run_that_diverges_leaves_no_result(make_run):
    run = make_run("training.lr=1e30")
    with pytest.raises(TrainingError, match=r"diverged in epoch [12].*training\.lr"):
        train_job(run)
    assert run.directory.is_dir()
    assert not list(Path(run.settings.runs).rglob(RESULT))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_weight_that_is_nan_is_divergence_even_if_layers_hide_it(make_run, monkeypatch, precision):
    put_nan_into_networks(monkeypatch)
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        train_job(make_run(f"training.precision={precision}"), show_progress=False)
