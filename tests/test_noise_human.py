"""Labels of people, and noise with their counts; on made-up files and on the real CIFAR-10N."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from sklearn.metrics import confusion_matrix
from support.commands import SMALL, assert_one_sentence
from support.labels import BIG, FRACS, SEEDS, labelled, names, stressed

from class_sensitivity.errors import ConfigError, UserError
from class_sensitivity.runs.condition import Condition
from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import Noise, Stress, stressed_train_set
from class_sensitivity.stress.noise.human import COLUMNS, Human, HumanMatched
from class_sensitivity.training.run import train_job

PEOPLE = np.random.default_rng(5).integers(0, 10, len(BIG[0]))


@pytest.fixture
def human_pt(tmp_path) -> str:
    """A file like CIFAR-10N's, about `BIG`."""
    columns = {stored: np.roll(PEOPLE, number) for number, stored in enumerate(COLUMNS.values())}
    torch.save({"clean_label": BIG[0], **columns}, tmp_path / "human.pt")
    return str(tmp_path / "human.pt")


@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_matched_noise_has_the_counts_of_people_cell_by_cell(data, frac, seed):
    human, matched = (stressed(data, kind, seed, noise_frac=frac) for kind in ("human", "human_matched"))
    np.testing.assert_array_equal(human.touched, matched.touched)
    np.testing.assert_array_equal(human.audit.counts, matched.audit.counts)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_touched_example_has_the_label_that_people_gave_it(human_pt, column):
    train_set = stressed(BIG, "human", noise_frac=0.4, reduction_frac=0.5, file=human_pt, column=column)
    people = np.roll(PEOPLE, list(COLUMNS).index(column))
    for index, label, touched in zip(train_set.indices, train_set.labels, train_set.touched, strict=True):
        assert label == (people if touched else BIG[0])[index]


def test_arrays_tensors_and_text_are_read_alike(human_pt, tmp_path):
    np.save(tmp_path / "p.npy", PEOPLE)
    (tmp_path / "p.csv").write_text("label\n" + "\n".join(map(str, PEOPLE)))
    torch.save(
        {key: torch.tensor(value) for key, value in torch.load(human_pt, weights_only=False).items()}, tmp_path / "t.pt"
    )
    files = [
        {"file": str(tmp_path / "p.npy")},
        {"file": str(tmp_path / "p.csv")},
        {"file": human_pt, "column": "aggre"},
        {"file": str(tmp_path / "t.pt"), "column": "aggre"},
    ]
    for settings in files:
        np.testing.assert_array_equal(stressed(BIG, "human", noise_frac=1.0, **settings).labels, PEOPLE)


def test_a_file_is_known_by_its_content_and_a_column_by_its_name(human_pt, tmp_path):
    def condition(**settings: str) -> Condition:
        return Condition.of(Stress(Noise(Human(**settings), 1.0)))

    moved = tmp_path / "elsewhere.pt"
    moved.write_bytes(Path(human_pt).read_bytes())
    one = condition(file=human_pt, column="worse")
    assert one == condition(file=str(moved), column="worse")
    assert one.name == condition(file=str(moved), column="worse").name
    assert one.label == "100 % noise (human, file human.pt, column worse)"
    assert one.name != condition(file=human_pt, column="aggre").name
    moved.write_bytes(b"other")
    assert one != condition(file=str(moved), column="worse")


def test_a_file_in_another_order_is_refused_with_how_many_differ(human_pt):
    stress = Stress(Noise(Human(file=human_pt, column="aggre"), 0.1))
    order = np.roll(BIG[0], 1)
    differ = int((order != BIG[0]).sum())
    with pytest.raises(ConfigError, match=rf"clean labels are others on {differ:,} of 3,000 .* order"):
        stressed_train_set(order, names(10), stress, seeds=dict.fromkeys(STREAMS, 1))


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def assert_sentence(error: pytest.ExceptionInfo[UserError], *words: str) -> None:
    sentence = str(error.value)
    assert len(sentence.splitlines()) == 1
    for word in words:
        assert word in sentence


