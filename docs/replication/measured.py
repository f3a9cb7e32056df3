"""Every number of docs/replication.md, from the records beside this file."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recorded import checks, definitions, published, time
from scipy import stats
from studies import AGAIN, CHECKS, FOLDER, LONGER, MODELS, RECORDS, SECOND, SHORTER, records_of, studies_of

from class_sensitivity.analysis.claims import claims_about
from class_sensitivity.analysis.contrasts import accuracy_contrast, class_contrasts
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.exchange import accuracy_exchange
from class_sensitivity.analysis.model_dependence import model_dependences
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse, relative_matrix
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.training_length import training_lengths
from class_sensitivity.confusion import accuracy, recall
from class_sensitivity.report import tables as report_tables
from class_sensitivity.report.training_length import LengthsOfRecipe
from class_sensitivity.runs.condition import BASELINE, Condition

#: Few bootstrap draws do, because nothing that rests on them is in the tables: of the sensitivities these columns stay.
DRAWS = 100
_SLOPES = ["study", "stress", "class", "seeds", "levels", "slope", "slope_low", "slope_high"]

#: Name -> what stands in the file of that name.
Tables = dict[str, pd.DataFrame]


def make_tables(records: Path = RECORDS, second: Path = SECOND, others: Path = CHECKS) -> Tables:
    """Every table of the folder, recomputed from the records."""
    here, there = studies_of(records), studies_of(second)
    studies = here | there
    results = {name: analyse(study, resamples=DRAWS) for name, study in studies.items()}
    main, other = results["cnn6"], results[f"cnn6{AGAIN}"]
    claims = claims_about(main.study.data)
    assert claims is not None
    verdicts = claims.judge(main, [results[name] for name in MODELS[1:]])
    again = claims.judge(other, [results[f"{name}{AGAIN}"] for name in MODELS[1:]])
    everywhere = [name for name in results if name.startswith("cnn6")]
    beside = records_of(others)
    everything = [*records_of(records), *records_of(second), *beside]
    tables = {
        "conditions": _by_study(results, report_tables.conditions_table),
        "classes": _by_study(results, report_tables.classes_table),
        "sensitivity": _by_study(results, report_tables.sensitivity_table)[_SLOPES],
        "costs": _by_study(results, report_tables.costs_table),
        "matrices": matrices(main),
        "claims": report_tables.claims_table(verdicts).drop(columns="command"),
        "claims_again": report_tables.claims_table(again).drop(columns="command"),
        "claim_parts": report_tables.parts_table(verdicts),
        "claim_parts_again": report_tables.parts_table(again),
        "exchange": pd.concat([exchange(name, results[name].study) for name in everywhere]),
        "noise_against_reduction": noise_against_reduction(results),
        "models": pd.concat([models(here), models(there, AGAIN)]),
        "training_length": lengths([here[name] for name in (*SHORTER, "cnn6", *LONGER)]),
        "visible": visible(main),
        "machines": machines(main.study, other.study),
        "checks": checks(beside),
        "definitions": definitions(everything),
        "time": time(everything),
    }
    tables["published"] = published(pd.concat([tables["conditions"], tables["checks"]]))
    return tables


def _by_study(results: dict[str, Results], table: Any) -> pd.DataFrame:
    frames = []
    for name, found in results.items():
        frame = table(found)
        if len(frame):
            frame.insert(0, "study", name)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def matrices(results: Results) -> pd.DataFrame:
    """One row per condition and cell: mean and standard deviation over seeds, and the relative matrix."""
    study = results.study
    cells = list(product(study.class_names, study.class_names))
    relative = report_tables.relative_table(results)
    frames = []
    for condition in study.conditions:
        counts = study.counts_of(condition)
        frame = pd.DataFrame(cells, columns=["true", "predicted"])
        frame.insert(0, "condition", condition.name)
        frame = frame.assign(mean=counts.mean(axis=0).ravel(), sd=counts.std(axis=0, ddof=1).ravel())
        frames.append(frame)
    columns = ["condition", "true", "predicted", "difference", "low", "high", "p", "judged", "marked"]
    return pd.concat(frames).merge(relative[columns], how="left", on=["condition", "true", "predicted"])


def exchange(name: str, study: Study) -> pd.DataFrame:
    """One row per noise level and clean learning curve: how many clean examples would do as well."""
    rows = []
    for series in study.reduction_series:
        for noise in study.series("shuffle")[1:]:
            found = accuracy_exchange(study, noise, tuple(study.paired_series(series)))
            row = {"study": name, "curve": series, "condition": noise.name, "seeds": len(found.seeds)}
            row |= {"wrong": found.wrong, "smallest_set": found.size.least, "largest_set": found.size.most}
            for what, bounds in (
                ("n_eff", found.size),
                ("lost_per_wrong_label", found.lost_per_wrong_label),
                ("gamma", found.gamma),
            ):
                row |= report_tables.value_columns(what, bounds)
            row |= {"examples": found.size.text(",.0f", significant=3), "lost": found.lost_per_wrong_label.text()}
            rows.append(row)
    return pd.DataFrame(rows)


def noise_against_reduction(results: dict[str, Results]) -> pd.DataFrame:
    """One row per study and class (`*`: all) of figure 6: what 20 % noise costs more than 60 % of the data removed."""
    rows: list[dict[str, Any]] = []
    noise, removal = Condition(noise_kind="shuffle", noise_frac=0.2), Condition(reduction_frac=0.6)
    for name, each in results.items():
        study = each.study
        if study.has(noise) and study.has(removal):
            weights = {removal: 1.0, noise: -1.0}
            shared = {"study": name, "seeds": len(study.common_seeds(noise, removal))}
            both = accuracy_contrast(study, weights), class_contrasts(study, weights)
            rows += _all_and_each(shared, "more", *both, study.class_names)
    return pd.DataFrame(rows)


def _all_and_each(
    shared: dict[str, Any], what: str, over_all: Estimate, by_class: Estimate, class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row of all classes (`*`), and one of each."""
    yield shared | {"class": "*"} | report_tables.value_columns(what, over_all)
    for index, name in enumerate(class_names):
        yield shared | {"class": name} | report_tables.value_columns(what, by_class[index])


