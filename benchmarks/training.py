"""Everything that training costs, against a bare loop, the usual way and the machine's ceiling.

python benchmarks/training.py
python benchmarks/training.py --json training.json --seeds 3
python benchmarks/training.py --quick --sections speed,startup

speed     images a second: this project, a bare loop, the usual way (contenders.py says what each does), and what the
          matrix products alone would allow (ceiling.py). Measured in turns, so that a busy machine hits all alike, and
          divided turn by turn.
startup   from the start of a process to its first step; then what a run costs beside its training steps.
memory    peak memory of one run, typed as a user types it.
accuracy  accuracy after every epoch of the default recipe, and the seconds until then.
analysis  reading, analysing and reporting 1,000 runs (analysis.py).
scaling   images a second by batch size, training-set size, epochs and threads; seconds by number of runs.
stacked   images a second of runs trained side by side as one batched model, by their number.

Each section runs in processes of its own. CIFAR-10 is looked for in $CLASS_SENSITIVITY_DATA, else in data/.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import analysis
from table import HEADER, Row, ratio, row

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it.

    Attributes:
        data: The name of the data set.
        repeats: How often each thing is measured.
        epochs: Epochs of a training in `speed`.
        images: Training images of one there, or None for all.
        seeds: Seeds of the default recipe in `accuracy`.
        recipe_epochs: Epochs there, or None for the recipe's.
        later: Runs after the first one in a process, in `startup`.
        little: Share of the records removed for a run with almost no training.
        short: Share removed for the runs of `scaling`.
        reductions: Shares removed there, for the dependence on the size of the training set.
        batch_sizes: Batch sizes there.
        epoch_numbers: Epochs there.
        threads: Numbers of threads there.
        sweep: Numbers of runs there.
        members: Numbers of runs side by side, in `stacked`.
        probe: Images on which the usual way's numbers of workers are compared.
        analysed: Runs to analyse.
        square: Side of the large matrix product.
    """

    data: str = "cifar10"
    repeats: int = 3
    epochs: int = 1
    images: int | None = None
    seeds: int = 1
    recipe_epochs: int | None = None
    later: int = 5
    little: float = 0.99
    short: float = 0.8
    reductions: tuple[float, ...] = (0.0, 0.5, 0.9)
    batch_sizes: tuple[int, ...] = (64, 128, 256, 512)
    epoch_numbers: tuple[int, ...] = (2, 4)
    threads: tuple[int, ...] = (1, 2)
    sweep: tuple[int, ...] = (1, 2, 4)
    members: tuple[int, ...] = (2, 4)
    probe: int = 5000
    analysed: int = 1000
    square: int = 2048


QUICK = Plan(
    data="digits",
    repeats=2,
    recipe_epochs=2,
    later=2,
    little=0.5,
    short=0.5,
    reductions=(0.0, 0.5),
    batch_sizes=(64, 128),
    epoch_numbers=(2,),
    sweep=(1, 2),
    members=(2,),
    probe=200,
    analysed=20,
    square=256,
)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Stages: what runs in a process of its own, and imports what it needs


def stage_describe(plan: Plan, begun: float) -> str:
    """Precision and threads that the default recipe comes to here."""
    import torch

    from class_sensitivity.device import choose_execution

    execution = choose_execution("auto", "auto", None)
    return (
        f"{execution.device.type} ({execution.name}), {execution.precision}, {execution.threads} threads a run "
        f"(torch's default: {torch.get_num_threads()})"
    )


def _config(plan: Plan, *overrides: str) -> dict[str, Any]:
    from contenders import composed

    return composed(f"data={plan.data}", *overrides)


