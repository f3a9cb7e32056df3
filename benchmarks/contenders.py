"""Three ways to train the same network on the same examples: this project, a bare loop, and the usual one.

Reading the data set's files is in the time of none of them: the project keeps it in memory between the runs of a sweep.

`product`  all of `train_run`: data preparation, training, evaluations, TensorBoard, checkpoints, record.
`bare`     a hand-written loop over the same batches in the same precision and layout, with the same first weights,
           optimiser, schedule and evaluations of the test set. It includes preparing the data (selection, padding,
           statistics) and building the network. It has no Lightning, metrics, TensorBoard, checkpoints or record.
`usual`    what tutorials teach: torchvision's data set with transforms image by image, a DataLoader, fp32, the
           default memory layout, a default `Trainer` with torchmetrics' accuracy, one test at the end.
"""

import gc
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from ceiling import synchronise
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import CIFAR10

from class_sensitivity import config as configuration
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.loader import EpochLoader
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.models import build_model
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import torch_seed
from class_sensitivity.settings import DataSettings, Recipe
from class_sensitivity.stress import Reduction, stressed_train_set
from class_sensitivity.training.device import Execution, choose_execution, keep_freed_memory
from class_sensitivity.training.run import train_run

ROOT = Path(__file__).resolve().parents[1]

#: What torch takes when nobody says; the usual way is measured with it.
USUAL_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Outcome:
    """A training and what it took.

    Attributes:
        images: Images trained on, repeats counted.
        seconds: From the call to its return.
        fit: Of these, the training (with the evaluations between its epochs).
        losses: Mean training loss of every epoch.
    """

    images: int
    seconds: float
    fit: float
    losses: tuple[float, ...]


def composed(*overrides: str) -> Run:
    """The run that `conf/train.yaml` asks for with overrides as on the command line; nothing is downloaded."""
    configuration.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=[*overrides, "data.download=false"])
    return Run.of(configuration.train_settings(config))


def reduced_to(run: Run, images: int) -> Run:
    """The same run on about so many training images, at most all."""
    frac = max(0.0, 1 - images / len(arrays_of(run).train_labels))
    return Run.of(replace(run.settings, reduction=Reduction(frac)))


def execution_of(run: Run) -> Execution:
    """Device, precision and threads that a run comes to on this machine."""
    training = run.settings.training
    return choose_execution(training.accelerator, training.precision, training.threads)


def arrays_of(run: Run) -> ImageArrays:
    """The data set; read once in a process."""
    return load_arrays(run.settings.data)


# The project


class Clock(pl.Callback):
    """Looks at the clock where a run's record does not.

    Attributes:
        begun: When it was made, as `time.perf_counter()`; make it right before the run.
        first_step: When the first step was done, as `time.time()`.
        steps: Seconds of training steps with their batches, without what surrounds an epoch.
        checkpoint: Seconds of writing checkpoints.
        epoch_ends: When each epoch and its evaluation was over, as `time.perf_counter()`.
    """

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.first_step: float | None = None
        self.steps = self.checkpoint = 0.0
        self.epoch_ends: list[float] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        save = trainer.save_checkpoint

        # No hook brackets the saving: Lightning calls whoever saves after all other callbacks.
        def timed(*args: Any, **options: Any) -> None:
            begun = time.perf_counter()
            save(*args, **options)
            self.checkpoint += time.perf_counter() - begun

        trainer.save_checkpoint = timed  # type: ignore[method-assign]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        if index == 0:
            self._epoch_begun = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._ended = time.perf_counter()
        if self.first_step is None:
            self.first_step = time.time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.steps += self._ended - self._epoch_begun
        self.epoch_ends.append(time.perf_counter())


def timed_run(run: Run, runs: Path, callbacks: list[pl.Callback]) -> tuple[RunRecord, float]:
    """The record of a run done under `runs`, and the seconds from the call to its return."""
    gc.collect()
    placed = replace(run, directory=runs / run.identity.path)
    begun = time.perf_counter()
    record = train_run(placed, callbacks)
    return record, time.perf_counter() - begun


