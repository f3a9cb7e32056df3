"""From what a record holds of a run to the words of a command line that ask for the same recipe."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

#: What a recipe is made of; stress, seeds and places are chosen anew.
_SECTIONS = ("data", "model", "training")

#: Has no effect on what a run computes.
_IDLE = {"data.download"}

#: Where data sets are if nobody says another place; packed copies of runs say this one, too.
_USUAL_PLACE = ("data.dir", "data")

#: Words that Hydra takes for something else than text.
_NO_TEXT = {"true", "false", "null", "nan", "inf"}


def recipe_words(recorded: Mapping[str, Any]) -> tuple[str, ...]:
    """The data set, the network and all else of the recipe that is not at its default.

    Needs Hydra to be initialised with `conf/`, as it is below `hydra.main`.

    Args:
        recorded: All settings of a run, as its record holds them (`RunRecord.config`).

    Returns:
        Words quoted for a shell, such as `("data=digits", "model=cnn6", "training.epochs=9")`; those of the data set
        and the network alone where their files in `conf/` are gone.
    """
    sections = {name: _flat(recorded[name]) for name in _SECTIONS}
    files = {name: _file_of(name, sections[name]) for name in ("data", "model")}
    chosen = tuple(f"{name}={file}" for name, file in files.items())
    try:
        defaults = compose("train", overrides=list(chosen))
    except (HydraException, ValueError):
        return chosen
    return chosen + tuple(word for name in _SECTIONS for word in _differing(name, sections[name], defaults[name]))


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section with the settings of the one data set or network among the others, as a command line has them."""
    return {key: value for key, value in section.items() if key != "options"} | dict(section.get("options", {}))


def _file_of(group: str, section: Mapping[str, Any]) -> str:
    """The file in `conf/` of a data set or network: that of its name, or else of what reads or makes it."""
    name, source = str(section["name"]), section.get("source")
    if source is None or source == name:
        return name
    if name not in GlobalHydra.instance().config_loader().get_group_options(group):
        return str(source)
    try:  # another one may have this name, too
        found = compose("train", overrides=[f"{group}={name}"])[group].get("source")
    except (HydraException, OmegaConfBaseException, ValueError):  # the name may be a number
        return str(source)
    return name if found == source else str(source)


def _differing(name: str, section: Mapping[str, Any], defaults: DictConfig) -> Iterator[str]:
    known = set(defaults)  # those without a value, too
    for key, value in section.items():
        setting = f"{name}.{key}"
        if setting in _IDLE or (setting, value) == _USUAL_PLACE:
            continue
        try:
            default = defaults.get(key)
        except OmegaConfBaseException:  # it has none: ???
            default = None
        if value != default:
            yield shlex.quote(f"{'' if key in known else '+'}{setting}={_written(value)}")


def _written(value: Any) -> str:
    """A value in Hydra's grammar, in which text is read as text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII) and value.lower() not in _NO_TEXT:
        return value
    # Backslashes are themselves, but in front of a quote.
    return '"' + re.sub(r"(\\*)(\"|$)", lambda found: 2 * found[1] + (r"\"" if found[2] else ""), value) + '"'
