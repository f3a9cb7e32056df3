"""How much the training images of a class differ, and whether that goes with its sensitivity: a figure and a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.results import Curve, Results
from class_sensitivity.analysis.statistics import rank_correlation
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.variety import class_variety
from class_sensitivity.figures.images import plot_variety
from class_sensitivity.report.findings import by_loss
from class_sensitivity.report.image_figures import class_index
from class_sensitivity.report.parts import FigureSpec

#: Training images of a class that are shown, at most.
_SHOWN = 30


@dataclass(frozen=True)
class Variety:
    """How much the training images of each class of one study differ.

    Attributes:
        results: Of the study.
        arrays: Its images.
        found: (K,) `class_variety`.
    """

    results: Results
    arrays: ImageArrays
    found: NDArray[np.float64]

    def correlation(self, curve: Curve) -> tuple[float, float]:
        """Rank correlation with sensitivity, and its p, over the classes that have test images; NaN of fewer than 3."""
        tested = by_loss(curve)
        return rank_correlation(self.found[tested], curve.loss.value[tested]) if len(tested) > 2 else (np.nan, np.nan)

    def spec(self, chosen: Sequence[str], focus: Focus) -> FigureSpec:
        """Training images of the classes asked for, or of the focus's, or of the most and the least sensitive.

        Raises:
            ConfigError: A class that is asked for does not exist.
        """
        names, study = self.results.study.class_names, self.results.study
        curve = next(iter(self.results.curves.values()))
        asked = chosen or (focus.variety if set(focus.variety) <= set(names) else ())
        tested = by_loss(curve)
        picked = [class_index(study, "variety", name) for name in asked] or list(dict.fromkeys([tested[0], tested[-1]]))
        members = [self.arrays.train_images[np.flatnonzero(self.arrays.train_labels == c)[:_SHOWN]] for c in picked]
        titles = [f"{names[c]}: variety {self.found[c]:.1f} grey levels" for c in picked]
        ranked = ", ".join(f"{names[c]} {self.found[c]:.1f}" for c in np.argsort(-self.found))
        rho, p = self.correlation(curve)
        correlation = (
            f" Its rank correlation with sensitivity to {curve.label} is {rho:+.2f} (p = {p:.2f}, {len(tested)} "
            "classes)."
        )
        return FigureSpec(
            "fig7_variety",
            focus.titled("fig7_variety", f"Training images of {' and '.join(names[c] for c in picked)}"),
            "The first training images of each class. Variety is the root mean square distance of a class's training "
            f"images from their mean image, in grey levels a pixel: {ranked}.{'' if np.isnan(rho) else correlation}",
            lambda: plot_variety(members, titles),
        )

    def table(self) -> pd.DataFrame:
        """One row per kind of stress and class (`*` = all classes)."""
        rows: list[dict[str, object]] = []
        for kind, curve in self.results.curves.items():
            for name, value, loss in zip(self.results.study.class_names, self.found, curve.loss.value, strict=True):
                rows.append({"stress": kind, "class": name, "variety": value, "loss": loss})
            rho, p = self.correlation(curve)
            rows.append({"stress": kind, "class": "*", "rank_correlation": rho, "p": p})
        return pd.DataFrame(rows)


def variety_of(results: Results, arrays: ImageArrays | None) -> Variety | None:
    """Of a study; None without images or without a curve of any stress."""
    if arrays is None or not results.curves:
        return None
    return Variety(results, arrays, class_variety(arrays.train_images, arrays.train_labels, arrays.num_classes))
