"""Same identity, same directory; different identity, never the same directory."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from support.commands import ROOT
from support.labels import every_kind
from support.records import EVERYTHING, changed, leaves

from class_sensitivity import config as configuration
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import STREAMS
from class_sensitivity.settings import TrainSettings
from class_sensitivity.stress import NOISE_KINDS
from class_sensitivity.stress.noise import NoiseKind, Pair, Shuffle

#: Settings that say where, how and whether a run is done, and nothing about its result. What a data set's own
#: options make of it is told by its digest.
WITHOUT_EFFECT = {
    "runs",
    "rerun",
    "status",
    "inspect",
    "data.dir",
    "data.download",
    "data.source",
    "data.options",
    "training.threads",
    "training.accelerator",
    "training.test_every_epoch",
    "training.keep_checkpoint",
    "model.weights",  # where they lie; what they are is told by the model's digest
}

DIGEST = "0123456789abcdef"


@pytest.fixture(scope="module")
def plain(compose_settings) -> TrainSettings:
    return compose_settings()


@pytest.fixture(scope="module")
def everything(compose_settings) -> TrainSettings:
    return compose_settings(*EVERYTHING)


def identity(settings: TrainSettings, digest: str = DIGEST, model_digest: str = "") -> RunIdentity:
    return RunIdentity.of(settings, digest, model_digest)


def path_of(settings: TrainSettings, digest: str = DIGEST) -> Path:
    return identity(settings, digest).path


def another(value: Any) -> Any:
    """A value of the same type that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value[:-1]
    if isinstance(value, dict):
        return value | {"x": 1}
    return 99 if value is None else value / 2 + 0.25 if isinstance(value, float) else value + 1


def test_every_setting_with_an_effect_changes_the_directory_and_no_other_does(everything):
    # The name of a noise kind is not a setting of its own: the kind is.
    named = {name: value for name, value in leaves(everything) if name != "noise.kind.name"}
    assert set(named) >= WITHOUT_EFFECT, "a setting listed as without effect is gone"
    paths = {name: path_of(changed(everything, {name: another(value)})) for name, value in named.items()}
    paths["noise.kind"] = path_of(changed(everything, {"noise.kind": Shuffle()}))
    paths["the data set's digest"] = path_of(everything, "another")
    paths["the model's digest"] = identity(everything, model_digest="another").path
    assert {name for name, path in paths.items() if path == path_of(everything)} == WITHOUT_EFFECT
    moved = [path for name, path in paths.items() if name not in WITHOUT_EFFECT]
    assert len(set(moved)) == len(moved), "two different runs share a directory"


#: Setting -> values that are drawn; two spellings of one thing are among them.
DOMAINS: dict[str, list[Any]] = {
    "seed": [0, 1, 10],
    "streams.init": [None, 0, 1],
    "streams.labels": [None, 0, 10],
    "noise.kind": [*(kind() for kind in NOISE_KINDS.values()), Pair(partner={"1": "2"}), Pair(partner={"2": "1"})],
    "noise.frac": [0.0, 0.1, 1.0],
    "noise.classes": [[], ["1"], ["1", "2"], ["2", "1"], ["1-2"], ["1,2"]],
    "reduction.frac": [0.0, 0.1],
    "reduction.match_steps": [False, True, "masked"],
    "selection.stratified": [False, True],
    "training.epochs": [1, 11],
    "training.threads": [1, 2],
}


@given(data=st.data())
def test_equal_identity_and_equal_directory_are_the_same_thing(plain, data):
    one, other = ({name: data.draw(st.sampled_from(values)) for name, values in DOMAINS.items()} for _ in range(2))
    # Often alike in all but one or two settings, so that equal pairs occur.
    alike = data.draw(st.sets(st.sampled_from(sorted(DOMAINS)), min_size=len(DOMAINS) - 2))
    other |= {name: one[name] for name in alike}
    digests = data.draw(st.tuples(*[st.sampled_from(["a", "a", "b"])] * 2))
    mine, theirs = (
        identity(changed(plain, values), digest) for values, digest in zip((one, other), digests, strict=True)
    )
    assert (mine == theirs) == (mine.path == theirs.path)


@every_kind
def test_any_kind_that_touches_nothing_is_the_baseline(plain, kind):
    unused = {"noise.kind": NOISE_KINDS[kind](), "noise.classes": ["3"], "streams.labels": 7}
    assert path_of(changed(plain, unused)) == path_of(plain)
    assert path_of(changed(plain, {"noise.kind": Pair(partner={"1": "2"})})) == path_of(plain)
    assert path_of(plain).parts[-2:] == ("baseline", "seed-1")


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [
        ((), "reduction.match_steps", True),
        ((), "selection.stratified", True),
        ((), "streams.selection", 7),
        ((), "streams.validation", 7),
        ((), "streams.augment", 7),  # digits are neither flipped nor cropped
        ((), "streams.init", 1),  # the seed itself
        (("noise.frac=0.1", "noise.classes=['1','2']"), "noise.classes", ["2", "1"]),
        (("noise.frac=0.1", "noise.classes=['1','2']"), "noise.classes", ["1", "2", "2"]),
        (("reduction.frac=0.1",), "streams.labels", 7),
    ],
)
def test_a_setting_that_cannot_matter_here_does_not_move_the_run(compose_settings, base, name, value):
    settings = compose_settings(*base)
    assert path_of(changed(settings, {name: value})) == path_of(settings)


