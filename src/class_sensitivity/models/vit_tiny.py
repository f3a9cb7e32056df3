"""A vision transformer small enough for small images and few cores."""

import torch
from torch import nn


class Layer(nn.Module):
    """Self-attention, then two linear layers, each after layer norm and with a skip connection past it.

    It is `nn.TransformerEncoderLayer`, whose attention takes twice as long on a CPU for sequences as short as these.

    Args:
        width: Numbers that stand for a patch.
        heads: Of the attention; they divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)  # queries, keys, values
        self.output = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = features + self._attend(self.norm1(features))
        output: torch.Tensor = features + self.perceptron(self.norm2(features))
        return output

    def _attend(self, features: torch.Tensor) -> torch.Tensor:
        batch, patches, width = features.shape
        size = width // self.heads
        projected = self.projections(features).view(batch, patches, 3, self.heads, size)
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)  # (B, heads, patches, size) each
        shares = (queries @ keys.transpose(-1, -2) / size**0.5).softmax(-1)
        attended: torch.Tensor = self.output((shares @ values).transpose(1, 2).flatten(2))
        return attended


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
        self.encoder = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.patches(images).flatten(2).transpose(1, 2) + self.position  # (B, patches, width)
        logits: torch.Tensor = self.classifier(self.norm(self.encoder(features)).mean(1))
        return logits
