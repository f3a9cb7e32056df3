"""A LightningDataModule over images in memory: stress, order, augmentation, without workers."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytorch_lightning as pl
import torch

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.augment import flip_and_crop, pad
from class_sensitivity.errors import ConfigError
from class_sensitivity.seeding import generator
from class_sensitivity.stress import TrainSet, stressed_train_set

#: Batches whose images are gathered and augmented in one go.
_BATCHES_PER_CHUNK = 16
_EVALUATION_BATCH = 1000

Batch = tuple[torch.Tensor, torch.Tensor]


class EpochLoader:
    """The batches of one epoch: (B, C, H, W) float32 images in channels_last layout, (B,) int64 labels.

    Args:
        images: (N, H, W, C) uint8, padded by `padding`.
        labels: (N,) int64.
        split: `train`, `val` or `test`, for whoever is handed the loader.
        order: (n,) positions in the order in which they are visited.
        steps: Batches to cut `order` into; their sizes differ by one at most, so that no batch is
            tiny and no record is left out.
        mean: (C,) subtracted from pixel values in [0, 255].
        std: (C,) divided by.
        augmentation: (seed, epoch) of the augmentation stream, or None for none.
        padding: Pixels to crop from each side at most.
        flip: Mirror half of the images.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        order: torch.Tensor,
        *,
        split: str,
        steps: int,
        mean: torch.Tensor,
        std: torch.Tensor,
        augmentation: tuple[int, int] | None = None,
        padding: int = 0,
        flip: bool = False,
    ) -> None:
        self.images, self.labels = images, labels
        self.order, self.split, self.steps = order, split, steps
        self.mean, self.scale = mean, 1 / std
        self.augmentation, self.padding, self.flip = augmentation, padding, flip

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        rng = None if self.augmentation is None else generator(self.augmentation[0], "augment", self.augmentation[1])
        batches = self.order.tensor_split(self.steps)
        for first in range(0, self.steps, _BATCHES_PER_CHUNK):
            chunk = batches[first : first + _BATCHES_PER_CHUNK]
            positions = torch.cat(chunk)
            if rng is None:
                images = self.images[positions]
            else:
                images = flip_and_crop(self.images, positions, rng, padding=self.padding, flip=self.flip)
            sizes = [len(batch) for batch in chunk]
            for pixels, labels in zip(
                torch.split(images, sizes), torch.split(self.labels[positions], sizes), strict=True
            ):
                # A permuted NHWC tensor is an NCHW tensor in channels_last layout, without a copy.
                yield ((pixels.float() - self.mean) * self.scale).permute(0, 3, 1, 2), labels


