"""Data sets: what is loaded, what tells one from another, and what is refused."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from support.commands import ROOT
from support.sources import write_images, write_source

from class_sensitivity.data import sources
from class_sensitivity.data.arrays import ArraysError, ImageArrays
from class_sensitivity.data.sources import class_names, data_digest, known_sources, load_arrays
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.settings import DataSettings


def data(name: str, directory: Path | None = None, **options: object) -> DataSettings:
    place = None if directory is None else str(directory)
    return DataSettings(name, place, download=False, flip=False, crop_padding=0, options=options)


# Sources


def test_the_bundled_digits_are_all_there_each_once():
    arrays = load_arrays(data("digits"))
    assert arrays.train_images.shape == (1198, 8, 8, 1)
    assert arrays.test_images.shape == (599, 8, 8, 1)
    assert arrays.class_names == class_names(data("digits")) == tuple("0123456789")
    source = load_digits()
    expected = Counter((label, tuple(image.ravel())) for image, label in zip(source.images, source.target, strict=True))
    ink = np.concatenate([arrays.train_images, arrays.test_images]) / (255 / 16)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    assert np.abs(ink - ink.round()).max() < 0.04  # 17 levels of grey
    assert Counter((label, tuple(image.round().ravel())) for image, label in zip(ink, labels, strict=True)) == expected


def test_the_split_of_the_digits_is_stratified_and_never_changes():
    arrays = load_arrays(data("digits"))
    totals = np.bincount(np.concatenate([arrays.train_labels, arrays.test_labels]))
    np.testing.assert_allclose(np.bincount(arrays.test_labels), totals / 3, atol=1)
    # Another split would make every recorded run incomparable with new ones.
    assert crc32(arrays.test_labels.tobytes()) == 3043507345


def test_an_unknown_data_set_is_refused_and_the_known_ones_are_named():
    for ask in (load_arrays, data_digest):
        with pytest.raises(ConfigError, match=r"mnist.*cifar10.*digits"):
            ask(data("mnist"))
    assert {"cifar10", "digits"} <= set(known_sources())


def test_an_unknown_source_is_refused_and_the_known_ones_are_named():
    asked = replace(data("pets"), source="folder")
    for ask in (load_arrays, data_digest):
        with pytest.raises(ConfigError, match=r"^data\.source=folder is not known.*cifar10.*digits"):
            ask(asked)


def test_a_data_set_may_have_another_name_than_what_reads_it():
    named = replace(data("pets"), source="digits")
    np.testing.assert_array_equal(load_arrays(named).train_images, load_arrays(data("digits")).train_images)
    assert data_digest(named) == data_digest(data("digits"))


def test_the_runs_of_a_sweep_share_the_arrays_of_their_data_set():
    assert load_arrays(data("digits")) is load_arrays(data("digits"))


def test_a_folder_of_cifar10_with_a_file_missing_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").touch()
    with pytest.raises(DataError, match=r"data_batch_1 is missing.*data\.dir"):
        load_arrays(data("cifar10", tmp_path))


FITTING = {
    "train_images": np.zeros((4, 8, 8, 1), np.uint8),
    "train_labels": np.array([0, 1, 1, 0]),
    "test_images": np.zeros((2, 8, 8, 1), np.uint8),
    "test_labels": np.array([0, 1]),
    "class_names": ("ant", "bee"),
}
LABELS = FITTING["train_labels"]
PIXELS = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8, 1)

#: What does not fit -> what the sentence says.
MISFITS = [
    # Images. A change that makes the array right is named where there is one.
    ({"train_images": PIXELS.astype(np.float32) ** 2}, "got float32 from 0 to 1: use (train_images * 255).round()"),
    ({"train_images": PIXELS * 254.5}, "got float64 from 0 to 254.5: use train_images.round()"),
    ({"test_images": PIXELS - 0.5}, "got float64 from -0.5 to 0.5: undo what was done"),
    ({"test_images": PIXELS * np.nan}, "test_images must be uint8 from 0 to 255, got float64 from nan to nan"),
    ({"train_images": (PIXELS * 255).astype(np.int64) - 1}, "got int64 from -1 to 254: undo what was done"),
    ({"train_images": PIXELS > 0.5}, "use train_images.astype('uint8') * 255"),
    ({"train_images": np.zeros((4, 8, 8), np.uint8)}, "(4, 8, 8): use train_images[..., None]"),
    ({"train_images": np.zeros((4, 64), np.uint8)}, "(4, 64): use train_images.reshape(-1, H, W, C)"),
    ({"train_images": np.zeros((4, 3, 8, 8), np.uint8)}, "use numpy.moveaxis(train_images, 1, -1)"),
    ({"train_images": [[[[0]]]]}, "train_images must be a NumPy array, got list"),
    ({"test_images": np.zeros((0, 8, 8, 1), np.uint8), "test_labels": LABELS[:0]}, "test_images holds no images"),
    ({"test_images": np.zeros((2, 0, 8, 1), np.uint8)}, "test_images holds images of 0 x 8 x 1"),
    ({"test_images": np.zeros((2, 9, 8, 1), np.uint8)}, "train_images are of 8 x 8 x 1 and test_images of 9 x 8 x 1"),
    # Labels.
    ({"train_labels": LABELS + 0.5}, "int64, got float64: use train_labels.astype('int64')"),
    ({"train_labels": np.eye(2, dtype=np.int64)[LABELS]}, "got (4, 2): use train_labels.argmax(axis=1)"),
    ({"train_labels": LABELS[:, None]}, "got (4, 1): use train_labels.ravel()"),
    ({"train_labels": LABELS[:3]}, "one number for each of 4 images, got (3,)"),
    ({"train_labels": np.array(["ant", "bee", "bee", "ant"])}, "numbers of classes, got <U3: use numpy.unique"),
    ({"train_labels": LABELS.tolist()}, "train_labels must be a NumPy array, got list"),
    ({"train_labels": LABELS * 0}, "train_labels hold no example of class bee: add some, or leave the class out"),
    ({"train_labels": np.array([0, 1, 2, 0])}, "train_labels must hold numbers from 0 to 1"),
    ({"test_labels": np.array([0, -1])}, "the positions in class_names, and holds -1"),
    # Names.
    ({"class_names": "ab"}, "class_names must be a list of text, got str"),
    ({"class_names": [3, 5]}, "class_names must be text, got 3: put quotes"),
    ({"class_names": ["ant", "  "]}, "class_names holds a name that is empty"),
    ({"class_names": ["ant", "bee", "ant"]}, "class_names holds 'ant' 2 times"),
    ({"class_names": ["ant", " ant "]}, "class_names holds 'ant' 2 times"),
    ({"class_names": ["caf\u00e9", "cafe\u0301"]}, "class_names holds 'caf\u00e9' 2 times"),
    ({"class_names": ["ant", "be\ne"]}, "class_names holds 'be\\ne', which has a control character"),
    ({"class_names": ["ant", "\x1b[2Jbee"]}, "which has a control character: rename the class"),
    ({"class_names": ["ant"], "train_labels": LABELS * 0, "test_labels": LABELS[:2] * 0}, "2 classes at least, got 1"),
]


@pytest.mark.parametrize(("change", "words"), MISFITS, ids=[words for _, words in MISFITS])
def test_arrays_that_do_not_fit_together_are_refused(change, words):
    with pytest.raises(ArraysError) as error:
        ImageArrays(**(FITTING | change))
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [change for change, words in MISFITS if ": use " in words and "round" not in words and "H, W" not in words],
)
def test_what_the_sentence_says_makes_the_array_right(change):
    # Only one array of these is wrong, and a user may type what stands behind the colon.
    with pytest.raises(ArraysError) as error:
        ImageArrays(**(FITTING | change))
    ((name, value),) = change.items()
    said = str(error.value).partition(": use ")[2]
    if "numpy.unique" in said:
        made = np.unique(value, return_inverse=True)[1]
    else:
        made = eval(said, {name: value, "numpy": np})
    images = {name: made} if name.endswith("labels") else {"train_images": made, "test_images": made[:2]}
    assert ImageArrays(**(FITTING | images)).num_classes == 2


@pytest.mark.parametrize("names", [["ant", "bee"], np.array(["ant", "bee"]), ("ant", np.str_("bee"))])
def test_class_names_become_a_tuple_of_text(names):
    arrays = ImageArrays(**(FITTING | {"class_names": names}))
    assert arrays.class_names == ("ant", "bee")
    assert {type(name) for name in arrays.class_names} == {str}
    assert arrays.digest == ImageArrays(**FITTING).digest


@pytest.mark.parametrize("pixels", [np.int64, np.uint16, np.float32, "fractions", np.float16])
@pytest.mark.parametrize("labels", [np.int32, np.uint8, ">i8", float, bool])
def test_numbers_of_another_type_are_converted_where_nothing_is_lost(pixels, labels):
    values = np.round(PIXELS * 255)
    given = (values / 255).astype(np.float16) if pixels == "fractions" else values.astype(pixels)
    made = ImageArrays(**(FITTING | {"train_images": given, "train_labels": LABELS.astype(labels)}))
    np.testing.assert_array_equal(made.train_images, values.astype(np.uint8), strict=True)
    np.testing.assert_array_equal(made.train_labels, LABELS.astype(np.int64), strict=True)
    assert made.digest == ImageArrays(**(FITTING | {"train_images": values.astype(np.uint8)})).digest


def test_arrays_that_pytorch_cannot_take_are_copied_and_others_are_not():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    frozen = images.copy()
    frozen.flags.writeable = False
    for odd in (frozen, images[::-1], np.asfortranarray(images)):
        made = ImageArrays(**(FITTING | {"train_images": odd})).train_images
        np.testing.assert_array_equal(torch.from_numpy(made), odd)
    assert ImageArrays(**(FITTING | {"train_images": images})).train_images is images


def test_a_class_may_have_no_test_image():
    assert ImageArrays(**(FITTING | {"test_labels": np.array([1, 1])})).num_classes == 2


@pytest.mark.slow
@pytest.mark.cifar10
def test_cifar10_is_what_torchvision_reads(cifar10, cifar10_dir):
    from torchvision.datasets import CIFAR10

    train, test = CIFAR10(cifar10_dir, train=True), CIFAR10(cifar10_dir, train=False)
    np.testing.assert_array_equal(cifar10.train_images, train.data)
    np.testing.assert_array_equal(cifar10.test_images, test.data)
    assert cifar10.train_labels.tolist() == train.targets
    assert cifar10.test_labels.tolist() == test.targets
    assert cifar10.class_names == tuple(train.classes) == class_names(data("cifar10"))
    assert cifar10.train_images.shape == (50_000, 32, 32, 3)


# What tells one data set from another


@pytest.mark.parametrize(
    "change",
    [
        {"train_images": np.eye(32, dtype=np.uint8)[:4].reshape(4, 8, 4, 1).repeat(2, axis=2)},
        {"test_images": np.ones((2, 8, 8, 1), np.uint8)},
        {"train_labels": np.array([0, 1, 0, 1])},
        {"test_labels": np.array([1, 0])},
        {"class_names": ("ant", "cow")},
        {"class_names": ("bee", "ant")},
        {"class_names": ("ant", "bee", "cow"), "train_labels": np.array([0, 1, 2, 0])},
        {"train_images": np.zeros((4, 4, 16, 1), np.uint8), "test_images": np.zeros((2, 4, 16, 1), np.uint8)},
    ],
    ids=lambda change: " ".join(change),
)
def test_a_digest_follows_from_every_image_label_and_class_name(change):
    assert ImageArrays(**(FITTING | change)).digest != ImageArrays(**FITTING).digest


def test_a_digest_is_the_same_whatever_the_layout_in_memory():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    one, other = (
        ImageArrays(**FITTING | {"train_images": made}) for made in (images, np.asfortranarray(images.copy()))
    )
    assert one.digest == other.digest


def test_the_digest_of_cifar10_is_the_checksum_of_its_archive_and_needs_no_file():
    from torchvision.datasets import CIFAR10

    assert data_digest(data("cifar10", Path("nowhere"))) == CIFAR10.tgz_md5


def test_the_digest_of_the_digits_is_found_without_importing_scikit_learn():
    script = """
