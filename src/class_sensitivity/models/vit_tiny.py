"""A vision transformer small enough for small images and few cores."""

import torch
from torch import nn


class Network(nn.Module):
    """Cuts an image into patches and lets a transformer encoder look at them; their mean gives the logits.

    A. Dosovitskiy et al., "An image is worth 16x16 words", 2021, with the mean over patches in place of a class token
    (L. Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022) and no dropout.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels, multiples of `patch`.
        num_classes: Logits to give.
        patch: Height and width of a patch in pixels.
        width: Numbers that stand for a patch.
        depth: Layers of the encoder.
        heads: Of the attention; they divide `width`.

    Raises:
        ValueError: A setting is no positive integer, or does not divide what it must.

    Examples:
        >>> network = Network(3, (32, 32), num_classes=10, patch=4, width=16, depth=2, heads=2)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        num_classes: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        for name, value in {"patch": patch, "width": width, "depth": depth, "heads": heads}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"model.{name} must be a positive integer, got {value}")
        height, columns = image_size
        if height % patch or columns % patch:
            raise ValueError(f"height and width of images must be multiples of model.patch={patch}, got {image_size}")
        if width % heads:
            raise ValueError(f"model.width must be a multiple of model.heads={heads}, got {width}")
        self.patches = nn.Conv2d(in_channels, width, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(height // patch * (columns // patch), width))
        # One by one: nn.TransformerEncoder copies a layer, so that all would begin with the same weights.
        self.encoder = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.patches(images).flatten(2).transpose(1, 2) + self.position  # (B, patches, width)
        logits: torch.Tensor = self.classifier(self.norm(self.encoder(features)).mean(1))
        return logits
