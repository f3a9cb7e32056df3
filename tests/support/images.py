"""Small data sets whose images can be told apart, and data modules as a trainer would have them."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.loader import EpochLoader
from class_sensitivity.seeding import STREAMS
from support.labels import stressed

SEEDS = dict.fromkeys(STREAMS, 1)


def numbered_arrays(n_train: int = 500, n_test: int = 60, size: int = 8) -> ImageArrays:
    """A data set of three unbalanced classes whose images carry their own number in two channels."""
    rng = np.random.default_rng(0)

    def images(n: int, first: int) -> np.ndarray:
        numbers = np.arange(first, first + n)
        planes = np.stack([numbers % 256, numbers // 256, rng.integers(0, 256, n)], axis=-1).astype(np.uint8)
        return np.broadcast_to(planes[:, None, None, :], (n, size, size, 3)).copy()

    return ImageArrays(
        train_images=images(n_train, 0),
        train_labels=rng.choice(3, n_train, p=[0.6, 0.3, 0.1]).astype(np.int64),
        test_images=images(n_test, n_train),
        test_labels=rng.integers(0, 3, n_test),
        class_names=("ant", "bee", "cow"),
    )


def random_images(n: int, size: int = 6, channels: int = 2) -> torch.Tensor:
    """(n, size, size, channels) uint8."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, size, size, channels), dtype=np.uint8))


def data_module(
    arrays: ImageArrays,
    *,
    epoch: int = 0,
    epochs: int = 3,
    seeds: dict[str, int] = SEEDS,
    batch_size: int = 32,
    test_every_epoch: bool = False,
    flip: bool = False,
    crop_padding: int = 0,
    **stress: Any,
) -> StressedDataModule:
    """Set up as a trainer would have it in the given epoch; `stress` as of `labels.stressed`."""
    module = StressedDataModule(
        arrays,
        stressed((arrays.train_labels, arrays.num_classes), seeds=seeds, **stress),
        batch_size=batch_size,
        seeds=seeds,
        device=torch.device("cpu"),
        test_every_epoch=test_every_epoch,
        flip=flip,
        crop_padding=crop_padding,
    )
    module.trainer = SimpleNamespace(current_epoch=epoch, max_epochs=epochs)
    module.setup()
    return module


def numbers_in(module: StressedDataModule, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    """Which examples a loader gives, read back from the normalised pixels."""
    seen: list[int] = []
    for images, _ in loader:
        pixels = (images * module.pixels.std[:, None, None] + module.pixels.mean[:, None, None]).round().long()
        seen += (pixels[:, 0, 0, 0] + 256 * pixels[:, 1, 0, 0]).tolist()
    return seen


def labels_in(loader: EpochLoader) -> list[int]:
    """The labels that a loader gives."""
    return torch.cat([labels for _, labels in loader]).tolist()
