"""What training.py measures in processes of their own: each stage imports what it needs and returns rows."""

import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plan import Plan
from table import Row, ratio, row

if TYPE_CHECKING:
    from class_sensitivity.runs.run import Run


def say(text: str) -> None:
    """Tells of progress where it does not get into the table."""
    print(text, file=sys.stderr, flush=True)


def stage_describe(plan: Plan, begun: float) -> str:
    """Precision and threads that the default recipe comes to here."""
    import torch

    from class_sensitivity.training.device import choose_execution

    execution = choose_execution("auto", "auto", None)
    return (
        f"{execution.device.type} ({execution.processor}), {execution.precision}, {execution.threads} threads a run "
        f"(torch's default: {torch.get_num_threads()})"
    )


def _run(plan: Plan, *overrides: str) -> "Run":
    from contenders import composed

    return composed(f"data={plan.data}", *overrides)


def stage_speed(plan: Plan, begun: float) -> list[Row]:
    """Images a second of all contenders, in turns."""
    import contenders

    run = _run(plan, f"training.epochs={plan.epochs}")
    if plan.images:
        run = contenders.reduced_to(run, plan.images)
    # In a process of its own the usual way has the memory and threads that a script of its own would have.
    apart = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory() as scratch, apart:
        places = (Path(scratch) / str(number) for number in range(10**6))

        def usual(run: "Run", workers: int) -> contenders.Outcome:
            return apart.submit(contenders.usual, run, next(places), workers).result()

        workers = _better_workers(contenders.reduced_to(run, plan.probe), places, usual)
        contestants: dict[str, Callable[[], contenders.Outcome]] = {
            "product": lambda: contenders.product(run, next(places)),
            "bare loop": lambda: contenders.bare(run),
            f"usual way, {workers} workers": lambda: usual(run, workers),
        }
        outcomes: dict[str, list[contenders.Outcome]] = {name: [] for name in contestants}
        ceilings: list[dict[str, float]] = []
        for turn in range(plan.repeats):
            # Who comes first in a turn finds memory that lay idle.
            first = turn % len(contestants)
            for name in [*contestants, *contestants][first : first + len(contestants)]:
                outcomes[name].append(contestants[name]())
                latest = outcomes[name][-1]
                say(f"  turn {turn + 1}: {name}: {latest.images / latest.seconds:,.0f} images/s")
            ceilings.append(_ceilings(plan, run))
    _refuse_other_work(outcomes["product"], outcomes["bare loop"])
    return _speed_rows(outcomes, ceilings, contenders.execution_of(run).precision)


def _better_workers(small: "Run", places: Iterator[Path], usual: Callable[["Run", int], Any]) -> int:
    """Whether the usual way is faster with two workers or none; also the first run of each process."""
    import contenders

    contenders.product(small, next(places))
    contenders.bare(small)
    seconds = {workers: usual(small, workers).seconds for workers in (0, 2)}
    return min(seconds, key=seconds.__getitem__)


def _refuse_other_work(product: list[Any], bare: list[Any]) -> None:
    """A comparison is worth nothing if the loops do not do the same; rounding may differ between kernels."""
    for ours, theirs in zip(product, bare, strict=True):
        same = all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(ours.losses, theirs.losses, strict=True))
        if not same or ours.images != theirs.images:
            raise SystemExit(f"product and bare loop do not do the same work: {ours} and {theirs}")


def _ceilings(plan: Plan, run: "Run") -> dict[str, float]:
    """Rates of the matrix products, and the images a second that they would allow."""
    import ceiling
    import contenders
    import torch

    execution = contenders.execution_of(run)
    images = contenders.arrays_of(run).train_images
    layers = ceiling.layers_of(contenders.network_of(run), (images.shape[3], *images.shape[1:3]))
    multiply_adds = sum(layer.training for layer in layers)
    found: dict[str, float] = {
        "forward": sum(layer.forward for layer in layers) / 1e6,
        "training": multiply_adds / 1e6,
    }
    torch.set_num_threads(execution.threads)
    for name, dtype in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):
        square = ceiling.rate_of_square(plan.square, dtype, execution.device)
        own = ceiling.rate_of_layers(layers, run.settings.training.batch_size, dtype, execution.device)
        found |= {f"{name} square": square / 1e9, f"{name} layers": own / 1e9}
        found |= {f"{name} images": square / (2 * multiply_adds), f"{name} images by layers": own / (2 * multiply_adds)}
    return found


