"""Tidy tables of everything the report shows; `docs/tables.md` describes them column by column."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from class_sensitivity.analysis.claims.judging import Verdict
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.exchange import Bounds
from class_sensitivity.analysis.results import Curve, Direction, Results
from class_sensitivity.analysis.seeds import seeds_to_tell
from class_sensitivity.analysis.statistics import sign_flip_p
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.inspection import Inspection
from class_sensitivity.runs.condition import Condition

#: Of more classes than these, tables of cells, pairs and ranks leave out what is 0 throughout: they would grow with the
#: square of the number of classes, and hold little else.
MOST_WHOLE = 30

#: Column -> value.
Row = dict[str, object]


def stress_columns(condition: Condition) -> Row:
    """Which stress a condition is."""
    return {
        "condition": condition.name,
        "noise_kind": condition.noise_kind,
        "noise_frac": condition.noise_frac,
        "reduction_frac": condition.reduction_frac,
    }


def value_columns(name: str, found: Estimate | Bounds | None) -> Row:
    """A single value and the ends of its interval as columns; NaN for what is not there."""
    ends = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    return {column: np.nan if found is None else float(getattr(found, end)) for column, end in ends.items()}


def counts_table(results: Results) -> pd.DataFrame:
    """One row per condition, seed, true and predicted class."""
    study, frames = results.study, []
    names = np.array(study.class_names, object)
    for condition in study.conditions:
        for seed in study.common_seeds(condition):
            counts = study.counts_of(condition, [seed])[0]
            true, predicted = np.nonzero(counts if len(names) > MOST_WHOLE else np.ones_like(counts))
            columns = stress_columns(condition) | {"seed": seed, "true": names[true], "predicted": names[predicted]}
            frames.append(pd.DataFrame(columns | {"count": counts[true, predicted]}))
    return pd.concat(frames, ignore_index=True)


def conditions_table(results: Results) -> pd.DataFrame:
    """One row per condition: accuracy, its fall, and what the stress really was."""
    study = results.study
    rows = []
    for result in results.conditions:
        condition, accuracy, versus = result.condition, result.accuracy, result.versus_baseline
        fall = versus.accuracy_fall if versus else None
        seeds = len(accuracy.per_seed)
        rows.append(
            stress_columns(condition)
            | {
                "seeds": seeds,
                "train_size": study.mean_of("train_size", condition),
                "steps": study.mean_of("steps", condition),
                "effective_noise": study.mean_of("effective_noise", condition),
                "learnt": study.mean_of("learnt", condition),
                "accuracy": float(accuracy.value),
                "accuracy_low": float(accuracy.low),
                "accuracy_high": float(accuracy.high),
                "accuracy_sd": float(accuracy.per_seed.std(ddof=1)) if seeds > 1 else np.nan,
                "fall": float(fall.value) if fall else np.nan,
                "fall_low": float(fall.low) if fall else np.nan,
                "fall_high": float(fall.high) if fall else np.nan,
                "asymmetry": result.direction.asymmetry,
                "asymmetry_by_chance": result.direction.asymmetry_by_chance,
                **_tests(result.direction),
            }
        )
    return pd.DataFrame(rows)


def _tests(direction: Direction) -> Row:
    tests = {"new_images": direction.symmetry_new_images, "these_images": direction.symmetry_these_images}
    return {f"symmetry_p_{name}": np.nan if test is None else test.p for name, test in tests.items()}


def classes_table(results: Results) -> pd.DataFrame:
    """One row per condition and class: recall, and its fall from the baseline."""
    rows = []
    for result in results.conditions:
        condition, recall, versus = result.condition, result.recall, result.versus_baseline
        fall = versus.fall if versus else None
        for index, name in enumerate(results.study.class_names):
            row = stress_columns(condition) | {
                "class": name,
                "seeds": len(recall.per_seed),
                "recall": recall.value[index],
                "recall_low": recall.low[index],
                "recall_high": recall.high[index],
            }
            for column, attribute in (("fall", "value"), ("fall_low", "low"), ("fall_high", "high"), ("fall_p", "p")):
                row[column] = getattr(fall, attribute)[index] if fall else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def relative_table(results: Results) -> pd.DataFrame:
    """One row per condition and cell of its relative matrix."""
    names, frames = np.array(results.study.class_names, object), []
    for condition, versus in results.compared.items():
        matrix = versus.relative
        counts = results.study.counts_of(condition, matrix.seeds)
        shown = np.ones(matrix.marked.shape, bool)
        if len(names) > MOST_WHOLE:
            shown = counts.any(axis=0) | (matrix.cells.value != 0)
        true, predicted = np.nonzero(shown)
        cells, counts = matrix.cells[true, predicted], counts[:, true, predicted]
        several = len(matrix.seeds) > 1
        columns = stress_columns(condition) | {
            "true": names[true],
            "predicted": names[predicted],
            "seeds": len(matrix.seeds),
            "mean": counts.mean(axis=0),
            "sd": counts.std(axis=0, ddof=1) if several else np.nan,
            "difference": cells.value,
            "difference_sd": cells.per_seed.std(axis=0, ddof=1) if several else np.nan,
            "low": cells.low,
            "high": cells.high,
            "p": cells.p,
            "sign_flip_p": sign_flip_p(cells.per_seed) if len(matrix.seeds) <= 16 else np.nan,
            "judged": matrix.judged[true, predicted],
            "marked": matrix.marked[true, predicted],
            # After so many a cell would be likely to differ from 0 by itself, two-sided at 5 %.
            "seeds_needed": seeds_to_tell(cells, np.abs(cells.value), alpha=cells.alpha / 2) if several else np.nan,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def sensitivity_table(results: Results) -> pd.DataFrame:
    """One row per kind of stress and class: slope, rank, knee."""
    rows = []
    for kind, curve in results.curves.items():
        needed = _seeds_for_ranks(curve)
        for index, name in enumerate(results.study.class_names):
            knee = curve.knees[index]
            ranks = None if np.isnan(curve.slope.value[index]) else curve.ranks
            rows.append(
                {
                    "stress": kind,
                    "class": name,
                    "seeds": len(curve.seeds),
                    "levels": len(curve.levels),
                    "slope": curve.slope.value[index],
                    "slope_low": curve.slope.low[index],
                    "slope_high": curve.slope.high[index],
                    "expected_rank": np.nan if ranks is None else 1 + ranks[index] @ np.arange(len(ranks)),
                    "most_sensitive_probability": np.nan if ranks is None else ranks[index, 0],
                    "seeds_to_tell_from_next": needed[index],
                    "knee": knee.level,
                    "knee_low": knee.low,
                    "knee_high": knee.high,
                    "knee_p": knee.p,
                    "slope_before": knee.slope_before,
                    "slope_after": knee.slope_after,
                }
            )
    return pd.DataFrame(rows)


def _seeds_for_ranks(curve: Curve) -> NDArray[np.float64]:
    """(K,) seeds after which a class would be likely to be told from the one that is ranked behind it."""
    order = np.argsort(-curve.loss.value, kind="stable")
    needed = np.full(len(order), np.nan)
    if len(curve.seeds) > 1:
        gaps = curve.slope_gaps[order[:-1], order[1:]]
        needed[order[:-1]] = seeds_to_tell(gaps, np.abs(gaps.value), alpha=gaps.alpha)
    return needed


def ranks_table(results: Results) -> pd.DataFrame:
    """One row per kind of stress, class and rank of sensitivity (1 = falls most): its probability."""
    frames, names = [], np.array(results.study.class_names, object)
    for kind, curve in results.curves.items():
        if curve.ranks is None:
            continue
        shown = np.ones(curve.ranks.shape, bool)
        if len(names) > MOST_WHOLE:
            shown = (curve.ranks > 0) & (np.arange(len(names)) < MOST_WHOLE)
        which, rank = np.nonzero(shown)
        columns = {"stress": kind, "class": names[which], "rank": rank + 1}
        frames.append(pd.DataFrame(columns | {"probability": curve.ranks[which, rank]}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def directions_table(results: Results) -> pd.DataFrame:
    """One row per condition and pair of classes: C[a, b] - C[b, a]."""
    study, frames = results.study, []
    names = np.array(study.class_names, object)
    for result in results.conditions:
        direction, e = result.direction, result.direction.difference
        i, j = direction.pairs.T
        frame = pd.DataFrame(
            stress_columns(result.condition)
            | {
                "class_a": names[i],
                "class_b": names[j],
                "seeds": len(e.per_seed),
                "difference": e.value,
                "low": e.low,
                "high": e.high,
                "p": e.p,
                "marked": direction.marked,
            }
        )
        if study.num_classes > MOST_WHOLE:
            counts = study.counts_of(result.condition).sum(axis=0)
            frame = frame[(counts[i, j] + counts[j, i]) > 0]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def costs_table(results: Results) -> pd.DataFrame:
    """One row per noise condition with its matched-clean control, and class (`*` = all classes)."""
    rows = []
    for cost in results.costs:
        for index, name in [*enumerate(results.study.class_names), (None, "*")]:
            row: Row = {
                "noise": cost.noise.name,
                "control": cost.control.name,
                "class": name,
                "seeds": len(cost.seeds),
            }
            for what in ("less_data", "misled"):
                row |= value_columns(
                    what, getattr(cost, f"overall_{what}") if index is None else getattr(cost, what)[index]
                )
            rows.append(row)
    return pd.DataFrame(rows)


def claims_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per claim."""
    columns = ("id", "claim", "verdict", "effect", "low", "high", "unit", "seeds", "sentence", "command")
    rows = [{column: getattr(verdict, column) for column in columns} | _seeds(verdict) for verdict in verdicts]
    return pd.DataFrame(rows)


