"""What a user can ask for, as types: the settings of `conf/train.yaml` and `conf/analyze.yaml`.

The YAML files hold every default, but those of the settings that a kind of noise has of its own: these stand in its
dataclass, in `stress/noise/`. The classes here hold types and bounds. `config.py` makes one of them out of a command
line, and nothing behind it sees anything else.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from class_sensitivity.errors import ConfigError, require
from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import Noise, Reduction, Stress

PRECISIONS = ("auto", "bf16-mixed", "32-true")
ACCELERATORS = ("auto", "cpu", "gpu")
OPTIMIZERS = ("sgd", "adamw")


#: No machine has more cores.
_MOST_THREADS = 4096

#: Seeds are kept as whole numbers of 64 bits.
_LARGEST_SEED = 2**63 - 1


def _require_seed(setting: str, seed: int | None, *, optional: bool = False) -> None:
    expected = f"an integer from 0 to {_LARGEST_SEED}" + ", or null" * optional
    require(seed is None or 0 <= seed <= _LARGEST_SEED, setting, seed, expected)


def _within(setting: str, value: float, low: float, high: float, expected: str) -> None:
    require(math.isfinite(value) and low <= value <= high, setting, value, expected)


@dataclass(frozen=True)
class StreamSettings:
    """A seed of its own for a random stream, or None for the run's (`seeding.STREAMS`)."""

    selection: int | None
    labels: int | None
    validation: int | None
    init: int | None
    order: int | None
    augment: int | None
    dropout: int | None

    def check(self) -> None:
        """Raises a ConfigError for a seed that is out of bounds."""
        for name in STREAMS:
            _require_seed(f"streams.{name}", getattr(self, name), optional=True)


@dataclass(frozen=True)
class SelectionSettings:
    """How examples are chosen for noise and reduction.

    Attributes:
        stratified: In proportion from every class.
    """

    stratified: bool


@dataclass(frozen=True)
class DataSettings:
    """A data set.

    Attributes:
        name: What it is called in paths and reports; of a file in `data/sources/` where there is no `source`.
        dir: Where its files are, if it needs any.
        download: Whether it may be fetched when absent.
        flip: Mirror half of the training images.
        crop_padding: Pixels of reflection padding to crop from.
        source: The file in `data/sources/` that reads data sets of many names: `image_folder`, `npz`, `module`.
        options: The settings that this data set alone has.
    """

    name: str
    dir: str | None
    download: bool
    flip: bool
    crop_padding: int
    source: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises a ConfigError for a setting that is out of bounds."""
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name) is not None
        # A module's name is the data set's, unless that has one of its own.
        setting = "data.module" if self.name == self.options.get("module") else "data.name"
        require(plain, setting, self.name, "a name of letters, digits, -, _ and ., such as my.pets, of 100 at most")
        _within("data.crop_padding", self.crop_padding, 0, math.inf, "a number of pixels of 0 or more")


@dataclass(frozen=True)
class ModelSettings:
    """A network.

    Attributes:
        name: What it is called in paths and reports; of a file in `models/` where there is no `source`.
        source: The file in `models/` that makes networks of many names: `torchvision`, `module`.
        weights: A file with the state dict that it begins with, or None for random weights.
        options: The settings that this network alone has.
    """

    name: str
    source: str | None = None
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What is computed when a network is trained: with the data set and the network, what a study holds fixed.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples a step, at most.
        lr: Peak learning rate.
        momentum: Nesterov momentum; with adamw its first beta (the second is PyTorch's 0.999).
        weight_decay: On all parameters: L2 penalty with sgd, decoupled with adamw.
        label_smoothing: Share of the target that is spread over all classes.
        warmup_frac: Share of the steps in which the rate rises.
        validation_frac: Share of the training set held out, clean, before any stress.
        precision: One of `PRECISIONS`.
        optimizer: One of `OPTIMIZERS`. Records have no such setting where it was made before there was a choice.
    """

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    label_smoothing: float
    warmup_frac: float
    validation_frac: float
    precision: str
    optimizer: str = field(default="sgd", kw_only=True)


