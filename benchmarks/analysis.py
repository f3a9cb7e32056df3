"""Seconds and memory of the analysis, by number of runs.

python benchmarks/analysis.py
python benchmarks/analysis.py --runs 20 200 1000 --json analysis.json

Makes run directories like those of CIFAR-10 (10 classes, 10,000 test images, 50,000 training labels) with made-up
predictions, then times loading, statistics and tables, and the whole of analyze.py, each in a process of its own, so
that one stage's memory is not counted for another.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.

ROOT = Path(__file__).resolve().parents[1]
LEVELS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.8)
SEEDS_OF_A_STUDY = 5


def stage_write(root: Path, out: Path, number: int) -> dict[str, float]:
    """Writes this many runs: a baseline, then noise and reduction by turns, five seeds or as many as it takes."""
    import numpy as np

    sys.path.insert(0, str(ROOT / "tests"))  # the builders of the tests
    from support.synthetic import CIFAR10, World, shares, write_run

    from class_sensitivity import BASELINE, Condition

    begun = time.perf_counter()
    world = World(CIFAR10, 1000, train_size=50_000)
    base = np.array([0.84, 0.9, 0.72, 0.62, 0.79, 0.7, 0.86, 0.84, 0.9, 0.88])
    cost = np.array([0.4, 0.2, 0.9, 0.8, 0.6, 0.6, 0.3, 0.4, 0.2, 0.2])
    plan = {BASELINE: shares(base)}
    for level in LEVELS:
        plan[Condition(noise_kind="shuffle", noise_frac=level)] = shares(base - 0.7 * cost * level)
        plan[Condition(reduction_frac=level)] = shares(base - 0.4 * cost * level**2)
    seeds = max(SEEDS_OF_A_STUDY, -(-number // len(plan)))
    wanted = [(condition, seed) for condition in plan for seed in range(1, seeds + 1)][:number]
    for condition, seed in wanted:
        write_run(root, world, plan[condition], condition, seed)
    return {"write_s": time.perf_counter() - begun}


def stage_load(root: Path, out: Path, number: int) -> dict[str, float]:
    """Reads all runs."""
    from class_sensitivity.analysis.loading import load_runs

    begun = time.perf_counter()
    load_runs(root)
    return {"load_s": time.perf_counter() - begun}


def stage_statistics(root: Path, out: Path, number: int) -> dict[str, float]:
    """Reads all runs and computes everything that the report shows; then the claims and the tables."""
    from class_sensitivity.analysis.claims.cifar10 import CLAIMS
    from class_sensitivity.analysis.loading import load_runs
    from class_sensitivity.analysis.sensitivity import analyse
    from class_sensitivity.report.tables import write_tables

    (study,) = load_runs(root)
    begun = time.perf_counter()
    results = analyse(study)
    analysed = time.perf_counter()
    verdicts = CLAIMS.judge(results)
    judged = time.perf_counter()
    out.mkdir()
    write_tables([results], [verdicts], out)
    return {"analyse_s": analysed - begun, "claims_s": judged - analysed, "tables_s": time.perf_counter() - judged}


STAGES: dict[str, Callable[[Path, Path, int], dict[str, float]]] = {
    "write": stage_write,
    "load": stage_load,
    "statistics": stage_statistics,
}


def megabytes(usage: resource.struct_rusage) -> float:
    """The peak memory of a process that ended; the system counts in kilobytes, macOS in bytes."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def in_a_process_of_its_own(arguments: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak megabytes and standard output of a command."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        output.seek(0)
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{' '.join(arguments)} failed")
        return seconds, megabytes(usage), output.read()


def measure(number: int) -> dict[str, Any]:
    """Everything about one number of runs."""
    with tempfile.TemporaryDirectory() as scratch:
        root, place = Path(scratch) / "runs", Path(scratch)
        row: dict[str, Any] = {"runs": number}
        for stage in STAGES:
            arguments = [__file__, "--stage", stage, str(root), str(place / stage), str(number)]
            _, row[f"{stage}_peak_mb"], output = in_a_process_of_its_own(arguments)
            row |= json.loads(output)
        row["disk_mb"] = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6
        row["all_s"], row["all_peak_mb"], _ = in_a_process_of_its_own(
            ["analyze.py", f"runs={root}", f"out={place / 'report'}"]
        )
        return row


def machine() -> str:
    """The processor, its cores and the versions that matter, in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{processor}, {os.cpu_count()} cores{load}, {platform.system()}, Python {platform.python_version()}, "
        f"NumPy {version('numpy')}"
    )


COLUMNS = {
    "runs": "{:.0f}",
    "disk_mb": "{:.0f}",
    "load_s": "{:.2f}",
    "load_peak_mb": "{:.0f}",
    "analyse_s": "{:.2f}",
    "claims_s": "{:.2f}",
    "tables_s": "{:.2f}",
    "statistics_peak_mb": "{:.0f}",
    "all_s": "{:.1f}",
    "all_peak_mb": "{:.0f}",
}


def main() -> None:
    """Measures, prints a table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 200], metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--stage", nargs=4, metavar=("STAGE", "RUNS", "OUT", "NUMBER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage, root, out, number = arguments.stage
        print(json.dumps(STAGES[stage](Path(root), Path(out), int(number))))
        return
    described = machine()
    print(described)
    print("  ".join(COLUMNS))
    rows = []
    for number in arguments.runs:
        rows.append(measure(number))
        cells = (text.format(rows[-1][name]).rjust(len(name)) for name, text in COLUMNS.items())
        print("  ".join(cells), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": described, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
