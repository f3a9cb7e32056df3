"""What of image folders is refused in one sentence, so that nothing is left; much of it by the real command line."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import Finished, ForkedCommand, assert_one_sentence
from support.disks import fill, small_disk
from support.pictures import picture, write_pictures, write_split
from test_image_folder_decoding import png

from class_sensitivity.data.sources.image_folder import digest
from class_sensitivity.errors import DataError, UserError

#: Makes something in a folder, and returns the words that ask for it.
Build = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Case:
    """Something that is refused.

    Attributes:
        build: Makes it.
        words: Of the sentence that refuses it.
        typed: It is tried on the real command line, too.
    """

    build: Build
    words: tuple[str, ...]
    typed: bool


CASES: dict[str, Case] = {}


def refused(*words: str, typed: bool = False) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        CASES[build.__name__] = Case(build, words, typed)
        return build

    return add


def in_two(folder: Path) -> list[str]:
    return [f"data.train_dir={folder / 'train'}", f"data.test_dir={folder / 'test'}"]


def alone(folder: Path) -> list[str]:
    return [f"data.dir={folder}"]


def table(folder: Path, text: str | bytes) -> list[str]:
    write_pictures(folder, {"cat": 3, "dog": 3})
    (folder / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return [f"data.csv={folder / 'labels.csv'}"]


# Where the images are


@refused("data=image_folder needs to know where the images are", "data.train_dir=FOLDER", typed=True)
def no_place(folder: Path) -> list[str]:
    return []


@refused("data.train_dir with data.test_dir, data.csv do not go together")
def two_ways(folder: Path) -> list[str]:
    write_split(folder)
    return [*in_two(folder), "data.csv=labels.csv"]


@refused("data.train_dir is set and data.test_dir is not")
def half_a_way(folder: Path) -> list[str]:
    return [f"data.train_dir={folder}"]


@refused("There is no folder", "nowhere")
def a_folder_that_does_not_exist(folder: Path) -> list[str]:
    return alone(folder / "nowhere")


@refused("cannot be read as a folder", "Not a directory")
def a_file_instead_of_a_folder(folder: Path) -> list[str]:
    picture().save(folder / "a.png")
    return alone(folder / "a.png")


@refused("are one folder", "data.dir=FOLDER")
def one_folder_to_train_and_to_test_on(folder: Path) -> list[str]:
    write_split(folder)
    return [f"data.train_dir={folder / 'train'}", f"data.test_dir={folder / 'test' / '..' / 'train'}"]


@refused("There is no folder", "nowhere")
def one_folder_that_does_not_exist_to_train_and_to_test_on(folder: Path) -> list[str]:
    return [f"data.train_dir={folder / 'nowhere'}", f"data.test_dir={folder / 'nowhere'}"]


# What the folders hold


@refused("holds no class folders", typed=True)
def no_images(folder: Path) -> list[str]:
    return alone(folder)


@refused("lies in no class folder", "a.png")
def images_beside_the_class_folders(folder: Path) -> list[str]:
    write_pictures(folder)
    picture().save(folder / "a.png")
    return alone(folder)


@refused("holds one class, cat", "at least 2", typed=True)
def one_class(folder: Path) -> list[str]:
    return alone(write_pictures(folder, {"cat": 5}))


@refused("holds 1,001 classes", "at most 1,000")
def too_many_classes(folder: Path) -> list[str]:
    for k in range(1001):
        (folder / f"{k}").mkdir()
        (folder / f"{k}" / "a.png").touch()
    return alone(folder)


@refused("The class folder", "train/owl holds no images", typed=True)
def an_empty_class_folder(folder: Path) -> list[str]:
    write_split(folder)
    (folder / "train" / "owl").mkdir()
    return in_two(folder)


@refused("The class folder", "test/dog holds no images")
def an_empty_class_folder_to_test_on(folder: Path) -> list[str]:
    write_split(folder)
    for path in (folder / "test" / "dog").iterdir():
        path.rename(path.with_name("notes.txt"))
    return in_two(folder)


@refused("The class dog is among the test images and not among the training images", "1 of 3 classes", typed=True)
def a_class_that_is_not_trained_on(folder: Path) -> list[str]:
    write_split(folder)
    for path in (folder / "train" / "dog").iterdir():
        path.unlink()
    (folder / "train" / "dog").rmdir()
    return in_two(folder)


@refused("is a folder inside the class folder", "animals/cat", "data.csv=FILE", typed=True)
def folders_of_folders_of_folders(folder: Path) -> list[str]:
    write_pictures(folder / "animals")
    write_pictures(folder / "things", {"cup": 3, "pen": 3})
    return alone(folder)


@refused("holds the folders of a split (test, train) and not of classes", "data.train_dir=", "/train data.test_dir=")
def a_folder_that_is_split_already(folder: Path) -> list[str]:
    write_split(folder)
    return alone(folder)


@refused("is a folder inside the class folder", "loop", typed=True)
def a_link_from_a_class_to_all_classes(folder: Path) -> list[str]:
    write_pictures(folder)
    (folder / "loop").symlink_to(folder)
    return alone(folder)


@refused("1 of 31 files cannot be used", "loop.png (it is no file, or a link that leads nowhere)", typed=True)
def a_link_to_itself(folder: Path) -> list[str]:
    write_pictures(folder)
    (folder / "cat" / "loop.png").symlink_to(folder / "cat" / "loop.png")
    return alone(folder)


@refused("pipe.png (it is no file")
def a_pipe(folder: Path) -> list[str]:
    write_pictures(folder)
    os.mkfifo(folder / "cat" / "pipe.png")
    return alone(folder)


@refused("The classes Cat and cat differ in capital letters alone", typed=True)
def classes_that_differ_in_case_alone(folder: Path) -> list[str]:
    return alone(write_pictures(folder, {"Cat": 3, "cat": 3, "dog": 3}))


@refused("holds 2 folders that are called été")
def classes_that_differ_in_how_accents_are_stored(folder: Path) -> list[str]:
    names = [unicodedata.normalize(form, "été") for form in ("NFC", "NFD")]
    return alone(write_pictures(folder, dict.fromkeys(names, 3)))


@refused(r"The class name 'a\nb' holds a control character", typed=True)
def a_class_name_of_two_lines(folder: Path) -> list[str]:
    return alone(write_pictures(folder, {"a\nb": 3, "c": 3}))


@refused("a name of blanks alone")
def a_class_without_a_name(folder: Path) -> list[str]:
    return alone(write_pictures(folder, {"  ": 3, "c": 3}))


@refused(r"caf\udce9", "is not valid UTF-8")
def a_name_in_another_encoding(folder: Path) -> list[str]:
    write_pictures(folder)
    os.mkdir(os.fsencode(folder) + b"/caf\xe9")
    return alone(folder)


@refused("The class dog has 1 usable image: a split needs 2")
def a_class_of_one_image(folder: Path) -> list[str]:
    return alone(write_pictures(folder, {"cat": 5, "dog": 1}))


# Broken files


@refused(
    "4 of 34 files cannot be used",
    r"a\nb.png (it is empty)",
    "cut.jpg (it is cut off)",
    "lists them all",
    "data.skip_broken=true",
    typed=True,
)
def broken_files(folder: Path) -> list[str]:
    write_pictures(folder)
    (folder / "cat" / "a\nb.png").touch()
    (folder / "cat" / "text.png").write_text("<html>")
    picture(height=64, width=64).save(folder / "dog" / "cut.jpg")
    os.truncate(folder / "dog" / "cut.jpg", 900)
    (folder / "dog" / "huge.png").write_bytes(png(20_000, 20_000))
    return alone(folder)


@refused("huge.png (it has more than 100,000,000 pixels; store it smaller)", typed=True)
def an_image_of_20000_by_20000(folder: Path) -> list[str]:
    write_pictures(folder)
    (folder / "dog" / "huge.png").write_bytes(png(20_000, 20_000))
    return alone(folder)


# Tables


@refused("The table", "labels.csv cannot be read (No such file or directory)")
def a_table_that_does_not_exist(folder: Path) -> list[str]:
    return [f"data.csv={folder / 'labels.csv'}"]


@refused("must begin with the line file,label or file,label,split", "'cat/000.png;cat'")
def a_table_without_a_heading(folder: Path) -> list[str]:
    return table(folder, "cat/000.png;cat\n")


@refused("names no files")
def a_table_without_lines(folder: Path) -> list[str]:
    return table(folder, "file,label\n")


@refused("is no CSV file in UTF-8")
def a_table_in_another_encoding(folder: Path) -> list[str]:
    return table(folder, b"file,label\ncat/000.png,caf\xe9\n")


@refused("line 3 of", "has 1 cells; it must have 2")
def a_line_that_is_too_short(folder: Path) -> list[str]:
    return table(folder, "file,label\ncat/000.png,cat\ncat/001.png\n")


@refused("line 2 of", "must name a file and its label", typed=True)
def a_line_without_a_label(folder: Path) -> list[str]:
    return table(folder, "file,label\ncat/000.png,\n")


@refused("line 2 of", "has the split 'validation'; it must be train or test")
def a_line_of_another_split(folder: Path) -> list[str]:
    return table(folder, "file,label,split\ncat/000.png,cat,validation\n")


@refused("line 3 of", "names ./cat/000.png, and line 2 does already")
def a_file_with_two_labels(folder: Path) -> list[str]:
    return table(folder, "file,label\ncat/000.png,cat\n./cat/000.png,dog\n")


@refused("The class dog is among the test images and not among the training images")
def a_label_that_is_not_trained_on(folder: Path) -> list[str]:
    return table(folder, "file,label,split\ncat/000.png,cat,train\ndog/000.png,dog,test\n")


@refused("names no image to test on")
def a_table_without_test_images(folder: Path) -> list[str]:
    return table(folder, "file,label,split\ncat/000.png,cat,train\ndog/000.png,dog,train\n")


@refused("1 of 5 files cannot be used", "cat/777.png (it is no file")
def a_line_without_a_file(folder: Path) -> list[str]:
    lines = "".join(f"{name}/00{i}.png,{name}\n" for name in ("cat", "dog") for i in (0, 1))
    return table(folder, f"file,label\n{lines}cat/777.png,cat\n")


# Settings


@refused("data.image_size=0 is not allowed", "1 to 1024")
def images_without_pixels(folder: Path) -> list[str]:
    return [*alone(write_pictures(folder)), "data.image_size=0"]


@refused("data.imagesize is not a setting of image_folder")
def a_setting_that_does_not_exist(folder: Path) -> list[str]:
    return [*alone(write_pictures(folder)), "+data.imagesize=16"]


def ask(forked: ForkedCommand, cache: Path, *words: str, sweep: bool = False) -> Finished:
    return forked(
        *(["-m"] if sweep else []), "data=image_folder", f"data.cache_dir={cache}", "training.epochs=1", *words
    )


def arrays_in(cache: Path) -> list[Path]:
    """What an import that was refused must not leave: arrays, or a part of them."""
    return [*cache.glob("importing-*"), *cache.rglob("*.npy")]


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_refused_in_one_sentence(make_run, folder, tmp_path, case):
    words = case.build(folder)
    with pytest.raises(UserError) as error:
        make_run("data=image_folder", f"data.cache_dir={tmp_path / 'cache'}", *words)
    sentence = str(error.value)
    assert len(sentence.splitlines()) == 1
    assert sentence.endswith(".")
    for word in case.words:
        assert word in sentence, sentence
    assert arrays_in(tmp_path / "cache") == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.typed])
def test_the_command_refuses_it_and_leaves_nothing(forked, folder, tmp_path, name):
    done = ask(forked, tmp_path / "cache", *CASES[name].build(folder))
    assert_one_sentence(done, *CASES[name].words)
    assert done.stdout == ""
    assert not forked.runs.exists()
    assert arrays_in(tmp_path / "cache") == []


def test_a_sweep_refuses_it_before_a_run_begins(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (folder / "cat" / "broken.png").touch()
    done = ask(forked, tmp_path / "cache", *alone(folder), "noise.frac=0,0.2", "seed=1,2", sweep=True)
    assert_one_sentence(done, "broken.png (it is empty)")
    assert not forked.runs.exists()


# The cache


def test_a_cache_that_cannot_be_made_is_named(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (tmp_path / "file").touch()
    done = ask(forked, tmp_path / "file" / "cache", *alone(folder))
    assert_one_sentence(done, str(tmp_path / "file" / "cache"), "cannot be written", "data.cache_dir=FOLDER")


def test_no_space_for_the_cache_is_known_before_an_image_is_read(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, free=2**20)
        done = ask(forked, disk / "cache", *alone(folder), "data.image_size=300")
        assert_one_sentence(done, "30 images take 16 MB", "data.image_size", "data.cache_dir=FOLDER")
        assert arrays_in(disk) == []


@pytest.mark.parametrize("free", [2**19, 3 * 2**19])
def test_a_disk_that_fills_while_images_are_imported_leaves_nothing(tmp_path, monkeypatch, free):
    folder = str(write_pictures(tmp_path / "pictures"))
    # As if something else filled it: images of 1.1 MB and arrays as large are to be written.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**40))
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, free=free)
        options = {"cache_dir": str(disk / "cache"), "image_size": 110}
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            digest(folder, **options)
        assert arrays_in(disk) == []
        (disk / "ballast").unlink()
        digest(folder, **options)
