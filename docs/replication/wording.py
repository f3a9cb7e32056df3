"""The text of docs/replication.md: `page.md.j2`, every number of ours looked up in the tables."""

import re
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from measured import Tables
from studies import FOLDER

from class_sensitivity.analysis.estimate import with_interval


def render(tables: Tables) -> str:
    """The page, every number of ours from the tables."""
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "row": partial(_row, tables),
        "rows": partial(_rows, tables),
        "points": partial(_points, tables),
        "percent": partial(_percent, tables),
        "claim": partial(_claim, tables),
        "evidence": lambda name: _row(tables, "claims", id=name)["sentence"].removesuffix("."),
        "cell": partial(_cell, tables),
        "count_of": partial(_count, tables),
        "words": _words,
        "dearer": partial(_dearer, tables),
        "same_verdict": partial(_same_verdict, tables),
        "mistakes": partial(_mistakes, tables),
        "slope": lambda stress, name: _points(
            tables, "sensitivity", "slope", -10, study="cnn6", stress=stress, of=name
        ),
        "effect": partial(_effect, tables),
        "widest": partial(_widest, tables),
    }
    return environment.from_string((FOLDER / "page.md.j2").read_text()).render()


def _rows(tables: Tables, table: str, **where: object) -> list[dict[str, Any]]:
    frame = tables[table]
    for column, value in where.items():
        frame = frame[frame["class" if column == "of" else column] == value]
    return frame.to_dict("records")


def _row(tables: Tables, table: str, **where: object) -> dict[str, Any]:
    found = _rows(tables, table, **where)
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows of {table} have {where}: it must be one.")
    return found[0]


def _scaled(row: dict[str, Any], name: str, factor: float, digits: int, signed: bool) -> str:
    low, high = sorted((factor * row[f"{name}_low"], factor * row[f"{name}_high"]))
    return with_interval(factor * row[name], low, high, digits=digits, signed=signed)


def _points(
    tables: Tables, table: str, name: str = "fall", factor: float = 100, digits: int = 1, signed: bool = False,
    **where: object,
) -> str:  # fmt: skip
    """`value [low, high]` of a share, in points."""
    return _scaled(_row(tables, table, **where), name, factor, digits, signed)


def _percent(tables: Tables, table: str, name: str, digits: int = 1, **where: object) -> str:
    """A share in %."""
    return f"{100 * _row(tables, table, **where)[name]:.{digits}f}"


def _dearer(tables: Tables) -> str:
    """What noise costs the training that memorises, in multiples of the default one, same seeds: least and most."""
    memorising = tables["conditions"].query("study == 'cnn6, memorising'").set_index("condition")["fall"]
    default = tables["training_length"].query("epochs == '3' and `class` == '*'").set_index("condition")["fall"]
    ratio = (memorising / default).filter(like="noise").dropna()
    return f"{ratio.min():.1f} to {ratio.max():.1f}"


def _same_verdict(tables: Tables) -> list[str]:
    """The claims that both studies judge alike."""
    both = tables["claims"].merge(tables["claims_again"], on="id")
    return both[both["verdict_x"] == both["verdict_y"]]["id"].tolist()


def _words(condition: str) -> str:
    """The name of a condition as a reader says it."""
    found = re.fullmatch(r"(noise-shuffle|reduction)-([\d.]+)(-matched-steps|-masked-steps)?", condition)
    if found is None:
        return condition
    stress, share, steps = found.groups()
    more = {None: "", "-matched-steps": ", more passes", "-masked-steps": ", smaller batches"}[steps]
    return f"{round(100 * float(share))} % {'noise' if stress == 'noise-shuffle' else 'removed'}{more}"


def _cell(tables: Tables, condition: str, true: str, predicted: str) -> str:
    """A cell of a relative matrix, in test images."""
    cell = _row(tables, "matrices", condition=condition, true=true, predicted=predicted)
    return with_interval(cell["difference"], cell["low"], cell["high"], signed=True)


def _count(tables: Tables, condition: str, true: str, predicted: str) -> str:
    """A mean count with its standard deviation over seeds."""
    cell = _row(tables, "matrices", condition=condition, true=true, predicted=predicted)
    return f"{cell['mean']:.0f} (sd {cell['sd']:.0f})"


def _mistakes(tables: Tables, name: str, condition: str) -> str:
    """How many more images of a class are not recognised."""
    cell = _row(tables, "matrices", condition=condition, true=name, predicted=name)
    return with_interval(-cell["difference"], -cell["high"], -cell["low"], digits=0)


def _effect(tables: Tables, table: str, name: str) -> str:
    """What decides a claim, with the interval that goes with its tests."""
    claim = _row(tables, table, id=name)
    return with_interval(claim["effect"], claim["low"], claim["high"], digits=2, signed=True)


def _widest(tables: Tables, which: str) -> str:
    """How far from 0 an interval of two machines reaches, in points, where that is least or most."""
    ends = 100 * tables["machines"][["difference_low", "difference_high"]].abs().max(axis=1)
    return f"{ends.min() if which == 'least' else ends.max():.1f}"


def _claim(tables: Tables, name: str) -> str:
    """The row of the claims' table of the page."""
    row, again = (_row(tables, table, id=name) for table in ("claims", "claims_again"))
    verdict = row["verdict"]
    needed = row["seeds_needed"]
    more = "" if pd.isna(needed) else ("none" if np.isinf(needed) else f"{needed:.0f}")
    cells = [name, row["claim"], f"**{verdict}**", row["sentence"], f"{row['seeds']:.0f}", more, again["verdict"]]
    return f"| {' | '.join(cells)} |"
