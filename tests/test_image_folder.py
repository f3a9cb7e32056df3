"""Image folders: what is imported, in which order, what tells one from another, and what the cache spares."""

import csv
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.images import data_module, labels_in
from support.pictures import picture, write_pictures, write_split

from class_sensitivity.data.importing import cache, importer
from class_sensitivity.data.importing.decoding import FileFacts
from class_sensitivity.data.importing.importer import imported
from class_sensitivity.data.importing.listing import ImageFile, Listing
from class_sensitivity.data.importing.selection import select
from class_sensitivity.data.importing.settings import ImportSettings
from class_sensitivity.data.sources import class_names, data_digest, load_arrays
from class_sensitivity.data.sources.image_folder import digest, import_report, load
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.settings import DataSettings

SMALL = {"image_size": [12, 10]}


@pytest.fixture
def options(tmp_path) -> dict[str, object]:
    """Settings with a cache of the test's own; images keep the size that `support.pictures` gives them."""
    return {"cache_dir": str(tmp_path / "cache"), **SMALL}


@pytest.fixture
def unread(monkeypatch) -> Callable[[], None]:
    """From the moment on when it is called, reading an image is an error; what this process knows is forgotten."""

    def arm() -> None:
        def fail(*_: object, **__: object) -> None:
            raise AssertionError("an image was read")

        imported.cache_clear()
        monkeypatch.setattr(importer, "read_image", fail)

    return arm


def again(**options: object) -> str:
    """The digest that a new process would find."""
    imported.cache_clear()
    return digest(**options)


