"""The explorer as one file: template, style, script and payload. Its policy lets this script run and no other."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from class_sensitivity import __version__
from class_sensitivity.analysis.study import Study
from class_sensitivity.report.explorer.packing import pack
from class_sensitivity.report.explorer.payload import MOST_CLASSES, Payload, Subject, payload_of
from class_sensitivity.runs.condition import path_part

#: The parts of the page's one script, in their order.
SCRIPTS = ("model", "page", "state", "matrix", "images", "charts", "controls", "views", "pages", "main")

#: What the pages of a report are called.
EXPLORER_FILE = re.compile(r"explorer(-[A-Za-z0-9._-]+)?\.html")

_ROOM = "class_sensitivity.report.explorer"


def file_names(studies: Sequence[Study]) -> dict[str, str]:
    """Where the explorer of each study is, beside the printed report, by its recipe.

    Args:
        studies: In the order of the report; one of more than `MOST_CLASSES` classes has none.
    """
    recipes = [study.recipe for study in studies if study.num_classes <= MOST_CLASSES]
    return {
        recipe: f"explorer-{path_part(recipe)}.html" if place else "explorer.html"
        for place, recipe in enumerate(recipes)
    }


def write_explorer(folder: Path, subjects: Sequence[Subject], report: str) -> None:
    """Writes one page a study, of those that have one.

    Args:
        folder: The report's.
        subjects: The studies, in the order of the report.
        report: File name of the printed report.
    """
    names = file_names([subject.results.study for subject in subjects])
    others = [{"name": recipe, "file": name} for recipe, name in names.items()]
    for subject in subjects:
        recipe = subject.results.study.recipe
        if recipe in names:
            payload = payload_of(subject)
            payload.values.update(studies=others if len(others) > 1 else [], report=report, version=__version__)
            (folder / names[recipe]).write_text(render(payload), encoding="utf-8")


def render(payload: Payload) -> str:
    """The page of one study."""
    index, packed = pack(payload.arrays)
    script, style = source_of_script(), (_templates() / "explorer.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader(_ROOM, "templates"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("explorer.html.j2").render(
        title=f"{payload.values['data']}, {payload.values['model']}",
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        values=safe_json(payload.values | {"arrays": index}),
        packed=packed,
        test=payload.test.base64 if payload.test else "",
        train=payload.train.base64 if payload.train else "",
    )


def source_of_script() -> str:
    """The page's script: one module, of all parts; it is never in the page's values, so it holds nothing of a user."""
    return "\n".join((_templates() / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)


def _templates() -> Any:
    return files(_ROOM) / "templates"


def _hash(text: str) -> str:
    """What a Content-Security-Policy knows an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def safe_json(values: object) -> str:
    """JSON that no text in it can end the script element of: markup is escaped, and so is all that is not ASCII.

    Raises:
        ValueError: A number is not finite.

    Examples:
        >>> print(safe_json({"name": "</script><!-- & "}))
        {"name":"\\u003c/script\\u003e\\u003c!-- \\u0026 "}
    """
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
