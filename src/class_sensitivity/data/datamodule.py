"""A LightningDataModule over images in memory: stress, order, augmentation, without workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytorch_lightning as pl
import torch

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.augment import draw_variants, flip_and_crop, pad
from class_sensitivity.errors import ConfigError
from class_sensitivity.seeding import generator
from class_sensitivity.stress import TrainSet, stressed_train_set

#: Batches whose images are gathered and augmented in one go.
_BATCHES_PER_CHUNK = 16
#: Images of a batch of an evaluation; on a CPU twice as many no longer fit into its cache.
EVALUATION_BATCH = 500

Batch = tuple[torch.Tensor, torch.Tensor]


class EpochLoader:
    """The batches of one epoch: (B, C, H, W) float32 images in channels_last layout, (B,) int64 labels.

    Args:
        images: (N, H, W, C) uint8, padded by `padding`.
        labels: (n,) int64, of each record.
        order: Positions of records in the order in which they are visited.
        records: (n,) int64, which image is each record's; None: the first n in their order.
        split: `train`, `val` or `test`, for whoever is handed the loader.
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
        records: torch.Tensor | None = None,
        split: str,
        steps: int,
        mean: torch.Tensor,
        std: torch.Tensor,
        augmentation: tuple[int, int] | None = None,
        padding: int = 0,
        flip: bool = False,
    ) -> None:
        self.images, self.labels, self.records = images, labels, records
        self.order, self.split, self.steps = order, split, steps
        self.mean, self.scale = mean, 1 / std
        self.augmentation, self.padding, self.flip = augmentation, padding, flip

    def __len__(self) -> int:
        return self.steps

    def chunks(self) -> Iterator["Chunk"]:
        """What the epoch visits, some batches at a time; drawn at once, so that no device waits for a draw."""
        variants = torch.zeros(0, dtype=torch.int64)
        if self.augmentation is not None:
            rng = generator(self.augmentation[0], "augment", self.augmentation[1])
            variants = draw_variants(rng, len(self.order), padding=self.padding, flip=self.flip).to(self.images.device)
        labels = self.labels[self.order]
        images = self.order if self.records is None else self.records[self.order]
        sizes = [len(batch) for batch in self.order.tensor_split(self.steps)]
        start = 0
        for first in range(0, self.steps, _BATCHES_PER_CHUNK):
            chunk = sizes[first : first + _BATCHES_PER_CHUNK]
            part = slice(start, start + sum(chunk))
            yield Chunk(chunk, images[part], labels[part], variants[part])
            start = part.stop

    def gather(self, images: torch.Tensor, variants: torch.Tensor) -> torch.Tensor:
        """(n, H, W, C) uint8 images by number, augmented if there are variants."""
        if len(variants) == 0:
            return self.images[images]
        return flip_and_crop(self.images, images, variants, padding=self.padding)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(..., H, W, C) uint8 to (..., C, H, W) float32: a permuted NHWC tensor is in channels_last layout."""
        return ((pixels.float() - self.mean) * self.scale).movedim(-1, -3)

    def __iter__(self) -> Iterator[Batch]:
        for chunk in self.chunks():
            pixels = torch.split(self.gather(chunk.images, chunk.variants), chunk.sizes)
            for batch, labels in zip(pixels, torch.split(chunk.labels, chunk.sizes), strict=True):
                yield self.normalise(batch), labels


@dataclass(frozen=True)
class Chunk:
    """Consecutive batches of an epoch.

    Attributes:
        sizes: Records in each batch; n in all.
        images: (n,) int64, which images.
        labels: (n,) int64.
        variants: (n,) int64, how each is augmented; empty for not at all.
    """

    sizes: list[int]
    images: torch.Tensor
    labels: torch.Tensor
    variants: torch.Tensor


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
        """Moves the data to the device, once; runs on the same data share what does not differ."""
        if hasattr(self, "pixels"):
            return
        self.pixels = _resident(self.arrays, self.device, self.crop_padding)
        self.records = torch.from_numpy(self.train_set.indices).to(self.device)
        self.train_labels = torch.from_numpy(self.train_set.labels).to(self.device)
        held_out = torch.from_numpy(self.validation_indices)
        self.validation = (
            torch.from_numpy(self.arrays.train_images)[held_out].to(self.device),
            torch.from_numpy(self.arrays.train_labels)[held_out].to(self.device),
        )

    def train_dataloader(self) -> EpochLoader:
        """The batches of the trainer's current epoch, a function of seeds and epoch alone."""
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        return EpochLoader(
            self.pixels.train_images,
            self.train_labels,
            self._order(epoch).to(self.device),
            records=self.records,
            split="train",
            steps=self.steps_per_epoch,
            mean=self.pixels.mean,
            std=self.pixels.std,
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
        return self._evaluation("test", self.pixels.test_images, self.pixels.test_labels)

    def _evaluation(self, split: str, images: torch.Tensor, labels: torch.Tensor) -> EpochLoader:
        order = torch.arange(len(images), device=self.device)
        steps = -(-len(images) // EVALUATION_BATCH)
        return EpochLoader(images, labels, order, split=split, steps=steps, mean=self.pixels.mean, std=self.pixels.std)


@dataclass(frozen=True)
class _Resident:
    """What all runs on a data set share, on the device.

    Attributes:
        train_images: (N, H + 2p, W + 2p, C) uint8, padded.
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
def _resident(arrays: ImageArrays, device: torch.device, padding: int) -> _Resident:
    train_images = torch.from_numpy(arrays.train_images)
    mean, std = _channel_statistics(train_images)
    return _Resident(
        pad(train_images, padding).to(device),
        torch.from_numpy(arrays.test_images).to(device),
        torch.from_numpy(arrays.test_labels).to(device),
        mean.to(device),
        std.to(device),
    )


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
