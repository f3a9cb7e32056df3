"""A Hydra sweeper that looks at the whole grid before it runs the part of it that is missing.

Hydra finds it because its package lies in the namespace `hydra_plugins`. It hands jobs to whatever
launcher is configured, so it knows nothing of processes or clusters.
"""

import shlex
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.class_sensitivity_launchers.local_launcher import LocalLauncher

if TYPE_CHECKING:
    from class_sensitivity.sweep import Job, SweepProgress

_POLL_S = 1.0
#: Damaged runs that are named before the others are only counted.
_NAMED = 3
#: How long killed processes may take to disappear.
_KILLED_S = 5.0
#: How long a network file system may take to show what another machine wrote.
_VISIBLE_S = 75.0

# As config.register, for the processes of a launcher: they import this module before they compose anything. In the
# process of the command it has no effect, because Hydra takes back what the import of a plugin does to warnings.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)

#: Presets in conf/hydra/launcher/ and the packages behind them.
_PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}


@dataclass
class StudySweeperConfig:
    """`hydra/sweeper=study`."""

    _target_: str = "hydra_plugins.class_sensitivity_sweeper.study_sweeper.StudySweeper"
    #: Setting -> comma-separated values; how a file in conf/experiment/ brings a grid. The command line wins.
    params: dict[str, str] = field(default_factory=dict)
    #: Settings that go together, such as "noise.frac=0.3 seed=1"; the grid is run with each, one after the other.
    conditions: list[str] = field(default_factory=lambda: [""])


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConfig, provider="class_sensitivity")


def _words(condition: str, parser: OverridesParser) -> list[str]:
    """The settings of a condition, as a shell would take it apart.

    Raises:
        ConfigError: It ends within quotes, or one of them is no setting with its value.
    """
    from class_sensitivity.errors import ConfigError

    try:
        words = shlex.split(condition)
        parser.parse_overrides(words)
    except (ValueError, OverrideParseException) as error:
        what = error.override if isinstance(error, OverrideParseException) else str(error).lower()
        raise ConfigError(
            f"hydra.sweeper.conditions holds {condition}, which cannot be read ({what}): a condition is settings with "
            "spaces between them, such as noise.frac=0.3 reduction.frac=0.2."
        ) from None
    return words


