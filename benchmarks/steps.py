"""Where the time of a training step goes: the operations of the bare loop, by kind."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from contenders import bare_step, execution_of
from torch.profiler import ProfilerActivity, profile

from class_sensitivity.runs.run import Run
from class_sensitivity.training import onednn

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
    "channels_last": onednn.disabled,
}


def layouts(run: Run) -> list[str]:
    """What there is to compare: on a GPU nothing, where oneDNN's layout is not in use one."""
    execution = execution_of(run)
    if execution.device.type != "cpu":
        return []
    return list(LAYOUTS)[: 1 + (execution.precision == "bf16-mixed" and onednn.supported())]


def milliseconds_by_kind(run: Run, layout: str) -> dict[str, float]:
    """Time of the operations of one training step, the mean over some; `all` is their sum.

    Args:
        run: Whose network, data and recipe are taken.
        layout: A key of `LAYOUTS`.
    """
    with LAYOUTS[layout]():
        step = bare_step(run)
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
