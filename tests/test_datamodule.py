"""What a run trains, validates and tests on."""

from collections import Counter
from itertools import product
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import SEEDS, data_module, labels_in, numbered_arrays, numbers_in

from class_sensitivity.errors import ConfigError


@pytest.mark.parametrize("chosen", [{}, {"reduction_frac": 0.5}, {"validation_frac": 0.2}])
def test_images_are_normalised_by_the_statistics_of_the_whole_training_set(chosen):
    arrays = numbered_arrays()
    module = data_module(arrays, **chosen)
    pixels = arrays.train_images.astype(np.float64)
    mean, std = pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))
    loader = module.train_dataloader()
    for part, visited in (("train", module.train_set.indices[loader.order]), ("test", range(60))):
        batches = [images for images, _ in (loader if part == "train" else module.test_dataloader())]
        expected = (getattr(arrays, f"{part}_images")[visited] - mean) / std
        np.testing.assert_allclose(torch.cat(batches).permute(0, 2, 3, 1).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_constant_channel_does_not_divide_by_0():
    arrays = numbered_arrays()
    arrays.train_images[..., 0] = 9
    for images, _ in data_module(arrays).train_dataloader():
        assert torch.isfinite(images).all()
        assert (images[:, 0] == 0).all()


@pytest.mark.cifar10
def test_statistics_of_cifar10_are_the_published_ones(cifar10):
    # The values every CIFAR-10 recipe carries, as shares of 255; one number a channel.
    module = data_module(cifar10, reduction_frac=0.99)
    np.testing.assert_allclose(module.pixels.mean / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(module.pixels.std / 255, [0.2470, 0.2435, 0.2616], atol=5e-5)


def test_an_epoch_visits_each_kept_example_once_with_its_given_label():
    arrays = numbered_arrays()
    module = data_module(arrays, kind="symmetric", noise_frac=0.3, reduction_frac=0.2)
    loader = module.train_dataloader()
    visited = numbers_in(module, loader)
    assert sorted(visited) == module.train_set.indices.tolist()
    given_labels = dict(zip(module.train_set.indices.tolist(), module.train_set.labels.tolist(), strict=True))
    assert labels_in(loader) == [given_labels[number] for number in visited]
    assert (module.train_set.labels != arrays.train_labels[module.train_set.indices]).sum() == round(0.3 * 400)


def test_batches_are_never_larger_than_asked_and_as_few_as_that_allows():
    loader = data_module(numbered_arrays(n_train=100), batch_size=32).train_dataloader()
    assert [len(labels) for _, labels in loader] == [25, 25, 25, 25]


def test_the_order_is_another_in_each_epoch_and_for_each_seed():
    arrays = numbered_arrays()
    orders = [
        data_module(arrays, epoch=epoch, seeds=SEEDS | {"order": seed}).train_dataloader().order.tolist()
        for epoch, seed in product(range(3), range(3))
    ]
    assert len({tuple(order) for order in orders}) == 9
    again = data_module(arrays, epoch=2, seeds=SEEDS | {"order": 2}).train_dataloader().order.tolist()
    assert again == orders[-1]


def test_augmentation_follows_from_seed_and_epoch():
    arrays = numbered_arrays()

    def epoch(seed: int, number: int) -> torch.Tensor:
        module = data_module(
            arrays, epoch=number, seeds=SEEDS | {"augment": seed, "order": 7}, flip=True, crop_padding=2
        )
        loader = module.train_dataloader()
        first = torch.cat([batch for batch, _ in loader])
        assert torch.equal(first, torch.cat([batch for batch, _ in loader]))  # read twice, the same
        return module.train_dataloader().variants

    assert torch.equal(epoch(0, 2), epoch(0, 2))
    assert not torch.equal(epoch(0, 2), epoch(0, 1))
    assert not torch.equal(epoch(0, 2), epoch(1, 2))


@pytest.mark.parametrize("reduction", [0.1, 0.5, 0.67, 0.9])
def test_matched_steps_are_the_baselines_steps_over_evenly_visited_examples(reduction):
    arrays = numbered_arrays()
    baseline = data_module(arrays)
    matched = data_module(arrays, reduction_frac=reduction, match_steps=True)
    plain = data_module(arrays, reduction_frac=reduction)
    assert len(matched.train_dataloader()) == len(baseline.train_dataloader()) == matched.steps_per_epoch
    assert len(plain.train_dataloader()) == -(-len(plain.train_set.indices) // 32)
    counts = Counter(numbers_in(matched, matched.train_dataloader()))
    assert set(counts) == set(matched.train_set.indices.tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) == len(arrays.train_labels)


def visits_in(module):
    """(number, variant) of every visit of an epoch, in their order."""
    loader = module.train_dataloader()
    return list(zip(numbers_in(module, loader), loader.variants.tolist(), strict=True))


@pytest.mark.parametrize("steps", [False, True, "masked"])
@pytest.mark.parametrize("reduction", [0.1, 0.9])
def test_a_reduced_set_is_seen_as_the_full_one_is_without_what_was_removed(reduction, steps):
    arrays, augmented = numbered_arrays(), {"flip": True}
    whole = visits_in(data_module(arrays, epoch=1, **augmented))
    reduced = data_module(arrays, epoch=1, reduction_frac=reduction, match_steps=steps, **augmented)
    kept = set(reduced.train_set.indices.tolist())
    expected = [visit for visit in whole if visit[0] in kept]
    assert visits_in(reduced)[: len(expected)] == expected


@pytest.mark.parametrize("reduction", [0.1, 0.5, 0.9])
def test_masked_steps_are_the_baselines_steps_in_smaller_batches(reduction):
    arrays = numbered_arrays()
    masked = data_module(arrays, reduction_frac=reduction, match_steps="masked")
    loader = masked.train_dataloader()
    sizes = [len(labels) for _, labels in loader]
    assert len(sizes) == masked.steps_per_epoch == data_module(arrays).steps_per_epoch
    assert sorted(numbers_in(masked, loader)) == masked.train_set.indices.tolist()
    assert max(sizes) - min(sizes) <= 1
    # A step holds about what is left of the baseline's: no example comes more than a few batches early or late.
    place = {number: at // 32 for at, (number, _) in enumerate(visits_of_baseline(arrays))}
    mine = [step for step, (_, labels) in enumerate(loader) for _ in labels]
    moved = [abs(place[number] - step) for number, step in zip(numbers_in(masked, loader), mine, strict=True)]
    assert np.mean(moved) < 2


def visits_of_baseline(arrays):
    module = data_module(arrays)
    return [(number, None) for number in numbers_in(module, module.train_dataloader())]


def test_masked_steps_that_leave_batches_of_one_are_refused():
    with pytest.raises(ConfigError, match=r"match_steps=masked is not allowed here: 16 steps over 25 examples"):
        data_module(numbered_arrays(), reduction_frac=0.95, match_steps="masked")


@settings(max_examples=20)
@given(frac=st.floats(0.01, 0.6), reduction=st.floats(0, 0.3), seed=st.integers(0, 100))
def test_validation_is_held_out_clean_and_before_any_stress(frac, reduction, seed):
    arrays = numbered_arrays(n_train=300)
    stress = {"kind": "symmetric", "noise_frac": 1.0, "reduction_frac": reduction}
    seeds = SEEDS | {"validation": seed}
    module = data_module(arrays, epoch=2, validation_frac=frac, seeds=seeds, **stress)
    held_out = round(frac * 300)
    (loader,) = module.val_dataloader()
    validated = numbers_in(module, loader)
    assert loader.split == "val"
    assert len(set(validated)) == len(validated) == held_out
    assert not set(validated) & set(module.train_set.indices.tolist())
    assert labels_in(loader) == arrays.train_labels[validated].tolist()
    assert len(module.train_set.indices) == (300 - held_out) - round(reduction * (300 - held_out))
    unstressed = data_module(arrays, validation_frac=frac, seeds=seeds)
    np.testing.assert_array_equal(module.train_set.held_out, unstressed.train_set.held_out)


def test_the_test_set_is_clean_whole_and_in_its_own_order():
    arrays = numbered_arrays(n_test=2345)
    module = data_module(arrays, noise_frac=1.0, kind="symmetric", reduction_frac=0.5)
    loader = module.test_dataloader()
    assert numbers_in(module, loader) == list(range(500, 500 + 2345))
    assert labels_in(loader) == arrays.test_labels.tolist()


@pytest.mark.parametrize(
    ("epoch", "chosen", "splits"),
    [
        (0, {}, []),
        (0, {"test_every_epoch": True}, ["test"]),
        (2, {"test_every_epoch": True}, []),  # the test itself follows
        (0, {"test_every_epoch": True, "validation_frac": 0.1}, ["val", "test"]),
        (2, {"test_every_epoch": True, "validation_frac": 0.1}, ["val"]),
    ],
)
def test_what_is_evaluated_after_an_epoch(epoch, chosen, splits):
    module = data_module(numbered_arrays(), epoch=epoch, epochs=3, **chosen)
    assert [loader.split for loader in module.val_dataloader()] == splits


def test_training_images_are_crops_of_the_kept_images():
    arrays = numbered_arrays()
    module = data_module(arrays, reduction_frac=0.3, crop_padding=2, flip=True)
    # Each image is one colour all over, so any crop or flip of it is the image itself.
    assert sorted(numbers_in(module, module.train_dataloader())) == module.train_set.indices.tolist()


def test_a_padding_as_large_as_an_image_is_refused():
    with pytest.raises(ConfigError, match=r"data\.crop_padding=8 .*8 x 8"):
        data_module(numbered_arrays(), crop_padding=8)
    data_module(numbered_arrays(), crop_padding=7)


def test_the_arrays_shared_between_runs_are_not_written_to():
    arrays = numbered_arrays()

    def state() -> list[int]:
        parts = (arrays.train_images, arrays.train_labels, arrays.test_images, arrays.test_labels)
        return [crc32(part.tobytes()) for part in parts]

    before = state()
    module = data_module(arrays, noise_frac=1.0, kind="symmetric", crop_padding=1, flip=True, validation_frac=0.1)
    for loader in (module.train_dataloader(), *module.val_dataloader(), module.test_dataloader()):
        for images, labels in loader:
            images.zero_(), labels.zero_()
    assert state() == before
