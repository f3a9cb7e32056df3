"""Wrong labels in clean examples: what noise is worth, in words, figures and a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from class_sensitivity.analysis.advice import has_learnt
from class_sensitivity.analysis.exchange import ExchangeRates
from class_sensitivity.analysis.prices import of_all_examples, shown_exchange
from class_sensitivity.analysis.results import Results
from class_sensitivity.figures.curves import most_affected
from class_sensitivity.figures.exchange import plot_exchange, plot_exchange_by_class, plot_sideways
from class_sensitivity.figures.grid import plot_iso_accuracy, plot_iso_recall
from class_sensitivity.figures.many_classes import which_of
from class_sensitivity.report.parts import FigureSpec, Finding, Line
from class_sensitivity.report.tables import stress_columns, value_columns


@dataclass(frozen=True)
class ExchangeOfStudy:
    """What the noise of one study is worth in examples."""

    results: Results

    @property
    def _known(self) -> list[ExchangeRates]:
        """Every level without reduction, of a model that has learnt something."""
        return of_all_examples(self.results) if has_learnt(self.results) else []

    def line(self) -> Line | None:
        """Of the level that speaks for all; None where nothing is known."""
        if not self._known:
            return None
        shown = shown_exchange(self.results)
        return Line("quality, quantity", f"{shown.noise.label} {_exchanged(shown)}")

    def findings(self) -> Iterator[Finding]:
        """What every level is worth, which classes differ from that, and whether noise shifts the learning curve."""
        results = self.results
        every_level = self._known
        if not every_level:
            return
        for rates in every_level:
            yield Finding(f"{rates.noise.label} {_exchanged(rates)}.", condition=rates.noise)
        shown = shown_exchange(results)
        size, names = shown.classes.size, results.study.class_names
        order = [
            int(c)
            for c in np.argsort(size.value, kind="stable")
            if size.high[c] < shown.overall.size.low or size.low[c] > shown.overall.size.high
        ]
        apart = [f"{names[c]} ({size[c].text(',.0f', significant=3)})" for c in order]
        if apart:
            yield Finding(
                f"By class, at {shown.noise.label} the interval is apart from that of accuracy for {', '.join(apart)}.",
                condition=shown.noise,
                classes=tuple(order[:1]),
            )
        for shift in results.sideways:
            if shift.test is not None:
                verdict = "do not all lie" if shift.test.p <= results.alpha else "may all lie"
                share = shift.share.scaled(100).text(".0f")
                yield Finding(
                    f"Accuracies at {shift.noise.label} and {len(shift.at)} sizes of the training set {verdict} on the "
                    f"clean learning curve at {share} % of the examples ({shift.test.text()}).",
                    condition=shift.noise,
                )
        if shown.overall.gamma is not None:
            yield Finding(
                "Gamma is 1 where wrong labels are only lost examples, 2 at the information limit of weak signals, "
                "above 2 where the model is misled.",
                condition=shown.noise,
            )

    def specs(self) -> Iterator[FigureSpec]:
        """What noise is worth, whether it shifts the learning curve, and lines of equal accuracy and recall."""
        results = self.results
        for series in results.study.noise_series:
            rates = [each for each in results.exchange if each.noise.series == series]
            if rates:  # levels of one figure stand on one learning curve
                yield from self._worth([each for each in rates if each.overall.curve == rates[-1].overall.curve])
        affected = most_affected(results.curves)
        for curve, shifts in groupby(results.sideways, key=lambda each: each.at[0].curve):
            of_curve = list(shifts)
            steps = "" if curve[-1].is_default_series else f"_{curve[-1].series}"
            yield FigureSpec(
                f"sideways{steps}",
                f"Does noise shift the learning curve sideways? {of_curve[0].noise.series_label}",
                "Dots: accuracy with wrong labels, by the number of examples, with intervals. Dashed: the clean curve "
                "at a fixed share of the examples, the one that fits best. p: whether the dots lie on it. A level has "
                "no dot at so few examples that the clean curve may not go on far enough.",
                lambda of_curve=of_curve: plot_sideways(results, of_curve),  # type: ignore[misc]
            )
            known = "Along a line it is the same: so much less noise is worth so many examples."
            yield FigureSpec(
                f"iso_accuracy{steps}",
                f"Which noise and which size give the same accuracy? {of_curve[0].noise.series_label}",
                f"Accuracy over the number of training examples and the share of noise. {known} Numbers were "
                "measured, each at its middle; lines are interpolated.",
                lambda of_curve=of_curve: plot_iso_accuracy(results, of_curve),  # type: ignore[misc]
            )
            yield FigureSpec(
                f"iso_recall{steps}",
                f"Which noise and which size give the same recall? {of_curve[0].noise.series_label}",
                f"The same for every class. {known} Dots were measured."
                f"{which_of(len(affected), results.study.num_classes, 'that fall most')}",
                lambda of_curve=of_curve: plot_iso_recall(results, of_curve, affected),  # type: ignore[misc]
            )

    def _worth(self, rates: list[ExchangeRates]) -> Iterator[FigureSpec]:
        noise = rates[0].noise
        kind = "" if noise.is_default_series else f"_{noise.series}"
        steps = "" if rates[0].overall.as_many_visits else " Smaller sets were also looked at less."
        yield FigureSpec(
            f"exchange{kind}",
            f"Quality against quantity: {noise.series_label}",
            "Squares: accuracy with fewer examples, all labelled right. Each noise level stands where that curve is as "
            "accurate: as many clean examples (dot) do as well as all with wrong labels (cross). Bars are intervals."
            f"{steps}",
            lambda: plot_exchange(self.results, rates),
        )
        if np.isnan(rates[-1].classes.size.value).all():
            return
        yield FigureSpec(
            f"exchange_classes{kind}",
            f"Quality against quantity, by class: {noise.series_label}",
            "The share of clean examples that gives a class the recall that it has with all examples and wrong labels, "
            "with its interval. Arrow: it goes on beyond what was measured. Dotted: the share that gives the same "
            f"accuracy over all classes.{steps}",
            lambda: plot_exchange_by_class(rates, self.results.study.class_names),
        )

    def table(self) -> pd.DataFrame:
        """One row per noise condition and class (`*` = all classes)."""
        rows = []
        for rates in self.results.exchange:
            for index, name in [*enumerate(self.results.study.class_names), (None, "*")]:
                found = rates.overall if index is None else rates.classes[index]
                row = stress_columns(found.noise)
                row |= {"curve": found.curve[-1].series, "class": name, "seeds": len(found.seeds)}
                row |= {"train_size": found.examples, "least": found.size.least, "wrong": found.wrong}
                row |= value_columns("n_eff", found.size)
                for what in ("lost_per_wrong_label", "gamma", "check_worth", "mended_worth"):
                    row |= value_columns(what, getattr(found, what))
                rows.append(row)
        return pd.DataFrame(rows)


def _exchanged(rates: ExchangeRates) -> str:
    """What a noise is worth in examples."""
    found = rates.overall
    if np.isnan(found.size.value):
        return "is worth a number of clean examples that is not known"
    gamma = "" if found.gamma is None else f", gamma {found.gamma.text('.2f')}"
    return (
        f"does as well as {found.size.text(',.0f', significant=3)} of {found.examples:,.0f} clean examples: "
        f"{found.lost_per_wrong_label.text('.1f')} good examples lost per wrong label{gamma}"
    )