import sys
from class_sensitivity.data.sources import data_digest
from class_sensitivity.settings import DataSettings
print(data_digest(DataSettings("digits", None, download=False, flip=False, crop_padding=0)), "sklearn" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [data_digest(data("digits")), "False"]


# A user's own


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Iterator[None]:
    """A data set `mine` is known, and forgotten after the test."""
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(write_source(tmp_path))])
    sources._load.cache_clear()
    yield
    sources._load.cache_clear()
    sys.modules.pop(f"{sources.__name__}.mine", None)


def test_a_data_set_is_a_file_in_the_folder_of_sources(mine, tmp_path):
    assert "mine" in known_sources()
    arrays = load_arrays(data("mine", write_images(tmp_path / "a")))
    assert arrays.class_names == ("even", "odd")
    assert class_names(data("mine", tmp_path / "a")) == ("even", "odd")


def test_two_folders_under_one_name_are_two_data_sets_unless_their_content_is_the_same(mine, tmp_path):
    one, other = write_images(tmp_path / "a", seed=1), write_images(tmp_path / "b", seed=2)
    twin = write_images(tmp_path / "c", seed=1)
    assert data_digest(data("mine", one)) == data_digest(data("mine", twin)) != data_digest(data("mine", other))


def test_an_option_of_a_data_set_reaches_it_and_its_digest(mine, tmp_path):
    folder = write_images(tmp_path / "a")
    plain, shifted = data("mine", folder), data("mine", folder, shift=3)
    # A process that asks for one after the other gets each.
    difference = load_arrays(shifted).train_images.astype(int) - load_arrays(plain).train_images
    assert (difference == 3).all()
    assert data_digest(plain) != data_digest(shifted)
    assert data_digest(plain) == data_digest(data("mine", folder, shift=0))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (
            "ImageArrays(stored / 256, labels, stored, labels, ('even', 'odd'))",
            "mine cannot be used: train_images must",
        ),
        ("{'train_images': stored}", "mine cannot be used: its source gives dict, no ImageArrays"),
    ],
)
def test_what_a_source_gives_that_is_no_data_set_is_refused_in_one_sentence(mine, tmp_path, returned, words):
    source = tmp_path / "sources" / "mine.py"
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:-1], f"    return {returned}"]))
    with pytest.raises(DataError) as error:
        load_arrays(data("mine", write_images(tmp_path / "a")))
    assert words in str(error.value)


