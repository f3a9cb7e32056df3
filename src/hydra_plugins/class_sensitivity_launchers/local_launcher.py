"""The launcher that is used where none is asked for: as many runs at once as this machine takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from class_sensitivity.runs.run import Run

_START_METHODS = ("fork", "forkserver", "spawn")


@dataclass
class LocalLauncherConfig:
    """`hydra/launcher=local`."""

    _target_: str = "hydra_plugins.class_sensitivity_launchers.local_launcher.LocalLauncher"
    #: Runs at once; null for as many as cores, memory and GPU allow.
    at_once: int | None = None
    #: How Python starts their processes: forkserver, spawn or fork; null for what suits the system.
    start_method: str | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConfig, provider="class_sensitivity"
)


class LocalLauncher(Launcher):
    """Does runs in processes of this machine that are kept for the runs to come."""

    def __init__(self, at_once: int | None, start_method: str | None) -> None:
        self.at_once, self.start_method = at_once, start_method
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from class_sensitivity.errors import require

        allowed = self.at_once is None or self.at_once >= 1
        require(allowed, "hydra.launcher.at_once", self.at_once, "an integer of 1 or more, or null")
        known = self.start_method is None or self.start_method in _START_METHODS
        words = f"one of {', '.join(_START_METHODS)}, or null"
        require(known, "hydra.launcher.start_method", self.start_method, words)
        self.context, self.config = hydra_context, config

    def launch_runs(self, runs: Sequence["Run"]) -> Sequence[BaseException | None]:
        """Does runs, which need not be composed again.

        Returns:
            For each run, in order, None if it is complete now, or why it is not.
        """
        from class_sensitivity.training.workers import train_side_by_side

        return train_side_by_side(runs, self.at_once, start_method=self.start_method)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Does what any other sweeper of Hydra's hands over: words."""
        from class_sensitivity.config import JobComposer
        from class_sensitivity.runs.run import Run

        assert self.config is not None
        assert self.context is not None
        jobs = JobComposer(self.context.config_loader, self.config)
        outcomes = self.launch_runs([Run.of(jobs.settings(words)) for words in job_overrides])
        return [
            JobReturn(
                overrides=list(words),
                status=JobStatus.COMPLETED if outcome is None else JobStatus.FAILED,
                _return_value=outcome,
            )
            for words, outcome in zip(job_overrides, outcomes, strict=True)
        ]