def _seeds(verdict: Verdict) -> Row:
    """Seeds needed, in all; NaN where the claim is not undecided, infinite where no number is enough."""
    return {"seeds_needed": np.nan if verdict.needed is None else verdict.needed.number}


def parts_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per part of a claim."""
    rows = []
    for verdict in verdicts:
        for part in verdict.parts:
            decisive = part.decisive
            rows.append(
                {
                    "id": verdict.id,
                    "part": part.words,
                    "verdict": part.verdict,
                    "note": part.note,
                    "decisive": decisive.words,
                    "effect": float(decisive.estimate.value),
                    "standard_error": float(decisive.estimate.error),
                    "margin": decisive.margin,
                    "unit": decisive.unit,
                }
            )
    return pd.DataFrame(rows)


def suspects_table(results: Results, suspects: Sequence[Suspect], inspection: Inspection | None) -> pd.DataFrame:
    """One row per test image that looks mislabelled, those least like their label first."""
    names, files = results.study.class_names, inspection.test_files if inspection else ()
    rows = [
        {
            "image": each.index,
            "file": files[each.index] if files else "",
            "label": names[each.label],
            "predicted": names[each.predicted],
            "confidence": each.confidence,
            "self_confidence": each.self_confidence,
        }
        for each in suspects
    ]
    return pd.DataFrame(rows)


#: File name -> the function that makes the table.
TABLES = {
    "counts": counts_table,
    "conditions": conditions_table,
    "classes": classes_table,
    "relative": relative_table,
    "sensitivity": sensitivity_table,
    "ranks": ranks_table,
    "directions": directions_table,
    "costs": costs_table,
}


def write_table(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Writes a table as CSV and Parquet, at full precision: a table read back is the table written."""
    table.to_csv(folder / f"{name}.csv", index=False)
    table.to_parquet(folder / f"{name}.parquet", index=False)


