"""Networks: one file each, with a class `Network`; plain `nn.Module`s from images to logits.

The file's name is the model's name; `conf/model/<name>.yaml` holds its settings, which become the
keyword arguments of `Network`.
"""

import inspect
import pkgutil
from importlib import import_module
from typing import Any

from torch import nn

from class_sensitivity.errors import ConfigError


def known_models() -> list[str]:
    """The names of all models."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_model(
    name: str, *, in_channels: int, image_size: tuple[int, int], num_classes: int, **settings: Any
) -> nn.Module:
    """Builds a network by name.

    Args:
        name: The name of a file in this package.
        in_channels: Channels of an image.
        image_size: (height, width) in pixels.
        num_classes: Logits to give.
        settings: The network's own settings.

    Raises:
        ConfigError: The name or a setting is not known, or the network cannot be built with them.
    """
    if name not in known_models():
        raise ConfigError(f"model.name={name} is not known: it must be one of {', '.join(known_models())}.")
    network = import_module(f"{__name__}.{name}").Network
    own = [p for p in inspect.signature(network).parameters if p not in ("in_channels", "image_size", "num_classes")]
    if unknown := sorted(set(settings) - set(own)):
        raise ConfigError(f"model.{unknown[0]} is not a setting of {name}: it must be one of {', '.join(own)}.")
    try:
        module: nn.Module = network(in_channels=in_channels, image_size=image_size, num_classes=num_classes, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name} cannot be built: {error}.") from None
    return module
