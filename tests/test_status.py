"""Every state of a run, read from its directory, and the table of them."""

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from support.commands import IMPORTS_TORCH, SMALL
from support.leases import left_by_killed_process, posix, write_marker
from support.records import at, finish

from class_sensitivity.errors import RunError
from class_sensitivity.runs import directory as runs
from class_sensitivity.runs import lease
from class_sensitivity.runs.run import Run
from class_sensitivity.runs.status import RunStatus, State, read_status
from class_sensitivity.settings import TrainSettings
from class_sensitivity.sweep import counted_runs, print_status


@pytest.fixture(scope="module")
def settings(compose_settings) -> TrainSettings:
    return compose_settings()


@pytest.fixture
def run(settings, tmp_path) -> Run:
    return at(settings, tmp_path)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_what_was_never_begun_is_missing(run):
    assert read_status(run.directory) == RunStatus(State.MISSING)
    run.directory.mkdir(parents=True)
    assert read_status(run.directory) == RunStatus(State.MISSING)
    (run.directory / "last.ckpt").touch()  # stopped in order
    assert read_status(run.directory) == RunStatus(State.MISSING)


def test_a_record_is_complete(run):
    status = read_status(finish(run))
    assert status.state == State.COMPLETE
    assert re.fullmatch(r"accuracy \d+\.\d\d%  1\.2 s", status.detail)


def test_a_run_whose_owner_is_alive_is_running_whatever_else_is_there(run):
    directory = finish(run)
    runs.write_failure(directory, RunError("of before"))
    with lease.acquire(directory):
        status = read_status(directory)
        assert status.state == State.RUNNING
        assert f"process {os.getpid()} on " in status.detail
    assert read_status(directory).state == State.COMPLETE


@posix
def test_a_run_whose_owner_was_killed_is_stale(run):
    pid = left_by_killed_process(run.directory)
    status = read_status(run.directory)
    assert status.state == State.STALE
    assert f"process {pid} on " in status.detail
    finish(run)  # killed after it wrote the record
    assert read_status(run.directory).state == State.COMPLETE


def test_a_run_of_another_machine_is_stale_after_a_while(run):
    write_marker(run.directory, silent_s=lease.LEASE_S - 30)
    assert read_status(run.directory).state == State.RUNNING
    write_marker(run.directory, silent_s=lease.LEASE_S + 1)
    assert read_status(run.directory).state == State.STALE


@pytest.mark.parametrize("reason", [RunError("The disk, is [full]."), ValueError("a defect")])
def test_a_failure_is_failed_with_its_reason(run, reason):
    assert runs.write_failure(run.directory, reason)
    status = read_status(run.directory)
    assert status.state == State.FAILED
    assert str(reason) in status.detail
    values = json.loads((run.directory / "failed.json").read_text())
    assert values["kind"] == type(reason).__name__
    assert (values["traceback"] is None) == isinstance(reason, RunError)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_failure_that_cannot_be_read_is_a_failure(run, content):
    run.directory.mkdir(parents=True)
    (run.directory / "failed.json").write_bytes(content)
    status = read_status(run.directory)
    assert status.state == State.FAILED
    assert "failed.json cannot be read" in status.detail


def test_a_failure_that_cannot_be_written_is_no_further_error(run):
    run.directory.parent.mkdir(parents=True)
    run.directory.write_text("in the way")
    assert not runs.write_failure(run.directory, RunError("the reason"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "result cut": lambda directory: os.truncate(directory / "result.json", 100),
    "arrays gone": lambda directory: (directory / "arrays.npz").unlink(),
    "arrays cut": lambda directory: os.truncate(directory / "arrays.npz", 100),
    "result a link to nowhere": lambda directory: (
        (directory / "result.json").unlink(),
        (directory / "result.json").symlink_to("nowhere"),
    ),
    "a digit changed": lambda directory: (directory / "result.json").write_text(
        (directory / "result.json").read_text().replace('"steps": 3', '"steps": 4')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_record_that_cannot_be_trusted_is_damaged(run, damage):
    directory = finish(run)
    before = snapshot(directory)
    damage(directory)
    assert snapshot(directory) != before
    status = read_status(directory)
    assert status.state == State.DAMAGED
    assert str(directory) in status.detail


# The table


@posix
def test_the_table_names_every_state_counts_them_and_changes_nothing(settings, tmp_path):
    asked = [at(settings, tmp_path, seed=seed) for seed in range(1, 8)]
    for run in asked[:3]:
        finish(run)
    os.truncate(asked[2].directory / "result.json", 10)
    left_by_killed_process(asked[3].directory)
    runs.write_failure(asked[4].directory, RunError("No [space] left"))
    console = Console(file=io.StringIO(), width=300)
    with lease.acquire(asked[5].directory):
        before = snapshot(tmp_path)
        print_status(asked, console)
        assert snapshot(tmp_path) == before
    lines = console.file.getvalue().splitlines()
    assert lines[0].split() == ["state", "run", "detail"]
    states = [line.split()[0] for line in lines[1:-1]]
    assert states == ["complete", "complete", "damaged", "stale", "failed", "running", "missing"]
    assert [f"baseline seed {seed} " in line + " " for seed, line in enumerate(lines[1:-1], 1)] == [True] * 7
    assert "No [space] left" in lines[5]
    assert lines[-1] == "7 runs: 2 complete, 1 running, 1 stale, 1 failed, 1 damaged, 1 missing"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((*SMALL, "seed=3"), 1),
        (("-m", *SMALL, "noise.frac=0,0.1", "seed=1,2"), 4),
        (("-m", "experiment=label_noise", "seed=1"), 7),
    ],
    ids=["one", "grid", "experiment"],
)
def test_asking_for_the_status_runs_nothing_and_does_not_wait_for_torch(command, arguments, count):
    done = command(*arguments, "status=true", python=("-X", "importtime"))
    assert done.rc == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{counted_runs(count)}: {count} missing"
    assert not IMPORTS_TORCH.search(done.stderr)
    assert not done.runs.exists()
