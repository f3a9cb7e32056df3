"""Which device, precision and number of threads this machine trains with: decided once, recorded."""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import nn

from class_sensitivity.errors import ConfigError

#: Of glibc's malloc.h: from how many bytes on freed memory is returned, and memory is mapped block by block.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: What is asked for, and the most that glibc before 2.35 takes for the second.
_LARGE, _LARGE_OF_OLD = 1 << 30, 32 << 20

#: What a run may take of a GPU's memory. A process with one of CIFAR-10 takes half of it (docs/performance.md, "On a
#: GPU"); the rest is for larger networks and images.
_GPU_BYTES = 2 << 30
#: Processes that share a GPU: 15 kept a large one busy all the time.
_MOST_ON_GPU = 16

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Execution:
    """How a run is executed.

    Attributes:
        device: Where the tensors live.
        precision: Lightning's name, `bf16-mixed` or `32-true`.
        threads: CPU threads of one run.
        processor: Its name.
    """

    device: torch.device
    precision: str
    threads: int
    processor: str


def choose_execution(accelerator: str, precision: str, threads: int) -> Execution:
    """Resolves `auto` from what the machine can do; nothing is timed, so the choice is repeatable.

    Args:
        accelerator: auto, cpu or gpu.
        precision: auto, bf16-mixed or 32-true.
        threads: CPU threads.

    Raises:
        ConfigError: A GPU is asked for and there is none.

    Examples:
        >>> execution = choose_execution("cpu", "32-true", threads=2)
        >>> execution.device.type, execution.precision, execution.threads
        ('cpu', '32-true', 2)
    """
    device = _device(accelerator)
    if precision == "auto":
        precision = "bf16-mixed" if _gains_from_bf16(device.type) else "32-true"
    return Execution(device, precision, threads, _processor(device.type))


def execution_of(network: nn.Module, execution: Execution) -> Execution:
    """The execution that `auto` comes to for a network: 32 bits on a CPU where some convolution is grouped.

    oneDNN's gradient of the weights of a grouped bf16 convolution reads memory that nothing was written to: on small
    images it is NaN in one step of 20 (measured with a 5 x 5 depthwise layer of MobileNetV3, PyTorch 2.15).

    Examples:
        >>> bf16 = Execution(torch.device("cpu"), "bf16-mixed", threads=1, processor="")
        >>> execution_of(nn.Conv2d(4, 4, 3, groups=4), bf16).precision
        '32-true'
        >>> execution_of(nn.Conv2d(4, 4, 3), bf16).precision
        'bf16-mixed'
    """
    grouped = any(getattr(layer, "groups", 1) > 1 for layer in network.modules() if isinstance(layer, _CONVOLUTIONS))
    return replace(execution, precision="32-true") if grouped and execution.device.type == "cpu" else execution


def most_at_once(device: torch.device) -> int:
    """How many processes with a run each may share a device; the CPU, whose cores and memory decide, sets no bound.

    Examples:
        >>> most_at_once(torch.device("cpu")) == sys.maxsize
        True
    """
    if device.type == "cpu":
        return sys.maxsize
    if device.type != "cuda":  # it was not tried there what more would do
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MOST_ON_GPU, free // _GPU_BYTES))


@lru_cache
def keep_freed_memory() -> None:
    """Lets this process keep what a training step frees, because the next step needs as much again.

    glibc returns large blocks to the system, and getting them back costs page faults: up to half of a step of a
    small network. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Setting one threshold freezes the other, so it is both or neither.
    if mallopt is not None and (mallopt(_M_MMAP_THRESHOLD, _LARGE) or mallopt(_M_MMAP_THRESHOLD, _LARGE_OF_OLD)):
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


def _device(accelerator: str) -> torch.device:
    if accelerator != "cpu":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        if torch.backends.mps.is_available():
            return torch.device("mps")
        if accelerator == "gpu":
            raise ConfigError(
                "training.accelerator=gpu is not possible: PyTorch finds no GPU on this machine; use cpu or auto."
            )
    return torch.device("cpu")


@lru_cache
def _gains_from_bf16(device_type: str) -> bool:
    """Whether there are instructions for it; emulated bf16 is slower than fp32."""
    if device_type == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    if device_type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        known = torch.cpu.get_capabilities()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@lru_cache
def _processor(device_type: str) -> str:
    if device_type == "cuda":
        return torch.cuda.get_device_name()
    if hasattr(torch.cpu, "get_capabilities"):
        return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor())
    return f"{platform.processor() or platform.machine()} x {os.cpu_count()}"