def product(run: Run, runs: Path) -> Outcome:
    """Trains with this project."""
    record, seconds = timed_run(run, runs, [])
    losses = tuple(epoch["train/loss"] for epoch in record.metrics.epochs)
    return Outcome(run.settings.training.epochs * record.train_size, seconds, record.durations.fit_s, losses)


# The bare loop


def _data_module(run: Run, execution: Execution) -> StressedDataModule:
    arrays, seeds, settings = arrays_of(run), run.identity.streams, run.settings
    train_set = stressed_train_set(arrays.train_labels, arrays.class_names, settings.stress, seeds=seeds)
    return StressedDataModule(
        arrays,
        train_set,
        batch_size=settings.training.batch_size,
        seeds=seeds,
        device=execution.device,
        flip=settings.data.flip,
        crop_padding=settings.data.crop_padding,
    )


def network_of(run: Run) -> nn.Module:
    """The network with its initial weights, in PyTorch's default layout."""
    arrays = arrays_of(run)
    _, height, width, channels = arrays.train_images.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(run.identity.streams["init"], "init"))
        return build_model(
            run.settings.model, in_channels=channels, image_size=(height, width), num_classes=arrays.num_classes
        )


def _share_of_peak(step: int, *, warmup: int, total: int) -> float:
    """The triangular schedule of the recipe."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def _optimiser(
    network: nn.Module, recipe: Recipe, total: int, *, fused: bool | None = None
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=fused,
    )
    share = partial(_share_of_peak, warmup=round(recipe.warmup_frac * total), total=total)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _autocast(execution: Execution) -> torch.autocast:
    mixed = execution.precision == "bf16-mixed"
    return torch.autocast(execution.device.type, dtype=torch.bfloat16, enabled=mixed)


#: A training step on a batch; returns its loss.
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bare(run: Run) -> Outcome:
    """Trains the same with a hand-written loop."""
    gc.collect()
    begun = time.perf_counter()
    training, execution = run.settings.training, execution_of(run)
    data, network, step = _bare_loop(run)
    losses, images = [], 0
    fit_begun = time.perf_counter()
    for epoch in range(training.epochs):
        losses.append(_train_epoch(network, _epoch_of(data, epoch), step, execution.device))
        images += data.visits
        if training.test_every_epoch and epoch < training.epochs - 1:
            _evaluate(network, data.test_dataloader(), execution)
    fit = time.perf_counter() - fit_begun
    _evaluate(network, data.test_dataloader(), execution)
    return Outcome(images, time.perf_counter() - begun, fit, tuple(losses))


def bare_step(run: Run) -> Callable[[], torch.Tensor]:
    """A step of the bare loop, to be called again and again: a batch of its own size, the same each time."""
    data, network, step = _bare_loop(run)
    network.train()
    return partial(step, *next(iter(_epoch_of(data, 0))))


def _bare_loop(run: Run) -> tuple[StressedDataModule, nn.Module, Step]:
    """Data, network and training step, in a process that is set up as for a run of the product."""
    training, execution = run.settings.training, execution_of(run)
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
    data = _data_module(run, execution)
    data.setup()
    network = network_of(run).to(execution.device, memory_format=torch.channels_last)
    optimiser, schedule = _optimiser(network, training, training.epochs * data.steps_per_epoch, fused=True)

    def step(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        optimiser.zero_grad()
        with _autocast(execution):
            logits = network(images).float()
            loss = functional.cross_entropy(logits, target, label_smoothing=training.label_smoothing)
        loss.backward()
        optimiser.step()
        schedule.step()
        return loss.detach()

    return data, network, step


def _epoch_of(data: StressedDataModule, epoch: int) -> EpochLoader:
    # The loader asks nothing else of a trainer.
    data.trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
    return data.train_dataloader()


def _train_epoch(network: nn.Module, loader: EpochLoader, step: Step, device: torch.device) -> float:
    """One epoch; its mean loss, read once so that a GPU need not wait."""
    network.train()
    total, seen = torch.zeros((), device=device), 0
    for images, target in loader:
        total += step(images, target) * len(target)
        seen += len(target)
    return total.item() / seen


def _evaluate(network: nn.Module, loader: EpochLoader, execution: Execution) -> float:
    """Share of the images that is classified right."""
    network.eval()
    right, seen = torch.zeros((), dtype=torch.int64, device=execution.device), 0
    with torch.inference_mode(), _autocast(execution):
        for images, target in loader:
            right += (network(images).argmax(1) == target).sum()
            seen += len(target)
    return right.item() / seen


# The usual way


class _Images(Dataset[tuple[Any, int]]):
    """Arrays served image by image as torchvision's CIFAR10 does it, for data sets that torchvision lacks."""

    def __init__(self, images: Any, labels: Any, transform: Callable[[Any], Any]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = self.images[index]
        return self.transform(Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)), int(
            self.labels[index]
        )


