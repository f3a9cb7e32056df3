"""Data sets, augmentation and batches."""

from collections import Counter
from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.augment import _gather_by_pixel, _gather_by_variant, draw_variants, flip_and_crop, pad
from class_sensitivity.data.datamodule import EpochLoader, StressedDataModule
from class_sensitivity.data.sources import known_sources, load_arrays
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.seeding import STREAMS

CPU = torch.device("cpu")
SEEDS = dict.fromkeys(STREAMS, 1)


def numbered_arrays(n_train: int = 500, n_test: int = 60, size: int = 8) -> ImageArrays:
    """A data set of three unbalanced classes whose images carry their own number in two channels."""
    rng = np.random.default_rng(0)

    def images(n: int, first: int) -> np.ndarray:
        numbers = np.arange(first, first + n)
        planes = np.stack([numbers % 256, numbers // 256, rng.integers(0, 256, n)], axis=-1).astype(np.uint8)
        return np.broadcast_to(planes[:, None, None, :], (n, size, size, 3)).copy()

    return ImageArrays(
        train_images=images(n_train, 0),
        train_labels=rng.choice(3, n_train, p=[0.6, 0.3, 0.1]).astype(np.int64),
        test_images=images(n_test, n_train),
        test_labels=rng.integers(0, 3, n_test),
        class_names=("ant", "bee", "cow"),
    )


def random_images(n: int, size: int = 6, channels: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, size, size, channels), dtype=np.uint8))


def data_module(arrays: ImageArrays, *, epoch: int = 0, epochs: int = 3, **chosen: Any) -> StressedDataModule:
    """Set up as a trainer would have it in the given epoch."""
    module = StressedDataModule(arrays, **({"batch_size": 32, "seeds": SEEDS, "device": CPU} | chosen))
    module.trainer = SimpleNamespace(current_epoch=epoch, max_epochs=epochs)
    module.setup()
    return module


def numbers_in(module: StressedDataModule, loader: EpochLoader) -> list[int]:
    """Which records a loader gives, read back from the normalised pixels."""
    seen: list[int] = []
    for images, _ in loader:
        pixels = (images * module.pixels.std[:, None, None] + module.pixels.mean[:, None, None]).round().long()
        seen += (pixels[:, 0, 0, 0] + 256 * pixels[:, 1, 0, 0]).tolist()
    return seen


# Sources


def test_the_bundled_digits_are_all_there_each_once():
    arrays = load_arrays("digits")
    assert arrays.train_images.shape == (1198, 8, 8, 1)
    assert arrays.test_images.shape == (599, 8, 8, 1)
    assert arrays.class_names == tuple("0123456789")
    source = load_digits()
    expected = Counter((label, tuple(image.ravel())) for image, label in zip(source.images, source.target, strict=True))
    ink = np.concatenate([arrays.train_images, arrays.test_images]) / (255 / 16)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    assert np.abs(ink - ink.round()).max() < 0.04  # 17 levels of grey
    assert Counter((label, tuple(image.round().ravel())) for image, label in zip(ink, labels, strict=True)) == expected


def test_the_split_of_the_digits_is_stratified_and_never_changes():
    arrays = load_arrays("digits")
    totals = np.bincount(np.concatenate([arrays.train_labels, arrays.test_labels]))
    np.testing.assert_allclose(np.bincount(arrays.test_labels), totals / 3, atol=1)
    # Another split would make every recorded run incomparable with new ones.
    assert crc32(arrays.test_labels.tobytes()) == 3043507345


def test_an_unknown_data_set_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ConfigError, match=r"mnist.*cifar10.*digits"):
        load_arrays("mnist")
    assert {"cifar10", "digits"} <= set(known_sources())


