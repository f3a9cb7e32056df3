"""Does noise shift the learning curve sideways without changing its slope?

If wrong labels are worth a fixed share of the examples, accuracy with n of them is what the clean learning curve f has
at rho n, whatever n is: f(ln n + ln rho). rho is fitted to all sizes at once, and what is left over is tested for being
0 (`omnibus`), after the direction in which a change of rho would move it is taken out.

Least squares put rho where the sum of what is left over, times the slope of f there, is 0. At every candidate this sum
is a paired contrast of accuracies, and rho's interval holds the candidates whose contrast has an interval that holds 0,
as that of n_eff does (`exchange`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from class_sensitivity.analysis.contrasts import accuracy_contrast
from class_sensitivity.analysis.exchange import (
    Bounds,
    Exchange,
    ExchangeRates,
    accuracy_exchange,
    monotone_curve,
    where_zero,
)
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import accuracy
from class_sensitivity.runs.condition import Condition

Floats = NDArray[np.float64]

#: Sizes of the training set that the test needs: with two, one is left over after rho is fitted.
_FEWEST_SIZES = 2

#: In ln n, by which derivatives of the curve are taken.
_STEP = 1e-3

#: Shares of which the interval asks whether they fit, evenly spaced in ln rho; between two it is a straight line.
_CANDIDATES = 33

#: Sizes are used at which a gamma of this much can still be seen.
_MOST_GAMMA = 3.0

#: A squared slope below this is none.
_FLAT = 1e-300


@dataclass(frozen=True)
class Sideways:
    """One noise level at several sizes of the training set.

    Attributes:
        noise: The noise, with all examples.
        at: Its exchange rate at every size, the largest first.
        share: rho, the share of the examples that wrong labels leave, fitted to all sizes, with its interval.
        left_over: (M,) accuracy at each size, minus what the shifted curve has there.
        test: Whether anything is left over; None with one seed, or where the share lies beyond what was measured.
    """

    noise: Condition
    at: tuple[Exchange, ...]
    share: Bounds
    left_over: Floats
    test: OmnibusTest | None

    @property
    def sizes(self) -> Floats:
        """(M,) training examples."""
        return np.array([each.examples for each in self.at])


def sideways_shifts(study: Study, rates: Sequence[ExchangeRates], *, alpha: float = 0.05) -> Iterator[Sideways]:
    """Every noise level that was run at two sizes or more, below which the clean learning curve goes on far enough.

    Args:
        study: The runs of one recipe.
        rates: Its exchange rates.
        alpha: 1 - coverage of the intervals.
    """
    known = {(each.noise, each.overall.curve): each.overall for each in rates}
    rows: dict[tuple[Condition, tuple[Condition, ...]], list[Exchange]] = defaultdict(list)
    for each in rates:
        if each.noise.is_reduced:
            noise = replace(each.noise, reduction_frac=0.0, match_steps=False)
            rows[noise, each.overall.curve].append(each.overall)
    for (noise, curve), smaller in rows.items():
        if not study.common_seeds(*curve, noise):
            continue
        # With all examples it may stand on another curve.
        first = known.get((noise, curve)) or accuracy_exchange(study, noise, curve, alpha=alpha)
        at = [each for each in (first, *smaller) if _has_room(each)]
        seeds = study.common_seeds(*curve, *(each.noise for each in at))
        if len(at) >= _FEWEST_SIZES and seeds:
            yield _shift(study, noise, at, seeds, alpha)


def _has_room(exchange: Exchange) -> bool:
    """Whether the clean curve goes on, below this size, as far as wrong labels may well move it.

    That is asked of the design and not of what came out: a size that is used only if its accuracy lies on the curve
    would have its say where chance lifts it, and none where it does not.
    """
    wrong = exchange.wrong if exchange.uninformative is None else exchange.uninformative
    return bool(exchange.sizes[-1] <= exchange.examples * (1 - wrong) ** _MOST_GAMMA)


def _shift(study: Study, noise: Condition, at: Sequence[Exchange], seeds: list[int], alpha: float) -> Sideways:
    curve, sizes = at[0].curve, np.log(at[0].sizes)
    places = np.log([each.examples for each in at])
    clean, noisy = (
        np.array([float(accuracy(study.counts_of(each, seeds)).mean()) for each in conditions])
        for conditions in (curve, [each.noise for each in at])
    )

    # Only shares that keep every size within what was measured.
    bounds = float(sizes[-1] - places.min()), 0.0

    def clean_at(log_share: float) -> tuple[Floats, Floats]:
        """(M,) the curve at a share of every size, and (M, L) its weights."""
        return monotone_curve(sizes, clean, places + log_share)

    def shifted(log_share: float) -> tuple[Floats, Floats, Floats]:
        """The same, and (M,) its slopes by the share's log."""
        fitted, weights = clean_at(log_share)
        near = np.clip([log_share - _STEP, log_share + _STEP], *bounds)
        below, above = (clean_at(each)[0] for each in near)
        return fitted, weights, (above - below) / np.diff(near)

    log_share = minimize_scalar(
        lambda x: float(((clean_at(x)[0] - noisy) ** 2).sum()), bounds=bounds, method="bounded"
    ).x
    conditions = (*curve, *(each.noise for each in at))
    candidates = np.linspace(*bounds, _CANDIDATES)
    found = []
    for candidate in candidates:
        _, weights, slope = shifted(candidate)
        along = slope / max(float(slope @ slope), _FLAT)
        contrast = np.concatenate([along @ weights, -along])
        found.append(accuracy_contrast(study, dict(zip(conditions, contrast, strict=True)), alpha=alpha))
    value, low, high = (np.array([getattr(each, end) for each in found]) for end in ("value", "low", "high"))
    share = where_zero(candidates, value, low, high)

    fitted, weights, slope = shifted(log_share)
    # (M, M) what is left of differences that a change of the share does not explain.
    rest = np.eye(len(at)) - np.outer(slope, slope) / max(float(slope @ slope), _FLAT)
    # (M, clean levels + M) contrasts of accuracies, then of single images
    contrasts = rest @ np.concatenate([-weights, np.eye(len(at))], axis=1)
    right = np.stack([study.preds_of(each, seeds) == study.labels for each in conditions], axis=-1)
    values = right @ contrasts.T / len(study.labels)
    # At the end of what was measured the best share may lie beyond, and something is left over for that reason.
    inside = 0 < share.value < np.inf
    test = omnibus_test(values, study.labels, most_seed_freedom=max(1, len(at) - 1)) if inside else None
    return Sideways(noise, tuple(at), share, noisy - fitted, test)
