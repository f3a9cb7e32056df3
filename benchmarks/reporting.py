"""Seconds, memory and size of a whole report: of real runs or of many classes, and what several processes are worth.

python benchmarks/reporting.py
python benchmarks/reporting.py --classes 100 1000 --runs RUNS --repeats 3 --json reporting.json

Made-up studies have six runs: a baseline, 20 % noise and 20 % reduction, two seeds each, 10,000 test images. Each
report is made in a process of its own, on one core and on all of them by turns (the affinity of the process says
which), so that their ratio is one of the same minutes. Processor seconds are those of all processes together, the peak
is that of the largest one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from analysis import ROOT, machine, megabytes
from table import GrowingTable, Row, ratio, row

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.

TEST_IMAGES = 10_000


def write(classes: int, root: Path) -> None:
    """Writes the runs of a made-up study of so many classes."""
    sys.path.insert(0, str(ROOT / "tests"))  # the builders of the tests
    import numpy as np
    from support.synthetic import World, shares, write_study

    from class_sensitivity import BASELINE, Condition
    from class_sensitivity.config import register

    register()
    rng = np.random.default_rng(0)
    world = World(tuple(f"class {c:03d}" for c in range(classes)), TEST_IMAGES // classes, train_size=50 * classes)
    recall, wrong = rng.uniform(0.4, 0.9, classes), rng.exponential(1, (classes, classes)) ** 3
    plan = {BASELINE: shares(recall, wrong)}
    plan[Condition(noise_kind="shuffle", noise_frac=0.2)] = shares(0.9 * recall, wrong)
    plan[Condition(reduction_frac=0.2)] = shares(0.95 * recall, wrong)
    write_study(root, world, plan, (1, 2))


def report(runs: Path, out: Path, cores: set[int]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak megabytes of `analyze.py` on some cores."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        begun = time.perf_counter()
        command = [sys.executable, "analyze.py", f"runs={runs}", f"out={out}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, usual)
    _, status, usage = os.wait4(process.pid, 0)  # of the processes that it waited for, too
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"analyze.py runs={runs} failed")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, megabytes(usage)


def measure(name: str, runs: Path, repeats: int) -> list[Row]:
    """Everything about the report of some runs."""
    every = os.sched_getaffinity(0)
    one, several = [], []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "report"
        for _ in range(repeats):
            one.append(report(runs, out, {min(every)}))
            several.append(report(runs, out, every))
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    alone, (seconds, busy, peak) = [each[0] for each in one], zip(*several, strict=True)
    rows = [
        row(f"{name}: report, one core", "s", alone),
        row(f"{name}: report, {len(every)} cores", "s", seconds),
        row(f"{name}: processor time, {len(every)} cores", "s", busy),
        row(f"{name}: peak memory of its largest process", "MB", peak),
        row(f"{name}: size of the report", "MB", [size]),
    ]
    return [*rows, ratio(f"{name}: one core / {len(every)} cores", rows[0], rows[1])]


def main() -> None:
    """Measures, prints a table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="*", default=[100, 1000], metavar="K")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], metavar="DIRECTORY", help="runs that are there")
    parser.add_argument("--repeats", type=int, default=1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--write", nargs=2, metavar=("CLASSES", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(int(arguments.write[0]), Path(arguments.write[1]))
        return
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("This system does not let a process be kept to some cores; measure on Linux.")
    os.chdir(ROOT)
    table = GrowingTable(machine())
    for runs in arguments.runs:
        table.show(measure(runs.name, runs.resolve(), arguments.repeats))
    for classes in arguments.classes:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch) / "runs"
            command = [sys.executable, __file__, "--write", str(classes), str(root)]
            subprocess.run(command, check=True)
            table.show(measure(f"{classes:,} classes", root, arguments.repeats))
    if arguments.json:
        table.write(arguments.json)


if __name__ == "__main__":
    main()
