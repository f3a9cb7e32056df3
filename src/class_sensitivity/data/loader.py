"""The batches of one epoch, gathered and augmented without workers."""

from collections.abc import Iterator

import torch

from class_sensitivity.data.augment import flip_and_crop

#: Batches whose images are gathered and augmented in one go.
_BATCHES_PER_CHUNK = 16
#: Images of a batch of an evaluation; on a CPU twice as many no longer fit into its cache.
EVALUATION_BATCH = 500

Batch = tuple[torch.Tensor, torch.Tensor]


class EpochLoader:
    """The batches of one epoch: (B, C, H, W) float32 images in channels_last layout, (B,) int64 labels.

    Args:
        images: (N, H, W, C) uint8.
        labels: (n,) int64, of each example.
        order: Positions of examples in the order in which they are visited.
        examples: (n,) int64, which image is each example's; None: the first n in their order.
        split: `train`, `val`, `test` or `mislabelled`.
        steps: Batches to cut `order` into; their sizes differ by one at most, so that no batch is
            tiny and no example is left out.
        mean: (C,) subtracted from pixel values in [0, 255].
        std: (C,) divided by.
        variants: (visits,) int64, how each visit is augmented (`augment.draw_variants`), or None for not at all.
        padding: Pixels to crop from each side at most.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        order: torch.Tensor,
        *,
        examples: torch.Tensor | None = None,
        split: str,
        steps: int,
        mean: torch.Tensor,
        std: torch.Tensor,
        variants: torch.Tensor | None = None,
        padding: int = 0,
    ) -> None:
        self.images, self.labels, self.examples = images, labels, examples
        self.order, self.split, self.steps = order, split, steps
        self.mean, self.scale = mean, 1 / std
        self.variants = torch.zeros(0, dtype=torch.int64) if variants is None else variants
        self.padding = padding

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        labels = self.labels[self.order]
        images = self.order if self.examples is None else self.examples[self.order]
        sizes = [len(batch) for batch in self.order.tensor_split(self.steps)]
        start = 0
        for first in range(0, self.steps, _BATCHES_PER_CHUNK):
            chunk = sizes[first : first + _BATCHES_PER_CHUNK]
            part = slice(start, start + sum(chunk))
            pixels = torch.split(self._gather(images[part], self.variants[part]), chunk)
            for batch, target in zip(pixels, torch.split(labels[part], chunk), strict=True):
                yield self._normalise(batch), target
            start = part.stop

    def _gather(self, images: torch.Tensor, variants: torch.Tensor) -> torch.Tensor:
        """(n, H, W, C) uint8 images by number, augmented if there are variants."""
        if len(variants) == 0:
            return self.images[images]
        return flip_and_crop(self.images, images, variants, padding=self.padding)

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) uint8 to (B, C, H, W) float32: a permuted NHWC tensor is in channels_last layout."""
        return ((pixels.float() - self.mean) * self.scale).movedim(-1, -3)
