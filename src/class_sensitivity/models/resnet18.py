"""ResNet-18 for small images."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and past them a skip connection.

    Args:
        in_channels: Channels of its input.
        channels: Channels of its output.
        stride: Of the first convolution.
        skip: Add the input to the output; where their shapes differ, a 1x1 convolution of it.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, *, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.skip = skip
        self.downsample: nn.Module = nn.Identity()
        if skip and (stride != 1 or in_channels != channels):
            projection = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = functional.relu(self.bn1(self.conv1(features)))
        output = self.bn2(self.conv2(output))
        return functional.relu(output + self.downsample(features) if self.skip else output)


class Network(nn.Module):
    """Four stages of two blocks, of 1, 2, 4 and 8 times as many channels; each but the first halves the image.

    K. He et al., "Deep residual learning for image recognition", 2016, with the first layer for small images that is
    usual on CIFAR: 3x3 with stride 1 in place of 7x7 with stride 2, and no pooling after it. At width 64 it is
    torchvision's resnet18 but for these two, under the same names of weights.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels; any.
        num_classes: Logits to give.
        width: Channels of the first stage; 64 in the original.

    Raises:
        ValueError: `width` is no positive integer.

    Examples:
        >>> network = Network(in_channels=3, image_size=(32, 32), num_classes=10, width=8)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    #: Whether blocks have skip connections.
    skip = True

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int, width: int) -> None:
        super().__init__()
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"model.width must be a positive integer, got {width}")
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.layer4 = self._stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as in the paper (K. He et al., "Delving deep into rectifiers", 2015)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, in_channels: int, channels: int, stride: int) -> nn.Sequential:
        first = Block(in_channels, channels, stride, skip=self.skip)
        return nn.Sequential(first, Block(channels, channels, 1, skip=self.skip))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: torch.Tensor = self.fc(features.mean((2, 3)))
        return logits
