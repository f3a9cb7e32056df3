"""A small convolutional network of six layers, in the spirit of the one the article used."""

from collections.abc import Sequence

import torch
from torch import nn

from class_sensitivity.training import onednn

#: Convolutions that are pooled: early, because most of what a layer costs is its number of pixels.
_POOLED = (0, 1, 3)


class Network(nn.Module):
    """Six times 3x3 convolution, batch norm, ReLU, with max pooling after the 1st, 2nd and 4th convolution.

    Each convolution starts as the identity on its input's channels, with random filters for the rest
    (S. Zagoruyko and N. Komodakis, "DiracNets", 2017). The last feature map is reduced by its maximum
    and one linear layer gives the logits.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels, each at least 8.
        num_classes: Logits to give.
        widths: Output channels of the six convolutions.

    Raises:
        ValueError: `widths` is not six positive integers or the image is too small.

    Examples:
        >>> network = Network(in_channels=1, image_size=(8, 8), num_classes=10, widths=[4, 4, 8, 8, 16, 16])
        >>> network(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != 6 or not all(isinstance(width, int) and width > 0 for width in widths):
            raise ValueError(f"model.widths must be six positive integers, got {list(widths)}")
        if min(image_size) < 8:
            raise ValueError(f"images must be at least 8 x 8 for three poolings, got {image_size}")
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            convolution = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
            # The first filters are the identity, the others random: then deep layers get a useful signal from
            # the first step on, which matters in a run of a few epochs.
            nn.init.dirac_(convolution.weight.data[: min(in_channels, width)])
            layers.append(convolution)
            # Pooling before batch norm leaves a quarter of the values to normalise.
            if i in _POOLED:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            in_channels = width
        layers.append(nn.MaxPool2d((image_size[0] // 8, image_size[1] // 8)))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = onednn.apply(self.features, images)  # (B, C, H, W) -> (B, widths[-1], 1, 1)
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits
