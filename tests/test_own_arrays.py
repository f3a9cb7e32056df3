"""Data of a user's own: arrays in a file, and a module; what is read, what tells it apart, what is refused."""

import itertools
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import assert_one_sentence
from support.sources import MODULE, stored_arrays, write_npz

from class_sensitivity.data import sources
from class_sensitivity.data.sources import class_names, data_digest, load_arrays
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.settings import DataSettings

TINY = ("training.epochs=1", "training.batch_size=8", "training.threads=1")


def npz(path: Path | str, directory: Path | None = None) -> DataSettings:
    place = None if directory is None else str(directory)
    return DataSettings("npz", place, False, False, 0, source="npz", options={"file": str(path)})


# Files of arrays


def test_a_file_of_arrays_is_read_as_it_is(tmp_path):
    arrays, stored = load_arrays(npz(write_npz(tmp_path / "a.npz"))), stored_arrays()
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(arrays, key), stored[key])
    assert arrays.class_names == class_names(npz(tmp_path / "a.npz")) == ("ant", "bee")


def test_grey_images_need_no_channels_and_labels_may_be_of_any_whole_type(tmp_path):
    stored = stored_arrays()
    grey = {key: stored[key][..., 0] for key in ("train_images", "test_images")}
    types = {
        "train_labels": stored["train_labels"].astype(np.uint8),
        "test_labels": stored["test_labels"].astype(">i4"),
    }
    arrays = load_arrays(npz(write_npz(tmp_path / "a.npz", **grey, **types)))
    assert arrays.train_images.shape == (40, 12, 10, 1)
    np.testing.assert_array_equal(arrays.train_labels, stored["train_labels"])
    np.testing.assert_array_equal(arrays.test_labels, stored["test_labels"])


def test_without_names_classes_are_called_by_their_numbers(tmp_path):
    labels = {"train_labels": np.arange(40) % 3, "test_labels": np.arange(20) % 3}
    arrays = load_arrays(npz(write_npz(tmp_path / "a.npz", class_names=None, **labels)))
    assert arrays.class_names == ("0", "1", "2")


def test_the_path_of_a_file_is_relative_to_the_directory(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    write_npz(tmp_path / "inner" / "a.npz")
    monkeypatch.chdir(tmp_path)
    arrays = [load_arrays(npz("a.npz", Path("inner"))), load_arrays(npz("inner/a.npz"))]
    assert arrays[0].digest == arrays[1].digest


def test_the_content_of_a_file_tells_it_from_others_and_its_place_does_not(tmp_path):
    one, twin = write_npz(tmp_path / "a.npz"), write_npz(tmp_path / "b.npz")
    other = write_npz(tmp_path / "c.npz", class_names=np.array(["ant", "cow"]))
    assert data_digest(npz(one)) == data_digest(npz(twin)) != data_digest(npz(other))


def test_of_a_file_that_changes_a_process_keeps_what_its_runs_are_known_by(tmp_path):
    path = write_npz(tmp_path / "a.npz")
    digest = data_digest(npz(path))
    write_npz(path, class_names=np.array(["ant", "cow"]))
    assert load_arrays(npz(path)).digest == digest == data_digest(npz(path))
    sources._load.cache_clear()
    assert load_arrays(npz(path)).digest != digest


def test_how_a_file_was_written_does_not_tell_it_from_others(tmp_path):
    plain, packed = write_npz(tmp_path / "a.npz"), tmp_path / "b.npz"
    stored = stored_arrays()
    np.savez_compressed(packed, **(stored | {"train_labels": stored["train_labels"].astype(np.int32)}))
    assert plain.read_bytes() != packed.read_bytes()
    assert data_digest(npz(plain)) == data_digest(npz(packed))


def bytes_of(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


def holding(**replaced: object) -> Callable[[Path], None]:
    return lambda path: write_npz(path, **replaced)


def cut_short(path: Path) -> None:
    write_npz(path)
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path: Path) -> None:
    """A zip file whose directory is right and whose pixels are not what its checksums say."""
    write_npz(path)
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    path.write_bytes(content)


def one_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.arange(3))


def text_in_a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("train_images", "train_labels", "test_images", "test_labels"):
            archive.writestr(f"{key}.npy", "not an array")


STORED = stored_arrays()
OF_MANY_SIZES = np.empty(40, object)
OF_MANY_SIZES[:] = list(STORED["train_images"])

#: What is wrong with a file, made -> what the sentence says.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "cannot be read (No such file or directory); set data.file"),
    "a folder": (Path.mkdir, "cannot be read (Is a directory); set data.file"),
    "empty": (bytes_of(b""), "is no .npz file, or damaged"),
    "text": (bytes_of(b"label,file\n"), "is no .npz file, or damaged"),
    "a pickle": (bytes_of(pickle.dumps([1])), "is no .npz file, or damaged"),
    "cut short": (cut_short, "is no .npz file, or damaged"),
    "flipped": (flipped, "train_images cannot be read (BadZipFile"),
    "text in a zip": (text_in_a_zip, "train_images cannot be read"),
    "one array": (one_array, "holds one array; store all with numpy.savez, by the names train_images"),
    "no test": (holding(test_images=None, test_labels=None), "holds no test_images and no test_labels; it must hold"),
    "many sizes": (holding(train_images=OF_MANY_SIZES), "holds Python objects, which are not read: use numpy.stack"),
    "names as objects": (holding(class_names=np.array(["a", "b"], object)), "use numpy.array(class_names, dtype=str)"),
    "labels as objects": (holding(test_labels=STORED["test_labels"].astype(object)), "use test_labels.astype('int64')"),
    "names as numbers": (holding(class_names=np.arange(2)), "class_names must be a list of text, got int64 (2,)"),
    "fractions": (holding(train_images=STORED["train_images"] / 256), "use (train_images * 255).round()"),
    "channels first": (holding(test_images=STORED["test_images"].transpose(0, 3, 1, 2)), "use numpy.moveaxis(test_im"),
    "one-hot": (holding(train_labels=np.eye(2)[STORED["train_labels"]]), "use train_labels.argmax(axis=1)"),
    "float labels": (holding(train_labels=STORED["train_labels"] + 0.5), "use train_labels.astype('int64')"),
    "negative labels": (holding(train_labels=STORED["train_labels"] - 1), "from 0 to 1, the positions in class_names"),
    "negative, no names": (holding(train_labels=STORED["train_labels"] - 1, class_names=None), "and holds -1"),
    "labels from 1": (holding(train_labels=STORED["train_labels"] + 1, class_names=None), "and holds no 0: use numpy"),
    "huge labels": (holding(train_labels=STORED["train_labels"].astype(np.uint64) << 63), "int64, got uint64"),
    "another test class": (holding(test_labels=np.arange(20) % 3), "from 0 to 1, the positions in class_names, and h"),
    "more names": (holding(class_names=np.array(["ant", "ant"])), "class_names holds 'ant' 2 times"),
    "one class": (holding(train_labels=np.zeros(40, int), class_names=None), "2 classes at least, got 1"),
    "no images": (
        holding(train_images=np.zeros((0, 4, 4), np.uint8), class_names=None),
        "train_images holds no images",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_holds_no_data_set_is_refused_in_one_sentence(tmp_path, what):
    make, words = BROKEN[what]
    make(tmp_path / "a.npz")
    with pytest.raises(DataError) as error:
        load_arrays(npz(tmp_path / "a.npz"))
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("what", ["absent", "flipped", "fractions", "float labels"])
def test_such_a_file_on_the_command_line(forked, tmp_path, what):
    make, words = BROKEN[what]
    make(tmp_path / "a.npz")
    assert_one_sentence(forked("data=npz", f"data.file={tmp_path / 'a.npz'}", *TINY), words)


def test_a_file_must_be_named(forked):
    assert_one_sentence(forked("data=npz", *TINY), "data.file has no value; give one with data.file=VALUE.")
    assert_one_sentence(forked("data=npz", "data.file=null", *TINY), "data.file=None", "the path of an .npz file")


def test_images_of_one_pixel_do_not_suit_the_network_and_that_is_said(forked, tmp_path):
    images = {key: STORED[key][:, :1, :1] for key in ("train_images", "test_images")}
    path = write_npz(tmp_path / "a.npz", **images)
    assert_one_sentence(forked("data=npz", f"data.file={path}", *TINY), "images must be at least 8 x 8")


@pytest.mark.parametrize("name", ["../pets", "a b", "", ".pets", "p" * 101, "<b>"])
def test_a_name_that_cannot_be_a_part_of_a_path_is_refused(compose_settings, tmp_path, name):
    words = ["data=npz", f"data.file={tmp_path}", f"data.name='{name}'"]
    with pytest.raises(ConfigError, match=r"^data\.name=.* is not allowed: .*letters, digits") as error:
        compose_settings(*words[:2], words[2], "training.epochs=1")
    assert len(str(error.value).splitlines()) == 1


def test_own_data_go_by_their_name_and_a_class_without_test_images_has_no_recall(forked, tmp_path):
    path = write_npz(tmp_path / "a.npz", test_labels=np.zeros(20, int))
    done = forked("data=npz", f"data.file={path}", "data.name=pets_2.0", *TINY)
    assert (done.rc, done.stderr) == (0, "")
    (result,) = done.results()
    assert result.relative_to(done.runs).parts[0].startswith("pets_2.0-cnn6-")
    from class_sensitivity.runs.directory import read_record

    record = read_record(result.parent)
    assert record.metrics.recall[1] is None
    assert record.data_settings.source == "npz"


# A module


@pytest.fixture
def written(tmp_path, monkeypatch) -> Callable[[str], DataSettings]:
    """Writes a module into the current directory; gives the settings that name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = (f"of_{tmp_path.name}_{number}" for number in itertools.count())

    def write(body: str, **options: object) -> DataSettings:
        name = next(names)
        (tmp_path / f"{name}.py").write_text(body)
        return DataSettings(name, None, False, False, 0, source="module", options={"module": name, **options})

    return write


def test_a_module_in_the_current_directory_is_read(written):
    arrays, stored = load_arrays(written(MODULE)), stored_arrays()
    np.testing.assert_array_equal(arrays.train_images, stored["train_images"])
    np.testing.assert_array_equal(arrays.test_labels, stored["test_labels"])


def test_an_option_reaches_the_module_and_the_digest_of_its_arrays(written):
    plain, shifted = written(MODULE), written(MODULE, shift=2)
    difference = load_arrays(shifted).train_images - load_arrays(plain).train_images
    assert (difference == 2).all()
    assert data_digest(plain) == load_arrays(plain).digest != data_digest(shifted)


def test_a_digest_of_the_module_s_own_spares_reading_the_data(written):
    body = "def load(directory, download):\n    raise NotImplementedError\n"
    own = "def digest(directory, month='may'):\n    return 'of-' + month\n"
    may, twin, june = (data_digest(written(body + own, **options)) for options in ({}, {}, {"month": "june"}))
    assert may == twin != june
    # It becomes a part of a path.
    assert set(data_digest(written(body + own, month="/../etc"))) <= set("0123456789abcdef")


LOAD = "def load(directory, download):\n"

#: A module, and what is said of it.
MODULES: dict[str, tuple[str, str]] = {
    "no load": ("x = 1\n", "has no function load; it must have load(directory, download)."),
    "load is no function": ("load = 3\n", "has no function load"),
    "wrong signature": ("def load(folder):\n    pass\n", "load(directory=None, download=False) cannot be called: "),
    "wrong type": (f"{LOAD}    return [1, 2]\n", "load gives list; it must give class_sensitivity.data.arrays.Image"),
    "it fails": (f"{LOAD}    return 1 / 0\n", "load fails: ZeroDivisionError: division by zero ("),
    "misfit": (
        MODULE.replace("ImageArrays(**arrays)", 'ImageArrays(**arrays | {"class_names": ["ant"]})'),
        "a data set must have 2 classes at least, got 1.",
    ),
    "a syntax error": ("def load(:\n", "cannot be imported: SyntaxError"),
    "wrong digest": (f"{LOAD}    pass\ndef digest(directory):\n    return 7\n", "digest gives 7; it must give text"),
    "digest of another kind": (f"{LOAD}    pass\ndef digest():\n    return 'a'\n", "digest(directory=None) cannot be"),
}


@pytest.mark.parametrize("what", MODULES)
def test_a_module_that_gives_no_data_set_is_refused_in_one_sentence(written, what):
    body, words = MODULES[what]
    settings = written(body)
    with pytest.raises((ConfigError, DataError), match=rf"^data\.module.*{settings.name}") as error:
        data_digest(settings)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_option_that_the_module_does_not_have_is_refused(written):
    with pytest.raises(ConfigError, match=r"load\(directory=None, download=False, size=3\) cannot be called"):
        load_arrays(written(MODULE, size=3))


def test_what_a_module_itself_refuses_is_said_in_its_own_words(written):
    body = f"from class_sensitivity.errors import DataError\n{LOAD}    raise DataError('The moon is full.')\n"
    with pytest.raises(DataError, match=r"^The moon is full\.$"):
        load_arrays(written(body))


def test_a_module_is_not_executed_where_that_is_not_wanted(written, tmp_path):
    settings = written("from pathlib import Path\nPath('sprung').touch()\n" + MODULE)
    with pytest.raises(DataError, match="which is not executed here"):
        load_arrays(settings, run_code=False)
    assert not (tmp_path / "sprung").exists()
    load_arrays(settings)
    assert (tmp_path / "sprung").exists(), "a trap that does not work proves nothing"


def test_a_module_beside_the_command_is_trained_on_under_its_name(forked, tmp_path):
    folder = tmp_path / "work"
    (folder / "my_package").mkdir(parents=True)
    body = MODULE.replace("from support.sources import stored_arrays", "import numpy as np")
    body = body.replace("stored_arrays()", "dict(np.load('arrays.npz'))")
    (folder / "my_package" / "my_data.py").write_text(body)
    write_npz(folder / "arrays.npz")
    done = forked("data=module", "data.module=my_package.my_data", "+data.shift=1", *TINY, cwd=folder)
    assert (done.rc, done.stderr) == (0, "")
    (result,) = done.results()
    assert result.relative_to(done.runs).parts[0].startswith("my_package.my_data-cnn6-")


def test_a_module_that_does_not_exist_on_the_command_line(forked):
    assert_one_sentence(forked("data=module", "data.module=my_pakage.my_data", *TINY), "data.module=my_pakage.my_data")
    assert_one_sentence(
        forked("data=module", "data.module=my_data:load", *TINY), "data.module=my_data:load is not allow"
    )
    assert_one_sentence(forked("data=module", *TINY), "data.module has no value; give one with data.module=VALUE.")
