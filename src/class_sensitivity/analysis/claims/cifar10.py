"""The article's claims, each a small function from results to a verdict with its evidence.

A claim is an inequality between recalls or counts, or several that must all hold:

- it is *reproduced* when the interval of every part lies on the claimed side;
- it is *contradicted* when the interval of some part, widened for the number of parts (Bonferroni),
  lies on the other side;
- otherwise the runs leave it *undecided*.

That all parts must hold needs no correction for their number (R. L. Berger, "Multiparameter
hypothesis testing and acceptance sampling", Technometrics 24, 1982). "About" and "alike" are given a
margin, stated in the sentence, and count as reproduced when the interval lies within it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from class_sensitivity.analysis.sensitivity import Results, cell_contrast, contrast
from class_sensitivity.analysis.statistics import Estimate, discoveries, slope_weights
from class_sensitivity.analysis.study import BASELINE

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NOT_RUN, NOT_APPLICABLE = "not run", "not applicable"


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        id: Short name of the claim.
        claim: The claim in one sentence.
        verdict: reproduced, contradicted, undecided, not run or not applicable.
        effect: The part of the claim that decided, in `unit`; NaN where nothing was measured.
        low: Lower end of its interval.
        high: Upper end.
        unit: What the effect is counted in.
        seeds: Seeds that were paired.
        sentence: The finding in plain words, or what is missing.
        command: What to run, where conditions are missing.
    """

    id: str
    claim: str
    verdict: str
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    unit: str = ""
    seeds: int = 0
    sentence: str = ""
    command: str = ""


@dataclass(frozen=True)
class Part:
    """One inequality of a claim: a measurement that must lie within bounds.

    Attributes:
        words: What is measured, for the sentence.
        estimate: With its interval at level alpha.
        wide: The same with the interval at level alpha / number of parts.
        above: The claim is that it is above this ...
        below: ... and below this.
    """

    words: str
    estimate: Estimate
    wide: Estimate
    above: float = 0.0
    below: float = float("inf")

    def holds(self) -> bool:
        """Whether the whole interval is where the claim says."""
        return bool(self.estimate.low > self.above and self.estimate.high < self.below)

    def fails(self) -> bool:
        """Whether the whole widened interval is where the claim says it is not."""
        return bool(self.wide.high < self.above or self.wide.low > self.below)

    def margin(self) -> float:
        """Distance of the value from the nearer bound; negative where the value is out of bounds."""
        return float(min(self.estimate.value - self.above, self.below - self.estimate.value))


class _MissingError(Exception):
    """Conditions that a claim needs were not run."""

    def __init__(self, command: str) -> None:
        self.command = command


Judge = Callable[["Evidence"], Verdict]

#: Every claim by its id: (the claim in one sentence, the classes it is about, the function that judges it).
CLAIMS: dict[str, tuple[str, tuple[str, ...], Judge]] = {}


def claim(name: str, text: str, *classes: str) -> Callable[[Judge], Judge]:
    """Enters a function into `CLAIMS`.

    Args:
        name: The claim's id.
        text: The claim in one sentence.
        classes: Classes without which the claim says nothing.

    Raises:
        ValueError: The id is taken.
    """

    def enter(function: Judge) -> Judge:
        if name in CLAIMS:
            raise ValueError(f"claim {name!r} is defined twice")
        CLAIMS[name] = (text, classes, function)
        return function

    return enter


def judge_all(results: Results, others: Sequence[Results] = ()) -> list[Verdict]:
    """Every claim's verdict, in the order in which they are defined.

    Args:
        results: Of the study that is judged.
        others: Of studies of other models on the same data set.
    """
    return [_judge(name, Evidence(results, others)) for name in CLAIMS]


def _judge(name: str, evidence: "Evidence") -> Verdict:
    text, classes, function = CLAIMS[name]
    absent = [each for each in classes if each not in evidence.study.class_names]
    if absent:
        return Verdict(name, text, NOT_APPLICABLE, sentence=f"This data set has no class {absent[0]}.")
    untested = [each for each in evidence.study.class_names if evidence.size(each) == 0]
    if untested:
        return Verdict(name, text, NOT_APPLICABLE, sentence=f"There are no test images of class {untested[0]}.")
    try:
        verdict = function(evidence)
    except _MissingError as missing:
        sentence = "The conditions that this claim is about were not run."
        return Verdict(name, text, NOT_RUN, sentence=sentence, command=missing.command)
    if verdict.seeds == 1:
        verdict = replace(verdict, sentence=f"{verdict.sentence} One seed cannot decide it; run more seeds.")
    return replace(verdict, id=name, claim=text)


