"""What the sweeper makes of conditions, of launchers that fail and of runs that other processes do."""

import re
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.commands import SMALL, Finished, assert_one_sentence
from support.leases import left_by_killed_process, posix
from support.records import finish
from support.sweeps import make_job, printed, progress_of

from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.runs import lease
from class_sensitivity.runs.status import State
from class_sensitivity.settings import TrainSettings
from class_sensitivity.sweep import SweepProgress
from hydra_plugins.class_sensitivity_sweeper import study_sweeper
from hydra_plugins.class_sensitivity_sweeper.study_sweeper import StudySweeper

#: What a launcher does with the words of its jobs: it returns a value for each, or raises.
Behaviour = Callable[[list[str]], Any]


class Launcher:
    """Behaves as it is told, launch after launch."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.launched: list[list[str]] = []

    def launch(self, overrides: list[list[str]], initial_job_idx: int) -> list[Any]:
        words = [job[0] for job in overrides]
        assert initial_job_idx == sum(map(len, self.launched))
        self.launched.append(words)
        return [SimpleNamespace(_return_value=value) for value in self.behaviours.pop(0)(words)]


@pytest.fixture
def launch(monkeypatch) -> Callable[..., Launcher]:
    """Sweeps the jobs of a progress with a launcher that behaves as given, each behaviour once."""
    monkeypatch.setattr(study_sweeper, "_POLL_S", 0.05)

    def launch(progress: SweepProgress, *behaviours: Behaviour) -> Launcher:
        sweeper = StudySweeper({})
        sweeper.launcher = Launcher(*behaviours)
        sweeper._launch_until_ended(progress.jobs, progress)
        assert sweeper.launcher.behaviours == []
        return sweeper.launcher

    return launch


@pytest.fixture(scope="module")
def settings(compose_settings) -> TrainSettings:
    return compose_settings()


@posix
def test_a_run_whose_process_was_killed_is_tried_once_more_and_then_given_up(settings, tmp_path, launch, capsys):
    jobs = [make_job(settings, tmp_path, seed) for seed in (1, 2, 3)]
    progress = progress_of(*jobs)

    def crash(words: list[str]) -> Any:
        finish(jobs[0].run)
        left_by_killed_process(jobs[1].directory)
        raise RuntimeError("a worker died")

    def crash_again(words: list[str]) -> Any:
        finish(jobs[2].run)
        raise RuntimeError("a worker died")

    launcher = launch(progress, crash, crash_again)
    assert launcher.launched == [["seed=1", "seed=2", "seed=3"], ["seed=2", "seed=3"]]
    states = [progress.ended[job.directory].state for job in jobs]
    assert states == [State.COMPLETE, State.FAILED, State.COMPLETE]
    assert "lost twice (RuntimeError: a worker died)" in capsys.readouterr().err
    assert any("trying once more" in line for line in printed(progress))


def test_a_launcher_that_does_not_work_is_not_tried_for_ever(settings, tmp_path, launch, capsys):
    progress = progress_of(*[make_job(settings, tmp_path, seed) for seed in (1, 2)])

    def refuse(words: list[str]) -> Any:
        raise OSError("no such queue")

    launch(progress, refuse, refuse)
    assert [status.state for status in progress.ended.values()] == [State.FAILED] * 2
    assert capsys.readouterr().err.count("no such queue") == 2


def test_a_failure_that_could_leave_nothing_is_reported_all_the_same(settings, tmp_path, launch, capsys):
    progress = progress_of(*[make_job(settings, tmp_path, seed) for seed in (1, 2)])
    launch(progress, lambda words: [RunError("Nothing can be written."), ValueError("a defect")])
    written = capsys.readouterr().err
    assert "error: Nothing can be written. (run: seed=1)" in written
    assert "error: a defect (run: seed=2)" in written
    assert "ValueError: a defect" in written
    assert progress.print_failures() == 2


def test_runs_of_other_processes_are_waited_for_and_taken_over_when_they_are_left(settings, tmp_path, launch):
    jobs = [make_job(settings, tmp_path, seed) for seed in (1, 2)]
    progress = progress_of(*jobs)
    other = lease.acquire(jobs[0].directory)
    other.__enter__()

    def busy(words: list[str]) -> Any:
        finish(jobs[1].run)
        threading.Timer(0.5, lambda: other.__exit__(None, None, None)).start()
        return [None for _ in words]

    def last(words: list[str]) -> Any:
        finish(jobs[0].run)
        return [None]

    launcher = launch(progress, busy, last)
    assert launcher.launched == [["seed=2"], ["seed=1"]]
    assert any(line.startswith("waiting for runs that other processes are doing: 1") for line in printed(progress))


def test_a_busy_run_is_no_failure(settings, tmp_path, launch):
    job = make_job(settings, tmp_path, 1)
    progress = progress_of(job)

    def done_by_another(words: list[str]) -> Any:
        finish(job.run)
        return [BusyError("by another")]

    launch(progress, lambda words: [BusyError("by another")], done_by_another)
    assert progress.ended[job.directory].state == State.COMPLETE


def test_a_run_that_ends_and_leaves_nothing_has_failed(settings, tmp_path, launch, monkeypatch, capsys):
    monkeypatch.setattr(study_sweeper, "_VISIBLE_S", 0.1)
    progress = progress_of(make_job(settings, tmp_path, 1))
    launch(progress, lambda words: [None])
    assert "It ended and left no result: nothing is there (run: seed=1)" in capsys.readouterr().err
    assert progress.print_failures() == 1


# Conditions that are not crossed with each other


def listed(done: Finished) -> list[str]:
    """The runs that `status=true` lists, in their order; each once."""
    assert (done.rc, done.stderr) == (0, "")
    runs = [line.split(maxsplit=1)[1].strip() for line in done.stdout.splitlines() if line.startswith("missing ")]
    assert len(set(runs)) == len(runs)
    assert f"{len(runs)} runs: {len(runs)} missing" in done.stdout
    assert not done.runs.exists()
    return runs


def conditions(*each: str) -> str:
    words = ", ".join(f'"{condition}"' for condition in each)
    return f"hydra.sweeper.conditions=[{words}]"


#: What is asked for -> the runs that this is.
GRIDS: dict[tuple[str, ...], list[str]] = {
    (conditions("", "noise.frac=0.3", "reduction.frac=0.3"), "seed=1,2"): [
        "baseline seed 1",
        "baseline seed 2",
        "noise-shuffle-0.3 seed 1",
        "noise-shuffle-0.3 seed 2",
        "reduction-0.3 seed 1",
        "reduction-0.3 seed 2",
    ],
    # Settings of one condition go together, and a condition may be a grid of its own.
    (conditions("noise.frac=0.1,0.2", "noise.frac=0.3 reduction.frac=0.4"),): [
        "noise-shuffle-0.1 seed 1",
        "noise-shuffle-0.2 seed 1",
        "noise-shuffle-0.3_reduction-0.4 seed 1",
    ],
    # What is the same run is one.
    (conditions("", "noise.kind=pair", "noise.frac=0", "noise.frac=0.1", "noise.frac=1e-1"),): [
        "baseline seed 1",
        "noise-shuffle-0.1 seed 1",
    ],
    # The command line wins over a condition, and that over a file's params.
    (conditions("noise.frac=0.3 seed=7", "reduction.frac=0.3"), "noise.frac=0.2"): [
        "noise-shuffle-0.2 seed 7",
        "noise-shuffle-0.2_reduction-0.3 seed 1",
    ],
    (conditions("", "seed=7"), "+hydra.sweeper.params.seed='1,2'"): [
        "baseline seed 1",
        "baseline seed 2",
        "baseline seed 7",
    ],
    # None at all is the grid alone, as it was before there were any.
    ("noise.frac=0,0.1", "seed=1,2"): [
        "baseline seed 1",
        "baseline seed 2",
        "noise-shuffle-0.1 seed 1",
        "noise-shuffle-0.1 seed 2",
    ],
    ("hydra.sweeper.conditions=[]", "seed=1,2"): ["baseline seed 1", "baseline seed 2"],
}


@pytest.mark.parametrize("asked", GRIDS, ids=" ".join)
def test_conditions_are_crossed_with_the_grid_and_not_with_each_other(forked, asked):
    done = forked("-m", *SMALL, "status=true", *asked)
    assert sorted(listed(done)) == sorted(GRIDS[asked])


def test_the_conditions_of_an_experiment_are_run_under_every_model_and_a_title_names_the_model(forked):
    words = ("-m", "experiment=model_dependence", "data=digits", "status=true", "seed=1")
    names = ("baseline", "noise-shuffle-0.3", "reduction-0.3")
    models = ("cnn6", "lenet", "resnet18", "vit_tiny")
    assert sorted(listed(forked(*words))) == sorted(f"{model} {name} seed 1" for model in models for name in names)
    # Where the model is the same for all, it goes without saying.
    assert sorted(listed(forked(*words, "model=lenet"))) == [f"{name} seed 1" for name in names]


#: A mistake in one of several conditions -> words of the sentence.
MISTAKES = {
    "nois.frac=0.3": ("There is no setting nois.frac", "did you mean noise.frac?"),
    "noise.frac=7": ("noise.frac=7", "0 to 1"),
    "noise.frac": ("hydra.sweeper.conditions holds noise.frac, which cannot be read",),
    "noise.frac=0.3, seed=2": ("hydra.sweeper.conditions holds noise.frac=0.3, seed=2", "(noise.frac=0.3,)"),
    "model=cnn7": ("model=cnn7 is not known", "cnn6"),
    "noise.frac=0.3 'seed=2": ("hydra.sweeper.conditions", "noise.frac=0.3 'seed=2", "no closing quotation"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_condition_is_one_sentence_and_nothing_is_run(forked, mistake):
    done = forked("-m", *SMALL, conditions("", mistake), "seed=1,2")
    assert_one_sentence(done, *MISTAKES[mistake])
    assert not done.runs.exists()


def test_what_is_no_list_of_conditions_is_one_sentence(forked):
    done = forked("-m", *SMALL, "hydra.sweeper.conditions=noise", "seed=1,2")
    assert_one_sentence(done, "hydra.sweeper.conditions")
    assert not done.runs.exists()


def test_the_lines_of_a_sweep_name_the_model_where_it_differs(forked):
    words = ("-m", *SMALL, "model=cnn6,lenet", "training.lr=0.01", conditions("", "reduction.frac=0.3"))
    done = forked(*words)
    assert (done.rc, done.stderr) == (0, "")
    titles = re.findall(r"^\[\d/4\] (.*?)  +accuracy", done.stdout, re.MULTILINE)
    assert sorted(titles) == sorted(
        f"{model} {name} seed 1" for model in ("cnn6", "lenet") for name in ("baseline", "reduction-0.3")
    )
    again = forked(*words)
    assert again.stdout.splitlines() == ["4 runs: 4 complete, running 0"]
