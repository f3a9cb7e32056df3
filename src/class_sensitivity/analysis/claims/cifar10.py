"""J. Prendki and A. Devkar, "Can you lie to your model?", on CIFAR-10: its claims, and what its figures show."""

import numpy as np

from class_sensitivity.analysis.claims.judging import (
    CONTRADICTED,
    IMAGES,
    POINTS,
    REPRODUCED,
    UNDECIDED,
    ClaimSet,
    Compare,
    Comparison,
    Evidence,
    Focus,
    MissingRunsError,
    Verdict,
    decide,
    noise,
    reduction,
)
from class_sensitivity.analysis.sensitivity import contrast
from class_sensitivity.analysis.statistics import Estimate, benjamini_hochberg, rank_correlation
from class_sensitivity.runs.condition import BASELINE, Condition

#: The levels that its claims about curves speak of.
NOISE_LEVELS = (noise(0.1), noise(0.2), noise(0.3))
REDUCTION_LEVELS = (reduction(0.2), reduction(0.6), reduction(0.9))

FOCUS = Focus(
    cells=(("cat", "dog"), ("dog", "frog"), ("cat", "deer"), ("deer", "cat"), ("cat", "frog")),
    mistaken=("cat", "frog"),
    variety=("bird", "truck"),
    mild_noise=0.1,
    strong_noise=0.3,
    strong_reduction=0.9,
    side_by_side={
        "fig6_noise_against_reduction": (noise(0.2), reduction(0.6)),
        "fig9_noise_against_reduction": (noise(0.2), reduction(0.2)),
    },
    figure_numbers={
        "fig2_confusion": "figure 2",
        "fig3_mistaken": "figure 3",
        "fig4_shuffle": "figure 4",
        "fig5_reduction": "figure 5",
        "fig6_noise_against_reduction": "figure 6",
        "fig7_variety": "figure 7",
        "fig8_diagonal": "the article's figure 8, for every class",
        "fig9_noise_against_reduction": "figure 9",
        "fig10_order": "figure 10",
    },
)

CLAIMS = ClaimSet("The article's claims", data="cifar10", focus=FOCUS)


@CLAIMS.add("asymmetry", "The baseline matrix is not symmetric: confusion has a direction.")
def _asymmetry(evidence: Evidence) -> Verdict:
    evidence.need()
    direction = evidence.results.of(BASELINE).direction
    size = np.abs(direction.difference.value)
    strongest = int(np.argmax(np.where(direction.marked, size, -1) if direction.marked.any() else size))
    e = direction.difference[strongest]
    i, j = (evidence.study.class_names[k] for k in direction.pairs[strongest])
    marked = int(direction.marked.sum())
    sentence = (
        f"{marked} of {len(direction.pairs)} pairs of classes are confused more often one way than the other "
        f"(false discovery rate {evidence.results.alpha:g}); overall asymmetry is {direction.asymmetry:.2f} of 1, and "
        f"the strongest is {i} -> {j} minus {j} -> {i}: {e.text(2, signed=True, unit=IMAGES)}."
    )
    return Verdict.of(REPRODUCED if marked else UNDECIDED, e, IMAGES, sentence)


@CLAIMS.add("cat-deer", "Cat is taken for deer more often than deer for cat.", "cat", "deer")
def _cat_deer(evidence: Evidence) -> Verdict:
    evidence.need()
    cat, deer = evidence.index("cat"), evidence.index("deer")
    weights = {(BASELINE, cat, deer): 1.0, (BASELINE, deer, cat): -1.0}
    return decide([evidence.cells(weights, "cat -> deer minus deer -> cat")], IMAGES)


@CLAIMS.add(
    "airplane-10", "Airplane's recall is hardly changed by 10 % noise (taken as: by less than 2 points).", "airplane"
)
def _airplane(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1))
    weights = {(BASELINE, "airplane"): 1.0, (noise(0.1), "airplane"): -1.0}
    return decide([evidence.recalls(weights, "airplane's fall at 10 % noise", above=-2, below=2)], POINTS)


@CLAIMS.add("cat-dog-frog", "10 % noise lowers cat -> dog and raises dog -> frog.", "cat", "dog", "frog")
def _cat_dog_frog(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1))
    cat, dog, frog = (evidence.index(name) for name in ("cat", "dog", "frog"))
    lowered = {(BASELINE, cat, dog): 1.0, (noise(0.1), cat, dog): -1.0}
    raised = {(noise(0.1), dog, frog): 1.0, (BASELINE, dog, frog): -1.0}
    return decide(
        [evidence.cells(lowered, "fall of cat -> dog"), evidence.cells(raised, "rise of dog -> frog")], IMAGES
    )


