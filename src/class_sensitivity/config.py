"""The only module that knows Hydra's configuration: registers it, composes it, and turns it into settings."""

import difflib
import os
import pickle
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields, is_dataclass, make_dataclass
from functools import lru_cache
from typing import Any, TypeVar, get_origin

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from class_sensitivity.errors import ConfigError
from class_sensitivity.machine import parallel_runs
from class_sensitivity.settings import AnalyzeSettings, DataSettings, ModelSettings, TrainSettings
from class_sensitivity.stress import NOISE_KINDS, Noise, make_noise_kind
from class_sensitivity.stress.noise import noise_settings

Settings = TypeVar("Settings")

#: Sections whose further settings belong to the one data set or network that is chosen.
_OPEN_SECTIONS = (DataSettings, ModelSettings)

#: Settings of a run that belong to no section, such as `seed`.
_SINGLE_SETTINGS = {setting.name for setting in fields(TrainSettings) if not is_dataclass(setting.type)}


def register() -> None:
    """Makes known to Hydra what `conf/` builds on: the schemas, and how many runs fill the machine."""
    ConfigStore.instance().store(name="train_schema", node=_schema(TrainSettings))
    ConfigStore.instance().store(name="analyze_schema", node=_schema(AnalyzeSettings))
    # The presets in conf/hydra/launcher/ bear the names of the launchers they set up, which Hydra takes for schemas.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
    OmegaConf.register_new_resolver("parallel_runs", parallel_runs, replace=True)


def train_settings(config: DictConfig) -> TrainSettings:
    """What a composed `conf/train.yaml` asks for, checked.

    Raises:
        ConfigError: A setting is not known, has no value or is out of bounds; the message names it and what is allowed.
    """
    settings = _to_settings(config, TrainSettings)
    settings.check()
    return settings


def analyze_settings(config: DictConfig) -> AnalyzeSettings:
    """What a composed `conf/analyze.yaml` asks for, checked.

    Raises:
        ConfigError: As `train_settings`.
    """
    settings = _to_settings(config, AnalyzeSettings)
    settings.check()
    return settings


class JobComposer:
    """Composes the jobs of a sweep.

    Hydra takes 65 ms for a job, because it reads every word and every file anew. Here a word is read once, and jobs
    that set the same settings to other values are composed once: then the values are put into what was composed, and
    only the sections that they change are looked at again.

    Args:
        loader: Hydra's, of the sweep.
        config: The sweep's own configuration.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._groups: dict[str, bool] = {}
        self._composed: dict[tuple[str, ...], _Composed] = {}

    def settings(self, words: Sequence[str]) -> TrainSettings:
        """What the job of some words asks for, checked.

        Raises:
            ConfigError: As `train_settings`.
            HydraException: The words or a file cannot be composed.
        """
        parsed = [self._parse(word) for word in words]
        values = [override for override, is_value in parsed if is_value]
        others = [override for override, is_value in parsed if not is_value]
        # Hydra puts values into what files of a group bring, whichever of these words comes first.
        changes = [override for override in others if not self._chooses_file(override)]
        if any(_touch(one.key_or_group, other.key_or_group) for one in values for other in changes):
            return train_settings(self._compose(words))
        shape = (*(str(each.input_line) for each in others), "", *(each.key_or_group for each in values))
        if shape in self._composed:
            try:
                return self._composed[shape].with_values(values)
            except OmegaConfBaseException:
                del self._composed[shape]  # Hydra says what is wrong in words of its own
        self._composed[shape] = _Composed(self._compose(words))
        return self._composed[shape].settings()

    def _parse(self, word: str) -> tuple[Override, bool]:
        """A word as Hydra reads it, and whether it sets one setting to a value, and changes nothing else."""
        if word not in self._parsed:
            (override,) = self._parser.parse_overrides([word])
            self._parsed[word] = override, self._is_value(override)
        return self._parsed[word]

    def _is_value(self, override: Override) -> bool:
        return (
            override.type is OverrideType.CHANGE
            and override.package is None
            and not override.key_or_group.startswith("hydra.")
            and not override.is_sweep_override()
            and not isinstance(override.value(), dict)
            # Which sections depend on which, and which settings have no value, is looked at once.
            and not re.search(r"\$\{|\?\?\?", str(override.input_line))
            # Of the names without a dot that are no such setting some are groups.
            and ("." in override.key_or_group or override.key_or_group in _SINGLE_SETTINGS)
        )

    def _chooses_file(self, override: Override) -> bool:
        """Whether it chooses a file of a group, such as `data=digits`, and changes nothing else."""
        key = override.key_or_group
        if override.type is not OverrideType.CHANGE or override.package is not None:
            return False
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key] and isinstance(override.value(), str)

    def _compose(self, words: Sequence[str]) -> DictConfig:
        job = self._loader.load_sweep_config(self._config, list(words))
        with open_dict(job):
            del job["hydra"]
        return OmegaConf.masked_copy(job, [str(key) for key in job])


class _Composed:
    """A job into which the values of others that set the same settings are put.

    Args:
        config: As composed.

    Raises:
        ConfigError: As `train_settings`.
    """

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._values = _values_of(config, TrainSettings)
        written = OmegaConf.to_container(config, resolve=False)
        assert isinstance(written, dict)
        #: Sections with a setting that takes its value from another one, or from the environment.
        self._dependent = {str(key) for key, value in written.items() if "${" in repr(value)}

    def with_values(self, overrides: Sequence[Override]) -> TrainSettings:
        """The settings with other values.

        Raises:
            ConfigError: As `train_settings`.
            OmegaConfBaseException: A value is of another type than its setting.
        """
        for each in overrides:
            OmegaConf.update(self._config, each.key_or_group, each.value())
        changed = {each.key_or_group.partition(".")[0] for each in overrides}
        for section in changed | self._dependent:
            self._values[section] = _plain(self._config[section])
        return self.settings()

    def settings(self) -> TrainSettings:
        """The settings with the latest values."""
        settings = _made(TrainSettings, self._values)
        settings.check()
        return settings


def _touch(one: str, other: str) -> bool:
    """Whether two settings are the same, or one is a part of the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _schema(settings: type) -> type:
    """A settings class in the form that Hydra composes: mutable, and without a value until a YAML file gives one."""
    columns: list[tuple[str, Any, Any]] = []
    for setting in fields(settings):
        if setting.type in _OPEN_SECTIONS:
            columns.append((setting.name, dict[str, Any], field(default_factory=dict)))
        elif is_dataclass(setting.type):
            section = _noise_schema() if setting.type is Noise else _schema(setting.type)  # type: ignore[arg-type]
            columns.append((setting.name, section, field(default_factory=section)))
        else:
            columns.append((setting.name, setting.type, MISSING))
    return make_dataclass(settings.__name__, columns)