class StressedDataModule(pl.LightningDataModule):
    """Holds a data set on the device that trains and applies noise and reduction to its training part.

    Args:
        arrays: The data set.
        batch_size: Records a step, at most.
        seeds: The seed of every stream.
        device: Where images and labels are kept.
        noise_kind: A key of `stress.NOISE_KINDS`.
        noise_frac: Share of the kept records that is touched.
        noise_classes: Names of the classes to lie about; empty means all.
        noise_partner: Class name -> the class that `pair` turns it into.
        reduction_frac: Share of the records that is removed.
        match_steps: Take as many steps an epoch as without reduction.
        stratified: Select in proportion from every class.
        validation_frac: Share held out, clean, before any stress.
        test_every_epoch: Evaluate the test set after every epoch but the last, for the curves.
        flip: Mirror half of the training images.
        crop_padding: Pixels of reflection padding to crop from.

    Raises:
        ConfigError: A class name is not known, or stress leaves a class or the training set empty.
    """

    def __init__(
        self,
        arrays: ImageArrays,
        *,
        batch_size: int,
        seeds: dict[str, int],
        device: torch.device,
        noise_kind: str = "shuffle",
        noise_frac: float = 0.0,
        noise_classes: Sequence[str] = (),
        noise_partner: dict[str, str] | None = None,
        reduction_frac: float = 0.0,
        match_steps: bool = False,
        stratified: bool = False,
        validation_frac: float = 0.0,
        test_every_epoch: bool = False,
        flip: bool = False,
        crop_padding: int = 0,
    ) -> None:
        super().__init__()
        self.arrays, self.batch_size, self.seeds, self.device = arrays, batch_size, seeds, device
        self.flip, self.crop_padding = flip, crop_padding
        self.test_every_epoch = test_every_epoch
        if crop_padding >= min(arrays.train_images.shape[1:3]):
            raise ConfigError(
                f"data.crop_padding={crop_padding} is not allowed: it must be smaller than an image, "
                f"{arrays.train_images.shape[1]} x {arrays.train_images.shape[2]} pixels."
            )

        everything = np.arange(len(arrays.train_labels))
        shuffled = generator(seeds["validation"], "validation").permutation(everything)
        held_out = round(validation_frac * len(everything))
        self.validation_indices = np.sort(shuffled[:held_out])
        trainable = np.sort(shuffled[held_out:])

        self.train_set = self._stressed(
            trainable,
            validation_frac,
            noise_kind=noise_kind,
            noise_frac=noise_frac,
            noise_classes=[self._class_index("noise.classes", name) for name in noise_classes],
            noise_partner=self._partners(noise_partner or {}),
            reduction_frac=reduction_frac,
            stratified=stratified,
        )
        #: Records visited in an epoch, repeats counted, and the optimiser steps they make.
        self.visits = len(trainable) if match_steps else len(self.train_set.indices)
        self.steps_per_epoch = -(-self.visits // batch_size)

    def _class_index(self, key: str, name: str) -> int:
        names = self.arrays.class_names
        if name not in names:
            raise ConfigError(f"{key}={name} is not a class of this data set: it must be one of {', '.join(names)}.")
        return names.index(name)

    def _partners(self, chosen: dict[str, str]) -> list[int]:
        num_classes = self.arrays.num_classes
        partner = [(c + 1) % num_classes for c in range(num_classes)]
        for name, other in chosen.items():
            source, target = self._class_index("noise.partner", name), self._class_index("noise.partner", other)
            if source == target:
                raise ConfigError(f"noise.partner turns {name} into itself: name another class.")
            partner[source] = target
        return partner

    def _stressed(self, trainable: np.ndarray, validation_frac: float, **stress: object) -> TrainSet:
        labels = self.arrays.train_labels[trainable]
        blame = (
            f"reduction.frac={stress['reduction_frac']}"
            if stress["reduction_frac"]
            else f"training.validation_frac={validation_frac}"
        )
        too_much = f"{blame} is too high: it leaves"
        try:
            train_set = stressed_train_set(
                labels,
                self.arrays.num_classes,
                selection_seed=self.seeds["selection"],
                labels_seed=self.seeds["labels"],
                **stress,  # type: ignore[arg-type]
            )
        except ValueError:
            raise ConfigError(f"{too_much} no training record of {len(labels)}; choose a smaller share.") from None
        left = np.bincount(labels[train_set.indices], minlength=self.arrays.num_classes)
        if (left == 0).any():
            name = self.arrays.class_names[int(np.argmin(left))]
            raise ConfigError(f"{too_much} no training record of class {name}; choose a smaller share.")
        return TrainSet(trainable[train_set.indices], train_set.labels, train_set.touched, train_set.audit)

    def setup(self, stage: str | None = None) -> None:
        """Moves the data to the device, once."""
        if hasattr(self, "train_images"):
            return
        train_images = torch.from_numpy(self.arrays.train_images)
        # Statistics of the whole training set, not of what a reduction leaves: they belong to the
        # data set's normal form, so that a condition differs from the baseline in its stress alone.
        self.mean, self.std = (t.to(self.device) for t in _channel_statistics(train_images))
        # A reduced run needs only its own records, augmented or not.
        kept = torch.from_numpy(self.train_set.indices)
        self.train_images = pad(train_images[kept], self.crop_padding).to(self.device)
        self.train_labels = torch.from_numpy(self.train_set.labels).to(self.device)
        held_out = torch.from_numpy(self.validation_indices)
        self.validation = (
            train_images[held_out].to(self.device),
            torch.from_numpy(self.arrays.train_labels[self.validation_indices]).to(self.device),
        )
        self.test = (
            torch.from_numpy(self.arrays.test_images).to(self.device),
            torch.from_numpy(self.arrays.test_labels).to(self.device),
        )

    def train_dataloader(self) -> EpochLoader:
        """The batches of the trainer's current epoch, a function of seeds and epoch alone."""
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        return EpochLoader(
            self.train_images,
            self.train_labels,
            self._order(epoch).to(self.device),
            split="train",
            steps=self.steps_per_epoch,
            mean=self.mean,
            std=self.std,
            augmentation=(self.seeds["augment"], epoch) if self.flip or self.crop_padding else None,
            padding=self.crop_padding,
            flip=self.flip,
        )

    def _order(self, epoch: int) -> torch.Tensor:
        """Positions visited in an epoch: one pass, or with matched steps as many as it takes."""
        rng = generator(self.seeds["order"], "order", epoch)
        size = len(self.train_set.indices)
        passes = [rng.permutation(size) for _ in range(-(-self.visits // size))]
        return torch.from_numpy(np.concatenate(passes)[: self.visits])

    def val_dataloader(self) -> list[EpochLoader]:
        """The validation split if there is one; and the test set, for its curve, but after the last
        epoch, where the test itself follows.
        """
        assert self.trainer is not None
        loaders = [self._evaluation("val", *self.validation)] if len(self.validation_indices) else []
        last = self.trainer.max_epochs is not None and self.trainer.current_epoch >= self.trainer.max_epochs - 1
        if self.test_every_epoch and not last:
            loaders.append(self.test_dataloader())
        return loaders

    def test_dataloader(self) -> EpochLoader:
        return self._evaluation("test", *self.test)

    def _evaluation(self, split: str, images: torch.Tensor, labels: torch.Tensor) -> EpochLoader:
        order = torch.arange(len(images), device=self.device)
        steps = -(-len(images) // _EVALUATION_BATCH)
        return EpochLoader(images, labels, order, split=split, steps=steps, mean=self.mean, std=self.std)


def _channel_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over (N, H, W, C), in pixel values.

    From a histogram: exact, and no float copy of the data set is made. A constant channel has 1.
    """
    values = np.arange(256)
    means, stds = [], []
    for channel in range(images.shape[3]):
        counts = torch.bincount(images[..., channel].flatten().int(), minlength=256).numpy()
        mean = (counts * values).sum() / counts.sum()
        variance = (counts * (values - mean) ** 2).sum() / counts.sum()
        means.append(mean)
        stds.append(np.sqrt(variance) or 1.0)
    return torch.tensor(means, dtype=torch.float32), torch.tensor(stds, dtype=torch.float32)
