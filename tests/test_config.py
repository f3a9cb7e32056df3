"""From a composed configuration to settings: what a new noise kind or data set brings is a setting like any other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf
from support.commands import ROOT, SMALL

from class_sensitivity import config as configuration
from class_sensitivity.config import JobComposer
from class_sensitivity.errors import ConfigError
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.settings import AnalyzeSettings, DataSettings, ModelSettings, TrainSettings
from class_sensitivity.stress import NOISE_KINDS, Examples, Noise, NoiseKind, make_noise_kind
from class_sensitivity.stress.noise import noise_kind


@pytest.fixture
def compose_settings() -> Callable[..., TrainSettings]:
    """By Hydra alone."""
    return composed


@pytest.fixture
def new_kind() -> Iterator[Callable[[type[NoiseKind]], None]]:
    """Enters a kind of noise as its file would, and forgets it after the test."""
    known = dict(NOISE_KINDS)

    def enter(kind: type[NoiseKind]) -> None:
        noise_kind(kind)
        configuration.register()

    yield enter
    NOISE_KINDS.clear()
    NOISE_KINDS.update(known)
    configuration.register()


@dataclass(frozen=True)
class Shift(NoiseKind):
    """Gives the class so many steps further."""

    name: str = "shift"
    steps: int = 1
    only: list[str] = field(default_factory=list)

    def apply(self, examples: Examples, rng: np.random.Generator) -> np.ndarray:
        return (examples.labels + self.steps) % examples.num_classes


def path_of(settings: TrainSettings) -> Path:
    return RunIdentity.of(settings, "digest").path


# A new kind of noise


def test_the_settings_of_a_new_kind_of_noise_are_settings_and_make_another_run(new_kind, compose_settings):
    new_kind(Shift)
    plain = compose_settings("noise.kind=shift", "noise.frac=0.2")
    assert plain.noise.kind == Shift()
    chosen = compose_settings("noise.kind=shift", "noise.frac=0.2", "noise.steps=3", "noise.only=[a]")
    assert chosen.noise.kind == Shift(steps=3, only=["a"])
    zero = compose_settings("noise.kind=shift", "noise.frac=0.2", "noise.steps=0")
    assert len({path_of(plain), path_of(chosen), path_of(zero)}) == 3
    assert path_of(compose_settings("noise.kind=shift", "noise.frac=0.2", "noise.steps=1")) == path_of(plain)
    # The settings of one kind are nothing to another.
    assert path_of(compose_settings("noise.frac=0.2", "noise.steps=3")) == path_of(compose_settings("noise.frac=0.2"))
    assert "noise.steps" in configuration.setting_names()
    assert RunIdentity.of(chosen, "digest").condition.noise_options == {"steps": 3, "only": ["a"]}


def test_a_setting_of_a_new_kind_has_a_type(new_kind, compose_settings):
    new_kind(Shift)
    with pytest.raises(ConfigCompositionException) as error:
        compose_settings("noise.kind=shift", "noise.steps=many")
    assert configuration.explain(error.value).startswith("noise.steps=many is not allowed: ")


def test_the_defaults_of_a_kind_stand_in_its_class_and_those_of_all_kinds_in_the_file(compose_settings):
    written = OmegaConf.load(ROOT / "conf" / "train.yaml").noise
    assert set(written) == {setting.name for setting in fields(Noise)}
    for name in NOISE_KINDS:
        assert compose_settings(f"noise.kind={name}").noise == Noise(make_noise_kind(name, {}))


def test_an_old_setting_does_not_outlive_its_kind(compose_settings):
    assert "shift" not in NOISE_KINDS
    with pytest.raises(ConfigCompositionException) as error:
        compose_settings("noise.steps=3")
    assert configuration.explain(error.value).startswith("There is no setting noise.steps: ")


@dataclass(frozen=True)
class OtherType(Shift):
    name: str = "other-type"
    partner: list[str] = field(default_factory=list)  # type: ignore[assignment]


@dataclass(frozen=True)
class OtherDefault(Shift):
    name: str = "other-default"
    partner: dict[str, str] = field(default_factory=lambda: {"cat": "dog"})


@dataclass(frozen=True)
class OfEveryKind(Shift):
    name: str = "of-every-kind"
    frac: float = 0.5


@pytest.mark.parametrize("kind", [OtherType, OtherDefault, OfEveryKind])
def test_a_kind_whose_settings_clash_with_others_is_refused(new_kind, kind):
    with pytest.raises(TypeError, match=rf"{kind.__name__}\.(partner|frac): .*noise\.(partner|frac)"):
        new_kind(kind)


def test_two_kinds_may_have_the_same_setting(new_kind, compose_settings):
    @dataclass(frozen=True)
    class Back(Shift):
        name: str = "back"

    new_kind(Shift)
    new_kind(Back)
    assert compose_settings("noise.kind=back", "noise.steps=4").noise.kind == Back(steps=4)


# What a data set or a network alone has


def composed(*overrides: str) -> TrainSettings:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return configuration.train_settings(compose("train", overrides=[*SMALL, *overrides]))


def test_what_a_data_set_or_a_network_alone_has_becomes_its_options():
    settings = composed("+data.shift=3", "+data.parts=[a,b]", "model.widths=[8,8,8,8,8,8]")
    assert settings.data == DataSettings("digits", None, False, False, 0, options={"shift": 3, "parts": ["a", "b"]})
    assert settings.model == ModelSettings("cnn6", options={"widths": [8] * 6})


def test_an_option_is_part_of_what_the_run_is():
    # Of a data set, its digest is.
    assert path_of(composed("model.widths=[8,8,8,8,8,8]")) != path_of(composed())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.crop_padding=1.5", r"^data\.crop_padding=1\.5 is not allowed: .*Integer"),
        ("data.name=null", r"^data\.name=None is not allowed"),
        ("~data.flip", r"^data\.flip has no value; give one with data\.flip=VALUE\.$"),
        ("noise.classes=[[cat]]", r"^noise\.classes=\[\['cat'\]\] is not allowed: .*class names"),
        ("+training.epoch=1", r"^There is no setting training\.epoch: did you mean training\.epochs\?$"),
        ("+trainin.epochs=1", r"^There is no setting trainin\.epochs: did you mean training\.epochs\?$"),
    ],
)
def test_a_setting_that_hydra_lets_pass_is_refused_in_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message) as error:
        composed(override)
    assert len(str(error.value).splitlines()) == 1


# The YAML files and the types


@pytest.mark.parametrize(("name", "settings"), [("train", TrainSettings), ("analyze", AnalyzeSettings)])
def test_the_yaml_file_gives_every_setting_a_value_and_no_other(name, settings):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(name)
    assert OmegaConf.missing_keys(config) == set()
    written = {key for key, _ in _dotted(OmegaConf.to_container(config, resolve=True))}
    open_sections = ("data.", "model.")
    names = {name for name in configuration.setting_names(settings) if not name.startswith(open_sections)}
    assert {name for name in written if not name.startswith(open_sections)} == names


def _dotted(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")


def test_every_known_kind_of_noise_can_be_asked_for(compose_settings):
    for name in NOISE_KINDS:
        assert compose_settings(f"noise.kind={name}").noise.kind == make_noise_kind(name, {})


# Composing many jobs

#: Words of jobs that follow each other, from one sweep: they set the same settings, or others, or add and remove some.
JOBS = (
    ["seed=1", "noise.frac=0.1"],
    ["seed=2", "noise.frac=0.2"],
    ["noise.frac=0.3", "seed=3"],
    ["seed=4", "seed=5"],
    ["seed=6", "noise.classes=[1,2]", "noise.frac=0.1"],
    ["seed=7", "noise.classes=[3]", "noise.frac=0.1"],
    ["seed=8", "noise.classes=[]", "noise.frac=0.1"],
    ["model=lenet", "seed=1"],
    ["model=cnn6", "seed=1"],
    ["data=npz", "data.file=one.npz", "data.name=one"],
    ["data=npz", "data.file=other.npz", "data.name=other"],
    ["noise.kind=pair", "noise.frac=0.2", "noise.partner={1: 2}"],
    ["noise.kind=pair", "noise.frac=0.2", "noise.partner={2: 3}"],
    ["noise.kind=pair", "noise.frac=0.2"],
    ["+noise.partner.1=2", "noise.kind=pair", "noise.frac=0.2"],
    ["training.lr=1", "streams.init=0"],
    ["training.lr=0.5", "streams.init=null"],
    ["model.weights=null", "++seed=9", "seed=3"],
    ["reduction.match_steps=true", "reduction.frac=0.5"],
    ["reduction.match_steps=masked", "reduction.frac=0.5"],
    ["runs=~/elsewhere", "training.threads=2"],
    ["runs=${data.name}", "seed=1"],
    ["runs=${model.name}", "seed=2"],
    ["data=module", "data.module=one"],
    ["data=module", "data.module=other"],
    ["data=module", "data.module=one", "data.dir=${data.module}"],
    ["data=module", "data.module=other", "data.dir=~/${data.module}"],
    ["runs=here", "training.threads=3"],
    ["seed=1", "noise.frac=0.1"],
)


@pytest.fixture
def sweep(tmp_path) -> Iterator[tuple[Any, Any]]:
    """Hydra's loader, and the configuration of a sweep."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        words = ["data=digits", f"runs={tmp_path}"]
        yield (
            GlobalHydra.instance().config_loader(),
            hydra.compose_config("train", words, RunMode.MULTIRUN, with_log_configuration=False),
        )


