"""From run directories to a report: figures, tables, one page, a summary.

`write_report` is the whole of `analyze.py`. A report is written beside its place and moved there when
it is finished, so that a reader never finds half of one.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from class_sensitivity.analysis.claims.cifar10 import Verdict, judge_all
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.errors import ReportError, UserError
from class_sensitivity.figures.curves import stress_name
from class_sensitivity.report.findings import answers, cautions
from class_sensitivity.report.figure_list import Picture, pictures, relative_limit
from class_sensitivity.report.page import Section, Shown, loss, render
from class_sensitivity.report.tables import write_tables
from class_sensitivity.analysis.sensitivity import Results, analyse
from class_sensitivity.analysis.study import Problem, Study, load

PAGE = "index.html"
SUMMARY = "summary.md"


def write_report(settings: dict[str, Any]) -> Path:
    """Reads runs and writes their report.

    Args:
        settings: The checked settings of `conf/analyze.yaml`.

    Returns:
        The report's directory.

    Raises:
        UserError: There is nothing to report on, a class is not known, or the report cannot be written.
    """
    out = Path(settings["out"]).expanduser()
    root = Path(settings["runs"]).expanduser()
    _check_replaceable(out, root)
    console = Console()
    studies, problems = load(root, **settings["only"])
    if not studies:
        raise _nothing(root, settings, problems)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            fresh = Path(scratch) / out.name
            fresh.mkdir()
            sections = _write_all(fresh, studies, problems, settings, console)
            _move_into_place(fresh, out, Path(scratch))
    except OSError as error:
        raise ReportError(
            f"The report cannot be written to {out} ({error.strerror or error}); "
            "free space or choose another place with out=DIRECTORY."
        ) from None
    for section in sections:
        _print(console, section)
    if problems:
        console.print(f"Run directories left out: {len(problems)}; the report says why.", highlight=False)
    console.print(f"Report: {out / PAGE}", highlight=False, markup=False, soft_wrap=True)
    return out


def _nothing(root: Path, settings: dict[str, Any], problems: list[Problem]) -> ReportError:
    make = "make some with python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2,3,4,5"
    if not root.is_dir():
        return ReportError(f"There are no runs: {root} is not a directory; {make}, or set runs=DIRECTORY.")
    filters = ", ".join(f"only.{key}={value}" for key, value in settings["only"].items() if value)
    which = f" with {filters}" if filters else ""
    left_out = f" ({len(problems)} were left out, the first because {problems[0].reason})" if problems else ""
    return ReportError(f"There is no complete run{which} in {root}{left_out}; {make}, or set runs=DIRECTORY.")


def _check_replaceable(out: Path, root: Path) -> None:
    """Only a report of this program, or nothing, may be replaced; never the runs themselves."""
    if not out.exists():
        return
    if root.resolve().is_relative_to(out.resolve()):
        raise ReportError(
            f"{out} holds the runs, and a report replaces what is there; choose another place with out=DIRECTORY."
        )
    ours = out.is_dir() and {path.name for path in out.iterdir()} <= {PAGE, SUMMARY, "figures", "tables"}
    if not ours:
        raise ReportError(f"{out} exists and is not a report, so it is left alone; choose another with out=DIRECTORY.")


def _move_into_place(fresh: Path, out: Path, scratch: Path) -> None:
    old = scratch / "old"
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise


def _write_all(
    folder: Path, studies: list[Study], problems: list[Problem], settings: dict[str, Any], console: Console
) -> list[Section]:
    with console.status("Statistics ..."):
        all_results = [
            analyse(study, alpha=settings["alpha"], resamples=settings["resamples"], seed=settings["seed"])
            for study in studies
        ]
    limit = relative_limit(all_results)
    plans = []
    for results in all_results:
        arrays, apology = _images(results.study, settings["data_dir"])
        plans.append((results, list(pictures(results, arrays, settings, limit)), apology))
    sections = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Figures", total=sum(len(planned) for _, planned, _ in plans))
        for results, planned, apology in plans:
            place = Path("figures") / results.study.recipe
            (folder / place).mkdir(parents=True)
            shown = []
            for picture in planned:
                shown.append(_save(picture, folder, place))
                progress.advance(task)
            siblings = [
                other
                for other in all_results
                if other.study.data == results.study.data and other.study.model != results.study.model
            ]
            sections.append(
                Section(
                    results=results,
                    answers=answers(results),
                    cautions=[*cautions(results), *apology],
                    verdicts=judge_all(results, siblings),
                    figures=shown,
                )
            )
    (folder / "tables").mkdir()
    tables = write_tables(all_results, [section.verdicts for section in sections], folder / "tables")
    page, summary = render(sections, problems, tables, settings)
    (folder / PAGE).write_text(page, encoding="utf-8")
    (folder / SUMMARY).write_text(summary, encoding="utf-8")
    return sections


def _images(study: Study, directory: str | None) -> tuple[ImageArrays | None, list[str]]:
    """The data set's images, for the figures that show some; a report without them is a report."""
    from class_sensitivity.runs import directory as runs

    record = runs.read(next(iter(study.paths.values())), arrays=())
    try:
        place = directory or record.config["data"]["dir"]
        arrays = load_arrays(study.data, place, False)
    except (UserError, KeyError, TypeError):
        return None, [f"Figures of images are missing: {study.data} was not found; say where with data_dir=DIRECTORY."]
    if arrays.class_names != study.class_names or not np.array_equal(arrays.test_labels, study.labels):
        return None, ["Figures of images are missing: the data set found is not the one that was tested on."]
    return arrays, []


