"""Data sets: one file each, with a function `load(directory, download, **options) -> ImageArrays`.

The file's name is the data set's name, unless its settings give it another; `conf/data/<file>.yaml` holds its settings,
and those that not every data set has become the keyword arguments `options`. A file may also have
`digest(directory, **options) -> str | None`, if the content of its data set is known without reading it, and
`class_names(directory, **options) -> Sequence[str]`, if the names of the classes are. Without `digest` the data are
loaded before any run begins, so that what is wrong with them is found then.
"""

import inspect
import json
import pkgutil
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from class_sensitivity.data.arrays import ArraysError, ImageArrays
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.settings import DataSettings

if TYPE_CHECKING:
    from class_sensitivity.data.importing.report import ImportReport

#: Sources that execute code which the settings name.
_RUNS_CODE = ("module",)


def known_sources() -> list[str]:
    """The names of all files that read data sets."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def runs_code(settings: DataSettings) -> bool:
    """Whether a data set is read by code that its settings name."""
    return (settings.source or settings.name) in _RUNS_CODE


def load_arrays(settings: DataSettings, *, run_code: bool = True) -> ImageArrays:
    """Loads a data set; the latest one is kept, because the runs of a sweep share it.

    Args:
        settings: Which data set, and where it is.
        run_code: Whether a module that the settings name may be executed; not if they come from a run directory.

    Raises:
        ConfigError: Its source or an option is not known.
        DataError: It is missing, damaged or cannot be downloaded; what its source gives is no data set; or it is read
            by a module that may not be executed.
    """
    if runs_code(settings) and not run_code:
        raise DataError(f"{settings.name} is read by a module, which is not executed here.")
    given = _GIVEN.get(_key(settings))
    return _load(*_key(settings)) if given is None else given


def give_arrays(settings: DataSettings, arrays: ImageArrays) -> None:
    """Lets this process take a data set from elsewhere, such as from a map that it shares, instead of loading it."""
    _GIVEN[_key(settings)] = arrays


def data_digest(settings: DataSettings) -> str:
    """What tells a data set from every other: a digest of its images, labels and class names.

    A source that knows its content answers without reading it; any other data set is loaded.

    Raises:
        ConfigError: Its source or an option is not known.
        DataError: It has to be read and cannot be.
    """
    source = _source(settings.source, settings.name, settings.options)
    find = getattr(source, "digest", None)
    known = None if find is None else find(directory=settings.dir, **settings.options)
    return load_arrays(settings).digest if known is None else str(known)


def class_names(settings: DataSettings) -> tuple[str, ...] | None:
    """The names of the classes, where they are known before a run is begun; None where the data has to be loaded.

    Raises:
        ConfigError: Its source or an option is not known.
        DataError: Files have to be read and cannot be.
    """
    source = _source(settings.source, settings.name, settings.options)
    if (find := getattr(source, "class_names", None)) is not None:
        return tuple(find(directory=settings.dir, **settings.options))
    return None if hasattr(source, "digest") else load_arrays(settings).class_names


def import_report(settings: DataSettings) -> "ImportReport | None":
    """What is known of the import of a data set of files; None for a source that imports none.

    Raises:
        ConfigError: Its source or an option is not known.
    """
    find = getattr(_source(settings.source, settings.name, settings.options), "import_report", None)
    report: ImportReport | None = None if find is None else find(directory=settings.dir, **settings.options)
    return report


#: What this process was given.
_GIVEN: dict[tuple[Any, ...], ImageArrays] = {}


def _key(settings: DataSettings) -> tuple[str, str, str | None, bool, str]:
    """The arguments of `_load`."""
    options = json.dumps(settings.options, sort_keys=True)
    return settings.source or settings.name, settings.name, settings.dir, settings.download, options


# One at a time: a large data set is not kept for the sake of a small one.
@lru_cache(maxsize=1)
def _load(source: str, name: str, directory: str | None, download: bool, options: str) -> ImageArrays:
    chosen: dict[str, Any] = json.loads(options)
    try:
        arrays = _source(source, name, chosen).load(directory=directory, download=download, **chosen)
    except ArraysError as error:
        raise DataError(f"The data set {name} cannot be used: {error}.") from None
    if not isinstance(arrays, ImageArrays):
        raise DataError(
            f"The data set {name} cannot be used: its source gives {type(arrays).__name__}, no ImageArrays."
        )
    return arrays


def _source(source: str | None, name: str, options: dict[str, Any]) -> ModuleType:
    file = source or name
    if file not in known_sources():
        setting = f"data.name={name}" if source is None else f"data.source={source}"
        raise ConfigError(f"{setting} is not known: it must be one of {', '.join(known_sources())}.")
    module = import_module(f"{__name__}.{file}")
    parameters = inspect.signature(module.load).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return module  # it checks its options itself
    own = [option for option in parameters if option not in ("directory", "download")]
    if unknown := sorted(set(options) - set(own)):
        has = f"it must be one of {', '.join(own)}" if own else "it has none of its own"
        raise ConfigError(f"data.{unknown[0]} is not a setting of {file}: {has}.")
    return module
