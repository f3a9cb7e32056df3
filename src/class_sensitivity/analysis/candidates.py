"""Which classes can still be the first, where one alone would be undecided."""

from collections.abc import Sequence

import numpy as np

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import Curve
from class_sensitivity.analysis.wording import joined

#: Two classes whose losses differ by less than this, in points per 10 points of stress, are called a practical tie.
TIE_POINTS = 1.0


def candidates(gaps: Estimate, alpha: float) -> list[int]:
    """The classes that can still be the largest: all that no other class is certainly larger than.

    A subset selection in the sense of S. S. Gupta, "On some multiple decision (selection and ranking) rules",
    Technometrics 7 (1965): the true largest is left out with probability alpha at most, by Bonferroni's inequality.

    Args:
        gaps: Estimates of shape (K, K), [i, j]: by how much class i is larger than class j.
        alpha: That probability.

    Returns:
        Class indices, in their order; without the classes of which nothing is known.
    """
    known = ~np.isnan(gaps.value).all(axis=1)
    above = np.nan_to_num(gaps.p_above(0.0), nan=1.0)
    excluded = (above <= alpha / max(1, known.sum() - 1)).any(axis=0)
    return [int(i) for i in np.flatnonzero(known & ~excluded)]


def who_can_fall_most(curve: Curve, names: Sequence[str], alpha: float, under: str = "") -> str:
    """In words: which classes can lose most per unit of stress, and whether they are a tie.

    Args:
        curve: The curve of a stress.
        names: The K class names.
        alpha: Probability with which the class that truly falls most is left out.
        under: What is added to "falls most".

    Returns:
        A part of a sentence; empty with one seed.
    """
    gaps = curve.slope_gaps
    words = who_can_be_first(gaps, names, alpha, f"falls most{under}")
    possible = candidates(gaps, alpha)
    pairs = [gaps[i, j].at(2 * alpha) for i in possible for j in possible if i < j]
    if words and pairs and all(gap.low > -TIE_POINTS and gap.high < TIE_POINTS for gap in pairs):
        words += f"; they are a practical tie: within {TIE_POINTS:g} point"
    return words


def who_can_be_first(gaps: Estimate, names: Sequence[str], alpha: float, does: str) -> str:
    """In words: which classes can still be the largest, those that look largest first.

    Args:
        gaps: Estimates of shape (K, K), [i, j]: by how much class i is larger than class j.
        names: The K class names.
        alpha: Probability with which the true largest is left out.
        does: What the largest class does, after its name.

    Returns:
        A part of a sentence; empty with one seed.
    """
    if len(gaps.per_seed) < 2:
        return ""
    known = np.flatnonzero(~np.isnan(gaps.value).all(axis=1)).tolist()
    order = sorted(known, key=lambda i: -float(np.nanmean(gaps.value[i])))
    possible = candidates(gaps, alpha)
    first, excluded = ([names[i] for i in order if (i in possible) == inside] for inside in (True, False))
    if not excluded:
        return f"any class may be the one that {does}"
    if len(first) > len(excluded):
        return f"any class but {joined(excluded)} may be the one that {does}"
    if len(first) == 1:
        return f"{first[0]} {does}, and certainly no other class"
    return f"the class that {does} is {joined(first, last='or')}"
