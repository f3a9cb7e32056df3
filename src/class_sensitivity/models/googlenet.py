"""A small GoogLeNet for small images."""

import torch
from torch import nn


class Convolution(nn.Sequential):
    """Convolution that keeps the size of the image, batch norm, ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int) -> None:
        convolution = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5; pooling then 1x1.

    Of the output channels a quarter, a half, an eighth and an eighth come from each, about as in the paper.

    Args:
        in_channels: Channels of its input.
        channels: Channels of its output; a multiple of 8.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        eighth = channels // 8
        self.branches = nn.ModuleList(
            [
                Convolution(in_channels, 2 * eighth, 1),
                nn.Sequential(Convolution(in_channels, 3 * eighth, 1), Convolution(3 * eighth, 4 * eighth, 3)),
                nn.Sequential(Convolution(in_channels, eighth, 1), Convolution(eighth, eighth, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), Convolution(in_channels, eighth, 1)),
            ]
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class Network(nn.Module):
    """A 3x3 convolution and five inception modules, with three poolings between them.

    The module is that of C. Szegedy et al., "Going deeper with convolutions", 2015, with batch norm as in S. Ioffe and
    C. Szegedy, "Batch normalization", 2015. There are five modules in place of nine, one convolution in place of
    three before them, and no auxiliary classifiers.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels, each at least 8.
        num_classes: Logits to give.
        width: Channels of the first convolution, a multiple of 8; the modules have 2, 2, 4, 4 and 6 times as many.

    Raises:
        ValueError: `width` is no positive multiple of 8 or the image is too small.

    Examples:
        >>> network = Network(in_channels=3, image_size=(32, 32), num_classes=10, width=8)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int, width: int) -> None:
        super().__init__()
        if not isinstance(width, int) or width < 1 or width % 8:
            raise ValueError(f"model.width must be a positive multiple of 8, got {width}")
        if min(image_size) < 8:
            raise ValueError(f"images must be at least 8 x 8 for three poolings, got {image_size}")
        self.features = nn.Sequential(
            Convolution(in_channels, width, 3),
            nn.MaxPool2d(2),
            Inception(width, 2 * width),
            Inception(2 * width, 2 * width),
            nn.MaxPool2d(2),
            Inception(2 * width, 4 * width),
            Inception(4 * width, 4 * width),
            nn.MaxPool2d(2),
            Inception(4 * width, 6 * width),
        )
        self.classifier = nn.Linear(6 * width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
