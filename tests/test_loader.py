"""The batches of one epoch."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.images import labels_in

from class_sensitivity.data.loader import EpochLoader


def numbered(n: int) -> torch.Tensor:
    """(n, 2, 3, 1) uint8; image n is n all over."""
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 2, 3, 1).contiguous()


def epoch_loader(order: torch.Tensor, steps: int) -> EpochLoader:
    """Of numbered images, whose labels are their numbers modulo 7."""
    n = int(order.max()) + 1
    return EpochLoader(
        numbered(n), torch.arange(n) % 7, order, split="train", steps=steps, mean=torch.zeros(1), std=torch.ones(1)
    )


@given(n=st.integers(1, 256), choice=st.data())
def test_an_epoch_holds_each_example_once_in_order_in_batches_of_nearly_one_size(n, choice):
    steps = choice.draw(st.integers(1, n))
    order = torch.from_numpy(np.random.default_rng(n).permutation(n))
    loader = epoch_loader(order, steps)
    batches = list(loader)
    assert len(batches) == len(loader) == steps
    assert torch.cat([images[:, 0, 0, 0] for images, _ in batches]).long().tolist() == order.tolist()
    assert labels_in(loader) == (order % 7).tolist()
    sizes = {len(labels) for _, labels in batches}
    assert max(sizes) - min(sizes) <= 1


def test_an_example_may_be_any_image():
    loader = EpochLoader(
        numbered(5),
        torch.tensor([1, 1, 0]),
        torch.tensor([2, 0, 1]),
        examples=torch.tensor([4, 2, 0]),
        split="train",
        steps=1,
        mean=torch.zeros(1),
        std=torch.ones(1),
    )
    ((images, labels),) = loader
    assert images[:, 0, 0, 0].long().tolist() == [0, 4, 2]
    assert labels.tolist() == [0, 1, 1]


def test_batches_are_float_images_in_channels_last_layout():
    images, labels = next(iter(epoch_loader(torch.arange(8), 2)))
    assert images.dtype == torch.float32
    assert images.shape == (4, 1, 2, 3)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