class StudySweeper(Sweeper):
    """The grid of all comma-separated values, each run once, complete runs left alone.

    Every job is composed and checked first: a mistake in the last job of a sweep shows before the
    first one starts. Jobs that are the same run (a baseline reached by two noise kinds) are one.
    """

    def __init__(self, params: Mapping[str, str], conditions: Sequence[str] = ("",)) -> None:
        self.params, self.conditions = params, conditions
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from class_sensitivity.errors import ConfigError

        self.context, self.config = hydra_context, config
        chosen = str(config.hydra.runtime.choices.get("hydra/launcher"))
        plugin = _PLUGINS.get(chosen)
        if plugin is not None and find_spec(f"hydra_plugins.{plugin}") is None:
            extra = chosen.partition("_")[0]
            raise ConfigError(f'hydra/launcher={chosen} is not installed: pip install -e ".[{extra}]" adds it.')
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from class_sensitivity.sweep import print_status

        assert self.config is not None
        grid = list(self._grid(arguments))
        jobs, later = self._jobs(grid)
        if self.config.status:
            print_status([job.run for job in jobs])
            if later:
                print(f"More, made of baselines that are not finished: {len(later)}", flush=True)
            return []
        if self.config.inspect:
            from class_sensitivity.report.inspection import inspect

            for run in {job.run.identity.data.digest: job.run for job in jobs}.values():
                inspect(run)
            return []
        self._run_missing(jobs)
        if later:
            self._run_missing(self._jobs(later)[0])
        return []

    def _grid(self, arguments: Sequence[str]) -> Iterator[list[str]]:
        """The words of every job."""
        assert self.config is not None
        assert self.context is not None
        loader = self.context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        asked = parser.parse_overrides(list(arguments))
        groups = [each for each in asked if each.is_sweep_override() and loader.get_group_options(each.key_or_group)]
        settled = [str(each.input_line) for each in asked if not each.is_sweep_override()]
        others = [str(each.input_line) for each in asked if each not in groups]
        for chosen in BasicSweeper.split_arguments(groups, max_batch_size=None)[0]:
            # Each file of a group that is swept over may bring a grid of its own.
            sweeper = loader.load_sweep_config(self.config, [*settled, *chosen]).hydra.sweeper if chosen else self
            params = [f"{key}={values}" for key, values in sweeper.params.items()]
            for condition in sweeper.conditions or [""]:
                # Of two values for one setting the later counts, so that the command line wins.
                overrides = parser.parse_overrides([*params, *_words(condition, parser), *others, *chosen])
                yield from BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]

    def _run_missing(self, jobs: Sequence["Job"]) -> None:
        """Runs those that are not complete.

        Raises:
            SweepError: Some failed.
        """
        from class_sensitivity.errors import SweepError
        from class_sensitivity.runs.lease import clean_up
        from class_sensitivity.runs.status import State, read_status
        from class_sensitivity.sweep import SweepProgress, counted_runs

        status = {job: read_status(job.directory) for job in jobs}
        for job in jobs:
            if status[job].state == State.COMPLETE:
                clean_up(job.directory)
        missing = [job for job in jobs if job.rerun or status[job].state != State.COMPLETE]
        print(f"{counted_runs(len(jobs))}: {len(jobs) - len(missing)} complete, running {len(missing)}", flush=True)
        damaged = [status[job].detail for job in missing if status[job].state == State.DAMAGED]
        for detail in damaged[:_NAMED]:
            print(f"Done again: {detail}", flush=True)
        if len(damaged) > _NAMED:
            print(f"Done again for the like reasons: {len(damaged) - _NAMED} more; status=true lists them", flush=True)
        if not missing:
            return

        with SweepProgress(missing) as progress:
            self._launch_until_ended(missing, progress)
        failures = progress.print_failures()
        if failures:
            raise SweepError(
                f"{failures} of {counted_runs(len(missing))} failed; the same command goes on with what is not "
                "complete."
            )

    def _launch_until_ended(self, jobs: Sequence["Job"], progress: "SweepProgress") -> None:
        """Runs the jobs; waits for those of other processes, and tries once more what was killed or ended damaged."""
        launched = 0
        losses: Counter[Path] = Counter()
        damaged: set[Path] = set()
        while batch := self._free(jobs, progress):
            lost = self._launch(batch, progress, launched, damaged)
            launched += len(batch)
            if not lost and not any(job.directory in progress.ended for job in batch):
                time.sleep(_POLL_S)  # all are busy, or seem so
            losses.update(job.directory for job in lost)
            for job, crash in lost.items():
                if losses[job.directory] > 1:
                    progress.failed(job, f"Its process was lost twice ({type(crash).__name__}: {crash}).")
                else:
                    progress.say(
                        f"{progress.titles[job]}: its process was lost ({type(crash).__name__}); trying once more"
                    )

    def _lost(self, jobs: Sequence["Job"]) -> list["Job"]:
        """The jobs whose process was killed; if none was even begun, all that no process is doing."""
        from class_sensitivity.runs.lease import owner

        # A killed process takes a moment to disappear, and so do those that its launcher then kills.
        deadline = time.monotonic() + _KILLED_S
        while True:
            # Asked of the lease: beside that of a rerun there may be the complete record of before.
            owners = {job: process for job in jobs if (process := owner(job.directory)) is not None}
            running = [job for job, process in owners.items() if process.alive]
            if len(owners) > len(running):
                return [job for job in owners if job not in running]
            if not running or time.monotonic() > deadline:
                # Nothing was begun: the launcher itself does not work.
                return [job for job in jobs if job not in running]
            time.sleep(0.1)

    def _free(self, jobs: Sequence["Job"], progress: "SweepProgress") -> Sequence["Job"]:
        """The jobs that no process is doing; waits while other processes are doing all that are left."""
        from class_sensitivity.runs.lease import owner

        reported = False
        while waiting := [job for job in jobs if job.directory not in progress.ended]:
            free = [job for job in waiting if (process := owner(job.directory)) is None or not process.alive]
            progress.report()  # a run that was finished just now has no owner either
            if free := [job for job in free if job.directory not in progress.ended]:
                return free
            if not reported:
                progress.say(f"waiting for runs that other processes are doing: {len(waiting)}")
                reported = True
            time.sleep(_POLL_S)
        return []

    def _launch(
        self, jobs: Sequence["Job"], progress: "SweepProgress", first: int, damaged: set[Path]
    ) -> dict["Job", Exception]:
        """Hands jobs to the launcher; which jobs were lost with their process, and the error that says so.

        Args:
            jobs: The jobs.
            progress: What is known of them.
            first: The number of the first one.
            damaged: Where a run has ended with a damaged record before; those that do so for the first time are added,
                and are not waited for, as they are done again.
        """
        from class_sensitivity.errors import BusyError, UserError
        from class_sensitivity.runs.status import State, read_status

        assert self.launcher is not None
        try:
            if isinstance(self.launcher, LocalLauncher):
                outcomes = self.launcher.launch_runs([job.run for job in jobs])
            else:
                results = self.launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=first)
                outcomes = [result._return_value for result in results]
        except Exception as error:  # so do most when a process of theirs is killed
            progress.report()
            return dict.fromkeys(self._lost([job for job in jobs if job.directory not in progress.ended]), error)
        progress.report()
        ended = [job for job, outcome in zip(jobs, outcomes, strict=True) if outcome is None]
        again = [
            job
            for job in ended
            if not {job.directory} & (progress.ended.keys() | damaged)
            and read_status(job.directory).state == State.DAMAGED
        ]
        for job in again:
            progress.say(f"{progress.titles[job]}: its record is damaged; doing it again")
            damaged.add(job.directory)
        self._wait_until_visible([job for job in ended if job not in again], progress)
        lost = {}
        for job, error in zip(jobs, outcomes, strict=True):
            if job in again or job.directory in progress.ended or isinstance(error, BusyError):
                continue
            if isinstance(error, BrokenProcessPool):
                lost[job] = error
                continue
            if not isinstance(error, Exception):
                left = read_status(job.directory).detail or "nothing is there"
                progress.failed(job, f"It ended and left no result: {left}")
                continue
            # It could leave nothing in the run directory, or this is a defect outside of the run.
            if not isinstance(error, UserError):
                traceback.print_exception(error)
            progress.failed(job, str(error))
        return lost

    def _wait_until_visible(self, jobs: Sequence["Job"], progress: "SweepProgress") -> None:
        """A network file system shows what another machine wrote up to a minute late."""
        deadline = time.monotonic() + _VISIBLE_S
        progress.report()
        while any(job.directory not in progress.ended for job in jobs) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            progress.report()

    def _jobs(self, grid: Sequence[Sequence[str]]) -> tuple[list["Job"], list[Sequence[str]]]:
        """One job for each run of the grid, composed and checked.

        Returns:
            The jobs; and the words of those that are made of baselines that are among the jobs and not finished.

        Raises:
            UserError: A job cannot be done.
        """
        from class_sensitivity.config import JobComposer
        from class_sensitivity.runs.baseline import study_of
        from class_sensitivity.runs.directory import is_complete
        from class_sensitivity.runs.run import Run
        from class_sensitivity.sweep import Job, counted

        assert self.config is not None
        assert self.context is not None
        jobs: dict[Path, Job] = {}
        asked = []
        composer = JobComposer(self.context.config_loader, self.config)
        for words in counted(grid, "Composing runs"):
            settings = composer.settings(words)
            asked.append((words, settings, study_of(settings)))
        later: list[Sequence[str]] = []
        # Those that are made of baselines come last: what they are depends on which of these are finished.
        for words, settings, study in sorted(asked, key=lambda each: each[2] is not None):
            baselines = [job for job in jobs.values() if study and job.run.identity.condition.is_baseline]
            if any(study in job.directory.resolve().parents and not is_complete(job.directory) for job in baselines):
                later.append(words)
                continue
            job = Job(Run.of(settings), tuple(words))
            jobs.setdefault(job.directory, job)
        return list(jobs.values()), later
