"""From run directories to a report: figures, tables, one page, a summary.

`write_report` is the whole of `analyze.py`. A report is written beside its place and moved there when
it is finished, so that a reader never finds half of one.
"""

import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from class_sensitivity.analysis.loading import LeftOut, LoadedRuns, load_runs
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.errors import ReportError, UserError
from class_sensitivity.figures.axes import figure_of, house_style
from class_sensitivity.report.console import print_comparison, print_section
from class_sensitivity.report.exchange import ExchangeOfStudy
from class_sensitivity.report.explorer.page import EXPLORER_FILE, file_names, write_explorer
from class_sensitivity.report.explorer.payload import relative_limit
from class_sensitivity.report.page import ComparisonSection, SavedFigure, Section, render
from class_sensitivity.report.parts import FigureSpec, Line
from class_sensitivity.report.plan import Plan, any_record, plan_of
from class_sensitivity.report.processes import done_side_by_side
from class_sensitivity.report.separation import ModelsCompared, check_people, compared_models
from class_sensitivity.report.tables import suspects_table, write_tables
from class_sensitivity.report.training_length import LengthsOfRecipe, lengths_of, write_lengths
from class_sensitivity.settings import AnalyzeSettings

T = TypeVar("T")

PAGE = "index.html"
SUMMARY = "summary.md"

RecipeWords = Callable[[Mapping[str, Any]], tuple[str, ...]]


def write_report(settings: AnalyzeSettings, words: RecipeWords | None = None) -> Path:
    """Reads runs and writes their report.

    Args:
        settings: What was asked for.
        words: From the settings of a run, as its record holds them, to the words of a command line that ask for its
            recipe, so that the commands that the report advises have them.

    Returns:
        The report's directory.

    Raises:
        UserError: There is nothing to report on, a class is not known, or the report cannot be written; or a figure
            could not be drawn, and the report is there without it.
    """
    out = Path(settings.out).expanduser()
    root = Path(settings.runs).expanduser()
    _check_replaceable(out, root)
    console = Console()
    runs = load_runs(root, data=settings.only.data, model=settings.only.model)
    if not runs:
        raise _nothing(root, settings, runs)
    check_people(runs, settings)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            fresh = Path(scratch) / out.name
            fresh.mkdir()
            sections, comparisons, undrawn = _write_all(fresh, runs, settings, words, console)
            _move_into_place(fresh, out, Path(scratch))
    except OSError as error:
        raise ReportError(
            f"The report cannot be written to {out} ({error.strerror or error}); "
            "free space or choose another place with out=DIRECTORY."
        ) from None
    for section in sections:
        print_section(console, section)
    for comparison in comparisons:
        print_comparison(console, comparison)
    if runs.left_out:
        console.print(f"Run directories left out: {len(runs.left_out)}; the report says why.", highlight=False)
    console.print(f"Report: {out / PAGE}", highlight=False, markup=False, soft_wrap=True)
    if undrawn:
        parts = f"{len(undrawn)} part{'s' * (len(undrawn) != 1)} that could not be made"
        raise ReportError(f"The report is there, without {parts}. {undrawn[0]}")
    return out


def _nothing(root: Path, settings: AnalyzeSettings, runs: LoadedRuns) -> ReportError:
    make = "make some with python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2,3,4,5"
    if not root.is_dir():
        return ReportError(f"There are no runs: {root} is not a directory; {make}, or set runs=DIRECTORY.")
    filters = ", ".join(f"only.{key}={value}" for key, value in settings.only.filters().items())
    which = f" with {filters}" if filters else ""
    left_out = runs.left_out
    reasons = f" ({len(left_out)} were left out, the first because {left_out[0].reason})" if left_out else ""
    return ReportError(f"There is no complete run{which} in {root}{reasons}; {make}, or set runs=DIRECTORY.")