class Evidence:
    """What a claim may ask of the results; a missing condition ends the claim with a command.

    Args:
        results: Of the study that is judged.
        others: Of studies of other models on the same data set.
    """

    def __init__(self, results: Results, others: Sequence[Results]) -> None:
        self.results, self.study, self.others = results, results.study, others

    def index(self, name: str) -> int:
        """A class by name."""
        return self.study.class_names.index(name)

    def size(self, name: str) -> int:
        """Test images of a class."""
        return int((self.study.labels == self.index(name)).sum())

    def need(self, *, noise: Sequence[float] = (), reduction: Sequence[float] = ()) -> dict[float, str]:
        """The names of the baseline (0.0) and of conditions by level; seeds must be shared by all."""
        found = {0.0: BASELINE}
        missing = [] if self.study.has(BASELINE) else ["noise.frac=0"]
        for level, name in [(x, f"noise-shuffle-{x!r}") for x in noise] + [(r, f"reduction-{r!r}") for r in reduction]:
            found[level] = name
            if not self.study.has(name):
                missing.append(f"{'noise' if name.startswith('noise') else 'reduction'}.frac={level}")
        if missing or not self.study.common_seeds(*found.values()):
            raise _MissingError(_command(noise, reduction))
        return found

    def levels(self, kind: str, wanted: Sequence[float]) -> list[str]:
        """All conditions of a series, which must hold at least the wanted levels."""
        which = "reduction" if kind == "reduction" else "noise"
        self.need(**{which: wanted})
        curve = self.results.curves[kind]
        if not set(wanted) <= set(curve.levels.tolist()):  # run, but with too few seeds in common
            raise _MissingError(_command(**({"noise": [], "reduction": []} | {which: wanted})))
        return [condition.name for condition in curve.conditions]

    def recalls(self, weights: Mapping[tuple[str, str], float], words: str, **bounds: float) -> Callable[[float], Part]:
        """A weighted sum of recalls, (condition, class) -> weight, in points of recall."""
        cells = {
            (condition, self.index(name), self.index(name)): 100 * weight / self.size(name)
            for (condition, name), weight in weights.items()
        }
        return self.cells(cells, words, **bounds)

    def cells(
        self, weights: Mapping[tuple[str, int, int], float], words: str, **bounds: float
    ) -> Callable[[float], Part]:
        """A weighted sum of confusion counts as a part whose widened interval is still to be chosen."""
        alpha = self.results.alpha

        def part(share: float) -> Part:
            estimate = cell_contrast(self.study, weights, alpha=alpha)
            wide = cell_contrast(self.study, weights, alpha=alpha * share)
            return Part(words, estimate, wide, **bounds)

        return part


def _command(noise: Sequence[float], reduction: Sequence[float]) -> str:
    commands = []
    if noise:
        commands.append(f"python train.py -m noise.frac={','.join(map(str, [0, *noise]))} seed=1,2,3,4,5")
    if reduction:
        commands.append(f"python train.py -m reduction.frac={','.join(map(str, [0, *reduction]))} seed=1,2,3,4,5")
    return " && ".join(commands or ["python train.py -m seed=1,2,3,4,5"])


def _decide(parts: Iterable[Callable[[float], Part]], unit: str, finding: str = "") -> Verdict:
    """Puts parts together: all must hold, one that fails is enough to contradict."""
    makers = list(parts)
    made = [maker(1 / len(makers)) for maker in makers]
    weakest = min(made, key=Part.margin)
    failing = [part for part in made if part.fails()]
    if all(part.holds() for part in made):
        verdict = REPRODUCED
    elif failing:
        verdict, weakest = CONTRADICTED, min(failing, key=Part.margin)
    else:
        verdict = UNDECIDED
    e = weakest.wide if verdict == CONTRADICTED else weakest.estimate
    decisive = f"{weakest.words}: {_signed(e)} {unit}"
    if len(made) > 1:
        decisive = (
            f"of {len(made)} comparisons {sum(part.holds() for part in made)} hold; the decisive one is {decisive}"
        )
    sentence = f"{finding} {decisive}".strip()
    sentence = sentence[0].upper() + sentence[1:] + "."
    seeds = len(e.per_seed)
    return Verdict("", "", verdict, float(e.value), float(e.low), float(e.high), unit, seeds, sentence)


def _signed(estimate: Estimate) -> str:
    """A difference with its interval, if it has one."""
    interval = "" if np.isnan(estimate.low) else f" [{float(estimate.low):+.2f}, {float(estimate.high):+.2f}]"
    return f"{float(estimate.value):+.2f}{interval}"


