"""ResNet-18 for small images, without its skip connections."""

from class_sensitivity.models import resnet18


class Network(resnet18.Network):
    """The plain network that K. He et al., "Deep residual learning for image recognition", 2016, compare with.

    Args:
        in_channels: As of `resnet18`.
        image_size: As of `resnet18`.
        num_classes: As of `resnet18`.
        width: As of `resnet18`.

    Examples:
        >>> network = Network(in_channels=3, image_size=(32, 32), num_classes=10, width=8)
        >>> sum(parameter.numel() for parameter in network.parameters())
        173490
    """

    skip = False