def test_what_does_not_fit_is_one_sentence(forked, make_run, tmp_path):
    def bad(name: str, array: object, *words: str) -> None:
        path = tmp_path / name
        if path.suffix == ".npy":
            np.save(path, array)
        elif path.suffix == ".pt":
            torch.save(array, path)
        column = ["noise.column=worse"] * (path.suffix == ".pt")
        setting = f"noise.file={path}"
        asked = ("noise.kind=human_matched", "noise.frac=1", setting, *column)
        if name == "short.npy":
            assert_one_sentence(forked(*SMALL, *asked), setting, *words)
        with pytest.raises(UserError) as error:
            train_job(make_run(*asked))
        assert_sentence(error, setting, *words)

    bad("short.npy", np.zeros(7, np.int64), "7 labels", "1,198")
    bad("two.npy", np.zeros((1198, 2)), "1,198 x 2")
    bad("wide.npy", np.full(1198, 10), "label 10", "0 to 9")
    bad("negative.npy", np.full(1198, -1), "label -1", "0 to 9")
    bad("half.npy", np.full(1198, 0.5), "label 0.5", "whole numbers")
    bad("absent.pt", {"clean_label": np.zeros(3, np.int64)}, "has no worse_label")
    bad("list.pt", [1, 2], "has no clean_label")
    bad("trap.pt", {"clean_label": Trap(tmp_path / "sprung")}, "cannot be loaded")
    assert not (tmp_path / "sprung").exists()


#: What is said of a file and a column, before any file is read.
MISFITS: dict[tuple[str, ...], list[str]] = {
    (): ["noise.kind=human", "noise.file=PATH"],
    ("noise.file=x.pt",): ["noise.column=None", "aggre, random1, random2, random3, worse"],
    ("noise.file=x.pt", "noise.column=best"): ["noise.column=best", "aggre, random1, random2, random3, worse"],
    ("noise.file=x.npy", "noise.column=worse"): ["noise.column=worse", "left out"],
    ("noise.file=x.txt",): ["noise.file=x.txt", ".pt or .npy or .csv"],
    ("noise.file=x.npy",): ["noise.file=x.npy", "No such file"],
}


@pytest.mark.parametrize("settings", MISFITS, ids=" ".join)
def test_settings_that_do_not_go_together_are_one_sentence(make_run, settings):
    with pytest.raises(UserError) as error:
        make_run("noise.kind=human", "noise.frac=1", *settings)
    assert_sentence(error, *MISFITS[settings])


@pytest.mark.parametrize("settings", [(), ("noise.file=x.npy",)], ids=["settings", "file"])
def test_they_are_no_matter_at_0_and_end_a_sweep_before_it_begins(forked, settings):
    done = forked("-m", *SMALL, "noise.kind=human", "noise.frac=0,1", *settings)
    assert_one_sentence(done, *MISFITS[settings])


def test_nothing_is_read_where_no_label_is_touched(compose_settings):
    settings = compose_settings("noise.kind=human", "noise.file=none.pt", "noise.column=best")
    assert Condition.of(settings.stress).is_baseline


# The real labels


@pytest.fixture(scope="session")
def cifar10n(cifar10_dir: str) -> str:
    path = Path(cifar10_dir) / "cifar-10n" / "CIFAR-10_human.pt"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return str(path)


RATES = {"aggre": 9.010, "random1": 17.234, "random2": 18.122, "random3": 17.640, "worse": 40.208}


@pytest.mark.cifar10
@pytest.mark.parametrize("column", RATES)
def test_rates_and_matrix_of_cifar10n(cifar10, cifar10n, column):
    human, matched = (
        stressed_train_set(
            cifar10.train_labels,
            cifar10.class_names,
            Stress(Noise(kind(file=cifar10n, column=column), 1.0)),
            seeds=dict.fromkeys(STREAMS, 1),
        )
        for kind in (Human, HumanMatched)
    )
    assert round(100 * human.audit.effective, 3) == RATES[column]
    stored = torch.load(cifar10n, weights_only=False)
    expected = confusion_matrix(stored["clean_label"], stored[COLUMNS[column]])
    np.testing.assert_array_equal(human.audit.counts, expected)
    np.testing.assert_array_equal(matched.audit.counts, expected)
    # The same counts, on other images: it agrees with people about as often as two draws of one class would.
    alike = (matched.labels == human.labels).mean()
    assert alike == pytest.approx((expected**2).sum() / 5000 / 50_000, abs=0.01)


@pytest.mark.cifar10
def test_below_1_the_share_that_people_got_wrong_is_that_of_the_touched(cifar10, cifar10n):
    stress = Stress(Noise(Human(file=cifar10n, column="worse"), 0.5))
    train_set = stressed_train_set(cifar10.train_labels, cifar10.class_names, stress, seeds=dict.fromkeys(STREAMS, 1))
    assert train_set.touched.sum() == 25_000
    assert train_set.audit.effective == pytest.approx(0.20104, abs=0.005)


@pytest.mark.cifar10
def test_cifar10_in_another_order_is_refused(cifar10, cifar10n):
    labels = cifar10.train_labels[::-1].copy()
    stress = Stress(Noise(Human(file=cifar10n, column="worse"), 0.1))
    with pytest.raises(ConfigError, match=r"others on 4\d,\d{3} of 50,000"):
        stressed_train_set(labels, cifar10.class_names, stress, seeds=dict.fromkeys(STREAMS, 1))
