"""Code of a user's own: found in the current directory, known by its content, refused in a sentence."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from class_sensitivity import user_code
from class_sensitivity.errors import ConfigError
from class_sensitivity.user_code import code_digest, load_module, load_object


@pytest.fixture
def write(tmp_path, monkeypatch) -> Iterator[Callable[[str, str], Path]]:
    """Writes a file below the current directory, which is one of its own; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    user_code._import.cache_clear()
    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


NET = "class Net:\n    depth = 1\n"


def test_a_module_in_the_current_directory_is_found(write):
    write("found_here.py", NET)
    assert load_object("found_here:Net", "model.module").depth == 1
    assert load_module("found_here", "data.module").Net is load_object("found_here:Net", "model.module")


def test_a_package_may_import_its_own_parts_and_what_lies_beside_it(write):
    write("beside.py", "DEPTH = 3\n")
    write("of_parts/__init__.py", "")
    write(
        "of_parts/deep/nets.py", "from beside import DEPTH\nfrom of_parts.deep.more import MORE\nSUM = DEPTH + MORE\n"
    )
    write("of_parts/deep/more.py", "MORE = 4\n")
    assert load_object("of_parts.deep.nets:SUM", "model.module") == 7


def test_a_file_of_the_users_does_not_hide_a_library(write):
    write("json.py", "raise RuntimeError\n")
    assert load_object("json:dumps", "model.module")([1]) == "[1]"


def test_a_digest_is_of_the_content_wherever_it_lies_and_executes_nothing(write, tmp_path, monkeypatch):
    write("twin_a.py", "raise RuntimeError\n")
    before = code_digest("twin_a:Net", "model.module")
    assert code_digest("twin_a", "model.module") == before
    (tmp_path / "other").mkdir()
    write("other/twin_a.py", "raise RuntimeError\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "other"), *sys.path])
    assert code_digest("twin_a:Net", "model.module") == before
    write("other/twin_a.py", "raise ValueError\n")
    assert code_digest("twin_a:Net", "model.module") != before


def test_the_digest_of_a_package_covers_every_file_of_code_in_it(write):
    write("covered/__init__.py", "from covered.nets import Net\n")
    write("covered/nets.py", NET)
    write("covered/deep/layers.py", "SIZE = 3\n")
    seen = [code_digest("covered:Net", "model.module")]
    for name, text in (
        ("covered/nets.py", NET + "\n"),
        ("covered/deep/layers.py", "SIZE = 4\n"),
        ("covered/new.py", ""),
    ):
        write(name, text)
        seen.append(code_digest("covered.nets:Net", "model.module"))
    assert len(set(seen)) == len(seen)
    write("covered/weights.txt", "no code")
    assert code_digest("covered:Net", "model.module") == seen[-1]


def test_code_that_has_changed_since_it_was_imported_is_refused(write):
    write("changing.py", NET)
    load_object("changing:Net", "model.module")
    write("changing.py", NET + "\n")
    with pytest.raises(ConfigError, match=r"^model\.module=changing: its code has changed.*start the command again\.$"):
        load_object("changing:Net", "model.module")


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("Net", "", r"=Net is not allowed: it must be MODULE:NAME, such as my_net:Net for class Net in my_net\.py\.$"),
        ("bad_one.Net", NET, r"=bad_one\.Net is not allowed: it must be MODULE:NAME"),
        ("../bad_one.py:Net", NET, r"is not allowed: it must be MODULE:NAME"),
        (":Net", NET, r"=:Net is not allowed"),
        ("bad_one:", NET, r"=bad_one: is not allowed"),
        (
            "bad_on:Net",
            NET,
            r"=bad_on: there is no module bad_on, neither installed nor in the current directory /",
        ),
        ("bad_one.nets:Net", NET, r"there is no module bad_one\.nets, neither"),
        ("bad_one:Nett", NET, r"module bad_one has no Nett; did you mean bad_one:Net\?$"),
        (
            "bad_one:Forest",
            NET,
            r"module bad_one has no Forest; the word after the colon must be a name in that module\.$",
        ),
        (
            "bad_one:Net",
            "import surely_not_there\n",
            r"bad_one cannot be imported: ModuleNotFoundError: No module named",
        ),
        (
            "bad_one:Net",
            "x = 1\ny = 1 / 0\n",
            r"bad_one cannot be imported: ZeroDivisionError: .*\(bad_one\.py, line 2\)\.$",
        ),
        ("bad_one:Net", "class Net\n", r"bad_one cannot be imported: SyntaxError: .*bad_one\.py, line 1"),
        (
            "bad_one:Net",
            "raise SystemExit(3)\n",
            r"bad_one cannot be imported: SystemExit: 3 \(bad_one\.py, line 1\)\.$",
        ),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(write, path, text, message):
    write("bad_one.py", text)
    with pytest.raises(ConfigError, match=message) as error:
        load_object(path, "model.module")
    assert str(error.value).startswith("model.module")
    assert len(str(error.value).splitlines()) == 1
