"""What is put into a data set on purpose is found in it, and nothing else."""

import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from class_sensitivity.data import health
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.health import (
    HealthReport,
    ImageRef,
    OddImages,
    _looks,
    _pairs_that_agree,
    check_health,
)
from class_sensitivity.errors import DataError

TRAIN, TEST, SIDE = 60, 30, 32

#: What is said of images of 32 x 32.
TOO_SMALL_FOR_BLUR = "Blurry images were not looked for: 32 x 32 pixels do not show it."

needs_cleanvision = pytest.mark.skipif(importlib.util.find_spec("cleanvision") is None, reason="the extra images")


def scene(seed: int, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8: coloured shapes with edges, as photographs have them; another for another seed."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(20, 236, (side // 4, side // 4, 3)).astype(np.uint8))
    shapes = shapes.resize((side, side), Image.BICUBIC)
    return np.clip(np.asarray(shapes).astype(int) + rng.integers(-5, 6, (side, side, 3)), 0, 255).astype(np.uint8)


def scenes(side: int = SIDE) -> ImageArrays:
    """A data set of two classes in which nothing is wrong."""
    images = np.stack([scene(seed, side) for seed in range(TRAIN + TEST)])
    labels = np.arange(TRAIN + TEST) % 2
    return ImageArrays(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:], ("ant", "bee"))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after its storage with losses."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def in_train(index: int) -> ImageRef:
    return ImageRef("train", index, index % 2)


def in_test(index: int) -> ImageRef:
    return ImageRef("test", index, index % 2)


def without_versions(report: HealthReport) -> HealthReport:
    return replace(report, versions={})


@needs_cleanvision
def test_in_a_data_set_without_faults_nothing_is_found():
    assert without_versions(check_health(scenes())) == HealthReport(TRAIN, TEST, (), left_out=TOO_SMALL_FOR_BLUR)
    assert without_versions(check_health(scenes(side=64))) == HealthReport(TRAIN, TEST, ())


@needs_cleanvision
def test_what_was_planted_is_found_and_nothing_else():
    arrays = scenes()
    images, tested, labels = arrays.train_images, arrays.test_images, arrays.train_labels
    # Equal to the pixel: a leak; one within the training set and under another label; three times within the test set.
    tested[0] = images[0]
    images[11] = images[2]
    tested[[4, 6]] = tested[2]
    # Alike: a leak by compression; a leak of other brightness under another label; two within the training set.
    tested[8] = jpeg(images[8], 90)
    tested[11] = np.clip(images[10] * 1.05, 0, 255).astype(np.uint8)
    images[14] = jpeg(images[12], 95)
    # Odd.
    images[20] = 255
    tested[21] = 0
    images[24] = scene(1000) // 12
    tested[13] = 255 - scene(1001) // 24
    images[30] = np.asarray(Image.fromarray(scene(1002)).convert("L").convert("RGB"))

    report = check_health(arrays)
    assert report.exact_duplicates == (
        (in_train(0), in_test(0)),
        (in_train(2), in_train(11)),
        (in_test(2), in_test(4), in_test(6)),
    )
    assert report.exact_leaks == [(0, 0)]
    assert report.exact_conflicts == [(in_train(2), in_train(11))]
    assert (report.copies("train"), report.copies("test")) == (1, 2)
    assert report.near_leaks == ((8, 8), (10, 11))
    assert report.near_conflicts == ((in_train(10), in_test(11)),)
    assert (report.near_copies("train"), report.near_copies("test")) == (1, 0)
    assert set(report.odd.blank) >= {in_train(20), in_test(21)}
    assert in_train(20) in report.odd.light
    assert set(report.odd.dark) == {in_test(21), in_train(24)}
    assert set(report.odd.light) == {in_train(20), in_test(13)}
    assert set(report.odd.grey) == {in_train(20), in_test(21), in_train(30)}
    planted = {in_train(20), in_test(21), in_train(24), in_test(13), in_train(30)}
    assert {image for issue in fields(OddImages) for image in getattr(report.odd, issue.name)} <= planted
    assert (report.typical, report.left_out) == ((), TOO_SMALL_FOR_BLUR)
    assert set(report.versions) == {"cleanvision", "pillow"}
    assert labels.tolist() == (np.arange(TRAIN) % 2).tolist()


@needs_cleanvision
def test_blank_images_of_other_colours_are_no_near_duplicates():
    arrays = scenes()
    for index, value in enumerate((0, 90, 255)):
        arrays.train_images[index] = value
    report = check_health(arrays)
    assert report.exact_duplicates == ()
    assert report.near_copies("train") == 0
    assert set(report.odd.blank) == {in_train(0), in_train(1), in_train(2)}