POINTS = "points of recall"
IMAGES = "test images"


@claim("asymmetry", "The baseline matrix is not symmetric: confusion has a direction.")
def _asymmetry(evidence: Evidence) -> Verdict:
    evidence.need()
    direction = evidence.results.direction[BASELINE]
    size = np.abs(direction.difference.value)
    strongest = int(np.argmax(np.where(direction.marked, size, -1) if direction.marked.any() else size))
    e = direction.difference[strongest]
    i, j = (evidence.study.class_names[k] for k in direction.pairs[strongest])
    marked = int(direction.marked.sum())
    sentence = (
        f"{marked} of {len(direction.pairs)} pairs of classes are confused more often one way than the other "
        f"(false discovery rate {evidence.results.alpha:g}); overall asymmetry is {direction.asymmetry:.2f} of 1, and "
        f"the strongest is {i} -> {j} minus {j} -> {i}: {_signed(e)} {IMAGES}."
    )
    verdict = REPRODUCED if marked else UNDECIDED
    return Verdict("", "", verdict, float(e.value), float(e.low), float(e.high), IMAGES, len(e.per_seed), sentence)


@claim("cat-deer", "Cat is taken for deer more often than deer for cat.", "cat", "deer")
def _cat_deer(evidence: Evidence) -> Verdict:
    evidence.need()
    cat, deer = evidence.index("cat"), evidence.index("deer")
    weights = {(BASELINE, cat, deer): 1.0, (BASELINE, deer, cat): -1.0}
    return _decide([evidence.cells(weights, "cat -> deer minus deer -> cat")], IMAGES)


@claim(
    "airplane-10", "Airplane's recall is hardly changed by 10 % noise (taken as: by less than 2 points).", "airplane"
)
def _airplane(evidence: Evidence) -> Verdict:
    at = evidence.need(noise=[0.1])
    weights = {(BASELINE, "airplane"): 1.0, (at[0.1], "airplane"): -1.0}
    return _decide([evidence.recalls(weights, "airplane's fall at 10 % noise", above=-2, below=2)], POINTS)


@claim("cat-dog-frog", "10 % noise lowers cat -> dog and raises dog -> frog.", "cat", "dog", "frog")
def _cat_dog_frog(evidence: Evidence) -> Verdict:
    at = evidence.need(noise=[0.1])
    cat, dog, frog = (evidence.index(name) for name in ("cat", "dog", "frog"))
    lowered = {(BASELINE, cat, dog): 1.0, (at[0.1], cat, dog): -1.0}
    raised = {(at[0.1], dog, frog): 1.0, (BASELINE, dog, frog): -1.0}
    parts = [evidence.cells(lowered, "fall of cat -> dog"), evidence.cells(raised, "rise of dog -> frog")]
    return _decide(parts, IMAGES)


def _lowest(evidence: Evidence, name: str, conditions: Sequence[str]) -> Verdict:
    """A class has the lowest recall at each of some conditions."""
    return _decide(
        [
            evidence.recalls({(condition, other): 1.0, (condition, name): -1.0}, f"{other} minus {name} at {condition}")
            for condition in conditions
            for other in evidence.study.class_names
            if other != name
        ],
        POINTS,
    )


@claim("cat-worst-noise", "Cat has the lowest recall at every noise level.", "cat")
def _cat_worst_noise(evidence: Evidence) -> Verdict:
    return _lowest(evidence, "cat", evidence.levels("shuffle", [0.1, 0.2, 0.3]))


def _falls_more(
    evidence: Evidence, kind: str, wanted: Sequence[float], pairs: Callable[[str, str], bool]
) -> list[Callable[[float], Part]]:
    """One class's slope of recall against another's, for each chosen (steeper, flatter) pair."""
    names = evidence.levels(kind, wanted)
    curve = evidence.results.curves[kind]
    slopes = dict(zip(names, slope_weights(curve.levels) / 10, strict=True))
    classes = evidence.study.class_names
    return [
        evidence.recalls(
            {(n, flat): w for n, w in slopes.items()} | {(n, steep): -w for n, w in slopes.items()},
            f"loss of {steep} minus loss of {flat} per 10 points of stress",
        )
        for steep in classes
        for flat in classes
        if steep != flat and pairs(steep, flat)
    ]


@claim("bird-noise", "Bird has the largest fall under noise.", "bird")
def _bird_noise(evidence: Evidence) -> Verdict:
    return _decide(_falls_more(evidence, "shuffle", [0.1, 0.2, 0.3], lambda steep, _: steep == "bird"), POINTS)


