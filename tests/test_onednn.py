"""Layers in oneDNN's blocked layout: the same numbers as in PyTorch's own, up to the rounding of bf16."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from class_sensitivity.models.cnn6 import Network
from class_sensitivity.training import onednn

needs_the_layout = pytest.mark.skipif(not onednn.supported(), reason="the processor or PyTorch lacks oneDNN's bf16")


def network(channels: int, size: tuple[int, int], widths: list[int]) -> Network:
    torch.manual_seed(sum(widths))
    return Network(channels, size, 10, widths).to(memory_format=torch.channels_last)


def trained_step(network: nn.Module, images: torch.Tensor, *, autocast: bool = True) -> dict[str, torch.Tensor]:
    """What a step on a copy leaves: logits, and as one vector each gradients, running means, running variances."""
    network = copy.deepcopy(network).train()  # with its hooks
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logits = network(images).float()
    target = torch.arange(len(images)) % logits.shape[1]
    nn.functional.cross_entropy(logits, target).backward()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return {
        "logits": logits.detach(),
        "gradients": torch.cat([parameter.grad.flatten() for parameter in network.parameters()]),
        "means": torch.cat([norm.running_mean for norm in norms]),
        "variances": torch.cat([norm.running_var for norm in norms]),
    }


def distance(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


class Witness(nn.Module):
    """Notes the layout in which it is called."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.blocked = images.is_mkldnn
        return images


@needs_the_layout
@settings(max_examples=8, derandomize=True)  # the bound is a statistical one
@given(
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(8, 34),
    width=st.integers(8, 34),
    widths=st.lists(st.integers(2, 50), min_size=6, max_size=6),
    batch=st.integers(8, 40),
)
def test_no_further_from_32_bit_than_autocast_in_the_usual_layout(channels, height, width, widths, batch):
    """Whatever the sizes: widths that are no multiple of the block are padded by oneDNN."""
    model = network(channels, (height, width), widths)
    images = torch.randn(batch, height, width, channels).permute(0, 3, 1, 2)
    exact = trained_step(model, images, autocast=False)
    ours = trained_step(model, images)
    with onednn.disabled():
        usual = trained_step(model, images)
    for part, reference in exact.items():
        assert distance(ours[part], reference) <= 2 * distance(usual[part], reference) + 0.02, part


@needs_the_layout
def test_the_layout_is_taken_under_bf16_autocast_only():
    witness, images = Witness(), torch.randn(2, 3, 8, 8)
    onednn.apply(witness, images)
    assert not witness.blocked
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = onednn.apply(witness, images)
        assert witness.blocked
        assert output.dtype == torch.bfloat16
        assert not output.is_mkldnn
        with onednn.disabled():
            onednn.apply(witness, images)
            assert not witness.blocked
        onednn.apply(witness, images)
        assert witness.blocked
    with torch.autocast("cpu", dtype=torch.float16):
        onednn.apply(witness, images)
    assert not witness.blocked


@needs_the_layout
def test_a_step_repeated_gives_the_same_bits():
    model, images = network(3, (32, 32), [16, 32, 48, 64, 64, 128]), torch.randn(64, 3, 32, 32)
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # gradients of weights are sums over threads
    try:
        first, again = trained_step(model, images), trained_step(model, images)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(value, again[part]) for part, value in first.items())


@needs_the_layout
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluation_gives_each_image_what_it_gets_in_a_smaller_batch(mode):
    model, images = network(3, (32, 32), [16, 32, 48, 64, 64, 128]).eval(), torch.randn(40, 3, 32, 32)
    with mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        together = model(images)
        apart = torch.cat([model(part) for part in images.split(10)])
    torch.testing.assert_close(together, apart)


@needs_the_layout
def test_the_models_that_say_so_use_it():
    model, seen = network(3, (32, 32), [16, 32, 48, 64, 64, 128]), []
    model.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].is_mkldnn))
    trained_step(model, torch.randn(8, 3, 32, 32))
    trained_step(model, torch.randn(8, 3, 32, 32), autocast=False)
    assert seen == [True, False]
