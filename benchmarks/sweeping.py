"""What a sweep costs: before (one run after the other) and now, beside busy processes, by its number of jobs.

python benchmarks/sweeping.py
python benchmarks/sweeping.py --data digits --sections launcher,busy

launcher   seconds of the card's command by launcher and threads, in turns; ratios turn by turn.
busy       the same beside one and two processes that never rest: the sweep should lose their share, and no more.
composing  seconds until 300 jobs are composed and checked; milliseconds for one by Hydra, and by what is in its place.
memory     private and shared memory of each worker while the sweep trains (Linux).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis import machine
from table import GrowingTable, Row, ratio, row

ROOT = Path(__file__).resolve().parents[1]

#: Launcher and threads: what a sweep did before, and what it does now.
WAYS = {
    "basic, 2 threads": ("hydra/launcher=basic", "training.threads=2"),
    "basic, 1 thread": ("hydra/launcher=basic", "training.threads=1"),
    "local (default)": (),
}


def sweep(*words: str, watch: bool = False) -> tuple[float, list[tuple[int, int]]]:
    """Seconds of a sweep into a directory of its own, and (private, shared) bytes of its workers at their most."""
    most: dict[int, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "train.py", "-m", *words, f"runs={scratch}"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        while process.poll() is None:
            time.sleep(0.5 if watch else 0.05)
            for worker in workers(process.pid) if watch else ():
                most[worker] = max(most.get(worker, (0, 0)), memory(worker))
        if process.returncode:
            raise SystemExit(f"train.py {' '.join(words)} failed")
        return time.perf_counter() - begun, [most[worker] for worker in sorted(most)]


def workers(parent: int) -> list[int]:
    """The processes below a process, as /proc knows them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                below = workers(int(stat.parent.name))
                found += below or [int(stat.parent.name)]
    return found


def memory(process: int) -> tuple[int, int]:
    """(private, shared) bytes of a process that are in memory."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return private, sizes["Rss"] - private


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that never rest."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def launcher(grid: tuple[str, ...], repeats: int, beside: int = 0) -> list[Row]:
    """Every way in turns, beside some busy processes."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with busy(beside):
        for _ in range(repeats):
            for name, words in WAYS.items():
                taken[name].append(sweep(*grid, *words)[0])
    what = f" beside {beside} busy" if beside else ""
    rows = {name: row(f"{name}{what}", "s", seconds) for name, seconds in taken.items()}
    before, now = rows["basic, 2 threads"], rows["local (default)"]
    return [*rows.values(), ratio(f"before / now{what}", before, now)]


def composing(repeats: int) -> list[Row]:
    """Jobs that are composed, checked and looked for, and not run."""
    seeds = ",".join(map(str, range(60)))
    words = ("-m", "data=digits", "status=true", "noise.frac=0,0.1,0.2,0.3,0.4", f"seed={seeds}")
    rows = []
    for title, grid in (("300 jobs", words), ("1 job", ("-m", "data=digits", "status=true"))):
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as scratch:
                command = [sys.executable, "train.py", *grid, f"runs={scratch}"]
                subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            seconds.append(time.perf_counter() - begun)
        rows.append(row(f"status=true of {title}", "s", seconds))
    return [*rows, *composing_one(repeats)]


def composing_one(repeats: int) -> list[Row]:
    """One job after another in this process, in turns."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from class_sensitivity import config as configuration

    configuration.register()
    before, now = [], []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra, loader = GlobalHydra.instance().hydra, GlobalHydra.instance().config_loader()
        sweep = hydra.compose_config("train", ["data=digits"], RunMode.MULTIRUN, with_log_configuration=False)
        for turn in range(repeats):
            jobs = [["data=digits", f"noise.frac={seed / 100}", f"seed={100 * turn + seed}"] for seed in range(20)]
            begun = time.perf_counter()
            for words in jobs:
                configuration.JobComposer(loader, sweep).settings(words)  # a new one knows nothing
            before.append(1000 * (time.perf_counter() - begun) / len(jobs))
            composer = configuration.JobComposer(loader, sweep)
            composer.settings(jobs[0])
            begun = time.perf_counter()
            for words in jobs:
                composer.settings(words)
            now.append(1000 * (time.perf_counter() - begun) / len(jobs))
    rows = [row("one job, by Hydra", "ms", before), row("one job, with what is known of others", "ms", now)]
    return [*rows, ratio("before / now, one job", *rows)]


def memory_of_workers(grid: tuple[str, ...]) -> list[Row]:
    """Of each worker, at its most."""
    _, found = sweep(*grid, watch=True)
    return [
        row("a worker's own memory", "MB", [own / 1e6 for own, _ in found if own > 50e6]),
        row("memory that it shares", "MB", [others / 1e6 for own, others in found if own > 50e6]),
    ]


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default="launcher,busy,composing,memory", metavar="A,B")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--seeds", type=int, default=4, metavar="N", help="runs of each sweep: two conditions each")
    parser.add_argument("--repeats", type=int, default=1, metavar="N")
    arguments = parser.parse_args()
    seeds = ",".join(map(str, range(1, arguments.seeds + 1)))
    grid = (f"data={arguments.data}", "data.download=false", "noise.frac=0,0.2", f"seed={seeds}")
    sections = {
        "launcher": lambda: launcher(grid, arguments.repeats),
        "busy": lambda: [line for beside in (1, 2) for line in launcher(grid, arguments.repeats, beside)],
        "composing": lambda: composing(arguments.repeats),
        "memory": lambda: memory_of_workers(grid),
    }
    chosen = arguments.sections.split(",")
    if unknown := set(chosen) - set(sections):
        parser.error(f"there is no section {min(unknown)}; there are {', '.join(sections)}")
    table = GrowingTable(machine())
    for name in chosen:
        table.show(sections[name]())


if __name__ == "__main__":
    main()