class _Plain(pl.LightningModule):
    """The LightningModule of the tutorials."""

    def __init__(self, network: nn.Module, classes: int, recipe: Recipe, total_steps: int) -> None:
        super().__init__()
        self.network, self.recipe, self.total_steps = network, recipe, total_steps
        self.train_accuracy = MulticlassAccuracy(num_classes=classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes=classes, average="micro")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch
        logits = self(images)
        loss = functional.cross_entropy(logits, target)
        self.train_accuracy(logits, target)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        images, target = batch
        logits = self(images)
        self.test_accuracy(logits, target)
        self.log("test_loss", functional.cross_entropy(logits, target))
        self.log("test_accuracy", self.test_accuracy)

    def configure_optimizers(self) -> Any:
        optimiser, schedule = _optimiser(self.network, self.recipe, self.total_steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@lru_cache
def _usual_sets(name: str, directory: str | None) -> tuple[Dataset[Any], Dataset[Any]]:
    arrays = load_arrays(DataSettings(name, directory, download=False, flip=False, crop_padding=0))
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    channels = arrays.train_images.shape[3]
    normal = [transforms.ToTensor(), transforms.Normalize(mean[:channels], std[:channels])]
    size = arrays.train_images.shape[1:3]
    augmented = transforms.Compose(
        [transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip(), *normal],
    )
    plain = transforms.Compose(normal)
    if name == "cifar10":
        root = directory or "data"
        return CIFAR10(root, train=True, transform=augmented), CIFAR10(root, train=False, transform=plain)
    return (
        _Images(arrays.train_images, arrays.train_labels, augmented),
        _Images(arrays.test_images, arrays.test_labels, plain),
    )


@contextmanager
def _usual_surroundings() -> Iterator[None]:
    """torch's own number of threads, and no advice from Lightning, which it gives on every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(USUAL_THREADS)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(before)


def usual(run: Run, directory: Path, workers: int) -> Outcome:
    """Trains on the same examples with what the tutorials teach."""
    train_set, test_set = _usual_sets(run.settings.data.name, run.settings.data.dir)
    kept = _data_module(run, execution_of(run)).train_set.indices.tolist()
    chosen = train_set if len(kept) == len(train_set) else Subset(train_set, kept)  # type: ignore[arg-type]
    training = run.settings.training
    batch, epochs = training.batch_size, training.epochs
    gc.collect()
    with _usual_surroundings():
        begun = time.perf_counter()
        loader = DataLoader(chosen, batch_size=batch, shuffle=True, num_workers=workers)
        tests = DataLoader(test_set, batch_size=batch, num_workers=workers)
        module = _Plain(network_of(run), arrays_of(run).num_classes, training, epochs * len(loader))
        trainer = pl.Trainer(
            max_epochs=epochs, default_root_dir=directory, enable_progress_bar=False, enable_model_summary=False
        )
        fit_begun = time.perf_counter()
        trainer.fit(module, loader)
        fit, loss = time.perf_counter() - fit_begun, trainer.callback_metrics["train_loss"].item()
        trainer.test(module, tests, verbose=False)
        synchronise(trainer.strategy.root_device)
        return Outcome(epochs * len(kept), time.perf_counter() - begun, fit, (loss,))