#: What is done to a picture between its two places.
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "good JPEG": lambda image: jpeg(image, 95),
    "bad JPEG": lambda image: jpeg(image, 30),
    "brighter": lambda image: np.clip(image * 1.2 + 10, 0, 255).astype(np.uint8),
    "grey": lambda image: np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2),
    "enlarged and back": lambda image: np.asarray(Image.fromarray(image).resize((47, 47)).resize((SIDE, SIDE))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_copy_is_found_with_its_original(without_cleanvision, change):
    arrays = scenes()
    arrays.test_images[:] = [CHANGES[change](image) for image in arrays.train_images[:TEST]]
    report = check_health(arrays)
    assert report.near_leaks == tuple((index, index) for index in range(TEST))
    assert report.near_conflicts == ()


def test_the_most_similar_training_image_is_the_one_that_leaks(without_cleanvision):
    arrays = scenes()
    arrays.train_images[7], arrays.train_images[9] = jpeg(arrays.train_images[3], 20), jpeg(arrays.train_images[3], 97)
    arrays.test_images[5] = jpeg(arrays.train_images[3], 98)
    report = check_health(arrays)
    looks = _looks([arrays.train_images[index] for index in (3, 7, 9)] + [arrays.test_images[5]])
    closest = (3, 7, 9)[int(np.argmax(looks[:3] @ looks[3]))]
    assert report.near_leaks == ((closest, 5),)
    assert report.near_copies("train") == 2


def test_pairs_that_agree_are_those_of_a_plain_loop(monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (8, 20, 24, 3))
    pictures = np.clip(base[rng.integers(0, 8, 50)] + rng.normal(0, 25, (50, 20, 24, 3)), 0, 255).astype(np.uint8)
    looks = _looks(pictures)
    expected = {}
    for i in range(50):
        for j in range(i + 1, 50):
            agreement = float(np.dot(looks[i].astype(float), looks[j].astype(float)))
            assert abs(agreement - 0.9) > 1e-6
            if agreement >= 0.9:
                expected[i, j] = agreement
    assert 50 < len(expected) < 1000
    for block in (1, 7 * 50, 2**24):  # rows one by one, seven by seven, all at once
        monkeypatch.setattr(health, "_BLOCK", block)
        earlier, later, agreement = _pairs_that_agree(looks)
        found = dict(zip(zip(earlier.tolist(), later.tolist(), strict=True), agreement.tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-6)


def test_looks_do_not_depend_on_brightness_contrast_and_number_of_channels():
    image = scene(0).mean(axis=-1).astype(np.uint8)[..., None]
    looks = _looks([image, np.repeat(image, 3, axis=2), image // 2 + 40])
    np.testing.assert_allclose(looks @ looks.T, 1, atol=2e-3)
    even = _looks([np.full((32, 32, 3), 7, np.uint8), image])
    np.testing.assert_array_equal(even[0] @ even.T, 0)


@needs_cleanvision
def test_what_most_images_have_is_said_and_not_listed():
    arrays = scenes()
    grey = ImageArrays(
        arrays.train_images[..., :1],
        arrays.train_labels,
        arrays.test_images[..., :1],
        arrays.test_labels,
        arrays.class_names,
    )
    assert without_versions(check_health(grey)) == HealthReport(
        TRAIN, TEST, (), typical=("grey",), left_out=TOO_SMALL_FOR_BLUR
    )


@needs_cleanvision
def test_in_small_images_near_duplicates_are_not_looked_for_and_that_is_said():
    arrays = scenes(side=8)
    arrays.test_images[0] = arrays.train_images[0]
    report = check_health(arrays)
    assert report.exact_leaks == [(0, 0)]
    assert (report.near_leaks, report.near_copies("train")) == ((), 0)
    assert report.left_out == (
        "Near duplicates were not looked for: of 8 x 8 pixels, many images look alike. "
        "Blurry images were not looked for: 8 x 8 pixels do not show it."
    )


@needs_cleanvision
def test_blurry_images_are_found_among_large_ones():
    arrays = scenes(side=64)
    slope = np.linspace(0, 180, 64 * 64).reshape(64, 64)  # much contrast, and no edge
    arrays.train_images[3], arrays.test_images[4] = slope[..., None], slope.T[..., None]
    assert set(check_health(arrays).odd.blurry) == {in_train(3), in_test(4)}


@needs_cleanvision
def test_files_of_odd_size_are_found(tmp_path):
    arrays = scenes()
    files = []
    for number in range(TRAIN + TEST):
        files.append(str(tmp_path / f"{number}.png"))
        size = {7: (2000, 2000), TRAIN + 3: (180, 55)}.get(number, (100 + number % 5, 100))
        Image.new("RGB", size).save(files[-1])
    report = check_health(arrays, files[:TRAIN], files[TRAIN:])
    assert set(report.odd.odd_size) == {in_train(7)}
    assert set(report.odd.odd_aspect_ratio) == {in_test(3)}
    Path(files[5]).unlink()
    with pytest.raises(DataError, match=r"5\.png cannot be opened any more .*; import the images again\.$"):
        check_health(arrays, files[:TRAIN], files[TRAIN:])
    with pytest.raises(ValueError, match="90 images and 60 files"):
        check_health(arrays, files[:TRAIN])


@needs_cleanvision
def test_the_check_prints_nothing_and_starts_no_process(capfd, monkeypatch):
    def no_process(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("multiprocessing.Pool", no_process)
    streams = sys.stdout, sys.stderr
    check_health(scenes())
    assert capfd.readouterr() == ("", "")
    assert (sys.stdout, sys.stderr) == streams


@pytest.fixture
def without_cleanvision(monkeypatch) -> None:
    """As if the extra `images` were not installed."""
    monkeypatch.setattr(health, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "cleanvision", None)  # an import of it fails


def test_without_the_extra_copies_are_found_and_it_is_said_what_is_missing(without_cleanvision):
    arrays = scenes()
    arrays.test_images[3] = arrays.train_images[4]
    arrays.test_images[5] = jpeg(arrays.train_images[5], 80)
    arrays.train_images[20] = 0
    report = check_health(arrays)
    assert report.exact_leaks == [(4, 3)]
    assert report.exact_conflicts == [(in_train(4), in_test(3))]
    assert report.near_leaks == ((5, 5),)
    assert report.odd == OddImages()
    assert 'pip install "class-sensitivity[images]"' in report.left_out


def test_images_of_many_channels_are_searched_for_copies_alone():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 24, 24, 5), dtype=np.uint8)
    images[15], images[17] = images[1], images[3] // 2
    labels = np.arange(20) % 2
    report = check_health(ImageArrays(images[:10], labels[:10], images[10:], labels[10:], ("ant", "bee")))
    assert (report.exact_leaks, report.near_leaks) == ([(1, 5)], ((3, 7),))
    assert report.left_out.endswith("the images have 5 channels.")


def test_a_report_is_read_back_from_json_as_it_was():
    arrays = scenes()
    arrays.test_images[0] = arrays.train_images[0]
    arrays.train_images[20] = 0
    report = check_health(arrays)
    assert msgspec.json.decode(msgspec.json.encode(report), type=HealthReport) == report


def test_every_equal_test_image_leaks_once():
    sets = ((in_train(1), in_train(3), in_test(0), in_test(2)), (in_train(5), in_train(7)), (in_test(4), in_test(6)))
    assert HealthReport(9, 9, sets).exact_leaks == [(1, 0), (1, 2)]


def test_what_is_equal_is_not_said_again_to_be_alike(without_cleanvision):
    arrays = scenes()
    # Two equal training images and an equal test image; two further test images, equal, that look like them.
    arrays.train_images[5] = arrays.test_images[0] = arrays.train_images[1]
    arrays.test_images[2] = arrays.test_images[4] = jpeg(arrays.train_images[1], 90)
    report = check_health(arrays)
    assert report.exact_leaks == [(1, 0)]
    assert report.exact_conflicts == [(in_train(1), in_test(0))]
    assert report.near_leaks == ((1, 2), (1, 4))
    assert report.near_conflicts == ((in_train(1), in_test(2)),)
    assert (report.near_copies("train"), report.near_copies("test")) == (0, 0)


@needs_cleanvision
@pytest.mark.slow
@pytest.mark.cifar10
def test_near_duplicates_across_the_split_of_cifar10_have_the_same_label(cifar10, monkeypatch):
    few = {
        split: getattr(cifar10, split)[:2000]
        for split in ("train_images", "train_labels", "test_images", "test_labels")
    }
    assert check_health(replace(cifar10, **few)).typical == ()
    # Odd images are not what the rest is about, and take two thirds of the time.
    monkeypatch.setattr(health, "find_spec", lambda name: None)
    report = check_health(cifar10)
    assert report.exact_duplicates == ()
    assert len(report.near_leaks) == pytest.approx(125, abs=5)  # other builds of NumPy round otherwise
    same = [cifar10.train_labels[train] == cifar10.test_labels[test] for train, test in report.near_leaks]
    assert np.mean(same) >= 0.97
    assert len(report.near_conflicts) <= 4
