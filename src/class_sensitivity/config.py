"""The schema of `conf/`: types and bounds live here, values in the YAML files."""

import difflib
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from class_sensitivity.errors import ConfigError
from class_sensitivity.stress import NOISE_KINDS
from class_sensitivity.threads import default_threads, parallel_runs

# Our presets bear the names of the launchers they set up, and Hydra takes that for a schema of the same name.
# Here and not in `register`, because a launcher's processes import this module and nothing else of the command.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)


@dataclass
class Streams:
    """A seed of its own for a stream, or None for the run's."""

    selection: int | None = None
    labels: int | None = None
    validation: int | None = None
    init: int | None = None
    order: int | None = None
    augment: int | None = None


@dataclass
class Noise:
    """Label noise."""

    kind: str = MISSING
    frac: float = MISSING
    classes: list[str] = MISSING
    partner: dict[str, str] = MISSING


@dataclass
class Reduction:
    """Data reduction."""

    frac: float = MISSING
    match_steps: bool = MISSING


@dataclass
class Selection:
    """How records are chosen for either."""

    stratified: bool = MISSING


@dataclass
class Data:
    """A data set: where it is and how it may be augmented."""

    name: str = MISSING
    dir: str | None = MISSING
    download: bool = MISSING
    flip: bool = MISSING
    crop_padding: int = MISSING


@dataclass
class Training:
    """The recipe, and how it is executed."""

    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    label_smoothing: float = MISSING
    warmup_frac: float = MISSING
    validation_frac: float = MISSING
    test_every_epoch: bool = MISSING
    precision: str = MISSING
    accelerator: str = MISSING
    threads: int | None = MISSING
    keep_checkpoint: bool = MISSING


@dataclass
class Train:
    """The whole of `conf/train.yaml`."""

    runs: str = MISSING
    rerun: bool = MISSING
    status: bool = MISSING
    seed: int = MISSING
    streams: Streams = field(default_factory=Streams)
    noise: Noise = field(default_factory=Noise)
    reduction: Reduction = field(default_factory=Reduction)
    selection: Selection = field(default_factory=Selection)
    data: Data = field(default_factory=Data)
    model: dict[str, Any] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    study: Any = None


@dataclass
class Mistaken:
    """The pair of classes of figure 3, by name, or None for the most frequent confusion."""

    true_class: str | None = MISSING
    predicted_class: str | None = MISSING


@dataclass
class Only:
    """Which runs to report on, or None for all."""

    data: str | None = MISSING
    model: str | None = MISSING


@dataclass
class Analyze:
    """The whole of `conf/analyze.yaml`."""

    runs: str = MISSING
    out: str = MISSING
    only: Only = field(default_factory=Only)
    data_dir: str | None = MISSING
    alpha: float = MISSING
    resamples: int = MISSING
    seed: int = MISSING
    cells: list[list[str]] = MISSING
    mistaken: Mistaken = field(default_factory=Mistaken)
    variety: list[str] = MISSING


def register() -> None:
    """Makes known to Hydra what `conf/` builds on: the schemas, and how many runs and threads fill the machine."""
    ConfigStore.instance().store(name="train_schema", node=Train)
    ConfigStore.instance().store(name="analyze_schema", node=Analyze)
    OmegaConf.register_new_resolver("parallel_runs", parallel_runs, replace=True)
    OmegaConf.register_new_resolver("threads", lambda asked: asked or default_threads(), replace=True)


PRECISIONS = ("auto", "bf16-mixed", "32-true")
ACCELERATORS = ("auto", "cpu", "gpu")


#: A bounded setting: key, value, whether it is allowed, what is allowed.
Bound = tuple[str, Any, bool, str]


def analyze_bounds(config: dict[str, Any]) -> Iterator[Bound]:
    """The bounded settings of `conf/analyze.yaml`."""
    yield "alpha", config["alpha"], 0 < config["alpha"] < 1, "a number between 0 and 1"
    pairs = all(len(cell) == 2 for cell in config["cells"])
    yield "cells", config["cells"], pairs, "a list of [true class, predicted class]"
    yield "resamples", config["resamples"], config["resamples"] >= 100, "an integer of 100 or more"
    yield "seed", config["seed"], config["seed"] >= 0, "an integer of 0 or more"


