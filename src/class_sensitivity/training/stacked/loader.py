"""The batches of several runs side by side, and a LightningDataModule that gives them."""

from collections.abc import Iterator, Sequence

import pytorch_lightning as pl
import torch

from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.loader import Batch, Chunk, EpochLoader


class StackedLoader:
    """The batches that each member would get alone, together: (M, B, C, H, W) images, (M, B) labels.

    Args:
        loaders: One for each of the M members, with batches of the same sizes.
    """

    def __init__(self, loaders: Sequence[EpochLoader]) -> None:
        self.loaders, self.split = loaders, loaders[0].split

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[Batch]:
        for chunks in zip(*(loader.chunks() for loader in self.loaders), strict=True):
            pixels, sizes = self._gather(chunks), chunks[0].sizes
            labels = torch.stack([chunk.labels for chunk in chunks])
            for batch, target in zip(torch.split(pixels, sizes, dim=1), torch.split(labels, sizes, dim=1), strict=True):
                yield self.loaders[0].normalise(batch), target

    def _gather(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """(M, n, H, W, C) uint8; in one go where members share their images, as in training."""
        first = self.loaders[0]
        if any(loader.images is not first.images for loader in self.loaders):
            each = zip(self.loaders, chunks, strict=True)
            return torch.stack([loader.gather(chunk.images, chunk.variants) for loader, chunk in each])
        pixels = first.gather(
            torch.cat([chunk.images for chunk in chunks]), torch.cat([chunk.variants for chunk in chunks])
        )
        return pixels.view(len(chunks), -1, *pixels.shape[1:])


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
        """Held-out examples differ from member to member; the test images are the same for all."""
        of_members = [member.val_dataloader() for member in self.members]
        return [
            loaders[0] if loaders[0].split == "test" else StackedLoader(loaders)
            for loaders in zip(*of_members, strict=True)
        ]

    def test_dataloader(self) -> EpochLoader:
        return self.members[0].test_dataloader()

    def predict_dataloader(self) -> StackedLoader:
        """Every member's own examples with a wrong label first, and then as many repeated as the longest list needs."""
        size = max(len(member.mislabelled) for member in self.members)
        return StackedLoader([member.mislabelled_loader(size) for member in self.members])