def test_a_setting_of_another_kind_of_noise_does_not_move_the_run(compose_settings):
    # Shuffle has no partners.
    assert compose_settings("noise.frac=0.1", "+noise.partner.1='2'") == compose_settings("noise.frac=0.1")


@pytest.mark.parametrize(("one", "other"), [("0.1", "1e-1"), ("0.10", ".1"), ("1", "1.0"), ("0", "0.0"), ("0", "-0.0")])
def test_a_number_may_be_spelt_in_several_ways(compose_settings, one, other):
    assert path_of(compose_settings(f"noise.frac={one}")) == path_of(compose_settings(f"noise.frac={other}"))


def test_the_place_of_the_data_and_of_the_runs_is_not_part_of_the_identity(plain):
    moved = changed(plain, {"data.dir": "/elsewhere", "runs": "other", "training.threads": 8})
    assert identity(moved) == identity(plain)


@given(
    names=st.lists(st.text(max_size=5), max_size=3),
    frac=st.floats(0, 1),
    seeds=st.lists(st.integers(0, 2**64), min_size=7, max_size=7),
)
def test_directories_are_safe_in_any_file_system(everything, names, frac, seeds):
    settings = changed(
        everything,
        {
            "noise.classes": names,
            "noise.kind": Pair(partner=dict.fromkeys(names, "x/y")),
            "noise.frac": frac,
            "reduction.frac": frac / 2,
            "seed": seeds[-1],
            "data.name": "/".join(names) or "x",
            "model.name": "../" + "".join(names),
            **{f"streams.{stream}": seed for stream, seed in zip(STREAMS, seeds, strict=False)},
        },
    )
    parts = path_of(settings).parts
    assert len(parts) == 3
    for part in parts:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", part), part
        assert not re.fullmatch(r"\.+", part), part
        assert len(part) <= 255


def test_each_stream_uses_the_seed_of_the_run_unless_it_has_its_own(compose_settings):
    chosen = identity(compose_settings(*EVERYTHING, "seed=4", "streams.init=0", "streams.order=7"))
    assert chosen.streams == dict.fromkeys(STREAMS, 4) | {"init": 0, "order": 7}
    assert chosen.seed_name == "seed-4_init-0_order-7"


def test_identity_is_plain_json_and_back(everything):
    chosen = identity(everything)
    written = json.loads(json.dumps(asdict(chosen)))
    back = msgspec.convert(written, RunIdentity)
    assert back == chosen
    assert back.path == chosen.path


# Runs made before there were optimisers to choose from, networks of many names from one file, and files of weights.

#: The digests of CIFAR-10 and of the digits.
CIFAR10_MD5, DIGITS = "c58f30108f718f92721af3b95e74349a", "09f66e6debdee2cd"

#: Data set and further settings -> the directory of the recipe, as it was when there was no such choice.
NAMES_BEFORE = {
    ("cifar10", CIFAR10_MD5): "cifar10-cnn6-d17b80e6",
    ("digits", DIGITS): "digits-cnn6-39f46a34",
    ("digits", DIGITS, "training.lr=0.05", "model.widths=[8,8,8,8,8,8]"): "digits-cnn6-97afeae2",
}


@pytest.mark.parametrize("asked", NAMES_BEFORE)
def test_a_run_made_before_there_was_a_choice_keeps_its_directory(asked):
    data, digest, *words = asked
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        settings = configuration.train_settings(compose("train", overrides=[f"data={data}", *words]))
    assert identity(settings, digest).recipe_name == NAMES_BEFORE[asked]


def test_a_record_made_before_there_was_a_choice_is_of_the_same_run(plain):
    chosen = identity(plain)
    written = json.loads(json.dumps(asdict(chosen)))
    del written["training"]["optimizer"], written["model"]["source"], written["model"]["digest"]
    back = msgspec.convert(written, RunIdentity)
    assert (back, back.path) == (chosen, chosen.path)


def test_a_network_of_another_source_is_another_unless_that_is_its_own_file(plain):
    other = changed(plain, {"model.source": "torchvision"})
    assert identity(other).model.source == "torchvision"
    assert path_of(other) != path_of(plain)
    assert identity(changed(plain, {"model.source": "cnn6"})) == identity(plain)


def test_a_title_names_condition_and_seed(plain):
    assert identity(changed(plain, {"noise.frac": 0.1})).title == "noise-shuffle-0.1 seed 1"


def test_a_run_is_made_of_settings_with_the_digest_of_their_data_set(plain, tmp_path):
    run = Run.of(replace(plain, runs=str(tmp_path)))
    assert run.identity == identity(plain, run.identity.data.digest)
    assert re.fullmatch(r"[0-9a-f]{16,}", run.identity.data.digest)
    assert run.directory == tmp_path / run.identity.path


def test_the_runs_may_be_in_the_home_directory(plain):
    assert Run.of(replace(plain, runs="~/runs")).directory.is_relative_to(Path.home() / "runs")


def test_every_kind_of_noise_is_a_dataclass_whose_fields_can_be_changed():
    # What `changed` and the identity rely on.
    for kind in NOISE_KINDS.values():
        assert issubclass(kind, NoiseKind)
        assert replace(kind()) == kind()
