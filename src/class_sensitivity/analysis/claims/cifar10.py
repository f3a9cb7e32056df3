"""J. Prendki and A. Devkar, "Can you lie to your model?", on CIFAR-10: its claims, and what its figures show."""

from dataclasses import replace
from itertools import combinations

from class_sensitivity.analysis.claims.claim_set import ClaimSet, Focus
from class_sensitivity.analysis.claims.evidence import SHUFFLE, Evidence, noise, reduction
from class_sensitivity.analysis.claims.judging import (
    Comparison,
    OppositeSigns,
    Part,
    Verdict,
    decide,
    judge_part,
)
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
    return decide([evidence.some_direction(BASELINE)], evidence.alpha)


@CLAIMS.add("cat-deer", "Cat is taken for deer more often than deer for cat.", "cat", "deer")
def _cat_deer(evidence: Evidence) -> Verdict:
    evidence.need()
    words = "cat -> deer minus deer -> cat"
    more = evidence.confusion({BASELINE: 1.0}, "cat", "deer", words, minus_back=True)
    return decide([judge_part("cat -> deer exceeds deer -> cat", [more], evidence.alpha)], evidence.alpha)


@CLAIMS.add(
    "airplane-10", "Airplane's recall is hardly changed by 10 % noise (taken as: by less than 2 points).", "airplane"
)
def _airplane(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1))
    fall = {BASELINE: 1.0, noise(0.1): -1.0}
    change = evidence.recall(fall, "airplane", "airplane's fall at 10 % noise", above=-2, below=2)
    return decide([judge_part("airplane is hardly changed", [change], evidence.alpha)], evidence.alpha)


@CLAIMS.add("cat-dog-frog", "10 % noise lowers cat -> dog and raises dog -> frog.", "cat", "dog", "frog")
def _cat_dog_frog(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1))
    fall, rise = {BASELINE: 1.0, noise(0.1): -1.0}, {noise(0.1): 1.0, BASELINE: -1.0}
    lowered = evidence.confusion(fall, "cat", "dog", "fall of cat -> dog")
    raised = evidence.confusion(rise, "dog", "frog", "rise of dog -> frog")
    alpha = evidence.alpha
    parts = [judge_part("cat -> dog falls", [lowered], alpha), judge_part("dog -> frog rises", [raised], alpha)]
    return decide(parts, alpha)


@CLAIMS.add("cat-worst-noise", "Cat has the lowest recall at every noise level.", "cat")
def _cat_worst_noise(evidence: Evidence) -> Verdict:
    levels = evidence.curve(*NOISE_LEVELS).conditions
    return decide([evidence.lowest("cat", condition) for condition in levels], evidence.alpha)


@CLAIMS.add("bird-noise", "Bird has the largest fall under noise.", "bird")
def _bird_noise(evidence: Evidence) -> Verdict:
    return decide([evidence.falls_most("bird", evidence.curve(*NOISE_LEVELS))], evidence.alpha)


@CLAIMS.add("bird-knee", "Bird's fall steepens between 15 % and 20 % noise.", "bird")
def _bird_knee(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.1), noise(0.15), noise(0.2))
    # fall from 15 to 20 % minus fall from 10 to 15 %, both over 5 points of noise
    weights = {noise(0.15): 2.0, noise(0.2): -1.0, noise(0.1): -1.0}
    steeper = evidence.recall(weights, "bird", "bird's fall from 15 to 20 % minus its fall from 10 to 15 %")
    return decide([judge_part("bird's fall steepens", [steeper], evidence.alpha)], evidence.alpha)


@CLAIMS.add("stable", "Frog and truck are the least affected by noise.", "frog", "truck")
def _stable(evidence: Evidence) -> Verdict:
    stable, curve = ("frog", "truck"), evidence.curve(*NOISE_LEVELS)
    others = [name for name in evidence.study.class_names if name not in stable]
    parts = [
        judge_part(
            f"{flat} falls less than the other eight",
            [evidence.loss_gap(curve, steep, flat) for steep in others],
            evidence.alpha,
        )
        for flat in stable
    ]
    return decide(parts, evidence.alpha)


@CLAIMS.add("drop-40k", "Accuracy falls by about 1 point (taken as: 0.5 to 1.5) when a fifth of the data is removed.")
def _drop_40k(evidence: Evidence) -> Verdict:
    evidence.need(reduction(0.2))
    words = "fall of accuracy with 20 % of the data removed"
    fall = evidence.accuracy({BASELINE: 1.0, reduction(0.2): -1.0}, words, above=0.5, below=1.5)
    return decide([judge_part("accuracy falls by about 1 point", [fall], evidence.alpha)], evidence.alpha)