def test_a_folder_of_cifar10_with_a_file_missing_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"data_batch_1 is missing.*data\.dir"):
        load_arrays("cifar10", str(tmp_path), True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((4, 8, 8, 1), np.float32)}, "uint8"),
        ({"train_images": np.zeros((4, 8, 8), np.uint8)}, "uint8"),
        ({"train_labels": np.zeros(4, np.int32)}, "int64"),
        ({"train_labels": np.zeros(3, np.int64)}, "int64"),
        ({"train_labels": np.array([0, 1, 2, 0])}, "from 0 to 1"),
        ({"test_labels": np.array([0, -1])}, "from 0 to 1"),
        ({"test_images": np.zeros((0, 8, 8, 1), np.uint8), "test_labels": np.zeros(0, np.int64)}, "from 0 to 1"),
        ({"test_images": np.zeros((2, 9, 8, 1), np.uint8)}, "differ in size"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    fitting = {
        "train_images": np.zeros((4, 8, 8, 1), np.uint8),
        "train_labels": np.array([0, 1, 1, 0]),
        "test_images": np.zeros((2, 8, 8, 1), np.uint8),
        "test_labels": np.array([0, 1]),
        "class_names": ("ant", "bee"),
    }
    ImageArrays(**fitting)
    with pytest.raises(ValueError, match=message):
        ImageArrays(**(fitting | change))


@pytest.mark.cifar10
def test_cifar10_is_what_torchvision_reads(cifar10, cifar10_dir):
    from torchvision.datasets import CIFAR10

    train, test = CIFAR10(cifar10_dir, train=True), CIFAR10(cifar10_dir, train=False)
    np.testing.assert_array_equal(cifar10.train_images, train.data)
    np.testing.assert_array_equal(cifar10.test_images, test.data)
    assert cifar10.train_labels.tolist() == train.targets
    assert cifar10.test_labels.tolist() == test.targets
    assert cifar10.class_names == tuple(train.classes)
    assert cifar10.train_images.shape == (50_000, 32, 32, 3)


# Augmentation


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
    augmented = flip_and_crop(pad(images, padding), torch.from_numpy(indices), variants, padding=padding)
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
    padded, indices = pad(random_images(9), padding), torch.from_numpy(rng.integers(0, 9, size=25))
    variants = draw_variants(rng, 25, padding=padding, flip=flip)
    by_variant, by_pixel = (
        gather(padded, indices, variants, padding) for gather in (_gather_by_variant, _gather_by_pixel)
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


# Batches of one epoch


def epoch_loader(order: torch.Tensor, steps: int, **chosen: Any) -> EpochLoader:
    n = int(order.max()) + 1
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 2, 3, 1).contiguous()
    return EpochLoader(
        images,
        torch.arange(n) % 7,
        order,
        split="train",
        steps=steps,
        mean=torch.zeros(1),
        std=torch.ones(1),
        **chosen,
    )


@given(n=st.integers(1, 256), choice=st.data())
def test_an_epoch_holds_each_record_once_in_order_in_batches_of_nearly_one_size(n, choice):
    steps = choice.draw(st.integers(1, n))
    order = torch.from_numpy(np.random.default_rng(n).permutation(n))
    loader = epoch_loader(order, steps)
    batches = list(loader)
    assert len(batches) == len(loader) == steps
    assert torch.cat([images[:, 0, 0, 0] for images, _ in batches]).long().tolist() == order.tolist()
    assert torch.cat([labels for _, labels in batches]).tolist() == (order % 7).tolist()
    sizes = {len(labels) for _, labels in batches}
    assert max(sizes) - min(sizes) <= 1


def test_batches_are_float_images_in_channels_last_layout():
    images, labels = next(iter(epoch_loader(torch.arange(8), 2)))
    assert images.dtype == torch.float32
    assert images.shape == (4, 1, 2, 3)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


def test_augmentation_follows_from_seed_and_epoch():
    def epoch(seed: int, number: int) -> torch.Tensor:
        images = pad(random_images(64), 2)
        loader = EpochLoader(
            images,
            torch.zeros(64, dtype=torch.int64),
            torch.arange(64),
            split="train",
            steps=20,
            mean=torch.zeros(2),
            std=torch.ones(2),
            augmentation=(seed, number),
            padding=2,
            flip=True,
        )
        first = torch.cat([batch for batch, _ in loader])
        assert torch.equal(first, torch.cat([batch for batch, _ in loader]))  # read twice, the same
        return first

    assert torch.equal(epoch(0, 3), epoch(0, 3))
    assert not torch.equal(epoch(0, 3), epoch(0, 4))
    assert not torch.equal(epoch(0, 3), epoch(1, 3))


# The data module


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


def test_an_epoch_visits_each_kept_record_once_with_its_given_label():
    arrays = numbered_arrays()
    module = data_module(arrays, noise_kind="symmetric", noise_frac=0.3, reduction_frac=0.2)
    loader = module.train_dataloader()
    visited = numbers_in(module, loader)
    assert sorted(visited) == module.train_set.indices.tolist()
    given_labels = dict(zip(module.train_set.indices.tolist(), module.train_set.labels.tolist(), strict=True))
    assert torch.cat([labels for _, labels in loader]).tolist() == [given_labels[number] for number in visited]
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


@pytest.mark.parametrize("reduction", [0.1, 0.5, 0.67, 0.9])
def test_matched_steps_are_the_baselines_steps_over_evenly_visited_records(reduction):
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


@settings(max_examples=20)
@given(frac=st.floats(0.01, 0.6), reduction=st.floats(0, 0.3), seed=st.integers(0, 100))
def test_validation_is_held_out_clean_and_before_any_stress(frac, reduction, seed):
    arrays = numbered_arrays(n_train=300)
    stress = {"noise_kind": "symmetric", "noise_frac": 1.0, "reduction_frac": reduction}
    seeds = SEEDS | {"validation": seed}
    module = data_module(arrays, epoch=2, validation_frac=frac, seeds=seeds, **stress)
    held_out = round(frac * 300)
    (loader,) = module.val_dataloader()
    validated = numbers_in(module, loader)
    assert loader.split == "val"
    assert len(set(validated)) == len(validated) == held_out
    assert not set(validated) & set(module.train_set.indices.tolist())
    assert torch.cat([labels for _, labels in loader]).tolist() == arrays.train_labels[validated].tolist()
    assert len(module.train_set.indices) == (300 - held_out) - round(reduction * (300 - held_out))
    unstressed = data_module(arrays, validation_frac=frac, seeds=seeds)
    np.testing.assert_array_equal(module.validation_indices, unstressed.validation_indices)


def test_the_test_set_is_clean_whole_and_in_its_own_order():
    arrays = numbered_arrays(n_test=2345)
    module = data_module(arrays, noise_frac=1.0, noise_kind="symmetric", reduction_frac=0.5)
    loader = module.test_dataloader()
    assert numbers_in(module, loader) == list(range(500, 500 + 2345))
    assert torch.cat([labels for _, labels in loader]).tolist() == arrays.test_labels.tolist()


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


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"noise_classes": ["dog"]}, ["noise.classes=dog", "ant, bee, cow"]),
        ({"noise_partner": {"dog": "ant"}}, ["noise.partner", "dog", "ant, bee, cow"]),
        ({"noise_partner": {"ant": "dog"}}, ["noise.partner", "dog", "ant, bee, cow"]),
        ({"noise_partner": {"ant": "ant"}}, ["noise.partner", "ant", "itself"]),
        ({"crop_padding": 8}, ["data.crop_padding=8", "8 x 8"]),
        ({"reduction_frac": 0.997}, ["reduction.frac=0.997", "class"]),
        ({"reduction_frac": 0.9999}, ["reduction.frac=0.9999"]),
        # Nothing is reduced here: another setting is to blame.
        ({"validation_frac": 0.997}, ["training.validation_frac=0.997"]),
    ],
)
def test_settings_that_do_not_fit_the_data_set_are_named(chosen, words):
    with pytest.raises(ConfigError) as error:
        data_module(numbered_arrays(), **chosen)
    assert all(word in str(error.value) for word in words), error.value


def test_partners_reach_the_labels_by_name():
    arrays = numbered_arrays()
    module = data_module(arrays, noise_kind="pair", noise_frac=1.0, noise_partner={"ant": "cow"})
    turned = np.array([2, 2, 0])  # ant -> cow as asked, bee -> cow and cow -> ant as the next class
    np.testing.assert_array_equal(module.train_set.labels, turned[arrays.train_labels])


def test_the_arrays_shared_between_runs_are_not_written_to():
    arrays = load_arrays("digits")
    before = [crc32(part.tobytes()) for part in (arrays.train_images, arrays.train_labels, arrays.test_images)]
    module = data_module(arrays, noise_frac=1.0, noise_kind="symmetric", crop_padding=1, flip=True)
    for images, labels in module.train_dataloader():
        images.zero_(), labels.zero_()
    for images, labels in module.test_dataloader():
        images.zero_(), labels.zero_()
    after = [crc32(part.tobytes()) for part in (arrays.train_images, arrays.train_labels, arrays.test_images)]
    assert after == before
