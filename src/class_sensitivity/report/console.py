"""What the terminal shows of a report: each study at a glance; the page has the rest."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from class_sensitivity.analysis.study import Study
from class_sensitivity.report.page import ComparisonSection, Section
from class_sensitivity.report.parts import Line


def print_section(console: Console, section: Section) -> None:
    """A study in about ten lines."""
    study = section.results.study
    title = f"\n{study.title}, {study.num_runs} run{'s' * (study.num_runs != 1)}"
    console.print(title, style="bold", markup=False, highlight=False)
    missing = _missing_runs(study)
    gaps = [Line("missing", f"{missing} run{'s' * (missing != 1)} of this grid; see the page")] if missing else []
    print_lines(console, [*section.glance, *gaps])


def print_comparison(console: Console, section: ComparisonSection) -> None:
    """What several studies have in common."""
    console.print(f"\n{section.title}", style="bold", markup=False, highlight=False)
    print_lines(console, section.lines)


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    """Lines side by side with what they are about."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(Text(line.about), Text(line.text))
    console.print(table, highlight=False)


def _missing_runs(study: Study) -> int:
    """Runs that some condition lacks and another has."""
    return int((~study.arrays.present.values).sum())
