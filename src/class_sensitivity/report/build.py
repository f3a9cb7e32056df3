"""From run directories to a report: figures, tables, one page, a summary.

`write_report` is the whole of `analyze.py`. A report is written beside its place and moved there when
it is finished, so that a reader never finds half of one.
"""

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from class_sensitivity.analysis.advice import advise, has_learnt
from class_sensitivity.analysis.claims import claims_about
from class_sensitivity.analysis.claims.claim_set import ClaimSet, Focus
from class_sensitivity.analysis.claims.next_runs import next_runs
from class_sensitivity.analysis.loading import LeftOut, LoadedRuns, load_runs
from class_sensitivity.analysis.prices import advise_on_prices
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.suspects import Suspect, suspect_images
from class_sensitivity.analysis.variance_split import VarianceSplit, variance_splits
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.inspection import Inspection, read_inspection
from class_sensitivity.data.sources import data_digest, load_arrays, runs_code
from class_sensitivity.errors import ReportError, RunError, UserError
from class_sensitivity.figures.axes import figure_of, house_style
from class_sensitivity.report import variance
from class_sensitivity.report.calibration import CalibrationOfStudy, calibration_of
from class_sensitivity.report.console import print_comparison, print_section
from class_sensitivity.report.explorer.page import EXPLORER_FILE, file_names, write_explorer
from class_sensitivity.report.explorer.payload import MOST_CLASSES, Subject, relative_limit
from class_sensitivity.report.figure_list import figure_specs
from class_sensitivity.report.findings import at_a_glance, caveats, findings
from class_sensitivity.report.inspection import advise_on_images, describe
from class_sensitivity.report.page import ComparisonSection, SavedFigure, Section, render
from class_sensitivity.report.parts import FigureSpec, Line
from class_sensitivity.report.processes import done_side_by_side
from class_sensitivity.report.separation import ModelsCompared, Separation, check_people, compared_models, separation_of
from class_sensitivity.report.tables import suspects_table, write_tables
from class_sensitivity.report.training_length import LengthsOfRecipe, lengths_of, write_lengths
from class_sensitivity.report.variety import Variety, variety_of
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.runs.directory import read_record
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.settings import AnalyzeSettings, DataSettings

T = TypeVar("T")

PAGE = "index.html"
SUMMARY = "summary.md"

RecipeWords = Callable[[Mapping[str, Any]], tuple[str, ...]]

#: Of images that can be shown: grey, colours, colours with transparency.
_SHOWN_CHANNELS = (1, 3, 4)


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
    if words is not None:
        runs = replace(runs, studies=tuple(_with_words(study, words) for study in runs))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            fresh = Path(scratch) / out.name
            fresh.mkdir()
            sections, comparisons, undrawn = _write_all(fresh, runs, settings, console)
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


