"""Layers in oneDNN's blocked layout, on processors where they are faster in it than in PyTorch's own layouts."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
from torch import nn

_enabled: ContextVar[bool] = ContextVar("_enabled", default=True)


def apply(layers: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Applies layers, under bf16 autocast on an x86 processor in oneDNN's blocked layout.

    Pooling then takes less than half of the time that it takes in channels_last layout, convolutions a fifth less
    (docs/performance.md). Results are those of autocast up to the rounding of bf16, but ReLU and max pooling turn NaN
    into a number where PyTorch's own keep it.

    Args:
        layers: Convolutions, poolings, batch norms and ReLUs: what oneDNN can do forward and backward. Not dilated
            pooling, and batch norm only with weights and running statistics; others raise PyTorch's errors.
        images: (B, C, H, W).

    Returns:
        What `layers(images)` gives, in bf16 where autocast would give bf16.

    Examples:
        >>> apply(nn.MaxPool2d(2), torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 2, 2])
    """
    if not _is_faster(images):
        output: torch.Tensor = layers(images)
        return output
    # In this layout convolutions take 32-bit weights beside bf16 images, and refuse the copies that autocast makes.
    with torch.autocast("cpu", enabled=False):
        blocked: torch.Tensor = layers(images.to_mkldnn(torch.bfloat16))
    return blocked.to_dense()


@contextmanager
def disabled() -> Iterator[None]:
    """Within it layers keep PyTorch's layouts, for comparisons."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


def _is_faster(images: torch.Tensor) -> bool:
    return (
        _enabled.get()
        and images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and bool(torch.backends.mkldnn.enabled)
        and supported()
    )


@lru_cache
def supported() -> bool:
    """Whether the processor can do it at all; on others than x86 most of oneDNN's layers are slow reference code."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
