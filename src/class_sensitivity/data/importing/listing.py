"""Which image files there are, and the class and split of each: from folders, or from a table."""

import csv
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from class_sensitivity.data.importing.settings import ImportSettings, absolute
from class_sensitivity.errors import DataError

#: A study of more classes would need other figures than this package has.
MAX_CLASSES = 1000

#: Names of files and folders that lie beside images and are none.
_OTHER = re.compile(
    r"\..*|readme|license|thumbs\.db|desktop\.ini|__macosx|@eadir|"
    r".*\.(txt|md|rst|pdf|docx?|csv|tsv|xlsx?|json|jsonl|xml|ya?ml|toml|ini|cfg|html?|css|js|py|ipynb|sh|log|db|sqlite|"
    r"lock|url|zip|tar|gz|7z|rar|npy|npz|mat|h5|parquet)",
    re.IGNORECASE | re.DOTALL,
)
#: Names of files that are certainly meant to be images, whether they can be read or not.
_IMAGE = re.compile(
    r".*\.(avif|bmp|dib|gif|hei[cf]|ico|j2k|jfif|jp2|jpe|jpe?g|p[bgnp]m|pcx|png|qoi|svg|tga|tiff?|webp)",
    re.IGNORECASE | re.DOTALL,
)

#: Folders that are called so are splits and not classes.
_SPLITS = re.compile(r"train|training|test|testing|val|valid|validation|dev|eval", re.IGNORECASE)

_COLUMNS = (["file", "label"], ["file", "label", "split"])


@dataclass(frozen=True)
class ImageFile:
    """A file that should be an image.

    Attributes:
        path: From the root of the file system.
        label: Its class.
        split: `train` or `test`; None where the split is made here.
        size: Bytes; -1 where there is no file.
        changed_ns: When it was changed last, in nanoseconds.
    """

    path: str
    label: str
    split: str | None
    size: int
    changed_ns: int


@dataclass(frozen=True)
class Listing:
    """What there is to import.

    Attributes:
        files: By split, class and name; the order does not depend on the file system.
        ignored: Paths of files that are no images by their name.
    """

    files: tuple[ImageFile, ...]
    ignored: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, sorted."""
        return tuple(sorted({file.label for file in self.files}))


def list_files(settings: ImportSettings) -> Listing:
    """Looks through the folders or the table; opens no image.

    Raises:
        DataError: A place does not exist or cannot be read, or what is there does not make a data set: the message
            names the folder, the class or the line, and what to do.
    """
    ignored: list[str] = []
    if settings.csv is not None:
        files = list(_files_of_table(absolute(settings.csv), settings.dir))
    else:
        roots = settings.roots
        if absent := [root for root in roots.values() if not os.path.lexists(root)]:
            raise _no_folder(absent[0])
        if len(set(roots.values())) < len(roots):
            raise DataError(
                f"data.train_dir and data.test_dir are one folder, {shown(settings.train_dir or '')}: a model would be "
                "tested on what it was trained on; use data.dir=FOLDER to have it split."
            )
        files = [file for split, root in roots.items() for file in _files_below(root, split, ignored)]
    _check_classes(files, settings)
    _refuse_names_alike(files)
    files.sort(key=lambda file: (file.split or "", file.label, unicodedata.normalize("NFC", file.path)))
    return Listing(tuple(files), tuple(sorted(ignored)))


def shown(text: str) -> str:
    """A name in a sentence: what would end the line or steer the terminal is written as an escape.

    Examples:
        >>> print(shown("a\\nb.png"))
        a\\nb.png
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


# Folders


def _files_below(root: Path, split: str | None, ignored: list[str]) -> Iterator[ImageFile]:
    """The files of every class folder below a root; what is ignored is added to a list."""
    folders, beside = _entries(root, ignored)
    if loose := [file.path for file in beside if _IMAGE.fullmatch(file.name)]:
        raise DataError(
            f"{shown(loose[0])} lies in no class folder ({len(loose):,} images of {shown(str(root))} do): an image "
            "belongs into the folder that bears the name of its class."
        )
    ignored += [file.path for file in beside]
    if not folders:
        raise DataError(f"{shown(str(root))} holds no class folders: it must hold one folder of images for each class.")
    names = Counter(unicodedata.normalize("NFC", folder.name) for folder in folders)
    for folder in folders:
        inner, images = _entries(Path(folder.path), ignored)
        if inner:
            raise _nested(root, folders, inner[0].path)
        if not images:
            raise DataError(f"The class folder {shown(folder.path)} holds no images: fill it or remove it.")
        label = unicodedata.normalize("NFC", folder.name)
        if names[label] > 1:
            raise DataError(
                f"{shown(str(root))} holds {names[label]} folders that are called {shown(label)}; join them."
            )
        for image in images:
            yield _image_file(image.path, label, split)


def _entries(folder: Path, ignored: list[str]) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """The folders and the files in a folder, each sorted by name."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _refuse_undecodable(entry.path)
                if _OTHER.fullmatch(entry.name):
                    ignored.append(entry.path)
                elif _is_folder(entry):
                    folders.append(entry)
                else:
                    files.append(entry)
    except FileNotFoundError:
        raise _no_folder(folder) from None
    except OSError as error:
        raise DataError(f"{shown(str(folder))} cannot be read as a folder ({error.strerror}).") from None
    return sorted(folders, key=lambda entry: entry.name), sorted(files, key=lambda entry: entry.name)


def _no_folder(folder: Path) -> DataError:
    return DataError(f"There is no folder {shown(str(folder))}; give the path of one that exists.")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _refuse_undecodable(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"The name {shown(path)} is not valid UTF-8; rename it.") from None


def _nested(root: Path, folders: list[os.DirEntry[str]], inner: str) -> DataError:
    names = {folder.name.lower(): folder.path for folder in folders}
    if len(names) > 1 and all(map(_SPLITS.fullmatch, names)):
        train = next((path for name, path in names.items() if name.startswith("train")), "FOLDER")
        test = next((path for name, path in names.items() if name.startswith("test")), "FOLDER")
        return DataError(
            f"{shown(str(root))} holds the folders of a split ({', '.join(sorted(names))}) and not of classes: "
            f"say data.train_dir={shown(train)} data.test_dir={shown(test)} instead of data.dir."
        )
    return DataError(
        f"{shown(inner)} is a folder inside the class folder {shown(os.path.dirname(inner))}, and a class is one "
        "folder of images: move the images up, name the folder whose folders are the classes, or list the files in a "
        "table (data.csv=FILE)."
    )


def _image_file(path: str, label: str, split: str | None) -> ImageFile:
    try:
        state = os.stat(path)
    except OSError:  # a link that leads nowhere, or a line of a table without a file
        state = None
    if state is None or not stat.S_ISREG(state.st_mode):  # reading it says so; opening a pipe would wait for ever
        return ImageFile(path, label, split, size=-1, changed_ns=0)
    return ImageFile(path, label, split, state.st_size, state.st_mtime_ns)


# A table


def _files_of_table(table: Path, base: str | None) -> Iterator[ImageFile]:
    """The files that a table names, whose paths are relative to its own folder or to another one."""
    where, folder = shown(str(table)), str(table.parent if base is None else absolute(base))
    lines: dict[str, int] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            columns = [name.strip().lower() for name in next(reader, [])]
            if columns not in _COLUMNS:
                raise DataError(
                    f"{where} must begin with the line file,label or file,label,split; "
                    f"its first line is {shown(','.join(columns)[:80])!r}."
                )
            for row in reader:
                if not row:
                    continue
                line = f"line {reader.line_num} of {where}"
                name, label, split = _cells(row, columns, line)
                path = os.path.normpath(os.path.join(folder, name))
                if path in lines:
                    raise DataError(f"{line} names {shown(name)}, and line {lines[path]} does already.")
                lines[path] = reader.line_num
                yield _image_file(path, label, split)
    except OSError as error:
        raise DataError(f"The table {where} cannot be read ({error.strerror}).") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"The table {where} is no CSV file in UTF-8 ({error}).") from None
    if not lines:
        raise DataError(f"The table {where} names no files.")


def _cells(row: list[str], columns: list[str], line: str) -> tuple[str, str, str | None]:
    """File, class and split of a line, checked."""
    cells = [cell.strip() for cell in row]
    if len(cells) != len(columns):
        raise DataError(f"{line} has {len(cells)} cells; it must have {len(columns)}: {','.join(columns)}.")
    name, label = cells[0], unicodedata.normalize("NFC", cells[1])
    if not name or "\0" in name or not label:
        raise DataError(f"{line} must name a file and its label; it says {shown(','.join(cells)[:80])!r}.")
    split = cells[2].lower() if len(cells) == 3 else None
    if split not in (None, "train", "test"):
        raise DataError(f"{line} has the split {shown(cells[2][:80])!r}; it must be train or test.")
    return name, label, split


# Names


def _refuse_names_alike(files: Iterable[ImageFile]) -> None:
    """Refuses files that a person takes for one, and of which many a file system would keep one."""
    first: dict[str, str] = {}
    alike = []
    for file in files:
        if (other := first.setdefault(unicodedata.normalize("NFC", file.path).casefold(), file.path)) != file.path:
            alike.append((other, file.path))
    if alike:
        one, other = map(shown, alike[0])
        raise DataError(
            f"{one} and {os.path.basename(other)} differ in capital letters alone, or in how their letters are encoded "
            f"({len(alike):,} of the files do): another machine would keep one of them; rename one."
        )


# Classes


def _check_classes(files: Iterable[ImageFile], settings: ImportSettings) -> None:
    """Refuses classes that cannot be told apart, learned or shown, and a number of them that is out of bounds."""
    counts = Counter((file.split, file.label) for file in files)
    labels = sorted({label for _, label in counts})
    place = shown(settings.csv or settings.dir or settings.train_dir or "")
    for label in labels:
        if not all(unicodedata.category(letter) != "Cc" for letter in label):
            raise DataError(f"The class name '{shown(label)}' holds a control character; rename the class.")
        if not label.strip():
            raise DataError(f"A class folder of {place} has a name of blanks alone; rename it.")
    alike: dict[str, str] = {}
    for label in labels:
        if (other := alike.setdefault(label.lower(), label)) != label:
            raise DataError(
                f"The classes {shown(other)} and {shown(label)} differ in capital letters alone; rename one, or give "
                "both one name if they are one class."
            )
    if len(labels) < 2:
        raise DataError(f"{place} holds one class, {shown(labels[0])}: at least 2 are needed to tell them apart.")
    if len(labels) > MAX_CLASSES:
        raise DataError(f"{place} holds {len(labels):,} classes; at most {MAX_CLASSES:,} are allowed.")
    if not any(split is None for split, _ in counts):
        if absent := [label for label in labels if not counts["train", label]]:
            raise DataError(
                f"The class {shown(absent[0])} is among the test images and not among the training images "
                f"({len(absent)} of {len(labels)} classes are so): add images to train on, or remove the class."
            )
        if not any(split == "test" for split, _ in counts):
            raise DataError(f"{place} names no image to test on: the column split must say test for some.")
