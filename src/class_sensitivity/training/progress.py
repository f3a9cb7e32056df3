"""What a single run shows on the terminal: a bar with the time left, then a small table."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from class_sensitivity.runs.record import RunRecord


class _EpochBar(pl.Callback):
    """Advances one bar over all optimiser steps of the run."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress = progress
        self.task = progress.add_task(title, total=None)
        self.title = title

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = f"{self.title}  epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        self.progress.update(self.task, description=epoch, total=total, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.progress.update(self.task, completed=trainer.global_step)


class RunProgress:
    """What the terminal shows of one run; a context manager.

    Args:
        title: What the run is, in a few words.
        shown: Show anything at all; a sweep reports its runs itself.

    Attributes:
        callbacks: For the trainer, which then advances the bar.
    """

    def __init__(self, title: str, *, shown: bool) -> None:
        self.title, self.shown = title, shown
        self.console = Console(quiet=not shown)
        self.callbacks: list[pl.Callback] = []
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        if self.shown:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self.callbacks = [_EpochBar(self._progress, self.title)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def skipped(self, directory: Path) -> None:
        """Says that the run was complete already."""
        self._say(f"Complete already: {directory} (rerun=true does it again)")

    def damaged(self, reason: str) -> None:
        """Says that there is a record that cannot be trusted."""
        self._say(f"Damaged, so done again: {reason}")

    def finished(self, record: RunRecord, directory: Path) -> None:
        """Sums the run up in a small table, and says where its results are."""
        if self._progress is not None:
            self._progress.stop()
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_row("test accuracy", f"{record.metrics.accuracy:.2%}")
        table.add_row("labels wrong", f"{record.noise.effective:.2%} of {record.train_size:,} training examples")
        names = zip(record.metrics.recall, record.class_names, strict=True)
        tested = [(recall, name) for recall, name in names if recall is not None]
        worst = sorted(tested, key=lambda pair: pair[0])[:3]
        for rank, (recall, name) in enumerate(worst):
            table.add_row("worst classes" if rank == 0 else "", Text(f"{name}  {recall:.1%}"))
        table.add_row("time", f"{record.durations.total_s:.1f} s")
        self.console.print(table)
        # A table would cut it at the width of the terminal.
        self._say(f"results        {directory}")

    def _say(self, text: str) -> None:
        """Prints a line whole, as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
