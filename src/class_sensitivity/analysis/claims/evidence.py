"""What a claim may ask of the results: comparisons of classes, cells and conditions, or the runs that are missing."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from class_sensitivity.analysis.candidates import TIE_POINTS, who_can_be_first, who_can_fall_most
from class_sensitivity.analysis.claims.judging import (
    IMAGES,
    POINTS,
    AnyDifference,
    Comparison,
    Part,
    Verdict,
    judge_part,
)
from class_sensitivity.analysis.commands import sweep_command
from class_sensitivity.analysis.compared_models import ComparedModels, compare_models
from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts, pair_contrasts
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import Cost, Curve, Results
from class_sensitivity.analysis.statistics import bend_weights
from class_sensitivity.runs.condition import BASELINE, Condition

#: The series of noise that `noise.frac` alone makes.
SHUFFLE = "shuffle"


def noise(frac: float, kind: str = "shuffle") -> Condition:
    """The condition of this share of noise alone."""
    return Condition(noise_kind=kind, noise_frac=frac)


def reduction(frac: float) -> Condition:
    """The condition of this share of reduction alone."""
    return Condition(reduction_frac=frac)


class MissingRunsError(Exception):
    """Conditions that a claim needs were not run.

    Attributes:
        command: What makes them.
    """

    def __init__(self, command: str) -> None:
        self.command = command


class Evidence:
    """What a claim may ask of the results; a missing condition ends the claim with a command.

    Args:
        results: Of the study that is judged.
        others: Of studies of other models on the same data set.
    """

    def __init__(self, results: Results, others: Sequence[Results] = ()) -> None:
        self.results, self.study, self.others = results, results.study, others
        self.alpha = results.alpha
        # Every claim about one family asks for another member of it.
        self._class_family, self._pair_family = cache(self._class_contrasts), cache(self._pair_contrasts)

    def index(self, name: str) -> int:
        """A class by name."""
        return self.study.class_names.index(name)

    def size(self, name: str) -> int:
        """Test images of a class."""
        return int(self.study.class_sizes[self.index(name)])

    def need(self, *conditions: Condition) -> None:
        """Ends the claim unless the baseline and the conditions were run and share a seed."""
        needed = (BASELINE, *conditions)
        if not all(map(self.study.has, needed)) or not self.study.common_seeds(*needed):
            raise MissingRunsError(self.command(*conditions))

    def curve(self, *levels: Condition) -> Curve:
        """The dose-response curve of a series, which must hold at least these levels of it."""
        self.need(*levels)
        curve = self.results.curves[str(levels[0].series)]
        if not set(levels) <= set(curve.conditions):  # run, but with too few seeds in common
            raise MissingRunsError(self.command(*levels))
        return curve

    def command(self, *conditions: Condition, seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> str:
        """What runs the baseline and these conditions, each a level of a series, on this data set and model."""
        return sweep_command(self.study, conditions, seeds)

    def recall(self, weights: Mapping[Condition, float], name: str, words: str, **bounds: float) -> Comparison:
        """A weighted sum of the recalls of one class, in points.

        Args:
            weights: Condition -> weight.
            name: The class.
            words: What is measured.
            bounds: `above` and `below`, in points of recall.
        """
        estimate = self._class_family(tuple(weights.items()))[self.index(name)].scaled(100)
        return Comparison(words, estimate, POINTS, tuple(weights), **bounds)

    def recall_gap(
        self, weights: Mapping[Condition, float], upper: str, lower: str, words: str, **bounds: float
    ) -> Comparison:
        """A weighted sum of the recalls of one class minus that of another, in points.

        Args:
            weights: Condition -> weight, of either.
            upper: The class that counts.
            lower: The class that is taken from it.
            words: What is measured.
            bounds: `above` and `below`, in points of recall.
        """
        first = tuple((condition, weight, 0.0) for condition, weight in weights.items())
        second = tuple((condition, -weight, 0.0) for condition, weight in weights.items())
        gaps = self._pair_family(first, second, True).scaled(100)
        return Comparison(words, gaps[self.index(upper), self.index(lower)], POINTS, tuple(weights), **bounds)

    def confusion(
        self, weights: Mapping[Condition, float], true: str, predicted: str, words: str, *, minus_back: bool = False
    ) -> Comparison:
        """A weighted sum of how many images of a class are taken for another, in test images.

        Args:
            weights: Condition -> weight.
            true: The class of the images.
            predicted: The class that they are taken for.
            words: What is measured.
            minus_back: Take away the confusion the other way round.
        """
        first = tuple((condition, 0.0, weight) for condition, weight in weights.items())
        second = tuple((condition, 0.0, -weight) for condition, weight in weights.items()) if minus_back else ()
        cells = self._pair_family(first, second, False)
        return Comparison(words, cells[self.index(true), self.index(predicted)], IMAGES, tuple(weights))

    def accuracy(self, weights: Mapping[Condition, float], words: str, **bounds: float) -> Comparison:
        """A weighted sum of accuracies, in points; `bounds` are `above` and `below`."""
        estimate = accuracy_contrast(self.study, weights, alpha=self.alpha).scaled(100)
        return Comparison(words, estimate, "points of accuracy", tuple(weights), **bounds)

    def lowest(self, name: str, condition: Condition) -> Part:
        """That a class has the lowest recall at a condition."""
        others = [other for other in self.study.class_names if other != name]
        gaps = [
            self.recall_gap({condition: 1.0}, other, name, f"{other} minus {name} at {condition.label}")
            for other in others
        ]
        first, second = ((condition, weight, 0.0) for weight in (-1.0, 1.0))
        lower = self._pair_family((first,), (second,), True).scaled(100)
        at = f"the lowest at {condition.label}"
        note = _as_sentence(who_can_be_first(lower, self.study.class_names, self.alpha, f"is {at}"))
        return judge_part(f"{name} is lowest at {condition.label}", gaps, self.alpha, note)

    def falls_most(self, name: str, curve: Curve) -> Part:
        """That a class loses most per unit of stress."""
        gaps = [self.loss_gap(curve, name, other) for other in self.study.class_names if other != name]
        note = _as_sentence(who_can_fall_most(curve, self.study.class_names, self.alpha, f" under {curve.label}"))
        return judge_part(f"{name} falls most under {curve.label}", gaps, self.alpha, note)

    def loss_gap(self, curve: Curve, steeper: str, flatter: str) -> Comparison:
        """By how many points one class loses more than another per 10 points of stress."""
        return Comparison(
            f"loss of {steeper} minus loss of {flatter} per 10 points of stress",
            curve.slope_gaps[self.index(steeper), self.index(flatter)],
            POINTS,
            curve.conditions,
        )

    def some_direction(self, condition: Condition) -> Part:
        """That confusion has a direction: that for some pair of classes, one way is more frequent than back."""
        direction = self.results.of(condition).direction
        strongest = int(np.argmax(np.abs(direction.difference.value)))
        i, j = (self.study.class_names[k] for k in direction.pairs[strongest])
        asked = AnyDifference(
            "whether any pair of classes has a direction",
            direction.symmetry_new_images,
            direction.difference[strongest],
            f"{i} -> {j} minus {j} -> {i}",
            IMAGES,
            (condition,),
            direction.symmetry_these_images,
        )
        alone = f"{int(direction.marked.sum())} of {len(direction.pairs)} pairs have one"
        note = f"By themselves {alone} (false discovery rate {self.alpha:g})." if asked.test else ""
        return judge_part("confusion has a direction", [asked], self.alpha, note)

    def slopes_differ(self, curve: Curve) -> Part:
        """That the classes lose differently under a stress."""
        names, loss = self.study.class_names, curve.loss.value
        steepest, flattest = names[int(np.nanargmax(loss))], names[int(np.nanargmin(loss))]
        gap = self.loss_gap(curve, steepest, flattest)
        words = "whether classes lose differently"
        asked = AnyDifference(words, curve.slopes_differ, gap.estimate, gap.words, POINTS, curve.conditions)
        return self._tested(f"classes lose differently under {curve.label}", asked)

    def curves_bend(self, curve: Curve) -> Part:
        """That recall against a stress is not linear, for some class."""
        weights = zip(curve.conditions, bend_weights(curve.levels).tolist(), strict=True)
        bends = self._class_family(tuple(weights)).scaled(100)
        strongest = int(np.nanargmax(np.abs(bends.value)))
        largest = f"{self.study.class_names[strongest]}'s recall above the line between the ends, halfway"
        words = "whether any curve bends"
        asked = AnyDifference(words, curve.not_straight, bends[strongest], largest, POINTS, curve.conditions)
        return self._tested(f"curves bend under {curve.label}", asked)

    def models_under(self, kind: str, command: str) -> tuple[ComparedModels, list[Results]]:
        """What can be compared between this model and others: a stress with its matched control, and whose results.

        Args:
            kind: Name of the series of a noise.
            command: What makes the runs; it ends the claim where this model cannot be compared with any other.
        """
        usable = [each for each in (self.results, *self.others) if kind in each.curves and _matched_costs(each, kind)]
        compared = compare_models([each.study for each in usable], kind)
        chosen = [usable[number] for number in compared.chosen] if compared else []
        if compared is None or chosen[0] is not self.results:
            raise MissingRunsError(command)
        return compared, chosen

    def fall_alike(self, compared: ComparedModels, first: int, second: int) -> Part:
        """That every class stands out as much under one model as under another, within a margin of `TIE_POINTS`."""
        one, other = compared.models[first], compared.models[second]
        _, centred = compared.differences(first, second, alpha=self.alpha)
        comparisons = [
            Comparison(
                f"what {name} loses beyond the mean under {one} minus under {other}, per 10 points of stress",
                centred[index],
                POINTS,
                compared.conditions,
                above=-TIE_POINTS,
                below=TIE_POINTS,
            )
            for index, name in enumerate(compared.class_names)
        ]
        return judge_part(f"classes fall alike under {one} and {other}", comparisons, self.alpha)

    def noise_costs_more(self, results: Results, model: str, kind: str = SHUFFLE) -> Part:
        """That under a model every noise costs more accuracy than the absence of the examples that it touches."""
        comparisons = [
            Comparison(
                f"what {cost.noise.label} costs {model} more than {cost.control.label}",
                cost.overall_misled.scaled(100),
                "points of accuracy",
                (cost.noise, cost.control),
            )
            for cost in _matched_costs(results, kind)
        ]
        return judge_part(f"noise costs more than its matched control under {model}", comparisons, self.alpha)

    def more_seeds(self, compared: ComparedModels, verdict: Verdict) -> str:
        """What runs the seeds that an undecided verdict on several models needs; empty where none would do."""
        if verdict.needed is None or verdict.needed.about is None:
            return ""
        first = max(seed for study in compared.studies for seed in study.seeds) + 1
        seeds = range(first, first + max(1, verdict.needed.about - len(compared.seeds)))
        models = list(dict.fromkeys(study.model for study in compared.studies))
        return sweep_command(self.study, verdict.conditions, seeds, models=models)

    def _tested(self, words: str, asked: AnyDifference) -> Part:
        return judge_part(words, [asked], self.alpha, f"{asked.test.text()}." if asked.test else "")

    def _class_contrasts(self, weights: tuple[tuple[Condition, float], ...]) -> Estimate:
        return class_contrasts(self.study, dict(weights), alpha=self.alpha)

    def _pair_contrasts(
        self,
        first: tuple[tuple[Condition, float, float], ...],
        second: tuple[tuple[Condition, float, float], ...],
        shares: bool,
    ) -> Estimate:
        one, other = ({condition: (own, confused) for condition, own, confused in part} for part in (first, second))
        return pair_contrasts(self.study, one, other, shares=shares, alpha=self.alpha)


def _matched_costs(results: Results, kind: str) -> list[Cost]:
    """What the levels of a noise cost against the reductions that `reduction.frac` alone makes."""
    return [cost for cost in results.costs if cost.noise.series == kind and cost.control.is_default_series]


def _as_sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""
