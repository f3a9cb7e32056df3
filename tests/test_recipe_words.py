"""The words of a command line that ask for the recipe of a record make the same recipe."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from hydra import compose, initialize_config_dir
from support.commands import ROOT

from class_sensitivity.config import register, train_settings
from class_sensitivity.recipe_words import recipe_words
from class_sensitivity.settings import TrainSettings


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def settings(*words: str) -> TrainSettings:
    return train_settings(compose("train", overrides=list(words)))


@pytest.mark.parametrize(
    "given",
    [
        ["data=digits"],
        ["data=digits", "training.epochs=30", "training.lr=0.02", "noise.frac=0.2", "seed=4"],
        ["data=image_folder", "data.train_dir='my pictures/train'", "data.test_dir=pictures/test", "data.flip=false"],
        ["data=image_folder", "data.csv=a.csv", "data.name=pets", "data.image_size=[48,64]"],
        ["data=module", "data.module=my_package.my_data", "+data.size=64"],
        ["data=npz", "data.file=arrays.npz"],
        ["data=npz", "data.file='/home/josé/pets.npz'"],
        ["data=npz", r"data.file='C:\pets\\'", "+data.note=\"my 'pets'\""],
        ["data=npz", "data.file=a.npz", "data.name='2024'"],
        ["data=npz", "data.file=a.npz", "data.name='null'"],
        ["data=npz", "data.file=a.npz", "data.name='1e3'"],
        ["data=image_folder", "data.csv=a.csv", "data.image_size=null"],
        ["data=cifar10", "data.dir=null"],
        ["data=module", "data.module=my_package.my_data", "+data.sizes={a: 1, b: [2, x y]}"],
        ["model=torchvision", "model.name=resnet18", "data=digits"],
        ["model=module", "model.module=my_net:Net", "+model.depth=3"],
        ["model=vit_tiny", "data=digits", "training.optimizer=sgd"],
        ["model=cnn6", "model.widths=[16,16,32,32,64,64]", "training.batch_size=64"],
    ],
    ids=" ".join,
)
def test_the_words_ask_for_the_same_recipe(given):
    asked = settings(*given)
    words = recipe_words(asdict(asked))
    again = settings(*shlex.split(" ".join(words)))
    assert (again.data, again.model, again.training) == (asked.data, asked.model, asked.training)
    assert not [word for word in words if word.startswith(("noise", "seed"))]


def test_what_is_at_its_default_is_not_named():
    assert recipe_words(asdict(settings("data=digits", "seed=3"))) == ("data=digits", "model=cnn6")


def test_a_data_set_whose_file_is_gone_is_named_alone():
    recorded = asdict(settings("data=digits", "training.epochs=9"))
    recorded["data"] |= {"name": "no-such-set", "source": None}
    assert recipe_words(recorded) == ("data=no-such-set", "model=cnn6")
