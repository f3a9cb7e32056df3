"""Rows of measurements: printed as one aligned table, written as JSON."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME, NUMBER = 64, 10
HEADER = f"{'':{NAME}}  {'median':>{NUMBER}}  {'least':>{NUMBER}}  {'most':>{NUMBER}}  {'n':>3}  unit"


@dataclass(frozen=True)
class Row:
    """One quantity, measured as often as there are values.

    Attributes:
        name: What was measured.
        unit: In what; `x` is a ratio.
        values: In the order in which they were measured.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Name, unit and values with their median, least and greatest."""
        middle, least, most = statistics.median(self.values), min(self.values), max(self.values)
        return {
            "name": self.name,
            "unit": self.unit,
            "median": middle,
            "min": least,
            "max": most,
            "values": list(self.values),
        }

    def line(self) -> str:
        """The row as a line of the table; a single value has no range."""
        numbers = [statistics.median(self.values)]
        if len(self.values) > 1:
            numbers += [min(self.values), max(self.values)]
        cells = [_short(number).rjust(NUMBER) for number in numbers] + [" " * NUMBER] * (3 - len(numbers))
        return f"{self.name:{NAME}}  {'  '.join(cells)}  {len(self.values):>3}  {self.unit}"


class GrowingTable:
    """Rows that are printed as they are measured.

    Args:
        machine: On what, in a line above them.
    """

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._rows: list[Row] = []
        print(machine, HEADER, sep="\n")

    def show(self, rows: Iterable[Row]) -> None:
        """Prints further rows."""
        for each in rows:
            self._rows.append(each)
            print(each.line(), flush=True)

    def write(self, path: Path) -> None:
        """Writes everything that was shown as JSON."""
        content = {"machine": self._machine, "rows": [each.as_json() for each in self._rows]}
        path.write_text(json.dumps(content, indent=1) + "\n")


def row(name: str, unit: str, values: Sequence[float]) -> Row:
    """A row of any sequence of values."""
    return Row(name, unit, tuple(float(value) for value in values))


def ratio(name: str, above: Row, below: Row) -> Row:
    """Two rows divided repeat by repeat: what a busy machine did to both at the time cancels out."""
    return row(name, "x", [a / b for a, b in zip(above.values, below.values, strict=True)])


def _short(number: float) -> str:
    """Four digits that count, and all of those before the point."""
    return f"{number:,.0f}" if number == 0 or abs(number) >= 1000 else f"{number:#.4g}".rstrip(".")
