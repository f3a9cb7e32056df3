"""Explorers of made-up studies, and a browser that opens them."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.report.explorer.page import write_explorer
from class_sensitivity.report.explorer.payload import Subject, relative_limit
from class_sensitivity.report.findings import findings
from class_sensitivity.report.separation import separation_of
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.settings import DataSettings
from support.plans import load_one
from support.reports import DIGITS, settings
from support.synthetic import shares, write_study

#: A dose of noise and one of reduction on the bundled digits, with a matched removal at 20 %.
DIGITS_PLAN = {
    BASELINE: shares([0.95, 0.9, 0.93, 0.8, 0.9, 0.75, 0.95, 0.9, 0.7, 0.8]),
    noise(0.1): shares([0.93, 0.88, 0.9, 0.7, 0.88, 0.7, 0.93, 0.9, 0.6, 0.75]),
    noise(0.2): shares([0.9, 0.85, 0.88, 0.55, 0.85, 0.6, 0.9, 0.9, 0.5, 0.7]),
    noise(0.3): shares([0.9, 0.8, 0.85, 0.45, 0.8, 0.5, 0.9, 0.88, 0.3, 0.6]),
    reduction(0.2): shares([0.95, 0.9, 0.92, 0.75, 0.9, 0.74, 0.94, 0.9, 0.66, 0.78]),
    reduction(0.6): shares([0.9, 0.85, 0.85, 0.6, 0.85, 0.6, 0.9, 0.85, 0.5, 0.65]),
}


def digits() -> ImageArrays:
    """The bundled digits."""
    return load_arrays(DataSettings("digits", None, download=False, flip=False, crop_padding=0))


def write_digits_study(
    root: Path, plan: Mapping[Condition, NDArray[np.float64]] = DIGITS_PLAN, seeds: Sequence[int] = (1, 2, 3)
) -> Path:
    """Runs on the bundled digits."""
    return write_study(root, DIGITS, plan, seeds, data="digits", data__flip=False)


def subject_of(root: Path, arrays: ImageArrays | None = None, **fields: Any) -> Subject:
    """The one study below a directory as the explorer is handed it, without advice and claims."""
    results = analyse(load_one(root), resamples=50)
    found: dict[str, Any] = {
        "limit": relative_limit([results]),
        "separation": separation_of(results, arrays, None, settings(root, root.with_name("out"))),
        "suspects": (),
        "advice": (),
        "claims": None,
        "verdicts": (),
        "findings": findings(results),
        "caveats": (),
    }
    return Subject(results=results, arrays=arrays, **found | fields)


def write_page(folder: Path, subject: Subject) -> Path:
    """The explorer of one study; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_explorer(folder, [subject], "index.html")
    return folder / "explorer.html"


def stored(root: Path) -> dict[tuple[str, int], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """(condition's name, seed) -> predictions and probability of what is predicted, straight from the files."""
    found = {}
    for path in root.glob("*/*/*/arrays.npz"):
        with np.load(path) as arrays:
            preds = arrays["test_preds"].astype(np.int64)
            sure = arrays["test_probabilities"][np.arange(len(preds)), preds].astype(np.float64)
        found[path.parts[-3], int(path.parts[-2].removeprefix("seed-"))] = preds, sure
    return found


# The browser


def chromium() -> str:
    """Where Chromium is; skips where there is none, unless EXPLORER_NEEDS_BROWSER says that there must be one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        reason = "there is no Chromium to open the explorer with"
        if os.environ.get("EXPLORER_NEEDS_BROWSER"):
            pytest.fail(f"{reason}, and EXPLORER_NEEDS_BROWSER asks for it")
        pytest.skip(reason)
    return found


@contextmanager
def started_browser() -> Iterator[Any]:
    """A browser, as the tests drive it."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what went wrong on it.

    Attributes:
        page: Playwright's.
        file: What was opened.
        errors: Messages of the console, and errors nobody caught.
        requests: Every address that was asked for.
    """

    page: Any
    file: Path
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def go(self, view: str = "") -> Any:
        """Opens a view by its address, as a link that was sent."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.file.as_uri()}{view}")
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def words(self) -> dict[str, str]:
        """What stands behind the # of the address."""
        return dict(self.page.evaluate("() => [...new URLSearchParams(location.hash.slice(1))]"))

    def cells(self, place: str = "#figure") -> list[list[str]]:
        """The texts of the cells of a matrix, from the top left."""
        rows = f"[...document.querySelector('{place} table[role=grid]').rows]"
        texts = "row => [...row.querySelectorAll('td[role=gridcell]')].map(cell => cell.textContent)"
        return [row for row in self.page.evaluate(f"() => {rows}.map({texts})") if row]

    def labels(self, place: str = "#figure") -> list[str]:
        """What a screen reader says of the cells of a matrix."""
        return list(
            self.page.evaluate(
                f"() => [...document.querySelector('{place} table[role=grid]').querySelectorAll('td[role=gridcell]')]"
                ".map(cell => cell.getAttribute('aria-label'))"
            )
        )

    def images(self, place: str = "#panel") -> list[int]:
        """The test images of the list that is open, in its order."""
        found = self.page.evaluate(
            f"() => [...document.querySelectorAll('{place} [data-image]')].map(each => each.dataset.image)"
        )
        return [int(each) for each in found]

    def captions(self, place: str = "#panel") -> list[str]:
        """What stands under them."""
        return list(
            self.page.evaluate(f"() => [...document.querySelectorAll('{place} .images .sure')].map(e => e.textContent)")
        )

    def check(self) -> None:
        """Nothing went wrong, and nothing was fetched but the file and what it holds."""
        assert not self.errors, "\n".join(self.errors)
        allowed = (self.file.as_uri(), "blob:", "data:", "about:blank")
        assert not [address for address in self.requests if not address.startswith(allowed)]


@contextmanager
def visited(browser: Any, file: Path, **options: Any) -> Iterator[Visit]:
    """A page in a context of its own, offline; in the end nothing may have gone wrong.

    Args:
        browser: Playwright's.
        file: What to open.
        options: Of the context.
    """
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(10_000)
    visit = Visit(context.new_page(), file)
    visit.page.on("console", lambda message: visit.errors.append(message.text))
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.go()
    yield visit
    visit.check()
    context.close()
