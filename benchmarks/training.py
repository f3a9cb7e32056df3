"""Everything that training costs, against a bare loop, the usual way and the machine's ceiling.

python benchmarks/training.py
python benchmarks/training.py --json training.json --seeds 3
python benchmarks/training.py --quick --sections speed,startup

speed     images a second: this project, a bare loop, the usual way (contenders.py says what each does), and what the
          matrix products alone would allow (ceiling.py). Measured in turns, so that a busy machine hits all alike, and
          divided turn by turn.
steps     milliseconds of a training step on a CPU by kind of operation, as trained and in channels_last layout.
startup   from the command `train.py` to its first training step, by the clock and in CPU seconds, which
          say more on a busy machine; the same in parts; then what a run costs beside its training steps.
memory    peak memory of one run, typed as a user types it.
accuracy  accuracy after every epoch of the default recipe, and the seconds until then.
analysis  reading, analysing and reporting 1,000 runs (analysis.py).
scaling   images a second by batch size, training-set size, epochs and threads; seconds by number of runs.

Each section runs in processes of its own. CIFAR-10 is looked for in $CLASS_SENSITIVITY_DATA, else in data/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import analysis
from plan import QUICK, Plan
from stages import STAGES, say
from table import HEADER, Row, row

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.


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
    found: dict[str, list[dict[str, float]]] = {"command": [], "start": [], "first": [], "later": []}
    for turn in range(plan.repeats):
        say(f"  process {turn + 1} of {plan.repeats}")
        found["command"].append(_to_first_step(plan))
        for key, costs in _in_child("startup", plan).items():
            found[key] += costs
    titles = {
        "command": "train.py to its first step",
        "start": "process start to first step",
        "first": "first run in a process",
        "later": "later run",
    }
    return [
        row(f"{titles[key]}: {part}", "s", [cost[part] for cost in costs])
        for key, costs in found.items()
        for part in costs[0]
    ]


def _to_first_step(plan: Plan) -> dict[str, float]:
    """Seconds from the command that a user types to the end of its first training step."""
    import first_step

    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer"
        words = [f"data={plan.data}", "data.download=false", f"runs={scratch}", *first_step.WORDS]
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {first_step.ANSWER: str(answer), "PYTHONPATH": paths}
        begun = time.time()
        subprocess.run([sys.executable, "train.py", *words], cwd=analysis.ROOT, env=environment, check=True)
        ended, processor = json.loads(answer.read_text())
    return {"by the clock": ended - begun, "CPU seconds": processor}


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
    "steps": Section("Where the time of a step goes", _rows_of("steps"), (20, 7)),
    "startup": Section("Seconds beside training", startup, (55, 14)),
    "memory": Section("Memory of one run", memory, (20, 7)),
    "accuracy": Section("Time to accuracy, default recipe", _rows_of("accuracy"), (35, 7)),
    "analysis": Section("Analysis of many runs", analysed, (80, 15)),
    "scaling": Section("Scaling", _rows_of("scaling"), (350, 12)),
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
        say(f"[{number + 1}/{len(names)}] {name}: about {pace * expected[name]:.0f} s; {left / 60:.1f} min left in all")
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
