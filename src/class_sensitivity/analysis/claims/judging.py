"""How a claim is judged: comparisons, the parts that they make, and the verdict on the whole.

A comparison is a measurement that must lie above a bound, or between two. It

- *holds* when a one-sided test at level alpha finds it there; between two bounds both tests must (two one-sided tests,
  D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). The interval that is shown is the one
  that goes with these tests: it covers 1 - 2 alpha, 90 % as a rule;
- *fails* when such a test finds it on the other side, at alpha divided by the number of comparisons of the claim
  (Bonferroni): one comparison that fails is enough to contradict the claim;
- is *undecided* otherwise.

That some of many measurements differ from 0 is a comparison, too: one test for all of them (`omnibus`). It holds when
the test finds a difference, and it never fails: not to find one is no proof that there is none. So is that two
measurements have opposite signs. Both signs must be certain for it to hold or to fail, each at level alpha: the verdict
is wrong only if one of them is, so that neither needs a correction.

A part of a claim is reproduced when all its comparisons hold, and a claim when all its parts are: that needs no
correction for their number (R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics
24, 1982). Tests are about new seeds and new test images, unless a claim says that it is about these images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from scipy import stats

from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.omnibus import OmnibusTest
from class_sensitivity.analysis.seeds import SeedsNeeded, seeds_needed, seeds_needed_by
from class_sensitivity.runs.condition import Condition

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NOT_RUN, NOT_APPLICABLE = "not run", "not applicable"

POINTS = "points of recall"
IMAGES = "test images"


@dataclass(frozen=True)
class Comparison:
    """One measurement of a claim, and where it must lie.

    Attributes:
        words: What is measured, for the sentence.
        estimate: A single value.
        unit: What it is counted in.
        conditions: Whose runs it rests on.
        above: The claim is that it is above this ...
        below: ... and below this.
    """

    words: str
    estimate: Estimate
    unit: str
    conditions: tuple[Condition, ...]
    above: float = 0.0
    below: float = inf

    def holds(self, alpha: float) -> bool:
        """Whether it is certainly where the claim says."""
        upper = self.below == inf or float(self.estimate.p_below(self.below)) <= alpha
        return float(self.estimate.p_above(self.above)) <= alpha and upper

    def fails(self, alpha: float) -> bool:
        """Whether it is certainly where the claim says it is not."""
        if self.below == inf:
            return float(self.estimate.p_below(self.above)) <= alpha
        # Two ways to be out of bounds.
        beyond = min(float(self.estimate.p_below(self.above)), float(self.estimate.p_above(self.below)))
        return beyond <= alpha / 2

    @property
    def margin(self) -> float:
        """Distance from the nearer bound in standard errors; negative where the value is out of bounds."""
        distance = min(float(self.estimate.value) - self.above, self.below - float(self.estimate.value))
        error = float(self.estimate.error)
        return distance / error if error > 0 else distance * inf if distance else 0.0

    def too_narrow(self, alpha: float) -> bool:
        """Whether the bounds are so close together that no value could pass both tests with these runs."""
        interval = self.estimate.at(2 * alpha)
        return bool(interval.high - interval.low >= self.below - self.above)

    def text(self, alpha: float) -> str:
        """The measurement with the interval that goes with the tests."""
        return f"{self.words}: {self.estimate.at(2 * alpha).text(2, signed=True, unit=self.unit)}"

    def text_here(self, alpha: float) -> str:
        """The same on these images alone."""
        return self.estimate.at(2 * alpha).on_these_images().text(2, signed=True)

    def needed(self, alpha: float) -> SeedsNeeded:
        """About how many seeds would show it to hold, or, if it looks wrong, to fail."""
        return seeds_needed(self.estimate, above=self.above, below=self.below, alpha=alpha)


@dataclass(frozen=True)
class AnyDifference:
    """Many measurements of a claim, of which some must differ from 0: one test for all of them.

    Attributes:
        words: What is asked, for the sentence.
        test: The test of all of them, on new images; None with one seed, or where it cannot be made.
        estimate: The largest of them, chosen after looking.
        largest: Which one that is.
        unit: What it is counted in.
        conditions: Whose runs it rests on.
        test_here: The same test on these images alone.
    """

    words: str
    test: OmnibusTest | None
    estimate: Estimate
    largest: str
    unit: str
    conditions: tuple[Condition, ...]
    test_here: OmnibusTest | None = None

    def holds(self, alpha: float) -> bool:
        """Whether a difference is found."""
        return self.test is not None and self.test.p <= alpha

    def fails(self, alpha: float) -> bool:
        """Never: to show that every measurement is as good as 0 takes a margin, and such a claim states none."""
        return False

    @property
    def margin(self) -> float:
        """Standard errors beyond which one measurement would have this p-value; 0 at least, as it never fails."""
        return 0.0 if self.test is None else max(0.0, float(stats.norm.isf(self.test.p)))

    def too_narrow(self, alpha: float) -> bool:
        """Never: there is no margin."""
        return False

    def text(self, alpha: float) -> str:
        """The test, and the largest of the measurements with its interval."""
        tested = "cannot be tested" if self.test is None else self.test.text()
        shown = self.estimate.at(2 * alpha).text(2, signed=True, unit=self.unit)
        return f"{self.words}: {tested}; the largest is {self.largest}: {shown}"

    def text_here(self, alpha: float) -> str:
        """The test on these images alone."""
        return "not tested" if self.test_here is None else self.test_here.text()

    def needed(self, alpha: float) -> SeedsNeeded:
        """About how many seeds would let the test find a difference."""
        return SeedsNeeded(None, None, None) if self.test is None else seeds_needed_by(self.test, alpha=alpha)


@dataclass(frozen=True)
class OppositeSigns:
    """Two measurements of a claim of which one must be above 0 and the other below, whichever.

    Attributes:
        first: One of them, compared with 0.
        last: The other one, compared with 0.
        change: The first minus the last, which is shown.
    """

    first: Comparison
    last: Comparison
    change: Comparison

    @property
    def words(self) -> str:
        """What is shown."""
        return self.change.words

    @property
    def estimate(self) -> Estimate:
        """By how much the two differ."""
        return self.change.estimate

    @property
    def unit(self) -> str:
        """What it is counted in."""
        return self.change.unit

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Whose runs it rests on."""
        return self.change.conditions

    def _signs(self, alpha: float) -> tuple[int, int]:
        """Of each 1 or -1, or 0 where it is not certain."""
        first, last = (each.holds(alpha) - each.fails(alpha) for each in (self.first, self.last))
        return first, last

    def holds(self, alpha: float) -> bool:
        """Whether both signs are certain and differ."""
        first, last = self._signs(alpha)
        return first * last < 0

    def fails(self, alpha: float) -> bool:
        """Whether both signs are certain and the same."""
        first, last = self._signs(alpha)
        return first * last > 0

    @property
    def margin(self) -> float:
        """Distance of the one that is nearer to 0, in standard errors; negative where the signs are the same."""
        first, last = self.first.margin, self.last.margin
        nearer = min(abs(first), abs(last))
        return -nearer if (first < 0) == (last < 0) else nearer

    def too_narrow(self, alpha: float) -> bool:
        """Never: there is no margin."""
        return False

    def text(self, alpha: float) -> str:
        """Both measurements, and their difference."""
        return "; ".join(each.text(alpha) for each in (self.first, self.last, self.change))

    def text_here(self, alpha: float) -> str:
        """Their difference on these images alone."""
        return self.change.text_here(alpha)

    def needed(self, alpha: float) -> SeedsNeeded:
        """About how many seeds would make both signs certain."""
        signs = zip((self.first, self.last), self._signs(alpha), strict=True)
        return max((each.needed(alpha) for each, sign in signs if not sign), key=lambda needed: needed.number)


