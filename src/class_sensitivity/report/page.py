"""The report's page and its summary, from one set of values through two templates."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from class_sensitivity import __version__
from class_sensitivity.analysis.advice import Advice
from class_sensitivity.analysis.claims.claim_set import ClaimSet
from class_sensitivity.analysis.claims.judging import (
    CONTRADICTED,
    NOT_APPLICABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Verdict,
)
from class_sensitivity.analysis.loading import LeftOut
from class_sensitivity.analysis.results import MIN_MEAN_COUNT, Results
from class_sensitivity.report.parts import Finding, Line
from class_sensitivity.settings import AnalyzeSettings


@dataclass(frozen=True)
class SavedFigure:
    """A figure on the page.

    Attributes:
        name: File name without ending.
        title: Heading.
        caption: What it shows.
        path: Where its files are, relative to the report, without ending.
        png: The picture, to be laid into the page.
    """

    name: str
    title: str
    caption: str
    path: str
    png: bytes

    @property
    def inline(self) -> str:
        """The picture as a data URL: the page needs nothing but itself."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Loss:
    """What one class loses to one kind of stress, in words.

    Attributes:
        text: Points of recall lost per 10 points of stress, with its interval; empty of a class without test images.
        rank: 1 = most sensitive; empty where the loss is not known.
        first: Probability of rank 1; empty where it is not known.
        knee: Where the curve bends.
    """

    text: str
    rank: str
    first: str
    knee: str


@dataclass(frozen=True)
class ClassRow:
    """One class: accuracy and sensitivity are two different columns.

    Attributes:
        name: Of the class.
        recall: In percent, with its interval; empty of a class without test images.
        recall_rank: 1 = least accurate; empty, likewise.
        losses: One a kind of stress.
    """

    name: str
    recall: str
    recall_rank: str
    losses: list[Loss]


@dataclass(frozen=True)
class ConditionRow:
    """One condition.

    Attributes:
        label: In words.
        name: As in the path of its runs.
        accuracy: In percent, with its interval.
        fall: From the baseline, in points; empty where there is none.
        effective: Share of labels that are wrong, in percent; empty without noise.
        size: Training examples.
        grid: (seed, whether its run is complete).
    """

    label: str
    name: str
    accuracy: str
    fall: str
    effective: str
    size: str
    grid: list[tuple[int, bool]]


@dataclass(frozen=True)
class Section:
    """What the page says of one study.

    Attributes:
        results: Of the study.
        glance: The study in a few lines.
        advice: What to do.
        findings: The most important first.
        seen: What an inspection saw in the data set; empty where there was none.
        caveats: Sentences.
        claims: The claims about its data set, if there are any.
        verdicts: On each of these claims.
        figures: In the order of the page.
        explorer: File name of the page on which every number leads to its images; empty where there is none.
    """

    results: Results
    glance: list[Line]
    advice: list[Advice]
    findings: list[Finding]
    seen: list[Line]
    caveats: list[str]
    claims: ClaimSet | None
    verdicts: list[Verdict]
    figures: list[SavedFigure]
    explorer: str

    @property
    def ordered_verdicts(self) -> list[Verdict]:
        """What is decided first, then what is open, then what was not run."""
        order = (REPRODUCED, CONTRADICTED, UNDECIDED, NOT_RUN, NOT_APPLICABLE)
        return sorted(self.verdicts, key=lambda verdict: order.index(verdict.verdict))

    def class_rows(self) -> list[ClassRow]:
        """One row a class."""
        recall = self.results.reference.recall
        accuracy_rank = _ranks(recall.value)
        curves = [(curve, curve.loss, _ranks(curve.slope.value)) for curve in self.results.curves.values()]
        return [
            ClassRow(
                name=name,
                recall=recall[index].scaled(100).text() if accuracy_rank[index] else "",
                recall_rank=accuracy_rank[index],
                losses=[
                    Loss(
                        text=loss[index].text(2) if rank[index] else "",
                        rank=rank[index],
                        first="" if curve.ranks is None or not rank[index] else f"{curve.ranks[index, 0]:.0%}",
                        knee=curve.knees[index].text(),
                    )
                    for curve, loss, rank in curves
                ],
            )
            for index, name in enumerate(self.results.study.class_names)
        ]

    def condition_rows(self) -> list[ConditionRow]:
        """One row a condition: accuracy, fall, seeds there and missing."""
        study = self.results.study
        rows = []
        for result in self.results.conditions:
            condition, versus = result.condition, result.versus_baseline
            seeds = study.common_seeds(condition)
            rows.append(
                ConditionRow(
                    label=condition.label,
                    name=condition.name,
                    accuracy=result.accuracy.scaled(100).text(),
                    fall=versus.accuracy_fall.scaled(100).text() if versus else "",
                    effective=f"{study.mean_of('effective_noise', condition):.2%}" if condition.is_noisy else "",
                    size=f"{study.mean_of('train_size', condition):,.0f}",
                    grid=[(seed, seed in seeds) for seed in study.seeds],
                )
            )
        return rows


@dataclass(frozen=True)
class ComparisonSection:
    """What the page says of several studies: of several models, or of several lengths of training.

    Attributes:
        title: The question, and of what.
        lines: What is known.
        figures: In the order of the page.
    """

    title: str
    lines: list[Line]
    figures: list[SavedFigure]


def _ranks(values: np.typing.NDArray[np.float64]) -> list[str]:
    """1 = smallest; empty where a value is not known."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable") + 1  # NaN comes last
    return ["" if np.isnan(value) else str(rank) for value, rank in zip(values, ranks, strict=True)]


def _environment() -> Environment:
    # Class names, paths and error texts come from users' files: everything is escaped in the page.
    return Environment(
        loader=PackageLoader("class_sensitivity.report", "templates"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _markdown(text: object) -> str:
    """Text whose names cannot be taken for markup or for the end of a table's cell."""
    safe = re.sub(r"([\\`*_|])", r"\\\1", str(text).replace("&", "&amp;").replace("<", "&lt;"))
    return safe.replace("](", "]\\(")  # an interval keeps its brackets, a link does not become one


def render(
    sections: Sequence[Section],
    comparisons: Sequence[ComparisonSection],
    left_out: Sequence[LeftOut],
    tables: Sequence[str],
    settings: AnalyzeSettings,
) -> tuple[str, str]:
    """The page and the summary.

    Args:
        sections: One a study.
        comparisons: What several studies have in common.
        left_out: Run directories that were left out.
        tables: Names of the tables beside the page.
        settings: What was asked for.

    Returns:
        HTML and Markdown.
    """
    values = {
        "sections": sections,
        "comparisons": comparisons,
        "left_out": left_out,
        "tables": tables,
        "settings": settings,
        "min_mean_count": MIN_MEAN_COUNT,
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    environment = _environment()
    environment.filters["md"] = _markdown
    page = environment.get_template("index.html.j2").render(values)
    summary = environment.get_template("summary.md.j2").render(values)
    return page, summary
