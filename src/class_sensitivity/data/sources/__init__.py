"""Data sets: one file each, with a function `load(settings) -> ImageArrays`.

The file's name is the data set's name; `conf/data/<name>.yaml` holds its settings.
"""

import pkgutil
from functools import lru_cache
from importlib import import_module

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import ConfigError


def known_sources() -> list[str]:
    """The names of all data sets."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


# A sweep trains many runs in one process on one data set; it is read-only, so they share it.
@lru_cache(maxsize=1)
def load_arrays(name: str, directory: str | None = None, download: bool = False) -> ImageArrays:
    """Loads a data set by name.

    Args:
        name: The name of a file in this package.
        directory: Where its files are, if it needs any.
        download: Whether it may be fetched when absent.

    Raises:
        ConfigError: The name is not known.
        DataError: It is missing, damaged or cannot be downloaded.
    """
    if name not in known_sources():
        raise ConfigError(f"data.name={name} is not known: it must be one of {', '.join(known_sources())}.")
    module = import_module(f"{__name__}.{name}")
    arrays: ImageArrays = module.load(directory=directory, download=download)
    return arrays
