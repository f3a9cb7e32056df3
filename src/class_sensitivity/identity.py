"""What makes two runs the same run, and the directory that follows from it.

The identity holds every setting that says what is computed, and nothing else: not where the data lies,
not where results go, not the machine. Device, threads and the precision that `auto` came to change the
result as another machine would; they are recorded, and bits are equal only where these are. The identity
is brought to one normal form, so that settings without effect (the kind of a noise that touches nothing)
do not make two runs out of one.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from class_sensitivity.seeding import STREAMS

#: Raised whenever the same identity would give another result or another layout of the record.
SCHEMA_VERSION = 2

#: Settings of a data set that say how to get it, not what it is.
_DATA_ACCESS = ("dir", "download")

#: Settings of training that say how it is run, not what is computed; they are recorded all the same.
_TRAINING_EXECUTION = ("threads", "accelerator", "test_every_epoch", "keep_checkpoint")


def _without(settings: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _safe(name: str) -> str:
    """One part of a path, in every file system: an identity read from a file must not lead elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The identity of the run that a resolved training configuration asks for.

    Args:
        config: The configuration as plain containers, as `conf/train.yaml` lays it out.

    Returns:
        A JSON-able dictionary; equal for two configurations if and only if they are the same run.
        `noise` and `reduction` are None where they touch nothing.
    """
    noise, reduction = config["noise"], config["reduction"]
    lied = noise["frac"] > 0
    reduced = reduction["frac"] > 0
    relevant = {
        "selection": lied or reduced,
        "labels": lied,
        "validation": config["training"]["validation_frac"] > 0,
        "init": True,
        "order": True,
        "augment": config["data"]["flip"] or config["data"]["crop_padding"] > 0,
    }
    chosen = config["streams"]
    return {
        "schema": SCHEMA_VERSION,
        "data": _without(config["data"], _DATA_ACCESS),
        "model": config["model"],
        "training": _without(config["training"], _TRAINING_EXECUTION),
        "noise": {
            "kind": noise["kind"],
            "frac": noise["frac"],
            "classes": sorted(set(noise["classes"])),
            "partner": noise["partner"] if noise["kind"] == "pair" else {},
        }
        if lied
        else None,
        "reduction": dict(reduction) if reduced else None,
        "stratified": config["selection"]["stratified"] and (lied or reduced),
        "seed": config["seed"],
        # Only the streams that differ from the seed and matter: a fixed stream that is not drawn
        # from changes nothing.
        "streams": {
            name: chosen[name]
            for name in STREAMS
            if relevant[name] and chosen[name] is not None and chosen[name] != config["seed"]
        },
    }


def stream_seeds(identity: dict[str, Any]) -> dict[str, int]:
    """The seed of every stream: the run's seed unless the stream has one of its own."""
    return {name: identity["streams"].get(name, identity["seed"]) for name in STREAMS}


def recipe_name(identity: dict[str, Any]) -> str:
    """`data-model-hash` of all that does not change within a study; runs of two recipes never mix."""
    recipe = {key: identity[key] for key in ("schema", "data", "model", "training")}
    return _safe(f"{identity['data']['name']}-{identity['model']['name']}-{_digest(recipe)}")


def condition_name(identity: dict[str, Any]) -> str:
    """The stress of a run in words, such as `noise-shuffle-0.1` or `baseline`."""
    noise, reduction = identity["noise"], identity["reduction"]
    parts = []
    if noise:
        # Class names may hold any character, so they enter as a digest; result.json spells them out.
        chosen = {key: noise[key] for key in ("classes", "partner") if noise[key]}
        parts.append(f"noise-{noise['kind']}-{noise['frac']!r}" + (f"-{_digest(chosen)}" if chosen else ""))
    if reduction:
        matched = "-matched-steps" if reduction["match_steps"] else ""
        parts.append(f"reduction-{reduction['frac']!r}{matched}")
    if identity["stratified"]:
        parts.append("stratified")
    return _safe("_".join(parts) or "baseline")


def seed_name(identity: dict[str, Any]) -> str:
    """The chance of a run, such as `seed-3` or `seed-3_init-0`."""
    own = [f"{name}-{seed}" for name, seed in identity["streams"].items()]
    return _safe("_".join([f"seed-{identity['seed']}", *own]))


def run_directory(root: Path, identity: dict[str, Any]) -> Path:
    """Where the run of this identity lives: recipe / condition / seed, safe in every file system."""
    return root / recipe_name(identity) / condition_name(identity) / seed_name(identity)


def directory_of(config: dict[str, Any]) -> Path:
    """The run directory that a configuration asks for."""
    return run_directory(Path(config["runs"]).expanduser(), identity(config))
