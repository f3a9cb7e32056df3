"""The batches of several runs side by side, and a LightningDataModule that gives them."""

from collections.abc import Iterator, Sequence

import pytorch_lightning as pl
import torch

from class_sensitivity.data.datamodule import Batch, EpochLoader, StressedDataModule


class StackedLoader:
    """Batch by batch what each member would see alone: (M, B, C, H, W) images, (M, B) labels.

    Args:
        loaders: One for each of the M members, over the same images and with batches of the same sizes.
    """

    def __init__(self, loaders: Sequence[EpochLoader]) -> None:
        self.loaders, self.split = loaders, loaders[0].split

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[Batch]:
        first, members = self.loaders[0], len(self.loaders)
        for chunks in zip(*(loader.chunks() for loader in self.loaders), strict=True):
            images = torch.cat([chunk.images for chunk in chunks])
            variants = torch.cat([chunk.variants for chunk in chunks])
            pixels = first.gather(images, variants)
            pixels = pixels.view(members, -1, *pixels.shape[1:])
            labels = torch.stack([chunk.labels for chunk in chunks])
            sizes = chunks[0].sizes
            for batch, target in zip(torch.split(pixels, sizes, dim=1), torch.split(labels, sizes, dim=1), strict=True):
                yield first.normalise(batch), target


class StackedDataModule(pl.LightningDataModule):
    """The data of several runs on one data set.

    Args:
        members: The data of each, with equally many visits an epoch.
    """

    def __init__(self, members: Sequence[StressedDataModule]) -> None:
        super().__init__()
        self.members = members

    def setup(self, stage: str | None = None) -> None:
        for member in self.members:
            member.trainer = self.trainer  # each asks it for the epoch
            member.setup(stage)

    def train_dataloader(self) -> StackedLoader:
        return StackedLoader([member.train_dataloader() for member in self.members])

    def val_dataloader(self) -> list[StackedLoader | EpochLoader]:
        """Held-out records differ from member to member; the test images are the same for all."""
        own = [member.val_dataloader() for member in self.members]
        return [
            loaders[0] if loaders[0].split == "test" else StackedLoader(loaders) for loaders in zip(*own, strict=True)
        ]

    def test_dataloader(self) -> EpochLoader:
        return self.members[0].test_dataloader()
