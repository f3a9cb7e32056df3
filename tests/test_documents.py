"""What the documents say is so: links, commands, names of modules and rows of tables are looked up."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from support import synthetic
from support.commands import ROOT

import class_sensitivity
from class_sensitivity import config
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.settings import AnalyzeSettings, TrainSettings

PACKAGE = ROOT / "src" / "class_sensitivity"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]


def _code(text: str) -> Iterator[str]:
    """What is set as code, piece by piece: lines of indented and fenced blocks, and words between backticks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"^    (.+)", prose, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", prose)


# Links


def _anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub names them in a link."""
    headings = re.findall(r"^#+ (.+)", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{name} links to {target}"
        assert not anchor or anchor in _anchors(found), f"{name} links to {target}"


# Commands

#: Names that stand for something of the reader's, and what is tried instead.
STAND_INS = {"data=mine": "data=digits"}


def _command_lines() -> list[tuple[str, str]]:
    """(script, arguments) of every line that starts one of the two commands."""
    found = set()
    for text in (document.read_text() for document in DOCUMENTS):
        for code in _code(text):
            if command := re.match(r"(?:\S*/)?python (train|analyze)\.py\b([^#]*)", code):
                found.add((command[1], command[2].strip()))
    return sorted(found)


def test_the_documents_have_commands_to_look_up() -> None:
    assert {script for script, _ in _command_lines()} == {"train", "analyze"}


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/\w+' is validated:UserWarning")
@pytest.mark.parametrize(("script", "arguments"), _command_lines())
def test_commands_have_settings_that_exist(script: str, arguments: str) -> None:
    words = shlex.split(arguments.replace("--cfg job", ""))  # as a shell takes the quotes away
    words = [STAND_INS.get(word, word) for word in words if not word.startswith("-") and word != "..."]
    overrides = []
    for override in OverridesParser.create().parse_overrides(words):
        swept = override.is_sweep_override()
        overrides.append(
            f"{override.key_or_group}={next(override.sweep_string_iterator())}" if swept else override.input_line
        )
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose(script, overrides=overrides)
    {"train": config.train_settings, "analyze": config.analyze_settings}[script](composed)


def test_settings_named_in_prose_exist() -> None:
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    known = {*config.setting_names(TrainSettings), *config.setting_names(AnalyzeSettings), *groups}
    for group in ("data", "model"):  # what one data set or one network alone has
        files = [yaml.safe_load(path.read_text()) for path in (ROOT / "conf" / group).iterdir()]
        known |= {f"{group}.{key}" for values in files for key in values.get(group, values)}
    for name, document in zip(NAMES, DOCUMENTS, strict=True):
        for code in re.findall(r"`([^`\n]+)`", document.read_text()):
            # Without arguments of Python functions: those in brackets, and those whose value is one of Python's.
            named = re.findall(r"(?:^|\s)([a-z_]+(?:\.[a-z_]+)*)=(?!True|False|None)", re.sub(r"\(.*\)", "", code))
            unknown = [setting for setting in named if setting not in known and not setting.startswith("hydra.")]
            assert not unknown, f"{name}: {code}"


# Files and folders

#: What the commands make, and the reader's own.
NOT_IN_THE_REPOSITORY = re.compile(r"data/|\.submitit/|report/tables/|.*\bmine\.(py|yaml)|my_net\.py")


def _paths(text: str) -> set[str]:
    """Files and folders that a text names; `<name>` stands for any name."""
    words = {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.split(r"[\s,]+", code)}
    return {word.replace("<name>", "*") for word in words if re.fullmatch(r"[\w./*<>-]+(\.py|\.yaml|/)", word)}


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    named = {path for path in _paths((ROOT / name).read_text()) if not NOT_IN_THE_REPOSITORY.fullmatch(path)}
    roots = (ROOT, ROOT / "src", PACKAGE, ROOT / "conf" / "data")
    assert not [path for path in sorted(named) if not any(next(root.glob(path), None) for root in roots)]


def test_architecture_names_every_room() -> None:
    named = _paths((ROOT / "docs" / "architecture.md").read_text())
    rooms = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(named) > 20
    assert not {room for room in rooms if not any(path.startswith(room) for path in named)}
    # Of the other rooms, each file is one of a kind, or has a figure's name.
    listed = ("stress", "data", "runs", "training", "analysis", "analysis/claims", "report", "report/explorer")
    files = {path.relative_to(PACKAGE).as_posix() for room in listed for path in (PACKAGE / room).glob("[!_]*.py")}
    assert len(files) > 40
    assert not files - named


# The tables of performance.md


@cache
def _templates() -> list[str]:
    """Every text in `benchmarks/` as a regular expression, with a group for each value in an f-string."""
    texts: set[str] = set()
    for path in (ROOT / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.add("".join(re.escape(p.value) if isinstance(p, ast.Constant) else "(.*)" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(re.escape(node.value))
    # Without those that put any two texts together, but for `part: what`.
    return sorted(text for text in texts if re.search(r"\w", text.replace("(.*)", "")) or text == r"(.*):\ (.*)")


@cache
def _can_be_printed(title: str) -> bool:
    """Whether a title is one of the texts in the code; what an f-string is filled with is a number or a text itself."""
    if not title or re.fullmatch(r"\d[\d,.]*%?", title):
        return True
    for template in _templates():
        found = re.fullmatch(template, title)
        if found and all(part != title and _can_be_printed(part) for part in found.groups()):
            return True
    return False


def _titles_of(text: str) -> Iterator[str]:
    """The titles of the rows of all tables: printed ones, and those set as a table of kinds by layouts."""
    yield from re.findall(r"^    (\S.*?) {2,}[\d,.]+ .*$", text, re.MULTILINE)
    for header, body in re.findall(r"^\| (\|.*\|)\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE):
        columns = [cell.strip() for cell in header.strip("|").split("|")]
        for line in body.splitlines():
            yield from (f"{column}: {line.split('|')[1].strip()}" for column in columns)


def test_titles_in_performance_md_are_those_of_the_benchmarks() -> None:
    titles = list(_titles_of((ROOT / "docs" / "performance.md").read_text()))
    assert len(titles) > 60
    assert not [title for title in titles if not _can_be_printed(title)]


@pytest.mark.parametrize(
    "title", ["until the first step: setup", "50% of the records removed: end to end", "product: start to end", "SGD"]
)
def test_a_title_that_no_benchmark_prints_is_found(title: str) -> None:
    assert not _can_be_printed(title)


# Python


def test_python_in_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
        if "import class_sensitivity" in block
    )
    world = synthetic.World(synthetic.THREE, 60)
    recalls = {BASELINE: [0.9, 0.8, 0.7], Condition(noise_kind="shuffle", noise_frac=0.2): [0.9, 0.7, 0.4]}
    plan = {condition: synthetic.shares(recall) for condition, recall in recalls.items()}
    synthetic.write_study(tmp_path / "runs", world, plan, seeds=(1, 2, 3))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = capsys.readouterr().out
    assert all(name in printed for name in synthetic.THREE)


# The files beside the documents


def test_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == class_sensitivity.__version__
    (article,) = citation["references"]
    assert {"type", "title", "authors"} <= set(article)
    assert [author["family-names"] for author in article["authors"]] == ["Prendki", "Devkar"]


def test_people_and_machines_call_the_same_commands() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    steps = workflow["jobs"]["tests"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test", "make test-slow"]
    assert re.findall(r"^make .*", (ROOT / ".ci" / "run").read_text(), re.MULTILINE) == ["make test", "make test-slow"]


def test_make_bench_measures_all_that_is_slow() -> None:
    commands = re.findall(r"^bench:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    measured = ["training", "sweeping", "analysis", "reporting", "importing", "explorer"]
    assert re.findall(r"benchmarks/(\w+)\.py", commands) == measured


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, document in zip(NAMES, DOCUMENTS, strict=True):
        for code in _code(document.read_text()):
            if command := re.match(r"(?:\w+=\S+ )?make ([\w-]+)", code):
                assert command[1] in targets, f"{name}: {code}"
