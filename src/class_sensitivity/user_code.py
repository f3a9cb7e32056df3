"""Code of a user's own, named by an import path: found in the current directory too, and known by its content."""

import difflib
import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from class_sensitivity.errors import ConfigError


def load_object(path: str, setting: str) -> Any:
    """Imports what an import path names.

    Args:
        path: `MODULE:NAME`, such as `my_package.nets:Net`; the module is installed or below the current directory.
        setting: The setting that gave it, for messages.

    Raises:
        ConfigError: It is no such path, the module cannot be found or imported, or it has no such name.

    Examples:
        >>> load_object("collections:Counter", "model.module")
        <class 'collections.Counter'>
    """
    module, name = _parts(path, setting)
    found = load_module(module, setting)
    if not hasattr(found, name):
        near = difflib.get_close_matches(name, [known for known in vars(found) if not known.startswith("_")], n=1)
        hint = (
            f"did you mean {module}:{near[0]}?" if near else "the word after the colon must be a name in that module."
        )
        raise ConfigError(f"{setting}={path}: module {module} has no {name}; {hint}")
    return getattr(found, name)


def load_module(module: str, setting: str) -> ModuleType:
    """Imports a module of a user's own by its name with dots.

    A module is imported once in a process; should its file change while a sweep runs, what is in memory is no longer
    what the runs to come would be known by, so that it is refused.

    Args:
        module: Its name; it is installed or below the current directory.
        setting: The setting that gave it, for messages.

    Raises:
        ConfigError: It cannot be found or imported, or has changed since it was imported.
    """
    imported, digest = _import(module, setting)
    if digest != code_digest(module, setting):
        raise ConfigError(
            f"{setting}={module}: its code has changed since this command began; start the command again."
        )
    return imported


def code_digest(path: str, setting: str) -> str:
    """A digest of the source code behind an import path, found without executing it.

    It covers the whole package that the path begins with (every .py file), or the one file where that is a module.
    What this code imports from elsewhere does not count.

    Args:
        path: A module's name with dots, or `MODULE:NAME`.
        setting: The setting that gave it, for messages.

    Raises:
        ConfigError: There is no such package or module.
    """
    top = path.partition(":")[0].partition(".")[0]
    spec = _find(top)
    if spec is None:
        raise ConfigError(_absent(path, top, setting))
    digest = hashlib.sha256()
    for name, file in _sources(spec):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{setting}={path}: {file} cannot be read ({error.strerror}).") from None
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _parts(path: str, setting: str) -> tuple[str, str]:
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ConfigError(
            f"{setting}={path} is not allowed: it must be MODULE:NAME, such as my_net:Net for class Net in my_net.py."
        )
    return module, name


def _find(top: str) -> ModuleSpec | None:
    """Where a package or module is; only at the top can that be told without importing anything."""
    here = os.getcwd()
    if here not in sys.path:  # last, so that no file of the user's hides a library
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # no name of a module, or one that is half imported
        return None


def _sources(spec: ModuleSpec) -> Iterator[tuple[str, Path]]:
    """(name, file) of the source code of a package or module, in an order that does not depend on the machine."""
    if spec.submodule_search_locations is not None:
        for place in map(Path, spec.submodule_search_locations):
            files = {file.relative_to(place).as_posix(): file for file in place.rglob("*.py") if file.is_file()}
            yield from sorted(files.items())
    elif spec.has_location and spec.origin:
        yield spec.name, Path(spec.origin)


@lru_cache
def _import(module: str, setting: str) -> tuple[ModuleType, str]:
    digest = code_digest(module, setting)
    try:
        return importlib.import_module(module), digest
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigError(_absent(module, error.name, setting)) from None
        raise ConfigError(f"{setting}: {module} cannot be imported: {describe(error)}.") from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ConfigError(f"{setting}: {module} cannot be imported: {describe(error)}.") from error


def _absent(path: str, module: str, setting: str) -> str:
    return (
        f"{setting}={path}: there is no module {module}, neither installed nor in the current directory {os.getcwd()}."
    )


def describe(error: BaseException) -> str:
    """An error in one line: its type, its message and, outside of installed packages, where it was raised.

    Examples:
        >>> describe(ValueError("no such\\nlayer"))
        'ValueError: no such'
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    words = f"{type(error).__name__}: {lines[0].strip().rstrip('.')}" if lines else type(error).__name__
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_the_user(frame.filename)]
    return f"{words} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else words


def _is_of_the_user(file: str) -> bool:
    installed = "site-packages" in Path(file).parts or file.startswith("<")  # such as <frozen importlib>
    return not installed and not Path(file).is_relative_to(Path(__file__).parent)