def _with_words(study: Study, words: RecipeWords) -> Study:
    record = _any_record(study)
    return study if record is None else replace(study, words=words(record.config))


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
    folder: Path, runs: LoadedRuns, settings: AnalyzeSettings, console: Console
) -> tuple[list[Section], list[ComparisonSection], list[str]]:
    with console.status("Statistics ..."):
        all_results, unanalysed = _analysed(runs, settings)
    with console.status("Look-alikes ..."):
        plans = [_plan(results, all_results, settings, runs) for results in all_results]
        separations = {plan.results.study.recipe: plan.separation for plan in plans if plan.separation}
        lengths = lengths_of([results.study for results in all_results], settings.alpha)
        models = compared_models(all_results, separations, settings)
        compared: list[ModelsCompared | LengthsOfRecipe] = [*models, *lengths]
    explorers = file_names([plan.results.study for plan in plans])
    sections = [_words(plan, all_results, settings, explorers.get(plan.results.study.recipe, "")) for plan in plans]
    groups = [(Path("figures"), list(each.specs())) for each in compared]
    groups += [(Path("figures") / plan.results.study.recipe, plan.specs) for plan in plans]
    for place in (Path("tables"), *(place for place, _ in groups)):
        (folder / place).mkdir(parents=True, exist_ok=True)
    explorer = _Piece("The explorer is", lambda: _write_explorers(folder, plans, sections))
    tables = _Piece("The tables are", lambda: _write_tables(folder / "tables", plans, sections, lengths))
    drawings = [
        [_Piece(f"The figure {spec.title} is", partial(_save, spec, folder, place)) for spec in specs]
        for place, specs in groups
    ]
    # What takes longest is made first, so that no process is left alone with it at the end.
    pieces: list[_Piece[Any]] = [explorer, tables, *chain.from_iterable(drawings)]
    _make(pieces, console)
    comparisons = [
        ComparisonSection(each.title, [*each.lines(), *(Line("missing", x) for x in _missing(drawn))], _made(drawn))
        for each, drawn in zip(compared, drawings, strict=False)
    ]
    sections = [
        replace(
            section,
            figures=_made(drawn),
            explorer="" if explorer.missing else section.explorer,
            caveats=[*section.caveats, *_missing([*drawn, explorer, tables])],
        )
        for section, drawn in zip(sections, drawings[len(compared) :], strict=True)
    ]
    page, summary = render(sections, comparisons, [*runs.left_out, *unanalysed], tables.made or [], settings)
    (folder / PAGE).write_text(page, encoding="utf-8")
    (folder / SUMMARY).write_text(summary, encoding="utf-8")
    return sections, comparisons, [*(f"{each.path} {each.reason}." for each in unanalysed), *_missing(pieces)]


def _analysed(runs: LoadedRuns, settings: AnalyzeSettings) -> tuple[list[Results], list[LeftOut]]:
    """The results of every study, and those that a defect keeps from having any; if that is all of them, the defect."""
    found: list[Results] = []
    left_out: list[LeftOut] = []
    for study in runs:
        try:
            found.append(analyse(study, alpha=settings.alpha, resamples=settings.resamples, seed=settings.seed))
        except (UserError, OSError):
            raise
        except Exception as error:
            if len(left_out) + 1 == len(runs):
                raise
            traceback.print_exception(error)
            place = Path(settings.runs).expanduser() / study.recipe
            left_out.append(LeftOut(place, f"could not be analysed: {type(error).__name__}: {error}"))
    return found, left_out


@dataclass
class _Piece(Generic[T]):
    """A part of the report that is made apart from the others: one that cannot be made must not cost anybody the rest.

    Attributes:
        what: What it is, with its verb: the first words of a sentence.
        make: Writes its files.
        made: What that returned.
        missing: A sentence that says why it could not be made.
    """

    what: str
    make: Callable[[], T]
    made: T | None = None
    missing: str = ""


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
            try:
                pieces[number].made = outcome.result()
            except (UserError, OSError):  # a full disk
                raise
            except Exception as error:  # a defect
                traceback.print_exception(error)
                pieces[number].missing = f"{pieces[number].what} missing: {type(error).__name__}: {error}."
            progress.update(task, advance=1, refresh=True)


def _words(plan: "_Plan", all_results: list[Results], settings: AnalyzeSettings, explorer: str) -> Section:
    """What the page says of a study, without its figures."""
    results = plan.results
    advice = [
        *advise(results, plan.train_counts),
        *advise_on_prices(results, settings.price),
        *advise_on_images(plan.suspects, plan.inspection, results.study.class_names),
    ]
    verdicts = plan.claims.judge(results, _other_models(results, all_results)) if plan.claims else []
    glance = at_a_glance(results, advice, verdicts, next_runs(results.study, verdicts))
    return Section(
        results=results,
        glance=[*glance[:1], *([plan.separation.line()] if plan.separation else []), *glance[1:]],
        advice=advice,
        findings=[
            *findings(results),
            *(plan.calibration.sentences() if plan.calibration else ()),
            *variance.sentences(plan.splits, settings.alpha),
        ],
        seen=list(describe(plan.inspection)) if plan.inspection else [],
        caveats=[*caveats(results), *plan.missing],
        claims=plan.claims,
        verdicts=verdicts,
        figures=[],
        explorer=explorer,
    )


