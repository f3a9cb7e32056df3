"""Every launcher gives the same bits, and loses nothing when a run fails, is killed or is preempted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.commands import ROOT, Command
from support.same_bits import assert_same_runs

from class_sensitivity.runs import lease
from class_sensitivity.runs.directory import read_record

#: Launchers and the plugins behind them.
PLUGINS = {
    "local": "class_sensitivity_launchers",
    "basic": "core_plugins",
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}

#: Long enough to be caught while it trains.
RECIPE = ("-m", "data=digits", "training.epochs=4", "training.batch_size=32")
#: More runs than are done at once.
GRID = (*RECIPE, "training.threads=1", "noise.frac=0,0.1,0.2", "seed=1")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="sends signals")]


def installed(launcher: str) -> bool:
    return launcher in ("local", "basic") or find_spec(f"hydra_plugins.{PLUGINS[launcher]}") is not None


launchers = pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason=f"{name} is not installed"))
        for name in PLUGINS
    ],
)


def words_for(launcher: str) -> list[str]:
    # One at a time would stay in the process of the sweep; two are two processes, on any machine.
    two = {"joblib": ["hydra.launcher.n_jobs=2"], "local": ["hydra.launcher.at_once=2"]}
    # The first is the one that nobody has to ask for.
    return [*([f"hydra/launcher={launcher}"] if launcher != "local" else []), *two.get(launcher, [])]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The grid as single commands do it, one run after the other."""
    command = Command(tmp_path_factory.mktemp("reference") / "runs")
    done = command(*GRID, "hydra/launcher=basic")
    assert (done.rc, done.stderr) == (0, "")
    assert len(done.results()) == 3
    return command.runs


def assert_same_bits(runs: Path, reference: Path, number: int) -> None:
    results = list(runs.rglob("result.json"))
    assert len(results) == number
    assert_same_runs(runs, reference, all_of_them=False)
    for result in results:
        assert read_record(result.parent, arrays=()).environment.threads == 1


def caught(runs: Path, process: subprocess.Popen[str]) -> tuple[Path, int]:
    """A run that has trained an epoch, and the process that does it."""
    deadline = time.monotonic() + 300
    while True:
        for checkpoint in runs.rglob("last.ckpt"):
            owner = lease.owner(checkpoint.parent)
            if owner is not None and owner.alive:
                return checkpoint.parent, owner.pid
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing trained in five minutes"
        time.sleep(0.01)


@launchers
def test_a_killed_process_costs_nothing_and_every_launcher_gives_the_same_bits(launcher, command, reference):
    words = (*GRID, *words_for(launcher))
    process = command.start(*words, OMP_NUM_THREADS="1")
    directory, pid = caught(command.runs, process)
    assert (pid == process.pid) == (launcher == "basic")
    os.kill(pid, signal.SIGKILL)
    done = command.finish(process)
    if launcher == "basic":  # it was the sweep itself
        assert done.rc == -signal.SIGKILL
        complete = len(done.results())
        assert complete < 3
        done = command(*words, OMP_NUM_THREADS="1")
        assert done.stdout.splitlines()[0] == f"3 runs: {complete} complete, running {3 - complete}"
    else:
        # joblib ends its other workers when one is killed.
        told = re.findall(r"^(.*) seed (\d): its process was lost \(\w+\); trying once more$", done.stdout, re.M)
        assert (directory.parent.name, directory.name.removeprefix("seed-")) in told
        assert len(told) == 1 or launcher == "joblib"
    assert (done.rc, done.stderr) == (0, "")
    assert "[3/3]" in done.stdout or launcher == "basic"
    assert_same_bits(command.runs, reference, 3)
    assert not list(command.runs.rglob("failed.json"))
    assert not list(command.runs.rglob(lease.MARKER))

    before = {path: path.stat().st_mtime_ns for path in done.results()}
    again = command(*words)
    assert (again.rc, again.stderr) == (0, "")
    assert again.stdout.splitlines() == ["3 runs: 3 complete, running 0"]
    assert {path: path.stat().st_mtime_ns for path in again.results()} == before


@launchers
def test_a_run_that_fails_is_named_and_the_others_go_on(launcher, command, forked):
    # What starts no program of its own needs no process that has to import everything.
    command = forked if launcher in ("local", "basic") else command
    threads = min(2, os.cpu_count() or 1)  # Ray waits for ever for more than there are
    small = ("-m", "data=digits", "training.epochs=1", "training.batch_size=128", "noise.frac=0.2", "seed=0")
    before = set(ROOT.iterdir())
    # The sweep decides, not the process in which a run lands.
    done = command(*small, "reduction.frac=0,0.999", f"training.threads={threads}", *words_for(launcher))
    assert done.rc == 1
    assert "Traceback" not in done.stdout + done.stderr
    first, summary = done.stderr.splitlines()
    assert first.startswith("error: reduction.frac=0.999 is too high")
    assert "reduction.frac=0.999" in first.partition("(run: ")[2]
    assert summary.startswith("error: 1 of 2 runs failed")
    assert "failed run" in done.stdout
    (result,) = done.results()
    assert json.loads(result.read_text())["environment"]["threads"] == threads
    (failure,) = done.runs.rglob("failed.json")
    assert "reduction.frac=0.999" in failure.read_text()
    assert failure.parent != result.parent
    assert set(ROOT.iterdir()) - before <= {ROOT / "__pycache__"}, "Hydra or the launcher left something behind"


# The default launcher


def process_names(parent: int) -> dict[int, str]:
    """The processes that a process started, and those that these started."""
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, name, rest = re.fullmatch(r"(\d+) \((.*)\) (.*)", stat.read_text().strip()).groups()
            state, ppid = rest.split()[:2]
            if int(ppid) == parent and state != "Z":
                found |= {int(pid): name} | process_names(int(pid))
    return found


