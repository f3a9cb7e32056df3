"""Look-alikes without a model: distances of images against loops and known distances, and files of people's choices."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from class_sensitivity.data import lookalikes
from class_sensitivity.data.lookalikes import image_separation, people_confusion
from class_sensitivity.errors import DataError


def made_up(rng, light, shape, per_class):
    """Images of classes that differ in how light they are, and their labels."""
    labels = np.repeat(np.arange(len(light)), per_class)
    pixels = rng.normal(np.array(light)[labels].reshape(-1, 1, 1, 1), 20, (len(labels), *shape))
    return pixels.clip(0, 255).round().astype(np.uint8), labels


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (12, 20, 3), (9, 17, 4), (1, 1, 1)])
def test_classes_lie_apart_as_they_were_made(shape):
    images, labels = made_up(np.random.default_rng(1), [60, 90, 100, 200], shape, 60)
    distances = image_separation(images, labels, 4)
    np.testing.assert_allclose(distances, distances.T)
    assert (np.diag(distances) == 0).all()
    upper = np.triu_indices(4, 1)
    light = np.array([60, 90, 100, 200])
    assert stats.kendalltau(distances[upper], np.abs(np.subtract.outer(light, light))[upper]).statistic > 0.9


def test_averages_and_distances_are_those_of_a_plain_loop():
    rng = np.random.default_rng(2)
    images, labels = made_up(rng, [100, 110, 130], (16, 24, 1), 400)
    averaged = np.array(
        [[image[2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean() for i in range(8) for j in range(8)] for image in images]
    )
    means = np.array([averaged[labels == c].mean(axis=0) for c in range(3)])
    within = np.concatenate([averaged[labels == c] - means[c] for c in range(3)])
    inverse = np.linalg.inv(within.T @ within / len(within))
    expected = [[np.sqrt((a - b) @ inverse @ (a - b)) for b in means] for a in means]
    # Shrinkage makes directions alike, so distances agree but not to the digit.
    np.testing.assert_allclose(image_separation(images, labels, 3), expected, rtol=0.1)


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (12, 20), (9, 17), (100, 8), (5, 30)])
def test_pixels_are_averaged_by_area(shape):
    # Each pixel cut into as many equal parts as there are areas, so that every area is made of whole parts.
    image = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    down, across = (min(8, side) for side in shape)
    parts = image.repeat(down, axis=0).repeat(across, axis=1).astype(float)
    expected = parts.reshape(down, shape[0], across, shape[1]).mean(axis=(1, 3))
    found = lookalikes._averaged(image[np.newaxis, :, :, np.newaxis])
    np.testing.assert_allclose(found[0].reshape(expected.shape), expected, rtol=1e-5)


def test_distances_are_those_of_a_linear_discriminant():
    rng = np.random.default_rng(5)
    images, labels = made_up(rng, [100, 103, 108, 109], (8, 8, 3), 3000)
    flat = images.reshape(len(images), -1).astype(float)
    # Its projections have a variance of 1 within classes, and its distances hold what means differ by chance.
    means = LinearDiscriminantAnalysis(solver="eigen").fit(flat, labels).transform(flat)
    means = np.array([means[labels == c].mean(axis=0) for c in range(4)])
    squared = ((means[:, np.newaxis] - means) ** 2).sum(axis=2) - 192 * 2 / 3000
    expected = np.sqrt(np.maximum(0, squared))
    np.testing.assert_allclose(image_separation(images, labels, 4), expected, rtol=0.02, atol=0.05)


def test_a_small_class_is_as_far_away_as_a_large_one():
    rng = np.random.default_rng(6)
    images, labels = made_up(rng, [100, 106, 100, 106], (8, 8, 1), 600)
    # Of the last two classes a fiftieth is left.
    kept = (labels < 2) | (np.arange(len(labels)) % 50 == 0)
    distances = image_separation(images[kept], labels[kept], 4)
    # 6 grey levels in each of 64 pixels, that vary by 20: 0.3 x 8 standard deviations.
    np.testing.assert_allclose([distances[0, 1], distances[0, 3], distances[2, 3]], 2.4, rtol=0.25)
    assert distances[0, 2] < 1.2


@pytest.mark.parametrize("at_a_time", [1, 1000, 10**9])
def test_images_are_averaged_some_at_a_time_to_the_same_result(monkeypatch, at_a_time):
    images, labels = made_up(np.random.default_rng(7), [60, 90, 200], (16, 24, 3), 21)
    expected = image_separation(images, labels, 3)
    monkeypatch.setattr(lookalikes, "_AT_A_TIME", at_a_time)
    np.testing.assert_allclose(image_separation(images, labels, 3), expected, rtol=1e-4)


def test_a_thousand_classes_of_few_images_each():
    rng = np.random.default_rng(8)
    labels = np.arange(4000) % 1000
    images = rng.integers(0, 256, (4000, 8, 8, 1), dtype=np.uint8)
    distances = image_separation(images, labels, 1000)
    assert distances.shape == (1000, 1000)
    # All noise: half of the pairs lie closer together than by chance.
    assert 0.3 < (distances[np.triu_indices(1000, 1)] == 0).mean() < 0.7


def test_a_class_without_images_has_no_distance_and_one_image_is_enough():
    images, labels = made_up(np.random.default_rng(3), [60, 90, 200], (8, 8, 1), 20)
    labels = np.where(labels == 2, 3, labels)
    distances = image_separation(images[:41], labels[:41], 4)
    assert np.isnan(distances[2]).all()
    assert np.isnan(distances[:, 2]).all()
    assert np.isfinite(distances[np.ix_([0, 1, 3], [0, 1, 3])]).all()
    assert np.isnan(image_separation(images[:20], labels[:20], 4)).all()


def test_where_no_class_varies_distances_are_in_grey_levels():
    images = np.zeros((3, 8, 8, 1), np.uint8)
    images[1], images[2] = 20, 200
    distances = image_separation(images.repeat(10, axis=0), np.repeat([0, 1, 2], 10), 3)
    np.testing.assert_allclose(distances, [[0, 160, 1600], [160, 0, 1440], [1600, 1440, 0]], rtol=1e-5)
    one_each = image_separation(images, np.arange(3), 3)
    np.testing.assert_allclose(one_each, distances, rtol=1e-5)


@pytest.mark.cifar10
def test_on_cifar10_cats_and_dogs_look_most_alike(cifar10):
    distances = image_separation(cifar10.train_images, cifar10.train_labels, 10)
    np.fill_diagonal(distances, np.inf)
    assert set(np.unravel_index(distances.argmin(), distances.shape)) == {3, 5}


# People

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
COUNTS = np.array(
    [[9, 1, 0], [10, 0, 0], [3, 3, 0], [0, 50, 0], [1, 2, 1], [0, 0, 7], [0, 1, 3], [0, 0, 0]],
)


def saved(folder: Path, array: object) -> Path:
    path = folder / "people.npy"
    np.save(path, np.asarray(array))
    return path


def test_every_image_weighs_the_same_and_images_that_nobody_judged_count_for_nothing(tmp_path):
    expected = np.array(
        [
            [(0.9 + 1 + 0.5) / 3, (0.1 + 0.5) / 3, 0],
            [0.25 / 2, 1.5 / 2, 0.25 / 2],
            [0, 0.25 / 2, 1.75 / 2],
        ]
    )
    found = people_confusion(saved(tmp_path, COUNTS), LABELS, 3)
    np.testing.assert_allclose(found, expected)
    shares = COUNTS / np.maximum(1, COUNTS.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(people_confusion(saved(tmp_path, shares.astype(np.float32)), LABELS, 3), expected)


def test_a_class_that_nobody_judged_is_unknown(tmp_path):
    counts = COUNTS * (LABELS != 1)[:, np.newaxis]
    found = people_confusion(saved(tmp_path, counts), LABELS, 3)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (COUNTS[:7], "shape (7, 3): it must be a .npy file of (8, 3) counts or shares"),
        (COUNTS[:, :2], "shape (8, 2)"),
        (COUNTS.argmax(axis=1), "shape (8,)"),
        (COUNTS - 1, "negative or not finite"),
        (np.where(COUNTS == 9, np.nan, COUNTS), "negative or not finite"),
        (COUNTS.astype(str), "holds an array of <U21"),
        (COUNTS.astype(complex), "holds an array of complex128"),
        (0 * COUNTS, "holds no choice at all"),
        (COUNTS[:, [1, 2, 0]], "agrees with the labels of the test images on 12.1%, where chance alone gives 33.4%"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_a_sentence(tmp_path, array, says):
    path = saved(tmp_path, array)
    with pytest.raises(DataError, match=re.escape(says)) as refused:
        people_confusion(path, LABELS, 3)
    assert str(refused.value).startswith(str(path))


def test_a_file_that_is_no_array_is_refused_in_a_sentence(tmp_path):
    names = ("text.npy", "empty.npy", "several.npz", "objects.npy", "missing.npy", "folder", "damaged.npy")
    paths = [tmp_path / name for name in names]
    paths[0].write_text("cat,dog")
    paths[1].touch()
    np.savez(paths[2], a=COUNTS, b=LABELS)
    np.save(paths[3], np.array([{}, []], object), allow_pickle=True)
    paths[5].mkdir()
    paths[6].write_bytes(b"PK\x03\x04 an archive begins so")
    unread = "cannot be read"
    says = ("is no array", "is no array", "archive of several", "is no array", unread, unread, "is no array")
    for path, words in zip(paths, says, strict=True):
        with pytest.raises(DataError, match=words):
            people_confusion(path, LABELS, 3)


def test_rows_in_another_order_are_noticed(tmp_path):
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 10, 2000)
    counts = np.eye(10)[labels] * 45 + rng.integers(0, 2, (2000, 10))
    assert np.diag(people_confusion(saved(tmp_path, counts), labels, 10)).min() > 0.85
    with pytest.raises(DataError, match="in the order of the test images"):
        people_confusion(saved(tmp_path, counts[rng.permutation(2000)]), labels, 10)


@pytest.mark.cifar10
def test_people_take_deer_for_horses(cifar10, root):
    path = root.parent / "shared" / "data" / "cifar-10h" / "cifar10h-counts.npy"
    if not path.is_file():
        pytest.skip("CIFAR-10H is not there")
    shares = people_confusion(path, cifar10.test_labels, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[4, 7] == pytest.approx(0.0431, abs=0.0005)
    assert np.diag(shares).mean() == pytest.approx(0.9524, abs=0.0005)