def models(studies: dict[str, Study], added: str = "") -> pd.DataFrame:
    """One row per stress, pair of models and class: by how much what it loses beyond the mean differs between the two.

    Args:
        studies: Of one root, by name.
        added: What their names end in.
    """
    rows = []
    for found in model_dependences([studies[f"{name}{added}"] for name in MODELS]):
        assert found.interaction is not None
        shared: dict[str, Any] = {"study": f"models{added}", "stress": found.compared.kind}
        shared |= {"seeds": len(found.compared.seeds), "f": found.interaction.statistic, "f_p": found.interaction.p}
        for pair in found.pairs:
            both = {"first": pair.first, "second": pair.second, "rank_correlation": pair.agreement.rho}
            both |= {"rank_correlation_low": pair.agreement.low, "rank_correlation_high": pair.agreement.high}
            for index, name in enumerate(found.compared.class_names):
                row = shared | both | {"class": name, "marked": bool(pair.marked[index])}
                rows.append(row | report_tables.value_columns("difference", pair.centred[index]))
    return pd.DataFrame(rows)


def lengths(studies: Sequence[Study]) -> pd.DataFrame:
    """One row per condition, number of epochs and class; and how much the fall changes from 3 epochs to the most."""
    (found,) = training_lengths(studies)
    table = LengthsOfRecipe(found).table().drop(columns="recipe")
    (changes,) = training_lengths([studies[len(SHORTER)], studies[-1]])
    rows: list[dict[str, Any]] = []
    for each in changes:
        if each.more is not None and each.more_by_class is not None:
            shared = {"epochs": "change", "seeds": len(each.seeds), "condition": each.condition.name}
            rows += _all_and_each(shared, "fall", each.more, each.more_by_class, each.studies[0].class_names)
    return pd.concat([table.astype({"epochs": str}), pd.DataFrame(rows)], ignore_index=True)


def visible(results: Results) -> pd.DataFrame:
    """One row per condition: in how many cells its difference from the baseline can be told from chance.

    `marked`: with all our seeds, paired, at a false discovery rate of 5 % over the matrix, new test images included.
    `marked_5`: the same with the first five seeds. `article`: cells whose difference (ours, over all seeds) is more
    than 1.96 standard deviations of what the article measured, the mean of five runs minus one run of the baseline; a
    smaller difference is more often missed than seen.
    """
    study = results.study
    baseline = study.counts_of(BASELINE).var(axis=0, ddof=1)
    rows = []
    for condition, versus in results.compared.items():
        matrix = versus.relative
        sd = np.sqrt(study.counts_of(condition).var(axis=0, ddof=1) / 5 + baseline)
        five = relative_matrix(study.with_seeds(range(1, 6)), condition)
        rows.append(
            {
                "condition": condition.name,
                "seeds": len(matrix.seeds),
                "judged": int(matrix.judged.sum()),
                "marked": int(matrix.marked.sum()),
                "judged_5": int(five.judged.sum()),
                "marked_5": int(five.marked.sum()),
                "article": int((matrix.judged & (np.abs(matrix.cells.value) > 1.96 * sd)).sum()),
                "article_sd_of_a_judged_cell": float(sd[matrix.judged].mean()),
            }
        )
    return pd.DataFrame(rows)


def machines(study: Study, again: Study) -> pd.DataFrame:
    """One row per condition: accuracy of a study minus that of the same study made again, seed by seed.

    Both are tested on the same images. t intervals over the seeds; `smallest_class_p` is that of ten recalls, not
    adjusted.
    """
    rows = []
    for condition in again.conditions:
        seeds = sorted({*study.common_seeds(condition)} & {*again.common_seeds(condition)})
        counts = [each.counts_of(condition, seeds) for each in (study, again)]
        one, other = (accuracy(each) for each in counts)
        test = stats.ttest_rel(one, other)
        low, high = test.confidence_interval()
        by_class = stats.ttest_rel(*(recall(each) for each in counts), axis=0).pvalue
        rows.append(
            {
                "condition": condition.name,
                "seeds": len(seeds),
                "first": one.mean(),
                "second": other.mean(),
                "difference": (one - other).mean(),
                "difference_low": low,
                "difference_high": high,
                "p": test.pvalue,
                "sd_first": one.std(ddof=1),
                "sd_second": other.std(ddof=1),
                "smallest_class_p": by_class.min(),
                "images_predicted_alike": np.mean(study.preds_of(condition, seeds) == again.preds_of(condition, seeds)),
                "images_predicted_alike_by_two_seeds": _alike(study, condition, seeds),
            }
        )
    table = pd.DataFrame(rows)
    table["p_adjusted"] = stats.false_discovery_control(table["p"])
    return table


def _alike(study: Study, condition: Condition, seeds: Sequence[int]) -> float:
    """Share of the test images that two seeds of one study predict alike, mean over pairs of neighbouring seeds."""
    preds = study.preds_of(condition, seeds)
    return float(np.mean(preds == np.roll(preds, 1, axis=0)))


def read_tables(folder: Path = FOLDER / "tables") -> Tables:
    """The tables as they were written."""
    return {path.stem: pd.read_csv(path, keep_default_na=True) for path in sorted(folder.glob("*.csv"))}
