"""How a claim is judged from results: comparisons with their intervals, and what follows from them.

A claim is an inequality between recalls or counts, or several that must all hold:

- it is *reproduced* when the interval of every comparison lies on the claimed side;
- it is *contradicted* when the interval of some comparison, widened for the number of comparisons
  (Bonferroni), lies on the other side;
- otherwise the runs leave it *undecided*.

That all comparisons must hold needs no correction for their number (R. L. Berger, "Multiparameter
hypothesis testing and acceptance sampling", Technometrics 24, 1982). "About" and "alike" are given a
margin, stated in the sentence, and count as reproduced when the interval lies within it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from class_sensitivity.analysis.sensitivity import Curve, Results, cell_contrast
from class_sensitivity.analysis.statistics import Estimate, slope_weights, with_interval
from class_sensitivity.runs.condition import BASELINE, Condition

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NOT_RUN, NOT_APPLICABLE = "not run", "not applicable"

POINTS = "points of recall"
IMAGES = "test images"


def noise(frac: float, kind: str = "shuffle") -> Condition:
    """The condition of this share of noise alone."""
    return Condition(noise_kind=kind, noise_frac=frac)


def reduction(frac: float) -> Condition:
    """The condition of this share of reduction alone."""
    return Condition(reduction_frac=frac)


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        id: Short name of the claim.
        claim: The claim in one sentence.
        verdict: reproduced, contradicted, undecided, not run or not applicable.
        effect: The comparison that decided, in `unit`; NaN where nothing was measured.
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

    @classmethod
    def of(cls, verdict: str, effect: Estimate, unit: str, sentence: str) -> "Verdict":
        """A verdict that rests on an estimate; claim and id are added by who asked for it."""
        value, low, high = float(effect.value), float(effect.low), float(effect.high)
        return cls("", "", verdict, value, low, high, unit, len(effect.per_seed), sentence)

    @property
    def effect_text(self) -> str:
        """The effect with its interval and unit; empty where nothing was measured."""
        if self.effect != self.effect:
            return ""
        return with_interval(self.effect, self.low, self.high, digits=2, signed=True, unit=self.unit)


@dataclass(frozen=True)
class Comparison:
    """One inequality of a claim: a measurement that must lie within bounds.

    Attributes:
        words: What is measured, for the sentence.
        estimate: With its interval at level alpha.
        wide: The same with the interval at level alpha / number of comparisons.
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


#: Makes a comparison, given the share of alpha at which its interval is widened.
Compare = Callable[[float], Comparison]


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

    def __init__(self, results: Results, others: Sequence[Results]) -> None:
        self.results, self.study, self.others = results, results.study, others

    def index(self, name: str) -> int:
        """A class by name."""
        return self.study.class_names.index(name)

    def size(self, name: str) -> int:
        """Test images of a class."""
        return int((self.study.labels == self.index(name)).sum())

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

    def command(self, *conditions: Condition) -> str:
        """What runs the baseline and these conditions, each a level of a series, on this data set and model."""
        series: dict[str, list[float]] = {}
        for condition in conditions:
            series.setdefault(str(condition.series), []).append(condition.level)
        sweeps = []
        for kind, levels in series.items():
            setting = {"reduction": "reduction.frac", "shuffle": "noise.frac"}.get(
                kind, f"noise.kind={kind} noise.frac"
            )
            sweeps.append(f"{setting}={','.join(map(str, [0, *levels]))} ")
        fixed = f"seed=1,2,3,4,5 data={self.study.data} model={self.study.model}"
        return " && ".join(f"python train.py -m {sweep}{fixed}" for sweep in sweeps or [""])

    def recalls(self, weights: Mapping[tuple[Condition, str], float], words: str, **bounds: float) -> Compare:
        """A weighted sum of recalls as a comparison.

        Args:
            weights: (condition, class name) -> weight.
            words: What is measured.
            bounds: `above` and `below`, in points of recall.
        """
        cells = {
            (condition, self.index(name), self.index(name)): 100 * weight / self.size(name)
            for (condition, name), weight in weights.items()
        }
        return self.cells(cells, words, **bounds)

    def cells(self, weights: Mapping[tuple[Condition, int, int], float], words: str, **bounds: float) -> Compare:
        """A weighted sum of confusion counts as a comparison.

        Args:
            weights: (condition, true class, predicted class) -> weight.
            words: What is measured.
            bounds: `above` and `below`, in the unit of the sum.
        """
        alpha = self.results.alpha

        def compare(share: float) -> Comparison:
            estimate = cell_contrast(self.study, weights, alpha=alpha)
            wide = cell_contrast(self.study, weights, alpha=alpha * share)
            return Comparison(words, estimate, wide, **bounds)

        return compare

    def lowest(self, name: str, conditions: Iterable[Condition]) -> list[Compare]:
        """A class has the lowest recall at each of some conditions."""
        return [
            self.recalls(
                {(condition, other): 1.0, (condition, name): -1.0}, f"{other} minus {name} at {condition.name}"
            )
            for condition in conditions
            for other in self.study.class_names
            if other != name
        ]

    def falls_more(self, curve: Curve, pairs: Callable[[str, str], bool]) -> list[Compare]:
        """The slope of one class's recall against another's, for each chosen (steeper, flatter) pair."""
        slopes = dict(zip(curve.conditions, slope_weights(curve.levels) / 10, strict=True))
        classes = self.study.class_names
        return [
            self.recalls(
                {(c, flat): w for c, w in slopes.items()} | {(c, steep): -w for c, w in slopes.items()},
                f"loss of {steep} minus loss of {flat} per 10 points of stress",
            )
            for steep in classes
            for flat in classes
            if steep != flat and pairs(steep, flat)
        ]


