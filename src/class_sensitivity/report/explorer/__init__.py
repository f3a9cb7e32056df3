"""The explorer: one page, open from disk, on which every number leads to the images behind it."""
