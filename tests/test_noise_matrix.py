"""Noise by a matrix: counts that are exact, files in every form, and what makes two runs the same."""

import gc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.commands import SMALL, assert_one_sentence
from support.labels import BIG, FRACS, SEEDS, labelled, names, ready_kind, stressed

from class_sensitivity.errors import ConfigError
from class_sensitivity.runs.condition import Condition
from class_sensitivity.stress import Noise, Stress
from class_sensitivity.stress.noise.counts import deal, exact_counts
from class_sensitivity.stress.noise.matrix import Matrix


def largest_remainder(total: int, parts: list[int]) -> list[int]:
    """One row by its definition, in whole numbers: shares are `parts` over their sum."""
    quotas = [Fraction(total * part, sum(parts)) for part in parts]
    counts = [int(quota) for quota in quotas]
    while sum(counts) < total:
        remainders = [quota - count for quota, count in zip(quotas, counts, strict=True)]
        counts[remainders.index(max(remainders))] += 1
    return counts


@given(
    totals=st.lists(st.integers(0, 500), min_size=2, max_size=6),
    parts=hnp.arrays(np.int64, (6, 6), elements=st.integers(0, 20)),
)
def test_counts_are_those_of_the_largest_remainder(totals, parts):
    parts = parts[: len(totals), : len(totals)]
    parts[:, 0] += parts.sum(axis=1) == 0
    counts = exact_counts(np.array(totals), parts / parts.sum(axis=1, keepdims=True))
    assert counts.tolist() == [largest_remainder(t, row) for t, row in zip(totals, parts.tolist(), strict=True)]


@given(data=labelled(least=0), seed=SEEDS)
def test_labels_are_dealt_in_exactly_these_numbers(data, seed):
    labels, num_classes = data
    rng = np.random.default_rng(seed)
    counts = np.array(
        [rng.multinomial(n, np.ones(num_classes) / num_classes) for n in np.bincount(labels, minlength=num_classes)]
    )
    dealt = deal(labels, counts, rng)
    seen = [[0] * num_classes for _ in range(num_classes)]
    for clean, given_label in zip(labels.tolist(), dealt.tolist(), strict=True):
        seen[clean][given_label] += 1
    assert seen == counts.tolist()


def test_who_gets_a_label_is_uniform():
    hit = sum(deal(np.zeros(10, np.int64), np.array([[7, 3], [0, 0]]), np.random.default_rng(s)) for s in range(2000))
    assert hit == pytest.approx(np.full(10, 600), abs=4.5 * np.sqrt(2000 * 0.21))


@given(data=labelled(least=30), frac=FRACS, reduction=st.floats(0, 0.5), seed=SEEDS, classes=st.sampled_from([[], [0]]))
def test_the_realised_matrix_is_off_the_one_asked_for_by_less_than_one_example_a_cell(
    data, frac, reduction, seed, classes
):
    labels, num_classes = data
    train_set = stressed(data, "matrix", seed, noise_frac=frac, reduction_frac=reduction, noise_classes=classes)
    asked = np.load(ready_kind("matrix", data).matrix)
    clean, touched = labels[train_set.indices], train_set.touched
    for i in range(num_classes):
        of_class = train_set.labels[touched & (clean == i)].tolist()
        for j in range(num_classes):
            assert abs(of_class.count(j) - asked[i, j] * len(of_class)) < 1


def test_at_a_share_of_1_the_matrix_holds_the_whole_rate(tmp_path):
    shares = np.full((10, 10), 0.04) + np.eye(10) * 0.6
    np.save(tmp_path / "sym.npy", shares)
    seen = stressed(BIG, "matrix", noise_frac=1.0, matrix=str(tmp_path / "sym.npy")).audit
    assert seen.effective == pytest.approx(0.36, abs=10 / 3000)
    np.testing.assert_allclose(seen.noise_matrix, shares, atol=1 / 250)


# Files

SHARES = np.array([[0.75, 0.25, 0], [0.1, 0.9, 0], [0.5, 0, 0.5]])
ROWS = "\n".join(",".join(map(str, row)) for row in SHARES)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_every_form_of_a_file_is_the_same_matrix_and_the_same_run(tmp_path):
    np.save(tmp_path / "a.npy", SHARES)
    files = [
        str(tmp_path / "a.npy"),
        written(tmp_path / "b.csv", ROWS),
        written(tmp_path / "c.csv", "\ufeffant, bee,cow\r\n" + ROWS.replace("\n", "\r\n") + "\r\n\r\n"),
        written(tmp_path / "numbers.csv", "0,1,2\n" + ROWS),
    ]
    conditions = {file: Condition.of(Stress(Noise(Matrix(matrix=file), 0.5))) for file in files}
    assert len(set(conditions.values())) == len({condition.name for condition in conditions.values()}) == 1
    labels = (np.arange(40) % 3, 3)
    made = [stressed(labels, "matrix", noise_frac=1.0, matrix=file).labels for file in files[:2]]
    np.testing.assert_array_equal(made[0], made[1])
    for file, classes in zip(files[2:], (("ant", "bee", "cow"), ("0", "1", "2")), strict=True):
        Noise(Matrix(matrix=file), 0.5).check_classes(classes)


