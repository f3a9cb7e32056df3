"""A network that begins with weights from a file of the user's."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from class_sensitivity.errors import ConfigError


def load_weights(network: nn.Module, path: str) -> None:
    """Puts a state dict into a network; layers that give other classes keep their random weights, and it says so.

    Args:
        network: Its weights are overwritten.
        path: A file that `torch.save(model.state_dict(), path)` wrote; nothing in it is executed.

    Raises:
        ConfigError: It cannot be read, holds no state dict, or one of another network.
    """
    own = network.state_dict()
    stored = _renamed(_read_state(path), own)
    refusal = f"model.weights={path} does not fit the network"
    different = [name for name, value in own.items() if name in stored and stored[name].shape != value.shape]
    for name in different:
        # The last layer gives a number for each class, whatever comes in.
        if 0 in (stored[name].dim(), own[name].dim()) or stored[name].shape[1:] != own[name].shape[1:]:
            raise ConfigError(f"{refusal}: {name} is {_shape(stored[name])} there and {_shape(own[name])} here.")
    fitting = {name: value for name, value in stored.items() if name not in different}
    found = network.load_state_dict(fitting, strict=False)
    if absent := [name for name in found.missing_keys if name not in different]:
        raise ConfigError(f"{refusal}: it has no {_some(absent)}.")
    if unknown := [name for name in found.unexpected_keys if not _is_auxiliary(name)]:
        raise ConfigError(f"{refusal}, which has no {_some(unknown)}.")
    classes = {(stored[name].shape[0], own[name].shape[0]) for name in different}
    if len(classes) > 1:
        raise ConfigError(f"{refusal}: {_some(different)} have other shapes.")
    for there, here in classes:
        _say_replaced(path, ", ".join(different), there, here)


def _read_state(path: str) -> dict[str, torch.Tensor]:
    expected = "it must hold a state dict, as torch.save(model.state_dict(), PATH) writes it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about the file is said below
            state: Any = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"model.weights={path} cannot be read ({error.strerror}).") from None
    except Exception as error:  # torch raises several kinds for files that are damaged or hold more than tensors
        raise ConfigError(f"model.weights={path} cannot be loaded ({type(error).__name__}): {expected}.") from error
    if not isinstance(state, dict) or not state or not all(torch.is_tensor(value) for value in state.values()):
        raise ConfigError(f"model.weights={path} is not allowed: {expected}.")
    return state


def _renamed(stored: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of torchvision's files lie one level deeper in a network that wraps one of torchvision's."""
    if stored.keys() & own.keys():
        return stored
    return {f"network.{name}": value for name, value in stored.items()}


def _is_auxiliary(name: str) -> bool:
    """Whether it belongs to the further outputs that torchvision's files have and its networks here do without."""
    return name.startswith(("network.aux1.", "network.aux2.", "network.AuxLogits."))


def _shape(value: torch.Tensor) -> str:
    return str(tuple(value.shape))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@lru_cache  # once for all runs of a sweep
def _say_replaced(path: str, names: str, there: int, here: int) -> None:
    print(f"{path} is for {there} classes: {names} begin with random weights for {here}.", flush=True)
