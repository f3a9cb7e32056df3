"""Makes the tables, the figures and the text of docs/replication.md from the records beside this file.

python docs/replication/build.py                       # tables and text
python docs/replication/build.py report [report2 ...]  # the figures, too, from reports of analyze.py
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from drawn import write_figures
from measured import make_tables, read_tables
from studies import FOLDER
from wording import render

PAGE = FOLDER.parent / "replication.md"


def main(reports: Sequence[str]) -> None:
    """Writes the tables and the page, and the figures where there are reports to take them from."""
    folder = FOLDER / "tables"
    folder.mkdir(exist_ok=True)
    for name, table in make_tables().items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    if reports:
        write_figures([Path(report) for report in reports])
    PAGE.write_text(render(read_tables()))


if __name__ == "__main__":
    main(sys.argv[1:])
