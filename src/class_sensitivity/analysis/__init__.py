"""From run records to results: numpy, scipy, xarray; no torch."""
