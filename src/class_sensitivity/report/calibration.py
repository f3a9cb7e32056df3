"""What becomes of confidence under stress, in words, figures and a table."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.calibration import Calibration, calibrations
from class_sensitivity.analysis.results import Curve, Results
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.errors import UserError
from class_sensitivity.figures.calibration import plot_overconfidence
from class_sensitivity.report.parts import FigureSpec, Finding
from class_sensitivity.report.tables import value_columns
from class_sensitivity.runs.condition import Condition, path_part
from class_sensitivity.runs.directory import read_record


@dataclass(frozen=True)
class CalibrationOfStudy:
    """The calibration of one study at every condition."""

    results: Results
    found: tuple[Calibration, ...]

    def findings(self) -> Iterator[Finding]:
        """What the strongest level of every stress does to confidence."""
        names = self.results.study.class_names
        for curve in self.results.curves.values():
            last = next(each for each in self.found if each.condition == curve.conditions[-1])
            if last.change is None or len(last.change.per_seed) < 2:
                continue
            change, now = last.change.scaled(100), last.overconfidence.scaled(100)
            classes = change[:-1]
            moved = benjamini_hochberg(classes.p, self.results.alpha)
            apart = ", ".join(f"{names[c]} {classes[c].text(signed=True)}" for c in self._most(classes.value, moved))
            yield Finding(
                f"At {last.condition.label} mean confidence minus accuracy is {now[-1].text(signed=True)} points, "
                f"{change[-1].text(signed=True)} from the baseline"
                + (f"; by class it changes most for {apart}." if apart else "; no class changes certainly."),
                figure=_figure_name(curve),
            )

    @staticmethod
    def _most(values: np.ndarray, moved: np.ndarray) -> list[int]:
        """The three classes that certainly changed and changed most."""
        return [int(c) for c in np.argsort(-np.abs(values), kind="stable") if moved[c]][:3]

    def specs(self) -> Iterator[FigureSpec]:
        """Overconfidence along every curve."""
        for curve in self.results.curves.values():
            series = [each for each in self.found if each.condition in curve.conditions]
            yield FigureSpec(
                _figure_name(curve),
                f"Does confidence keep up with recall? {curve.label}",
                "Mean confidence minus recall of the images of each class: right of 0 the model is too sure. "
                "Bars are intervals over seeds and test images.",
                lambda series=series: plot_overconfidence(series, self.results.study.class_names),  # type: ignore[misc]
            )

    def table(self) -> pd.DataFrame:
        """One row per condition and class (`*` = all images)."""
        rows = []
        for each in self.found:
            for index, name in enumerate([*self.results.study.class_names, "*"]):
                row: dict[str, object] = {"condition": each.condition.name, "class": name, "seeds": len(each.seeds)}
                for what in ("overconfidence", "change", "wrong_confidence", "error"):
                    estimate = getattr(each, what)
                    row |= value_columns(what, None if estimate is None else estimate[index])
                rows.append(row)
        return pd.DataFrame(rows)


def _figure_name(curve: Curve) -> str:
    return f"calibration_{path_part(curve.kind)}"


def calibration_of(results: Results) -> CalibrationOfStudy | None:
    """The calibration of a study; None where a record is gone, or was never a file."""
    study, name = results.study, "test_probabilities"

    def probabilities(condition: Condition, seed: int) -> NDArray[np.floating]:
        return read_record(study.directories[condition, seed], arrays=(name,)).arrays[name]

    try:
        return CalibrationOfStudy(results, tuple(calibrations(study, probabilities, alpha=results.alpha)))
    except (UserError, KeyError):
        return None
