"""From settings to a run record: torch and Lightning."""
