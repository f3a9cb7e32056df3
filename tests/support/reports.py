"""Reports on made-up runs, and how to read what is in them."""

import copy
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import DictConfig

from class_sensitivity import config as configuration
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.report import build
from class_sensitivity.report.build import write_report
from class_sensitivity.report.page import SavedFigure
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.settings import AnalyzeSettings, DataSettings
from support.commands import ROOT
from support.synthetic import THREE, World, shares, write_study

WORLD = World(THREE, (40, 60, 50))
RESAMPLES = 100
PLAN = {
    BASELINE: shares([0.9, 0.8, 0.7], [[0, 3, 1], [1, 0, 1], [1, 5, 0]]),
    noise(0.1): shares([0.88, 0.8, 0.6]),
    noise(0.2): shares([0.85, 0.75, 0.5]),
    noise(0.3): shares([0.8, 0.75, 0.45]),
    noise(0.4): shares([0.8, 0.7, 0.3]),
    reduction(0.2): shares([0.89, 0.79, 0.65]),
    reduction(0.6): shares([0.8, 0.75, 0.6]),
}


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("analyze", overrides=[f"resamples={RESAMPLES}", *overrides])


def settings(root: Path, out: Path, *overrides: str) -> AnalyzeSettings:
    """The settings that the command line would hand on."""
    composed = copy.deepcopy(_composed(overrides))
    # After composing, so that a folder may have any name.
    composed.runs, composed.out = str(root), str(out)
    return configuration.analyze_settings(composed)


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder: path -> content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def documented_columns() -> dict[str, set[str]]:
    """The columns that docs/tables.md names of each table; a row without a name goes on with the table above."""
    documented: dict[str, set[str]] = {}
    table = ""
    for line in (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] not in ("table", "---"):
            table = cells[0] or table
            # A remark in brackets may quote a value.
            documented.setdefault(table, set()).update(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cells[2])))
    return documented


def leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not drawn: their looks are tested elsewhere, and this is ten times faster."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_bytes(b"drawn"))


def leave_unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are not even made, where a test is about something else."""

    def save(spec: FigureSpec, folder: Path, place: Path) -> SavedFigure:
        (folder / place / f"{spec.name}.png").touch()
        (folder / place / f"{spec.name}.svg").touch()
        return SavedFigure(spec.name, spec.title, spec.caption, (place / spec.name).as_posix(), b"drawn")

    monkeypatch.setattr(build, "_save", save)


class References(HTMLParser):
    """Everything on a page that a browser would fetch or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.followed: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on"), "an event handler"
            if key == "href" and tag == "a":
                self.followed.append(value or "")
            elif key in ("src", "href", "srcset", "data", "action", "poster"):
                self.fetched.append(value or "")
            elif key == "id":
                self.anchors.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(folder: Path) -> References:
    """What is on the page of a report."""
    references = References()
    references.feed((folder / "index.html").read_text(encoding="utf-8"))
    return references


def words_of(folder: Path) -> str:
    """The words of the page of a report."""
    return " ".join(" ".join(parse(folder).text).split())


def assert_self_contained(folder: Path, *, pictures: bool = True) -> None:
    """The page fetches nothing, and what it leads to is beside it.

    Args:
        folder: The report.
        pictures: Whether there must be any.
    """
    page = parse(folder)
    assert bool(page.fetched) == pictures
    assert all(source.startswith("data:image/png;base64,") for source in page.fetched)
    assert not set(page.tags) & {"script", "link", "iframe", "object", "embed"}
    source = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", source)
    for target in page.followed:
        if target.startswith("#"):
            assert target[1:] in page.anchors
        else:
            assert (folder / target).is_file(), target
            assert (folder / target).resolve().is_relative_to(folder.resolve())


def report_on(root: Path, out: Path, *overrides: str, pictures: bool = True) -> str:
    """Writes a report and returns the words of its page."""
    write_report(settings(root, out, *overrides))
    assert_self_contained(out, pictures=pictures)
    return words_of(out)


def csv_of(folder: Path, name: str) -> pd.DataFrame:
    """A table as text: what a parser makes of the last digit is its own affair."""
    return pd.read_csv(folder / "tables" / f"{name}.csv", dtype=str, keep_default_na=False)


def parquet_of(folder: Path, name: str) -> pd.DataFrame:
    """A table as numbers."""
    return pd.read_parquet(folder / "tables" / f"{name}.parquet")


class Digits(World):
    """The images that `data=digits` really tests on."""

    @property
    def labels(self) -> NDArray[np.int32]:
        digits = DataSettings(name="digits", dir=None, download=False, flip=False, crop_padding=0)
        return load_arrays(digits).test_labels.astype(np.int32)


DIGITS = Digits(tuple("0123456789"))


def write_digits(root: Path) -> Path:
    """Runs on the bundled digits, so that figures of images can be drawn."""
    plan = {BASELINE: shares([0.9] * 10), noise(0.1): shares([0.7] * 9 + [0.4])}
    return write_study(root, DIGITS, plan, (1, 2), data="digits", data__flip=False)