def stage_speed(plan: Plan, begun: float) -> list[Row]:
    """Images a second of all contenders, in turns."""
    import contenders

    config = _config(plan, f"training.epochs={plan.epochs}")
    if plan.images:
        whole = len(contenders.arrays_of(config).train_labels)
        config["reduction"]["frac"] = max(0.0, 1 - plan.images / whole)
    # In a process of its own the usual way has the memory and threads that a script of its own would have.
    apart = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def usual(config: dict[str, Any], workers: int) -> contenders.Outcome:
        return apart.submit(contenders.usual, config, next(places), workers).result()

    with tempfile.TemporaryDirectory() as scratch, apart:
        places = (Path(scratch) / str(number) for number in range(10**6))
        workers = _better_workers(plan, config, places, usual)
        contestants: dict[str, Callable[[], contenders.Outcome]] = {
            "product": lambda: contenders.product(config, next(places)),
            "bare loop": lambda: contenders.bare(config),
            f"usual way, {workers} workers": lambda: usual(config, workers),
        }
        outcomes: dict[str, list[contenders.Outcome]] = {name: [] for name in contestants}
        ceilings: list[dict[str, float]] = []
        for turn in range(plan.repeats):
            for name, train in contestants.items():
                outcomes[name].append(train())
                latest = outcomes[name][-1]
                _say(f"  turn {turn + 1}: {name}: {latest.images / latest.seconds:,.0f} images/s")
            ceilings.append(_ceilings(plan, config))
    _refuse_other_work(outcomes["product"], outcomes["bare loop"])
    return _speed_rows(outcomes, ceilings, contenders.execution_of(config).precision)


def _better_workers(
    plan: Plan, config: dict[str, Any], places: Iterator[Path], usual: Callable[[dict[str, Any], int], Any]
) -> int:
    """Whether the usual way is faster with two workers or none; also the first run of each process."""
    import contenders

    whole = len(contenders.arrays_of(config).train_labels)
    small = config | {"reduction": config["reduction"] | {"frac": max(0.0, 1 - plan.probe / whole)}}
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


def _ceilings(plan: Plan, config: dict[str, Any]) -> dict[str, float]:
    """Rates of the matrix products, and the images a second that they would allow."""
    import ceiling
    import contenders
    import torch

    execution = contenders.execution_of(config)
    images = contenders.arrays_of(config).train_images
    layers = ceiling.layers_of(contenders.network_of(config), (images.shape[3], *images.shape[1:3]))
    multiply_adds = sum(layer.training for layer in layers)
    found: dict[str, float] = {
        "forward": sum(layer.forward for layer in layers) / 1e6,
        "training": multiply_adds / 1e6,
    }
    torch.set_num_threads(execution.threads)
    for name, dtype in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):
        square = ceiling.rate_of_square(plan.square, dtype, execution.device)
        own = ceiling.rate_of_layers(layers, config["training"]["batch_size"], dtype, execution.device)
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
    config = _config(plan, f"reduction.frac={plan.little}", "training.epochs=1", "training.test_every_epoch=false")
    configured = time.time()
    arrays_of(config)
    read = time.time()
    costs = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1 + plan.later):
            clock = Clock()
            costs.append(_costs(config, Path(scratch) / str(number), clock))
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


