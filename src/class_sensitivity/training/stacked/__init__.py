"""Several runs of one recipe trained as one batched model; each keeps its own seed, stress and run directory."""
