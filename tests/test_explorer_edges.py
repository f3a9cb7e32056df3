"""Explorers of studies that are not as most are: hostile names, a hundred classes, one seed, a baseline alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import ROOT
from support.explorer import started_browser, subject_of, visited, write_digits_study, write_page
from support.reports import leave_unpictured, settings
from support.synthetic import CIFAR10, THREE, World, shares, write_study

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.report.build import write_report
from class_sensitivity.runs.condition import BASELINE

PLAN = {
    BASELINE: shares([0.9, 0.8, 0.7]),
    noise(0.1): shares([0.88, 0.8, 0.6]),
    noise(0.2): shares([0.8, 0.7, 0.4]),
    reduction(0.2): shares([0.88, 0.75, 0.6]),
}
VIEWS = ("matrix", "dose", "side", "class", "pair")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as found:
        yield found


def images_of(world: World, side: int = 16) -> ImageArrays:
    """Made-up images in colour."""
    rng = np.random.default_rng(0)
    labels = world.labels.astype(np.int64)
    train = np.repeat(np.arange(len(world.class_names)), 3)
    shapes = [(len(each), side, side, 3) for each in (train, labels)]
    made = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    return ImageArrays(made[0], train, made[1], labels, world.class_names)


HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "\"quoted\" & 'so' ${window.pwned = 1} \u2028 <!-- and a name that goes on and on for a whole sentence",
)


def test_hostile_names_are_shown_as_they_are_and_nothing_of_them_runs(browser, tmp_path):
    world = World(HOSTILE, (40, 60, 50))
    root = write_study(tmp_path / "runs", world, PLAN, (1, 2), data="</script>{{ 7 * 7 }}", model="<b>net</b>")
    file = write_page(tmp_path / "page", subject_of(root, images_of(world), caveats=("<i>caveat</i>",)))
    with visited(browser, file) as visit:
        for view in VIEWS:
            page = visit.go(f"#v={view}&c={noise(0.2).name}&cell=1.2&k=2.1")
            assert page.evaluate("() => window.pwned") is None
            assert page.locator("#app script, #app img").count() == 0
        page = visit.go(f"#c={noise(0.2).name}&cell=1.2")
        words = " ".join(page.inner_text("body").split())
        assert "</script>{{ 7 * 7 }}, <b>net</b>" in words
        assert page.inner_text("#cell-title").split() == f"{HOSTILE[1]} taken for {HOSTILE[2]}".split()
        with page.expect_download() as saved:
            page.click("#csv")
        text = Path(saved.value.path()).read_text(encoding="utf-8")
        assert HOSTILE[2].replace('"', '""') in text
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280


@pytest.mark.slow
def test_of_a_hundred_classes_the_most_confused_and_the_others_are_shown(browser, tmp_path):
    rng = np.random.default_rng(1)
    world = World(tuple(f"class {c:02d}" for c in range(100)), 10)
    recall, wrong = rng.uniform(0.4, 0.95, 100), rng.exponential(1, (100, 100)) ** 3
    plan = {BASELINE: shares(recall, wrong), noise(0.2): shares(recall - 0.2, wrong)}
    root = write_study(tmp_path / "runs", world, plan, (1, 2))
    subject = subject_of(root, images_of(world))
    file = write_page(tmp_path / "page", subject)
    counts = subject.results.study.counts_of(BASELINE).sum(axis=0)
    confused = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    expected = {world.class_names[c] for c in np.argsort(-confused, kind="stable")[:20]}
    change = subject.results.relative(noise_frac=0.2).cells.value
    with visited(browser, file) as visit:
        page = visit.page
        columns = page.locator("#figure th[scope=col]").all_inner_texts()
        assert set(columns) == {*expected, "(other: 80)"}
        rest = [c for c in range(100) if world.class_names[c] not in expected]
        labels = [label for label in visit.labels() if label.startswith("(other: 80), predicted right")]
        total = change[np.ix_(rest, rest)].sum()
        assert f"{abs(total):.1f}" in labels[0]
        # The images of the others are those of all of them.
        page.click("td[aria-label^='(other: 80), predicted right']")
        assert page.inner_text("#cell-title") == "(other: 80), right"
        assert len(visit.cells()) == 21
        assert {int(world.labels[image]) for image in visit.images()} <= set(rest)
        assert len(visit.images()) > 20
        page.keyboard.press("Escape")
        page.select_option("select[aria-label='How many classes']", "30")
        assert len(visit.cells()) == 31
        # A class of which a cell is opened has its row, whatever it is confused with.
        quiet = int(np.argsort(confused, kind="stable")[0])
        visit.go(f"#cell={quiet}.{quiet}")
        assert world.class_names[quiet] in page.locator("#figure th[scope=col]").all_inner_texts()
        for view in VIEWS:
            visit.go(f"#v={view}")
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280


@pytest.mark.slow
def test_one_seed_has_no_intervals_and_says_so(browser, tmp_path):
    world = World(THREE, (40, 60, 50))
    root = write_study(tmp_path / "runs", world, PLAN, (1,))
    with visited(browser, write_page(tmp_path / "page", subject_of(root, images_of(world)))) as visit:
        for label in visit.labels():
            assert "[" not in label
            assert "differs from 0" not in label
        visit.go(f"#v=pair&c={BASELINE.name}&k=1.2")
        assert "One seed cannot tell" in visit.page.inner_text("#direction")
        for view in VIEWS:
            page = visit.go(f"#v={view}&c={noise(0.1).name}")
            assert "NaN" not in page.inner_text("#app")
            assert "1 seed" in page.inner_text("#app")


@pytest.mark.slow
@pytest.mark.parametrize("plan", [(BASELINE,), (noise(0.1), reduction(0.2))], ids=["baseline alone", "no baseline"])
def test_what_cannot_be_compared_is_shown_by_itself(browser, tmp_path, plan):
    root = write_study(tmp_path / "runs", World(THREE, 40), {condition: PLAN[condition] for condition in plan}, (1, 2))
    with visited(browser, write_page(tmp_path / "page", subject_of(root))) as visit:
        page = visit.page
        assert page.get_attribute("[data-value=absolute]", "aria-pressed") == "true"
        assert page.is_disabled("[data-value=relative]")
        page.click("td[aria-label^='cow taken for bee:']")
        assert visit.images(), "by number: there are no images"
        assert "named by number" in visit.go("").inner_text("#panel")
        assert "no curve" in visit.go("#v=dose").inner_text("#figure")
        for view in VIEWS:
            text = visit.go(f"#v={view}").inner_text("#app")
            assert "NaN" not in text
            assert "undefined" not in text


@pytest.mark.slow
def test_a_class_without_test_images_is_empty(browser, tmp_path):
    world = World(THREE, (40, 0, 50))
    root = write_study(tmp_path / "runs", world, PLAN, (1, 2))
    with visited(browser, write_page(tmp_path / "page", subject_of(root))) as visit:
        assert any("no test images of this class" in label for label in visit.labels())
        for view in VIEWS:
            text = visit.go(f"#v={view}&u=rates&k=1").inner_text("#app")
            assert "NaN" not in text
            assert "Infinity" not in text


@pytest.mark.slow
def test_claims_and_advice_lead_to_their_evidence(browser, tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    world = World(CIFAR10, 60)
    recall = np.array([0.84, 0.9, 0.72, 0.62, 0.79, 0.7, 0.86, 0.84, 0.9, 0.88])
    alike = np.ones((10, 10))
    alike[3, 5] = alike[5, 3] = 40
    costs = {BASELINE: 0, noise(0.1): 0.05, noise(0.2): 0.1, noise(0.3): 0.2, reduction(0.2): 0.02, reduction(0.6): 0.1}
    plan = {condition: shares(recall - cost, alike) for condition, cost in costs.items()}
    root = write_study(tmp_path / "runs", world, plan, (1, 2, 3), data="cifar10", data__dir=str(tmp_path))
    write_report(settings(root, tmp_path / "report"))
    with visited(browser, tmp_path / "report" / "explorer.html") as visit:
        page = visit.page
        page.click("#claims > summary")
        claims = page.locator(".claims li")
        assert claims.count() >= 15
        assert re.match(r"(reproduced|contradicted|undecided|not run)", claims.first.inner_text())
        links = page.evaluate(
            "() => [...document.querySelectorAll('.claims a')].map(a => [a.textContent, a.getAttribute('href')])"
        )
        views = dict(links)
        assert "v=pair&c=baseline&k=3.4" in views["Cat is taken for deer more often than deer for cat."]
        assert "v=class" in views["Bird has the largest fall under noise."]
        assert "k=2" in views["Bird has the largest fall under noise."]
        # What a merge would bring stands in the view that its advice leads to.
        page.evaluate("() => { for (const each of document.querySelectorAll('.answer details')) each.open = true; }")
        gain = re.search(r"from ([\d.]+) to ([\d.]+) %", page.inner_text(".about-merge p >> nth=0"))
        page.locator(".about-merge a >> nth=0").click()
        after, before = re.search(r"accuracy ([\d.]+) % instead of ([\d.]+) %", page.inner_text("#merged")).groups()
        assert (f"{float(before):.1f}", f"{float(after):.1f}") == gain.groups()
        hrefs = "() => [...document.querySelectorAll('.answer a')].map(a => a.getAttribute('href'))"
        for href in page.evaluate(hrefs):
            if href.startswith("#"):
                visit.go(href)
                assert page.inner_text("#figure h2 >> nth=0").strip()
        assert page.get_attribute(".top nav a", "href") == "index.html"


AXE = ROOT / ".ci" / "javascript" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser, tmp_path, scheme):
    if not AXE.is_file():
        pytest.skip("axe-core is not there; `make lint` installs it where there is npm")
    root = write_digits_study(tmp_path / "runs", seeds=(1, 2))
    file = write_page(tmp_path / "page", subject_of(root))
    with visited(browser, file, color_scheme=scheme, reduced_motion="reduce") as visit:
        addresses = [f"#v={view}&c={noise(0.3).name}&cell=8.3" for view in VIEWS]
        addresses += ["#m=absolute", "#m=significant&u=rates&t=rows", "#merge=3.8"]
        addresses += [f"#c={noise(0.3).name}&cell=8.3&img=3"]
        violations = "async () => (await axe.run(document)).violations.map(v => [v.impact, v.id, v.nodes[0].html])"
        for address in addresses:
            page = visit.go(address)
            page.evaluate("() => { for (const each of document.querySelectorAll('details')) each.open = true; }")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            assert not [each for each in page.evaluate(violations) if each[0] in ("serious", "critical")], address
