"""Networks: one file each, with a class `Network`; plain `nn.Module`s from images to logits.

The file's name is the model's name; `conf/model/<name>.yaml` holds its settings, which become the
keyword arguments of `Network`.
"""

import inspect
import pkgutil
from importlib import import_module

from torch import nn

from class_sensitivity.errors import ConfigError
from class_sensitivity.settings import ModelSettings


def known_models() -> list[str]:
    """The names of all models."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_model(
    settings: ModelSettings, *, in_channels: int, image_size: tuple[int, int], num_classes: int
) -> nn.Module:
    """Builds the network that settings ask for, with weights from torch's global generator.

    Args:
        settings: Its name, and the settings that it alone has.
        in_channels: Channels of an image.
        image_size: (height, width) in pixels.
        num_classes: K, the logits to give.

    Returns:
        A module from (B, C, H, W) images to (B, K) logits.

    Raises:
        ConfigError: The name or a setting is not known, or the network cannot be built with them.

    Examples:
        >>> import torch
        >>> settings = ModelSettings("cnn6", {"widths": [8, 8, 16, 16, 32, 32]})
        >>> network = build_model(settings, in_channels=3, image_size=(32, 32), num_classes=10)
        >>> network(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """
    name, options = settings.name, settings.options
    if name not in known_models():
        raise ConfigError(f"model.name={name} is not known: it must be one of {', '.join(known_models())}.")
    network = import_module(f"{__name__}.{name}").Network
    own = [p for p in inspect.signature(network).parameters if p not in ("in_channels", "image_size", "num_classes")]
    if unknown := sorted(set(options) - set(own)):
        raise ConfigError(f"model.{unknown[0]} is not a setting of {name}: it must be one of {', '.join(own)}.")
    try:
        module: nn.Module = network(in_channels=in_channels, image_size=image_size, num_classes=num_classes, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name} cannot be built: {error}.") from None
    return module
