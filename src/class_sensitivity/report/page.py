"""The report's page and its summary, from one set of values through two templates."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from class_sensitivity import __version__
from class_sensitivity.analysis.claims.cifar10 import Verdict
from class_sensitivity.figures.curves import describe, stress_name
from class_sensitivity.analysis.sensitivity import Results
from class_sensitivity.analysis.statistics import Estimate
from class_sensitivity.analysis.study import BASELINE, Problem


@dataclass(frozen=True)
class Shown:
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
class Section:
    """What the page says of one study."""

    results: Results
    answers: list[str]
    cautions: list[str]
    verdicts: list[Verdict]
    figures: list[Shown]

    @property
    def claims_apply(self) -> bool:
        """Whether the article's claims are about this data set."""
        return self.results.study.data == "cifar10"

    def class_rows(self) -> list[dict[str, Any]]:
        """One row a class: accuracy and sensitivity are two different columns."""
        recall = self.results.recall.get(BASELINE) or next(iter(self.results.recall.values()))
        accuracy_rank = np.argsort(np.argsort(recall.value, kind="stable"), kind="stable")
        curves = self.results.curves
        ranks = {k: np.argsort(np.argsort(c.slope.value, kind="stable"), kind="stable") for k, c in curves.items()}
        return [
            {
                "name": name,
                "recall": percent(recall[index]),
                "recall_rank": int(accuracy_rank[index]) + 1,
                "losses": [
                    {
                        "text": loss(curve.slope[index]),
                        "rank": int(ranks[kind][index]) + 1,
                        "first": "" if curve.ranks is None else f"{curve.ranks[index, 0]:.0%}",
                        "knee": knee_text(curve.knees[index]),
                    }
                    for kind, curve in curves.items()
                ],
            }
            for index, name in enumerate(self.results.study.class_names)
        ]

    def condition_rows(self) -> list[dict[str, Any]]:
        """One row a condition: accuracy, fall, seeds there and missing."""
        study = self.results.study
        rows = []
        for condition in study.conditions:
            seeds = study.common_seeds(condition.name)
            fall = self.results.accuracy_fall.get(condition.name)
            effective = float(study.arrays.effective_noise.sel(condition=condition.name, seed=seeds).mean())
            rows.append(
                {
                    "words": describe(condition),
                    "name": condition.name,
                    "accuracy": percent(self.results.accuracy[condition.name]),
                    "fall": percent(fall) if fall else "",
                    "effective": f"{effective:.2%}" if condition.noise else "",
                    "size": f"{study.arrays.train_size.sel(condition=condition.name, seed=seeds).mean():,.0f}",
                    "grid": [(seed, seed in seeds) for seed in study.seeds],
                }
            )
        return rows


def percent(estimate: Estimate) -> str:
    """A share with its interval, in percent."""
    value, low, high = (100 * float(x) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f}" if np.isnan(low) else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def loss(slope: Estimate) -> str:
    """A slope as points of recall lost per 10 points of stress, with its interval."""
    value, low, high = (-10 * float(x) for x in (slope.value, slope.high, slope.low))
    return f"{value:.2f}" if np.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def knee_text(knee: Any) -> str:
    """Where a curve bends, or what is known of it."""
    if not np.isnan(knee.level):
        return f"{knee.level:.2f} [{knee.low:.2f}, {knee.high:.2f}]"
    return "" if np.isnan(knee.p) else "no knee"


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
    sections: Sequence[Section], problems: Sequence[Problem], tables: Sequence[str], settings: dict[str, Any]
) -> tuple[str, str]:
    """The page and the summary.

    Args:
        sections: One a study.
        problems: Run directories that were left out.
        tables: Names of the tables beside the page.
        settings: The checked settings of `conf/analyze.yaml`.

    Returns:
        HTML and Markdown.
    """
    values = {
        "sections": sections,
        "problems": problems,
        "tables": tables,
        "settings": settings,
        "stress_name": stress_name,
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    environment = _environment()
    environment.filters["md"] = _markdown
    page = environment.get_template("index.html.j2").render(values)
    summary = environment.get_template("summary.md.j2").render(values)
    return page, summary