@CLAIMS.add("cat-worst-reduction", "Cat has the lowest recall at every volume of data.", "cat")
def _cat_worst_reduction(evidence: Evidence) -> Verdict:
    levels = evidence.curve(*REDUCTION_LEVELS).conditions
    return decide([evidence.lowest("cat", condition) for condition in levels], evidence.alpha)


@CLAIMS.add(
    "bird-reduction",
    "Bird has the largest fall under reduction, with about 50 more mistakes (taken as: 25 to 75 of 1,000) "
    "when a fifth is removed.",
    "bird",
)
def _bird_reduction(evidence: Evidence) -> Verdict:
    largest = evidence.falls_most("bird", evidence.curve(*REDUCTION_LEVELS))
    weights, words = {BASELINE: 1.0, reduction(0.2): -1.0}, "more mistakes on bird with 20 % removed"
    mistakes = evidence.recall(weights, "bird", words, above=2.5, below=7.5)
    return decide([largest, judge_part("about 50 more mistakes on bird", [mistakes], evidence.alpha)], evidence.alpha)


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
    extra = {reduction(0.6): 1.0, noise(0.2): -1.0}

    def part(name: str, claimed: str, **bounds: float) -> Part:
        words = f"what {name} loses more to noise than to reduction"
        return judge_part(f"{name} {claimed}", [evidence.recall(extra, name, words, **bounds)], evidence.alpha)

    alike = [part(name, "suffers alike", above=-3, below=3) for name in ("cat", "deer")]
    more = [part(name, "suffers more from noise") for name in ("airplane", "horse")]
    return decide([*alike, *more], evidence.alpha)


@CLAIMS.add("noise-worse", "At 20 % against 20 %, noise costs more than reduction, for every class.")
def _noise_worse(evidence: Evidence) -> Verdict:
    evidence.need(noise(0.2), reduction(0.2))
    # The baseline takes part with a weight of 0, so that the seeds are those of the other comparisons.
    extra = {reduction(0.2): 1.0, noise(0.2): -1.0, BASELINE: 0.0}
    parts = [
        judge_part(
            f"noise costs {name} more",
            [evidence.recall(extra, name, f"what {name} loses more to noise")],
            evidence.alpha,
        )
        for name in evidence.study.class_names
    ]
    return decide(parts, evidence.alpha)


@CLAIMS.add("nonlinear", "Recall against noise depends on the class and is not linear.")
def _nonlinear(evidence: Evidence) -> Verdict:
    curve = evidence.curve(*NOISE_LEVELS)
    return decide([evidence.slopes_differ(curve), evidence.curves_bend(curve)], evidence.alpha)


@CLAIMS.add(
    "baseline-order", "The worst classes of the baseline are cat, dog, deer, in that order.", "cat", "dog", "deer"
)
def _baseline_order(evidence: Evidence) -> Verdict:
    evidence.need()
    worst = ("cat", "dog", "deer")
    steps = [("cat", "dog"), ("dog", "deer")]
    steps += [("deer", name) for name in evidence.study.class_names if name not in worst]
    parts = [
        judge_part(
            f"{lower} is below {upper}",
            [evidence.recall_gap({BASELINE: 1.0}, upper, lower, f"{upper} minus {lower}")],
            evidence.alpha,
        )
        for lower, upper in steps
    ]
    return decide(parts, evidence.alpha)


@CLAIMS.add(
    "bird-dog-flip", "The order of bird and dog is not the same at the baseline and at 90 % reduction.", "bird", "dog"
)
def _bird_dog_flip(evidence: Evidence) -> Verdict:
    evidence.need(reduction(0.9))

    def bird_minus_dog(weights: dict[Condition, float], words: str) -> Comparison:
        return evidence.recall_gap(weights, "bird", "dog", words)

    order = OppositeSigns(
        bird_minus_dog({BASELINE: 1.0}, "bird minus dog at the baseline"),
        bird_minus_dog({reduction(0.9): 1.0}, "bird minus dog at 90 % reduction"),
        bird_minus_dog({BASELINE: 1.0, reduction(0.9): -1.0}, "fall of bird minus fall of dog"),
    )
    return decide([judge_part("bird and dog change places", [order], evidence.alpha)], evidence.alpha)


@CLAIMS.add(
    "not-model-specific",
    "Which classes are sensitive does not depend on the model (taken as: what a class loses beyond the mean is alike "
    "within 1 point per 10 points of noise), and noise costs more than reduction for every model.",
)
def _not_model_specific(evidence: Evidence) -> Verdict:
    compared, models = evidence.models_under(SHUFFLE, "python train.py -m experiment=model_dependence")
    alike = [evidence.fall_alike(compared, *pair) for pair in combinations(range(len(models)), 2)]
    dearer = [evidence.noise_costs_more(results, name) for name, results in zip(compared.models, models, strict=True)]
    found = decide([*alike, *dearer], evidence.alpha)
    return replace(found, command=evidence.more_seeds(compared, found))