def train_bounds(config: dict[str, Any]) -> Iterator[Bound]:
    """The bounded settings of `conf/train.yaml`."""
    noise, reduction, training = config["noise"], config["reduction"], config["training"]

    def number(section: str, key: str, low: float, high: float = math.inf, *, allowed: str) -> Bound:
        value = config[section][key]
        return f"{section}.{key}", value, math.isfinite(value) and low <= value <= high, allowed

    yield number("noise", "frac", 0, 1, allowed="a share from 0 to 1")
    kinds = ", ".join(NOISE_KINDS)
    yield "noise.kind", noise["kind"], noise["kind"] in NOISE_KINDS, f"one of {kinds}"
    model = config["model"].get("name")
    yield "model.name", model, isinstance(model, str), "the name of a model"
    frac = reduction["frac"]
    yield "reduction.frac", frac, math.isfinite(frac) and 0 <= frac < 1, "a share from 0 up to but not including 1"
    yield "seed", config["seed"], config["seed"] >= 0, "an integer of 0 or more"
    for name, seed in config["streams"].items():
        yield f"streams.{name}", seed, seed is None or seed >= 0, "an integer of 0 or more, or null"
    yield number("training", "epochs", 1, allowed="an integer of 1 or more")
    yield number("training", "batch_size", 2, allowed="an integer of 2 or more")
    yield "training.lr", training["lr"], math.isfinite(training["lr"]) and training["lr"] > 0, "a number above 0"
    yield number("training", "momentum", 0, 1, allowed="a number from 0 to 1")
    yield number("training", "weight_decay", 0, allowed="a number of 0 or more")
    yield number("training", "label_smoothing", 0, 1, allowed="a number from 0 to 1")
    yield number("training", "warmup_frac", 0, 1, allowed="a share from 0 to 1")
    yield number("training", "validation_frac", 0, 0.9, allowed="a share from 0 to 0.9")
    yield number("data", "crop_padding", 0, allowed="a number of pixels of 0 or more")
    precision, accelerator, threads = (training[key] for key in ("precision", "accelerator", "threads"))
    yield "training.precision", precision, precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"
    yield "training.accelerator", accelerator, accelerator in ACCELERATORS, f"one of {', '.join(ACCELERATORS)}"
    yield "training.threads", threads, threads is None or threads >= 1, "an integer of 1 or more, or null"


def checked(config: DictConfig, bounds: Callable[[dict[str, Any]], Iterator[Bound]] = train_bounds) -> dict[str, Any]:
    """The configuration as plain containers, after every bound was checked.

    Args:
        config: As Hydra composed it.
        bounds: `train_bounds` or `analyze_bounds`.

    Raises:
        ConfigError: A value is out of range; the message names it and what is allowed.
    """
    schema = Train if bounds is train_bounds else Analyze
    if unknown := next(_unknown(config, schema), None):
        raise ConfigError(_no_such_setting(unknown, schema))
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{missing[0]} has no value; give one with {missing[0]}=VALUE.")
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    plain = {str(key): value for key, value in values.items()}
    for key, value, allowed, expected in bounds(plain):
        if not allowed:
            raise ConfigError(f"{key}={value} is not allowed: it must be {expected}.")
    return plain


def checked_job(loader: ConfigLoader, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The checked configuration of one job of a sweep.

    Args:
        loader: Hydra's, of the sweep.
        config: The sweep's own configuration.
        overrides: What makes it this job.

    Raises:
        ConfigError: A value is out of range.
    """
    job = loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        del job["hydra"]
    return checked(OmegaConf.masked_copy(job, [str(key) for key in job]))


def _unknown(config: Mapping[Any, Any], schema: type, prefix: str = "") -> Iterator[str]:
    """The settings that the schema does not have; Hydra's `+key=value` adds them past it."""
    known = {setting.name: setting.type for setting in fields(schema)}
    for key in map(str, config):
        if key not in known:
            inner = config[key]
            yield f"{prefix}{key}" + (f".{next(iter(inner))!s}" if isinstance(inner, DictConfig) and inner else "")
        elif is_dataclass(known[key]) and not OmegaConf.is_missing(config, key):
            yield from _unknown(config[key], known[key], f"{prefix}{key}.")  # type: ignore[arg-type]


def _no_such_setting(key: str, schema: type) -> str:
    near = difflib.get_close_matches(key, setting_names(schema), n=1)
    hint = f"did you mean {near[0]}?" if near else "see all settings with --cfg job."
    return f"There is no setting {key}: {hint}"


def setting_names(schema: type = Train) -> list[str]:
    """Every setting of the schema in dotted form, for suggestions."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key in node:
            name = f"{prefix}{key}"
            child = None if OmegaConf.is_missing(node, key) else node[key]
            yield name
            if isinstance(child, DictConfig):
                yield from walk(child, f"{name}.")

    return list(walk(OmegaConf.structured(schema), ""))


def explain(error: Exception, schema: type = Train) -> str:
    """A mistake that Hydra or OmegaConf found, as one sentence that says what to do."""
    # Hydra wraps OmegaConf's error; the useful words may stand in either.
    text = "\n".join(str(e) for e in (error, error.__cause__) if e is not None)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return _no_such_setting(unknown[1].lstrip("+~"), schema)
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