#: What a part of a claim is made of.
AnyComparison = Comparison | AnyDifference | OppositeSigns


@dataclass(frozen=True)
class Part:
    """One statement of a claim.

    Attributes:
        words: The statement.
        comparisons: All must hold.
        verdict: reproduced, undecided, or contradicted (by itself; as a part of a claim it needs more).
        note: What the runs say beyond the verdict, such as which classes are still candidates.
    """

    words: str
    comparisons: tuple[AnyComparison, ...]
    verdict: str
    note: str = ""

    @property
    def decisive(self) -> AnyComparison:
        """The comparison with the smallest margin in standard errors."""
        return min(self.comparisons, key=lambda comparison: comparison.margin)


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        id: Short name of the claim.
        claim: The claim in one sentence.
        verdict: reproduced, contradicted, undecided, not run or not applicable.
        effect: The comparison that decided, in `unit`; NaN where nothing was measured.
        low: Lower end of the interval that goes with the tests (it covers 1 - 2 alpha).
        high: Upper end.
        unit: What the effect is counted in.
        seeds: Seeds that were paired.
        sentence: The finding in plain words, or what is missing.
        command: What to run, where conditions or seeds are missing.
        parts: The statements of the claim, each with its own verdict.
        needed: Of an undecided claim, about how many seeds would decide it.
        conditions: Whose runs more seeds would be needed of.
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
    parts: tuple[Part, ...] = ()
    needed: SeedsNeeded | None = None
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, verdict: str, effect: Estimate, unit: str, sentence: str) -> "Verdict":
        """A verdict that rests on an estimate; claim and id are added by who asked for it."""
        value, low, high = float(effect.value), float(effect.low), float(effect.high)
        return cls("", "", verdict, value, low, high, unit, len(effect.per_seed), sentence)


