"""Data sets: one file each, with a function `load(directory, download, **options) -> ImageArrays`.

The file's name is the data set's name; `conf/data/<name>.yaml` holds its settings, and those that not every data
set has become the keyword arguments `options`. A file may also have `digest(directory, **options) -> str`, if the
content of its data set is known without reading it.
"""

import inspect
import json
import pkgutil
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import ConfigError
from class_sensitivity.settings import DataSettings


def known_sources() -> list[str]:
    """The names of all data sets."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_arrays(settings: DataSettings) -> ImageArrays:
    """Loads a data set; the latest one is kept, because the runs of a sweep share it.

    Raises:
        ConfigError: Its name or an option is not known.
        DataError: It is missing, damaged or cannot be downloaded.
    """
    return _load(settings.name, settings.dir, settings.download, json.dumps(settings.options, sort_keys=True))


def data_digest(settings: DataSettings) -> str:
    """What tells a data set from every other: a digest of its images, labels and class names.

    A source that knows its content answers without reading it; any other data set is loaded.

    Raises:
        ConfigError: Its name or an option is not known.
        DataError: It has to be read and cannot be.
    """
    source = _source(settings.name, settings.options)
    known = getattr(source, "digest", None)
    if known is not None:
        return str(known(directory=settings.dir, **settings.options))
    return load_arrays(settings).digest


# One at a time: a large data set is not kept for the sake of a small one.
@lru_cache(maxsize=1)
def _load(name: str, directory: str | None, download: bool, options: str) -> ImageArrays:
    chosen: dict[str, Any] = json.loads(options)
    arrays: ImageArrays = _source(name, chosen).load(directory=directory, download=download, **chosen)
    return arrays


def _source(name: str, options: dict[str, Any]) -> ModuleType:
    if name not in known_sources():
        raise ConfigError(f"data.name={name} is not known: it must be one of {', '.join(known_sources())}.")
    module = import_module(f"{__name__}.{name}")
    parameters = inspect.signature(module.load).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return module  # it checks its options itself
    own = [option for option in parameters if option not in ("directory", "download")]
    if unknown := sorted(set(options) - set(own)):
        has = f"it must be one of {', '.join(own)}" if own else "it has none of its own"
        raise ConfigError(f"data.{unknown[0]} is not a setting of {name}: {has}.")
    return module