def _noise_schema() -> type:
    return _schema_of_kinds(tuple(NOISE_KINDS.items()))


@lru_cache(maxsize=1)
def _schema_of_kinds(kinds: tuple[tuple[str, type], ...]) -> type:
    """The settings that every kind of noise has, and those of each kind with their defaults.

    Raises:
        TypeError: A kind has a setting that every kind has, or two kinds have one of the same name that differs in
            type or default.
    """
    columns = {setting.name: (setting.name, setting.type, MISSING) for setting in fields(Noise)}
    columns["kind"] = ("kind", str, MISSING)
    every_kind, typed = set(columns), dict[str, tuple[Any, Any]]()
    for kind_name, kind in kinds:
        default = make_noise_kind(kind_name, {})
        for setting in noise_settings(kind):
            name, own = setting.name, (setting.type, getattr(default, setting.name))
            if name in every_kind:
                raise TypeError(f"{kind.__name__}.{name}: every kind of noise has a setting noise.{name}")
            if typed.setdefault(name, own) != own:
                raise TypeError(f"{kind.__name__}.{name}: another kind has noise.{name} with another type or default")
            # Hydra would refuse a number as a key of a mapping, though classes may be called 3 and 5.
            columns[name] = (name, Any if get_origin(setting.type) is dict else setting.type, _default_of(setting))
    return make_dataclass("NoiseSettings", columns.values())


def _default_of(setting: Field[Any]) -> Any:
    if get_origin(setting.type) is dict:
        return None  # of a mapping that is there Hydra would take no new key without a +
    if setting.default_factory is not NO_DEFAULT:
        return field(default_factory=setting.default_factory)
    return setting.default


def _to_settings(config: DictConfig, settings: type[Settings]) -> Settings:
    return _made(settings, _values_of(config, settings))


def _values_of(config: DictConfig, settings: type) -> dict[str, Any]:
    """The plain values of a configuration that has all settings, no others, and a value for each."""
    if unknown := next(_unknown(config, settings), None):
        raise ConfigError(_no_such_setting(unknown, settings))
    if missing := _first_missing(config):
        raise ConfigError(f"{missing} has no value; give one with {missing}=VALUE.")
    return {str(key): _plain(config[key]) for key in config}


