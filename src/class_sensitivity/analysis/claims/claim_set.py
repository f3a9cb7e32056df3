"""A paper's claims, and what its figures look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from class_sensitivity.analysis.claims.evidence import Evidence, MissingRunsError, noise, reduction
from class_sensitivity.analysis.claims.judging import NOT_APPLICABLE, NOT_RUN, Verdict
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import Condition


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

    def mild(self, study: Study) -> Condition | None:
        """The mild noise, or else the mildest that was run; None without any."""
        for series in study.noise_series:
            if levels := study.series(series)[1:]:
                return min(levels, key=lambda condition: (condition.level != self.mild_noise, condition.level))
        return None

    def titled(self, name: str, title: str) -> str:
        """The title of a figure, with what the paper calls it, if it has it."""
        number = self.figure_numbers.get(name)
        return f"{title} ({number})" if number else title


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
        ...     return decide([evidence.lowest("8", BASELINE)], evidence.alpha)
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