@CLAIMS.add("cat-worst-noise", "Cat has the lowest recall at every noise level.", "cat")
def _cat_worst_noise(evidence: Evidence) -> Verdict:
    return decide(evidence.lowest("cat", evidence.curve(*NOISE_LEVELS).conditions), POINTS)


@CLAIMS.add("bird-noise", "Bird has the largest fall under noise.", "bird")
def _bird_noise(evidence: Evidence) -> Verdict:
    return decide(evidence.falls_more(evidence.curve(*NOISE_LEVELS), lambda steep, _: steep == "bird"), POINTS)


@CLAIMS.add("bird-knee", "Bird's fall steepens between 15 % and 20 % noise.", "bird")
def _bird_knee(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1), noise(0.15), noise(0.2))
    # fall from 15 to 20 % minus fall from 10 to 15 %, both over 5 points of noise
    weights = {(noise(0.15), "bird"): 2.0, (noise(0.2), "bird"): -1.0, (noise(0.1), "bird"): -1.0}
    return decide([evidence.recalls(weights, "bird's fall from 15 to 20 % minus its fall from 10 to 15 %")], POINTS)


@CLAIMS.add("stable", "Frog and truck are the least affected by noise.", "frog", "truck")
def _stable(evidence: Evidence) -> Verdict:
    stable, curve = ("frog", "truck"), evidence.curve(*NOISE_LEVELS)
    return decide(evidence.falls_more(curve, lambda steep, flat: flat in stable and steep not in stable), POINTS)


@CLAIMS.add("drop-40k", "Accuracy falls by about 1 point (taken as: 0.5 to 1.5) when a fifth of the data is removed.")
def _drop_40k(evidence: Evidence) -> Verdict:
    evidence.need(reduction(0.2))
    weights = {BASELINE: 100.0, reduction(0.2): -100.0}
    fall = contrast(evidence.study, weights, alpha=evidence.results.alpha, overall=True)
    comparison = Comparison("fall of accuracy with 20 % of the data removed", fall, fall, above=0.5, below=1.5)
    return decide([lambda _: comparison], "points of accuracy")


@CLAIMS.add("cat-worst-reduction", "Cat has the lowest recall at every volume of data.", "cat")
def _cat_worst_reduction(evidence: Evidence) -> Verdict:
    return decide(evidence.lowest("cat", evidence.curve(*REDUCTION_LEVELS).conditions), POINTS)


@CLAIMS.add(
    "bird-reduction",
    "Bird has the largest fall under reduction, with about 50 more mistakes (taken as: 25 to 75 of 1,000) "
    "when a fifth is removed.",
    "bird",
)
def _bird_reduction(evidence: Evidence) -> Verdict:
    largest = evidence.falls_more(evidence.curve(*REDUCTION_LEVELS), lambda steep, _: steep == "bird")
    weights = {(BASELINE, "bird"): 1.0, (reduction(0.2), "bird"): -1.0}
    mistakes = evidence.recalls(weights, "more mistakes on bird with 20 % removed", above=2.5, below=7.5)
    return decide([*largest, mistakes], POINTS)


@CLAIMS.add(
    "noise20-reduction60",
    "At 20 % noise against 60 % reduction cat and deer suffer alike (taken as: within 3 points), "
    "airplane and horse suffer more from noise.",
    "cat",
    "deer",
    "airplane",
    "horse",
)
def _noise20_reduction60(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.2), reduction(0.6))

    def extra(name: str, **bounds: float) -> Compare:
        weights = {(reduction(0.6), name): 1.0, (noise(0.2), name): -1.0}
        return evidence.recalls(weights, f"what {name} loses more to noise than to reduction", **bounds)

    alike = [extra(name, above=-3, below=3) for name in ("cat", "deer")]
    return decide([*alike, extra("airplane"), extra("horse")], POINTS)


@CLAIMS.add("noise-worse", "At 20 % against 20 %, noise costs more than reduction, for every class.")
def _noise_worse(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.2), reduction(0.2))
    return decide(
        [
            evidence.recalls(
                {(reduction(0.2), name): 1.0, (noise(0.2), name): -1.0}, f"what {name} loses more to noise"
            )
            for name in evidence.study.class_names
        ],
        POINTS,
    )


