"""How many runs fit into memory side by side, estimated from the layers of one."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from class_sensitivity.data.loader import EVALUATION_BATCH
from class_sensitivity.training.setup import TrainingSetup

#: Shares of the free memory that a stack may fill; other programs need a CPU's memory, too.
_SHARE_OF_GPU, _SHARE_OF_RAM = 0.8, 0.4

#: Taken for free where the system does not say.
_UNKNOWN_FREE_BYTES = 2e9
_FLOAT_BYTES = 4


def members_that_fit(setup: TrainingSetup) -> int:
    """How many runs like this one fit into the free memory; at least 1.

    A member needs its weights and its held-out images, and the larger of two: in training the output of every layer
    and its gradient, for a batch; in evaluation the two largest outputs, for a batch of an evaluation.
    """
    _, height, width, channels = setup.data.arrays.train_images.shape
    outputs = _output_sizes(setup.network, (channels, height, width))
    training = 2 * sum(outputs) * setup.run.settings.training.batch_size
    evaluation = 2 * max(outputs, default=0) * EVALUATION_BATCH
    # Each weight with its gradient and its momentum, and the initial weight that the network itself keeps; AdamW has
    # two numbers in place of the momentum.
    copies = 5 if setup.run.settings.training.optimizer == "adamw" else 4
    weights = copies * sum(parameter.numel() for parameter in setup.network.parameters())
    held_out_bytes = len(setup.data.train_set.held_out) * channels * height * width
    member_bytes = _FLOAT_BYTES * (max(training, evaluation) + weights) + held_out_bytes
    return max(1, int(_free_bytes(setup.execution.device) / member_bytes))


def _output_sizes(network: nn.Module, image: tuple[int, int, int]) -> list[int]:
    """Numbers in the output of every layer, for one (C, H, W) image."""
    sizes: list[int] = []

    def measure(module: nn.Module, _: Any, output: Any) -> None:
        if torch.is_tensor(output):
            sizes.append(output.numel())

    layers = [module for module in network.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(measure) for layer in layers]
    was_training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, *image))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return sizes


def _free_bytes(device: torch.device) -> float:
    """Bytes that a stack may fill."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] * _SHARE_OF_GPU
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return _UNKNOWN_FREE_BYTES
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return free * _SHARE_OF_RAM