def _speed_rows(outcomes: dict[str, list[Any]], ceilings: list[dict[str, float]], precision: str) -> list[Row]:
    whole, fit = (
        {
            name.partition(",")[0]: row(f"{name}: {part}", "images/s", [o.images / getattr(o, field) for o in taken])
            for name, taken in outcomes.items()
        }
        for part, field in (("end to end", "seconds"), ("fit alone", "fit"))
    )

    def of_ceiling(name: str, unit: str, key: str) -> Row:
        return row(name, unit, [found[key] for found in ceilings])

    limit = of_ceiling(
        f"ceiling, {precision}: all multiply-adds at the square's rate", "images/s", f"{precision} images"
    )
    rows = [*whole.values(), *fit.values(), limit]
    for kind in ("bf16-mixed", "32-true"):
        rows.append(
            of_ceiling(
                f"ceiling, {kind}: at the rate of the layers' own products", "images/s", f"{kind} images by layers"
            )
        )
        rows.append(of_ceiling(f"matrix product, {kind}: large square", "GFLOP/s", f"{kind} square"))
        rows.append(of_ceiling(f"matrix product, {kind}: the layers' own", "GFLOP/s", f"{kind} layers"))
    rows.append(row("multiply-adds of an image, forward", "million", [ceilings[0]["forward"]]))
    rows.append(row("multiply-adds of an image, forward and backward", "million", [ceilings[0]["training"]]))
    for part, rates in (("end to end", whole), ("fit alone", fit)):
        rows.append(ratio(f"product / usual way, {part}", rates["product"], rates["usual way"]))
        rows.append(ratio(f"product / bare loop, {part}", rates["product"], rates["bare loop"]))
        rows.append(ratio(f"bare loop / ceiling, {part}", rates["bare loop"], limit))
        rows.append(ratio(f"product / ceiling, {part}", rates["product"], limit))
    for name in ("product", "bare loop"):
        rows.append(row(f"training loss of the last epoch, {name}", "", [o.losses[-1] for o in outcomes[name]]))
    return rows


def stage_startup(plan: Plan, begun: float) -> dict[str, list[dict[str, float]]]:
    """One process: seconds to the first step; costs of its first run, and of later ones."""
    from contenders import Clock, arrays_of

    imported = time.time()
    run = _run(plan, f"reduction.frac={plan.little}", "training.epochs=1", "training.test_every_epoch=false")
    configured = time.time()
    arrays_of(run)
    read = time.time()
    costs = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1 + plan.later):
            clock = Clock()
            costs.append(_costs(run, Path(scratch) / str(number), clock))
            if number == 0:
                assert clock.first_step is not None
                first_step = clock.first_step
    start = {
        "interpreter and imports": imported - begun,
        "configuration": configured - imported,
        "reading the data": read - configured,
        "preparation and first step": first_step - read,
        "all": first_step - begun,
    }
    return {"start": [start], "first": costs[:1], "later": costs[1:]}


def _costs(run: "Run", runs: Path, clock: Any) -> dict[str, float]:
    """Seconds of one run by part."""
    from contenders import timed_run

    record, wall = timed_run(run, runs, [clock])
    durations = record.durations
    return {
        "setup": durations.setup_s,
        "test": durations.test_s,
        "tensorboard": durations.tensorboard_s,
        "fit beside steps and checkpoint": durations.fit_s - clock.steps - clock.checkpoint,
        "checkpoint": clock.checkpoint,
        "writing the record": wall - durations.total_s,
        "all that is no training step": wall - clock.steps,
        "training steps": clock.steps,
    }