def write_tables(
    all_results: Sequence[Results],
    all_verdicts: Sequence[Sequence[Verdict]],
    others: Mapping[str, Sequence[pd.DataFrame]],
    folder: Path,
) -> list[str]:
    """Writes every table as CSV and Parquet, all studies in one with a column `recipe`, and the arrays.

    Args:
        all_results: One a study.
        all_verdicts: The claims' verdicts of each study.
        others: Name of a further table -> one of each study.
        folder: Where to; must exist.

    Returns:
        The names of the tables that have rows.
    """
    written = []
    makers = {name: [make(results) for results in all_results] for name, make in TABLES.items()}
    makers["claims"] = [claims_table(verdicts) for verdicts in all_verdicts]
    makers["claim_parts"] = [parts_table(verdicts) for verdicts in all_verdicts]
    makers |= {name: list(frames) for name, frames in others.items()}
    for name, frames in makers.items():
        tagged = []
        for results, frame in zip(all_results, frames, strict=True):
            if len(frame):
                frame.insert(0, "recipe", results.study.recipe)
                tagged.append(frame)
        if tagged:
            write_table(pd.concat(tagged, ignore_index=True), name, folder)
            written.append(name)
    for results in all_results:
        path = folder / f"{results.study.recipe}.nc"
        packed = {"counts": {"zlib": True}} if results.study.num_classes > MOST_WHOLE else {}
        results.study.arrays.to_netcdf(path, engine="netcdf4", encoding=packed)
    return written
