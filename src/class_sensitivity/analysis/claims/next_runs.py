"""Which runs would decide most for the least time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from class_sensitivity.analysis.claims.judging import Verdict
from class_sensitivity.analysis.commands import sweep_command
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition


@dataclass(frozen=True)
class NextRuns:
    """A sweep that is advised.

    Attributes:
        command: What to run.
        decides: Ids of the claims that it would decide, with a power of 80 %.
        runs: How many runs that are.
        duration_s: About how long they take one after another; NaN where the runs do not tell.
    """

    command: str
    decides: tuple[str, ...]
    runs: int
    duration_s: float

    @property
    def cost(self) -> float:
        """Their time, or their number where the runs do not tell how long they took."""
        return self.duration_s if self.duration_s > 0 else self.runs

    def text(self) -> str:
        """In words: what it decides, and what it costs."""
        time = "" if isnan(self.duration_s) else f", about {_duration(self.duration_s)}"
        return f"{self.command}   # {self.runs} runs{time}: would decide {', '.join(self.decides)}"


def next_runs(study: Study, verdicts: Sequence[Verdict]) -> NextRuns | None:
    """The sweep that decides most of the undecided claims for its time; None if no number of seeds decides any.

    Args:
        study: The runs there are.
        verdicts: On the claims about them.
    """
    # A claim with a command of its own needs runs of other models, too.
    open_claims = [
        (v, v.needed.about) for v in verdicts if v.needed is not None and v.needed.about is not None and not v.command
    ]
    options = [_up_to(study, [(v, n) for v, n in open_claims if n <= most], most) for _, most in open_claims]
    return max(options, key=lambda option: len(option.decides) / option.cost, default=None)


def _up_to(study: Study, decided: Sequence[tuple[Verdict, int]], total: int) -> NextRuns:
    # Every sweep runs the baseline, too.
    conditions = list(
        dict.fromkeys([BASELINE, *(condition for verdict, _ in decided for condition in verdict.conditions)])
    )
    # At least one: advice to run nothing would be none.
    more = max(1, total - min(len(study.common_seeds(condition)) for condition in conditions))
    first = max(study.seeds) + 1
    seeds = list(range(first, first + more))
    duration_s = sum(more * _usual_duration(study, condition) for condition in conditions)
    command = sweep_command(study, conditions, seeds)
    return NextRuns(command, tuple(verdict.id for verdict, _ in decided), more * len(conditions), duration_s)


def _usual_duration(study: Study, condition: Condition) -> float:
    """Seconds that a run takes: the median over seeds, as some may have run on a machine that had more to do."""
    return float(np.median([study.mean_of("duration_s", condition, [seed]) for seed in study.common_seeds(condition)]))


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
