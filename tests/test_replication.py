"""docs/replication.md: tables follow from the records, the text from the tables, and records from the definitions."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.commands import ROOT

from class_sensitivity.confusion import confusion_counts
from class_sensitivity.runs.directory import find_run_directories, read_record

FOLDER = ROOT / "docs" / "replication"
ROOTS = (FOLDER / "records", FOLDER / "records-again", FOLDER / "records-checks")
TEMPLATE = (FOLDER / "page.md.j2").read_text()


@pytest.fixture(scope="module")
def build() -> Any:
    """The script that makes the page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import build

        yield build


@pytest.fixture(scope="module")
def tables(build: Any) -> dict[str, pd.DataFrame]:
    return build.read_tables()


# The text


def test_the_page_is_what_the_tables_make_of_its_template(build, tables):
    hint = "change docs/replication/page.md.j2 and run python docs/replication/build.py"
    assert build.PAGE.read_text() == build.render(tables), hint


def test_a_changed_number_changes_the_page(build, tables):
    rows = tables["conditions"].copy()
    place = (rows["study"] == "cnn6") & (rows["condition"] == "noise-shuffle-0.2")
    rows.loc[place, "fall"] += 0.01
    assert build.render(tables | {"conditions": rows}) != build.PAGE.read_text()


def test_the_template_itself_holds_no_number_that_was_measured(tables):
    """Decimals and intervals come from the tables; what is written out was published, or is a margin of a claim."""
    text = re.sub(r"\{[{%#].*?[}%#]\}", "", TEMPLATE, flags=re.DOTALL)
    known = {f"{number:g}" for number in tables["published"]["published"]}
    known |= {number for claim in tables["claims"]["claim"] for number in re.findall(r"\d+\.\d+", claim)}
    assert set(re.findall(r"\d+\.\d+", text)) <= known
    assert not re.findall(r"\[[-+<>]?\d", text)


def test_the_first_screen_has_the_numbers_of_the_tables(build, tables):
    opening = (ROOT / "README.md").read_text().split("\n## ")[0]
    verdicts = tables["claims"]["verdict"].value_counts()
    plain = " ".join(opening.split())
    assert f"{verdicts['reproduced']} of its {verdicts.sum()} claims hold" in plain
    assert f"{verdicts['contradicted']} do not, {verdicts['undecided']} stay open" in plain
    both = tables["claims"].merge(tables["claims_again"], on="id").query("verdict_x == verdict_y == 'reproduced'")
    assert f"({len(both)} of them also when all was trained again on another machine)" in plain
    rates = tables["exchange"].query("study == 'cnn6' and condition == 'noise-shuffle-0.2'").set_index("curve")
    for curve in ("reduction", "reduction-matched-steps"):
        assert rates["examples"][curve] in plain
        assert rates["lost"][curve] in plain
    falls = tables["conditions"].query("study == 'cnn6'").set_index("condition")["fall"]
    assert f"Removing them costs {100 * falls['reduction-0.2']:.1f} points" in plain
    assert f"mislabelling them {100 * falls['noise-shuffle-0.2']:.1f}" in plain