def _made(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings, of plain values."""
    return settings(**{s.name: _value(s, values[s.name]) for s in fields(settings)})  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """A setting or a section as plain values."""
    return _at_home(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value)


def _at_home(value: Any) -> Any:
    """Values in which a ~ at the beginning of a path, of whichever setting, is the home directory."""
    if isinstance(value, dict):
        return {key: _at_home(each) for key, each in value.items()}
    return os.path.expanduser(value) if isinstance(value, str) and re.match(r"~(/|$)", value) else value


def _first_missing(config: DictConfig) -> str | None:
    """The first setting without a value."""
    try:
        return min(OmegaConf.missing_keys(config), default=None)
    except InterpolationToMissingValueError as error:  # a setting that takes its value from one without
        return str(error).splitlines()[0].rpartition(" ")[2]


def _value(setting: Field[Any], value: Any) -> Any:
    """One setting, or one section of them, as the type that it has."""
    if setting.type is Noise:
        noise = dict(value)
        frac, classes = noise.pop("frac"), noise.pop("classes")
        given = {name: each for name, each in noise.items() if each is not None}
        return Noise(make_noise_kind(given.pop("kind"), given), frac, classes)
    if not is_dataclass(setting.type):
        return value
    if setting.type in _OPEN_SECTIONS:
        own = {known.name for known in fields(setting.type)} - {"options"}
        value = {
            **{key: each for key, each in value.items() if key in own},
            "options": {key: each for key, each in value.items() if key not in own},
        }
    # Jobs of a sweep have most sections in common.
    return _section(setting.name, setting.type, pickle.dumps(value))  # type: ignore[arg-type]


@lru_cache
def _section(name: str, kind: type, pickled: bytes) -> Any:
    """A section, from values that are pickled so that 1, 1.0 and true are not the same."""
    values = pickle.loads(pickled)
    try:
        typed = OmegaConf.merge(OmegaConf.structured(kind), values)
        if missing := sorted(OmegaConf.missing_keys(typed)):
            raise ConfigError(f"{name}.{missing[0]} has no value; give one with {name}.{missing[0]}=VALUE.")
        return OmegaConf.to_object(typed)
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{name}.{key}={values.get(key)} is not allowed: {reason}.") from None


def _unknown(config: Mapping[Any, Any], settings: type, prefix: str = "") -> Iterator[str]:
    """The settings that do not exist; Hydra's `+key=value` adds them past the schema."""
    known = _known(settings)
    for key in map(str, config):
        if key not in known:
            inner = config[key]
            yield f"{prefix}{key}" + (f".{next(iter(inner))!s}" if isinstance(inner, DictConfig) and inner else "")
        elif is_dataclass(known[key]) and known[key] not in _OPEN_SECTIONS and not OmegaConf.is_missing(config, key):
            yield from _unknown(config[key], known[key], f"{prefix}{key}.")


def _known(settings: type) -> dict[str, Any]:
    """Name -> type of the settings of a class."""
    named = _noise_schema() if settings is Noise else settings
    return {setting.name: setting.type for setting in fields(named) if setting.name != "options"}


def _no_such_setting(key: str, settings: type) -> str:
    near = difflib.get_close_matches(key, setting_names(settings), n=1)
    hint = f"did you mean {near[0]}?" if near else "see all settings with --cfg job."
    return f"There is no setting {key}: {hint}"


def setting_names(settings: type = TrainSettings, prefix: str = "") -> list[str]:
    """Every setting in dotted form, for suggestions.

    Examples:
        >>> setting_names(AnalyzeSettings)[:4]
        ['runs', 'out', 'only', 'only.data']
    """
    names = []
    for name, kind in _known(settings).items():
        names.append(f"{prefix}{name}")
        if is_dataclass(kind):
            names += setting_names(kind, f"{prefix}{name}.")  # type: ignore[arg-type]
    return names


def explain(error: Exception, settings: type = TrainSettings) -> str:
    """A mistake that Hydra or OmegaConf found, as one sentence that says what to do."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    # Hydra wraps OmegaConf's error; the useful words may stand in either.
    text = "\n".join(str(e) for e in (error, error.__cause__) if e is not None)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        key = unknown[1].lstrip("+~")
        if any(key.startswith(f"{section.name}.") for section in fields(settings) if section.type in _OPEN_SECTIONS):
            return f"There is no setting {key} in the file of this {key.partition('.')[0]}: add one with +{key}=VALUE."
        return _no_such_setting(key, settings)
    if ambiguous := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{ambiguous[1]} holds a comma: add -m to run it for each value, or write [...] if it is a list."
    options = r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':\s*(.*?)(?:\nConfig search|\Z)"
    if absent := re.search(options, text, re.DOTALL):
        known = ", ".join(absent[3].split())
        return f"{absent[1]}={absent[2]} is not known: it must be one of {known}."
    if merge := re.search(r"Error merging override ([^\s=]+=\S*)\s*\n(.+)", text):
        return f"{merge[1]} is not allowed: {merge[2].strip().rstrip('.')}."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__


def _unreadable(word: str) -> str:
    """What to type instead of a word that Hydra cannot take apart."""
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word} is no setting with its value: write NAME=VALUE, as in seed=1."
    if value.endswith(",") or ",," in value:
        return f"{word} has a comma too many: values stand between commas, without spaces, as in seed=1,2."
    if value.startswith(("[", "{")):
        return (
            f"{word} cannot be read: put quotes around each word of a list or mapping that holds more than letters and "
            "digits, and none around the names in front of a colon, as in \"noise.classes=['é', cat]\"."
        )
    escaped = value.replace("'", r"\'")
    quoted = f"{key}='{escaped}'"
    try:
        OverridesParser.create().parse_override(quoted)
    except HydraException:
        return f"{word} cannot be read: write NAME=VALUE, as in seed=1."
    typed = shlex.quote(quoted) if set('"$`!\\') & set(quoted) else f'"{quoted}"'
    return f"{word} cannot be read: put quotes around the value, and others around the whole for the shell: {typed}."
