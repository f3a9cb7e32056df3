"""What the launchers of this package have in common: they take runs, which need not be composed again."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from class_sensitivity.runs.run import Run


class RunLauncher(Launcher):
    """A launcher to which the sweeper hands runs; any other sweeper of Hydra's may hand it words."""

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    @abstractmethod
    def launch_runs(self, runs: Sequence["Run"]) -> Sequence[BaseException | None]:
        """Does runs; returns for each, in order, None if it is complete now, or why it is not."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
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