def test_an_unknown_option_is_refused_in_one_sentence(mine, tmp_path):
    folder = write_images(tmp_path / "a")
    for ask in (load_arrays, data_digest):
        with pytest.raises(ConfigError, match=r"data\.shfit is not a setting of mine: it must be one of shift\.$"):
            ask(data("mine", folder, shfit=3))
        with pytest.raises(ConfigError, match=r"data\.shift is not a setting of digits: it has none of its own\.$"):
            ask(data("digits", shift=3))


def test_the_content_of_a_data_set_decides_which_run_it_is(command, tmp_path):
    folder = tmp_path / "own"
    added = write_source(folder)
    (folder / "sitecustomize.py").write_text(
        f"from class_sensitivity.data import sources\nsources.__path__.append({str(added)!r})\n"
    )
    one, other, twin = (write_images(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2), ("c", 1)))

    def ask(where: Path | str, *words: str, sweep: bool = False) -> str:
        options = (*(["-m"] if sweep else []), "--config-dir", str(folder / "conf"))
        small = ("training.batch_size=8", "training.epochs=1", "training.threads=1")
        done = command(*options, "data=mine", f"data.dir={where}", *small, *words, PYTHONPATH=str(folder))
        assert (done.rc, done.stderr) == (0, "")
        return done.stdout.splitlines()[-1]

    ask(one)
    (result,) = command.runs.rglob("result.json")
    assert json.loads(result.read_text())["config"]["data"] == {
        "name": "mine",
        "dir": str(one),
        "download": False,
        "flip": False,
        "crop_padding": 0,
        "source": None,
        "options": {"shift": 0},
    }
    # Of three folders under one name two have the same content, and another setting is another content.
    every = f"{one},{twin},{other}"
    assert ask(every, "data.shift=0,1", "status=true", sweep=True) == "4 runs: 1 complete, 3 missing"
    write_images(one, seed=2)
    assert ask(f"{one},{other}", "status=true", sweep=True) == "1 run: 1 missing"