def _save(picture: Picture, folder: Path, place: Path) -> Shown:
    path = place / picture.name
    with warnings.catch_warnings():
        # A letter that no font has is drawn as a box; the page shows the name as it is.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure: Figure = picture.draw()
        figure.savefig(folder / path.with_name(f"{path.name}.png"))
        figure.set_layout_engine("none")  # the layout is found; finding it again would take as long
        figure.savefig(folder / path.with_name(f"{path.name}.svg"), metadata={"Date": None})
    png = (folder / path.with_name(f"{path.name}.png")).read_bytes()
    return Shown(picture.name, picture.title, picture.caption, path.as_posix(), png)


def _print(console: Console, section: Section) -> None:
    study = section.results.study
    console.print(
        f"\n{study.data}, {study.model}, {len(study.paths)} runs", style="bold", markup=False, highlight=False
    )
    for sentence in [*section.answers, *section.cautions]:
        console.print(f"- {sentence}", highlight=False, markup=False)
    if not section.results.study.arrays.present.all():
        console.print(_missing(section.results.study))
    console.print(_classes(section.results))
    if section.claims_apply:
        console.print(_claims(section.verdicts))


def _missing(study: Study) -> Table:
    """Levels x seeds: what is there and what is not."""
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
    for kind in results.curves:
        table.add_column(f"points lost per 10 of {stress_name(kind)}", justify="right")
    recall = results.recall.get("baseline") or next(iter(results.recall.values()))
    for index, name in enumerate(results.study.class_names):
        losses = [loss(curve.slope[index]) for curve in results.curves.values()]
        table.add_row(escape(name), f"{recall.value[index]:.1%}", *losses)
    return table


def _claims(verdicts: list[Verdict]) -> Table:
    table = Table(title="The article's claims", title_justify="left")
    for column in ("claim", "verdict", "effect"):
        table.add_column(column)
    for verdict in verdicts:
        known = verdict.effect == verdict.effect
        effect = f"{verdict.effect:+.2f} [{verdict.low:+.2f}, {verdict.high:+.2f}] {verdict.unit}" if known else ""
        table.add_row(verdict.id, verdict.verdict, effect)
    return table
