"""Which claims a report shows, and whose figures it speaks of."""

import re
from pathlib import Path

import pytest
from support.reports import PLAN, WORLD, leave_unpictured, parquet_of, report_on
from support.synthetic import CIFAR10, World, shares, write_study

from class_sensitivity.analysis import claims
from class_sensitivity.analysis.claims.cifar10 import CLAIMS
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.runs.condition import BASELINE


@pytest.fixture
def unpictured(monkeypatch) -> None:
    leave_unpictured(monkeypatch)


@pytest.fixture
def place(tmp_path, unpictured) -> tuple[Path, Path]:
    return tmp_path / "runs", tmp_path / "report"


def test_claims_are_judged_for_the_data_they_are_about(place):
    plan = {condition: shares([0.9] * 10) for condition in (BASELINE, noise(0.1), reduction(0.2))}
    write_study(place[0], World(CIFAR10, 20), plan, (1, 2), data="cifar10", data__dir=str(place[0]))
    text = report_on(*place)
    assert "The article's claims" in text
    verdicts = parquet_of(place[1], "claims").set_index("id")
    assert list(verdicts.index) == list(CLAIMS.claims)
    for name in ("bird-noise", "bird-dog-flip"):
        assert verdicts.verdict[name] == "not run"
        assert verdicts.command[name] in text
    assert "| not run |" in (place[1] / "summary.md").read_text(encoding="utf-8")


def test_what_is_decided_comes_first_on_the_page_and_in_the_summary(place):
    recalls = {BASELINE: [0.9] * 10, noise(0.1): [0.4] + [0.9] * 9, reduction(0.2): [0.9] * 10}
    plan = {condition: shares(each) for condition, each in recalls.items()}
    write_study(place[0], World(CIFAR10, 60), plan, (1, 2, 3), data="cifar10", data__dir=str(place[0]))
    report_on(*place)
    table = parquet_of(place[1], "claims").set_index("id")
    assert table.verdict["airplane-10"] == "contradicted"
    page = (place[1] / "index.html").read_text(encoding="utf-8")
    summary = (place[1] / "summary.md").read_text(encoding="utf-8")
    order = ["reproduced", "contradicted", "undecided", "not run", "not applicable"]
    for found in (
        re.findall(r'<td class="verdict [^"]*">([^<]+)</td>', page),
        re.findall(r"^\|[^|]+\| ([a-z ]+) \|", summary, re.MULTILINE),
    ):
        assert [each for each in found if each != "verdict"] == sorted(table.verdict, key=order.index)
    assert list(table.index) == list(CLAIMS.claims), "the table keeps their order"


def test_the_page_shows_parts_candidates_and_seeds_and_ends_with_what_to_run(place):
    levels = {BASELINE: 0.9, noise(0.1): 0.8, noise(0.2): 0.7, noise(0.3): 0.6}
    plan = {condition: shares([x] * 8 + [0.9] * 2) for condition, x in levels.items()}
    write_study(place[0], World(CIFAR10, 100), plan, (1, 2, 3), data="cifar10", data__dir=str(place[0]))
    text = report_on(*place)
    assert "the intervals that go with them cover 90 %" in text
    assert re.search("Any class but [^.]*truck[^.]* may be the one that falls most under label noise .shuffle.", text)
    assert re.search(r"(contradicted|undecided) : frog falls less than the other eight", text)
    assert re.search("any class but [^.]*truck[^.]* may be the one that falls most", text)
    assert re.search(r"It would take (about \d+ seeds|more test images)", text)
    assert re.search(r"next python train\.py -m .* would decide ", text)
    parts = parquet_of(place[1], "claim_parts")
    assert set(parts.part[parts.id == "cat-dog-frog"]) == {"cat -> dog falls", "dog -> frog rises"}


def test_figures_of_the_article_are_named_after_it_on_its_data_alone(place):
    plan = {condition: shares([0.9] * 10) for condition in (BASELINE, noise(0.1), reduction(0.2))}
    for data in ("cifar10", "made-up"):
        write_study(place[0], World(CIFAR10, 20), plan, (1, 2), data=data, data__dir=str(place[0]))
    named = report_on(*place, "only.data=cifar10")
    for words in ("Mean confusion matrices (figure 2)", "(figure 4)", "(figure 5)", "(figure 10)"):
        assert words in named
    assert "Diagonal cells against stress (the article's figure 8, for every class)" in named
    other = report_on(*place, "only.data=made-up")
    assert "Mean confusion matrices" in other
    assert "Diagonal cells against stress" in other
    assert "(figure" not in other
    assert "the article" not in other


def test_claims_about_other_data_are_not_on_the_page(place):
    write_study(place[0], WORLD, PLAN, (1, 2))
    assert CLAIMS.title not in report_on(*place)
    assert not (place[1] / "tables" / "claims.csv").exists()
    assert "| claim |" not in (place[1] / "summary.md").read_text(encoding="utf-8")


def test_a_report_shows_the_claims_of_whatever_file_is_about_its_data(place, tmp_path, monkeypatch):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "bugs.py").write_text(
        "from class_sensitivity.analysis.claims.claim_set import ClaimSet\n"
        "from class_sensitivity.analysis.claims.judging import decide\n"
        "from class_sensitivity.runs.condition import BASELINE\n"
        "CLAIMS = ClaimSet('What is claimed of bugs', data='bugs')\n"
        "@CLAIMS.add('cow-worst', 'Cow has the lowest recall.', 'cow')\n"
        "def cow_worst(evidence):\n"
        "    return decide([evidence.lowest('cow', BASELINE)], evidence.alpha)\n"
    )
    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path / "claims")])
    write_study(place[0], WORLD, PLAN, (1, 2), data="bugs")
    write_study(place[0], WORLD, PLAN, (1, 2))
    text = report_on(*place)
    assert text.count("What is claimed of bugs") == 1
    assert "Cow has the lowest recall." in text
    table = parquet_of(place[1], "claims")
    assert table.id.tolist() == ["cow-worst"]
    assert table.recipe[0].startswith("bugs-")
