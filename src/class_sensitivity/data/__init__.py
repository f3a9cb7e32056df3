"""Data sets in memory, and how batches are made of them."""