def _costs(config: dict[str, Any], runs: Path, clock: Any) -> dict[str, float]:
    """Seconds of one run by part; a part that the record names is called as there."""
    from contenders import timed_run

    record, wall = timed_run(config, runs, [clock])
    parts = dict(record.seconds)
    recorded, fit = parts.pop("total"), parts.pop("fit")
    return {
        **parts,
        "fit beside steps and checkpoint": fit - clock.steps - clock.checkpoint,
        "checkpoint": clock.checkpoint,
        "writing the record": wall - recorded,
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
            config, clock = _config(plan, f"seed={seed}", *epochs), Clock()
            record, whole = timed_run(config, Path(scratch), [clock])
            accuracies.append([epoch["test/acc"] for epoch in record.metrics["epochs"]])
            # The last epoch's accuracy is known when the test that follows it is over.
            seconds.append([*(end - clock.begun for end in clock.epoch_ends[:-1]), whole])
            _say(f"  seed {seed}: {accuracies[-1][-1]:.2%} in {seconds[-1][-1]:.1f} s")
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
    settings |= {f"{frac:.0%} of the records removed": (f"reduction.frac={frac}",) for frac in plan.reductions}
    possible = [number for number in plan.threads if number <= (os.cpu_count() or 1)]
    settings |= {f"{number} thread{'s' * (number > 1)}": (short, f"training.threads={number}") for number in possible}
    outcomes: dict[str, list[contenders.Outcome]] = {name: [] for name in settings}
    sweeps: dict[int, list[float]] = {number: [] for number in plan.sweep}
    with tempfile.TemporaryDirectory() as scratch:
        places = (Path(scratch) / str(number) for number in range(10**6))
        little = _config(plan, f"reduction.frac={plan.reductions[-1]}", "training.epochs=1")
        contenders.product(little, next(places))
        for turn in range(plan.repeats):
            _say(f"  turn {turn + 1} of {plan.repeats}")
            for name, overrides in settings.items():
                config = _config(plan, "training.epochs=1", *overrides)
                outcomes[name].append(contenders.product(config, next(places)))
            for number, seconds in sweeps.items():
                runs = [contenders.product(little | {"seed": 1 + seed}, next(places)) for seed in range(number)]
                seconds.append(sum(outcome.seconds for outcome in runs))
    rows = [
        row(f"{name}: fit alone", "images/s", [o.images / o.fit for o in taken]) for name, taken in outcomes.items()
    ]
    rows += [
        row(f"{name}: end to end", "images/s", [o.images / o.seconds for o in taken])
        for name, taken in outcomes.items()
    ]
    share = f"{plan.reductions[-1]:.0%} removed"
    return rows + [row(f"sweep of {number}, one epoch, {share}", "s", seconds) for number, seconds in sweeps.items()]


def stage_stacked(plan: Plan, begun: float) -> list[Row]:
    """Stacks of growing size, each beside as many runs one after the other."""
    from class_sensitivity.stacked.training import train_jobs

    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(plan.repeats):
            _say(f"  turn {turn + 1} of {plan.repeats}")
            for members in plan.members:
                for way, most in (("side by side", None), ("one after the other", 1)):
                    place = Path(scratch) / f"{turn}-{members}-{most}"
                    settings = (f"runs={place}", "training.epochs=1", f"reduction.frac={plan.reductions[-1]}")
                    configs = [_config(plan, *settings, f"seed={seed}") for seed in range(members)]
                    started = time.perf_counter()
                    if any(train_jobs(configs, most)):
                        raise RuntimeError(f"{members} runs {way} failed")
                    taken.setdefault(f"{members} runs {way}", []).append(time.perf_counter() - started)
    return [row(f"{name}, from start to end", "s", seconds) for name, seconds in taken.items()]


STAGES: dict[str, Callable[[Plan, float], Any]] = {
    "describe": stage_describe,
    "speed": stage_speed,
    "startup": stage_startup,
    "accuracy": stage_accuracy,
    "scaling": stage_scaling,
    "stacked": stage_stacked,
}


def _in_child(stage: str, plan: Plan) -> Any:
    """What a stage returns, run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        # Not standard output: libraries write there as they please.
        answer = Path(scratch) / "answer.json"
        task = json.dumps({"plan": asdict(plan), "begun": time.time(), "answer": str(answer)})
        analysis.in_a_process_of_its_own([__file__, "--stage", stage, task])
        return json.loads(answer.read_text())


def _as_child(stage: str, task: dict[str, Any]) -> None:
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in task["plan"].items()}
    found = STAGES[stage](Plan(**settings), task["begun"])
    Path(task["answer"]).write_text(json.dumps(found, default=asdict))


# Sections: what is asked for and printed together


def _rows_of(stage: str) -> Callable[[Plan], list[Row]]:
    return lambda plan: [row(**found) for found in _in_child(stage, plan)]


def startup(plan: Plan) -> list[Row]:
    """Fixed costs over several processes."""
    found: dict[str, list[dict[str, float]]] = {"start": [], "first": [], "later": []}
    for turn in range(plan.repeats):
        _say(f"  process {turn + 1} of {plan.repeats}")
        for key, costs in _in_child("startup", plan).items():
            found[key] += costs
    titles = {"start": "process start to first step", "first": "first run in a process", "later": "later run"}
    return [
        row(f"{titles[key]}: {part}", "s", [cost[part] for cost in costs])
        for key, costs in found.items()
        for part in costs[0]
    ]


def memory(plan: Plan) -> list[Row]:
    """One run by the command that a user types; more epochs take no more memory."""
    with tempfile.TemporaryDirectory() as scratch:
        words = [f"data={plan.data}", "data.download=false", f"training.epochs={plan.epochs}", f"runs={scratch}"]
        seconds, megabytes, _ = analysis.in_a_process_of_its_own(["train.py", *words])
    epochs = f"{plan.epochs} epoch{'s' * (plan.epochs > 1)}"
    return [
        row(f"train.py, {epochs}: peak memory", "MB", [megabytes]),
        row(f"train.py, {epochs}: from start to end", "s", [seconds]),
    ]


def analysed(plan: Plan) -> list[Row]:
    """What analysis.py measures of many runs."""
    found = analysis.measure(plan.analysed)
    named = [(name, *name.rpartition("_")[::2]) for name in analysis.COLUMNS if name != "runs"]
    units = {"mb": "MB", "s": "s"}
    return [
        row(f"{plan.analysed:,} runs: {what.replace('_', ' ')}", units[unit], [found[name]])
        for name, what, unit in named
    ]


@dataclass(frozen=True)
class Section:
    """A part of the table.

    Attributes:
        title: Its heading.
        measure: Plan -> rows.
        expected: Seconds that it takes in full and with --quick on 2 quiet cores; the estimate adapts to others.
    """

    title: str
    measure: Callable[[Plan], list[Row]]
    expected: tuple[float, float]


#: In the order in which they are measured; another section is another entry.
SECTIONS = {
    "speed": Section("Training speed", _rows_of("speed"), (200, 12)),
    "startup": Section("Seconds beside training", startup, (55, 14)),
    "memory": Section("Memory of one run", memory, (20, 7)),
    "accuracy": Section("Time to accuracy, default recipe", _rows_of("accuracy"), (35, 7)),
    "analysis": Section("Analysis of many runs", analysed, (80, 15)),
    "scaling": Section("Scaling", _rows_of("scaling"), (350, 12)),
    "stacked": Section("Runs side by side", _rows_of("stacked"), (120, 15)),
}


def _described(plan: Plan) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pytorch-lightning"))
    return f"{analysis.machine()}, {packages}\n{_in_child('describe', plan)}; {plan.data}"


def _refuse_absent_data(plan: Plan) -> None:
    root = Path(os.environ.get("CLASS_SENSITIVITY_DATA", "data"))
    if plan.data == "cifar10" and not (analysis.ROOT / root / "cifar-10-batches-py").is_dir():
        raise SystemExit(
            f"CIFAR-10 is not in {root}: set CLASS_SENSITIVITY_DATA to the folder that holds cifar-10-batches-py, "
            "fetch it with `python train.py training.epochs=1`, or use --quick."
        )


def _measured(plan: Plan, names: list[str], quick: bool) -> Iterator[tuple[str, list[Row], float]]:
    """Section after section, with an estimate of what is left that learns from what was."""
    expected = {name: SECTIONS[name].expected[quick] for name in names}
    begun, done = time.perf_counter(), 0.0
    for number, name in enumerate(names):
        pace = (time.perf_counter() - begun) / done if done else 1.0
        left = pace * sum(expected[rest] for rest in names[number:])
        _say(
            f"[{number + 1}/{len(names)}] {name}: about {pace * expected[name]:.0f} s; {left / 60:.1f} min left in all"
        )
        started = time.perf_counter()
        rows = SECTIONS[name].measure(plan)
        done += expected[name]
        yield name, rows, time.perf_counter() - started


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the bundled digits and small sizes: does it work?")
    parser.add_argument("--sections", default=",".join(SECTIONS), metavar="A,B", help="only these")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often each thing is measured")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of a training in speed")
    parser.add_argument("--images", type=int, metavar="N", help="training images in speed; default: all")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 1 to N in accuracy")
    parser.add_argument("--json", type=Path, metavar="PATH", help="all values, too")
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "TASK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.names = arguments.sections.split(",")
    if unknown := set(arguments.names) - set(SECTIONS):
        parser.error(f"there is no section {min(unknown)}; there are {', '.join(SECTIONS)}")
    for name in ("repeats", "epochs", "images", "seeds"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            parser.error(f"--{name} must be 1 or more")
    return arguments


def main() -> None:
    """Measures, prints a table as it grows, and writes it as JSON if asked to."""
    arguments = _arguments()
    if arguments.stage:
        stage, task = arguments.stage
        _as_child(stage, json.loads(task))
        return
    given = {name: getattr(arguments, name) for name in ("repeats", "epochs", "images", "seeds")}
    plan = replace(QUICK if arguments.quick else Plan(), **{key: value for key, value in given.items() if value})
    _refuse_absent_data(plan)
    result: dict[str, Any] = {"machine": _described(plan), "plan": asdict(plan), "sections": {}}
    print(result["machine"])
    print(HEADER)
    for name, rows, seconds in _measured(plan, arguments.names, arguments.quick):
        print(f"\n{SECTIONS[name].title} ({seconds:.0f} s)")
        print("\n".join(found.line() for found in rows), flush=True)
        result["sections"][name] = {"seconds": seconds, "rows": [found.as_json() for found in rows]}
        # After every section: a later one that fails must not cost what was measured.
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
