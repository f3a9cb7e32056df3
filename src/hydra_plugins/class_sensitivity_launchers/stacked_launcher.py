"""A Hydra launcher that trains the runs of a sweep side by side in one process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.class_sensitivity_launchers.run_launcher import RunLauncher

if TYPE_CHECKING:
    from class_sensitivity.runs.run import Run


@dataclass
class StackedLauncherConfig:
    """`hydra/launcher=stacked`."""

    _target_: str = "hydra_plugins.class_sensitivity_launchers.stacked_launcher.StackedLauncher"
    #: Members of a stack at most; null for as many as fit into memory.
    members: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConfig, provider="class_sensitivity"
)


class StackedLauncher(RunLauncher):
    """Groups runs that differ in seed and stress alone and trains each group as one batched model."""

    def __init__(self, members: int | None) -> None:
        super().__init__()
        self.members = members

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from class_sensitivity.errors import require

        allowed = self.members is None or self.members >= 1
        require(allowed, "hydra.launcher.members", self.members, "an integer of 1 or more, or null")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch_runs(self, runs: Sequence["Run"]) -> Sequence[BaseException | None]:
        from class_sensitivity.training.stacked.run import train_jobs

        return train_jobs(runs, self.members)