@claim("bird-knee", "Bird's fall steepens between 15 % and 20 % noise.", "bird")
def _bird_knee(evidence: Evidence) -> Verdict:
    at = evidence.need(noise=[0.1, 0.15, 0.2])
    # fall from 15 to 20 % minus fall from 10 to 15 %, both over 5 points of noise
    weights = {(at[0.15], "bird"): 2.0, (at[0.2], "bird"): -1.0, (at[0.1], "bird"): -1.0}
    return _decide([evidence.recalls(weights, "bird's fall from 15 to 20 % minus its fall from 10 to 15 %")], POINTS)


@claim("stable", "Frog and truck are the least affected by noise.", "frog", "truck")
def _stable(evidence: Evidence) -> Verdict:
    stable = ("frog", "truck")
    pairs = _falls_more(
        evidence, "shuffle", [0.1, 0.2, 0.3], lambda steep, flat: flat in stable and steep not in stable
    )
    return _decide(pairs, POINTS)


@claim("drop-40k", "Accuracy falls by about 1 point (taken as: 0.5 to 1.5) when a fifth of the data is removed.")
def _drop_40k(evidence: Evidence) -> Verdict:
    at = evidence.need(reduction=[0.2])
    e = contrast(evidence.study, {BASELINE: 100.0, at[0.2]: -100.0}, alpha=evidence.results.alpha, overall=True)
    part = Part("fall of accuracy with 20 % of the data removed", e, e, above=0.5, below=1.5)
    return _decide([lambda _: part], "points of accuracy")


@claim("cat-worst-reduction", "Cat has the lowest recall at every volume of data.", "cat")
def _cat_worst_reduction(evidence: Evidence) -> Verdict:
    return _lowest(evidence, "cat", evidence.levels("reduction", [0.2, 0.6, 0.9]))


@claim(
    "bird-reduction",
    "Bird has the largest fall under reduction, with about 50 more mistakes (taken as: 25 to 75 of 1,000) "
    "when a fifth is removed.",
    "bird",
)
def _bird_reduction(evidence: Evidence) -> Verdict:
    bird = evidence.index("bird")
    largest = _falls_more(evidence, "reduction", [0.2, 0.6, 0.9], lambda steep, _: steep == "bird")
    at = evidence.need(reduction=[0.2])
    weights = {(BASELINE, bird, bird): 100 / evidence.size("bird"), (at[0.2], bird, bird): -100 / evidence.size("bird")}
    mistakes = evidence.cells(weights, "more mistakes on bird with 20 % removed", above=2.5, below=7.5)
    return _decide([*largest, mistakes], POINTS)


@claim(
    "noise20-reduction60",
    "At 20 % noise against 60 % reduction cat and deer suffer alike (taken as: within 3 points), "
    "airplane and horse suffer more from noise.",
    "cat",
    "deer",
    "airplane",
    "horse",
)
def _noise20_reduction60(evidence: Evidence) -> Verdict:
    at = evidence.need(noise=[0.2], reduction=[0.6])

    def extra(name: str, **bounds: float) -> Callable[[float], Part]:
        weights = {(at[0.6], name): 1.0, (at[0.2], name): -1.0}
        return evidence.recalls(weights, f"what {name} loses more to noise than to reduction", **bounds)

    alike = [extra(name, above=-3, below=3) for name in ("cat", "deer")]
    return _decide([*alike, extra("airplane"), extra("horse")], POINTS)


@claim("noise-worse", "At 20 % against 20 %, noise costs more than reduction, for every class.")
def _noise_worse(evidence: Evidence) -> Verdict:
    names = (BASELINE, "noise-shuffle-0.2", "reduction-0.2")
    if not all(evidence.study.has(name) for name in names) or not evidence.study.common_seeds(*names):
        raise _MissingError(_command([0.2], [0.2]))
    return _decide(
        [
            evidence.recalls({(names[2], name): 1.0, (names[1], name): -1.0}, f"what {name} loses more to noise")
            for name in evidence.study.class_names
        ],
        POINTS,
    )


