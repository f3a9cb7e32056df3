"""Batches, losses and gradients of an epoch on a device that nothing can be read back from: PyTorch's `meta` device.

What Lightning and the optimiser add to a step is theirs, and evaluations may wait. Like a GPU it is not the CPU, so a
tensor left behind there is an error; unlike a GPU it has no values at all, so whatever would make a GPU wait (`item`,
`tolist`, a tensor as a condition, a mask as an index) is an error too.
"""

from types import SimpleNamespace

import pytest
import torch
from conftest import MakeRun
from torch import nn

from class_sensitivity.training.classifier import Classifier
from class_sensitivity.training.setup import set_up

META = torch.device("meta")
SETTINGS = ("noise.frac=0.2", "data.crop_padding=1", "data.flip=true", "training.batch_size=100")


def test_an_epoch_waits_for_nothing_and_leaves_nothing_on_the_cpu(make_run: MakeRun):
    setup = set_up(make_run(*SETTINGS))
    setup.data.device = META
    setup.data.trainer = SimpleNamespace(current_epoch=1, max_epochs=3)
    setup.data.setup()
    names, recipe = setup.data.arrays.class_names, setup.run.settings.training
    classifier, loader = Classifier(setup.network, names, recipe, setup.total_steps), setup.data.train_dataloader()
    classifier.to(META)
    classifier.trainer = None
    classifier.on_train_epoch_start()
    steps = 0
    for number, batch in enumerate(loader):
        assert {tensor.device for tensor in batch} == {META}
        classifier.zero_grad()
        classifier.training_step(batch, number).backward()  # the step that follows is PyTorch's own fused one
        assert all(parameter.grad is not None for parameter in classifier.parameters())
        steps += 1
    assert steps == len(loader) == 12
    with pytest.raises((RuntimeError, NotImplementedError)):
        classifier.sums.read([])  # once an epoch, here, and nowhere before


@pytest.mark.parametrize("asks", [torch.Tensor.item, torch.Tensor.tolist, bool, lambda value: value[value > 0]])
def test_the_device_tells_of_what_would_make_a_gpu_wait(asks):
    """Without this the test above could pass for nothing."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        asks(torch.ones(3, device=META).sum() if asks is bool else torch.ones((), device=META).expand(1))


def test_the_device_tells_of_a_tensor_left_behind():
    with pytest.raises(RuntimeError):
        nn.Linear(3, 2, device=META)(torch.ones(1, 3))
