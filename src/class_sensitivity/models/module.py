"""Anyone's own network, by import path: `model=module model.module=my_net:Net`."""

import inspect
from typing import Any

from torch import nn

from class_sensitivity.errors import ConfigError
from class_sensitivity.user_code import describe, load_object


def Network(in_channels: int, image_size: tuple[int, int], num_classes: int, module: str, **options: Any) -> nn.Module:
    """Imports a class, or a function that gives a network, and calls it.

    Args:
        in_channels: Channels of an image.
        image_size: (height, width) in pixels.
        num_classes: Logits to give.
        module: `MODULE:NAME`; called with the three arguments above and the options, all by keyword.
        options: The settings that this network alone has.

    Returns:
        The network.

    Raises:
        ConfigError: It cannot be imported, cannot be called so, fails, or gives no network.

    Examples:
        >>> Network(3, (8, 8), 10, "class_sensitivity.models.lenet:Network").__module__
        'class_sensitivity.models.lenet'
    """
    made_by = load_object(module, "model.module")
    arguments = {"in_channels": in_channels, "image_size": image_size, "num_classes": num_classes, **options}
    written = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    try:
        inspect.signature(made_by).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"model.module={module} cannot be called with ({written}): {error}.") from None
    try:
        network = made_by(**arguments)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"model.module={module} fails with ({written}): {describe(error)}.") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model.module={module} gives a {type(network).__name__}; it must give a torch.nn.Module.")
    return network
