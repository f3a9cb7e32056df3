"""A LightningDataModule over images in memory: a stressed training set, its order and augmentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.augment import draw_variants
from class_sensitivity.data.loader import EVALUATION_BATCH, EpochLoader
from class_sensitivity.errors import ConfigError
from class_sensitivity.seeding import generator
from class_sensitivity.stress import TrainSet

#: Images whose pixels are counted at once.
_COUNTED = 4096


class StressedDataModule(pl.LightningDataModule):
    """Holds a data set on the device that trains, and gives the batches of a stressed training set.

    Args:
        arrays: The data set.
        train_set: Which of its training examples, with which labels (`stress.stressed_train_set`).
        batch_size: Examples a step, at most; 3 where 2 would leave a step of one, which batch norm refuses.
        seeds: The seed of every stream; `order` and `augment` are drawn from.
        device: Where images and labels are kept.
        test_every_epoch: Evaluate the test set after every epoch but the last, for the curves.
        flip: Mirror half of the training images.
        crop_padding: Pixels of reflection padding to crop from.

    Raises:
        ConfigError: The padding is not smaller than an image.
    """

    def __init__(
        self,
        arrays: ImageArrays,
        train_set: TrainSet,
        *,
        batch_size: int,
        seeds: Mapping[str, int],
        device: torch.device,
        test_every_epoch: bool = False,
        flip: bool = False,
        crop_padding: int = 0,
    ) -> None:
        super().__init__()
        self.arrays, self.train_set, self.seeds, self.device = arrays, train_set, seeds, device
        self.flip, self.crop_padding = flip, crop_padding
        self.test_every_epoch = test_every_epoch
        if crop_padding >= min(arrays.train_images.shape[1:3]):
            raise ConfigError(
                f"data.crop_padding={crop_padding} is not allowed: it must be smaller than an image, "
                f"{arrays.train_images.shape[1]} x {arrays.train_images.shape[2]} pixels."
            )
        #: Examples visited in an epoch, repeats counted, and the optimiser steps they make.
        self.visits = train_set.visits
        self.steps_per_epoch = min(-(-train_set.paced_by // batch_size), train_set.paced_by // 2)
        if self.visits < 2 * self.steps_per_epoch and self.visits != train_set.paced_by:
            raise ConfigError(
                f"reduction.match_steps=masked is not allowed here: {self.steps_per_epoch} steps over {self.visits} "
                "examples leave batches of fewer than 2; choose reduction.match_steps=true or a smaller share."
            )

    def setup(self, stage: str | None = None) -> None:
        """Moves the data to the device, once; runs on the same data share what does not differ."""
        if hasattr(self, "pixels"):
            return
        self.pixels = _resident(self.arrays, self.device)
        self.examples = torch.from_numpy(self.train_set.indices).to(self.device)
        self.train_labels = torch.from_numpy(self.train_set.labels).to(self.device)
        held_out = torch.from_numpy(self.train_set.held_out)
        self.validation = (
            torch.from_numpy(self.arrays.train_images)[held_out].to(self.device),
            torch.from_numpy(self.arrays.train_labels)[held_out].to(self.device),
        )

    def train_dataloader(self) -> EpochLoader:
        """The batches of the trainer's current epoch, a function of seeds and epoch alone."""
        assert self.trainer is not None
        order, variants = self._visits(self.trainer.current_epoch)
        return EpochLoader(
            self.pixels.train_images,
            self.train_labels,
            order.to(self.device),
            examples=self.examples,
            split="train",
            steps=self.steps_per_epoch,
            mean=self.pixels.mean,
            std=self.pixels.std,
            variants=None if variants is None else variants.to(self.device),
            padding=self.crop_padding,
        )

    def _visits(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Which examples an epoch visits, in their order, and how each is augmented.

        One pass, or with `match_steps=true` as many as it takes. All are drawn for the pool, and what was removed is
        left out: a reduced set is seen in the order of the full one, which pairs its runs better with the baseline's.
        """
        pool, size = self.train_set.pool, len(self.train_set.indices)
        passes = -(-self.visits // size)
        rng = generator(self.seeds["order"], "order", epoch)
        drawn = np.concatenate([rng.permutation(len(pool)) for _ in range(passes)])
        kept = np.isin(pool, self.train_set.indices, assume_unique=True)
        is_kept = kept[drawn]
        # From a position in the pool to the position among the kept examples.
        order = (np.cumsum(kept) - 1)[drawn][is_kept][: self.visits]
        if not (self.flip or self.crop_padding):
            return torch.from_numpy(order), None
        rng = generator(self.seeds["augment"], "augment", epoch)
        variants = draw_variants(rng, len(drawn), padding=self.crop_padding, flip=self.flip)
        return torch.from_numpy(order), variants[torch.from_numpy(is_kept)][: self.visits]

    def val_dataloader(self) -> list[EpochLoader]:
        """The validation split if there is one; and the test set, for its curve, but after the last
        epoch, where the test itself follows.
        """
        assert self.trainer is not None
        loaders = [self._evaluation("val", *self.validation)] if len(self.train_set.held_out) else []
        last = self.trainer.max_epochs is not None and self.trainer.current_epoch >= self.trainer.max_epochs - 1
        if self.test_every_epoch and not last:
            loaders.append(self.test_dataloader())
        return loaders

    def test_dataloader(self) -> EpochLoader:
        return self._evaluation("test", self.pixels.test_images, self.pixels.test_labels)

    def predict_dataloader(self) -> EpochLoader:
        """The training examples whose label is wrong, with their clean ones, not augmented: what was learnt of them?"""
        positions = torch.from_numpy(self.mislabelled)
        images = torch.from_numpy(self.arrays.train_images)[positions].to(self.device)
        labels = torch.from_numpy(self.arrays.train_labels)[positions].to(self.device)
        return self._evaluation("mislabelled", images, labels)

    @property
    def mislabelled(self) -> NDArray[np.int64]:
        """(w,) positions in the data set of the training examples whose label is wrong, sorted."""
        clean = self.arrays.train_labels[self.train_set.indices]
        return np.asarray(self.train_set.indices[self.train_set.labels != clean])

    def _evaluation(self, split: str, images: torch.Tensor, labels: torch.Tensor) -> EpochLoader:
        order = torch.arange(len(images), device=self.device)
        steps = -(-len(images) // EVALUATION_BATCH)
        return EpochLoader(images, labels, order, split=split, steps=steps, mean=self.pixels.mean, std=self.pixels.std)


@dataclass(frozen=True)
class _Resident:
    """What all runs on a data set share, on the device.

    Attributes:
        train_images: (N, H, W, C) uint8.
        test_images: (n, H, W, C) uint8.
        test_labels: (n,) int64.
        mean: (C,) float32 of the whole training set, not of what a reduction leaves: it belongs to the data set's
            normal form, so that a condition differs from the baseline in its stress alone.
        std: (C,) float32, likewise.
    """

    train_images: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


@lru_cache(maxsize=1)
def _resident(arrays: ImageArrays, device: torch.device) -> _Resident:
    train_images = torch.from_numpy(arrays.train_images)
    mean, std = _channel_statistics(train_images)
    return _Resident(
        train_images.to(device),
        torch.from_numpy(arrays.test_images).to(device),
        torch.from_numpy(arrays.test_labels).to(device),
        mean.to(device),
        std.to(device),
    )


def _channel_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over (N, H, W, C), in pixel values.

    From a histogram of some images at a time: exact, and no copy of the data set is made. A constant channel has 1.
    """
    values = np.arange(256)
    means, stds = [], []
    for channel in range(images.shape[3]):
        total = torch.zeros(256, dtype=torch.int64)
        for part in torch.split(images[..., channel], _COUNTED):
            total += torch.bincount(part.flatten(), minlength=256)
        counts = total.numpy()
        mean = (counts * values).sum() / counts.sum()
        variance = (counts * (values - mean) ** 2).sum() / counts.sum()
        means.append(mean)
        stds.append(np.sqrt(variance) or 1.0)
    return torch.tensor(means, dtype=torch.float32), torch.tensor(stds, dtype=torch.float32)