def pixels_of(paths: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def write_table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


# What is imported


def test_every_image_is_there_once_with_the_class_of_its_folder(tmp_path, options):
    train, test = write_split(tmp_path, {"cat": 3, "été": 5, "dog 2": 4})
    arrays = load(train_dir=str(train), test_dir=str(test), **options)
    report = import_report(train_dir=str(train), test_dir=str(test), **options)
    assert arrays.class_names == report.class_names == ("cat", "dog 2", "été")
    for images, labels, files, root in (
        (arrays.train_images, arrays.train_labels, report.train_files, train),
        (arrays.test_images, arrays.test_labels, report.test_files, test),
    ):
        assert sorted(files) == sorted(str(path) for path in root.glob("*/*"))
        np.testing.assert_array_equal(images, pixels_of(files))
        assert [arrays.class_names[label] for label in labels] == [Path(path).parent.name for path in files]
    assert report.train_counts == (3, 4, 5)
    assert report.test_counts == (1, 2, 2)


def test_the_order_does_not_depend_on_the_order_in_which_files_were_made(tmp_path, options):
    one = write_pictures(tmp_path / "one", {"a": 4, "b": 4})
    for path in sorted(one.glob("*/*"), reverse=True):
        (tmp_path / "two" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "two" / path.parent.name / path.name)
    arrays = [load(str(folder), **options) for folder in (one, tmp_path / "two")]
    np.testing.assert_array_equal(arrays[0].train_images, arrays[1].train_images)
    np.testing.assert_array_equal(arrays[0].test_images, arrays[1].test_images)


def test_a_table_says_what_folders_say(tmp_path, options):
    train, test = write_split(tmp_path)
    rows = [("file", "label", "split")]
    for split in ("train", "test"):
        rows += [
            (f"{split}/{path.parent.name}/{path.name}", path.parent.name, split)
            for path in tmp_path.glob(f"{split}/*/*")
        ]
    table = write_table(tmp_path / "labels.csv", rows)
    folders = {"train_dir": str(train), "test_dir": str(test)}
    # The same content in the same order: it is one data set, kept once.
    assert digest(csv=str(table), **options) == digest(**folders, **options)
    assert len(list((tmp_path / "cache").glob("*/train.npy"))) == 1
    # Its paths are relative to its folder, or to data.dir; a byte-order mark, blanks and blank lines do not matter.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = table.read_text().replace(",", ", ").replace("\r\n", "\r\n\r\n").replace("file", "File")
    (elsewhere / "labels.csv").write_text(text, encoding="utf-8-sig")
    assert digest(str(tmp_path), csv=str(elsewhere / "labels.csv"), **options) == digest(**folders, **options)


def test_a_table_without_splits_is_split_like_a_folder(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    rows = [("file", "label"), *((str(path), path.parent.name) for path in folder.glob("*/*"))]
    table = write_table(tmp_path / "labels.csv", rows)
    assert digest(csv=str(table), **options) == digest(str(folder), **options)


@given(
    sizes=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    frac=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32),
    broken=st.integers(0, 5),
)
def test_a_split_takes_its_share_of_every_class(sizes, frac, seed, broken):
    # Broken files stand at the end of the first class.
    files = [
        ImageFile(f"{k}/{i:02}", str(k), None, 1, 0)
        for k, size in enumerate(sizes)
        for i in range(size + broken * (k == 0))
    ]
    facts = [
        FileFacts("x", "is empty" if file.label == "0" and int(file.path[2:]) >= sizes[0] else None, "RGB", 9, 9)
        for file in files
    ]
    settings = ImportSettings.of("x", {"test_frac": frac, "split_seed": seed})
    chosen = select(Listing(tuple(files), ()), tuple(facts), settings)
    train, test = chosen.train.tolist(), chosen.test.tolist()
    assert sorted(train + test) == [i for i, fact in enumerate(facts) if fact.defect is None]
    assert train == sorted(train)
    assert test == sorted(test)
    tested = Counter(files[i].label for i in test)
    for k, size in enumerate(sizes):
        assert 1 <= tested[str(k)] <= size - 1
        assert abs(tested[str(k)] - frac * size) <= 1 or tested[str(k)] in (1, size - 1)
    # What is broken does not move the others: removing it later gives the same split.
    whole = [i for i, fact in enumerate(facts) if fact.defect is None]
    mended = select(Listing(tuple(files[i] for i in whole), ()), tuple(facts[i] for i in whole), settings)
    assert [files[i].path for i in test] == [mended.files[i].path for i in mended.test]


def test_the_split_follows_from_its_seed(tmp_path, options):
    folder = str(write_pictures(tmp_path / "pictures", {"a": 20, "b": 20}))
    found = [digest(folder, split_seed=seed, **options) for seed in (0, 1, 0)]
    assert found[0] == found[2] != found[1]
    report = import_report(folder, test_frac=0.3, **options)
    assert report.test_counts == (6, 6)
    assert report.train_counts == (14, 14)


def test_a_class_without_test_images_is_allowed_and_said(tmp_path, options, capsys):
    train, test = write_split(tmp_path)
    shutil.rmtree(test / "dog")
    folders = {"train_dir": str(train), "test_dir": str(test)}
    arrays = load(**folders, **options)
    assert arrays.class_names == ("cat", "dog", "emu")
    assert set(arrays.test_labels.tolist()) == {0, 2}  # the numbers of the others stay
    report = import_report(**folders, **options)
    assert report.untested == ("dog",)
    assert "No test image, so that their recall is unknown: dog." in capsys.readouterr().out


def test_what_is_no_image_by_its_name_is_left_aside_and_counted(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    (folder / ".git").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "notes.xyz").write_text("beside the class folders")
    names = ("README", "readme.txt", ".DS_Store", "Thumbs.db", "._000.png", "labels.csv")
    for name in names:
        (folder / "cat" / name).write_text("no image")
    assert again(directory=str(folder), **options) == before
    ignored = {Path(path).name for path in import_report(str(folder), **options).ignored}
    assert ignored == {".git", "__MACOSX", "notes.xyz", *names}


def test_links_to_files_and_folders_are_followed_and_names_without_a_suffix_are_tried(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    other = tmp_path / "linked"
    (other / "cat").mkdir(parents=True)
    for path in (folder / "cat").iterdir():
        (other / "cat" / path.stem).symlink_to(path)
    for name in ("dog", "emu"):
        (other / name).symlink_to(folder / name)
    assert digest(str(other), **options) == before


def test_strange_names_are_kept(tmp_path, options):
    names = ["<script>alert(1)</script>".replace("/", "\\"), "👩‍👩‍👧 🦌", "x" * 250, "a b", "-rf", "%s{0}", "'\"&"]
    folder = write_pictures(tmp_path / "pictures", dict.fromkeys(names, 3))
    line = folder / names[0] / "a\nb\x1b[31m.png"
    picture(7).save(line)
    arrays = load(str(folder), **options)
    assert arrays.class_names == tuple(sorted(names))
    report = import_report(str(folder), **options)
    assert str(line) in (*report.train_files, *report.test_files)


# What tells one data set from another


def test_a_digest_does_not_depend_on_where_files_lie_or_on_what_they_are_called(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    folder.rename(tmp_path / "moved")
    assert digest(str(tmp_path / "moved"), **options) == before
    for path in (tmp_path / "moved").glob("*/*"):
        path.rename(path.with_name(f"image {path.name}"))
    assert again(directory=str(tmp_path / "moved"), **options) == before
    assert digest(str(tmp_path / "moved"), **(options | {"cache_dir": str(tmp_path / "other")})) == before


def _change_pixel(folder: Path) -> None:
    picture(99).save(folder / "cat" / "003.png")


def _remove_image(folder: Path) -> None:
    (folder / "cat" / "003.png").unlink()


def _relabel(folder: Path) -> None:
    (folder / "cat" / "009.png").rename(folder / "dog" / "0000.png")


def _rename_class(folder: Path) -> None:
    (folder / "cat").rename(folder / "cab")


@pytest.mark.parametrize("change", [_change_pixel, _remove_image, _relabel, _rename_class])
def test_a_digest_follows_from_every_file_label_and_class_name(tmp_path, options, change):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    change(folder)
    assert again(directory=str(folder), **options) != before


def test_a_digest_follows_from_the_settings_that_change_pixels_and_from_no_other(tmp_path, options):
    folder = str(write_pictures(tmp_path / "pictures"))
    before = digest(folder, **options)
    changed = [{"image_size": 10}, {"image_size": [10, 12]}, {"fit": "pad"}, {"fit": "stretch"}, {"channels": 1}]
    found = [digest(folder, **options | change) for change in changed]
    assert len({before, *found}) == 6
    assert digest(folder, **options | {"image_size": [10, 10]}) == found[0]
    # Nothing here is transparent: no pixel shows the background. In padding it does.
    assert digest(folder, **options | {"background": "black", "skip_broken": True}) == before
    padded = {"fit": "pad", "background": "black"}
    assert digest(folder, **options | padded) != found[2]
    assert digest(folder, **options | padded | {"background": "#000000"}) == digest(folder, **options | padded)


def test_the_background_counts_as_soon_as_an_image_is_transparent(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    Image.new("RGBA", (10, 12), (0, 0, 0, 0)).save(folder / "cat" / "clear.png")
    found = [digest(str(folder), background=colour, **options) for colour in ("white", "black")]
    assert found[0] != found[1]


def test_digest_and_arrays_of_a_process_belong_together(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    settings = DataSettings("image_folder", str(folder), download=False, flip=False, crop_padding=0, options=options)
    before = data_digest(settings)
    first = load_arrays(settings).train_images.copy()
    assert class_names(settings) == load_arrays(settings).class_names
    _change_pixel(folder)
    # A run whose identity was found before the change would otherwise train on what came after it.
    assert data_digest(settings) == before
    np.testing.assert_array_equal(load_arrays(settings).train_images, first)


# The cache


def test_what_has_not_changed_is_not_read_again(tmp_path, options, unread, monkeypatch):
    train, test = write_split(tmp_path)
    folders = {"train_dir": str(train), "test_dir": str(test)}
    expected, before = load(**folders, **options).train_images.copy(), digest(**folders, **options)
    unread()
    np.testing.assert_array_equal(load(**folders, **options).train_images, expected)
    # Other dates and another name, the same content: it is read for its digest, and not decoded.
    for path in train.glob("*/*"):
        os.utime(path, ns=(1, 1))
    (test / "cat" / "000.png").rename(test / "cat" / "0.png")
    assert again(**folders, **options) == before
    # From now on these dates and names are known, too.
    monkeypatch.setattr(importer, "file_digest", importer.read_image)
    assert again(**folders, **options) == before
    monkeypatch.undo()
    unread()
    picture(5).save(test / "cat" / "0.png")
    with pytest.raises(AssertionError, match="an image was read"):
        again(**folders, **options)


def test_a_report_needs_no_image_and_no_folder(tmp_path, options, unread):
    folder = write_pictures(tmp_path / "pictures")
    assert import_report(str(folder), **options) is None
    before = digest(str(folder), **options)
    report = import_report(str(folder), **options)
    shutil.rmtree(folder)
    unread()
    assert import_report(str(folder), **options) == report
    assert report.digest == before


def test_arrays_are_mapped_and_nothing_reaches_the_cache(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    arrays = load(str(folder), **options)
    assert isinstance(arrays.train_images, np.memmap)
    before = [path.read_bytes() for path in sorted((tmp_path / "cache").glob("*/*.npy"))]
    module = data_module(arrays, crop_padding=2, flip=True)  # PyTorch would warn of a map that is read-only
    assert sorted(labels_in(module.test_dataloader())) == sorted(arrays.test_labels.tolist())
    arrays.train_images[0] = 0
    assert [path.read_bytes() for path in sorted((tmp_path / "cache").glob("*/*.npy"))] == before


def test_a_cache_of_another_version_is_made_anew(tmp_path, options, unread, monkeypatch):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    monkeypatch.setattr(cache, "_VERSION", "another")
    unread()
    with pytest.raises(AssertionError, match="an image was read"):
        digest(str(folder), **options)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "_VERSION", "another")
    assert again(directory=str(folder), **options) == before


@pytest.mark.parametrize("damage", ["cut off", "no array", "gone", "index"])
def test_a_damaged_cache_is_made_anew(tmp_path, options, damage):
    folder = write_pictures(tmp_path / "pictures")
    before = digest(str(folder), **options)
    expected = load(str(folder), **options).train_images.copy()
    (array,) = (tmp_path / "cache").glob("*/train.npy")
    if damage == "cut off":
        os.truncate(array, array.stat().st_size - 1)
    elif damage == "no array":
        array.write_text("no array")
    elif damage == "gone":
        array.unlink()
    else:
        (index,) = (tmp_path / "cache").glob("*.json")
        index.write_text(index.read_text().replace('"sha256"', '"sha"'))
    assert again(directory=str(folder), **options) == before
    np.testing.assert_array_equal(load(str(folder), **options).train_images, expected)
    assert not list((tmp_path / "cache").glob("importing-*"))


def test_what_killed_imports_left_is_removed_and_what_others_do_is_not(tmp_path, options):
    folder, kept = write_pictures(tmp_path / "pictures"), tmp_path / "cache"
    for name in ("importing-old", "importing-new"):
        (kept / name).mkdir(parents=True)
        (kept / name / "pixels").write_bytes(b"x")
    os.utime(kept / "importing-old", (time.time() - 7200,) * 2)
    digest(str(folder), **options)
    assert [path.name for path in kept.glob("importing-*")] == ["importing-new"]


def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path, options, monkeypatch):
    changes: dict[str, Callable[[Path], object]] = {
        "other content": _change_pixel,
        "one file less": _remove_image,
        "one file more": lambda folder: picture(1).save(folder / "dog" / "more.png"),
    }
    read = importer.read_image
    for name, change in changes.items():
        folder = write_pictures(tmp_path / name)

        def read_and_change(file: ImageFile, settings: ImportSettings, folder: Path = folder, change=change):
            # After the last file, so that it was not read as it is now.
            result = read(file, settings)
            if file.path.endswith("emu/009.png"):
                change(folder)
            return result

        monkeypatch.setattr(importer, "read_image", read_and_change)
        with pytest.raises(DataError, match=r"00?[0-9]\.png|more\.png.* changed while the images were read"):
            digest(str(folder), **options)
        assert list((tmp_path / "cache").iterdir()) == []


def test_an_import_that_is_interrupted_leaves_nothing(tmp_path, options, monkeypatch):
    read = importer.read_image

    def interrupt(file: ImageFile, settings: ImportSettings):
        if file.path.endswith("dog/005.png"):
            raise KeyboardInterrupt
        return read(file, settings)

    monkeypatch.setattr(importer, "read_image", interrupt)
    folder = write_pictures(tmp_path / "pictures")
    with pytest.raises(KeyboardInterrupt):
        digest(str(folder), **options)
    assert list((tmp_path / "cache").iterdir()) == []


# The report


@pytest.mark.parametrize(("other", "stored"), [((12, 9), "12 x 9 pixels"), ((9, 12), "9 x 12 to 12 x 9 pixels")])
def test_sizes_are_a_range_only_where_they_differ(tmp_path, options, other, stored):
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i, size in enumerate([(12, 9), (12, 9), (12, 9), other, (12, 9)]):
            Image.new("RGB", size, (i, 0, len(name[0]))).save(tmp_path / "pictures" / name / f"{i}.png")
    digest(str(tmp_path / "pictures"), **options)
    (said,) = (text for text in import_report(str(tmp_path / "pictures"), **options).sentences() if "Stored" in text)
    assert said.startswith(f"Stored with {stored}, as ")


def test_a_report_counts_what_was_done_to_images(tmp_path, options, capsys):
    folder = write_pictures(tmp_path / "pictures", {"cat": 4, "dog": 4})
    turned = Image.Exif()
    turned[274] = 6
    picture(1).save(folder / "cat" / "turned.jpg", exif=turned)
    picture(2).convert("L").save(folder / "cat" / "grey.png")
    picture(3).convert("P").save(folder / "cat" / "palette.png")
    picture(4).convert("CMYK").save(folder / "dog" / "cmyk.jpg")
    Image.new("RGBA", (90, 70), (0, 0, 0, 9)).save(folder / "dog" / "clear.png")
    Image.new("RGB", (1, 1)).save(folder / "dog" / "dot.png")
    Image.new("RGB", (20, 20)).save(
        folder / "dog" / "moving.gif", save_all=True, append_images=[Image.new("RGB", (20, 20), "red")]
    )
    (folder / "dog" / "empty.png").touch()
    digest(str(folder), skip_broken=True, **options)
    report = import_report(str(folder), skip_broken=True, **options)
    assert report.modes == {"RGB": 10, "L": 1, "P": 2, "CMYK": 1, "RGBA": 1}
    assert report.sizes == {"1": 1, "9 to 16": 12, "17 to 32": 1, "65 to 128": 1}
    assert (report.smallest, report.largest) == ((1, 1), (90, 70))
    assert (report.turned, report.on_background, report.converted) == (1, 1, 5)
    assert (report.enlarged, report.first_of_several) == (1, 1)
    assert [(Path(file.path).name, file.label, file.reason) for file in report.skipped] == [
        ("empty.png", "dog", "is empty")
    ]
    assert sum(report.train_counts) == len(report.train_files)
    assert sum(report.test_counts) == len(report.test_files)
    assert sum(report.modes.values()) == sum(report.sizes.values()) == len(report.train_files + report.test_files) == 15
    printed = capsys.readouterr().out
    for sentence in report.sentences():
        assert sentence in printed
    for words in (
        "15 images of 2 classes",
        "1 CMYK",
        "5 converted",
        "1 turned",
        "1 broken file was left out",
        "empty.png (it is empty)",
    ):
        assert words in printed, words


# Broken files


def test_broken_files_stop_the_import_or_are_left_out(tmp_path, options, unread):
    folder = write_pictures(tmp_path / "pictures")
    before = load(str(folder), **options).train_images.copy()
    whole = digest(str(folder), **options)
    for i in range(30):
        (folder / "dog" / f"broken {i:02}.jpg").write_bytes(b"" if i % 2 else b"text")
    imported.cache_clear()
    with pytest.raises(DataError) as refused:
        digest(str(folder), **options)
    sentence = str(refused.value)
    assert sentence.startswith("30 of 60 files cannot be used: ")
    assert "broken 00.jpg (it is no image of a known format), " in sentence
    assert "broken 19.jpg (it is empty), and 10 more; " in sentence
    assert "broken 20.jpg" not in sentence
    (listed,) = (tmp_path / "cache").glob("*-broken.txt")
    assert f"{listed} lists them all" in sentence
    assert [Path(line.partition(" (it ")[0]).name for line in listed.read_text().splitlines()] == [
        f"broken {i:02}.jpg" for i in range(30)
    ]
    # They are what was seen; whatever is left is the data set that it was.
    unread()
    with pytest.raises(DataError, match="30 of 60"):
        digest(str(folder), **options)
    assert digest(str(folder), skip_broken=True, **options) == whole
    np.testing.assert_array_equal(load(str(folder), skip_broken=True, **options).train_images, before)
    assert len(import_report(str(folder), skip_broken=True, **options).skipped) == 30
    for path in (folder / "dog").glob("broken*"):
        path.unlink()
    assert again(directory=str(folder), **options) == whole


def test_a_file_that_is_mended_is_seen(tmp_path, options):
    folder = write_pictures(tmp_path / "pictures")
    whole = digest(str(folder), **options)
    path = folder / "dog" / "003.png"
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.png")
    imported.cache_clear()
    with pytest.raises(DataError, match=r"003\.png \(it is no file, or a link that leads nowhere\)"):
        digest(str(folder), **options)
    assert again(directory=str(folder), skip_broken=True, **options) != whole
    (tmp_path / "nowhere.png").write_bytes(content)
    assert again(directory=str(folder), **options) == whole


def test_a_class_of_which_every_image_is_broken_is_refused(tmp_path, options):
    train, test = write_split(tmp_path)
    for path in (test / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"No image of the class dog can be read \(test\)"):
        digest(train_dir=str(train), test_dir=str(test), skip_broken=True, **options)


# Settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 0}, r"data\.image_size=0 .* 1 to 1024"),
        ({"image_size": 32.5}, r"data\.image_size=32\.5"),
        ({"image_size": [32]}, r"data\.image_size=\[32\]"),
        ({"image_size": [32, 32, 3]}, r"data\.image_size="),
        ({"image_size": True}, r"data\.image_size=True"),
        ({"fit": "zoom"}, r"data\.fit=zoom .* crop, pad, stretch"),
        ({"channels": 4}, r"data\.channels=4 .* 3 \(RGB\) or 1 \(grey\)"),
        ({"background": "no colour"}, r"data\.background=no colour"),
        ({"background": 7}, r"data\.background=7"),
        ({"test_frac": 0}, r"data\.test_frac=0 "),
        ({"test_frac": 1.0}, r"data\.test_frac=1\.0 "),
        ({"test_frac": "some"}, r"data\.test_frac=some "),
        ({"split_seed": -1}, r"data\.split_seed=-1 "),
        ({"skip_broken": "yes"}, r"data\.skip_broken=yes "),
        ({"cache_dir": None}, r"data\.cache_dir=None "),
        ({"csv": 7}, r"data\.csv=7 "),
        ({"size": 32}, r"data\.size is not a setting of image_folder: it must be one of .*image_size"),
    ],
)
def test_a_setting_out_of_bounds_is_refused(change, message):
    for ask in (load, digest, import_report):
        with pytest.raises(ConfigError, match=message):
            ask("folder", **change)
