"""LeNet-5 in its present-day form."""

import torch
from torch import nn


class Network(nn.Module):
    """Two 5x5 convolutions of 6 and 16 channels and three linear layers of 120, 84 and K units.

    The layers and their sizes are those of LeNet-5 (Y. LeCun et al., "Gradient-based learning applied to document
    recognition", 1998, section II.B), with ReLU in place of tanh, max pooling in place of trained averages, every
    channel connected to every other, and both convolutions padded, so that small images keep their edges.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels, each at least 4.
        num_classes: Logits to give.

    Raises:
        ValueError: The image is too small.

    Examples:
        >>> network = Network(in_channels=3, image_size=(32, 32), num_classes=10)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        if min(image_size) < 4:
            raise ValueError(f"images must be at least 4 x 4 for two poolings, got {image_size}")
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        height, width = image_size
        self.classifier = nn.Sequential(
            nn.Linear(16 * (height // 4) * (width // 4), 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.features(images)  # (B, C, H, W) -> (B, 16, H // 4, W // 4)
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits
