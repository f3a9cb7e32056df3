"""A look at a data set before anything is trained: the command, what is said, what is kept, and who reads it."""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from support.commands import SMALL, Finished, ForkedCommand, assert_one_sentence
from support.pictures import write_pictures, write_split
from support.reports import WORLD, leave_unpictured, parquet_of, report_on
from support.synthetic import THREE, shares, write_study
from test_health import needs_cleanvision, scene

from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.health import HealthReport, ImageRef, OddImages
from class_sensitivity.data.inspection import Inspection, inspect_data, read_inspection, write_inspection
from class_sensitivity.data.sources import data_digest, load_arrays
from class_sensitivity.report.inspection import advise_on_images, describe
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.settings import DataSettings

#: What `data=digits` asks for.
DIGITS = DataSettings("digits", None, download=False, flip=False, crop_padding=0)

#: The digest that made-up runs have of their data.
DIGEST = "0123456789abcdef"

#: Training images of each class of `planted`, before anything is planted.
COUNTS = {"ant": 14, "bee": 10, "cow": 6}


def made_up(
    health: HealthReport = HealthReport(12, 6, ()),  # noqa: B008
    *,
    names: tuple[str, ...] = THREE,
    train: tuple[int, ...] = (4, 4, 4),
    separation: Iterable[Iterable[float | None]] = ((0, 3, 1), (3, 0, 2), (1, 2, 0)),
    imported: tuple[str, ...] = (),
    files: bool = False,
) -> Inspection:
    """An inspection of a data set that need not exist."""
    return Inspection(
        data="made-up",
        digest=DIGEST,
        class_names=names,
        train_counts=train,
        test_counts=(2,) * len(names),
        imported=imported,
        health=health,
        separation=[list(row) for row in separation],
        train_files=tuple(f"/pictures/train/{i:02}.png" for i in range(health.train_size)) if files else (),
        test_files=tuple(f"/pictures/test/{i:02}.png" for i in range(health.test_size)) if files else (),
    )


def said(inspection: Inspection) -> dict[str, str]:
    """What an inspection says, by what it is about; nothing is said twice."""
    lines = list(describe(inspection))
    assert len({line.about for line in lines}) == len(lines)
    return {line.about: line.text for line in lines}


@pytest.fixture
def planted(tmp_path) -> Path:
    """A folder of images of three classes of different sizes, with one fault of each kind."""
    folder = tmp_path / "pictures"
    for number, (name, count) in enumerate(COUNTS.items()):
        for part, size in (("train", count), ("test", 5)):
            (folder / part / name).mkdir(parents=True)
            for i in range(size):
                image = Image.fromarray(scene(1000 * number + 100 * (part == "test") + i))
                image.save(folder / part / name / f"{i:02}.png")

    def copied(source: str, place: str) -> None:
        (folder / place).write_bytes((folder / source).read_bytes())

    copied("test/ant/00.png", "train/ant/equal.png")  # a leak
    Image.open(folder / "test/bee/01.png").save(folder / "train/bee/again.jpg", quality=70)  # another, not to the pixel
    copied("train/ant/03.png", "train/cow/other.png")  # two labels
    copied("train/cow/04.png", "train/cow/twin.png")  # one picture twice
    Image.new("RGB", (32, 32)).save(folder / "train" / "bee" / "black.png")
    (folder / "train" / "ant" / "empty.png").touch()
    return folder


def options_of(folder: Path, cache: Path) -> dict[str, object]:
    """The settings of the data set in a folder of two parts."""
    return {
        "train_dir": str(folder / "train"),
        "test_dir": str(folder / "test"),
        "cache_dir": str(cache),
        "skip_broken": True,
    }


def words_for(folder: Path, cache: Path) -> list[str]:
    return ["data=image_folder", *(f"data.{key}={value}" for key, value in options_of(folder, cache).items())]


def kept_by(done: Finished) -> list[Path]:
    """The files below the directory of runs."""
    return sorted(path for path in done.runs.rglob("*") if path.is_file())


# The command


@needs_cleanvision
def test_what_is_wrong_with_a_folder_is_said_kept_and_read_back_and_nothing_is_trained(forked, planted, tmp_path):
    done = forked("inspect=true", *words_for(planted, tmp_path / "cache"))
    assert (done.rc, done.stderr) == (0, "")
    settings = DataSettings(
        "image_folder",
        None,
        download=False,
        flip=True,
        crop_padding=2,
        source="image_folder",
        options=options_of(planted, tmp_path / "cache"),
    )
    digest = data_digest(settings)
    place = done.runs / "inspections" / f"image_folder-{digest}.json"
    assert kept_by(done) == [place], "an inspection, and no run"
    assert str(place) in done.stdout
    found = read_inspection(done.runs, "image_folder", digest)
    assert found == inspect_data(settings, digest)

    text = " ".join(done.stdout.split())
    assert "35 to train on and 15 to test on, of 3 classes; cow has 8 to train on, ant 15" in text
    assert "1 broken file was left out, such as" in text
    assert (
        "1 test image is a training image, too (equal to the pixel): accuracy is better than it would be on new "
        "images; such as train/ant/equal.png = test/ant/00.png; 1 other test image looks like a training "
        "image; look at these first: train/bee/again.jpg ≈ test/bee/01.png"
    ) in text
    assert "1 picture carries two labels: ant and cow (1); such as train/ant/03.png = train/cow/other.png" in text
    assert "2 training images are equal to another training image" in text
    (odd,) = (line for line in describe(found) if line.about == "odd")
    assert "1 dark" in odd.text
    assert odd.text.endswith("; such as train/bee/black.png")
    assert "closest by their pixels alone: " in text