def decide(comparisons: Iterable[Compare], unit: str) -> Verdict:
    """The verdict of a claim whose comparisons must all hold; one that fails is enough to contradict."""
    makers = list(comparisons)
    made = [make(1 / len(makers)) for make in makers]
    weakest = min(made, key=Comparison.margin)
    failing = [comparison for comparison in made if comparison.fails()]
    if all(comparison.holds() for comparison in made):
        verdict = REPRODUCED
    elif failing:
        verdict, weakest = CONTRADICTED, min(failing, key=Comparison.margin)
    else:
        verdict = UNDECIDED
    effect = weakest.wide if verdict == CONTRADICTED else weakest.estimate
    sentence = f"{weakest.words}: {effect.text(2, signed=True, unit=unit)}"
    if len(made) > 1:
        holding = sum(comparison.holds() for comparison in made)
        sentence = f"of {len(made)} comparisons {holding} hold; the decisive one is {sentence}"
    return Verdict.of(verdict, effect, unit, sentence[0].upper() + sentence[1:] + ".")


@dataclass(frozen=True)
class Focus:
    """What a report looks at more closely than at the rest: what a paper shows in its figures.

    The defaults are for data sets without a paper; a condition that was not run is left out.

    Attributes:
        cells: (true, predicted) class names of the cells to follow over all levels.
        mistaken: (true, predicted) class names of the images to show.
        variety: Names of the classes whose training images to show.
        mild_noise: Share of noise shown beside the baseline.
        strong_noise: Share of noise whose order of classes is shown ...
        strong_reduction: ... and share of reduction.
        side_by_side: Figure's file name -> the two conditions that it compares.
        figure_numbers: Figure's file name -> what the paper calls it.
    """

    cells: tuple[tuple[str, str], ...] = ()
    mistaken: tuple[str, str] | None = None
    variety: tuple[str, ...] = ()
    mild_noise: float = 0.1
    strong_noise: float = 0.3
    strong_reduction: float = 0.9
    side_by_side: Mapping[str, tuple[Condition, Condition]] = field(
        default_factory=lambda: {
            "fig6_noise_against_reduction": (noise(0.2), reduction(0.6)),
            "fig9_noise_against_reduction": (noise(0.2), reduction(0.2)),
        }
    )
    figure_numbers: Mapping[str, str] = field(default_factory=dict)


Judge = Callable[[Evidence], Verdict]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: The claim in one sentence.
        classes: Names of classes without which it says nothing.
        judge: From the evidence to the verdict.
    """

    text: str
    classes: tuple[str, ...]
    judge: Judge


@dataclass(frozen=True)
class ClaimSet:
    """The claims of one paper.

    Attributes:
        title: Heading of the verdicts.
        data: Name of the data set that the claims are about.
        focus: What its figures show.
        claims: Every claim by its id, in the order in which they are judged.

    Examples:
        >>> claims = ClaimSet("Claims of a scratch", data="digits")
        >>> @claims.add("eight-worst", "Eight has the lowest recall of the baseline.", "8")
        ... def eight_worst(evidence):
        ...     evidence.need()
        ...     return decide(evidence.lowest("8", [BASELINE]), POINTS)
        >>> list(claims.claims)
        ['eight-worst']
    """

    title: str
    data: str
    focus: Focus = field(default_factory=Focus)
    claims: dict[str, Claim] = field(default_factory=dict)

    def add(self, name: str, text: str, *classes: str) -> Callable[[Judge], Judge]:
        """Makes a function that judges a claim a part of the set.

        Args:
            name: The claim's id.
            text: The claim in one sentence.
            classes: Names of classes without which the claim says nothing.

        Raises:
            ValueError: The id is taken.
        """

        def enter(judge: Judge) -> Judge:
            if name in self.claims:
                raise ValueError(f"claim {name!r} is defined twice")
            self.claims[name] = Claim(text, classes, judge)
            return judge

        return enter

    def judge(self, results: Results, others: Sequence[Results] = ()) -> list[Verdict]:
        """Every claim's verdict, in the order in which the claims are defined.

        Args:
            results: Of the study that is judged.
            others: Of studies of other models on the same data set.
        """
        evidence = Evidence(results, others)
        return [replace(_judge(claim, evidence), id=name, claim=claim.text) for name, claim in self.claims.items()]


def _judge(claim: Claim, evidence: Evidence) -> Verdict:
    names = evidence.study.class_names
    for name in claim.classes:
        if name not in names:
            return Verdict("", "", NOT_APPLICABLE, sentence=f"This data set has no class {name}.")
    for name in names:
        if evidence.size(name) == 0:
            return Verdict("", "", NOT_APPLICABLE, sentence=f"There are no test images of class {name}.")
    try:
        verdict = claim.judge(evidence)
    except MissingRunsError as missing:
        sentence = "The conditions that this claim is about were not run."
        return Verdict("", "", NOT_RUN, sentence=sentence, command=missing.command)
    if verdict.seeds == 1:
        verdict = replace(verdict, sentence=f"{verdict.sentence} One seed cannot decide it; run more seeds.")
    return verdict
