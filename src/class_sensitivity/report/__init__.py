"""From run directories to a report: figures, tables, one page, a summary."""
