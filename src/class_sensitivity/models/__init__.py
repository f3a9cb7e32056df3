"""Networks: one file each, with a class `Network`; plain `nn.Module`s from images to logits.

The file's name is the model's name; `conf/model/<name>.yaml` holds its settings, which become the
keyword arguments of `Network`. Two files are the source of networks of many names: `torchvision` and `module`.

What a run is known by (`model_digest`) is found without PyTorch, which is imported when a network is built.
"""

import hashlib
import inspect
import pkgutil
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from class_sensitivity.errors import ConfigError
from class_sensitivity.settings import ModelSettings
from class_sensitivity.user_code import code_digest, describe

if TYPE_CHECKING:
    from torch import nn

#: Files that are given the name of the network to make.
_SOURCES = ("module", "torchvision")

#: What every network is told of the data.
_OF_THE_DATA = ("in_channels", "image_size", "num_classes")


def known_models() -> list[str]:
    """The names of all models that have a file of their own."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SOURCES)


def build_model(
    settings: ModelSettings, *, in_channels: int, image_size: tuple[int, int], num_classes: int
) -> "nn.Module":
    """Builds the network that settings ask for, with random weights from torch's global generator.

    Args:
        settings: Its name, and the settings that it alone has. A file of weights is not looked at.
        in_channels: Channels of an image.
        image_size: (height, width) in pixels.
        num_classes: K, the logits to give.

    Returns:
        A module from (B, C, H, W) images to (B, K) logits.

    Raises:
        ConfigError: The name or a setting is not known, or the network cannot be built with them or does not map such
            images to such logits.

    Examples:
        >>> import torch
        >>> settings = ModelSettings("cnn6", options={"widths": [8, 8, 16, 16, 32, 32]})
        >>> network = build_model(settings, in_channels=3, image_size=(32, 32), num_classes=10)
        >>> network(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """
    name = settings.name
    network = import_module(f"{__name__}.{_file_of(settings)}").Network
    parameters = inspect.signature(network).parameters
    arguments = {"in_channels": in_channels, "image_size": image_size, "num_classes": num_classes, **settings.options}
    if "name" in parameters:
        arguments["name"] = name
    _refuse_unknown_options(settings, parameters)
    try:
        built: nn.Module = network(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name} cannot be built: {error}.") from None
    _check_output(built, name, (in_channels, *image_size), num_classes)
    return built


def model_digest(settings: ModelSettings) -> str:
    """What tells apart networks of one name that are made of files of the user's: their content.

    Covers the file of weights and, with `source=module`, the source code; empty where there is neither.

    Raises:
        ConfigError: A file cannot be read, or the name of the network is not known.
    """
    _file_of(settings)
    parts = []
    if settings.weights is not None:
        parts.append(_file_digest(settings.weights))
    if settings.source == "module":
        parts.append(code_digest(str(settings.options.get("module")), "model.module"))
    return "-".join(parts)


def _file_of(settings: ModelSettings) -> str:
    """The name of the file in this folder that makes a network."""
    if settings.source is None:
        if settings.name not in known_models():
            raise ConfigError(
                f"model.name={settings.name} is not known: it must be one of {', '.join(known_models())}."
            )
        return settings.name
    every = sorted([*known_models(), *_SOURCES])
    if settings.source not in every:
        raise ConfigError(
            f"model.source={settings.source} is not known: it must be one of {', '.join(every)}, or null."
        )
    return settings.source


def _refuse_unknown_options(settings: ModelSettings, parameters: Any) -> None:
    own = [parameter for parameter in parameters if parameter not in (*_OF_THE_DATA, "name")]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if not takes_any and (unknown := sorted(set(settings.options) - set(own))):
        has = f"it must be one of {', '.join(own)}" if own else "it has none of its own"
        raise ConfigError(f"model.{unknown[0]} is not a setting of {settings.name}: {has}.")


def _check_output(network: "nn.Module", name: str, image: tuple[int, int, int], num_classes: int) -> None:
    """Tries a network on two black (C, H, W) images."""
    import torch

    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(2, *image))
    except Exception as error:  # whatever the network raises
        channels, height, width = image
        raise ConfigError(
            f"model={name} does not take images of {height} x {width} with {channels} channels: {describe(error)}."
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not torch.is_tensor(logits) or logits.shape != (2, num_classes):
        found = f"shape {tuple(logits.shape)}" if torch.is_tensor(logits) else f"a {type(logits).__name__}"
        raise ConfigError(
            f"model={name} must give a number for each class, shape (2, {num_classes}) for 2 images, not {found}."
        )


def _file_digest(path: str) -> str:
    file = Path(path).expanduser()
    try:
        state = file.stat()
        return _digest_of(file, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise ConfigError(f"model.weights={path} cannot be read ({error.strerror}): name a file, or null.") from None


# Weights may be hundreds of megabytes, and the runs of a sweep share them.
@lru_cache
def _digest_of(file: Path, modified: int, size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
