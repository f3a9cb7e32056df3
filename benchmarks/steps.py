"""Where the time of a training step goes: the operations of the bare loop, by kind."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from contenders import bare_step, execution_of
from torch.profiler import ProfilerActivity, profile

from class_sensitivity import blocked

#: Kinds in the order of the table, and what the names of their operations hold, without underscores; the first fits.
KINDS: dict[str, tuple[str, ...]] = {
    "optimiser": ("sgd",),
    "convolutions, backward": ("convolutionbackward",),
    "convolutions, forward": ("convolution",),
    "pooling, both ways": ("pool2d",),
    "batch norm, both ways": ("batchnorm",),
    "ReLU, both ways": ("relu", "clampmin", "threshold"),
    "conversions, copies, filling": ("copy", "tomkldnn", "todense", "fill", "zero"),
    "the rest": ("",),
}
WARM_UP, STEPS = 10, 30

LAYOUTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "as trained": nullcontext,
    "channels_last": blocked.refused,
}


def layouts(config: dict[str, Any]) -> list[str]:
    """What there is to compare: on a GPU nothing, where oneDNN's layout is not in use one."""
    execution = execution_of(config)
    if execution.device.type != "cpu":
        return []
    return list(LAYOUTS)[: 1 + (execution.precision == "bf16-mixed" and blocked.supported())]


def milliseconds_by_kind(config: dict[str, Any], layout: str) -> dict[str, float]:
    """Time of the operations of one training step, the mean over some; `all` is their sum.

    Args:
        config: A composed configuration.
        layout: A key of `LAYOUTS`.
    """
    with LAYOUTS[layout]():
        step = bare_step(config)
        for _ in range(WARM_UP):
            step()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(STEPS):
                step()
    found = dict.fromkeys(KINDS, 0.0)
    for operation in seen.key_averages():
        name = operation.key.lower().replace("_", "")
        kind = next(kind for kind, words in KINDS.items() if any(word in name for word in words))
        found[kind] += operation.self_cpu_time_total / STEPS / 1000
    return {"all": sum(found.values()), **found}