def _write_explorers(folder: Path, plans: Sequence["_Plan"], sections: Sequence[Section]) -> None:
    limit = relative_limit([plan.results for plan in plans])
    subjects = [_subject(plan, section, limit) for plan, section in zip(plans, sections, strict=True)]
    write_explorer(folder, subjects, PAGE)


def _write_tables(
    folder: Path, plans: Sequence["_Plan"], sections: Sequence[Section], lengths: Sequence[LengthsOfRecipe]
) -> list[str]:
    """Writes all tables; returns their names."""
    others = {
        "suspects": [suspects_table(plan.results, plan.suspects, plan.inspection) for plan in plans],
        "pairs": [plan.separation.table() if plan.separation else pd.DataFrame() for plan in plans],
        "variety": [plan.variety.table() if plan.variety else pd.DataFrame() for plan in plans],
        "calibration": [plan.calibration.table() if plan.calibration else pd.DataFrame() for plan in plans],
        "variance": [variance.table(plan.splits, plan.results.study.class_names, plan.results.alpha) for plan in plans],
    }
    verdicts = [section.verdicts for section in sections]
    written = write_tables([plan.results for plan in plans], verdicts, others, folder)
    return [*written, *write_lengths(lengths, folder)]


@dataclass(frozen=True)
class _Plan:
    """What is known of a study before its figures are drawn."""

    results: Results
    claims: ClaimSet | None
    suspects: list[Suspect]
    inspection: Inspection | None
    train_counts: NDArray[np.int64] | None
    separation: Separation | None
    variety: Variety | None
    calibration: CalibrationOfStudy | None
    splits: list[VarianceSplit]
    specs: list[FigureSpec]
    missing: list[str]
    arrays: ImageArrays | None


def _subject(plan: _Plan, section: Section, limit: float) -> Subject:
    """What the explorer of a study shows."""
    recipe, alpha = plan.results.study.recipe, plan.results.alpha
    further = []
    if plan.calibration:
        place = next((spec.name for spec in plan.calibration.specs()), "")
        further += [(each, f"{recipe}-{place}") for each in plan.calibration.sentences()]
    if plan.splits:
        place = next((spec.name for spec in variance.specs(plan.splits, plan.results.study.class_names)), "")
        further += [(each, f"{recipe}-{place}") for each in variance.sentences(plan.splits, alpha)]
    return Subject(
        results=plan.results,
        limit=limit,
        arrays=plan.arrays,
        separation=plan.separation,
        suspects=plan.suspects,
        advice=section.advice,
        claims=plan.claims,
        verdicts=section.verdicts,
        further=further,
        caveats=section.caveats,
    )


def _plan(results: Results, all_results: list[Results], settings: AnalyzeSettings, runs: LoadedRuns) -> _Plan:
    study, root = results.study, Path(settings.runs).expanduser()
    claims = claims_about(study.data)
    record = _any_record(study)
    inspection = read_inspection(root, study.data, record.identity.data.digest) if record else None
    arrays, missing = _images(study, record, settings.data_dir)
    learnt = has_learnt(results)
    suspects = _suspects(results, _other_models(results, all_results)) if learnt else []
    focus = claims.focus if claims else Focus()
    separation = separation_of(results, arrays, inspection, settings) if learnt else None
    variety = variety_of(results, arrays)
    specs = list(figure_specs(results, arrays, settings, focus=focus, suspects=suspects, variety=variety))
    specs += separation.specs() if separation else []
    calibration = calibration_of(results)
    if study.num_classes > MOST_CLASSES:
        missing.append(f"The explorer is missing: it shows {MOST_CLASSES} classes at most.")
    if calibration is None:
        missing.append(
            "Calibration and images that look mislabelled are missing: "
            "the record of a run, with its probabilities, cannot be read."
        )
    else:
        specs += calibration.specs()
    splits = list(variance_splits(study, [each for each in runs.stream_studies if each.study.recipe == study.recipe]))
    specs += variance.specs(splits, study.class_names)
    return _Plan(
        results,
        claims,
        suspects,
        inspection,
        _train_counts(study),
        separation,
        variety,
        calibration,
        splits,
        specs,
        missing,
        arrays,
    )