@CLAIMS.add("nonlinear", "Recall against noise depends on the class and is not linear.")
def _nonlinear(evidence: Evidence) -> Verdict:
    curve, study, alpha = evidence.curve(*NOISE_LEVELS), evidence.study, evidence.results.alpha
    # The quadratic component of each curve, as the bend in points over the whole range of levels.
    powers = np.vander(curve.levels / curve.levels.max(), 3, increasing=True)
    quadratic = dict(zip(curve.conditions, 100 * np.linalg.pinv(powers)[2], strict=True))
    bend = contrast(study, quadratic, alpha=alpha)
    bent = benjamini_hochberg(bend.p, alpha)
    steepest, flattest = int(np.nanargmin(curve.slope.value)), int(np.nanargmax(curve.slope.value))
    classes = study.class_names
    pair = (classes[steepest], classes[flattest])
    tests = len(classes) * (len(classes) - 1) // 2  # the pair was chosen after looking
    (compare,) = evidence.falls_more(curve, lambda *these: these == pair)
    differs = compare(1 / tests)
    e = bend[int(np.nanargmax(np.abs(bend.value)))]
    depends = bool(differs.wide.low > 0)
    sentence = (
        f"The slopes of {pair[0]} and {pair[1]} {'differ' if depends else 'do not differ for certain'} "
        f"({differs.wide.text(2, signed=True, unit=POINTS)} per 10 points of noise, widened for {tests} pairs), and "
        f"{int(bent.sum())} of {len(classes)} curves have a quadratic bend (false discovery rate "
        f"{alpha:g}; the strongest is {e.text(2, signed=True)} points over the range)."
    )
    return Verdict.of(REPRODUCED if depends and bent.any() else UNDECIDED, e, POINTS, sentence)


@CLAIMS.add(
    "baseline-order", "The worst classes of the baseline are cat, dog, deer, in that order.", "cat", "dog", "deer"
)
def _baseline_order(evidence: Evidence) -> Verdict:
    evidence.need()
    worst = ("cat", "dog", "deer")
    steps = [("cat", "dog"), ("dog", "deer")]
    steps += [("deer", name) for name in evidence.study.class_names if name not in worst]
    return decide(
        [
            evidence.recalls({(BASELINE, upper): 1.0, (BASELINE, lower): -1.0}, f"{upper} minus {lower}")
            for lower, upper in steps
        ],
        POINTS,
    )


@CLAIMS.add(
    "bird-dog-flip", "The order of bird and dog is not the same at the baseline and at 90 % reduction.", "bird", "dog"
)
def _bird_dog_flip(evidence: Evidence) -> Verdict:
    evidence.need(reduction(0.9))

    def bird_minus_dog(condition: Condition) -> Comparison:
        return evidence.recalls({(condition, "bird"): 1.0, (condition, "dog"): -1.0}, "")(1 / 2)

    first, last = bird_minus_dog(BASELINE), bird_minus_dog(reduction(0.9))
    product = float(first.estimate.value * last.estimate.value)

    def excludes_zero(estimate: Estimate) -> bool:
        return bool(estimate.low > 0 or estimate.high < 0)

    # To keep the order both must be known; each is one of two ways to be wrong, hence the widened ones.
    if excludes_zero(first.estimate) and excludes_zero(last.estimate) and product < 0:
        verdict = REPRODUCED
    elif excludes_zero(first.wide) and excludes_zero(last.wide) and product > 0:
        verdict = CONTRADICTED
    else:
        verdict = UNDECIDED
    sentence = (
        f"Bird minus dog: {last.estimate.text(2, signed=True)} at 90 % reduction and "
        f"{first.estimate.text(2, signed=True)} at the baseline, in {POINTS}."
    )
    return Verdict.of(verdict, last.estimate, POINTS, sentence)


@CLAIMS.add(
    "not-model-specific",
    "Which classes are sensitive does not depend on the model, and noise costs more than reduction for every model.",
)
def _not_model_specific(evidence: Evidence) -> Verdict:
    command = evidence.command(*NOISE_LEVELS, reduction(0.2))
    two_models = MissingRunsError(f"{command}   # both again with another model=NAME")
    try:
        evidence.need(*NOISE_LEVELS, reduction(0.2))
        curve = evidence.curve(*NOISE_LEVELS)
    except MissingRunsError:
        raise two_models from None
    mine = curve.slope.value
    classes = evidence.study.class_names
    compared = [o for o in evidence.others if "shuffle" in o.curves and o.study.class_names == classes]
    if not compared:
        raise two_models
    agreements = [rank_correlation(mine, other.curves["shuffle"].slope.value) for other in compared]
    weakest = int(np.argmin([rho for rho, _ in agreements]))
    costs = [cost for results in (evidence.results, *compared) for cost in results.costs]
    dearer = all(cost.overall_misled.low > 0 for cost in costs)
    rho, p = agreements[weakest]
    sentence = (
        f"The order of sensitivity agrees with {compared[weakest].study.model} at a rank correlation of {rho:.2f} "
        f"(p = {p:.3g}), the weakest of {len(compared)} models; noise costs more than its control "
        f"{'in every' if dearer else 'not in every'} comparison ({len(costs)})."
    )
    verdict = REPRODUCED if rho > 0 and p <= evidence.results.alpha and costs and dearer else UNDECIDED
    return Verdict("", "", verdict, rho, unit="rank correlation", seeds=len(curve.seeds), sentence=sentence)
