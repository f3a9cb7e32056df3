"""`hydra/launcher=stacked`."""