def outcome(composer: Callable[[], JobComposer], words: list[str]) -> Any:
    try:
        return composer().settings(words)
    except Exception as error:
        return type(error), str(error)


def test_jobs_that_are_composed_together_are_those_composed_alone(sweep):
    together = JobComposer(*sweep)
    wrong = (
        ["noise.frac=much", "seed=1"],
        ["noise.frac=7", "seed=1"],
        ["noise.fraction=0.1"],
        ["model=cnn7"],
        ["seed=???"],
        ["training.lr=-1"],
        ["training=null"],
        ["seed=1,2"],
        ["data.file=one.npz"],
    )
    alone = [outcome(lambda: JobComposer(*sweep), words) for words in (*JOBS, *wrong)]
    in_turn = list(zip((*JOBS, *wrong), alone, strict=True))
    for words, expected in (*in_turn, *reversed(in_turn[: len(JOBS)])):
        assert outcome(lambda: together, words) == expected, words
    assert isinstance(outcome(lambda: together, wrong[0]), tuple)


def test_jobs_that_differ_in_values_are_composed_once(sweep, monkeypatch):
    loader, config = sweep
    composed = []
    load = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *words: composed.append(words) or load(*words))
    composer = JobComposer(loader, config)
    for seed in range(20):
        assert composer.settings([f"seed={seed}", f"noise.frac={seed / 20}", "model=lenet"]).seed == seed
    assert len(composed) == 1
