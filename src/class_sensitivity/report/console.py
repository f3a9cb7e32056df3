"""What the terminal shows of a report: each study at a glance; the page has the rest."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from class_sensitivity.analysis.study import Study
from class_sensitivity.report.page import Section


def print_section(console: Console, section: Section) -> None:
    """A study in about ten lines."""
    study = section.results.study
    title = f"\n{study.data}, {study.model}, {study.num_runs} runs"
    console.print(title, style="bold", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for line in section.glance:
        table.add_row(Text(line.about), Text(line.text))
    if (missing := _missing_runs(study)) > 0:
        table.add_row(Text("missing"), Text(f"{missing} runs of this grid; the page lists them"))
    console.print(table, highlight=False)


def _missing_runs(study: Study) -> int:
    """Runs that some condition lacks and another has."""
    return int((~study.arrays.present.values).sum())