def stage_accuracy(plan: Plan, begun: float) -> list[Row]:
    """The default recipe, seed by seed."""
    from contenders import Clock, timed_run

    epochs = [f"training.epochs={plan.recipe_epochs}"] if plan.recipe_epochs else []
    accuracies: list[list[float]] = []
    seconds: list[list[float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(1, plan.seeds + 1):
            run, clock = _run(plan, f"seed={seed}", *epochs), Clock()
            record, whole = timed_run(run, Path(scratch), [clock])
            accuracies.append([epoch["test/acc"] for epoch in record.metrics.epochs])
            # The last epoch's accuracy is known when the test that follows it is over.
            seconds.append([*(end - clock.begun for end in clock.epoch_ends[:-1]), whole])
            say(f"  seed {seed}: {accuracies[-1][-1]:.2%} in {seconds[-1][-1]:.1f} s")
    rows = []
    for epoch, (shares, taken) in enumerate(
        zip(zip(*accuracies, strict=True), zip(*seconds, strict=True), strict=True)
    ):
        rows.append(row(f"epoch {epoch + 1}: test accuracy", "%", [100 * share for share in shares]))
        rows.append(row(f"epoch {epoch + 1}: known after", "s", taken))
    return rows


def stage_scaling(plan: Plan, begun: float) -> list[Row]:
    """Short runs of the product under one changed setting each, in turns."""
    import contenders

    short = f"reduction.frac={plan.short}"
    settings: dict[str, tuple[str, ...]] = {}
    settings |= {f"batch size {size}": (short, f"training.batch_size={size}") for size in plan.batch_sizes}
    settings |= {f"{number} epochs": (short, f"training.epochs={number}") for number in plan.epoch_numbers}
    settings |= {f"{frac:.0%} of the examples removed": (f"reduction.frac={frac}",) for frac in plan.reductions}
    possible = [number for number in plan.threads if number <= (os.cpu_count() or 1)]
    settings |= {f"{number} thread{'s' * (number > 1)}": (short, f"training.threads={number}") for number in possible}
    outcomes: dict[str, list[contenders.Outcome]] = {name: [] for name in settings}
    sweeps: dict[int, list[float]] = {number: [] for number in plan.sweep}
    with tempfile.TemporaryDirectory() as scratch:
        places = (Path(scratch) / str(number) for number in range(10**6))
        little = [
            _run(plan, f"reduction.frac={plan.reductions[-1]}", "training.epochs=1", f"seed={1 + seed}")
            for seed in range(max(plan.sweep))
        ]
        contenders.product(little[0], next(places))
        for turn in range(plan.repeats):
            say(f"  turn {turn + 1} of {plan.repeats}")
            for name, overrides in settings.items():
                run = _run(plan, "training.epochs=1", *overrides)
                outcomes[name].append(contenders.product(run, next(places)))
            for number, seconds in sweeps.items():
                taken = [contenders.product(run, next(places)) for run in little[:number]]
                seconds.append(sum(outcome.seconds for outcome in taken))
    rows = [
        row(f"{name}: fit alone", "images/s", [o.images / o.fit for o in taken]) for name, taken in outcomes.items()
    ]
    rows += [
        row(f"{name}: end to end", "images/s", [o.images / o.seconds for o in taken])
        for name, taken in outcomes.items()
    ]
    share = f"{plan.reductions[-1]:.0%} removed"
    return rows + [row(f"sweep of {number}, one epoch, {share}", "s", seconds) for number, seconds in sweeps.items()]


def stage_steps(plan: Plan, begun: float) -> list[Row]:
    """Milliseconds of a training step by kind of operation, in the layout in use and in channels_last, in turns."""
    import steps

    run = _run(plan)
    taken: dict[str, list[float]] = {}
    for _ in range(plan.repeats):
        for layout in steps.layouts(run):
            for kind, milliseconds in steps.milliseconds_by_kind(run, layout).items():
                taken.setdefault(f"{layout}: {kind}", []).append(milliseconds)
    return [row(name, "ms", values) for name, values in taken.items()]


#: By name: a plan and the time at which the process was asked for -> what JSON can hold.
STAGES: dict[str, Callable[[Plan, float], Any]] = {
    "describe": stage_describe,
    "speed": stage_speed,
    "steps": stage_steps,
    "startup": stage_startup,
    "accuracy": stage_accuracy,
    "scaling": stage_scaling,
}
