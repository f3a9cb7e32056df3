"""What training and analysis both know of a run: its identity, its directory, its record; no torch."""
