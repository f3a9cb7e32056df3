"""A Hydra sweeper that looks at the whole grid before it runs the part of it that is missing.

Hydra finds it because its package lies in the namespace `hydra_plugins`. It hands jobs to whatever
launcher is configured, so it knows nothing of processes or clusters.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class StudySweeperConfig:
    """`hydra/sweeper=study`."""

    _target_: str = "hydra_plugins.class_sensitivity_sweeper.study_sweeper.StudySweeper"
    #: Setting -> comma-separated values; how a file in conf/study/ brings a grid. The command line wins.
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConfig, provider="class_sensitivity")


class StudySweeper(Sweeper):
    """The grid of all comma-separated values, each run once, complete runs left alone.

    Every job is composed and checked first: a mistake in the last job of a sweep shows before the
    first one starts. Jobs that are the same run (a baseline reached by two noise kinds) are one.
    """

    def __init__(self, params: Mapping[str, str]) -> None:
        self.params = params
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from class_sensitivity.errors import SweepError

        assert self.config is not None
        assert self.context is not None
        assert self.launcher is not None
        overrides = OverridesParser.create(config_loader=self.context.config_loader).parse_overrides(
            [f"{key}={values}" for key, values in self.params.items()] + arguments
        )
        (grid,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        missing, asked = self._missing(grid)
        complete = asked - len(missing)
        print(f"{asked} runs: {complete} complete, running {len(missing)}", flush=True)
        if not missing:
            return []

        started = time.time()
        batch = [
            [*job, f"sweep.index={index}", f"sweep.total={len(missing)}", f"sweep.started={started}"]
            for index, job in enumerate(missing)
        ]
        results = self.launcher.launch(batch, initial_job_idx=0)
        failures = [result._return_value for result in results if isinstance(result._return_value, Exception)]
        if failures:
            raise SweepError(
                f"{len(failures)} of {len(missing)} runs failed, the first because: {failures[0]} "
                "The same command goes on with what is not complete."
            ) from failures[0]
        return results

    def _missing(self, grid: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], int]:
        """The jobs to run, one for each run that is not complete, and how many runs were asked for."""
        from class_sensitivity.config import checked
        from class_sensitivity.identity import identity, run_directory
        from class_sensitivity.runs import is_complete

        assert self.config is not None
        assert self.context is not None
        jobs: dict[Path, tuple[Sequence[str], bool]] = {}
        for job in grid:
            config = self.context.config_loader.load_sweep_config(self.config, list(job))
            with open_dict(config):
                del config["hydra"]
            values = checked(OmegaConf.masked_copy(config, [str(key) for key in config]))
            directory = run_directory(Path(values["runs"]).expanduser(), identity(values))
            jobs.setdefault(directory, (job, values["rerun"]))
        missing = [job for directory, (job, rerun) in jobs.items() if rerun or not is_complete(directory)]
        return missing, len(jobs)
