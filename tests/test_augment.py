"""Flips and crops: each image is one crop of itself, and all are equally likely."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.images import random_images

from class_sensitivity.data.augment import _gather_by_pixel, _gather_by_variant, draw_variants, flip_and_crop, pad


@given(height=st.integers(2, 9), width=st.integers(2, 9), channels=st.integers(1, 3), choice=st.data())
def test_padding_is_numpys_reflection(height, width, channels, choice):
    padding = choice.draw(st.integers(0, min(height, width) - 1))
    images = random_images(5, 9, channels)[:, :height, :width]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = pad(images, padding)
    assert padded.dtype == torch.uint8
    np.testing.assert_array_equal(padded.numpy(), np.pad(images.numpy(), around, mode="reflect"))


def variants_seen(indices: np.ndarray, padding: int, flip: bool, seed: int = 0) -> list[tuple[int, int, bool]]:
    """The (top, left, flipped) of each augmented image, found by comparing it with every possibility.

    Unique for a padding of 2 at most: further out, a reflected crop is a mirror image of another one.
    """
    images = random_images(int(indices.max()) + 1)
    variants = draw_variants(np.random.default_rng(seed), len(indices), padding=padding, flip=flip)
    augmented = flip_and_crop(images, torch.from_numpy(indices), variants, padding=padding)
    assert augmented.dtype == torch.uint8
    assert augmented.shape == (len(indices), *images.shape[1:])
    size = images.shape[1]
    seen = []
    for index, result in zip(indices, augmented.numpy(), strict=True):
        around = np.pad(images[index].numpy(), ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
        matching = []
        for top, left, flipped in product(range(2 * padding + 1), range(2 * padding + 1), (False, True)):
            crop = around[top : top + size, left : left + size]
            if np.array_equal(result, crop[:, ::-1] if flipped else crop):
                matching.append((top, left, flipped))
        assert len(matching) == 1, "no crop of the image itself, in its place"
        seen += matching
    return seen


@given(padding=st.integers(0, 2), flip=st.booleans(), seed=st.integers(0, 2**32))
def test_each_augmented_image_is_one_crop_of_itself(padding, flip, seed):
    indices = np.random.default_rng(seed).integers(0, 9, size=12)
    seen = variants_seen(indices, padding, flip, seed)
    assert flip or not any(flipped for _, _, flipped in seen)


@given(padding=st.integers(0, 3), flip=st.booleans(), seed=st.integers(0, 2**32))
def test_both_ways_to_gather_give_the_same_pixels(padding, flip, seed):
    rng = np.random.default_rng(seed)
    images, indices = random_images(9), torch.from_numpy(rng.integers(0, 9, size=25))
    variants = draw_variants(rng, 25, padding=padding, flip=flip)
    by_variant, by_pixel = (
        gather(images, indices, variants, padding) for gather in (_gather_by_variant, _gather_by_pixel)
    )
    assert torch.equal(by_variant, by_pixel)


@pytest.mark.parametrize(("padding", "flip"), [(1, True), (2, False), (0, True)])
def test_all_crops_and_flips_are_equally_likely(padding, flip):
    variants = (2 * padding + 1) ** 2 * (2 if flip else 1)
    counts = Counter(variants_seen(np.arange(60).repeat(variants), padding, flip))
    assert len(counts) == variants
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_images_are_augmented_independently_of_their_neighbours():
    seen = variants_seen(np.zeros(400, np.int64), padding=0, flip=True)
    changes = sum(one != other for one, other in pairwise(seen))
    assert changes == pytest.approx(200, abs=50)