def test_other_content_under_the_same_name_is_another_run(tmp_path):
    path = tmp_path / "my matrix.csv"
    one = Condition.of(Stress(Noise(Matrix(matrix=written(path, ROWS)), 0.5)))
    other = Condition.of(Stress(Noise(Matrix(matrix=written(path, ROWS.replace("0.75,0.25", "0.7,0.3"))), 0.5)))
    assert one != other
    assert one.name != other.name
    assert one.series != other.series
    # In words its name, on the command line its place.
    assert one.label == "50 % noise (matrix, matrix my matrix.csv)"
    assert str(path) in one.sweep


BAD = {
    "0.5,0.5\n0.5,0.5": ["2 x 2", "10 classes", "10 x 10"],
    "0.5,0.5\n0.5,0.4": ["row 2", "0.9", "1"],
    "1.5,-0.5\n0,1": ["row 1, column 2", "-0.5", "0 or more"],
    "nan,1\n0,1": ["row 1, column 1", "nan"],
    "1,0,0\n0,1,0": ["2 x 3", "row and a column for each class"],
    "1,0\n0": ["no array of numbers"],
    "cat,dog\n1,x\n0,1": ["no array of numbers"],
    "": ["no array of numbers"],
    ",".join("abcdefghij") + "\n" + "\n".join(",".join(map(str, row)) for row in np.eye(10)): ["a, b, c", "0, 1, 2"],
}


@pytest.mark.parametrize("text", BAD)
def test_a_matrix_that_cannot_be_is_one_sentence(tmp_path, text):
    path = written(tmp_path / "bad.csv", text)
    with pytest.raises(ConfigError) as error:
        Noise(Matrix(matrix=path), 1.0).check_classes(tuple("0123456789"))
    sentence = str(error.value)
    assert len(sentence.splitlines()) == 1
    for word in (f"noise.matrix={path}", *BAD[text]):
        assert word in sentence


@pytest.mark.parametrize("text", [next(iter(BAD)), "nan,1\n0,1"], ids=["misfit", "broken"])
def test_a_sweep_says_so_before_it_begins(forked, tmp_path, text):
    path = written(tmp_path / "bad.csv", text)
    done = forked("-m", *SMALL, "noise.kind=matrix", "noise.frac=0,1", f"noise.matrix={path}")
    assert_one_sentence(done, f"noise.matrix={path}", *BAD[text])
    assert not done.runs.exists()


@pytest.mark.filterwarnings("error")  # a file that stays open
def test_an_archive_whole_or_damaged_is_no_matrix(tmp_path):
    path = tmp_path / "m.npy"
    with path.open("wb") as stream:
        np.savez(stream, SHARES)
    for content in (path.read_bytes(), path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"noise.matrix=.*m.npy holds no array of numbers"):
            Matrix(matrix=str(path)).check(("ant", "bee", "cow"))
        gc.collect()


def test_a_matrix_that_is_missing_is_one_sentence_and_nothing_where_no_label_is_touched(forked, tmp_path):
    wanted = ("noise.kind=matrix", "noise.frac=1")
    assert_one_sentence(forked(*SMALL, *wanted), "noise.kind=matrix", "noise.matrix=PATH")
    assert_one_sentence(forked(*SMALL, *wanted, "noise.matrix=m.txt"), "noise.matrix=m.txt", ".csv or .npy")
    absent = f"noise.matrix={tmp_path / 'none.csv'}"
    assert_one_sentence(forked(*SMALL, *wanted, absent), absent, "No such file")
    assert_one_sentence(
        forked(*SMALL, *wanted, f"noise.matrix={written(tmp_path / 'x.npy', 'x')}"), "no array of numbers"
    )
    done = forked("-m", *SMALL, "noise.kind=matrix", f"{absent},null", "noise.classes=[],['1']")
    assert (done.rc, [path.parent.parent.name for path in done.results()]) == (0, ["baseline"])


# One direction alone


@given(frac=FRACS, seed=SEEDS)
def test_a_pair_in_one_direction_changes_no_other_label(frac, seed):
    cat, dog = names(10)[3], names(10)[5]
    train_set = stressed(BIG, "pair", seed, noise_frac=frac, noise_classes=[3], partner={cat: dog})
    counts = train_set.audit.counts
    cats = int((BIG[0] == 3).sum())
    assert counts[3, 5] == round(frac * cats)
    assert counts[3, 3] == cats - counts[3, 5]
    others = np.delete(counts, 3, axis=0)
    assert others.sum() == sum(others[row, column] for row, column in enumerate([0, 1, 2, *range(4, 10)]))