def test_a_sweep_looks_at_each_data_set_once_and_runs_nothing(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures", {"cat": 5, "dog": 5})
    words = ("data=image_folder", f"data.dir={folder}", f"data.cache_dir={tmp_path / 'cache'}")
    done = forked("-m", "inspect=true", *words, "data.image_size=12,16", "noise.frac=0,0.1", "seed=1,2")
    assert (done.rc, done.stderr) == (0, "")
    kept = [json.loads(path.read_text())["inspection"] for path in kept_by(done)]
    assert len({each["digest"] for each in kept}) == len(kept) == 2
    assert done.stdout.count("Kept for the report: ") == 2
    assert " runs: " not in done.stdout, "a sweep began"
    assert done.stdout.count("8 to train on and 2 to test on, of 2 classes, 4 of each to train on") == 2


def test_a_data_set_that_is_no_files_is_looked_at_and_then_trained_on_as_ever(forked):
    looked = forked("inspect=true", *SMALL)
    assert (looked.rc, looked.stderr) == (0, "")
    (place,) = kept_by(looked)
    assert place.parent.name == "inspections"
    assert "1,198 to train on and 599 to test on, of 10 classes; 8 has 116 to train on, 3 122" in " ".join(
        looked.stdout.split()
    )
    assert "no test image is a training image" in looked.stdout
    assert "Looking through" not in looked.stdout, "a spinner in a file"
    found = read_inspection(looked.runs, "digits", place.stem.removeprefix("digits-"))
    assert found.test_files == ()
    assert found.name_of(ImageRef("test", 7, 1)) == "test image 7"
    trained = forked(*SMALL)
    assert (trained.rc, trained.stderr) == (0, "")
    (result,) = looked.results()
    assert json.loads(result.read_text())["identity"]["data"]["digest"] == found.digest


@pytest.mark.parametrize("sweep", [(), ("-m",)], ids=["single", "sweep"])
def test_a_directory_of_runs_that_cannot_be_written_is_one_sentence(forked, tmp_path, sweep):
    (tmp_path / "file").write_text("not a folder")
    done = forked(*sweep, "inspect=true", "data=digits", f"runs={tmp_path / 'file'}")
    assert_one_sentence(done, "The inspection cannot be kept in", str(tmp_path / "file"), "runs=DIRECTORY")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_data_that_is_not_there_is_one_sentence(forked, tmp_path):
    done = forked("inspect=true", "data=image_folder", f"data.dir={tmp_path / 'none'}")
    assert_one_sentence(done, str(tmp_path / "none"))
    assert not done.runs.exists()


# What is kept


def test_an_inspection_is_read_back_as_it_was(tmp_path):
    unknown = ((0, None, 1.25), (None, 0, None), (1.25, None, 0))
    health = HealthReport(12, 6, ((ImageRef("train", 0, 0), ImageRef("test", 1, 1)),), ((2, 3),), left_out="Nothing.")
    inspection = made_up(health, separation=unknown, imported=("As it was.", "Été [red]."), files=True)
    path = write_inspection(inspection, tmp_path / "of" / "runs")
    assert read_inspection(tmp_path / "of" / "runs", "made-up", DIGEST) == inspection
    np.testing.assert_array_equal(inspection.distances, [[0, np.nan, 1.25], [np.nan, 0, np.nan], [1.25, np.nan, 0]])
    assert [each.name for each in path.parent.iterdir()] == [f"made-up-{DIGEST}.json"]
    for data, digest in (("made-up", "another"), ("other", DIGEST)):
        assert read_inspection(tmp_path / "of" / "runs", data, digest) is None


def test_counts_and_distances_are_those_of_the_images():
    found = inspect_data(DIGITS, "digest")
    arrays = load_arrays(DIGITS)
    assert found.train_counts == tuple(np.bincount(arrays.train_labels))
    assert found.test_counts == tuple(np.bincount(arrays.test_labels))
    # What lies far apart lies far apart without any weighing of the pixels, as a rule.
    means = np.stack([arrays.train_images[arrays.train_labels == c].mean(axis=0).ravel() for c in range(10)])
    plain = np.linalg.norm(means[:, np.newaxis] - means, axis=-1)
    upper = np.triu_indices(10, 1)
    assert np.corrcoef(plain[upper], found.distances[upper])[0, 1] > 0.5
    np.testing.assert_array_equal(found.distances, found.distances.T)


def test_whatever_happens_to_the_file_it_is_read_as_it_was_or_not_at_all(tmp_path):
    health = HealthReport(12, 6, (), ((2, 3),), odd=OddImages(dark=(ImageRef("train", 4, 1),)))
    inspection = made_up(health, files=True)
    path = write_inspection(inspection, tmp_path)
    whole = path.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(0, 8)
        damaged.append(bytes(flipped))
    damaged += [b"null", b"[]", b"\xff\xfe", b'{"sha256": "\xff"}', b'{"x": ' + b"[" * 100_000]
    damaged.append(msgspec.json.encode(inspection))  # without its digest
    read = []
    for content in damaged:
        path.write_bytes(content)
        read.append(read_inspection(tmp_path, "made-up", DIGEST))
    assert [each for each in read if each is not None] == []
    path.unlink()
    path.mkdir()
    assert read_inspection(tmp_path, "made-up", DIGEST) is None
    # Nothing half is left where the file cannot be put in its place.
    with pytest.raises(OSError, match="directory"):
        write_inspection(inspection, tmp_path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    path.rmdir()
    write_inspection(inspection, tmp_path)
    assert (path.read_bytes(), read_inspection(tmp_path, "made-up", DIGEST)) == (whole, inspection)


# What is said


def test_of_a_data_set_in_order_little_is_said():
    assert said(made_up()) == {
        "images": "12 to train on and 6 to test on, of 3 classes, 4 of each to train on",
        "leaks": "no test image is a training image",
        "look-alikes": "closest by their pixels alone: ant and cow, bee and cow, ant and bee",
    }


def test_classes_of_different_sizes_are_named_the_least_and_the_most():
    uneven = said(made_up(train=(1200, 40, 300)))["images"]
    assert uneven == "1,540 to train on and 6 to test on, of 3 classes; bee has 40 to train on, ant 1,200"


def test_leaks_conflicts_and_copies_are_counted_and_three_are_named():
    def one(split: str, index: int, label: int) -> ImageRef:
        return ImageRef(split, index, label)

    health = HealthReport(
        train_size=12,
        test_size=6,
        exact_duplicates=(
            (one("train", 0, 0), one("train", 1, 1), one("test", 0, 0)),
            (one("train", 2, 2), one("test", 1, 2), one("test", 2, 2)),
        ),
        near_leaks=((3, 3),),
        near_conflicts=(
            (one("train", 4, 1), one("train", 5, 0)),
            (one("train", 6, 2), one("test", 4, 1)),
        ),
        near_train_copies=2,
        near_test_copies=1,
    )
    lines = said(made_up(health, files=True))
    assert lines["leaks"] == (
        "3 test images are training images, too (equal to the pixel): accuracy is better than it would be on new "
        "images; such as train/00.png = test/00.png; train/02.png = test/01.png; train/02.png = test/02.png; "
        "1 other test image looks like a training image; look at these first: train/03.png ≈ test/03.png"
    )
    assert lines["labels"] == (
        "3 pictures carry two labels: ant and bee (2), bee and cow (1); such as train/00.png = train/01.png; "
        "train/04.png ≈ train/05.png; train/06.png ≈ test/04.png"
    )
    assert lines["copies"] == (
        "1 training image is equal to another training image; 2 training images look like another training image; "
        "1 test image is equal to another test image; 1 test image looks like another test image"
    )
    assert "train image 0 = test image 0" in said(made_up(health))["leaks"], "without files"


def test_what_only_looks_like_a_training_image_is_not_said_to_be_one():
    lines = said(made_up(HealthReport(12, 6, (), ((5, 3), (6, 4))), files=True))
    assert lines["leaks"] == (
        "2 test images look like a training image; look at these first: train/05.png ≈ test/03.png; "
        "train/06.png ≈ test/04.png"
    )


def test_odd_images_and_what_was_not_looked_for_are_said():
    dark, grey = ImageRef("train", 3, 0), ImageRef("test", 5, 2)
    health = HealthReport(12, 6, (), odd=OddImages(dark=(dark, grey), odd_aspect_ratio=(grey,)), left_out="Not blur.")
    lines = said(made_up(health, imported=("All.", "Some.", "Few."), files=True))
    assert lines["odd"] == "2 dark, 1 odd aspect ratio; such as train/03.png"
    assert lines["not done"] == "Not blur."
    assert lines["import"] == "Some. Few.", "the first sentence is said of the images"


def test_pairs_are_named_only_where_they_are_known_and_there_is_a_choice():
    unknown = ((0, None, 1), (None, 0, None), (1, None, 0))
    assert said(made_up(separation=unknown))["look-alikes"] == "closest by their pixels alone: ant and cow"
    two = made_up(names=("ant", "bee"), train=(6, 6), separation=((0, 1), (1, 0)))
    assert "look-alikes" not in said(two)


# What to do


SUSPECTS = [Suspect(3, 0, 1, 0.9, 0.05), Suspect(5, 2, 1, 0.8, 0.1)]
LEAKS = ((ImageRef("train", 0, 0), ImageRef("test", 0, 0)),)
CONFLICTS = ((ImageRef("train", 1, 0), ImageRef("train", 2, 1)),)


@pytest.mark.parametrize(
    ("suspects", "health", "expected"),
    [
        ([], None, []),
        ([], HealthReport(12, 6, ()), []),
        (SUSPECTS, None, ["look at 2 test labels"]),
        ([], HealthReport(12, 6, LEAKS), ["remove 1 leak"]),
        ([], HealthReport(12, 6, LEAKS, ((5, 3), (6, 4))), ["remove 1 leak", "look at 2 likely leaks"]),
        ([], HealthReport(12, 6, CONFLICTS), ["decide 1 double label"]),
        ([], HealthReport(12, 6, (), (), CONFLICTS), ["decide 1 double label"]),
        (
            SUSPECTS[:1],
            HealthReport(12, 6, (*LEAKS, *CONFLICTS), ((5, 3),), CONFLICTS),
            ["look at 1 test label", "remove 1 leak", "look at 1 likely leak", "decide 2 double labels"],
        ),
    ],
)
def test_advice_is_given_where_there_is_something_to_do(suspects, health, expected):
    advice = list(advise_on_images(suspects, None if health is None else made_up(health), THREE))
    assert [each.short for each in advice] == expected
    assert {each.about for each in advice} <= {"images"}
    for each in advice:
        number = next(word for word in each.short.split() if word.isdigit())
        assert f" {number} " in each.sentence, "the sentence counts what the line counts"


# Where it is read


@pytest.fixture
def place(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Made-up runs, and where their report goes."""
    leave_unpictured(monkeypatch)
    plan = {BASELINE: shares([0.9, 0.8, 0.7]), noise(0.3): shares([0.8, 0.7, 0.4])}
    return write_study(tmp_path / "runs", WORLD, plan, (1, 2)), tmp_path / "report"


HEADING = "The data set, before any training"


def test_a_report_shows_what_an_inspection_saw_and_what_to_do(place):
    inspection = made_up(HealthReport(12, len(WORLD.labels), (*LEAKS, *CONFLICTS)), files=True)
    before = report_on(*place)
    assert HEADING not in before
    path = write_inspection(inspection, place[0])
    text = report_on(*place)
    section = text[text.index(HEADING) :]
    for line in describe(inspection):
        assert f"{line.about} {line.text}" in section
    for advice in advise_on_images([], inspection, THREE):
        assert advice.sentence in text
    assert "remove 1 leak" in text
    table = parquet_of(place[1], "suspects")
    assert len(table) > 0
    assert table.file.tolist() == [inspection.test_files[image] for image in table.image]
    assert "were not counted" not in text, "an inspection is no run"
    # The images themselves are not there, yet how far classes lie apart is known.
    assert "Look-alikes: the model against the images alone" in text
    assert parquet_of(place[1], "pairs").images.notna().all()

    path.write_bytes(path.read_bytes()[:-20])
    assert HEADING not in report_on(*place)


@pytest.mark.slow
@needs_cleanvision
def test_a_folder_is_looked_at_trained_on_and_reported_by_commands_alone(forked: ForkedCommand, tmp_path):
    train, test = write_split(tmp_path / "pictures")
    (train / "cat" / "leak.png").write_bytes((test / "cat" / "001.png").read_bytes())
    words = words_for(tmp_path / "pictures", tmp_path / "cache")
    small = ("training.epochs=1", "training.batch_size=16", "training.threads=1", "model.widths=[4,4,8,8,16,16]")
    looked = forked("inspect=true", *words)
    swept = forked("-m", *words, *small, "seed=1,2")
    assert [(done.rc, done.stderr) for done in (looked, swept)] == [(0, "")] * 2
    reported = forked.analyze(f"out={tmp_path / 'report'}", "resamples=100")
    assert (reported.rc, reported.stderr) == (0, "")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert HEADING in page
    assert "train/cat/leak.png = test/cat/001.png" in page
    assert "remove 1 leak" in " ".join(reported.stdout.split())
    assert "Run directories left out" not in reported.stdout
