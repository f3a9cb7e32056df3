"""Distances between classes from their images alone, against a plain loop and against classes whose distance is known."""

import numpy as np
import pytest
from scipy import stats

from class_sensitivity.data.lookalikes import image_separation


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


def test_a_class_without_images_has_no_distance_and_one_image_is_enough():
    images, labels = made_up(np.random.default_rng(3), [60, 90, 200], (8, 8, 1), 20)
    labels = np.where(labels == 2, 3, labels)
    distances = image_separation(images[:41], labels[:41], 4)
    assert np.isnan(distances[2]).all()
    assert np.isnan(distances[:, 2]).all()
    assert np.isfinite(distances[np.ix_([0, 1, 3], [0, 1, 3])]).all()
    assert np.isnan(image_separation(images[:20], labels[:20], 4)).all()


def test_images_that_never_vary_are_no_error():
    images = np.zeros((20, 8, 8, 1), np.uint8)
    images[10:] = 200
    distances = image_separation(images, np.repeat([0, 1], 10), 2)
    assert not np.isnan(distances).any()