@claim("nonlinear", "Recall against noise depends on the class and is not linear.")
def _nonlinear(evidence: Evidence) -> Verdict:
    names = evidence.levels("shuffle", [0.1, 0.2, 0.3])
    curve, study, alpha = evidence.results.curves["shuffle"], evidence.study, evidence.results.alpha
    # The quadratic component of each curve, as the bend in points over the whole range of levels.
    powers = np.vander(curve.levels / curve.levels.max(), 3, increasing=True)
    bend = contrast(study, dict(zip(names, 100 * np.linalg.pinv(powers)[2], strict=True)), alpha=alpha)
    bent = discoveries(bend.p, alpha)
    steepest, flattest = int(np.nanargmin(curve.slope.value)), int(np.nanargmax(curve.slope.value))
    classes = study.class_names
    pair = (classes[steepest], classes[flattest])
    tests = len(classes) * (len(classes) - 1) // 2  # the pair was chosen after looking
    differs = _falls_more(evidence, "shuffle", [0.1, 0.2, 0.3], lambda *these: these == pair)[0](1 / tests)
    e = bend[int(np.nanargmax(np.abs(bend.value)))]
    depends = bool(differs.wide.low > 0)
    sentence = (
        f"The slopes of {pair[0]} and {pair[1]} {'differ' if depends else 'do not differ for certain'} "
        f"({_signed(differs.wide)} {POINTS} per 10 points of noise, widened for {tests} pairs), and "
        f"{int(bent.sum())} of {len(classes)} curves have a quadratic bend (false discovery rate "
        f"{alpha:g}; the strongest is {_signed(e)} points over the range)."
    )
    verdict = REPRODUCED if depends and bent.any() else UNDECIDED
    low, high = float(e.low), float(e.high)
    return Verdict("", "", verdict, float(e.value), low, high, POINTS, len(e.per_seed), sentence)


@claim("baseline-order", "The worst classes of the baseline are cat, dog, deer, in that order.", "cat", "dog", "deer")
def _baseline_order(evidence: Evidence) -> Verdict:
    evidence.need()
    worst = ("cat", "dog", "deer")
    steps = [("cat", "dog"), ("dog", "deer")]
    steps += [("deer", name) for name in evidence.study.class_names if name not in worst]
    return _decide(
        [
            evidence.recalls({(BASELINE, upper): 1.0, (BASELINE, lower): -1.0}, f"{upper} minus {lower}")
            for lower, upper in steps
        ],
        POINTS,
    )


@claim(
    "bird-dog-flip", "The order of bird and dog is not the same at the baseline and at 90 % reduction.", "bird", "dog"
)
def _bird_dog_flip(evidence: Evidence) -> Verdict:
    at = evidence.need(reduction=[0.9])

    def bird_minus_dog(name: str) -> Part:
        return evidence.recalls({(name, "bird"): 1.0, (name, "dog"): -1.0}, "")(1 / 2)

    first, last = bird_minus_dog(BASELINE), bird_minus_dog(at[0.9])
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
        f"Bird minus dog: {_signed(last.estimate)} at 90 % reduction and {_signed(first.estimate)} at the baseline, "
        f"in {POINTS}."
    )
    e = last.estimate
    return Verdict("", "", verdict, float(e.value), float(e.low), float(e.high), POINTS, len(e.per_seed), sentence)


@claim(
    "not-model-specific",
    "Which classes are sensitive does not depend on the model, and noise costs more than reduction for every model.",
)
def _not_model_specific(evidence: Evidence) -> Verdict:
    two_models = _MissingError(f"{_command([0.1, 0.2, 0.3], [0.2])}   # both again with another model=NAME")
    try:
        evidence.need(noise=[0.1, 0.2, 0.3], reduction=[0.2])
        evidence.levels("shuffle", [0.1, 0.2, 0.3])
    except _MissingError:
        raise two_models from None
    mine = evidence.results.curves["shuffle"].slope.value
    classes = evidence.study.class_names
    compared = [o for o in evidence.others if "shuffle" in o.curves and o.study.class_names == classes]
    if not compared:
        raise two_models
    agreements = [stats.spearmanr(mine, other.curves["shuffle"].slope.value) for other in compared]
    weakest = int(np.argmin([agreement.statistic for agreement in agreements]))
    costs = [cost for results in (evidence.results, *compared) for cost in results.costs]
    dearer = all(cost.overall_misled.low > 0 for cost in costs)
    rho, p = agreements[weakest].statistic, agreements[weakest].pvalue
    sentence = (
        f"The order of sensitivity agrees with {compared[weakest].study.model} at a rank correlation of {rho:.2f} "
        f"(p = {p:.3g}), the weakest of {len(compared)} models; noise costs more than its control "
        f"{'in every' if dearer else 'not in every'} comparison ({len(costs)})."
    )
    verdict = REPRODUCED if rho > 0 and p <= evidence.results.alpha and costs and dearer else UNDECIDED
    seeds = len(evidence.results.curves["shuffle"].seeds)
    return Verdict("", "", verdict, float(rho), unit="rank correlation", seeds=seeds, sentence=sentence)
