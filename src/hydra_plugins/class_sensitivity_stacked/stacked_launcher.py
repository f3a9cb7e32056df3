"""A Hydra launcher that trains the runs of a sweep side by side in one process."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StackedLauncherConfig:
    """`hydra/launcher=stacked`."""

    _target_: str = "hydra_plugins.class_sensitivity_stacked.stacked_launcher.StackedLauncher"
    #: Members of a stack at most; null for as many as fit into memory.
    members: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConfig, provider="class_sensitivity"
)


class StackedLauncher(Launcher):
    """Groups jobs that differ in seed and stress alone and trains each group as one batched model."""

    def __init__(self, members: int | None) -> None:
        self.members = members
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from class_sensitivity.errors import ConfigError

        if self.members is not None and self.members < 1:
            raise ConfigError(
                f"hydra.launcher.members={self.members} is not allowed: it must be an integer of 1 or more, or null."
            )
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from class_sensitivity.config import job_settings
        from class_sensitivity.runs.run import Run
        from class_sensitivity.training.stacked.run import train_jobs

        assert self.config is not None
        assert self.context is not None
        loader, config = self.context.config_loader, self.config
        runs = [Run.of(job_settings(loader, config, words)) for words in job_overrides]
        outcomes = train_jobs(runs, self.members)
        return [
            JobReturn(
                overrides=list(words),
                status=JobStatus.COMPLETED if outcome is None else JobStatus.FAILED,
                _return_value=outcome,
            )
            for words, outcome in zip(job_overrides, outcomes, strict=True)
        ]
