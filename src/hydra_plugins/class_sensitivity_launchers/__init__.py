"""`hydra/launcher=local`."""
