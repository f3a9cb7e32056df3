"""The Hydra plugins of class-sensitivity."""
