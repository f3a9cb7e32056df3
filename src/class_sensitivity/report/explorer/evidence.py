"""From a sentence to the view that shows it: a view is what stands behind the # of the page's address."""

from collections.abc import Sequence
from typing import Any

from class_sensitivity.analysis.advice import IMAGES, MERGE, Advice
from class_sensitivity.analysis.claims.claim_set import ClaimSet
from class_sensitivity.analysis.claims.judging import Verdict
from class_sensitivity.analysis.study import Study
from class_sensitivity.report.parts import Finding
from class_sensitivity.runs.condition import BASELINE, Condition

Json = dict[str, Any]


def link_to(
    study: Study,
    view: str,
    *,
    condition: Condition | None = None,
    other: Condition | None = None,
    classes: Sequence[int] = (),
    series: str = "",
    mark: Sequence[int] = (),
    merged: Sequence[int] = (),
    cell: Sequence[int] = (),
) -> Json:
    """A view of the page, as the words of its address.

    Args:
        study: The study.
        view: `matrix`, `dose`, `side`, `class` or `pair`.
        condition: Which is shown.
        other: What it is compared with; None for the baseline.
        classes: Of a class or pair page.
        series: Whose levels are shown.
        mark: Classes that are pointed out.
        merged: Classes that count as one.
        cell: True and predicted class of the cell that is open.
    """
    words: Json = {"v": view}
    if condition is not None and study.has(condition):
        words["c"] = condition.name
    if other is not None and study.has(other):
        words["b"] = other.name
    if series:
        words["s"] = series
    for key, numbers in (("k", classes), ("hl", mark), ("merge", merged), ("cell", cell)):
        if numbers:
            words[key] = ".".join(str(int(c)) for c in numbers)
    return words


def _view(
    study: Study, condition: Condition | None, other: Condition | None, classes: Sequence[int], series: str
) -> Json:
    """A pair, two conditions, a class, a whole curve or a condition."""
    if len(classes) == 2:
        return link_to(study, "pair", condition=condition or BASELINE, classes=classes)
    if condition is not None and other is not None:
        return link_to(study, "side", condition=condition, other=other, mark=classes)
    if classes:
        return link_to(study, "class", condition=condition, classes=classes, series=series)
    if series:
        return link_to(study, "dose", series=series)
    return link_to(study, "matrix", condition=condition or BASELINE)


def of_finding(found: Finding, study: Study) -> Json:
    """A finding and its view, or the figure of the printed report that shows it."""
    if found.figure:
        return {"text": found.sentence, "view": None, "place": f"{study.recipe}-{found.figure}"}
    view = _view(study, found.condition, found.other, found.classes, found.curve)
    return {"text": found.sentence, "view": view, "place": ""}


def of_advice(advice: Advice, study: Study) -> Json:
    """A piece of advice and its view: the two classes merged, the cell of single images, or as of a finding."""
    classes = [study.class_names.index(name) for name in advice.classes]
    if advice.about == MERGE:
        view = link_to(study, "matrix", condition=BASELINE, merged=classes)
    elif advice.about == IMAGES:
        view = link_to(study, "matrix", condition=BASELINE, cell=classes)
    else:  # of a list of classes the first one: two of them are no pair
        view = _view(study, advice.condition, advice.other, classes[:1], advice.curve)
    return {"short": advice.short, "text": advice.sentence, "about": advice.about, "view": view}


def of_verdict(verdict: Verdict, claims: ClaimSet, study: Study) -> Json:
    """A claim with its verdict, and the conditions and classes that it rests on."""
    names = claims.claims[verdict.id].classes if verdict.id in claims.claims else ()
    classes = [study.class_names.index(name) for name in names if name in study.class_names]
    there = [each for each in verdict.conditions if study.has(each)]
    strongest = there[-1] if there else None
    if not there:
        view = None
    elif set(there) == {BASELINE} and len(classes) == 2:
        view = link_to(study, "pair", condition=BASELINE, classes=classes)
    elif len(classes) == 1:
        series = next((each.series for each in there if each.series), "")
        view = link_to(study, "class", condition=strongest, classes=classes, series=series or "")
    elif len(there) == 2 and BASELINE not in there:
        view = link_to(study, "side", condition=there[0], other=there[1], mark=classes)
    else:
        view = link_to(study, "matrix", condition=strongest, mark=classes)
    return {
        "id": verdict.id,
        "claim": verdict.claim,
        "verdict": verdict.verdict,
        "text": verdict.sentence,
        "parts": [{"verdict": each.verdict, "text": f"{each.words}. {each.note}".strip()} for each in verdict.parts],
        "needed": verdict.needed.text() if verdict.needed else "",
        "command": verdict.command,
        "view": view,
    }
