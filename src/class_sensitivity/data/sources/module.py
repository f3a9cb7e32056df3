"""Anyone's own data set, by import path: `data=module data.module=my_package.my_data`."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from class_sensitivity.data.arrays import ArraysError, ImageArrays
from class_sensitivity.errors import ConfigError, DataError, UserError
from class_sensitivity.user_code import describe, load_module


def load(directory: str | None = None, download: bool = False, module: str = "", **options: Any) -> ImageArrays:
    """Imports a module and calls its `load(directory, download, **options)`.

    Args:
        directory: `data.dir`.
        download: Whether the module may fetch what is absent.
        module: Its name with dots; it is installed or below the current directory.
        options: The further settings, as in `+data.size=64`.

    Returns:
        What it gives.

    Raises:
        ConfigError: It cannot be imported, has no `load`, or its `load` cannot be called so.
        DataError: It fails, or gives no `ImageArrays`.
    """
    function = _function(module, "load")
    if function is None:
        raise ConfigError(f"data.module={module} has no function load; it must have load(directory, download).")
    arrays = _call(module, function, {"directory": directory, "download": download, **options})
    if not isinstance(arrays, ImageArrays):
        raise DataError(
            f"data.module={module}: load gives {type(arrays).__name__}; it must give "
            f"{ImageArrays.__module__}.{ImageArrays.__name__}."
        )
    return arrays


def digest(directory: str | None = None, module: str = "", **options: Any) -> str | None:
    """A digest of what the module's own `digest(directory, **options)` gives; None where it has none.

    Raises:
        ConfigError: As `load`.
        DataError: It fails, or gives no text.
    """
    function = _function(module, "digest")
    if function is None:
        return None
    known = _call(module, function, {"directory": directory, **options})
    if not isinstance(known, str) or not known:
        raise DataError(f"data.module={module}: digest gives {known!r}; it must give text that follows from the data.")
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _function(module: str, name: str) -> Callable[..., object] | None:
    function = getattr(load_module(str(module), "data.module"), name, None)
    return function if callable(function) else None


def _call(module: str, function: Callable[..., object], arguments: dict[str, Any]) -> object:
    name = getattr(function, "__name__", "it")
    try:
        inspect.signature(function).bind(**arguments)
    except (TypeError, ValueError) as error:
        written = ", ".join(f"{argument}={value!r}" for argument, value in arguments.items())
        raise ConfigError(f"data.module={module}: {name}({written}) cannot be called: {error}.") from None
    try:
        return function(**arguments)
    except ArraysError as error:
        raise DataError(f"data.module={module}: {error}.") from error
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise DataError(f"data.module={module}: {name} fails: {describe(error)}.") from error
