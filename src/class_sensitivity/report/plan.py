"""What is known of one study before its figures are drawn: what the page says of it, and what shows it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.advice import advise, has_learnt
from class_sensitivity.analysis.claims import claims_about
from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.claims.next_runs import next_runs
from class_sensitivity.analysis.loading import StreamStudy
from class_sensitivity.analysis.prices import advise_on_prices
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.suspects import Suspect, suspect_images
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.inspection import Inspection, read_inspection
from class_sensitivity.data.sources import data_digest, load_arrays, runs_code
from class_sensitivity.errors import RunError, UserError
from class_sensitivity.report.calibration import CalibrationOfStudy, calibration_of
from class_sensitivity.report.caveats import caveats
from class_sensitivity.report.explorer.payload import MOST_CLASSES, Subject
from class_sensitivity.report.figure_list import figure_specs
from class_sensitivity.report.findings import findings
from class_sensitivity.report.glance import at_a_glance
from class_sensitivity.report.inspection import advise_on_images, describe
from class_sensitivity.report.page import Section
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.report.separation import Separation, separation_of
from class_sensitivity.report.variance import VarianceOfStudy, variance_of
from class_sensitivity.report.variety import Variety, variety_of
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.runs.directory import read_record
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.settings import AnalyzeSettings, DataSettings

#: Of images that can be shown: grey, colours, colours with transparency.
_SHOWN_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Plan:
    """One study, ready to be drawn and written.

    Attributes:
        section: What the page says of it; its figures and its explorer are still to be made.
        specs: The figures, in the order of the page.
        suspects: Test images that look mislabelled.
        inspection: What an inspection of the data set saw, if there was one.
        separation: How alike its classes look; None without a baseline that has learnt something.
        variety: How much the training images of each class differ; None without them.
        calibration: Of its confidence; None where a record is gone.
        variance: Where the variance of its falls comes from.
        arrays: The data set's images; None where they were not found.
        limit: The largest cell of any relative matrix of the report.
    """

    section: Section
    specs: list[FigureSpec]
    suspects: list[Suspect]
    inspection: Inspection | None
    separation: Separation | None
    variety: Variety | None
    calibration: CalibrationOfStudy | None
    variance: VarianceOfStudy
    arrays: ImageArrays | None
    limit: float

    @property
    def results(self) -> Results:
        """Of the study."""
        return self.section.results

    def subject(self) -> Subject:
        """What the explorer shows."""
        return Subject(
            results=self.results,
            limit=self.limit,
            arrays=self.arrays,
            separation=self.separation,
            suspects=self.suspects,
            advice=self.section.advice,
            claims=self.section.claims,
            verdicts=self.section.verdicts,
            findings=self.section.findings,
            caveats=self.section.caveats,
        )


def plan_of(
    results: Results,
    all_results: Sequence[Results],
    stream_studies: Sequence[StreamStudy],
    settings: AnalyzeSettings,
    *,
    limit: float,
) -> Plan:
    """Everything about a study but its drawings.

    Args:
        results: Of the study.
        all_results: Of all studies of the report, this one among them.
        stream_studies: Runs in which one stream of chance was varied alone, of any recipe.
        settings: What was asked for.
        limit: The largest cell of any relative matrix of the report.

    Raises:
        UserError: A class that is asked for does not exist, or people's choices cannot be read or do not fit.
    """
    study, root = results.study, Path(settings.runs).expanduser()
    claims = claims_about(study.data)
    focus = claims.focus if claims else Focus()
    record = any_record(study)
    inspection = read_inspection(root, study.data, record.identity.data.digest) if record else None
    arrays, missing = _images(study, record, settings.data_dir)
    learnt = has_learnt(results)
    others = _other_models(results, all_results)
    suspects = _suspects(results, others) if learnt else []
    separation = separation_of(results, arrays, inspection, settings) if learnt else None
    variety = variety_of(results, arrays)
    calibration = calibration_of(results)
    variance = variance_of(study, stream_studies, settings.alpha)
    if study.num_classes > MOST_CLASSES:
        missing.append(f"The explorer is missing: it shows {MOST_CLASSES} classes at most.")
    if calibration is None:
        missing.append(
            "Calibration and images that look mislabelled are missing: "
            "the record of a run, with its probabilities, cannot be read."
        )
    specs = [
        *figure_specs(results, arrays, settings, limit=limit, focus=focus, suspects=suspects, variety=variety),
        *(separation.specs() if separation else ()),
        *(calibration.specs() if calibration else ()),
        *variance.specs(),
    ]
    train_counts = _train_counts(study)
    advice = [
        *advise(results, train_counts),
        *advise_on_prices(results, settings.price),
        *advise_on_images(suspects, inspection, study.class_names),
    ]
    verdicts = claims.judge(results, others) if claims else []
    glance = at_a_glance(results, advice, verdicts, next_runs(study, verdicts))
    section = Section(
        results=results,
        glance=[*glance[:1], *([separation.line()] if separation else []), *glance[1:]],
        advice=advice,
        findings=[
            *findings(results),
            *(calibration.findings() if calibration else ()),
            *variance.findings(),
        ],
        seen=list(describe(inspection)) if inspection else [],
        caveats=[*caveats(results), *missing],
        claims=claims,
        verdicts=verdicts,
        figures=[],
        explorer="",
    )
    return Plan(section, specs, suspects, inspection, separation, variety, calibration, variance, arrays, limit)


def any_record(study: Study) -> RunRecord | None:
    """The record of some run, which says what all of them have in common; None if it is gone or was never a file."""
    try:
        return read_record(next(iter(study.directories.values())), arrays=())
    except (UserError, StopIteration):
        return None


def _train_counts(study: Study) -> NDArray[np.int64] | None:
    """(K,) training examples of each class at the baseline, where a record says so and can still be read."""
    places = [place for (condition, _), place in study.directories.items() if condition == BASELINE]
    try:
        counts = read_record(places[0], arrays=()).noise.counts
    except (RunError, IndexError):
        return None
    return np.asarray(np.array(counts, np.int64).sum(axis=1))


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


def _other_models(results: Results, all_results: Sequence[Results]) -> list[Results]:
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
