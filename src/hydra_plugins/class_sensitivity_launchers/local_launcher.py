"""The launcher that is used where none is asked for: as many runs at once as this machine takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.class_sensitivity_launchers.run_launcher import RunLauncher

if TYPE_CHECKING:
    from class_sensitivity.runs.run import Run

_START_METHODS = ("fork", "forkserver", "spawn")


@dataclass
class LocalLauncherConfig:
    """`hydra/launcher=local`."""

    _target_: str = "hydra_plugins.class_sensitivity_launchers.local_launcher.LocalLauncher"
    #: Runs at once; null for as many as cores and memory allow.
    at_once: int | None = None
    #: How Python starts their processes: forkserver, spawn or fork; null for what suits the system.
    start_method: str | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConfig, provider="class_sensitivity"
)


class LocalLauncher(RunLauncher):
    """Does runs in processes of this machine that are kept for the runs to come."""

    def __init__(self, at_once: int | None, start_method: str | None) -> None:
        super().__init__()
        self.at_once, self.start_method = at_once, start_method

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from class_sensitivity.errors import require

        allowed = self.at_once is None or self.at_once >= 1
        require(allowed, "hydra.launcher.at_once", self.at_once, "an integer of 1 or more, or null")
        known = self.start_method is None or self.start_method in _START_METHODS
        words = f"one of {', '.join(_START_METHODS)}, or null"
        require(known, "hydra.launcher.start_method", self.start_method, words)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch_runs(self, runs: Sequence["Run"]) -> Sequence[BaseException | None]:
        from class_sensitivity.machine import parallel_runs
        from class_sensitivity.training.workers import train_side_by_side

        threads = max(run.settings.training.threads for run in runs)
        return train_side_by_side(runs, self.at_once or parallel_runs(threads), start_method=self.start_method)
