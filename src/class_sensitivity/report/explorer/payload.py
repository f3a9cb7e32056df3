"""What the explorer shows of one study, as plain values and packed arrays; nothing here is computed anew by the page.

Shares are given in [0, 1] or, where they are shown, in percent; cells in test images. Conditions and classes are named
by their place in the study; NaN becomes null.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.advice import Advice
from class_sensitivity.analysis.claims.claim_set import ClaimSet
from class_sensitivity.analysis.claims.judging import Verdict
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.exchange import ExchangeRates
from class_sensitivity.analysis.results import MIN_MEAN_COUNT, Curve, RelativeMatrix, Results
from class_sensitivity.analysis.sensitivity import relative_matrix
from class_sensitivity.analysis.seriation import lookalike_order
from class_sensitivity.analysis.statistics import adjusted_p
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import UserError
from class_sensitivity.report.explorer.evidence import link_to, of_advice, of_finding, of_verdict
from class_sensitivity.report.explorer.packing import as_bytes, smallest_unsigned
from class_sensitivity.report.explorer.thumbnails import (
    Sprite,
    choose_test_images,
    choose_train_images,
    make_sprite,
)
from class_sensitivity.report.parts import Finding
from class_sensitivity.report.separation import Separation
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.runs.directory import read_record

Floats = NDArray[np.float64]
Json = dict[str, Any]

#: Most classes of a study that has an explorer: the matrices grow with the square of their number.
MOST_CLASSES = 300

#: A number of the page has so many digits that are not 0.
_DIGITS = 6


def relative_limit(all_results: Sequence[Results]) -> float:
    """The largest cell of any relative matrix of a report: all of them share one scale, in its explorer, too."""
    return max(
        (
            float(np.abs(versus.relative.cells.value).max())
            for results in all_results
            for versus in results.compared.values()
        ),
        default=1.0,
    )


@dataclass(frozen=True)
class Subject:
    """One study and what is known beside its results.

    Attributes:
        results: Of the study.
        limit: The largest cell of any relative matrix of the report.
        arrays: The data set's images; None where they were not found.
        separation: How alike its classes look.
        suspects: Test images that look mislabelled.
        advice: What to do.
        claims: The claims about its data set, if there are any.
        verdicts: On each of these.
        findings: The most important first.
        caveats: What a reader should know first.
    """

    results: Results
    limit: float
    arrays: ImageArrays | None
    separation: Separation | None
    suspects: Sequence[Suspect]
    advice: Sequence[Advice]
    claims: ClaimSet | None
    verdicts: Sequence[Verdict]
    findings: Sequence[Finding]
    caveats: Sequence[str]


@dataclass(frozen=True)
class Payload:
    """Everything that a page holds of a study.

    Attributes:
        values: What becomes JSON.
        arrays: What is packed.
        test: Thumbnails of test images.
        train: Thumbnails of training images, class by class.
    """

    values: Json
    arrays: dict[str, NDArray[Any]]
    test: Sprite | None
    train: Sprite | None


def payload_of(subject: Subject) -> Payload:
    """Everything that the explorer of a study shows.

    Args:
        subject: The study.
    """
    results, study = subject.results, subject.results.study
    pairs = list(_compared(results))
    runs = [(c, s) for c, condition in enumerate(study.conditions) for s in _seed_places(study, condition)]
    preds = study.preds[tuple(np.array(runs).T)]
    shape = subject.arrays.test_images.shape[1:] if subject.arrays is not None else (1, 1)
    choice = choose_test_images(study.labels, preds, shape)
    confidence = _confidence(study, runs, choice.images)
    arrays: dict[str, NDArray[Any]] = {
        "labels": smallest_unsigned(study.labels[choice.images]),
        "images": smallest_unsigned(choice.images),
        "preds": smallest_unsigned(preds[:, choice.images]),
        "counts": smallest_unsigned(np.stack([study.arrays.counts.values[c, s] for c, s in runs])),
    }
    if confidence is not None:
        arrays["confidence"] = confidence
    arrays |= _comparison_arrays([matrix for _, matrix in pairs], study.num_classes)
    arrays |= _direction_arrays(results)
    test = train = None
    train_sizes: list[int] = []
    if subject.arrays is not None:
        test = make_sprite(subject.arrays.test_images, choice.images)
        chosen = choose_train_images(subject.arrays.train_labels, study.num_classes)
        train = make_sprite(subject.arrays.train_images, chosen)
        train_sizes = np.bincount(subject.arrays.train_labels[chosen], minlength=study.num_classes).tolist()
    curves = list(results.curves.values())
    values: Json = {
        "data": study.data,
        "model": study.model,
        "recipe": study.recipe,
        "coverage": round(100 * (1 - results.alpha), 6),
        "alpha": results.alpha,
        "minimum": MIN_MEAN_COUNT,
        "classes": list(study.class_names),
        "sizes": study.class_sizes.tolist(),
        "seeds": study.seeds,
        "conditions": [_condition(results, condition) for condition in study.conditions],
        "series": [_series(study, name) for name in [*study.noise_series, *study.reduction_series]],
        "runs": [list(run) for run in runs],
        "comparisons": [_comparison(study, kind, matrix) for kind, matrix in pairs],
        "limit": _number(subject.limit),
        "curves": [_curve(curve) for curve in curves],
        "orders": _orders(results),
        "equal": _equal_damage(results),
        "exchange": [_exchange(study, rates) for rates in results.exchange],
        "lookalikes": _lookalikes(subject.separation),
        "suspects": [each.index for each in subject.suspects],
        "sprite": None if test is None else test.to_json(),
        "train": None if train is None else train.to_json() | {"of_class": train_sizes},
        "chosen": choice.why,
        "findings": [of_finding(each, study) for each in subject.findings],
        "advice": [of_advice(each, study) for each in subject.advice],
        "claims_title": subject.claims.title if subject.claims else "",
        "claims": [of_verdict(each, subject.claims, study) for each in subject.verdicts if subject.claims],
        "caveats": list(subject.caveats),
        "start": _start(results),
    }
    return Payload(values, arrays, test, train)


def _seed_places(study: Study, condition: Condition) -> list[int]:
    return [study.seeds.index(seed) for seed in study.common_seeds(condition)]


def _confidence(study: Study, runs: Sequence[tuple[int, int]], images: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    """(runs, m) the probability of what is predicted, of 255; None where a record cannot be read any more."""
    rows, name = [], "test_probabilities"
    for c, s in runs:
        place = study.directories.get((study.conditions[c], study.seeds[s]))
        try:
            values = read_record(place, arrays=(name,)).arrays[name][images] if place is not None else None
        except (UserError, KeyError):
            values = None
        if values is None:
            return None
        preds = study.preds[c, s, images].astype(np.int64)
        rows.append(as_bytes(np.take_along_axis(values, preds[:, np.newaxis], axis=1)[:, 0]))
    return np.stack(rows)


# Comparisons


def _compared(results: Results) -> Iterator[tuple[str, RelativeMatrix]]:
    """Every difference of two matrices of which there are intervals, with what it is for."""
    study, seen = results.study, set()
    for versus in results.compared.values():
        yield "baseline", versus.relative
    wanted = [("misled", cost.noise, cost.control) for cost in results.costs]
    for twins in results.twins:
        seen.add((twins.human, twins.matched))
        yield "people", twins.relative
    wanted += [("equal", noise, reduction) for noise, reduction, _ in _of_equal_damage(results)]
    for kind, condition, other in wanted:
        if (condition, other) not in seen and study.common_seeds(condition, other):
            seen.add((condition, other))
            yield kind, relative_matrix(study, condition, other, alpha=results.alpha)


def _comparison(study: Study, kind: str, matrix: RelativeMatrix) -> Json:
    return {
        "kind": kind,
        "condition": study.conditions.index(matrix.condition),
        "other": study.conditions.index(matrix.other),
        "title": matrix.title,
    }


def _comparison_arrays(matrices: Sequence[RelativeMatrix], num_classes: int) -> dict[str, NDArray[Any]]:
    """(comparisons, K, K) values, ends, adjusted p and flags: 1 judged, 2 marked."""

    def stacked(parts: list[Floats]) -> NDArray[np.float32]:
        return np.array(parts, np.float32).reshape(-1, num_classes, num_classes)

    flags = [each.judged + 2 * each.marked for each in matrices]
    return {
        "cell_value": stacked([each.cells.value for each in matrices]),
        "cell_low": stacked([each.cells.low for each in matrices]),
        "cell_high": stacked([each.cells.high for each in matrices]),
        "cell_p": stacked([each.adjusted_p for each in matrices]),
        "cell_flags": np.array(flags, np.uint8).reshape(-1, num_classes, num_classes),
    }


def _direction_arrays(results: Results) -> dict[str, NDArray[Any]]:
    """(conditions, pairs i < j) difference of both directions, its ends, adjusted p, and whether it is marked."""
    found = [each.direction for each in results.conditions]

    def stacked(parts: list[Floats]) -> NDArray[np.float32]:
        return np.array(parts, np.float32)

    return {
        "pair_value": stacked([each.difference.value for each in found]),
        "pair_low": stacked([each.difference.low for each in found]),
        "pair_high": stacked([each.difference.high for each in found]),
        "pair_p": stacked([adjusted_p(each.difference.p) for each in found]),
        "pair_marked": np.array([each.marked for each in found], np.uint8),
    }


def _of_equal_damage(results: Results) -> Iterator[tuple[Condition, Condition, str]]:
    """For each noise the reduction whose accuracy falls by nearly as much, and how near, in words."""
    falls = {condition: versus.accuracy_fall.scaled(100) for condition, versus in results.compared.items()}
    reductions = [condition for condition in falls if condition.is_reduced and not condition.is_noisy]
    for noise in (condition for condition in falls if condition.is_noisy):
        shared = [each for each in reductions if results.study.common_seeds(noise, each)]
        if shared:
            nearest = min(shared, key=lambda each: abs(float(falls[each].value - falls[noise].value)))
            words = (
                f"{noise.label} costs {falls[noise].text()} points of accuracy, {nearest.label} "
                f"{falls[nearest].text()}: the nearest that was run"
            )
            yield noise, nearest, words


def _equal_damage(results: Results) -> list[Json]:
    place = results.study.conditions.index
    return [{"noise": place(n), "reduction": place(r), "text": text} for n, r, text in _of_equal_damage(results)]


# Conditions, curves, classes


def _condition(results: Results, condition: Condition) -> Json:
    study, result = results.study, results.of(condition)
    versus = result.versus_baseline
    recall = result.recall.scaled(100)
    return {
        "name": condition.name,
        "label": condition.label,
        "series": condition.series,
        "level": condition.level,
        "noisy": condition.is_noisy,
        "reduced": condition.is_reduced,
        "seeds": _seed_places(study, condition),
        "train_size": _number(study.mean_of("train_size", condition)),
        "wrong_labels": _number(study.mean_of("effective_noise", condition)) if condition.is_noisy else None,
        "accuracy": result.accuracy.scaled(100).text(unit="%"),
        "fall": versus.accuracy_fall.scaled(100).text(unit="points") if versus else "",
        "recall": {"value": _numbers(recall.value), "low": _numbers(recall.low), "high": _numbers(recall.high)},
        "falls": [] if versus is None else _texts(versus.fall.scaled(100)),
    }


def _series(study: Study, name: str) -> Json:
    levels = [condition for condition in study.conditions if condition.series == name]
    shown = [*([BASELINE] if study.has(BASELINE) else []), *sorted(levels)]
    return {
        "name": name,
        "label": levels[0].series_label,
        "conditions": [study.conditions.index(condition) for condition in shown],
    }


def _curve(curve: Curve) -> Json:
    by_loss = np.argsort(np.argsort(-np.nan_to_num(curve.loss.value, nan=-np.inf), kind="stable"), kind="stable")
    return {
        "series": curve.kind,
        "label": curve.label,
        "loss": _texts(curve.loss, digits=2),
        "rank": (by_loss + 1).tolist(),
        "ranks": None if curve.ranks is None else [_numbers(row) for row in curve.ranks],
        "knee": [knee.text() for knee in curve.knees],
    }


def _exchange(study: Study, rates: ExchangeRates) -> Json:
    def words(found: Any) -> str:
        if np.isnan(found.size.value):
            return ""
        return f"{found.size.text(',.0f', significant=3)} of {found.examples:,.0f} clean examples do as well"

    return {
        "condition": study.conditions.index(rates.noise),
        "overall": words(rates.overall),
        "classes": [words(rates.classes[c]) for c in range(study.num_classes)],
    }


def _lookalikes(separation: Separation | None) -> Json | None:
    """Shares of each class that are taken for each other, in percent, and what others say of the pairs."""
    if separation is None:
        return None
    directed = separation.found.directed.scaled(100)
    return {
        "value": [_numbers(row) for row in directed.value],
        "low": [_numbers(row) for row in directed.low],
        "high": [_numbers(row) for row in directed.high],
        "maps": [
            {
                "name": each.name,
                "label": each.label,
                "distances": each.distances,
                "values": [_numbers(row) for row in each.values],
            }
            for each in separation.maps
        ],
    }


def _orders(results: Results) -> Json:
    study = results.study
    counts = study.counts_of(results.reference.condition).sum(axis=0)
    confused = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    recall = np.nan_to_num(results.reference.recall.value, nan=np.inf)
    return {
        "name": np.argsort(np.array(study.class_names), kind="stable").tolist(),
        "given": list(range(study.num_classes)),
        "accuracy": np.argsort(recall, kind="stable").tolist(),
        "lookalike": lookalike_order(counts).tolist(),
        "confused": np.argsort(-confused, kind="stable").tolist(),
        "sensitive": {
            curve.kind: np.argsort(-np.nan_to_num(curve.loss.value, nan=-np.inf), kind="stable").tolist()
            for curve in results.curves.values()
        },
    }


def _start(results: Results) -> Json:
    """What is shown first: the strongest level of the first curve, or else whatever was run."""
    study = results.study
    curve = next(iter(results.curves.values()), None)
    shown = curve.conditions[-1] if curve else next(iter(results.compared), results.reference.condition)
    return link_to(study, "matrix", condition=shown)


# Numbers


def _number(value: float | np.floating[Any]) -> float | None:
    return float(f"{float(value):.{_DIGITS}g}") if np.isfinite(value) else None


def _numbers(values: Floats) -> list[float | None]:
    return [_number(value) for value in values]


def _texts(found: Estimate, digits: int = 1) -> list[str]:
    return [found[c].text(digits) if np.isfinite(found.value[c]) else "" for c in range(len(found.value))]