def test_sentences_that_are_written_out_are_true(tables):
    """What the page says in words of its own about how things came out; after a training anew, change what is not."""
    verdict = tables["claims"].set_index("id")["verdict"]
    again = tables["claims_again"].set_index("id")["verdict"]
    conditions = tables["conditions"].set_index(["study", "condition"])
    classes = tables["classes"].query("study == 'cnn6'").set_index(["condition", "class"])
    more = tables["noise_against_reduction"].set_index(["study", "class"])
    visible = tables["visible"].set_index("condition")
    four = ["cat", "deer", "airplane", "horse"]
    noises = [f"noise-shuffle-{level}" for level in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)]

    # The first screen.
    assert verdict["noise-worse"] == "reproduced"
    assert {verdict["cat-worst-noise"], again["cat-worst-noise"]} == {"reproduced"}
    assert {each["bird-noise"] for each in (verdict, again)} == {"undecided"}
    assert {each[name] for each in (verdict, again) for name in ("cat-deer", "cat-dog-frog")} == {"undecided"}
    # Figure 2: "nothing certain" of two cells.
    cells = tables["matrices"].set_index(["condition", "true", "predicted"]).loc["noise-shuffle-0.1"]
    for at in (("cat", "dog"), ("dog", "frog")):
        assert cells.loc[at, "low"] < 0 < cells.loc[at, "high"]
    # Figure 4: the class that falls most changes; automobile cannot be told from frog and truck.
    assert len({classes.loc[name, "fall"].idxmax() for name in noises}) > 1
    assert verdict["stable"] == "undecided"
    slopes = tables["sensitivity"].query("study == 'cnn6' and stress == 'shuffle'").set_index("class")
    low, high = slopes.loc["automobile", ["slope_low", "slope_high"]]
    for name in ("frog", "truck"):
        assert low < slopes.loc[name, "slope"] < high
    # Figure 5: cat the lowest at every volume, bird within chance of it at the last.
    for level in range(1, 9):
        assert classes.loc[f"reduction-0.{level}", "recall"].idxmin() == "cat"
    last = classes.loc["reduction-0.9", "recall"]
    assert sorted(last.nsmallest(2).index) == ["bird", "cat"]
    assert last["bird"] - last["cat"] == pytest.approx(0, abs=0.01)
    for level in (0.2, 0.6, 0.9):
        matched, fixed = (
            conditions.loc[("cnn6", f"reduction-{level}{steps}"), "fall"] for steps in ("-matched-steps", "")
        )
        assert matched < fixed / 2, "most of the fall is for want of training"
    # Figure 6, and the trainings beside it.
    assert verdict["noise20-reduction60"] == again["noise20-reduction60"] == "contradicted"
    assert (more.loc["cnn6"].loc[four, "more_high"] < 0).all()
    noise, matched = (classes.loc[name, "fall"] for name in ("noise-shuffle-0.2", "reduction-0.6-matched-steps"))
    assert (noise[four] > matched[four]).all()
    lengths = [more.loc[(f"cnn6{epochs}", "*"), "more"] for epochs in (", 1 epoch", "", ", 10 epochs", ", 30 epochs")]
    assert lengths == sorted(lengths)
    assert more.loc[("cnn6, 30 epochs", "*"), "more_low"] < 0 < more.loc[("cnn6, 30 epochs", "*"), "more_high"]
    assert more.loc[("cnn6, memorising", "*"), "more_low"] > 0
    assert (more.loc["cnn6, memorising"].loc[four, "more"] > 0).all()
    # Figure 8: removal bends every curve, of which the report says more.
    assert verdict["nonlinear"] == again["nonlinear"] == "reproduced"
    # Figure 10.
    assert list(classes.loc["baseline", "recall"].nsmallest(4).index) == ["cat", "bird", "dog", "deer"]
    assert verdict["baseline-order"] == verdict["bird-dog-flip"] == "contradicted"
    # What the article could not see.
    mild = ["noise-shuffle-0.05", "noise-shuffle-0.1", "reduction-0.1", "reduction-0.2", "reduction-0.3"]
    assert (visible.loc[mild, "article"] <= 3).all()
    # A longer training: nothing certain changes for 10 and 20 % noise, 60 % removed costs less.
    change = tables["training_length"].query("epochs == 'change' and `class` == '*'").set_index("condition")
    for name in ("noise-shuffle-0.1", "noise-shuffle-0.2"):
        assert change.loc[name, "fall_low"] < 0 < change.loc[name, "fall_high"]
    assert change.loc["reduction-0.6", "fall_high"] < 0
    ten, thirty = (conditions.loc[(name, "noise-shuffle-0.3")] for name in ("cnn6", "cnn6, 30 epochs"))
    assert thirty["fall"] < ten["fall_low"]
    length = tables["training_length"].query("`class` == '*'").set_index(["condition", "epochs"])["fall"]
    for name in (*noises[1::2], "reduction-0.2", "reduction-0.6"):
        assert length[name].drop("change").idxmax() == "1"
    # A training that believes its labels.
    memorising = conditions.loc["cnn6, memorising"]
    assert (memorising.loc[noises[1::2], "learnt"] > 0.5).all()
    # Other models: noise costs more under each; whether classes fall alike is open for every pair.
    for name in ("claim_parts", "claim_parts_again"):
        parts = tables[name].query("id == 'not-model-specific'")
        costs = parts["part"].str.startswith("noise costs more")
        assert parts["verdict"].where(costs).dropna().tolist() == ["reproduced"] * 4
        assert parts["verdict"].where(~costs).dropna().tolist() == ["undecided"] * 6
    # The same study on another machine.
    assert tables["machines"]["smallest_class_p"].min() > 0.05 / (10 * len(tables["machines"]))