@dataclass(frozen=True)
class TrainingSettings(Recipe):
    """The recipe, and how it is executed.

    Attributes:
        test_every_epoch: Evaluate the test set after every epoch, for the curves.
        accelerator: One of `ACCELERATORS`.
        threads: CPU threads of one run; their number changes the last digits of the weights.
        keep_checkpoint: Keep the last checkpoint of a complete run.
    """

    test_every_epoch: bool
    accelerator: str
    threads: int
    keep_checkpoint: bool

    @property
    def recipe(self) -> Recipe:
        """What is computed, without how."""
        return Recipe(**{setting.name: getattr(self, setting.name) for setting in fields(Recipe)})

    def check(self) -> None:
        """Raises a ConfigError for a setting that is out of bounds."""
        _within("training.epochs", self.epochs, 1, math.inf, "an integer of 1 or more")
        _within("training.batch_size", self.batch_size, 2, math.inf, "an integer of 2 or more")
        require(math.isfinite(self.lr) and self.lr > 0, "training.lr", self.lr, "a number above 0")
        _within("training.momentum", self.momentum, 0, 1, "a number from 0 to 1")
        _within("training.weight_decay", self.weight_decay, 0, math.inf, "a number of 0 or more")
        _within("training.label_smoothing", self.label_smoothing, 0, 1, "a number from 0 to 1")
        _within("training.warmup_frac", self.warmup_frac, 0, 1, "a share from 0 to 1")
        _within("training.validation_frac", self.validation_frac, 0, 0.9, "a share from 0 to 0.9")
        require(self.optimizer in OPTIMIZERS, "training.optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}")
        if self.optimizer == "adamw":
            require(self.momentum < 1, "training.momentum", self.momentum, "below 1 with training.optimizer=adamw")
        require(self.precision in PRECISIONS, "training.precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        accelerators = f"one of {', '.join(ACCELERATORS)}"
        require(self.accelerator in ACCELERATORS, "training.accelerator", self.accelerator, accelerators)
        allowed = f"an integer from 1 to {_MOST_THREADS}"
        require(1 <= self.threads <= _MOST_THREADS, "training.threads", self.threads, allowed)


@dataclass(frozen=True)
class TrainSettings:
    """One run, as `python train.py` is asked for it.

    Attributes:
        runs: Where run directories go.
        rerun: Do it although it is complete.
        status: Say in which state it is, and run nothing.
        inspect: Look at the data set, and run nothing.
        seed: What every random stream is derived from ...
        streams: ... but those that have a seed of their own.
        noise: Label noise.
        reduction: Data reduction.
        selection: How examples are chosen for either.
        data: The data set.
        model: The network.
        training: The recipe, and how it is executed.
    """

    runs: str
    rerun: bool
    status: bool
    inspect: bool
    seed: int
    streams: StreamSettings
    noise: Noise
    reduction: Reduction
    selection: SelectionSettings
    data: DataSettings
    model: ModelSettings
    training: TrainingSettings

    @property
    def stress(self) -> Stress:
        """What is done to the training set."""
        return Stress(self.noise, self.reduction, self.selection.stratified)

    def check(self) -> None:
        """Raises a ConfigError that names the first setting out of bounds, and what is allowed."""
        require(self.runs != "", "runs", self.runs, "a directory, such as runs, or . for the current one")
        self.stress.check()
        _require_seed("seed", self.seed)
        self.streams.check()
        self.training.check()
        self.data.check()


@dataclass(frozen=True)
class MistakenSettings:
    """The pair of classes of figure 3, by name, or None for the most frequent confusion."""

    true_class: str | None
    predicted_class: str | None


@dataclass(frozen=True)
class OnlySettings:
    """Which runs to report on, or None for all."""

    data: str | None
    model: str | None

    def filters(self) -> Mapping[str, str]:
        """The filters that are set, by name."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class PriceSettings:
    """What more data and better labels cost, in one currency; None: not known.

    Attributes:
        example: Of a new example with its label, made as the present ones were.
        check: Of checking the label of an example, and mending it if it is wrong.
    """

    example: float | None
    check: float | None


@dataclass(frozen=True)
class AnalyzeSettings:
    """One report, as `python analyze.py` is asked for it.

    Attributes:
        runs: Where the run directories are.
        out: Where the report goes.
        only: Which runs to report on.
        people: A file of how people labelled the test images, or None.
        price: What more data and better labels cost.
        data_dir: Where the data set's images are, or None for where the runs found them or else in
            $CLASS_SENSITIVITY_DATA.
        alpha: 1 - coverage of intervals, and the false discovery rate of marks.
        resamples: Bootstrap draws for ranks and knees.
        seed: Of those draws.
        cells: [true, predicted] class names of the cells to follow; empty for a choice that fits the data set.
        mistaken: The pair of classes of figure 3.
        variety: Class names of figure 7; empty for a choice that fits the data set.
    """

    runs: str
    out: str
    only: OnlySettings
    people: str | None
    price: PriceSettings
    data_dir: str | None
    alpha: float
    resamples: int
    seed: int
    cells: list[list[str]]
    mistaken: MistakenSettings
    variety: list[str]

    def check(self) -> None:
        """Raises a ConfigError that names the first setting out of bounds, and what is allowed."""
        for name in ("runs", "out"):
            require(getattr(self, name) != "", name, "", "a directory, such as ./mine")
        # Verdicts have intervals that cover 1 - 2 alpha.
        require(0 < self.alpha < 0.5, "alpha", self.alpha, "a number above 0 and below 0.5, such as 0.05")
        pairs = all(len(cell) == 2 for cell in self.cells)
        require(pairs, "cells", self.cells, "a list of [true class, predicted class]")
        require(self.resamples >= 100, "resamples", self.resamples, "an integer of 100 or more")
        for name, value in vars(self.price).items():
            good = value is None or (value > 0 and math.isfinite(value))
            require(good, f"price.{name}", value, "a number above 0, or null")
        given = {name: value for name, value in vars(self.price).items() if value is not None}
        if len(given) == 1:
            ((name, value),) = given.items()
            other = "check" if name == "example" else "example"
            raise ConfigError(f"price.{name}={value} without price.{other}: give both, or neither.")
        _require_seed("seed", self.seed)
