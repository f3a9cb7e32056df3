"""What a longer training does, in words, figures and a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from class_sensitivity.analysis.estimate import Estimate, with_interval
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.training_length import TrainingLengths, training_lengths
from class_sensitivity.analysis.wording import joined
from class_sensitivity.figures.training_length import plot_class_falls_by_length, plot_training_lengths
from class_sensitivity.report.parts import FigureSpec, Line
from class_sensitivity.report.tables import value_columns, write_table


@dataclass(frozen=True)
class LengthsOfRecipe:
    """One recipe after several lengths of training.

    Attributes:
        found: One entry a condition, the baseline first.
    """

    found: Sequence[TrainingLengths]

    @property
    def title(self) -> str:
        """The question, and of what."""
        study, epochs = self.found[0].studies[0], self.found[0].epochs
        return f"Does a longer training believe wrong labels? {study.data}, {study.model}, {joined(epochs)} epochs"

    def lines(self) -> Iterator[Line]:
        """Cost, wrong labels learnt, best epoch of every condition; intervals are in the table and the figures."""
        for each in self.found:
            parts = [f"accuracy {_series(each.accuracy)} %"]
            if each.fall is not None and each.more is not None:
                more = each.more.scaled(100).text(signed=True)
                parts.append(
                    f"cost {_series(each.fall)} points, {more} from {each.epochs[0]} to {each.epochs[-1]} epochs"
                )
                parts += self._classes(each)
            if each.learnt is not None:
                parts.append(f"wrong labels learnt {_series(each.learnt)} %")
            parts.append(f"best epoch minus last {_series(each.best_minus_last)} points")
            yield Line(each.condition.label, "; ".join(parts))

    def _classes(self, each: TrainingLengths) -> Iterator[str]:
        more = each.more_by_class
        if more is None or len(each.seeds) < 2:
            return
        shown, names = more.scaled(100), each.studies[0].class_names
        moved = benjamini_hochberg(shown.p, each.alpha)
        most = [int(c) for c in np.argsort(-np.abs(shown.value), kind="stable") if moved[c]][:3]
        if most:
            yield "by class it changes most for " + ", ".join(f"{names[c]} {shown[c].text(signed=True)}" for c in most)

    def specs(self) -> Iterator[FigureSpec]:
        """All conditions against the number of epochs, and the classes under each."""
        family = self.found[0].studies[0].recipe
        yield FigureSpec(
            f"training-length_{family}",
            "What does a longer training do to the cost of stress?",
            "Dots are means, bands intervals, on the left over seeds and test images, else over seeds alone. The best "
            "epoch is chosen on the test set where no examples are held out; it is shown if it is anywhere better than "
            "the last by a tenth of a point.",
            lambda: plot_training_lengths(self.found),
        )
        for each in self.found:
            if each.fall is not None:
                yield FigureSpec(
                    f"training-length_{family}_{each.condition.name}",
                    f"Which classes pay for a longer training? {each.condition.label}",
                    "Fall of each class's recall from the baseline that trained as long.",
                    lambda each=each: plot_class_falls_by_length(each),  # type: ignore[misc]
                )

    def table(self) -> pd.DataFrame:
        """One row per condition, number of epochs and class (`*` = all)."""
        rows = []
        for each in self.found:
            for number, study in enumerate(each.studies):
                row: dict[str, object] = {"recipe": study.recipe, "epochs": study.epochs, "seeds": len(each.seeds)}
                row |= {"condition": each.condition.name}
                learnt = None if each.learnt is None else each.learnt[number]
                row |= {"class": "*", **value_columns("accuracy", each.accuracy[number])}
                row |= value_columns("best_minus_last", each.best_minus_last[number]) | value_columns("learnt", learnt)
                rows.append(row | value_columns("fall", None if each.fall is None else each.fall[number]))
                if each.class_falls is not None:
                    shared = {key: row[key] for key in ("recipe", "epochs", "seeds", "condition")}
                    for c, name in enumerate(study.class_names):
                        rows.append(shared | {"class": name} | value_columns("fall", each.class_falls[number][c]))
        return pd.DataFrame(rows)


def lengths_of(studies: Sequence[Study], alpha: float) -> list[LengthsOfRecipe]:
    """Every recipe that was trained for several numbers of epochs."""
    return [LengthsOfRecipe(found) for found in training_lengths(studies, alpha=alpha)]


def write_lengths(lengths: Sequence[LengthsOfRecipe], folder: Path) -> list[str]:
    """Writes their table; returns its name, if there is one."""
    if not lengths:
        return []
    write_table(pd.concat([each.table() for each in lengths], ignore_index=True), "training_length", folder)
    return ["training_length"]


def _series(estimates: Sequence[Estimate]) -> str:
    return joined([with_interval(100 * float(each.value), np.nan, np.nan) for each in estimates])
