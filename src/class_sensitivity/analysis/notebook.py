"""How results show themselves in a notebook."""

from html import escape

import pandas as pd


def titled_table(title: str, table: pd.DataFrame) -> str:
    """A table below its title, as HTML; names come from users' files, so everything is escaped.

    Args:
        title: Plain text.
        table: What to show, of text or numbers.
    """
    return f"<p><b>{escape(title)}</b></p>{table.to_html(escape=True, border=0)}"