def assert_all_end(processes: Iterable[int]) -> None:
    deadline = time.monotonic() + 20
    while alive := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@linux
@pytest.mark.parametrize("whom", ["the terminal", "the sweep alone"])
def test_ctrl_c_ends_all_runs_in_order_and_the_same_command_goes_on(whom, command, reference):
    words = (*GRID, *words_for("local"))
    process = command.start(*words, start_new_session=True)
    caught(command.runs, process)
    started = process_names(process.pid)
    assert len(started) >= 3  # two workers, and what they are forked from
    if whom == "the terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    done = command.finish(process)
    assert done.rc == 130
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Interrupted")
    assert_all_end(started)
    assert not list(command.runs.rglob(lease.MARKER))
    assert not list(command.runs.rglob("failed.json"))
    assert len(list(command.runs.rglob("last.ckpt"))) >= 1
    again = command(*words)
    assert (again.rc, again.stderr) == (0, "")
    assert_same_bits(command.runs, reference, 3)


@linux
def test_the_workers_of_a_killed_sweep_end_with_it_and_the_same_command_goes_on(command, reference):
    words = (*GRID, *words_for("local"))
    process = command.start(*words)
    caught(command.runs, process)
    started = process_names(process.pid)
    process.kill()
    complete = len(command.finish(process).results())
    assert_all_end(started)
    again = command(*words)
    assert (again.rc, again.stderr) == (0, "")
    assert again.stdout.splitlines()[0] == f"3 runs: {complete} complete, running {3 - complete}"
    assert_same_bits(command.runs, reference, 3)


def test_a_run_of_a_sweep_is_the_run_alone(commands, reference, tmp_path):
    alone = commands(tmp_path / "alone")
    done = alone(*RECIPE[1:], "noise.frac=0.2", "seed=1")
    assert (done.rc, done.stderr) == (0, "")
    assert_same_runs(alone.runs, reference, all_of_them=False)


def test_a_damaged_worker_is_replaced_every_time(command, reference):
    # Process after process is killed, each while it trains. A run that loses two has failed, and the next call goes on.
    words = (*GRID, *words_for("local"))
    process = command.start(*words)
    killed = []
    for _ in range(3):
        directory, pid = caught(command.runs, process)
        killed.append(directory)
        os.kill(pid, signal.SIGKILL)
        while (owner := lease.owner(directory)) is not None and owner.alive:
            time.sleep(0.01)
        shutil.rmtree(directory)  # its checkpoint would be found again
    done = command.finish(process)
    twice = {directory for directory in killed if killed.count(directory) > 1}
    assert done.rc == bool(twice)
    again = command(*words)
    assert (again.rc, again.stderr) == (0, "")
    assert_same_bits(command.runs, reference, 3)


@pytest.mark.skipif(not installed("submitit_local"), reason="submitit is not installed")
def test_a_preempted_run_goes_on_from_its_last_epoch(command, reference):
    one = (*RECIPE, "training.threads=1", "noise.frac=0", "seed=1", "hydra/launcher=submitit_local")
    process = command.start(*one, OMP_NUM_THREADS="1")
    directory, pid = caught(command.runs, process)
    os.kill(pid, signal.SIGUSR2)
    done = command.finish(process)
    assert (done.rc, done.stderr) == (0, "")
    said = [line.partition("accuracy")[0].strip() for line in done.stdout.splitlines()]
    assert said == ["1 run: 0 complete, running 1", "[1/1] baseline seed 1"], "it was not one owner's"
    log = "".join(path.read_text() for path in (command.runs / ".submitit").rglob("*_log.*"))
    assert len(re.findall("Requeued job", log)) == 1
    # A run that begins anew leaves one.
    assert len(list(directory.glob("events.out.*"))) == 2
    assert_same_bits(command.runs, reference, 1)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm", "ray"])
def test_a_launcher_that_is_not_installed_is_one_sentence(launcher, command, tmp_path):
    extra = launcher.partition("_")[0]
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import pkgutil\n"
        "from importlib.machinery import FileFinder\n"
        "find, walk = FileFinder.find_spec, pkgutil.iter_modules\n"
        "def find_others(self, name, *rest):\n"
        f"    return None if 'hydra_{extra}' in name else find(self, name, *rest)\n"
        "def walk_others(*args):\n"
        f"    return (found for found in walk(*args) if 'hydra_{extra}' not in found.name)\n"
        "FileFinder.find_spec, pkgutil.iter_modules = find_others, walk_others\n"
    )
    done = command("-m", "data=digits", "seed=0,1", f"hydra/launcher={launcher}", PYTHONPATH=str(hidden))
    assert done.rc == 1
    (line,) = done.stderr.splitlines()
    assert line == (f'error: hydra/launcher={launcher} is not installed: pip install -e ".[{extra}]" adds it.')
    assert not done.runs.exists()


LAUNCHING = re.compile(r"^import time:.*\| +(torch|joblib\.externals\.loky\.process_executor|submitit|ray)$", re.M)


@launchers
@pytest.mark.parametrize("arguments", [("--cfg", "all"), ("-m", "status=true")], ids=" ".join)
def test_what_trains_nothing_starts_no_launcher(launcher, arguments, command):
    done = command(*arguments, "data=digits", f"hydra/launcher={launcher}", python=("-X", "importtime"))
    assert done.rc == 0
    assert "import time:" in done.stderr
    assert set(LAUNCHING.findall(done.stderr)) <= {"joblib.externals.loky.process_executor"}


def test_cfg_with_m_is_one_sentence(command):
    done = command("-m", "--cfg", "job", "data=digits", "seed=0,1")
    assert done.rc == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "--cfg" in line