def judge_part(words: str, comparisons: Sequence[AnyComparison], alpha: float, note: str = "") -> Part:
    """A statement that is true if all its comparisons hold."""
    if all(comparison.holds(alpha) for comparison in comparisons):
        verdict = REPRODUCED
    elif any(comparison.fails(alpha / len(comparisons)) for comparison in comparisons):
        verdict = CONTRADICTED
    else:
        verdict = UNDECIDED
        if any(comparison.too_narrow(alpha) for comparison in comparisons):
            note = f"{note} The margin is too narrow for this number of seeds: no value could pass.".strip()
    return Part(words, tuple(comparisons), verdict, note)


def decide(parts: Sequence[Part], alpha: float) -> Verdict:
    """The verdict on a claim that is true if all its parts are."""
    comparisons = [comparison for part in parts for comparison in part.comparisons]
    failing = [comparison for comparison in comparisons if comparison.fails(alpha / len(comparisons))]
    if all(part.verdict == REPRODUCED for part in parts):
        verdict = REPRODUCED
    elif failing:
        verdict = CONTRADICTED
    else:
        verdict = UNDECIDED
    decisive = min(failing or comparisons, key=lambda comparison: comparison.margin)
    sentence = decisive.text(alpha)
    if len(comparisons) > 1:
        holding = sum(comparison.holds(alpha) for comparison in comparisons)
        sentence = f"of {len(comparisons)} comparisons {holding} hold; the decisive one is {sentence}"
    sentence = sentence[0].upper() + sentence[1:] + "."
    if len(decisive.conditions) == 1 and len(decisive.estimate.per_seed) > 1:
        # The choice of images is half of the variance of one condition, and almost none of that of a difference.
        sentence += f" That is about new images, too; on these images alone it is {decisive.text_here(alpha)}."
    found = Verdict.of(verdict, decisive.estimate.at(2 * alpha), decisive.unit, sentence)
    found = replace(
        found, parts=tuple(parts), conditions=tuple(dict.fromkeys(c for x in comparisons for c in x.conditions))
    )
    if verdict != UNDECIDED or found.seeds < 2:
        return found
    return replace(found, needed=_needed(parts, alpha))


def _needed(parts: Sequence[Part], alpha: float) -> SeedsNeeded:
    """Seeds after which the claim would be decided: when the last comparison holds, or the first one fails."""
    comparisons = [comparison for part in parts for comparison in part.comparisons]
    wrong = [comparison for comparison in comparisons if comparison.margin < 0]
    level = alpha / len(comparisons) if wrong else alpha
    each = [c.needed(level) for c in (wrong or [c for c in comparisons if not c.holds(alpha)])]
    return (min if wrong else max)(each, key=lambda needed: needed.number)