def _any_record(study: Study) -> RunRecord | None:
    """The record of some run, which says what all of them have in common; None if it is gone or was never a file."""
    try:
        return read_record(next(iter(study.directories.values())), arrays=())
    except (UserError, StopIteration):
        return None


def _train_counts(study: Study) -> NDArray[np.int64] | None:
    """(K,) training examples of each class at the baseline, where a record says so."""
    for (condition, _), place in study.directories.items():
        if condition == BASELINE:
            return np.asarray(np.array(read_record(place, arrays=()).noise.counts, np.int64).sum(axis=1))
    return None


def _suspects(results: Results, others: Sequence[Results]) -> list[Suspect]:
    """Test images that every network of the baseline takes for another class; needs two networks.

    A model that has learnt nothing has no part in it: it contradicts no label, so nothing would be left.
    """
    study = results.study
    places = [
        place
        for other in (study, *(other.study for other in others if has_learnt(other)))
        if np.array_equal(other.labels, study.labels)
        for (condition, _), place in other.directories.items()
        if condition == BASELINE
    ]
    if len(places) < 2:
        return []
    name = "test_probabilities"
    try:
        return suspect_images(study.labels, (read_record(place, arrays=(name,)).arrays[name] for place in places))
    except RunError:  # packed copies have none; that calibration is missing for this reason is said once for both
        return []


def _other_models(results: Results, all_results: list[Results]) -> list[Results]:
    """Results of other models on the same data set."""
    mine = results.study
    return [other for other in all_results if other.study.data == mine.data and other.study.model != mine.model]


def _images(study: Study, record: RunRecord | None, directory: str | None) -> tuple[ImageArrays | None, list[str]]:
    """The data set's images, for the figures that show some, and what to say where they are missing."""
    reason = f"{study.data} was not found; say where with data_dir=DIRECTORY"
    for asked in _places(record, directory):
        # What a run directory says is data: code that it names is not executed.
        if runs_code(asked):
            reason = (
                f"{study.data} is read by a module, and a report executes no code that run directories name; runs on "
                "the same arrays in a file (data=npz) have these figures"
            )
            break
        try:
            arrays = load_arrays(asked, run_code=False)
        except (UserError, TypeError, ValueError):  # its settings may be of another version
            continue
        channels = arrays.test_images.shape[3]
        if channels not in _SHOWN_CHANNELS:
            reason = f"pictures have 1, 3 or 4 channels, and these {channels}"
            break
        tested = arrays.class_names == study.class_names and np.array_equal(arrays.test_labels, study.labels)
        if tested and record is not None and data_digest(asked) == record.identity.data.digest:
            return arrays, []
        reason = "the data set found is not the one that was tested on"
    return None, [f"Figures of images are missing: {reason}."]


def _places(record: RunRecord | None, directory: str | None) -> list[DataSettings]:
    """The data set in the place that is given, or else where a run found it and then in $CLASS_SENSITIVITY_DATA."""
    if record is None:
        return []
    try:
        found = replace(record.data_settings, download=False)
    except (KeyError, TypeError, ValueError):  # its settings may be of another version
        return []
    if directory is not None:
        return [replace(found, dir=directory)]
    usual = os.environ.get("CLASS_SENSITIVITY_DATA")
    return [found, *([replace(found, dir=str(Path(usual).expanduser()))] if usual else [])]


def _save(spec: FigureSpec, folder: Path, place: Path) -> SavedFigure:
    path = place / spec.name
    with house_style():
        figure = figure_of(spec.draw())
        figure.savefig(folder / path.with_name(f"{path.name}.png"))
        figure.set_layout_engine("none")  # the layout is found; finding it again would take as long
        figure.savefig(folder / path.with_name(f"{path.name}.svg"), metadata={"Date": None})
    png = (folder / path.with_name(f"{path.name}.png")).read_bytes()
    return SavedFigure(spec.name, spec.title, spec.caption, path.as_posix(), png)