def _check_replaceable(out: Path, root: Path) -> None:
    """Only a report of this program, or nothing, may be replaced; never the runs themselves."""
    if not out.exists():
        return
    if root.resolve().is_relative_to(out.resolve()):
        raise ReportError(
            f"{out} holds the runs, and a report replaces what is there; choose another place with out=DIRECTORY."
        )
    known = {PAGE, SUMMARY, "figures", "tables"}
    if not out.is_dir() or any(p.name not in known and not EXPLORER_FILE.fullmatch(p.name) for p in out.iterdir()):
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
    folder: Path, runs: LoadedRuns, settings: AnalyzeSettings, words: RecipeWords | None, console: Console
) -> tuple[list[Section], list[ComparisonSection], list[str]]:
    with console.status("Statistics ..."):
        analyses = {study.recipe: partial(_analysed, study, settings, words) for study in runs}
        all_results, unreported = _of_every_study(analyses, "analysed", settings)
    with console.status("Look-alikes ..."):
        limit = relative_limit(all_results)
        planned = {
            results.study.recipe: partial(plan_of, results, all_results, runs.stream_studies, settings, limit=limit)
            for results in all_results
        }
        plans, unplanned = _of_every_study(planned, "reported", settings)
        unreported += unplanned
        shown = [plan.results for plan in plans]
        separations = {plan.results.study.recipe: plan.separation for plan in plans if plan.separation}
        models = _Piece("The comparison of models is", lambda: _told(compared_models(shown, separations, settings)))
        lengths = _Piece(
            "What a longer training does is", lambda: _told(lengths_of([each.study for each in shown], settings.alpha))
        )
        for piece in (models, lengths):
            piece.settle(piece.make)
    compared = [each for piece in (models, lengths) for each in piece.made or []]
    groups = [(Path("figures"), each.specs) for each in compared]
    groups += [(Path("figures") / plan.results.study.recipe, plan.specs) for plan in plans]
    for place in (Path("tables"), *(place for place, _ in groups)):
        (folder / place).mkdir(parents=True, exist_ok=True)
    explorer = _Piece("The explorer is", lambda: _write_explorers(folder, plans))
    tables = _Piece("The tables are", lambda: _write_tables(folder / "tables", plans, compared))
    drawings = [
        [_Piece(f"The figure {spec.title} is", partial(_save, spec, folder, place)) for spec in specs]
        for place, specs in groups
    ]
    # What takes longest is made first, so that no process is left alone with it at the end.
    pieces: list[_Piece[Any]] = [explorer, tables, *chain.from_iterable(drawings)]
    _make(pieces, console)
    comparisons = [
        ComparisonSection(each.title, [*each.lines, *(Line("missing", x) for x in _missing(drawn))], _made(drawn))
        for each, drawn in zip(compared, drawings, strict=False)
    ]
    if uncompared := _missing([models, lengths]):
        comparisons.append(ComparisonSection("Several studies", [Line("missing", x) for x in uncompared], []))
    explorers = {} if explorer.missing else file_names([plan.results.study for plan in plans])
    sections = [
        replace(
            plan.section,
            figures=_made(drawn),
            explorer=explorers.get(plan.results.study.recipe, ""),
            caveats=[*plan.section.caveats, *_missing([*drawn, explorer, tables])],
        )
        for plan, drawn in zip(plans, drawings[len(compared) :], strict=True)
    ]
    page, summary = render(sections, comparisons, [*runs.left_out, *unreported], tables.made or [], settings)
    (folder / PAGE).write_text(page, encoding="utf-8")
    (folder / SUMMARY).write_text(summary, encoding="utf-8")
    missing = [*(f"{each.path} {each.reason}." for each in unreported), *uncompared, *_missing(pieces)]
    return sections, comparisons, missing


def _analysed(study: Study, settings: AnalyzeSettings, words: RecipeWords | None) -> Results:
    record = any_record(study) if words is not None else None
    if words is not None and record is not None:
        study = replace(study, words=words(record.config))
    return analyse(study, alpha=settings.alpha, resamples=settings.resamples, seed=settings.seed)


def _of_every_study(
    jobs: Mapping[str, Callable[[], T]], done: str, settings: AnalyzeSettings
) -> tuple[list[T], list[LeftOut]]:
    """What is made of every study, and those of which a defect keeps it from being made; of all, it is raised.

    Args:
        jobs: Recipe of a study -> makes it.
        done: What they do with the study, such as `analysed`.
        settings: Where the runs are.
    """
    made: list[T] = []
    left_out: list[LeftOut] = []
    for recipe, make in jobs.items():
        try:
            made.append(make())
        except (UserError, OSError):
            raise
        except Exception as error:
            if len(left_out) + 1 == len(jobs):
                raise
            traceback.print_exception(error)
            place = Path(settings.runs).expanduser() / recipe
            left_out.append(LeftOut(place, f"could not be {done}: {type(error).__name__}: {error}"))
    return made, left_out


