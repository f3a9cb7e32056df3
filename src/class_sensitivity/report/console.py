"""What the terminal shows of a report."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from class_sensitivity.analysis.claims.claim_set import ClaimSet
from class_sensitivity.analysis.claims.judging import Verdict
from class_sensitivity.analysis.sensitivity import Results
from class_sensitivity.analysis.study import Study
from class_sensitivity.report.page import Section


def print_section(console: Console, section: Section) -> None:
    """Findings, caveats and the short tables of one study."""
    study = section.results.study
    title = f"\n{study.data}, {study.model}, {study.num_runs} runs"
    console.print(title, style="bold", markup=False, highlight=False)
    for sentence in [*section.findings, *section.caveats]:
        console.print(f"- {sentence}", highlight=False, markup=False)
    if not study.arrays.present.all():
        console.print(_runs(study))
    console.print(_classes(section.results))
    if section.claims is not None:
        console.print(_claims(section.claims, section.verdicts))


def _runs(study: Study) -> Table:
    """Conditions x seeds: what is there and what is not."""
    table = Table(title="Runs", title_justify="left")
    table.add_column("condition")
    for seed in study.seeds:
        table.add_column(f"seed {seed}")
    for name, row in study.grid().iterrows():
        table.add_row(str(name), *("yes" if there else "missing" for there in row))
    return table


def _classes(results: Results) -> Table:
    table = Table(title="Classes", title_justify="left")
    table.add_column("class")
    table.add_column("recall", justify="right")
    for curve in results.curves.values():
        table.add_column(f"points lost per 10 of {escape(curve.label)}", justify="right")
    recall = results.reference.recall
    for index, name in enumerate(results.study.class_names):
        losses = [curve.loss[index].text(2) for curve in results.curves.values()]
        table.add_row(escape(name), f"{recall.value[index]:.1%}", *losses)
    return table


def _claims(claims: ClaimSet, verdicts: list[Verdict]) -> Table:
    table = Table(title=claims.title, title_justify="left")
    for column in ("claim", "verdict", "effect"):
        table.add_column(column)
    for verdict in verdicts:
        table.add_row(verdict.id, verdict.verdict, verdict.effect_text)
    return table