def test_every_figure_is_on_the_page_and_the_folder_is_small():
    shown = set(re.findall(r"replication/figures/(\w+\.png)", TEMPLATE))
    readme = {"fig9_noise20_reduction20.png"}
    assert {path.name for path in (FOLDER / "figures").iterdir()} == shown | readme
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 20e6


# The tables


@pytest.mark.slow
def test_the_tables_follow_from_the_records(build, tables):
    again = build.make_tables()
    assert again.keys() == tables.keys()
    for name, table in again.items():
        written = tables[name]
        assert list(table) == list(written), name
        assert len(table) == len(written), name
        for column in table:
            found = table[column].to_numpy()
            if np.issubdtype(found.dtype, np.number):
                # Written with six digits; differences of nearly equal numbers lose some.
                np.testing.assert_allclose(found, written[column], rtol=2e-5, atol=1e-7, err_msg=f"{name}.{column}")
            else:
                texts = [pd.Series(list(each)).fillna("").astype(str).tolist() for each in (found, written[column])]
                assert texts[0] == texts[1], f"{name}.{column}"


# The records

RUNS = [directory for root in ROOTS for directory in find_run_directories(root)]


def test_no_record_is_missing(tables):
    assert len(RUNS) == tables["definitions"]["runs"].sum() == tables["time"]["runs"].sum()


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_runs_are_what_the_definitions_say(root: Path):
    """Sizes, class totals and shares of every run; and the counts are those of the predictions."""
    checked = 0
    for directory in find_run_directories(root):
        record = read_record(directory, arrays=("test_labels", "test_preds"))
        condition, noise = record.identity.condition, record.noise
        assert root / record.identity.path == directory
        # What is removed is round(r n), what is touched round(x N).
        assert record.train_size == 50_000 - round(condition.reduction_frac * 50_000)
        counts = np.array(noise.counts)
        assert counts.sum() == record.train_size
        assert sum(noise.touched_per_class) == round(condition.noise_frac * record.train_size)
        assert noise.nominal == pytest.approx(condition.noise_frac)
        wrong = counts.sum() - np.trace(counts)
        assert noise.effective == pytest.approx(wrong / record.train_size)
        if not condition.is_reduced:
            assert (counts.sum(axis=1) == 5000).all()
        if condition.noise_kind == "shuffle":
            np.testing.assert_array_equal(counts.sum(axis=0), counts.sum(axis=1))
            # Of m labels that are permuted among ten equal classes a tenth stays; fixed points vary as a count does.
            touched = condition.noise_frac * record.train_size
            assert abs(wrong - 0.9 * touched) < 5 * np.sqrt(0.09 * touched)
        elif not condition.is_noisy:
            assert wrong == 0
        assert (np.sum(record.confusion, axis=1) == 1000).all()
        labels, preds = record.arrays["test_labels"], record.arrays["test_preds"]
        np.testing.assert_array_equal(confusion_counts(labels, preds, 10), record.confusion)
        passes = record.identity.training.epochs
        batches = 50_000 if condition.match_steps else record.train_size
        assert record.steps == passes * -(-batches // 128)
        checked += 1
    assert checked