@dataclass(frozen=True)
class _Comparison:
    """What is to be shown of several studies."""

    found: ModelsCompared | LengthsOfRecipe
    title: str
    lines: list[Line]
    specs: list[FigureSpec]


def _told(found: Sequence[ModelsCompared] | Sequence[LengthsOfRecipe]) -> list[_Comparison]:
    return [_Comparison(each, each.title, list(each.lines()), list(each.specs())) for each in found]


@dataclass
class _Piece(Generic[T]):
    """A part of the report that is made apart from the others: one that cannot be made must not cost anybody the rest.

    Attributes:
        what: What it is, with its verb: the first words of a sentence.
        make: Makes it.
        made: What that returned.
        missing: A sentence that says why it could not be made.
    """

    what: str
    make: Callable[[], T]
    made: T | None = None
    missing: str = ""

    def settle(self, outcome: Callable[[], T]) -> None:
        """Takes what was made, or says what kept it from being made.

        Args:
            outcome: Returns what `make` returned, or raises what it raised.
        """
        try:
            self.made = outcome()
        except (UserError, OSError):  # a full disk
            raise
        except Exception as error:  # a defect
            traceback.print_exception(error)
            self.missing = f"{self.what} missing: {type(error).__name__}: {error}."


def _made(pieces: Sequence[_Piece[T]]) -> list[T]:
    return [piece.made for piece in pieces if piece.made is not None]


def _missing(pieces: Sequence[_Piece[Any]]) -> list[str]:
    return [piece.missing for piece in pieces if piece.missing]


def _make(pieces: Sequence[_Piece[Any]], console: Console) -> None:
    """Makes all pieces, on as many cores as there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without a thread of its own that refreshes it: processes are forked here.
    with (
        Progress(*columns, console=console, transient=True, auto_refresh=False) as progress,
        closing(done_side_by_side([piece.make for piece in pieces])) as outcomes,
    ):
        task = progress.add_task("Figures and tables", total=len(pieces))
        progress.refresh()
        for number, outcome in outcomes:
            pieces[number].settle(outcome.result)
            progress.update(task, advance=1, refresh=True)


def _write_explorers(folder: Path, plans: Sequence[Plan]) -> None:
    write_explorer(folder, [plan.subject() for plan in plans], PAGE)


def _write_tables(folder: Path, plans: Sequence[Plan], compared: Sequence[_Comparison]) -> list[str]:
    """Writes all tables; returns their names."""
    others = {
        "suspects": [suspects_table(plan.results, plan.suspects, plan.inspection) for plan in plans],
        "pairs": [plan.separation.table() if plan.separation else pd.DataFrame() for plan in plans],
        "variety": [plan.variety.table() if plan.variety else pd.DataFrame() for plan in plans],
        "exchange": [ExchangeOfStudy(plan.results).table() for plan in plans],
        "calibration": [plan.calibration.table() if plan.calibration else pd.DataFrame() for plan in plans],
        "variance": [plan.variance.table() for plan in plans],
    }
    verdicts = [plan.section.verdicts for plan in plans]
    written = write_tables([plan.results for plan in plans], verdicts, others, folder)
    lengths = [each.found for each in compared if isinstance(each.found, LengthsOfRecipe)]
    return [*written, *write_lengths(lengths, folder)]


def _save(spec: FigureSpec, folder: Path, place: Path) -> SavedFigure:
    path = place / spec.name
    with house_style():
        figure = figure_of(spec.draw())
        figure.savefig(folder / path.with_name(f"{path.name}.png"))
        figure.set_layout_engine("none")  # the layout is found; finding it again would take as long
        figure.savefig(folder / path.with_name(f"{path.name}.svg"), metadata={"Date": None})
    png = (folder / path.with_name(f"{path.name}.png")).read_bytes()
    return SavedFigure(spec.name, spec.title, spec.caption, path.as_posix(), png)
